# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from hypothesis import given
from hypothesis import strategies as st

FILTERS = FilterModule().filters()
ROLE = Path(__file__).resolve().parents[4] / "roles/batch_scoring"
SETTINGS = {
    "batch_scoring_model_name": "risk", "batch_scoring_model_version": 3, "batch_scoring_columns": {}, "batch_scoring_extra_columns": "refuse",
    "batch_scoring_prediction_column": 0, "batch_scoring_result_type": "", "batch_scoring_timeout": "60", "batch_scoring_master": "local[*]",
    "batch_scoring_driver_memory": "2g", "batch_scoring_executor_memory": "1g", "batch_scoring_cores_max": "0", "batch_scoring_memory_max": "",
    "batch_scoring_spark_settings": {}, "batch_scoring_stack": "", "batch_scoring_tracking_uri": "http://127.0.0.1:5000",
    "batch_scoring_tracking_username": "ada", "batch_scoring_tracking_password": "canary-1", "batch_scoring_tracking_ca_path": "",
    "batch_scoring_environment": {},
}  # fmt: skip
SITE = {
    "mlops_address": "2001:db8::5", "mlops_user": "mlflow", "mlops_group": "ml", "mlops_venv": "/opt/mlflow/current",
    "mlops_java_home": "/opt/mlflow/java", "mlops_data_dir": "/var/lib/mlflow", "mlops_config_dir": "/etc/mlflow", "mlops_tmp_dir": "",
    "_mlops_spark": {"security": {"spark.authenticate.secret": "canary-2"}, "job_ports": {"spark.driver.port": 7100}},
    "_mlops_artifacts": {"client_environment": {"AWS_SECRET_ACCESS_KEY": "canary-3"}},
    "_batch_scoring_config_dir": "/etc/mlflow/batch_scoring", "_batch_scoring_data_dir": "/var/lib/mlflow/batch_scoring",
    "_batch_scoring_program": "/opt/mlflow/libexec/score_job",
}  # fmt: skip
SPARK = {"mlflow": "1.30.1", "python": "3.7.16", "loader": "mlflow.spark", "spark": "3.2.1"}
PENDING = [{"name": name, "path": f"/srv/{folder}/{name}", "staged": f"/srv/out/{name}.part"} for name, folder in zip("abc", ("in", "in", "d e"))]
CLUSTER = {"batch_scoring_master": "spark://h:7077"}
COLLECTION = ROLE.parents[1] / "stacks"
GUIDE, SECOND, THIRD = "guide-1.30", "mlflow-2", "mlflow-3"
OWN, BESIDE = {"java": "/opt/mlflow/java", "venv": "/opt/mlflow/current"}, {"java": "/s/java", "venv": "/s/current"}


def planned(site=(), pending=PENDING, systemd=252, **settings):
    found = {"unit": "u", "sandbox": ["UMask=0027", "ProtectProc=invisible"], "systemd": systemd, "pending": pending, "model": {"path": "/m"},
             "runtime": BESIDE}  # fmt: skip
    return FILTERS["batch_scoring_plan"]({**SETTINGS, **settings}, {**SITE, **dict(site)}, found)


def secrets(site=(), **settings):
    return FILTERS["batch_scoring_secrets"]({**SETTINGS, **settings}, {**SITE, **dict(site)})


def properties(plan, command="command"):
    return [argument.removeprefix("--property=") for argument in plan[command] if argument.startswith("--property=")]


def stack_of_site(name=SECOND):
    return {"name": name, "dir": str(COLLECTION / name), **OWN, "home": "/opt/mlflow", "collection": str(COLLECTION), "serving": {}}


def runtime_of(made, site=SECOND, cluster="spark://own:7077", **settings):
    registry = {"model_versions": [], "made_with": [{"name": "risk", "version": "3", **made}]} if isinstance(made, dict) else {"msg": made}
    return FILTERS["batch_scoring_runtime"](registry, {**SETTINGS, **settings}, stack_of_site(site), cluster)


