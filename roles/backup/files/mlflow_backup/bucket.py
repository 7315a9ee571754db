"""A directory of artifacts copied into a bucket, and compared there. It can be cut off anywhere and begun anew.

What is uploaded is written down, so that it is known again: an object that somebody else has put there is never changed.
"""

import hashlib
import json
import os
from mimetypes import guess_type
from urllib.parse import urlsplit

from . import artifacts
from .problems import Problem

# boto3 sends larger files in parts of this size, and their ETag is made of those of the parts.
PART = 8 << 20
BLOCK = 1 << 20
# How many names a message has.
NAMED = 5


def md5(data=b""):
    """Not to keep a secret: it is refused for that where FIPS 140 is kept."""
    try:
        return hashlib.md5(data, usedforsecurity=False)
    except TypeError:
        # Python before 3.9.
        return hashlib.md5(data)


def fingerprint(file):
    """Whether a file is the one that was read."""
    found = os.fstat(file.fileno())
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def read(file):
    """(SHA-256, the ETags that S3 gives it, unless it encrypts with a key of its own)."""
    file.seek(0)
    whole, sha, parts, size = md5(), hashlib.sha256(), [], 0
    while True:
        block = file.read(BLOCK)
        if not block:
            break
        if size % PART == 0:
            parts.append(md5())
        size += len(block)
        for one in (whole, sha, parts[-1]):
            one.update(block)
    of_parts = md5(b"".join(one.digest() for one in parts)).hexdigest()
    return sha.hexdigest(), {whole.hexdigest(), f"{of_parts}-{len(parts)}"}


class Bucket:
    def __init__(self, environment, place, style=""):
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        where = urlsplit(place)
        self.place, self.bucket, self.prefix = place, where.netloc, where.path.strip("/") + "/" if where.path.strip("/") else ""
        self.more = json.loads(environment.get("MLFLOW_S3_UPLOAD_EXTRA_ARGS") or "{}")
        self.store, self.errors = artifacts.client(environment, style), (Boto3Error, BotoCoreError, ClientError)

    def ask(self, what, *arguments, **named):
        try:
            return getattr(self.store, what)(*arguments, **named)
        except self.errors as exc:
            raise Problem(f"{self.place}: {exc}") from None

    def objects(self):
        """Name below the prefix -> size, etag."""
        found = {}
        try:
            for page in self.store.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix):
                # Some stores make an object for a folder.
                for one in (one for one in page.get("Contents", []) if one["Size"] or not one["Key"].endswith("/")):
                    found[one["Key"][len(self.prefix):]] = {"size": one["Size"], "etag": one["ETag"].strip('"')}
        except self.errors as exc:
            raise Problem(f"The objects in {self.place} cannot be listed: {exc}") from None
        return found

    def samples(self, number, is_sample):
        """name -> SHA-256 of some objects. Only a first page of them is looked at, for there may be many."""
        page = self.ask("list_objects_v2", Bucket=self.bucket, Prefix=self.prefix).get("Contents", [])
        names = [one["Key"][len(self.prefix):] for one in page if is_sample(one["Key"][len(self.prefix):], one["Size"])][:number]
        return {name: self.checksum(name) for name in names}

    def checksum(self, name):
        """SHA-256."""
        body, digest = self.ask("get_object", Bucket=self.bucket, Key=self.prefix + name)["Body"], hashlib.sha256()
        try:
            for block in iter(lambda: body.read(BLOCK), b""):
                digest.update(block)
        except self.errors as exc:
            raise Problem(f"{self.place}: {exc}") from None
        return digest.hexdigest()

    def upload(self, name, file):
        """As MLflow does it. What the bucket says of it then."""
        kind, encoding = guess_type(name)
        more = {**({"ContentType": kind} if kind else {}), **({"ContentEncoding": encoding} if encoding else {}), **self.more}
        # What is handed over is closed.
        with open(os.dup(file.fileno()), "rb") as again:
            again.seek(0)
            self.ask("upload_fileobj", again, self.bucket, self.prefix + name, ExtraArgs=more)
        said = self.ask("head_object", Bucket=self.bucket, Key=self.prefix + name)
        return {"size": said["ContentLength"], "etag": said["ETag"].strip('"')}

    def remove(self, name):
        self.ask("delete_object", Bucket=self.bucket, Key=self.prefix + name)

    def has(self, name, found, file):
        """Whether an object has the content of a file: by its ETag, or where that says nothing by reading it."""
        if found["size"] != os.fstat(file.fileno()).st_size:
            return False
        digest, etags = read(file)
        return found["etag"] in etags or self.checksum(name) == digest


