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


def client(environment):
    """boto3 as MLflow sets it up."""
    os.environ.update({name: value for name, value in environment.items() if name.startswith("AWS_") or name.lower().endswith("_proxy")})
    import boto3

    verify = False if environment.get("MLFLOW_S3_IGNORE_TLS") == "true" else environment.get("AWS_CA_BUNDLE")
    return boto3.client("s3", endpoint_url=environment.get("MLFLOW_S3_ENDPOINT_URL") or None, verify=verify)


def keys(store, place):
    """Each object that is live: key, size, etag, and the version where the bucket keeps versions."""
    from botocore.exceptions import BotoCoreError, ClientError

    where = urlsplit(place)
    below = {"Bucket": where.netloc, "Prefix": where.path.strip("/") + "/" if where.path.strip("/") else ""}
    try:
        versioned = versions_are_kept(store, where.netloc)
        pages = store.get_paginator("list_object_versions" if versioned else "list_objects_v2").paginate(**below)
        for page in pages:
            for found in page.get("Versions" if versioned else "Contents", []):
                if found.get("IsLatest", True):
                    yield {"key": found["Key"], "size": found["Size"], "etag": found["ETag"].strip('"'), "version": found.get("VersionId", "")}
    except (BotoCoreError, ClientError) as exc:
        raise Problem(f"The artifacts in {place} cannot be listed: {exc}") from None


def versions_are_kept(store, bucket):
    """Not every store that speaks S3 knows the question."""
    from botocore.exceptions import ClientError

    try:
        return store.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled"
    except ClientError:
        return False


def write_keys(found, path):
    """A line of JSON for each. Says how many, how large, and how many have a version."""
    summary = {"objects": 0, "bytes": 0, "with_version": 0}
    with open(path, "w", encoding="utf-8") as file:
        for one in found:
            file.write(json.dumps(one, sort_keys=True) + "\n")
            summary["objects"] += 1
            summary["bytes"] += one["size"]
            summary["with_version"] += bool(one["version"])
    return summary