# ---- the settings
@pytest.mark.parametrize(("settings", "words"), [
    ({}, []), ({"batch_scoring_timeout": 1.5}, []), ({"batch_scoring_extra_columns": "keep"}, []),
    *(({"batch_scoring_master": master}, []) for master in ("local", "local[2,3]", "spark://[::1]:7077", "yarn", "k8s://https://x")),
    *(({"batch_scoring_master": master}, [f"batch_scoring_master is {master}: set it to local[*], local[<cores>], spark://<host>:<port>, yarn or k8s://<url>."])
      for master in ("local[0]", "localhost", "spark://h", "", None)),
    ({"batch_scoring_extra_columns": "drop"}, ["batch_scoring_extra_columns is drop: set it to refuse or keep."]),
    *(({"batch_scoring_timeout": timeout}, [f"batch_scoring_timeout is {timeout}: set it to a number of seconds above 0."])
      for timeout in (0, "-1", "zwei", "", None)),
    ({"batch_scoring_driver_memory": 2, "batch_scoring_executor_memory": "2gb"}, [
        f"batch_scoring_{what}_memory is no amount of memory: set it to a number with a unit, for example 2g." for what in ("driver", "executor")]),
    ({"batch_scoring_environment": {"SSL_CERT_FILE": "/home/ada/ca.pem"}}, ["batch_scoring_environment.SSL_CERT_FILE lies in /home, where"]),
    ({"batch_scoring_tracking_ca_path": "/tmp/ca.pem"}, ["batch_scoring_tracking_ca_path lies in /tmp, where"]),
    ({"batch_scoring_spark_settings": {"spark.a": 1, "sparky": "canary"}}, [
        "batch_scoring_spark_settings has what is no setting of Spark (they begin with spark.): sparky"]),
    ({"batch_scoring_stack": GUIDE}, []), ({"batch_scoring_stack": str(COLLECTION / THIRD)}, []),
    ({"batch_scoring_stack": "mlflow-9"}, [
        f"batch_scoring_stack is mlflow-9, but {COLLECTION}/mlflow-9/stack.yml does not exist: set batch_scoring_stack to a stack"]),
])  # fmt: skip
def test_settings(settings, words):
    found = FILTERS["batch_scoring_problems"]({**SETTINGS, **settings}, stack_of_site())
    assert len(found) == len(words) and all(problem.startswith(word) for problem, word in zip(found, words)), found
    assert "canary" not in str(found)


@pytest.mark.parametrize(("settings", "words"), [
    ({}, []), ({"batch_scoring_model_name": ""}, ["batch_scoring_model_name is empty: set score_offline_model_name"]),
    ({"batch_scoring_model_version": ""}, ["batch_scoring_model_version is empty: set score_offline_model_version or score_offline_model_stage."]),
])  # fmt: skip
def test_a_model_is_named(settings, words):
    found = FILTERS["batch_scoring_model_problems"]({**SETTINGS, **settings})
    assert len(found) == len(words) and all(problem.startswith(word) for problem, word in zip(found, words)), found


def test_every_setting_is_handed_over():
    """A new one of the role, and what the filters read."""
    variables, defaults = (yaml.safe_load((ROLE / kind / "main.yml").read_text(encoding="utf-8")) for kind in ("vars", "defaults"))
    assert sorted(variables["_batch_scoring_names"]) == sorted(defaults) == sorted(SETTINGS)
    assert sorted(variables["_batch_scoring_site_names"]) == sorted(SITE)
    assert set(variables["_batch_scoring_found"]) == {"unit", "sandbox", "systemd", "pending", "model", "runtime"}