class Uploaded:
    """What was uploaded to a place, a line for each: of it the last one counts. over: what was uploaded is MLflow's by now."""

    def __init__(self, path, place, over=False):
        self.path, self.place, self.over, self.known = path, place, over, {}
        if os.path.exists(path) and not over:
            with open(path, encoding="utf-8") as file:
                for line in file:
                    # The last line of one that was cut off is none.
                    if line.endswith("\n"):
                        one = json.loads(line)
                        if one["place"] == place:
                            self.known[one["name"]] = one

    def is_of_us(self, name, found):
        return name in self.known and self.known[name]["etag"] == found["etag"]

    def is_whole(self, name, found, mark):
        return self.is_of_us(name, found) and self.known[name]["whole"] and self.known[name]["mark"] == mark

    def add(self, name, found, mark, whole):
        one = {"place": self.place, "name": name, "etag": found["etag"], "mark": mark, "whole": whole}
        self.known[name] = one
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(one, sort_keys=True) + "\n")


def name_problem(name):
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return f"the name of {ascii(name)} is no UTF-8, and no key of an object can be: rename the file"
    return ""


def look(bucket, uploaded, folder):
    """(files, bytes, how many are there already, names of objects that are in the way)."""
    there, count, size, same, strange = bucket.objects(), 0, 0, 0, []
    for name, file in artifacts.files(folder):
        found = there.pop(name, None)
        count, size = count + 1, size + os.fstat(file.fileno()).st_size
        if found and (uploaded.is_whole(name, found, fingerprint(file)) or bucket.has(name, found, file)):
            same += 1
        elif found and not uploaded.is_of_us(name, found):
            strange.append(name)
    strange += [name for name, found in there.items() if not uploaded.is_of_us(name, found)]
    return {"files": count, "bytes": size, "there": same, "strange": sorted(strange)}


def strange_problem(bucket, names):
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (f"{bucket.place} has objects that are none of MLflow's artifacts of this host, or have another content: "
            f"{', '.join(names[:NAMED])}{more}. Set mlops_s3_prefix to one that is empty, or remove them.")


def copy(bucket, uploaded, folder, still=False):
    """All files are in the bucket, with their content, and nothing else of ours. still: nobody writes any more. How many there are."""
    there, done = bucket.objects(), {"files": 0, "bytes": 0, "uploaded": 0}
    for name, file in artifacts.files(folder):
        problem, mark, found = name_problem(name), fingerprint(file), there.pop(name, None)
        if problem:
            raise Problem(f"Artifacts cannot be copied: {problem}.")
        done["files"], done["bytes"] = done["files"] + 1, done["bytes"] + mark[1]
        if found and uploaded.is_whole(name, found, mark):
            continue
        if not (found and bucket.has(name, found, file)):
            if found and not uploaded.is_of_us(name, found):
                raise Problem(strange_problem(bucket, [name]))
            found = bucket.upload(name, file)
            done["uploaded"] += 1
            # It is known again, whatever it has become.
            uploaded.add(name, found, mark, False)
            whole = bucket.has(name, found, file) and fingerprint(file) == mark
            if not whole and (still or fingerprint(file) == mark):
                raise Problem(f"The artifact {name} is not in {bucket.place} as it is in {folder}.")
            if not whole:
                continue
        uploaded.add(name, found, mark, True)
    for name, found in there.items():
        if not uploaded.is_of_us(name, found):
            raise Problem(strange_problem(bucket, [name]))
        # Of what was removed here since.
        bucket.remove(name)
    return done
