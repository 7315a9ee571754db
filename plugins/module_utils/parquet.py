# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Columns and rows of Parquet files, as the pyarrow of the stack on this host says them.

A module runs in another Python than the stack, so pyarrow is asked in a process of its own. It is a program in C++ that reads what others wrote:
where the module is root, that process is nobody, and is handed the open files.
"""

import contextlib
import json
import os
import subprocess

from ansible_collections.sparkflows.mlops.plugins.module_utils.csv_files import BadInput

# A line of JSON for each file.
PROGRAM = """
import json, os, sys
import pyarrow
from pyarrow import parquet

try:
    # With it a file says what is run (CVE-2023-47248, in pyarrow before 14.0.1).
    pyarrow.unregister_extension_type("arrow.py_extension_type")
except KeyError:
    pass
for handle in sys.argv[1:]:
    with os.fdopen(int(handle), "rb") as file:
        try:
            found = parquet.ParquetFile(file)
            answer = {"columns": found.schema_arrow.names, "rows": found.metadata.num_rows}
        except Exception as exc:
            answer = {"problem": " ".join(str(exc).split()) or type(exc).__name__}
        print(json.dumps(answer), flush=True)
"""
NOBODY = 65534


def become_nobody():
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def ask(python, paths):
    """The answers about the files, as many as there are, and the last line of the log."""
    with contextlib.ExitStack() as stack:
        handles = [stack.enter_context(open(path, "rb")).fileno() for path in paths]
        command = [python, "-I", "-c", PROGRAM, *map(str, handles)]
        try:
            # AnsibleModule.run_command cannot start a program as another account. Python 3.6 has no capture_output.
            done = subprocess.run(  # noqa: UP022  # pylint: disable=ansible-bad-function
                command, check=False, pass_fds=handles, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                preexec_fn=become_nobody if os.geteuid() == 0 else None,
            )  # fmt: skip
        except PermissionError as exc:
            raise BadInput(f"{python} may be started by some accounts only, not by nobody, which reads Parquet: open its folders to all") from exc
    answers = [json.loads(line) for line in done.stdout.decode().splitlines() if line.startswith("{")]
    lines = done.stderr.decode("utf-8", "replace").split("\n")
    return answers, ([line.strip() for line in lines if line.strip()] or [f"it ended with {done.returncode}"])[-1]


def parquet_shapes(python, *paths):
    """Of each file the names of the columns, a list of str, and the number of rows, an int.

    python is the path of the interpreter that has pyarrow. BadInput if a file cannot be read as Parquet, OSError if it cannot be opened.
    """
    if not python or not os.access(python, os.X_OK):
        raise BadInput(f"pyarrow reads Parquet, and the Python that has it is not there, {python or 'parquet_python'}: install the stack first")
    answers, log = ask(python, paths)
    if len(answers) < len(paths):
        raise BadInput(f"{python} could not read it with pyarrow: {log}")
    for answer in answers:
        if "problem" in answer:
            raise BadInput(f"it cannot be read as a Parquet file: {answer['problem']}")
    return [(answer["columns"], answer["rows"]) for answer in answers]