# ---- the stack
@pytest.mark.parametrize(("made", "site", "settings", "name"), [
    (SPARK, GUIDE, {}, GUIDE), (SPARK, SECOND, {}, GUIDE), ({"mlflow": "3.1.0"}, GUIDE, {}, THIRD),
    (SPARK, SECOND, {"batch_scoring_stack": THIRD}, THIRD), (SPARK, SECOND, {"batch_scoring_stack": SECOND}, SECOND),
    ({}, SECOND, {}, SECOND), ({"problem": "404"}, SECOND, {}, SECOND), ("", SECOND, {}, SECOND),
])  # fmt: skip
def test_a_model_scores_with_what_it_was_made_with(made, site, settings, name):
    found, links = runtime_of(made, site, **settings), f"/opt/mlflow/stacks/{name}"
    assert (found["name"], found["dir"], found["problem"]) == (name, str(COLLECTION / name), "")
    beside = [] if name == site else [{"name": name, "dir": str(COLLECTION / name), "links": links}]
    assert found["stacks"] == beside and (found["java"], found["venv"]) == ((f"{links}/java", f"{links}/current") if beside else tuple(OWN.values()))


def test_no_stack_scores_it():
    made = {**SPARK, "spark": "3.3.0"}
    assert runtime_of(made)["problem"].startswith(
        "the model risk, version 3, was made with MLflow 1.30.1 and Spark 3.3.0, which no stack scores: mlflow-2 has MLflow 2.22.5, guide-1.30 has "
        "Spark 3.2.1, mlflow-3 has MLflow 3.17.2. Set batch_scoring_stack to the one that is to score it all the same, or to")  # fmt: skip
    assert runtime_of(made)["stacks"] == [] and runtime_of(made, batch_scoring_stack=THIRD)["problem"] == ""


@pytest.mark.parametrize(("master", "settings", "words"), [
    ("local[2]", {}, []), ("spark://own:7077", {"batch_scoring_stack": SECOND}, []),
    ("spark://own:7077", {}, [
        "the model risk, version 3, is to score with the stack guide-1.30 (Spark 3.2.1), but the workers of spark://own:7077 (batch_scoring_master) "
        "have mlflow-2 (Spark 3.5.8). Set batch_scoring_master to local[*], which scores on this host alone, or batch_scoring_stack to mlflow-2 to "
        "have it scored with that all the same."]),
    # Of the collection's own cluster it is known that its workers have the site's alone.
    ("spark://own:7077", {"batch_scoring_stack": GUIDE}, ["(batch_scoring_master) have mlflow-2"]),
    ("yarn", {}, [
        "the workers of yarn", "all the same, or, if the workers of this cluster do have /opt/mlflow/stacks/guide-1.30/current, to guide-1.30."]),
    ("yarn", {"batch_scoring_stack": GUIDE}, []),
])  # fmt: skip
def test_a_cluster_has_one_stack(master, settings, words):
    problem = runtime_of(SPARK, batch_scoring_master=master, **settings)["problem"]
    assert bool(problem) == bool(words) and all(word in problem for word in words), problem
    assert runtime_of(SPARK, GUIDE, batch_scoring_master=master, **settings | {"batch_scoring_stack": ""})["problem"] == ""


def test_what_could_not_be_read_is_named():
    assert runtime_of({"problem": "404"})["unread"] == ["risk version 3 (404)"] and runtime_of("no answer")["unread"] == ["risk (no answer)"]
    assert runtime_of(SPARK)["unread"] == runtime_of("")["unread"] == []


# ---- Spark and the environment
def test_local_spark_stays_on_loopback():
    found = secrets()
    assert found["spark"]["spark.driver.host"] == found["spark"]["spark.driver.bindAddress"] == found["environment"]["SPARK_LOCAL_IP"] == "127.0.0.1"
    assert "canary-2" not in str(found["spark"]) and "spark.driver.port" not in found["spark"] and found["spark"]["spark.cores.max"] == ""


