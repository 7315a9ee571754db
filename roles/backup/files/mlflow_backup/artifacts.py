"""Artifacts: the files of a directory, or the keys of a bucket."""

import json
import os
import stat
from urllib.parse import urlsplit

from .problems import Problem


def is_directory(place):
    return place.startswith("/")


def check(place):
    if not is_directory(place) and urlsplit(place).scheme != "s3":
        raise Problem(f"Artifacts are in {place}, and only those of a directory or of S3 can be backed up here: set backup_artifacts to none, and "
                      "back them up where they are.")


def files(folder):
    """(relative path, open file) of each regular file below. No link is followed: what is there belongs to MLflow's account, and we are root."""
    for path, folders, names, handle in os.fwalk(folder, onerror=fail):
        folders.sort()
        for name in sorted(names):
            try:
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=handle)
            except OSError:
                # A link or a socket, or removed since.
                continue
            with open(file, "rb") as opened:
                if stat.S_ISREG(os.fstat(file).st_mode):
                    yield os.path.relpath(os.path.join(path, name), folder), opened


def fail(error):
    # What was removed since is no fault.
    if not isinstance(error, FileNotFoundError):
        raise Problem(f"Artifacts cannot be read: {error}")


def size(folder):
    return sum(os.fstat(file.fileno()).st_size for _path, file in files(folder))


def client(environment, style=""):
    """boto3 as MLflow sets it up. style: of addresses, where the file that has it is not there yet."""
    os.environ.update({name: value for name, value in environment.items() if name.startswith("AWS_") or name.lower().endswith("_proxy")})
    import boto3
    from botocore.config import Config

    verify = False if environment.get("MLFLOW_S3_IGNORE_TLS") == "true" else environment.get("AWS_CA_BUNDLE")
    # Checksums that newer ones send many a store beside AWS refuses.
    plain = {name: "when_required" for name in ("request_checksum_calculation", "response_checksum_validation") if name in Config.OPTION_DEFAULTS}
    config = Config(**plain, **({"s3": {"addressing_style": style}} if style else {}))
    return boto3.client("s3", endpoint_url=environment.get("MLFLOW_S3_ENDPOINT_URL") or None, verify=verify, config=config)


def keys(store, place):
    """Each object that is live: key, size, etag, and the version where the bucket keeps versions."""
    for latest, found in versions(store, place):
        if latest:
            yield found


def versions(store, place):
    """(whether it is the live one, object) of each version, or of what is live where the bucket keeps none."""
    from botocore.exceptions import BotoCoreError, ClientError

    where = urlsplit(place)
    below = {"Bucket": where.netloc, "Prefix": where.path.strip("/") + "/" if where.path.strip("/") else ""}
    try:
        versioned = versions_are_kept(store, where.netloc)
        pages = store.get_paginator("list_object_versions" if versioned else "list_objects_v2").paginate(**below)
        for page in pages:
            for found in page.get("Versions" if versioned else "Contents", []):
                yield found.get("IsLatest", True), {
                    "key": found["Key"], "size": found["Size"], "etag": found["ETag"].strip('"'), "version": found.get("VersionId", "")}
    except (BotoCoreError, ClientError) as exc:
        raise Problem(f"The artifacts in {place} cannot be listed: {exc}") from None


def compare(store, place, path):
    """Of the objects that path lists: (those to be brought back, keys of those that are gone). What is as it was then is neither."""
    live, kept = {}, set()
    for latest, found in versions(store, place):
        kept.add((found["key"], found["version"]))
        if latest:
            live[found["key"]] = found
    changed, gone = [], []
    with open(path, encoding="utf-8") as file:
        for wanted in map(json.loads, file):
            key, now = wanted["key"], live.get(wanted["key"], {})
            if (now.get("etag"), now.get("size")) == (wanted["etag"], wanted["size"]):
                continue
            if wanted["version"] and (key, wanted["version"]) in kept:
                changed.append({"key": key, "version": wanted["version"], "before": now.get("version", "")})
            else:
                gone.append(key)
    return changed, gone


def bring_back(environment, bucket, path, which):
    """The named version of each listed object made the latest one. Where there was none, the object is deleted: its versions stay."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    store, more = client(environment), json.loads(environment.get("MLFLOW_S3_UPLOAD_EXTRA_ARGS") or "{}")
    try:
        with open(path, encoding="utf-8") as file:
            for one in map(json.loads, file):
                if one[which]:
                    store.copy({"Bucket": bucket, "Key": one["key"], "VersionId": one[which]}, bucket, one["key"], ExtraArgs=more)
                else:
                    store.delete_object(Bucket=bucket, Key=one["key"])
    except (Boto3Error, BotoCoreError, ClientError) as exc:
        raise Problem(f"The objects of {bucket} cannot be brought back: {exc}") from None


def versions_are_kept(store, bucket):
    """Not every store that speaks S3 knows the question."""
    from botocore.exceptions import ClientError

    try:
        return store.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled"
    except ClientError:
        return False


def write_lines(found, path):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(one, sort_keys=True) + "\n" for one in found)


def write_keys(found, path):
    """A line of JSON for each. Says how many, how large, and how many have a version."""
    summary = {"objects": 0, "bytes": 0, "with_version": 0}

    def counted():
        for one in found:
            summary["objects"] += 1
            summary["bytes"] += one["size"]
            summary["with_version"] += bool(one["version"])
            yield one

    write_lines(counted(), path)
    return summary
