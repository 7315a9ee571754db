#!/usr/bin/python
# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: workflow_files
short_description: Hands files to a Sparkflows workflow, and takes what it wrote
version_added: 1.0.0
description:
  - Sparkflows runs as a user of its own, who may neither read every input nor write everywhere. So each input is copied
    to a directory that belongs to that user, and what the workflow wrote there is taken over afterwards.
  - V(handed_over) copies. V(collected) writes the input's columns and the prediction to C(staged), from one file or a
    directory of C(part-*) files. M(sparkflows.mlops.scored_files) compares the values.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
extends_documentation_fragment:
  - sparkflows.mlops.attributes
  - sparkflows.mlops.scored_files
options:
  state:
    description: The step.
    type: str
    choices: [handed_over, collected]
    required: true
  directory:
    description:
      - Directory that is there and empty. The file with the number I(n) in O(files) is C(n/input.csv) in it, the
        workflow writes to C(n/output.csv).
    type: path
    required: true
  files:
    description: The files, from RV(sparkflows.mlops.scored_files#module:pending).
    type: list
    elements: dict
    required: true
  user:
    description: User as whom Sparkflows runs. Empty leaves the copies to the user of this task.
    type: str
    default: ""
  prediction_column:
    description: Column of what the workflow writes that has the prediction.
    type: str
    default: prediction
notes:
  - What the workflow wrote is CSV in UTF-8 with a header, with quotation marks as RFC 4180 has them or as Spark writes
    them by default (C(\")). More columns than those of the input are left out.
seealso:
  - module: sparkflows.mlops.scored_files
  - module: sparkflows.mlops.sparkflows_workflow_run
attributes:
  check_mode:
    support: none
    details: Is skipped in check mode.
  diff_mode:
    support: none
  idempotent:
    support: none
    details: Each file is handed over and collected once.
"""

EXAMPLES = r"""
- name: Take over what was scored
  sparkflows.mlops.workflow_files:
    state: collected
    directory: /var/tmp/scoring-4f1c
    files: "{{ __plan.pending }}"
  register: __collected
"""

RETURN = r"""
failures:
  description: O(failures), and those that were added.
  returned: always
  type: dict
  sample: {a.csv: "the workflow ended well, but wrote nothing to /var/tmp/scoring-4f1c/0/output.csv: ..."}
"""

import glob
import os
import pwd
import shutil
from itertools import islice

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkflows.mlops.plugins.module_utils import csv_files
from ansible_collections.sparkflows.mlops.plugins.module_utils.csv_files import BadInput


def hand_over(params, file, place):
    """Each file gets a directory: what a workflow writes cannot get in the way of another one."""
    os.mkdir(place, 0o700)
    target = os.path.join(place, "input.csv")
    shutil.copyfile(file["path"], target)
    os.chmod(target, 0o600)
    if params["user"]:
        try:
            owner = pwd.getpwnam(params["user"])
        except KeyError:
            raise BadInput(
                f"there is no user {params['user']} on this host: set score_offline_workflow_user to the user as whom Sparkflows runs"
            ) from None
        for path in (target, place, params["directory"]):
            os.chown(path, owner.pw_uid, owner.pw_gid)


def parts(place):
    """What the workflow wrote: one file, or a directory of part files, as Spark writes it."""
    output = os.path.join(place, "output.csv")
    found = [output] if os.path.lexists(output) else []
    if os.path.isdir(output):
        found = sorted(glob.glob(os.path.join(glob.escape(output), "part-*")))
    if not found:
        raise BadInput(
            f"the workflow ended well, but wrote nothing to {output}: does it take its output from score_offline_workflow_parameters?"
        )
    packed = [path for path in found if not os.path.basename(path).endswith((".csv", ".txt")) and "." in os.path.basename(path)]
    if packed:
        raise BadInput(f"what the workflow wrote, {os.path.basename(packed[0])}, is no CSV file: it has to write CSV that is not compressed")
    return found


def rows(path, read):
    """The rows of a file of another user, who might have put a link or a pipe there."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="utf-8-sig", newline="") as stream:
        yield from (row[:2] for row in read(stream) if row[1])


def place_of(name, place, header, places):
    """Where a column of the input is in what the workflow wrote, None if nowhere."""
    if name in places:
        return places[name]
    return place if place < len(header) and csv_files.same_name(name, header[place], place) else None


def given_rows(path):
    with csv_files.open_text(path) as stream:
        yield from (values for _line, values, _text in csv_files.read_rows(stream) if values)


def collect(params, file, place):
    wanted = next(given_rows(file["path"]))
    found = parts(place)

    def attempt(read):
        given = enumerate(islice(given_rows(file["path"]), 1, None), 1)
        with open(file["staged"], "w", encoding="utf-8", newline="") as stream:
            write(stream, [*wanted, csv_files.PREDICTION])
            for part in found:
                take(rows(part, read), stream, given)

    def take(lines, stream, given):
        _line, header = next(lines, (0, None))
        if header is None:  # Spark writes empty part files
            return
        known = {name: place for place, name in enumerate(header) if name}
        places = [place_of(name, place, header, known) for place, name in enumerate(wanted)] + [known.get(params["prediction_column"])]
        missing = [name or "a column without a name" for name, place in zip([*wanted, params["prediction_column"]], places) if place is None]
        if missing:
            advice = "it has to write the input's columns, too" if None in places[:-1] else "set score_offline_workflow_prediction_column"
            raise BadInput(f"what the workflow wrote has no column {', '.join(missing[:5])}, but {', '.join(header[:20])}: {advice}")
        for line, values in lines:
            if len(values) != len(header):
                raise BadInput(f"line {line} of what the workflow wrote has {len(values)} values, but its header has {len(header)}")
            values = [values[place] for place in places]
            # How many rows there are is compared when they are put in place.
            for number, expected in islice(given, 1):
                problem = csv_files.row_difference(wanted, number, expected, line, values)
                if problem:
                    raise csv_files.Different(problem, number)
            write(stream, values)

    csv_files.read_scored(found, attempt)


def write(stream, values):
    stream.write(",".join(map(csv_files.quoted, values)) + "\n")


def main():
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["handed_over", "collected"], "required": True},
            "directory": {"type": "path", "required": True},
            "files": {"type": "list", "elements": "dict", "required": True},
            "user": {"type": "str", "default": ""},
            "prediction_column": {"type": "str", "default": "prediction"},
            "failures": {"type": "dict", "default": {}},
        }
    )
    params = module.params
    step = {"handed_over": hand_over, "collected": collect}[params["state"]]
    failures = dict(params["failures"])
    for number, file in enumerate(params["files"]):
        if file["name"] in failures:
            continue
        place = os.path.join(params["directory"], str(number))
        try:
            step(params, file, place)
        except BadInput as failure:
            failures[file["name"]] = str(failure)
        except UnicodeDecodeError as error:
            failures[file["name"]] = f"what the workflow wrote is not UTF-8 ({error})"
        except OSError as error:
            failures[file["name"]] = f"{error.filename or place}: {error.strerror or error}"
    module.exit_json(changed=True, failures=failures)


if __name__ == "__main__":
    main()