def test_a_cluster_reaches_the_driver_and_shares_its_secret():
    found = secrets(**CLUSTER, batch_scoring_cores_max="4")
    assert found["spark"]["spark.driver.host"] == "[2001:db8::5]" and found["environment"]["SPARK_LOCAL_IP"] == "2001:db8::5"
    assert found["spark"]["spark.authenticate.secret"] == "canary-2" and found["spark"]["spark.driver.port"] == 7100
    assert found["spark"]["spark.cores.max"] == "4"
    # Another engine has ports and secrets of its own.
    assert "spark.driver.port" not in secrets(batch_scoring_master="yarn")["spark"]


def test_what_the_role_is_told_goes_first():
    own = {"spark.authenticate.secret": "mine", "spark.driver.memory": "9g"}
    assert secrets(**CLUSTER, batch_scoring_spark_settings=own)["spark"].items() >= own.items()
    environment = {"TMPDIR": "/mine", "AWS_SECRET_ACCESS_KEY": "mine"}
    found = secrets({"mlops_tmp_dir": "/t"}, batch_scoring_environment=environment)["environment"]
    assert found.items() >= {**environment, "MLFLOW_DFS_TMP": "/t/mlflow-batch-scoring", "JAVA_TOOL_OPTIONS": "-Djava.io.tmpdir=/t"}.items()
    assert "TMPDIR" not in secrets()["environment"] and secrets()["environment"]["AWS_SECRET_ACCESS_KEY"] == "canary-3"


# ---- the plan
@pytest.mark.parametrize("master", ["local[*]", "spark://h:7077"])
def test_no_secret_is_in_a_plan(master):
    told = {"batch_scoring_spark_settings": {"spark.x": "canary-4"}, "batch_scoring_environment": {"X": "canary-5", "SSL_CERT_FILE": "/ca.pem"}}
    assert "canary" not in repr(planned(batch_scoring_master=master, **told))
    found = repr(secrets(batch_scoring_master=master, **told))
    assert all(f"canary-{number}" in found for number in (1, 3, 4, 5)) and ("canary-2" in found) == master.startswith("spark://")


def test_the_command():
    plan = planned({"mlops_tmp_dir": "/t"}, batch_scoring_memory_max="6G", batch_scoring_tracking_ca_path="/etc/mlflow/ca.pem")
    assert plan["command"][:7] == ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--service-type=exec", "--unit=u"]
    assert plan["command"][-3:] == ["/s/current/bin/python", "/opt/mlflow/libexec/score_job", "score"]
    found = properties(plan)
    assert len(found) == len(plan["command"]) - 10
    assert {"UMask=0027", "ProtectProc=invisible", "User=mlflow", "Group=ml", "RuntimeMaxSec=780", "ReadWritePaths=/t", "MemoryMax=6G",
            "BindReadOnlyPaths=-/etc/mlflow/ca.pem", "EnvironmentFile=/etc/mlflow/batch_scoring/job.env"} <= set(found)  # fmt: skip
    # What it may see of closed folders is said after they were closed.
    assert found.index("TemporaryFileSystem=/etc/mlflow:ro") < found.index("BindReadOnlyPaths=/etc/mlflow/batch_scoring")
    plain = properties(planned(pending=[], batch_scoring_timeout="zwei"))
    assert "RuntimeMaxSec=600" in plain and not [line for line in plain if line.startswith(("MemoryMax", "ReadWritePaths", "BindReadOnlyPaths=-"))]


def test_the_registry_is_asked_with_the_sites_stack_and_the_model_scores_with_its_own():
    plan = planned()
    assert plan["model_command"][-3:] == ["/opt/mlflow/current/bin/python", "/opt/mlflow/libexec/score_job", "model"]
    for command, stack in (("model_command", OWN), ("command", BESIDE)):
        assert {f"Environment=JAVA_HOME={stack['java']}", f"Environment=PYSPARK_PYTHON={stack['venv']}/bin/python",
                f"Environment=PATH={stack['venv']}/bin:/usr/bin:/bin"} <= set(properties(plan, command))  # fmt: skip
    # Two orders may run at a time, and share the files of their settings.
    assert "/opt/mlflow/current" not in str(secrets())


