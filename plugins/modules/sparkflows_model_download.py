#!/usr/bin/python
# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: sparkflows_model_download
short_description: Download a model from the model repository of Sparkflows
version_added: 1.0.0
description:
  - Downloads a model, given by its id, its uuid or its name, to the host on which the module runs, and unpacks it if asked to.
  - The file, or the directory, appears whole or not at all. A model that is there already is replaced in one step.
  - Beside it, in O(path) with C(.sparkflows.json) at its end, the module keeps what it downloaded.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
extends_documentation_fragment:
  - sparkflows.mlops.connection
  - sparkflows.mlops.attributes
attributes:
  check_mode:
    support: full
    details: Downloads nothing, so it cannot say what checksum a new download would have.
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - With O(sha256) or O(content_sha256), what has that checksum is kept, and the server is not even asked.
      - Without, the server has no checksum to compare with. A model counts as the same as long as all that the server says about it is the
        same, and what is on the host is what was downloaded. Otherwise it is downloaded and compared.
options:
  model_id:
    description: Id of the model. One of O(model_id), O(model_uuid) and O(model_name) is needed.
    type: int
  model_uuid:
    description: UUID of the model.
    type: str
  model_name:
    description:
      - Name of the model. If several models have it, the module fails and lists their ids, because a workflow makes one more model of the
        same name each time it is trained.
    type: str
  path:
    description:
      - File for the model as it was downloaded, or with O(unpack=true) the directory for its content.
      - The directory that this lies in must exist, except in check mode. A directory with content that this module has not put there is not replaced.
      - New files have mode 0644 and new directories 0755.
    type: path
    required: true
  file_type:
    description:
      - Last part of the address of the download, C(/api/v1/mlmodel/outputModel/{modelId}/download/{fileType}). The vendor does not say which
        there are; the call is named C(zipDownload).
      - What comes for V(zip) must be a zip archive.
    type: str
    default: zip
  sha256:
    description:
      - SHA-256 that the download must have, in hexadecimal digits.
      - A server that packs the archive anew for each download may give it another checksum each time. Then use O(content_sha256).
    type: str
  content_sha256:
    description: The RV(content_sha256) that the unpacked model must have. Only with O(unpack=true).
    type: str
  unpack:
    description:
      - Unpack the download, which must be a zip, tar or tar.gz archive.
      - Only files and folders are unpacked. An archive with a link, a device, an absolute name or a name with C(..) is refused, and so is
        one that is larger than O(max_unpacked_mb) or O(max_files).
    type: bool
    default: false
  max_size_mb:
    description: Largest download in MiB.
    type: int
    default: 4096
  max_unpacked_mb:
    description: Largest size of the unpacked model in MiB.
    type: int
    default: 16384
  max_files:
    description: Largest number of files and folders in the archive.
    type: int
    default: 20000
  force:
    description: Download even if the model is there.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Fetch the model for the scorer
  sparkflows.mlops.sparkflows_model_download:
    url: https://sparkflows.example.com:8443
    token: "{{ sparkflows_token }}"
    model_name: churn
    path: /srv/models/churn
    unpack: true
  register: __model

- name: Fetch the archive of one model, and exactly that
  sparkflows.mlops.sparkflows_model_download:
    url: https://sparkflows.example.com:8443
    token: "{{ sparkflows_token }}"
    model_id: 12
    path: /srv/models/churn-12.zip
    sha256: 3b5f1b6d7a7f0c4f2a3f5a0f8f1d2c3b4a5968778695a4b3c2d1e0f0a1b2c3d4
"""

RETURN = r"""
model:
  description: Id, name and uuid of the model, as far as they are known.
  returned: success
  type: dict
  sample: {id: 12, name: churn, uuid: 7f1c0a52-4a62-4f39-9d0a-2f6f6a9f0d11}
path:
  description: Where the model is.
  returned: success
  type: str
  sample: /srv/models/churn
downloaded:
  description: Whether the model was downloaded, even if it turned out to be the one that was there.
  returned: success
  type: bool
  sample: true
reason:
  description: Why it was downloaded, or would be; empty if it was kept.
  returned: success
  type: str
  sample: there is nothing at /srv/models/churn
sha256:
  description: SHA-256 of the download; empty if it is not known.
  returned: success
  type: str
  sample: 3b5f1b6d7a7f0c4f2a3f5a0f8f1d2c3b4a5968778695a4b3c2d1e0f0a1b2c3d4
