"""The archive: a tar with gzip, whose last member is the manifest with the size and SHA-256 of each other one."""

import gzip
import hashlib
import io
import json
import os
import tarfile
import zlib
from contextlib import nullcontext

from .problems import Damaged, Problem

FORM = 1
MANIFEST = "manifest.json"
PIECE = 1 << 20
# Models are packed already, for the most part.
COMPRESSION = 1
# How often a file that is written meanwhile is read again.
ATTEMPTS = 5
DAMAGES = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, KeyError, TypeError, AttributeError)


class Hashing:
    """Hands a file on, and keeps its SHA-256. One that has become shorter is filled up, and then read again: tar has said already how long it is."""

    def __init__(self, file):
        self.file, self.digest = file, hashlib.sha256()

    def read(self, size=-1):
        data = self.file.read(size)
        data += b"\0" * (size - len(data))
        self.digest.update(data)
        return data


class Writer:
    def __init__(self, stream):
        self.tar = tarfile.open(fileobj=stream, mode="w:gz", compresslevel=COMPRESSION, format=tarfile.PAX_FORMAT)  # noqa: SIM115 - close() does it
        self.members = {}

    def add(self, name, file):
        """A file that changes while it is read is read again, and the last one counts: tar takes that for the member."""
        for _attempt in range(ATTEMPTS):
            file.seek(0)
            before = os.fstat(file.fileno())
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = before.st_size, int(before.st_mtime), before.st_mode & 0o777
            hashing = Hashing(file)
            self.tar.addfile(info, hashing)
            self.members[name] = {"size": info.size, "sha256": hashing.digest.hexdigest()}
            after = os.fstat(file.fileno())
            if (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns):
                return True
        return False

    def add_path(self, name, path):
        with open(path, "rb") as file:
            self.add(name, file)

    def close(self, manifest):
        data = json.dumps(dict(manifest, members=self.members), indent=1, sort_keys=True).encode("utf-8")
        info = tarfile.TarInfo(MANIFEST)
        info.size, info.mode = len(data), 0o600
        self.tar.addfile(info, io.BytesIO(data))
        self.tar.close()


def identity(manifest):
    """What an archive is known by, whatever it is called and whether it is encrypted: the digest of all that it says, checksums included."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode("utf-8")).hexdigest()


def read(path, place=lambda name: None, rights=nullcontext):
    """The manifest of an archive in which every member is as it says. place(name) says where a member is put, None: nowhere; rights(): with whose."""
    found, manifest = {}, None
    try:
        # Opened before: who reads it may not be who may open it.
        with open(path, "rb") as file, rights(), gzip.open(file) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            for member in tar:
                if not member.isreg() or member.name.startswith("/") or ".." in member.name.split("/"):
                    raise Damaged(f"{path} is no backup of MLflow: it holds {member.name!r}.")
                content = tar.extractfile(member)
                if member.name == MANIFEST:
                    manifest = json.loads(content.read().decode("utf-8"))
                    continue
                found[member.name] = {"size": member.size, "sha256": put(content, place(member.name), member)}
            # The checksum of gzip comes at its end, after that of tar.
            while packed.read(PIECE):
                pass
    except DAMAGES as exc:
        if getattr(exc, "errno", None):  # of the disk, and not of what is on it
            raise Problem(f"{path} cannot be read, or what is in it not be written: {exc}") from None
        raise Damaged(f"{path} is damaged: {exc}. Take another archive.") from None
    if manifest is None:
        raise Damaged(f"{path} is no backup of MLflow, or its end is missing: it has no manifest.")
    if manifest.get("form") != FORM:
        form = manifest.get("form")
        raise Damaged(f"{path} has the form {form}, and this program knows {FORM}: use the version of the collection that wrote it.")
    wrong = sorted(name for name in set(found) | set(manifest["members"]) if found.get(name) != manifest["members"].get(name))
    if wrong:
        raise Damaged(f"{path} is damaged. Not as the manifest says: {', '.join(wrong[:5])}. Take another archive.")
    return manifest


def put(content, target, member):
    """The SHA-256 of what is read, written to target if there is one."""
    digest = hashlib.sha256()
    if target:
        os.makedirs(os.path.dirname(target), mode=0o750, exist_ok=True)
    file = open(target, "wb") if target else io.BytesIO()  # noqa: SIM115 - closed below
    with file:
        for piece in iter(lambda: content.read(PIECE), b""):
            digest.update(piece)
            if target:
                file.write(piece)
        if target:
            file.flush()
            os.fsync(file.fileno())
            os.chmod(target, member.mode & 0o777)
            os.utime(target, (member.mtime, member.mtime))
    return digest.hexdigest()