def test_the_orders():
    plan = planned(**CLUSTER, batch_scoring_columns={"x": "double"})
    assert plan["model_order"] == {"name": "risk", "version": "3", "columns": {"x": "double"}, "home": "/var/lib/mlflow/batch_scoring"}
    files = plan["order"].pop("files")
    assert plan["order"] == {"model": {"path": "/m"}, "master": "spark://h:7077", "extra_columns": "refuse", "prediction_column": "0",
                             "result_type": "", "timeout": 60}  # fmt: skip
    assert files[2] == {"name": "c", "path": "/tmp/in1/c", "staged": "/tmp/out0/c.part"} and plan["outputs"] == ["/srv/out"]


PATHS = st.builds("/{}/{}".format, st.sampled_from(["a", "A", "b c", "ü/d", "a/b"]), st.text("xyé .'\\", min_size=1, max_size=5))


@given(st.lists(st.builds(lambda path, staged: {"name": path, "path": path, "staged": staged}, PATHS, PATHS)))
def test_the_job_sees_each_file_where_it_looks_for_it(pending):
    plan = planned(pending=pending)
    binds = {kind + place: path for line in properties(plan) for kind, path, place in re.findall(r'^(Bind\w+)="(.*)":(/tmp/.+)$', line)}
    for file, one in zip(pending, plan["order"]["files"], strict=True):
        for field, kind in (("path", "BindReadOnlyPaths"), ("staged", "BindPaths")):
            folder, _slash, name = one[field].rpartition("/")
            assert f"{binds[kind + folder]}/{name}" == file[field]
    # Each folder once: a second bind of one would be of no use.
    assert len(set(binds.values())) <= len(binds) == len({*(file["path"].rpartition("/")[0] for file in pending)}) + len(plan["outputs"])


# ---- the answers
def told(*answers, rc=0, log=()):
    return {"stdout_lines": ["", *(one if isinstance(one, str) else json.dumps(one) for one in answers)], "stderr_lines": list(log), "rc": rc}


def test_the_model_is_the_last_answer():
    assert FILTERS["batch_scoring_model"](told("noise", {"problem": "x"}, {"path": "/m", "version": "3"})) == {"path": "/m", "version": "3"}
    assert FILTERS["batch_scoring_model"](told({"problem": "has no signature"}, rc=1, log=["x"])) == {"problem": "has no signature"}


@pytest.mark.parametrize(("result", "words"), [
    (told(rc=137, log=[f"line {number}" for number in range(30)]), "gave no answer (exit code 137). The end of its log: line 10\nline 11\n"),
    (told("noise", '{"path": "/m', rc=1, log=["cut"]), "(exit code 1). The end of its log: cut"),
    ({"skipped": True}, "(exit code none). The end of its log: "), ({}, "the job that asks for the model gave no answer"),
])  # fmt: skip
def test_a_job_that_says_nothing(result, words):
    answer = FILTERS["batch_scoring_model"](result)
    assert "path" not in answer and words in answer["problem"]


def test_failures_by_file():
    log = [f"line {number}" for number in range(30)]
    result = told({"name": "a", "rows": 3}, "noise", {"name": "b", "problem": "no column x"}, '{"name": "c", "ro', rc=137, log=log)
    found = FILTERS["batch_scoring_failures"](result, PENDING)
    assert list(found) == ["b", "c"] and found["b"] == "no column x"
    assert found["c"].startswith("the job ended before this file was scored (exit code 137; 137 is out of memory, compare")
    assert found["c"].endswith("batch_scoring_memory_max). The end of its log:\n" + "\n".join(log[10:]))
    # What it said last of a file counts.
    again = told({"name": "a", "problem": "x"}, {"name": "a", "rows": 3}, {"problem": "of no file"})
    assert FILTERS["batch_scoring_failures"](again, PENDING[:1]) == {}
    assert list(FILTERS["batch_scoring_failures"]({"skipped": True}, PENDING)) == ["a", "b", "c"]