content_sha256:
  description: SHA-256 over names and contents of the unpacked files, which does not depend on how they were packed; empty without
    O(unpack=true), and in check mode if there is nothing yet.
  returned: success
  type: str
  sample: 0d4a1185b8f0a3d0c4a5d8c2f4f9a7b6e5d4c3b2a19080706050403020100fff
entries:
  description: Files and folders at the top of the unpacked model.
  returned: success
  type: list
  elements: str
  sample: [MLmodel, sparkml]
"""

import ctypes
import difflib
import hashlib
import json
import os
import re
import shutil
import tempfile
import zipfile
from urllib.parse import quote

from ansible_collections.sparkflows.mlops.plugins.module_utils import archives
from ansible_collections.sparkflows.mlops.plugins.module_utils.files import read_bytes, require_directory
from ansible_collections.sparkflows.mlops.plugins.module_utils.module import Outcome, SparkflowsModule
from ansible_collections.sparkflows.mlops.plugins.module_utils.places import relabel
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import HttpError, MlopsError

MODELS = "/api/v1/mlmodel/"
# What the fields are called is not documented.
FIELDS = {"id": ("id", "modelId"), "name": ("name", "modelName"), "uuid": ("uuid", "modelUuid")}
# From Linux: fcntl.h and fs.h.
AT_FDCWD = -100
RENAME_EXCHANGE = 2


# ---- the repository
def field(description, name):
    return next((description[key] for key in FIELDS[name] if description.get(key) not in (None, "")), None)


def descriptions(data):
    """The models in an answer: a list of them, one alone, or lists in an object."""
    if isinstance(data, dict):
        if field(data, "id") is not None:
            return [data]
        data = [one for value in data.values() if isinstance(value, list) for one in value]
    return [one for one in data or [] if isinstance(one, dict) and field(one, "id") is not None]


def find(client, params):
    """What the server says about the model; only its id if that is given and the server does not describe it."""
    by = next(name for name in ("id", "uuid", "name") if params["model_" + name] is not None)
    wanted = str(params["model_" + by])
    paths = [MODELS + "outputModel", MODELS + "OutputModels"]
    if by != "name":
        detail = {"id": "OutputModelsById/", "uuid": "outputModelByModelUuid/"}[by]
        paths.insert(0, MODELS + detail + quote(wanted, safe=""))
    seen = []
    for path in paths:
        seen += descriptions(client.get_or_none(path))
        found = {str(field(one, "id")): one for one in seen if str(field(one, by)) == wanted}
        if len(found) > 1:
            raise MlopsError(
                f"Sparkflows at {client.url} has {len(found)} models with the {by} {wanted!r}; set model_id to the one that is "
                f"meant: {', '.join(sorted(found, key=lambda number: number.zfill(20)))}."
            )
        if found:
            return next(iter(found.values()))
    if by == "id":
        return {"id": params["model_id"]}
    near = difflib.get_close_matches(wanted, sorted({str(field(one, by)) for one in seen}), n=3, cutoff=0.5)
    raise MlopsError(
        f"Sparkflows at {client.url} shows no model with the {by} {wanted!r}"
        + (f"; did you mean {' or '.join(near)}?" if near else f" among the {len(seen)} that this user may see.")
    )


def fetch(module, number, path):
    params = module.params
    left = params["max_size_mb"] << 20
    address = f"{MODELS}outputModel/{number}/download/{quote(params['file_type'], safe='')}"
    with open(path, "wb") as stream:

        def write(piece):
            nonlocal left
            left -= len(piece)
            if left < 0:
                raise MlopsError(f"Model {number} is larger than {params['max_size_mb']} MiB (max_size_mb).")
            try:
                stream.write(piece)
            except OSError as error:
                raise cannot_write(path, error) from error

        try:
            answer = module.client.ask("GET", address, sink=write)
        except HttpError as error:
            if error.status == 404:
                raise MlopsError(f"{error} Is there a model with the id {number}, and a file_type {params['file_type']}?") from error
            raise
    if not answer.is_file or (params["file_type"] == "zip" and not zipfile.is_zipfile(path)):
        said = module.client.http.said(answer)
        raise MlopsError(
            f"Sparkflows at {module.client.url}: GET {address} answered HTTP {answer.status}, but not with "
            f"{'a zip archive' if params['file_type'] == 'zip' else 'a file'}{': ' + said if said else '.'}"
        )


# ---- what is on the host
class Place:
    """The path, what is there, and the record of what was put there."""

    def __init__(self, params, directory_may_come=False):
        # Replace what a link leads to, not the link.
        self.path = os.path.realpath(params["path"])
        self.record_path = self.path + ".sparkflows.json"
        self.unpack = params["unpack"]
        if not directory_may_come or os.path.isdir(os.path.dirname(self.path)):
            require_directory(self.path, "path")
        try:
            self.record = dict(json.loads(read_bytes(self.record_path) or b"{}"))
        except (ValueError, TypeError):
            self.record = {}
        self.checksum = self.look()
        kept = self.record.get("content_sha256" if self.unpack else "sha256")
        self.untouched = bool(self.checksum) and self.checksum == kept

    def look(self):
        """The checksum of what is there, or an empty text."""
        if not os.path.exists(self.path):
            return ""
        if not self.unpack:
            if not os.path.isfile(self.path):
                raise MlopsError(f"path: {self.path} is there and is no file. Set path to a file, or unpack=true.")
            return archives.sha256(self.path)
        if not os.path.isdir(self.path):
            raise MlopsError(f"path: {self.path} is there and is no directory, which unpack=true needs.")
        if os.listdir(self.path) and not self.record:
            raise MlopsError(
                f"path: the directory {self.path} has content that this module has not put there, and would be replaced. "
                "Set path to a directory of the model's own, or remove this one."
            )
        return archives.content_sha256(self.path) if os.listdir(self.path) else ""

    def put(self, module, new, record):
        """Make what was downloaded the model, unless it is the one that is there; True if it was not."""
        differs = record["content_sha256" if self.unpack else "sha256"] != self.checksum
        try:
            if differs:
                if self.unpack:
                    relabel(module, new, self.path)
                    replace_directory(new, self.path)
                else:
                    module.atomic_move(new, self.path)
            text = json.dumps(record, indent=1, sort_keys=True) + "\n"
            handle, temporary = tempfile.mkstemp(dir=os.path.dirname(new))
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            module.atomic_move(temporary, self.record_path)
        except OSError as error:
            raise cannot_write(self.path, error) from error
        return differs


def replace_directory(new, path):
    """Put `new` in the place of `path`; in one step where the system can, so that nobody ever finds nothing there."""
    if not os.path.exists(path) or not os.listdir(path):
        os.rename(new, path)
        return
    exchange = getattr(ctypes.CDLL(None), "renameat2", None)
    if exchange and exchange(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(path), RENAME_EXCHANGE) == 0:
        return
    old = new + ".old"
    os.rename(path, old)
    try:
        os.rename(new, path)
    except OSError:
        os.rename(old, path)
        raise


def cannot_write(path, error):
    return MlopsError(f"Cannot write below {os.path.dirname(path)}: {error.strerror or error}. Nothing was changed at path.")


# ---- work
def checked(params):
    for name in ("sha256", "content_sha256"):
        value = (params[name] or "").strip().lower()
        if value and not re.fullmatch("[0-9a-f]{64}", value):
            raise MlopsError(f"{name} is not a SHA-256 (64 hexadecimal digits): {params[name]}")
        params[name] = value
    if params["content_sha256"] and not params["unpack"]:
        raise MlopsError("content_sha256 can only be checked with unpack=true.")
    for name in ("max_size_mb", "max_unpacked_mb", "max_files"):
        if params[name] <= 0:
            raise MlopsError(f"{name} must be more than 0.")
    return params


def asked_for(params):
    return {name: params["model_" + name] for name in ("id", "name", "uuid") if params["model_" + name] is not None}


def is_pinned(params, place):
    """Whether a checksum was given, and what is there has it."""
    wanted = [params[name] for name in ("sha256", "content_sha256") if params[name]]
    if place.unpack:  # that the archive was the right one is only known from the record
        there = [place.record.get("sha256") if place.untouched else ""] if params["sha256"] else []
        there += [place.checksum] if params["content_sha256"] else []
    else:
        there = [place.checksum]
    return bool(wanted) and wanted == there


def why_download(params, place, source):
    if params["force"]:
        return "force is set"
    if not place.checksum:
        return f"there is nothing at {place.path}"
    if params["sha256"] or params["content_sha256"]:
        return f"what is at {place.path} has another checksum"
    if not place.untouched:
        return f"what is at {place.path} is not what was downloaded"
    if place.record.get("source") != source:
        return "the server describes another model, or the model otherwise than before"
    return "" if source["description"] else "the server does not describe the model"


def download(module):
    params = checked(module.params)
    # In check mode the task that makes the directory has only said that it would.
    place = Place(params, directory_may_come=module.check_mode)
    record = place.record
    before = describe(record if place.untouched else {}, place.checksum)
    if is_pinned(params, place) and not params["force"]:
        return outcome(place, before, before, dict(record or {"sha256": place.checksum}, model=record.get("model") or asked_for(params)))

    description = find(module.client, params)
    model = {name: field(description, name) for name in FIELDS}
    source = dict(
        url=module.client.url,
        file_type=params["file_type"],
        id=model["id"],
        # Where the server says nothing but the id, nothing would tell a new model from the old one.
        description=digest(description) if len(description) > 1 else "",
    )
    reason = why_download(params, place, source)
    if not reason:
        return outcome(place, before, before, record)
    if module.check_mode:
        after = describe(dict(model=model), params["content_sha256"] or params["sha256"] or "known after the download")
        return outcome(place, before, after, dict(record, model=model), reason=reason)

    os.umask(0o022)  # the model is for services with users of their own
    try:
        work = tempfile.mkdtemp(prefix=f".{os.path.basename(place.path)}-", dir=os.path.dirname(place.path))
    except OSError as error:
        raise cannot_write(place.path, error) from error
    try:
        new = os.path.join(work, "download")
        fetch(module, model["id"], new)
        record = dict(model=model, source=source, sha256=archives.sha256(new), content_sha256="")
        require_checksum(params, record, "sha256")
        if place.unpack:
            new = unpacked(params, model, new)
            record["content_sha256"] = archives.content_sha256(new)
            require_checksum(params, record, "content_sha256")
        differs = place.put(module, new, record)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    after = describe(record, record["content_sha256"] or record["sha256"]) if differs else before
    return outcome(place, before, after, record, reason=reason, downloaded=True)


def unpacked(params, model, archive):
    directory = archive + ".d"
    try:
        os.mkdir(directory)
        archives.unpack(archive, directory, params["max_unpacked_mb"], params["max_files"])
    except MlopsError as error:
        raise MlopsError(f"The archive of model {model['id']} is not unpacked: {error}. Nothing was changed at path.") from error
    except OSError as error:
        raise cannot_write(directory, error) from error
    if not os.listdir(directory):
        raise MlopsError(f"The archive of model {model['id']} is empty. Nothing was changed at path.")
    return directory


def require_checksum(params, record, name):
    if params[name] and params[name] != record[name]:
        raise MlopsError(
            f"Model {record['model']['id']} has the {name} {record[name]}, but {params[name]} was asked for. Nothing was changed at "
            "path. If the model is the right one, correct the option"
            + ("; if the checksum is another one each time, use content_sha256." if name == "sha256" else "."),
            **{name: record[name]},
        )


def digest(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def describe(record, checksum):
    if not checksum:
        return "no model\n"
    model = record.get("model") or {}
    who = f"model {model.get('id')} {model.get('name') or ''}".strip() if model else "unknown content"
    return f"{who}, SHA-256 {checksum}\n"


def outcome(place, before, after, record, reason="", downloaded=False):
    return Outcome(
        before,
        after,
        header=place.path,
        model=record.get("model") or {},
        path=place.path,
        sha256=record.get("sha256") or "",
        content_sha256=record.get("content_sha256") or "",
        entries=sorted(os.listdir(place.path)) if place.unpack and os.path.isdir(place.path) else [],
        reason=reason,
        downloaded=downloaded,
    )


def main():
    module = SparkflowsModule(
        argument_spec=dict(
            model_id=dict(type="int"),
            model_uuid=dict(type="str"),
            model_name=dict(type="str"),
            path=dict(type="path", required=True),
            file_type=dict(type="str", default="zip"),
            sha256=dict(type="str"),
            content_sha256=dict(type="str"),
            unpack=dict(type="bool", default=False),
            max_size_mb=dict(type="int", default=4096),
            max_unpacked_mb=dict(type="int", default=16384),
            max_files=dict(type="int", default=20000),
            force=dict(type="bool", default=False),
        ),
        required_one_of=[("model_id", "model_uuid", "model_name")],
        mutually_exclusive=[("model_id", "model_uuid", "model_name")],
    )
    module.run(download)


if __name__ == "__main__":
    main()
