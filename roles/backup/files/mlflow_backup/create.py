"""Making an archive."""

import glob
import os
import shutil
import tempfile
import time

from . import archive, artifacts, database, rotation, scratch
from .disk import sync_folder
from .encryption import encrypt
from .journal import Journal
from .problems import Problem
from .settings import Instance

PART = ".mlflow-backup-"
MEGABYTE = 1024**2


def create(settings, now=None):
    cut_off = Journal(settings).open_kind
    if cut_off:
        raise Problem(f"The last {cut_off} on this host was cut off, so that what is there is no state to keep: run its playbook again, which puts "
                      "it right first.")
    now, instance, directory = now or time.time(), Instance(settings), settings["directory"]
    kind = database.kind_of(instance.database_uri)
    check_room(settings, *sizes(settings, instance, kind))
    forget_parts(directory)
    folder = tempfile.mkdtemp(prefix=PART, dir=directory)
    try:
        made = os.path.join(folder, rotation.archive_name(settings["host"], now))
        manifest, notes = write(settings, instance, kind, folder, made, now)
        verified = verify(made, folder, instance) if settings["verify"] else ""
        ready = encrypt(made, settings["recipient"], folder) if settings["recipient"] else made
        final = os.path.join(directory, os.path.basename(ready))
        os.rename(ready, final)
        sync_folder(directory)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    removed = list(rotation.too_many_or_too_old(rotation.archives(directory, settings["host"]), settings["keep_count"], settings["keep_days"], now))
    for name in removed:
        os.unlink(os.path.join(directory, name))
    manifest.pop("members", None)
    return {"archive": final, "bytes": os.path.getsize(final), "manifest": manifest, "verified": verified, "removed": removed, "notes": notes}


def sizes(settings, instance, kind):
    """Bytes of the database, and of the artifacts that are copied."""
    copied = settings["artifacts"] == "auto"
    if copied:
        artifacts.check(instance.artifacts)
    return kind.size(instance.database_uri), artifacts.size(instance.artifacts) if copied and artifacts.is_directory(instance.artifacts) else 0


def check_room(settings, database_bytes, artifact_bytes):
    """The copy of the database and the archive lie there at once, and so do a plain and an encrypted archive. Nothing is counted as packed."""
    whole = database_bytes + artifact_bytes
    # A verified one is unpacked as far as its database goes.
    needed = database_bytes * (2 if settings["verify"] else 1) + whole * (2 if settings["recipient"] else 1) + settings["minimum_free_mb"] * MEGABYTE
    free = shutil.disk_usage(settings["directory"]).free
    if free < needed:
        free, needed, directory = free // MEGABYTE, needed // MEGABYTE, settings["directory"]
        raise Problem(f"There is not enough room for a backup in {directory}: {free} MB are free, and {needed} MB have to be, "
                      f"{settings['minimum_free_mb']} MB of them to stay free (backup_minimum_free_mb). Make room, or set backup_dir to another "
                      "place.")


def forget_parts(directory):
    """What a killed run has left. Nobody else runs: the lock is held."""
    for path in glob.glob(os.path.join(glob.escape(directory), PART + "*")):
        shutil.rmtree(path)


def write(settings, instance, kind, folder, made, now):
    copy, notes = os.path.join(folder, "database"), []
    kind.copy(instance.database_uri, copy)
    revision, counts = kind.count(copy)
    with open(made, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as stream:
        writer = archive.Writer(stream)
        writer.add_path(kind.member, copy)
        os.unlink(copy)
        kept = add_artifacts(settings, instance, writer, folder, notes)
        for path in configuration(settings):
            writer.add_path("configuration" + path, path)
        manifest = {
            "form": archive.FORM,
            "site": settings["site"],
            "host": settings["host"],
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
            "release": instance.release,
            "database": {"kind": kind.name, "revision": revision, "counts": counts},
            "artifacts": kept,
            "served": instance.served,
        }
        writer.close(manifest)
        stream.flush()
        os.fsync(stream.fileno())
    return manifest, notes


def add_artifacts(settings, instance, writer, folder, notes):
    if settings["artifacts"] != "auto":
        return {"kept": "none", "place": instance.artifacts}
    if not artifacts.is_directory(instance.artifacts):
        path = os.path.join(folder, "keys")
        summary = artifacts.write_keys(artifacts.keys(artifacts.client(instance.environment), instance.artifacts), path)
        writer.add_path("artifacts.jsonl", path)
        if summary["objects"] > summary["with_version"]:
            notes.append("The bucket keeps no versions: what is overwritten or deleted there is in no backup.")
        return dict(summary, kept="by reference", place=instance.artifacts)
    summary = {"kept": "copied", "place": instance.artifacts, "objects": 0, "bytes": 0}
    for name, file in artifacts.files(instance.artifacts):
        if not writer.add("artifacts/" + name, file):
            notes.append(f"{name} was written all the time that it was read, and may be half in the archive.")
        summary["objects"] += 1
        summary["bytes"] += os.fstat(file.fileno()).st_size
    return summary


def configuration(settings):
    """Files that the collection has written, by the patterns of the role. Links are left out: where they lead is said in the manifest (release)."""
    paths = {path for pattern in settings["configuration"] for path in glob.glob(pattern, recursive=True)}
    return sorted(path for path in paths if os.path.isfile(path) and not os.path.islink(path))


def verify(path, folder, instance):
    """The archive as it lies there, read from its begin to its end, and its database loaded."""
    scratched = os.path.join(folder, "scratch")
    os.mkdir(scratched, 0o700)
    try:
        manifest = archive.read(path, lambda name: os.path.join(scratched, os.path.basename(name)) if name.startswith("database/") else None)
        copy = os.path.join(scratched, os.path.basename(database.KINDS[manifest["database"]["kind"]].member))
        return scratch.verify(manifest, copy, instance.database_uri, instance.settings["host"])
    finally:
        shutil.rmtree(scratched)
