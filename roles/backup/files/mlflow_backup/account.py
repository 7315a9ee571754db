"""Whose rights are used where. What lies in folders of MLflow's account is touched with that account's rights: it could put a link there."""

import os
import stat
from contextlib import contextmanager


def ids(settings):
    """Of MLflow's account."""
    import grp
    import pwd

    return pwd.getpwnam(settings["user"]).pw_uid, grp.getgrnam(settings["group"]).gr_gid


def only_root_s(path):
    """Whether nobody but root can say what this path means: as it is written, and where that leads."""
    return all(is_root_s(place) for start in (path, os.path.realpath(path)) for place in upwards(start))


def upwards(path):
    while path != "/":
        yield path
        path = os.path.dirname(path)


def is_root_s(place):
    found = os.lstat(place)
    # Whoever may write in a folder that all use as /tmp cannot rename what is another's there.
    others_write = found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX and not stat.S_ISLNK(found.st_mode)
    return found.st_uid == 0 and not others_write


@contextmanager
def acting_as(account):
    """With rights and umask of MLflow's services. Other than root nobody can do that, and nobody else runs this but in tests."""
    umask = os.umask(0o027)
    switched = os.geteuid() == 0 and account[0] != 0
    groups = os.getgroups() if switched else []
    try:
        if switched:
            os.setgroups([account[1]])
            os.setegid(account[1])
            os.seteuid(account[0])
        yield
    finally:
        if switched:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)
        os.umask(umask)


@contextmanager
def beside(path, account):
    """To make and rename what lies beside path: with root's rights only where the folder is root's."""
    with acting_as((0, 0) if only_root_s(os.path.dirname(path)) else account):
        yield
