"""The files of the method workflow: hands the inputs to Sparkflows in a directory of its own, and takes what it wrote from there.

Reads from standard input {"action": "hand_over" or "collect", "directory", "user", "prediction", "files": [{"name", "path", "staged"}],
"failures": {name: message}}, and writes the failures with those that were added.
"""

import csv
import glob
import json
import os
import pwd
import shutil
import sys

PREDICTION = "prediction"
csv.field_size_limit(sys.maxsize)


class Failure(Exception):
    """Why there is no scored file."""


def hand_over(task, file, place):
    """Each file gets a directory: what a workflow writes cannot get in the way of another one."""
    os.mkdir(place, 0o700)
    target = os.path.join(place, "input.csv")
    shutil.copyfile(file["path"], target)
    os.chmod(target, 0o600)
    if task["user"]:
        try:
            owner = pwd.getpwnam(task["user"])
        except KeyError:
            raise Failure(
                f"there is no user {task['user']} on this host: set score_offline_workflow_user to the user as whom Sparkflows runs"
            ) from None
        for path in (target, place, task["directory"]):
            os.chown(path, owner.pw_uid, owner.pw_gid)


def parts(place):
    """What the workflow wrote: one file, or a directory of part files, as Spark writes it."""
    output = os.path.join(place, "output.csv")
    found = [output] if os.path.lexists(output) else []
    if os.path.isdir(output):
        found = sorted(glob.glob(os.path.join(glob.escape(output), "part-*")))
    if not found:
        raise Failure(
            f"the workflow ended well, but wrote nothing to {output}: does it take its output from score_offline_workflow_parameters?"
        )
    return found


def rows(path):
    """The rows of a file of another user, who might have put a link or a pipe there."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="utf-8", newline="") as stream:
        yield from (row for row in csv.reader(stream, strict=True) if row)


def collect(task, file, place):
    """The input's columns and the prediction from what the workflow wrote, in one file. The role checks the values afterwards."""
    with open(file["path"], encoding="utf-8-sig", newline="") as stream:
        wanted = next(csv.reader(stream)) + [task["prediction"]]
    with open(file["staged"], "w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(wanted[:-1] + [PREDICTION])
        for part in parts(place):
            lines = rows(part)
            header = next(lines, None)
            if header is None:  # Spark writes empty part files
                continue
            missing = [name for name in wanted if name not in header]
            if missing:
                advice = "set score_offline_workflow_prediction_column" if missing == wanted[-1:] else "it has to write the input's columns, too"
                raise Failure(f"what the workflow wrote has no column {', '.join(missing[:5])}, but {', '.join(header[:20])}: {advice}")
            places = [header.index(name) for name in wanted]
            for line in lines:
                if len(line) != len(header):
                    raise Failure(f"a row of what the workflow wrote has {len(line)} values, but its header has {len(header)}")
                writer.writerow([line[at] for at in places])


def main():
    task = json.load(sys.stdin)
    failures = task["failures"]
    for number, file in enumerate(task["files"]):
        if file["name"] in failures:
            continue
        place = os.path.join(task["directory"], str(number))
        try:
            {"hand_over": hand_over, "collect": collect}[task["action"]](task, file, place)
        except Failure as failure:
            failures[file["name"]] = str(failure)
        except (csv.Error, UnicodeDecodeError) as error:
            failures[file["name"]] = f"what the workflow wrote is no CSV file in UTF-8 ({error})"
        except OSError as error:
            failures[file["name"]] = f"{error.filename or place}: {error.strerror or error}"
    json.dump(failures, sys.stdout)


if __name__ == "__main__":
    main()
