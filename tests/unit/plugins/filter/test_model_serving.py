# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from hypothesis import given
from hypothesis import strategies as st

FILTERS = FilterModule().filters()
PORTS = [15001, 15060]
URI = "http://127.0.0.1:5000"
IRIS = {"name": "iris", "version": 1, "port": 5001}
WINE = {"name": "wine", "stage": "Production", "port": "5002"}
VERSIONS = [{"name": name, "version": "1", "current_stage": "Production", "status": "READY", "creation_timestamp": 7} for name in ("iris", "wine")]
REGISTRY = {"model_versions": VERSIONS, "made_with": []}
SERVING = {"environment": {"MLFLOW_WORKERS": "{workers}", "GIT_PYTHON_REFRESH": "quiet", "GUNICORN_CMD_ARGS": "--config {programs}/model_workers.py"}}
STACKS = Path(__file__).resolve().parents[4] / "stacks"
STACK = {"name": "guide-1.30", "dir": f"{STACKS}/guide-1.30", "java": "/opt/mlflow/java", "venv": "/opt/mlflow/current", "home": "/opt/mlflow",
         "collection": str(STACKS), "serving": SERVING}  # fmt: skip
PLACES = {"home": "/opt/mlflow", "config_dir": "/etc/mlflow", "data_dir": "/var/lib/mlflow", "account": {"owner": "mlflow", "group": "ml"},
          "variables": {"MLFLOW_TRACKING_URI": URI, "MLFLOW_TRACKING_PASSWORD": "secret"}, "spark_settings": {}}  # fmt: skip


def plan(models, found=None, registry=REGISTRY, prune=False):
    return FILTERS["model_serving_plan"](models, found or {}, registry, URI, prune, PORTS, STACK)


def test_an_empty_host_serves_what_is_declared():
    found = plan([IRIS, WINE])
    assert [(model["slot"], model["release"], model["port_private"]) for model in found["models"]] == [("iris", "1-7", 15001), ("wine", "1-7", 15002)]
    assert {key: value for key, value in found.items() if key != "models"} == dict.fromkeys(
        ("problems", "live", "undeclared", "unwanted", "unwanted_slots", "unwanted_ports", "leftovers", "stacks", "unread"), [])  # fmt: skip


@pytest.mark.parametrize("prune", [False, True])
def test_what_goes_and_what_is_left(prune):
    """A site says which of the two instances of a model serves; a model is undeclared, or declared absent."""
    sites = {"iris": {"slot": "iris@2", "port": 15001}, "old": {"slot": "old", "port": 15002}, "odd": {"slot": "odd@2", "port": 15003}}
    found = {"slots": ["iris", "iris@2", "odd@2", "old", "old@2"], "sites": sites, "ports": []}
    told = plan([IRIS, {"name": "old", "state": "absent"}, {"name": "never", "state": "absent"}], found, prune=prune)
    assert [(model["slot"], model["port_private"]) for model in told["live"]] == [("iris@2", 15001)]
    assert [(model["live"], model["slot"]) for model in told["models"]] == [("iris@2", "iris")]
    assert told["leftovers"] == ["iris"] and told["undeclared"] == ["odd"]
    assert told["unwanted"] == ["old", "odd"][: 1 + prune]
    assert told["unwanted_slots"] == (["odd@2", "old", "old@2"] if prune else ["old", "old@2"])
    assert told["unwanted_ports"] == [15002, 15003][: 1 + prune]


@pytest.mark.parametrize(("registry", "words"), [
    ({"failed": False, "msg": "Connection refused"}, [f"The registry does not answer at {URI} (Connection refused). Start MLflow first"]),
    ({"model_versions": [], "made_with": []}, ["iris: is not registered"]), (REGISTRY, []),
])  # fmt: skip
def test_answers_of_the_registry(registry, words):
    problems = plan([IRIS], registry=registry)["problems"]
    assert len(problems) == len(words) and all(word in problem for word, problem in zip(words, problems))


def test_nothing_is_asked_for_nothing():
    assert plan([], registry={"skipped": True, "changed": False})["problems"] == plan([], registry={})["problems"] == []


def test_private_ports_may_not_suffice():
    problems = plan([IRIS, WINE], {"ports": list(range(15001, 15060))})["problems"]
    assert len(problems) == 1 and "not enough private ports" in problems[0]


NAMES = st.sampled_from(["a", "b", "c", "d"])


