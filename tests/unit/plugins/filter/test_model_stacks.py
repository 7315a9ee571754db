# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.model_stacks import model_stack_problems

PLAN = FilterModule().filters()["model_serving_plan"]
COLLECTION = Path(__file__).resolve().parents[4] / "stacks"
GUIDE, SECOND, THIRD = "guide-1.30", "mlflow-2", "mlflow-3"
SPARK = {"mlflow": "1.30.1", "python": "3.7.16", "loader": "mlflow.spark", "spark": "3.2.1"}
PICKLE = {"mlflow": "1.30.1", "python": "3.7.9", "loader": "mlflow.pyfunc.model"}
NEW = {"mlflow": "3.1.0", "python": "3.11.2", "loader": "mlflow.sklearn"}


def stack_of_site(name=GUIDE, folder=None):
    folder = str(folder or COLLECTION / name)
    return {"name": name, "dir": folder, "java": "/opt/mlflow/java", "venv": "/opt/mlflow/current", "home": "/opt/mlflow",
            "collection": str(COLLECTION), "serving": {"command": "the site's own"}}  # fmt: skip


def planned(made, site=None, **declared):
    version = {"name": "churn", "version": "3", "current_stage": "Production", "status": "READY", "creation_timestamp": 7}
    registry = {"model_versions": [version], "made_with": [{"name": "churn", "version": "3", **made}] if made is not None else []}
    return PLAN([{"name": "churn", "stage": "Production", "port": 5001, **declared}], {}, registry, "http://m", False, [15001, 15060],
                site or stack_of_site())  # fmt: skip


@pytest.mark.parametrize(("made", "site", "name"), [
    (SPARK, GUIDE, GUIDE), (SPARK, SECOND, GUIDE), (SPARK, THIRD, GUIDE), (NEW, THIRD, THIRD), (NEW, GUIDE, THIRD),
    ({**NEW, "mlflow": "2.9.2"}, THIRD, SECOND), ({"h2o": "3.36.1.2", "mlflow": "1.28.0"}, THIRD, GUIDE),
    # What is not pickled is loaded by any Python; an older Spark's by a newer one of the same major version.
    ({**SPARK, "python": "3.9.1", "spark": "3.1.3"}, SECOND, GUIDE), ({**NEW, "loader": "mlflow.xgboost", "python": "3.8.1"}, THIRD, THIRD),
    ({"mlflow": "2.22.5", "spark": "3.4.1"}, GUIDE, SECOND),
    # What says nothing of itself, or could not be read, is served as the site serves.
    ({}, SECOND, SECOND), (None, SECOND, SECOND), ({"problem": "404"}, SECOND, SECOND),
])  # fmt: skip
def test_a_model_is_served_with_what_it_was_made_with(made, site, name):
    plan = planned(made, stack_of_site(site))
    (model,) = plan["models"]
    own, links = name == site, f"/opt/mlflow/stacks/{name}"
    assert plan["problems"] == [] and model["runtime"]["name"] == name and model["runtime"]["dir"] == str(COLLECTION / name)
    assert (model["runtime"]["java"], model["runtime"]["venv"]) == (
        ("/opt/mlflow/java", "/opt/mlflow/current") if own else (f"{links}/java", f"{links}/current"))  # fmt: skip
    serving = yaml.safe_load((COLLECTION / name / "stack.yml").read_text())["model_serving"]
    assert model["runtime"]["serving"] == ({"command": "the site's own"} if own else serving)
    assert plan["stacks"] == ([] if own else [{"name": name, "dir": str(COLLECTION / name), "links": links}])


