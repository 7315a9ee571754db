"""Links and small files of root, switched together: the release that is live, its Java and Python, settings and units. What was there and what comes
are in the journal, so each is written wherever whoever was before was cut off."""

import base64
import os

from . import services
from .disk import sync_folder
from .problems import Problem


def capture(path):
    """All that it takes to put a file or a link back, None if there is neither. As module mlops_service keeps it."""
    if os.path.islink(path):
        return {"link": os.readlink(path)}
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            content = base64.b64encode(file.read()).decode("ascii")
    except FileNotFoundError:
        return None
    return {"content": content, "mode": status.st_mode & 0o7777, "owner": status.st_uid, "group": status.st_gid}


def beside(path):
    """Where it is written before it has its name."""
    return os.path.join(os.path.dirname(path), ".mlflow-switch-" + os.path.basename(path))


def remove(path):
    if os.path.lexists(path):
        os.unlink(path)


def write(path, what):
    """By one rename, or one removal."""
    if what is None:
        remove(path)
    else:
        part = beside(path)
        # Of one that was cut off.
        remove(part)
        if "link" in what:
            os.symlink(what["link"], part)
        else:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
                file.write(base64.b64decode(what["content"]))
                if os.geteuid() == 0:
                    os.fchown(file.fileno(), what["owner"], what["group"])
                os.fchmod(file.fileno(), what["mode"])
                file.flush()
                os.fsync(file.fileno())
        os.rename(part, path)
    sync_folder(os.path.dirname(path))


def staged(folder):
    """Path -> what lies for it below a folder."""
    for where, _folders, names in os.walk(folder):
        for name in sorted(names):
            path = os.path.join(where, name)
            yield path[len(folder.rstrip("/")):], capture(path)


def part(wanted):
    """Of the journal: those of path -> what is to be there that are not there yet."""
    changes = []
    for path, will in sorted(wanted.items()):
        if will and "link" in will and os.path.lexists(path) and not os.path.islink(path):
            raise Problem(f"{path} is no link, so it cannot be switched: move it out of the way.")
        was = capture(path)
        if was != will:
            changes.append({"path": path, "was": was, "will": will})
    return {"kind": "entries", "changes": changes}


def back(one):
    """Of the journal: what undoes a part that was switched, whatever has become of it since."""
    return part({change["path"]: change["was"] for change in one["changes"]})


class Entries:
    kept = ""

    def __init__(self, one):
        self.changes = one["changes"]

    def still(self):
        """Who reads them has ended."""

    def apply(self):
        for change in self.changes:
            write(change["path"], change["will"])
        self.reload()

    def revert(self):
        for change in reversed(self.changes):
            write(change["path"], change["was"])
        self.reload()

    @staticmethod
    def reload():
        """Units may be among them."""
        services.systemctl("daemon-reload")

    def discard(self):
        """They are in the journal alone, but for what was cut off."""
        for change in self.changes:
            remove(beside(change["path"]))

    def forget(self):
        """Who undoes it later finds what was there in the record."""
