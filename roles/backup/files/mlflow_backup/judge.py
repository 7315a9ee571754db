"""Whether an archive can be restored on this host, before anything is touched."""

import os
import shutil
from urllib.parse import urlsplit

from . import artifacts, database, postgresql, release
from .account import ids
from .problems import Problem

MEGABYTE = 1024**2


def inspect(manifest, identity):
    """What is judged of an archive: its manifest without the list of members, and how much each kind of member takes."""
    manifest = dict(manifest)
    members = manifest.pop("members")
    sizes = {kind: sum(one["size"] for name, one in members.items() if name.startswith(kind + "/")) for kind in ("database", "artifacts")}
    return {"identity": identity, "manifest": manifest, "bytes": sizes}


def problems(settings, instance, found, wanted):
    """Each why the archive is not taken. found: of inspect. wanted: other_site and so on, as they were asked for."""
    manifest = found["manifest"]
    if manifest["site"] != settings["site"] and not wanted["other_site"]:
        yield (f"it is of the site {manifest['site']} (host {manifest['host']}), and this is {settings['site']}: set restore_other_site to true if "
               "that is meant.")
    yield from release.problems(manifest)
    kind = instance.database_uri.split("://", 1)[0].split("+", 1)[0]
    if kind != manifest["database"]["kind"]:
        yield (f"its database is {manifest['database']['kind']}, and MLflow's on this host is {kind}: it can be restored on a host with the same "
               "kind only.")
    else:
        yield from database_problems(instance)
        yield from artifact_problems(instance, manifest)
        yield from room_problems(settings, instance, found)


def database_problems(instance):
    if database.kind_of(instance.database_uri) is database.Sqlite:
        yield from link_problems("the database", database.Sqlite.path(instance.database_uri), "mlflow_server_backend_store_uri")
        return
    for program in ("psql", "pg_restore"):
        try:
            database.need(program)
        except Problem as exc:
            yield str(exc)
            return
    refused = postgresql.may_load(instance.database_uri)
    if refused:
        yield f"it cannot be loaded into the database: {refused}."


def link_problems(what, path, variable):
    if os.path.islink(path):
        yield f"{what} {path} is a link on this host: set {variable} to where it leads ({os.path.realpath(path)})."
    elif not os.path.isdir(os.path.dirname(path)):
        yield f"there is no directory {os.path.dirname(path)} on this host: run playbooks/mlflow.yml first."


def artifact_problems(instance, manifest):
    kept, here = manifest["artifacts"], instance.artifacts
    if kept["kept"] == "copied":
        if not artifacts.is_directory(here):
            yield (f"its artifacts were in the directory {kept['place']}, and this host keeps them in {here}: restore it on a host with a directory "
                   "(mlops_s3_bucket empty).")
        elif os.path.ismount(here):
            yield (f"the artifacts are in {here}, on which a disk is mounted, so that another directory cannot take its place: set "
                   "mlflow_server_artifacts_destination to a directory below it.")
        else:
            yield from link_problems("the directory of artifacts", here, "mlflow_server_artifacts_destination")
    elif kept["kept"] == "by reference" and kept["place"].rstrip("/") != here.rstrip("/"):
        yield (f"it lists artifacts in {kept['place']}, and has none itself; this host keeps them in {here}: set mlops_s3_bucket and mlops_s3_prefix "
               "to the same place.")


def places(instance, found):
    """(path, bytes) of what is staged in a file system of this host. An older schema is upgraded there, which copies tables."""
    if found["manifest"]["database"]["kind"] == "sqlite":
        yield database.Sqlite.path(instance.database_uri), 2 * found["bytes"]["database"]
    if found["manifest"]["artifacts"]["kept"] == "copied":
        yield instance.artifacts, found["bytes"]["artifacts"]


def room_problems(settings, instance, found):
    needed, folders = {}, {}
    for path, size in places(instance, found):
        folder = os.path.dirname(path)
        if os.path.isdir(folder):
            device = os.stat(folder).st_dev
            needed[device], folders[device] = needed.get(device, 0) + size, folder
    for device, size in needed.items():
        yield from room_problem(folders[device], size, settings["minimum_free_mb"])


def room_problem(folder, size, minimum):
    free, size = shutil.disk_usage(folder).free // MEGABYTE, size // MEGABYTE + minimum
    if free < size:
        yield (f"there is not enough room beside what is there in {folder}: {free} MB are free, and {size} MB have to be, {minimum} MB of them to "
               "stay free (backup_minimum_free_mb).")


def account(settings):
    try:
        return ids(settings)
    except KeyError as exc:
        raise Problem(f"There is no account of MLflow on this host ({exc}): run playbooks/mlflow.yml first.") from None


def bucket_of(instance):
    return urlsplit(instance.artifacts).netloc
