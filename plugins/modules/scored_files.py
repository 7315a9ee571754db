#!/usr/bin/python
# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: scored_files
short_description: Plans the scoring of files, and puts the scored files in place with a record of what scored them
version_added: 1.0.0
description:
  - Scoring has three steps. This module does the first and the last, which are the same for every method; something
    else scores in between.
  - V(planned) finds the input files that have no valid entry in C(manifest.json) of the output directory, looks at
    each, and gives a path for its scored rows in a hidden directory of this run.
  - V(committed) compares what was scored with its input, moves it into the output directory and records it.
  - An entry of the manifest is valid if the checksums of input and output and O(identity) are those of now.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
extends_documentation_fragment:
  - sparkflows.mlops.attributes
  - sparkflows.mlops.scored_files
options:
  state:
    description: The step.
    type: str
    choices: [planned, committed]
    required: true
  input:
    description:
      - File, or directory whose files with an ending of O(formats) are meant. Hidden files and what lies deeper are
        not. For O(state=planned).
    type: path
  output:
    description:
      - Directory for the scored files, which have the names of the input files, and for C(manifest.json).
      - Made if it is missing. It and the files in it get owner, group and mode of the input's directory and files.
    type: path
    required: true
  identity:
    description:
      - What scores, for example C(method), C(model) with C(name), C(version) and C(checksum), and C(image).
      - Goes into the manifest. A file is scored again when it is not what it was then.
    type: dict
    required: true
  separator:
    description: What is between the values of the input's CSV files. The same for both states.
    type: str
    choices: [comma, semicolon, tab, pipe]
    default: comma
  encoding:
    description: Encoding of the input's CSV files, by its name in Python, for example V(cp1252). The same for both states.
    type: str
    default: utf-8
  formats:
    description: What the method can read, V(csv) or V(parquet) or both. For O(state=planned).
    type: list
    elements: str
    choices: [csv, parquet]
    default: [csv, parquet]
  quotation:
    description:
      - How the method writes a quotation mark between quotation marks. For O(state=committed).
      - V(doubled) is as RFC 4180 has it. With V(detected) it may be as Spark writes by default, C(\") and C(\\), too. Where a
        row is one in both ways, the input decides, and then the file itself, which is Spark's if all its backslashes between
        quotation marks are like that.
    type: str
    choices: [doubled, detected]
    default: detected
  parquet_python:
    description:
      - Path of a Python that has pyarrow, on the host. It reads Parquet files, which are refused without it. The same for both states.
      - Where it is not there in check mode, the rows of Parquet files are not counted; the stack may be yet to be installed.
    type: path
  pending:
    description: RV(pending) of the plan. For O(state=committed).
    type: list
    elements: dict
    default: []
notes:
  - CSV has a header in its first line and is quoted by C("). A quoted value may have line breaks; empty lines are no
    rows; columns may be without a name.
  - A CSV file that not every reader would understand (another separator or encoding, a mark before UTF-8, a quotation
    mark in the middle of a value, line ends of carriage returns only) is given to the method as a copy in UTF-8 with
    commas, in the hidden directory.
  - The scored file has the rows and columns of the input in their order, and the column C(prediction) after them. What
    the method wrote may have numbers in another way, and quotation marks as Spark writes them; the rows of a CSV file
    come out as they went in, character by character. For CSV every value is compared; for Parquet, columns and number
    of rows.
  - One run at a time for each O(output). A run that starts while another one scores takes that one's hidden directory
    away, and its files fail.
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Names the files.
  idempotent:
    support: full
    details: What has a valid entry in the manifest is not planned again.
"""

EXAMPLES = r"""
- name: Find what is to be scored
  sparkflows.mlops.scored_files:
    state: planned
    input: /data/in
    output: /data/scored
    identity: "{{ identity }}"
  register: __plan

- name: Put it in place
  sparkflows.mlops.scored_files:
    state: committed
    output: /data/scored
    identity: "{{ identity }}"
    pending: "{{ __plan.pending }}"
"""

RETURN = r"""
pending:
  description:
    - What is to be scored. C(path) is what the method has to read, C(staged) where it has to write the scored rows.
    - C(source) is the input file; it is C(path), too, unless a copy had to be made.
  returned: if O(state=planned)
  type: list
  elements: dict
  sample:
    - name: a.csv
      path: /data/in/a.csv
      source: /data/in/a.csv
      staged: /data/scored/.staging/4f1c/a.csv
      format: csv
      bytes: 120000
      rows: 569
      sha256: 0a6e...
      started: 1760000000.0
valid:
  description: Names of the files that are scored already, by the same and from the same.
  returned: if O(state=planned)
  type: list
  elements: str
refused:
  description: Files that cannot be scored, with the reason.
  returned: if O(state=planned)
  type: dict
  sample: {b.csv: "the file is empty"}
staging:
  description: Directory of the staged files, empty in check mode.
  returned: if O(state=planned)
  type: str
  sample: /data/scored/.staging/4f1c
committed:
  description: Names of the files that were put in place.
  returned: if O(state=committed)
  type: list
  elements: str
failures:
  description: Files that were not put in place, with the reason.
  returned: if O(state=committed)
  type: dict
  sample: {b.csv: "it has 569 rows, but 567 were scored"}
rows:
  description: Rows that were put in place.
  returned: if O(state=committed)
  type: int
  sample: 569
"""

import os
import shutil
import stat
import tempfile
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkflows.mlops.plugins.module_utils.checksums import sha256
from ansible_collections.sparkflows.mlops.plugins.module_utils.csv_files import SEPARATORS
from ansible_collections.sparkflows.mlops.plugins.module_utils.csv_files import BadInput as Refused
from ansible_collections.sparkflows.mlops.plugins.module_utils.places import give_like, make_directories, relabel
from ansible_collections.sparkflows.mlops.plugins.module_utils.scoring_comparison import COMPARE
from ansible_collections.sparkflows.mlops.plugins.module_utils.scoring_inputs import LOOK_AT, Dialect, format_of, unlike, write_plain
from ansible_collections.sparkflows.mlops.plugins.module_utils.scoring_manifest import MANIFEST, Manifest

STAGING = ".staging"


class Stop(Exception):
    """Why nothing can be done at all."""


def sync(path):
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def dialect_of(params):
    return Dialect(*(params[name] for name in ("separator", "encoding", "quotation", "parquet_python")))


# ---- planned
def find(params):
    """Paths of the input files by name."""
    path, formats = params["input"], params["formats"]
    if os.path.isdir(path):
        # A directory may have other things in it; a format that the method cannot read is told, not passed over.
        names = sorted(name for name in os.listdir(path) if not name.startswith(".") and (format_of(name) or unlike(name)))
        if not names:
            raise Stop(f"there is no {' or '.join('*.' + name for name in formats)} in the directory {path}")
        return {name: os.path.join(path, name) for name in names}
    if not os.path.exists(path):
        raise Stop(f"there is no file or directory {path} on this host")
    return {os.path.basename(path): path}


def examine(name, path, formats):
    """What the plan knows about one input file, or Refused."""
    if not name.isprintable():
        raise Refused("its name has characters that cannot be shown: rename it")
    if unlike(name):
        raise Refused(unlike(name))
    if format_of(name) not in formats:
        raise Refused(f"this method scores {' and '.join(formats)} files only, told by the ending of the name")
    if not os.path.isfile(path):
        raise Refused("it is not a file; to score the files of a directory, name the directory itself as the input")
    size = os.path.getsize(path)
    if not size:
        raise Refused("the file is empty")
    return {"name": name, "path": path, "format": format_of(name), "bytes": size, "sha256": sha256(path)}


def is_yet_to_be_read(module, entry, dialect):
    """Whether check mode runs on a host that has no stack yet, and so nothing that reads Parquet."""
    python = dialect.parquet_python
    return module.check_mode and entry["format"] == "parquet" and bool(python) and not os.path.exists(python)


def rows_of(entry):
    return "rows are counted when the stack is installed" if entry["rows"] is None else f"{entry['rows']} rows"


def plan(module):
    params = module.params
    output = params["output"]
    if os.path.exists(output) and not os.path.isdir(output):
        raise Stop(f"{output} is not a directory")
    paths = find(params)
    folder = params["input"] if os.path.isdir(params["input"]) else os.path.dirname(params["input"])
    if os.path.realpath(folder) == os.path.realpath(output):
        raise Stop(f"{output} is where the input lies: the scored files, which have the same names, would replace it")
    manifest = Manifest(output, module.warn)
    dialect = dialect_of(params)
    pending, valid, refused = [], [], {}
    for name, path in paths.items():
        try:
            entry = examine(name, path, params["formats"])
            if manifest.is_valid(name, entry["sha256"], params["identity"], dialect, os.path.join(output, name)):
                valid.append(name)
                continue
            entry["rows"], entry["plain"] = (None, True) if is_yet_to_be_read(module, entry, dialect) else LOOK_AT[entry["format"]](path, dialect)
            if entry["rows"] == 0:
                raise Refused("it has a header, but no rows")
            pending.append(entry)
        except Refused as exc:
            refused[name.encode("utf-8", "backslashreplace").decode()] = str(exc)
        except OSError as exc:
            refused[name] = f"{exc.filename or path}: {exc.strerror}"
    check_space(output, pending)

    staging = "" if module.check_mode or not pending else stage(module, output, folder)
    left_over = os.path.join(output, STAGING)
    if not pending and not module.check_mode and os.path.isdir(left_over):
        shutil.rmtree(left_over)
    started = time.time()
    for entry in pending:
        entry.update(staged=os.path.join(staging or left_over, entry["name"]), source=entry["path"], started=started)
        if not entry.pop("plain") and staging:
            entry["path"] = copy_plain(entry, staging, dialect)
    return {
        "changed": bool(pending),
        "diff": {"prepared": "".join(f"to score: {entry['name']} ({rows_of(entry)})\n" for entry in pending)},
        "pending": pending,
        "valid": valid,
        "refused": refused,
        "staging": staging,
    }


def copy_plain(entry, staging, dialect):
    """What the method is given instead of a file that not every reader would understand."""
    folder = os.path.join(staging, "given")
    os.makedirs(folder, mode=0o755, exist_ok=True)
    path = os.path.join(folder, entry["name"])
    write_plain(entry["source"], path, dialect)
    give_like(path, entry["source"])
    return path


def check_space(output, pending):
    """The scored file is the input and one more column; beside it may be a copy that the method reads."""
    needed = sum(entry["bytes"] * (1 if entry["plain"] else 2) for entry in pending)
    while not os.path.exists(output):
        output = os.path.dirname(output)
    space = os.statvfs(output)
    free = space.f_bavail * space.f_frsize
    if needed > free:
        raise Stop(
            f"the scored files need about {needed // 1024 + 1} KiB, but the file system of {output} has "
            f"{free // 1024} KiB free: make room, or choose another output directory"
        )


def stage(module, output, model):
    """A fresh directory on the file system of the output, so that a file can be put in place by renaming it."""
    missing = not os.path.isdir(output)
    make_directories(module, output)
    if missing:
        give_like(output, model)
    parent = os.path.join(output, STAGING)
    if os.path.islink(parent) or os.path.isfile(parent):
        os.unlink(parent)
    elif os.path.isdir(parent):
        shutil.rmtree(parent)  # of a run that was killed
    make_directories(module, parent)
    return tempfile.mkdtemp(dir=parent)


# ---- committed
def verify(entry, identity, dialect, now):
    """The manifest's entry for a staged file that is what it has to be, or Refused."""
    staged, path = entry["staged"], entry["source"]
    try:
        kind = os.lstat(staged)
    except FileNotFoundError as exc:
        raise Refused("nothing was scored") from exc
    # Who scored may be less than root: no link of theirs is followed and moved into place.
    if not stat.S_ISREG(kind.st_mode) or kind.st_nlink > 1:
        raise Refused("what was scored is not a plain file")
    if not kind.st_size:
        raise Refused("what was scored is empty")
    if not os.path.isfile(path) or sha256(path) != entry["sha256"]:
        raise Refused("the input changed while it was scored")
    rows = COMPARE[entry["format"]](path, staged, dialect)
    give_like(staged, path)
    sync(staged)
    given = {"path": path, "sha256": entry["sha256"], "bytes": int(entry["bytes"]), "rows": int(entry["rows"])}
    return {
        "scored_by": identity,
        "input": dict(given, **dialect.record),
        "output": {"sha256": sha256(staged), "bytes": os.path.getsize(staged), "rows": rows},
        "seconds": round(max(0.0, kind.st_mtime - float(entry["started"])), 3),
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
    }


def take_back(directory):
    """Who scored may have been given the directory. From here on nobody else exchanges what is looked at."""
    if os.path.isdir(directory):
        os.chmod(directory, 0o700)
        if os.geteuid() == 0:
            os.chown(directory, 0, 0)


def commit(module):
    params = module.params
    output, pending = params["output"], {entry["name"]: entry for entry in params["pending"]}
    failures = {name: str(message) for name, message in params["failures"].items()}
    dialect, done = dialect_of(params), {}
    if not module.check_mode:
        for directory in {os.path.dirname(entry["staged"]) for entry in pending.values()}:
            take_back(directory)
    for name, entry in pending.items():
        if name in failures:
            continue
        try:
            done[name] = verify(entry, params["identity"], dialect, time.time())
            if os.path.isdir(os.path.join(output, name)):
                raise Refused(f"{os.path.join(output, name)} is a directory")
        except Refused as exc:
            failures[name] = str(exc)
            done.pop(name, None)
        except OSError as exc:
            failures[name] = f"{exc.filename or entry['staged']}: {exc.strerror}"
    if done and not module.check_mode:
        try:
            record(module, Manifest(output, module.warn), done, pending, output)
        except OSError as exc:
            reason = f"{exc.filename or output}: {exc.strerror}"
            failures.update({name: f"it was scored, but cannot be recorded in {MANIFEST}: {reason}" for name in done})
            done = {}
    if not module.check_mode:
        shutil.rmtree(os.path.join(output, STAGING), ignore_errors=True)
    return {
        "changed": bool(done),
        "diff": {"prepared": "".join(f"scored: {name} ({entry['output']['rows']} rows)\n" for name, entry in done.items())},
        "committed": sorted(done),
        "failures": failures,
        "rows": sum(entry["output"]["rows"] for entry in done.values()),
    }


def record(module, manifest, done, pending, output):
    """First the new manifest beside the old one, then the files, then the new manifest in place of the old one.

    Whatever fills up does so before a file appears. Killed in between, files lie there that the manifest does not know;
    the next run scores them again.
    """
    temporary = manifest.prepare(done)
    try:
        for name in done:
            relabel(module, pending[name]["staged"], os.path.join(output, name))
            os.rename(pending[name]["staged"], os.path.join(output, name))
        sync(output)
        relabel(module, temporary, manifest.path)
        manifest.replace(temporary)
    except BaseException:
        os.unlink(temporary)
        raise
    sync(output)


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["planned", "committed"], "required": True},
            "input": {"type": "path"},
            "output": {"type": "path", "required": True},
            "identity": {"type": "dict", "required": True},
            "separator": {"type": "str", "choices": list(SEPARATORS), "default": "comma"},
            "encoding": {"type": "str", "default": "utf-8"},
            "formats": {"type": "list", "elements": "str", "choices": list(LOOK_AT), "default": list(LOOK_AT)},
            "quotation": {"type": "str", "choices": ["doubled", "detected"], "default": "detected"},
            "parquet_python": {"type": "path"},
            "pending": {"type": "list", "elements": "dict", "default": []},
            "failures": {"type": "dict", "default": {}},
        },
        required_if=[["state", "planned", ["input"]]],
        supports_check_mode=True,
    )
    if not module.params["identity"]:
        module.fail_json(msg="identity is empty: say what scores")
    try:
        "".encode(module.params["encoding"])
    except LookupError:
        module.fail_json(msg=f"there is no encoding {module.params['encoding']}: set score_offline_encoding to utf-8, cp1252, utf-16 or the like")
    for name in ("input", "output"):
        if module.params[name] is not None:
            module.params[name] = os.path.abspath(module.params[name])
    failure = ""
    try:
        result = plan(module) if module.params["state"] == "planned" else commit(module)
    except Stop as exc:
        failure = str(exc)
    except OSError as exc:
        failure = f"{exc.filename or module.params['output']}: {exc.strerror or exc}"
    else:
        module.exit_json(**result)
    module.fail_json(msg=f"Cannot score: {failure}.")


if __name__ == "__main__":
    main()
