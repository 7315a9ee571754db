"""MLflow's model registry: scripted after MLflow 1.30.1, or a real one.

MLOPS_TEST_MLFLOW_URL=http://127.0.0.1:5000 pytest tests/unit -k mlflow runs the same tests against the MLflow there, too.
It has to keep its artifacts in a directory of this computer. It is filled with models called test-*.
"""

from __future__ import annotations

import itertools
import json
import os
import pathlib
import urllib.parse
import urllib.request
import uuid

import pytest
from ansible.module_utils.basic import AnsibleModule

REAL = os.environ.get("MLOPS_TEST_MLFLOW_URL")
API = "/api/2.0/mlflow/"
STAGES = ("None", "Staging", "Production", "Archived")


class Refusal(Exception):
    status = {"RESOURCE_DOES_NOT_EXIST": 404, "INTERNAL_ERROR": 500}

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class ScriptedRegistry:
    """The part of MLflow's answers that the modules see. Made from its source and compared by running the tests on it."""

    def __init__(self, server, reply):
        self.url, self.server, self.reply = server.url, server, reply
        self.models, self.runs, self.clock = {}, {}, itertools.count(1760000000000)
        self.pending = 0  # so many answers say that a version is not ready yet
        self.status_at_end = "READY"
        for path, method in (
            ("registered-models/get", "GET"), ("registered-models/search", "GET"), ("registered-models/create", "POST"),
            ("registered-models/update", "PATCH"), ("registered-models/delete", "DELETE"),
            ("registered-models/set-tag", "POST"), ("registered-models/delete-tag", "DELETE"),
            ("model-versions/get", "GET"), ("model-versions/search", "GET"), ("model-versions/create", "POST"),
            ("model-versions/update", "PATCH"), ("model-versions/delete", "DELETE"),
            ("model-versions/transition-stage", "POST"), ("model-versions/set-tag", "POST"),
            ("model-versions/delete-tag", "DELETE"), ("runs/get", "GET"), ("artifacts/list", "GET"),
        ):  # fmt: skip
            server.on(method, API + path, self.route(path.replace("/", "_").replace("-", "_")))

    def route(self, name):
        def answer(request):
            query = urllib.parse.parse_qsl(urllib.parse.urlsplit(request["target"]).query)
            given = json.loads(request["body"]) if request["body"] else dict(query)
            try:
                return self.reply(getattr(self, name)(**given))
            except Refusal as refusal:
                status = Refusal.status.get(refusal.code, 400)
                return self.reply({"error_code": refusal.code, "message": str(refusal)}, status)

        return answer

    def model(self, name):
        if name not in self.models:
            raise Refusal("RESOURCE_DOES_NOT_EXIST", f"Registered Model with name={name} not found")
        return self.models[name]

    def one(self, name, version):
        for entry in self.models.get(name, {"versions": []})["versions"]:
            if entry["version"] == version and entry["current_stage"] != "Deleted_Internal":
                return entry
        raise Refusal("RESOURCE_DOES_NOT_EXIST", f"Model Version (name={name}, version={version}) not found")

    def show(self, entry):
        """Protocol buffers leave out what is empty."""
        shown = {key: value for key, value in entry.items() if value not in ("", [], {}) and key != "versions"}
        if "tags" in shown:
            shown["tags"] = [{"key": key, "value": value} for key, value in entry["tags"].items()]
        if "versions" in entry:
            latest = {one["current_stage"]: self.show(one) for one in self.live(entry)}
            shown.update({"latest_versions": list(latest.values())} if latest else {})
        return shown

    def live(self, model):
        return [one for one in model["versions"] if one["current_stage"] != "Deleted_Internal"]

    def times(self):
        now = next(self.clock)
        return {"creation_timestamp": now, "last_updated_timestamp": now}

    # ---- registered models
    def registered_models_get(self, name):
        return {"registered_model": self.show(self.model(name))}

    def registered_models_search(self, max_results, page_token="0"):
        names, start, size = sorted(self.models), int(page_token), int(max_results)
        page = {"registered_models": [self.show(self.models[name]) for name in names[start : start + size]]}
        return dict(page, **({"next_page_token": str(start + size)} if start + size < len(names) else {}))

    def registered_models_create(self, name, tags=(), description=""):
        if name in self.models:
            raise Refusal("RESOURCE_ALREADY_EXISTS", f"Registered Model (name={name}) already exists.")
        tags = {tag["key"]: tag["value"] for tag in tags}
        self.models[name] = dict(self.times(), name=name, description=description, tags=tags, versions=[])
        return {"registered_model": self.show(self.models[name])}

    def registered_models_update(self, name, description):
        self.model(name)["description"] = description
        return {"registered_model": self.show(self.models[name])}

    def registered_models_delete(self, name):
        self.model(name)
        del self.models[name]
        return {}

    def registered_models_set_tag(self, name, key, value):
        self.model(name)["tags"][key] = value
        return {}

    def registered_models_delete_tag(self, name, key):
        self.model(name)["tags"].pop(key, None)
        return {}

    # ---- versions
    def model_versions_get(self, name, version):
        entry = self.one(name, version)
        if entry["status"] == "PENDING_REGISTRATION":
            self.pending -= 1
            entry["status"] = "PENDING_REGISTRATION" if self.pending > 0 else self.status_at_end
        return {"model_version": self.show(entry)}

    def model_versions_search(self, filter=""):  # noqa: A002
        quote = filter[5:6]
        assert not filter or (filter.startswith("name=") and filter.endswith(quote) and quote in "'\"")
        models = [model for name, model in self.models.items() if not filter or name == filter[6:-1]]
        found = [self.show(one) for model in models for one in self.live(model)]
        return {"model_versions": sorted(found, key=lambda one: -one["last_updated_timestamp"])} if found else {}

    def model_versions_create(self, name, source, run_id="", tags=(), description=""):
        model = self.model(name)
        if source.startswith("/") and not (run_id and source.startswith(self.runs[run_id]["root"])):
            raise Refusal("INVALID_PARAMETER_VALUE", f"Invalid model version source: '{source}'. To use a local path ...")
        version = str(len(model["versions"]) + 1)
        tags = {tag["key"]: tag["value"] for tag in tags}
        entry = dict(self.times(), name=name, version=version, source=source, run_id=run_id, tags=tags)
        status = "PENDING_REGISTRATION" if self.pending else "READY"
        model["versions"].append(dict(entry, description=description, current_stage="None", status=status))
        return {"model_version": self.show(model["versions"][-1])}

    def model_versions_update(self, name, version, description):
        self.one(name, version)["description"] = description
        return {"model_version": self.show(self.one(name, version))}

    def model_versions_delete(self, name, version):
        self.one(name, version)["current_stage"] = "Deleted_Internal"
        return {}

    def model_versions_transition_stage(self, name, version, stage, archive_existing_versions):
        entry = self.one(name, version)
        if archive_existing_versions and stage not in ("Staging", "Production"):
            raise Refusal("INTERNAL_ERROR", "Model version transition cannot archive existing model versions ...")
        if entry["status"] != "READY":
            raise Refusal("INVALID_STATE", "not ready")
        for other in self.live(self.models[name]):
            if archive_existing_versions and other is not entry and other["current_stage"] == stage:
                other["current_stage"] = "Archived"
        entry.update(current_stage=stage, last_updated_timestamp=next(self.clock))
        return {"model_version": self.show(entry)}

    def model_versions_set_tag(self, name, version, key, value):
        self.one(name, version)["tags"][key] = value
        return {}

    def model_versions_delete_tag(self, name, version, key):
        self.one(name, version)["tags"].pop(key, None)
        return {}

    # ---- runs
    def runs_get(self, run_id):
        if run_id not in self.runs:
            raise Refusal("RESOURCE_DOES_NOT_EXIST", f"Run with id={run_id} not found")
        return {"run": {"info": {"run_id": run_id, "artifact_uri": self.runs[run_id]["root"]}}}

    def artifacts_list(self, run_id, path):
        run = self.runs[run_id]
        files = [f"{model}/MLmodel" for model in run["models"] if path == model]
        return {"root_uri": run["root"], "files": [{"path": file, "is_dir": False} for file in files]}

    # ---- for the tests
    def new_run(self, *models):
        run_id = uuid.uuid4().hex
        self.runs[run_id] = {"root": f"/var/lib/mlflow/artifacts/0/{run_id}/artifacts", "models": models}
        return run_id