@given(st.lists(NAMES, unique=True), st.lists(NAMES, unique=True), st.sets(st.tuples(NAMES, st.sampled_from(["", "@2"]))), st.booleans(), st.data())
def test_no_instance_is_forgotten_and_none_that_serves_is_removed(present, absent, slots, prune, data):
    """Each instance of a declared model serves or is a leftover; each other goes, or is named as undeclared."""
    slots = sorted(name + suffix for name, suffix in slots)
    sites = {slot.removesuffix("@2"): {"slot": slot, "port": 15001 + number} for number, slot in enumerate(slots) if data.draw(st.booleans())}
    absent = [name for name in absent if name not in present]
    models = [{"name": name, "version": 1, "port": 5001 + number} for number, name in enumerate(present)]
    found = plan([*models, *({"name": name, "state": "absent"} for name in absent)], {"slots": slots, "sites": sites, "ports": []}, prune=prune)
    live = [model["slot"] for model in found["live"]]
    kept = [slot for slot in slots if slot.removesuffix("@2") in found["undeclared"] and not prune]
    assert sorted([*live, *found["leftovers"], *found["unwanted_slots"], *kept]) == slots
    assert all(model["slot"] not in live for model in found["models"]), "what replaces an instance has a name of its own"
    assert len({model["port_private"] for model in found["models"]} | {site["port"] for site in sites.values()}) == len(present) + len(sites)


def test_files_of_an_instance():
    models = plan([{**IRIS, "workers": "2", "timeout": 20}])["models"]
    files = {file["path"]: file for file in FILTERS["served_model_files"](models, PLACES)}
    environment = files["/etc/mlflow/models/iris.env"]
    assert environment["secret"] and (environment["group"], environment["mode"]) == ("ml", "0640")
    assert environment["variables"]["environment_variables"] == {
        **PLACES["variables"], "MLFLOW_PORT": 15001, "MLFLOW_WORKERS": "2", "GIT_PYTHON_REFRESH": "quiet", "SERVED_MODEL_TIMEOUT": 20,
        "SERVED_MODEL_URI": "models:/iris/1",
        "SERVED_MODEL_DIR": "/var/lib/mlflow/models/iris/1-7",
        "GUNICORN_CMD_ARGS": "--config /opt/mlflow/libexec/models/iris/model_workers.py"}  # fmt: skip
    assert files["/etc/systemd/system/mlflow-model@iris.service"]["variables"] == {"model": models[0]}
    assert files["/var/lib/mlflow/models/iris"] == {
        "path": "/var/lib/mlflow/models/iris", "state": "directory", "owner": "mlflow", "group": "ml", "mode": "0750"}  # fmt: skip
    # A directory comes before what lies in it.
    order = list(files)
    assert all(order.index(path.rsplit("/", 1)[0]) < order.index(path) for path in order if path.rsplit("/", 1)[0] in order)
    assert "secret" not in str([file for path, file in files.items() if path != environment["path"]])


@pytest.mark.parametrize(("own", "ui"), [({}, "false"), ({"spark.ui.enabled": True, "spark.driver.memory": "2g"}, True)])
def test_own_settings_of_spark_go_before_the_role_s(own, ui):
    files = FILTERS["served_model_files"](plan([IRIS, WINE])["models"], {**PLACES, "spark_settings": own})
    written = {file["path"]: file["variables"]["spark_settings"] for file in files if file.get("template") == "spark-defaults.conf.j2"}
    assert set(written) == {f"/opt/mlflow/libexec/models/{name}/spark-defaults.conf" for name in ("iris", "wine")}
    assert all(settings == {**settings, **own, "spark.ui.enabled": ui} for settings in written.values())
    # Settings with which predictions are others.
    assert not any("arrow" in name or "partitions" in name for settings in written.values() for name in settings)


def test_own_variables_go_before_the_stack_s_and_not_before_the_model_s():
    places = {**PLACES, "variables": {"GIT_PYTHON_REFRESH": "raise", "MLFLOW_WORKERS": "9"}}
    files = FILTERS["served_model_files"](plan([IRIS])["models"], places)
    told = [file["variables"]["environment_variables"] for file in files if file.get("secret")][0]
    assert (told["GIT_PYTHON_REFRESH"], told["MLFLOW_WORKERS"]) == ("raise", "1")


def test_own_arguments_of_gunicorn_stay():
    places = {**PLACES, "variables": {"GUNICORN_CMD_ARGS": "--log-level debug"}}
    files = FILTERS["served_model_files"](plan([IRIS])["models"], places)
    told = [file["variables"]["environment_variables"]["GUNICORN_CMD_ARGS"] for file in files if file.get("secret")]
    assert told == ["--config /opt/mlflow/libexec/models/iris/model_workers.py --log-level debug"]


def test_all_that_is_written_of_an_instance_is_removed():
    written = {file["path"] for file in FILTERS["served_model_files"](plan([IRIS])["models"], PLACES) if "iris" in file["path"]}
    gone = FILTERS["served_model_gone_files"](["iris"], PLACES)
    assert all(file["state"] == "absent" for file in gone)
    assert all(any(path == file["path"] or path.startswith(file["path"] + "/") for file in gone) for path in written)