@pytest.mark.parametrize(("made", "said", "lacks"), [
    ({**SPARK, "spark": "3.3.0"}, "MLflow 1.30.1 and Spark 3.3.0",
     "guide-1.30 has Spark 3.2.1, mlflow-2 has MLflow 2.22.5, mlflow-3 has MLflow 3.17.2"),
    ({**SPARK, "spark": "2.4.8"}, "MLflow 1.30.1 and Spark 2.4.8", "guide-1.30 has Spark 3.2.1"),
    ({**PICKLE, "python": "3.8.1"}, "MLflow 1.30.1 and Python 3.8.1", "guide-1.30 has Python 3.7"),
    ({"mlflow": "1.30.1", "h2o": "3.36.1.4"}, "MLflow 1.30.1 and H2O 3.36.1.4", "guide-1.30 has H2O 3.36.1.2.post1"),
    ({"mlflow": "0.9.1"}, "MLflow 0.9.1", "guide-1.30 has MLflow 1.30.1"),
])  # fmt: skip
def test_no_stack_serves_it(made, said, lacks):
    plan = planned(made)
    (problem,) = plan["problems"]
    assert problem.startswith(f"model_serving_models, churn: version 3 was made with {said}, which no stack serves: {lacks}")
    assert "Set its stack to" in problem and plan["stacks"] == []
    # Whoever says it himself is not contradicted.
    assert planned(made, stack=THIRD)["problems"] == []


def test_what_could_not_be_read_is_named():
    assert planned({"problem": "404"})["unread"] == ["churn version 3 (404)"]
    assert planned(SPARK)["unread"] == planned(None)["unread"] == []


def test_a_stack_of_the_users_own(tmp_path):
    own = tmp_path / "ours"
    shutil.copytree(COLLECTION / SECOND, own)
    (model,) = planned(SPARK, stack=str(own))["models"]
    assert (model["runtime"]["name"], model["runtime"]["venv"]) == ("ours", "/opt/mlflow/stacks/ours/current")
    # The site's own by its folder or its name, and where it is one that a model fits.
    site = stack_of_site("ours", own)
    for made, declared in ((SPARK, {"stack": str(own)}), (SPARK, {"stack": "ours"}), ({"mlflow": "2.3.0"}, {})):
        plan = planned(made, site, **declared)
        assert plan["stacks"] == [] and plan["models"][0]["runtime"]["java"] == "/opt/mlflow/java"
    assert planned(SPARK, site)["models"][0]["runtime"]["name"] == GUIDE


def test_two_models_of_one_stack_need_it_once():
    versions = [{"name": name, "version": "1", "current_stage": "None", "status": "READY", "creation_timestamp": 7} for name in "ab"]
    registry = {"model_versions": versions, "made_with": [{"name": "a", "version": "1", **NEW}]}
    models = [{"name": "a", "version": 1, "port": 5001}, {"name": "b", "version": 1, "port": 5002, "stack": THIRD}]
    assert [stack["name"] for stack in PLAN(models, {}, registry, "", False, [15001, 15060], stack_of_site())["stacks"]] == [THIRD]


@pytest.mark.parametrize(("stack", "words"), [
    (GUIDE, None), (THIRD, None), ("", None), ("{tmp}/ours", None),
    ("mlflow-9", "model_serving_models, churn: stack is mlflow-9, but {collection}/mlflow-9/stack.yml does not exist: set stack to a stack that the "
                 "collection has, or to the folder of your own."),
    ("{tmp}/none", "stack is {tmp}/none, but {tmp}/none/stack.yml does not exist"),
    ("{tmp}/broken", "{tmp}/broken/stack.yml does not say what roles need of a stack: name is missing"),
    ("{tmp}/mlflow-2", "stack is {tmp}/mlflow-2, but there is another stack with the name mlflow-2: rename its folder"),
])  # fmt: skip
def test_stacks_that_entries_name(tmp_path, stack, words):
    for name in ("ours", SECOND):
        shutil.copytree(COLLECTION / SECOND, tmp_path / name)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "stack.yml").write_text("{}\n")
    places = {"tmp": tmp_path, "collection": COLLECTION}
    problems = list(model_stack_problems([{"name": "churn", "stack": stack.format(**places)}], stack_of_site()))
    assert len(problems) == (words is not None) and (words is None or words.format(**places) in problems[0]), problems
