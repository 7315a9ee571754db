# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Unpacking archives of strangers: files and folders only, below one new directory, within limits."""

import gzip
import hashlib
import os
import stat
import tarfile
import zipfile
import zlib

from ansible_collections.sparkflows.mlops.plugins.module_utils.checksums import sha256
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError

PIECE = 1 << 20
# Headers and names of a tar archive are read in one go; no honest one is as large.
LARGEST_READ = 16 * PIECE
# A chain of name headers in a tar archive ends in a RecursionError.
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RecursionError)


class Limits:
    """How much an archive may hold; counted while it is read, because what an archive says about itself is only a claim."""

    def __init__(self, megabytes, files):
        self.megabytes, self.files = megabytes, files
        self.bytes_left, self.files_left = megabytes << 20, files

    def take_file(self):
        self.files_left -= 1
        if self.files_left < 0:
            raise MlopsError(f"it holds more than {self.files} files and folders (max_files)")

    def take_bytes(self, number):
        self.bytes_left -= number
        if self.bytes_left < 0:
            raise MlopsError(f"it holds more than {self.megabytes} MiB (max_unpacked_mb)")


def unpack(archive, directory, megabytes, files):
    """Unpack into `directory`, which must be new and empty. Nothing of it may be used if this raises."""
    limits = Limits(megabytes, files)
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, directory, limits)
        elif is_tar(archive):
            _unpack_tar(archive, directory, limits)
        else:
            raise MlopsError("it is neither zip nor tar nor tar.gz")
    except DAMAGED as error:
        raise MlopsError(f"it is damaged ({error})") from error
    except NotImplementedError as error:
        raise MlopsError(f"it is packed in a way that Python cannot unpack ({error})") from error
    except OSError as error:
        if error.errno:
            raise
        raise MlopsError(f"it is damaged ({error})") from error  # gzip says it so; BadGzipFile has a name since Python 3.8 only


def is_tar(path):
    try:
        with _plain(path) as stream, tarfile.open(fileobj=_Careful(stream), mode="r:"):
            return True
    except (MlopsError, OSError, *DAMAGED):
        return False


def _plain(path):
    with open(path, "rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else open(path, "rb")  # noqa: SIM115 - the caller closes it


class _Careful:
    """The file that tarfile reads, without the huge reads to which a forged header leads."""

    def __init__(self, stream, end=None):
        self.stream, self.end = stream, end
        self.tell = stream.tell

    def read(self, size=-1):
        if size < 0 or size > LARGEST_READ:
            raise MlopsError("it has a header that is too large")
        return self.stream.read(size)

    def seek(self, position, whence=0):
        # Skipping in a compressed file means unpacking what is skipped.
        if self.end is not None and (whence or position > self.end):
            raise MlopsError("it is larger than max_unpacked_mb and max_files allow")
        return self.stream.seek(position, whence)

    def seekable(self):
        return True


def _unpack_zip(archive, directory, limits):
    with zipfile.ZipFile(archive) as source:
        for member in source.infolist():
            limits.take_file()
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise MlopsError(f"{member.filename!r} is {_words(kind)}, and only files and folders are unpacked")
            if member.flag_bits & 1:
                raise MlopsError(f"{member.filename!r} is encrypted")
            place = _place(directory, member.orig_filename)
            if member.is_dir():
                _make(place)
            else:
                with source.open(member) as content:
                    _write(place, content, member.filename, limits)


def _unpack_tar(archive, directory, limits):
    # Beside its files an archive has a header of 512 bytes and as much padding for each, and its end.
    end = limits.bytes_left + 2048 * limits.files + LARGEST_READ
    with _plain(archive) as stream, tarfile.open(fileobj=_Careful(stream, end), mode="r:") as source:
        for member in source:
            limits.take_file()
            if not (member.isreg() or member.isdir()):
                words = "a link" if member.issym() or member.islnk() else "a device or another special file"
                raise MlopsError(f"{member.name!r} is {words}, and only files and folders are unpacked")
            place = _place(directory, member.name)
            if member.isdir():
                _make(place)
            else:
                if member.size > limits.bytes_left:
                    limits.take_bytes(member.size)
                with source.extractfile(member) as content:
                    _write(place, content, member.name, limits)


def _words(kind):
    return "a link" if kind == stat.S_IFLNK else "a device or another special file"


def _place(directory, name):
    """Where a member goes. A name that wants to be anywhere else is refused, not bent into shape."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\\" in name or not name.isprintable():
        raise MlopsError(f"{name!r} leads out of the target directory, or is no name for a file")
    return os.path.join(directory, *parts)


def _make(place):
    try:
        os.makedirs(place, mode=0o755, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise MlopsError(f"{os.path.basename(place)!r} is there twice, as a file and as a folder") from None


def _write(place, content, name, limits):
    _make(os.path.dirname(place))
    try:
        # A new file each time: what an earlier member made is never written through.
        target = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    except FileExistsError:
        raise MlopsError(f"{name!r} is there twice") from None
    with open(target, "wb") as stream:
        while True:
            piece = content.read(PIECE)
            if not piece:
                return
            limits.take_bytes(len(piece))
            stream.write(piece)


def content_sha256(directory):
    """One checksum over the names and contents of all files below; a link or a special file makes it differ, too."""
    digest = hashlib.sha256()
    for folder, folders, names in os.walk(directory):
        folders.sort()
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in sorted(names + links):
            path = os.path.join(folder, name)
            plain = stat.S_ISREG(os.lstat(path).st_mode)
            digest.update(f"{sha256(path) if plain else 'special'}  {os.path.relpath(path, directory)}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
