#!/usr/bin/python
# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: mlflow_model_version
short_description: A version of a model in MLflow's registry
version_added: 1.0.0
description:
  - Registers a version from a run or a URI and waits until it is ready, describes and tags it, moves it to a stage and
    archives what it replaces there, or deletes it.
  - The registered model itself is made by M(sparkflows.mlops.mlflow_registered_model).
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
extends_documentation_fragment:
  - sparkflows.mlops.mlflow
  - sparkflows.mlops.attributes
attributes:
  check_mode:
    support: full
    details: MLflow numbers the versions, so the number of a version to come is null.
  diff_mode:
    support: full
  idempotent:
    support: full
    details: A version with the same O(source) is the same version. What is registered twice has two versions already;
      the newest is taken.
options:
  name:
    description: Name of the registered model.
    type: str
    required: true
  state:
    description: Whether there is such a version. V(absent) needs O(version).
    type: str
    choices: [present, absent]
    default: present
  version:
    description: Number of a version that exists. MLflow chooses the numbers, so a new version has O(source) only.
    type: str
  source:
    description:
      - Where the model lies, C(runs:/<run id>/<path>) for a model that a run has logged, or the URI of its directory.
      - A version with this source is used; if there is none, one is registered.
    type: str
  run_id:
    description:
      - Run that made the model, if O(source) is the URI of a directory.
      - MLflow wants it for directories of its own host, and they must be the run's.
    type: str
  description:
    description: Text about the version. Without it, the text stays as it is.
    type: str
  tags:
    description: Tags, as texts. Others stay, unless O(purge_tags=true).
    type: dict
  purge_tags:
    description: Remove the tags that are not in O(tags).
    type: bool
    default: false
  stage:
    description: Stage to move the version to. Without it, the stage stays as it is.
    type: str
    choices: [None, Staging, Production, Archived]
  archive_existing_versions:
    description: Move all other versions from O(stage) to C(Archived), if it is C(Staging) or C(Production).
    type: bool
    default: true
  wait_timeout:
    description: Seconds until a registered version has to be ready. V(0) does not wait.
    type: int
    default: 300
  force:
    description: Delete the version although it is in the stage C(Staging) or C(Production).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Register what a run has logged, and put it in production
  sparkflows.mlops.mlflow_model_version:
    url: https://mlflow.example.com
    username: deployer
    password: "{{ mlflow_password }}"
    name: churn
    source: runs:/0cc175b9c0f1b6a831c399e269772661/model
    stage: Production
    tags:
      ticket: ML-4711

- name: Back to the version before
  sparkflows.mlops.mlflow_model_version:
    url: https://mlflow.example.com
    name: churn
    version: "2"
    stage: Production
"""

RETURN = r"""
model_version:
  description: The version, or null where there is none.
  returned: success
  type: dict
  sample:
    name: churn
    version: "3"
    stage: Production
    status: READY
    source: /var/lib/mlflow/artifacts/1/0cc1/artifacts/model
    run_id: 0cc1
    description: ""
    tags: {ticket: ML-4711}
    created: 1760000000000
    updated: 1760000000000
archived_versions:
  description: The versions that it has replaced in its stage.
  returned: success
  type: list
  elements: str
  sample: ["2"]
"""

import re
import time

from ansible_collections.sparkflows.mlops.plugins.module_utils.mlflow import (
    IN_USE,
    MISSING,
    STAGES,
    MlflowModule,
    RegistryError,
    as_tags,
    show_version,
    wanted_tags,
    write_tags,
)
from ansible_collections.sparkflows.mlops.plugins.module_utils.module import Outcome
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError

LONGEST_PAUSE = 5.0


class Source:
    """Where a version comes from, as MLflow keeps it: a run's model by the address of its directory."""

    def __init__(self, module):
        self.given, self.run_id = module.params["source"], module.params["run_id"] or ""
        self.uri = self.given
        if self.given.startswith("runs:"):
            self.find_in_run(module)

    def find_in_run(self, module):
        match = re.fullmatch(r"runs:/+([^/]+)/(.+?)/*", self.given)
        if not match:
            raise MlopsError(f"source is {self.given!r}: write the model of a run as runs:/<run id>/<path>.")
        run_id, path = match.groups()
        if self.run_id not in ("", run_id):
            raise MlopsError(f"source is of the run {run_id}, but run_id is {self.run_id}: leave run_id out.")
        self.run_id = run_id
        try:
            run = module.client.get("runs/get", run_id=run_id)["run"]
        except RegistryError as error:
            if error.code != MISSING:
                raise
            raise MlopsError(f"source: MLflow has no run {run_id}.") from error
        self.uri = f"{run['info']['artifact_uri'].rstrip('/')}/{path}"
        try:
            files = module.client.get("artifacts/list", run_id=run_id, path=path).get("files", [])
        except RegistryError as error:  # a server that may not read its own store can register all the same
            module.warn(f"Whether the run {run_id} has logged a model as {path} cannot be seen: {error}")
            return
        if f"{path}/MLmodel" not in [file["path"] for file in files]:
            raise MlopsError(f"source: the run {run_id} has logged no model as {path}; there is no {path}/MLmodel.")


def find(module, source, versions):
    """The version that is meant, or None."""
    number = module.params["version"]
    if number is None:
        same = (one for one in versions if one.get("source") == source.uri and one.get("run_id", "") == source.run_id)
        return next((one for one in same if one.get("status") != "FAILED_REGISTRATION"), None)
    version = next((one for one in versions if str(one["version"]) == number), None)
    if version and source and version.get("source") != source.uri:
        raise MlopsError(
            f"Version {number} of {version['name']} comes from {version.get('source')}, not from {source.given}. "
            "Leave version out to register a new one."
        )
    return version


