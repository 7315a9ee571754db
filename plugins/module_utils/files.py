# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writing files that hold secrets."""

import os
import tempfile

from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError


def write_private(module, path, data, owner_of_directory=False):
    """Replace `path` in one step; owner and mode stay, and a new file has mode 0600.

    atomic_move copies owner and mode of the file it replaces, but gives a new file the mode of the umask, which may let
    others read it. So a new file is made empty and private first.
    """
    path = os.path.realpath(path)  # replace the file, not a link to it
    directory = os.path.dirname(path)
    try:
        if not os.path.exists(path):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            if owner_of_directory and os.geteuid() == 0:
                status = os.stat(directory)
                os.chown(path, status.st_uid, status.st_gid)
        handle, temporary = tempfile.mkstemp(dir=module.tmpdir)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        module.atomic_move(temporary, path)
    except OSError as error:
        raise MlopsError(f"Cannot write {path}: {error.strerror or error}.") from error


def read_bytes(path):
    """The content, or None where there is no such file."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MlopsError(f"Cannot read {path}: {error.strerror or error}.") from error


def require_directory(path, option, writable=True):
    """Fail before anything is changed if the directory for a file is missing or closed to us."""
    directory = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(directory):
        raise MlopsError(f"{option}: there is no directory {directory} on this host.")
    if writable and not os.access(directory, os.W_OK):
        raise MlopsError(f"{option}: the directory {directory} is not writable for this user; is become missing?")