class RealRegistry:
    url = REAL

    def send(self, path, **body):
        request = urllib.request.Request(REAL + API + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def new_run(self, *models):
        info = self.send("runs/create", experiment_id="0")["run"]["info"]
        for model in models:
            folder = pathlib.Path(info["artifact_uri"].removeprefix("file://"), model)
            folder.mkdir(parents=True)
            (folder / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
        return info["run_id"]


@pytest.fixture
def scripted(server, reply):
    return ScriptedRegistry(server, reply)


@pytest.fixture(params=["scripted", "real"] if REAL else ["scripted"])
def registry(request):
    return request.getfixturevalue("scripted") if request.param == "scripted" else RealRegistry()


@pytest.fixture
def name():
    return f"test-{uuid.uuid4().hex[:12]}"


# ---- SELinux
@pytest.fixture
def labels(monkeypatch):
    """A policy that knows a type for each path, on files that exist: labels(path) -> the type that it has, labels(path, kind) sets it."""
    given = {}  # as the kernel does, for what a name stands for, and not for the name

    def label(path, kind=None):
        inode = os.stat(path).st_ino
        if kind:
            given[inode] = kind
        return given.get(inode, "inherited")

    def context(kind):
        return ["system_u", "object_r", kind, "s0"]

    def set_context(_module, path, wanted, changed, diff=None):
        given[os.lstat(path).st_ino] = wanted[2] or label(path)
        return changed

    monkeypatch.setattr(AnsibleModule, "selinux_enabled", lambda _module: True)
    monkeypatch.setattr(AnsibleModule, "selinux_mls_enabled", lambda _module: True)
    monkeypatch.setattr(AnsibleModule, "selinux_initial_context", lambda _module: [None] * 4)
    monkeypatch.setattr(AnsibleModule, "selinux_context", lambda _module, path: context(label(path)))
    monkeypatch.setattr(AnsibleModule, "selinux_default_context", lambda _module, path, mode=0: context(f"type of {path}"))
    monkeypatch.setattr(AnsibleModule, "set_context_if_different", set_context)
    return label