def view(version):
    """What can be set or told apart: before and after of the difference."""
    shown = show_version(version)
    return {key: shown[key] for key in ("name", "version", "source", "run_id", "stage", "description", "tags")}


def delete(module, version):
    name, number, stage = version["name"], version["version"], version.get("current_stage")
    if stage in IN_USE and not module.params["force"]:
        raise MlopsError(f"Version {number} of {name} may be in use: it is in {stage}. Set force=true to delete it.")
    if not module.check_mode:
        module.client.delete("model-versions/delete", name=name, version=str(number))


def register(module, source, after):
    more = {"description": after["description"]} if after["description"] else {}
    if source.run_id:
        more["run_id"] = source.run_id
    return module.client.post(
        "model-versions/create", name=after["name"], source=source.uri, tags=as_tags(after["tags"]), **more
    )["model_version"]


def wait_until_ready(module, version):
    patience = module.params["wait_timeout"]
    start, pause = time.monotonic(), 0.25
    while patience and version.get("status", "READY") != "READY":
        name = f"version {version['version']} of {version['name']}"
        said = version.get("status_message") or "MLflow says nothing about it"
        if version["status"] == "FAILED_REGISTRATION":
            raise MlopsError(f"MLflow could not register {name}: {said}.")
        left = start + patience - time.monotonic()
        if left <= 0:
            raise MlopsError(
                f"{name[0].upper() + name[1:]} is not ready after {patience} s, but {version['status']}: {said}. "
                "Raise wait_timeout if it only needs longer."
            )
        time.sleep(min(pause, left))
        pause = min(pause * 2, LONGEST_PAUSE)
        version = module.client.version(version["name"], str(version["version"]))


def write(module, source, version, before, after, replaced):
    client = module.client
    if not version:
        version = register(module, source, after)
        before = dict(after, stage="None")
    keys = {"name": version["name"], "version": str(version["version"])}
    if before["description"] != after["description"]:
        client.patch("model-versions/update", description=after["description"], **keys)
    write_tags(client, "model-versions", keys, before["tags"], after["tags"])
    wait_until_ready(module, version)
    if before["stage"] != after["stage"] or replaced:
        archive = module.params["archive_existing_versions"] and after["stage"] in IN_USE
        client.post("model-versions/transition-stage", stage=after["stage"], archive_existing_versions=archive, **keys)
    return client.version(**keys)


def missing(module, versions):
    """No such version, and none can be registered."""
    name, number = module.params["name"], module.params["version"]
    there = ", ".join(str(one["version"]) for one in reversed(versions)) or "none"
    return MlopsError(f"{name} has no version {number}, but {there}. Set source, without version, to register a new one.")


def check_model(module):
    """A version needs its model. In check mode an earlier task may be the one that makes it."""
    name = module.params["name"]
    if not module.client.registered_model(name):
        text = f"MLflow has no registered model {name}: make it first with mlflow_registered_model."
        if not module.check_mode:
            raise MlopsError(text)
        module.warn(text)


def sync(module):
    params = module.params
    source = Source(module) if params["source"] and params["state"] == "present" else None
    versions = module.client.versions(params["name"])
    version = find(module, source, versions)
    before = view(version) if version else None
    header = params["name"]
    if params["state"] == "absent":
        if version:
            delete(module, version)
        return Outcome(before, None, header=header, model_version=None, archived_versions=[])

    if not version and params["version"] is not None:
        raise missing(module, versions)
    if not version:
        check_model(module)
    after = dict(before or view({"name": params["name"], "version": "", "source": source.uri, "run_id": source.run_id}))
    if params["description"] is not None:
        after["description"] = params["description"]
    if params["stage"] is not None:
        after["stage"] = params["stage"]
    after["tags"] = wanted_tags(params, after["tags"])
    replaced = []
    if params["stage"] in IN_USE and params["archive_existing_versions"]:
        replaced = [show_version(one) for one in versions if one is not version]
        replaced = [one["version"] for one in replaced if one["stage"] == params["stage"]]
    if replaced:
        after["archived_versions"] = replaced
    if not version:
        after["version"] = None
    changes = after != before
    if not module.check_mode:
        if changes:
            version = write(module, source, version, before, after, replaced)
            after = dict(after, **view(version))
        else:
            wait_until_ready(module, version)
    shown = dict(show_version(version) if version else {"status": None, "created": None, "updated": None}, **after)
    shown.pop("archived_versions", None)
    return Outcome(before, after, header=header, model_version=shown, archived_versions=replaced)


def main():
    module = MlflowModule(
        argument_spec=dict(
            name=dict(type="str", required=True),
            state=dict(type="str", choices=["present", "absent"], default="present"),
            version=dict(type="str"),
            source=dict(type="str"),
            run_id=dict(type="str"),
            description=dict(type="str"),
            tags=dict(type="dict"),
            purge_tags=dict(type="bool", default=False),
            stage=dict(type="str", choices=list(STAGES)),
            archive_existing_versions=dict(type="bool", default=True),
            wait_timeout=dict(type="int", default=300),
            force=dict(type="bool", default=False),
        ),
        required_one_of=[["version", "source"]],
        required_if=[["state", "absent", ["version"]]],
    )
    module.run(sync)


if __name__ == "__main__":
    main()
