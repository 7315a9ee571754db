# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What programs say of a host."""

import os
import subprocess


def answer(argv):
    """What a program says. Not by run_command, which changes directory and environment of the whole process: questions are asked side by side."""
    code, out, err = 0, "", ""
    if argv:
        try:
            pipe, environment = subprocess.PIPE, dict(os.environ, LC_ALL="C")
            with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=environment) as asked:  # pylint: disable=ansible-bad-function
                out, err = (text.decode(errors="replace") for text in asked.communicate())
            code = asked.returncode
        except OSError as exc:
            code, err = 127, f"{exc.strerror}: {argv[0]}"
    return {"cmd": argv, "rc": code, "stdout": out, "stdout_lines": out.splitlines(), "stderr": err, "stderr_lines": err.splitlines()}