def test_a_model_is_replaced_if_a_file_of_its_instance_differs():
    found = {"slots": ["iris", "wine@2"], "sites": {"iris": {"slot": "iris", "port": 15001}, "wine": {"slot": "wine@2", "port": 15002}}}
    models = plan([IRIS, WINE, {"name": "new", "version": 1, "port": 5003}], found)["models"]

    def outdated(*paths):
        return [model["name"] for model in FILTERS["outdated_models"](models, paths, PLACES)]

    assert outdated() == ["new"] == outdated("/etc/mlflow/models", "/etc/mlflow/models/iris@2.env", "/var/lib/mlflow/models/iris")
    for path in ("/etc/mlflow/models/{}.env", "/etc/systemd/system/mlflow-model@{}.service", "/opt/mlflow/libexec/models/{}/fetch_model.py",
                 "/opt/mlflow/libexec/models/{}/model_workers.py", "/opt/mlflow/libexec/models/{}/model_requests.py",
                 "/opt/mlflow/libexec/models/{}/model_app.py", "/opt/mlflow/libexec/models/{}/spark-defaults.conf"):  # fmt: skip
        assert outdated(path.format("iris")) == ["iris", "new"] and outdated(path.format("wine@2")) == ["wine", "new"]


def test_sites_and_addresses():
    models = plan([IRIS])["models"]
    assert FILTERS["served_model_sites"](models, ["ml.example.com"], "/t/site.conf.j2", ["old"]) == [
        {"name": "model-iris", "template": "/t/site.conf.j2", "ports": [5001],
         "variables": {"model": models[0], "prefix": "model_5001", "names": ["ml.example.com"], "origins": []}},
        {"name": "model-old", "state": "absent"}]  # fmt: skip
    assert FILTERS["served_model_urls"](models, "https", "2001:db8::1") == [
        {"model": "iris", "version": 1, "url": "https://[2001:db8::1]:5001/invocations"}]  # fmt: skip


@pytest.mark.parametrize("sample, input_format, posted", [
    ([{"x": 1}], "pandas-split", [{"x": 1}]),
    ({"columns": ["x"], "data": [[1]]}, "pandas-split", {"columns": ["x"], "data": [[1]]}),
    ([{"x": 1}], "dataframe_split", {"dataframe_records": [{"x": 1}]}),
    ({"columns": ["x"], "data": [[1]]}, "dataframe_split", {"dataframe_split": {"columns": ["x"], "data": [[1]]}}),
])  # fmt: skip
def test_a_sample_is_put_as_the_stack_s_mlflow_takes_it(sample, input_format, posted):
    assert FILTERS["served_model_request"](sample, input_format) == posted


SETTINGS = {
    "model_serving_certificate": {}, "model_serving_environment": {}, "model_serving_models": [IRIS, WINE],
    "model_serving_names": ["ml.example.com"],
    "model_serving_prune": "false", "model_serving_spark_settings": {"spark.driver.memory": "2g"},
    "model_serving_users": [{"name": "a", "password": "b"}], "mlops_config_dir": "/etc/mlflow",
    "mlops_serving_scheme": "http", "serving_ports": [5001, 5020], "stack": STACK,
}  # fmt: skip


@pytest.mark.parametrize(("changed", "words"), [
    ({}, None), ({"model_serving_models": []}, None), ({"model_serving_models": [{**IRIS, "port": 4999}]}, "5001 to 5020"),
    ({"mlops_serving_scheme": "https"}, "set its method to provided or ca"), ({"mlops_serving_scheme": "https", "model_serving_models": []}, None),
    ({"mlops_serving_scheme": "https", "model_serving_certificate": {"method": "ca", "ca_path": "/no/ca.pem"}},
     "model_serving_certificate: ca_path is /no"),
    ({"model_serving_users": [{"name": "a:b", "password": "c"}]}, "a name without a colon"),
    ({"model_serving_users": [{"password": "c"}]}, "a name without a colon"),
    ({"model_serving_users": [{"name": "a", "password": ""}]}, "the password of a is empty"),
    ({"model_serving_names": ["https://ml.example.com"]}, '"https://ml.example.com" is no name or address'),
    ({"model_serving_environment": {"SSL_CERT_FILE": "/etc/mlflow/ca.pem"}}, "model_serving_environment.SSL_CERT_FILE lies in /etc/mlflow"),
    ({"model_serving_spark_settings": {"driver.memory": "2g"}}, "no setting of Spark (they begin with spark.): driver.memory"),
    ({"model_serving_prune": " yes"}, "model_serving_prune is ' yes'"),
    ({"model_serving_models": [{**IRIS, "stack": "mlflow-9"}]}, "model_serving_models, iris: stack is mlflow-9, but "),
    ({"model_serving_models": [{"name": "old", "stack": "mlflow-9", "state": "absent"}]}, None),
])  # fmt: skip
def test_settings(changed, words):
    settings = {**SETTINGS, **changed}
    problems = FILTERS["model_serving_problems"](settings, [])
    assert len(problems) == (words is not None) and (words is None or words in problems[0]), problems


def test_ports_of_others():
    listeners = [{"port": 5001, "pid": 1, "unit": "nginx.service", "user": "root"}, {"port": 5002, "pid": 2, "unit": "other.service", "user": "a"}]
    problems = FILTERS["model_serving_problems"](SETTINGS, listeners)
    assert problems == ["Port 5002 is taken by another program: stop it, or give the model in model_serving_models another port."]
