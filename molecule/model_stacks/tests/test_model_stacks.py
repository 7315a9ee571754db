"""A Spark model of 1.30 goes on being served when its MLflow goes on to 2, beside a model of that. The tests build on each other."""

import json
import re

import pytest
from conftest import LAB, PROJECT, play

SPARK, SMALL = "breast-cancer-risk", "steady"
MODELS = [{"name": SPARK, "version": 1, "port": 5001}, {"name": SMALL, "version": 1, "port": 5002, "sample": {"columns": ["x"], "data": [[1], [2]]}}]
UNIT = f"mlflow-model@{SPARK}.service"


@pytest.fixture(name="run", scope="module")
def fixture_run(tmp_path_factory):
    """A run of a playbook with MLflow 2, and these served models."""
    # Group variables beside an inventory's file go before those of the inventories before it.
    inventory = tmp_path_factory.mktemp("inventory")
    (inventory / "group_vars" / "all").mkdir(parents=True)
    (inventory / "hosts.yml").write_text("all: {}\n")

    def run(playbook, *arguments, models=MODELS, judged=True, **variables):
        settings = {"mlops_stack": "mlflow-2", "model_serving_models": models, "lab_small_models": [{"name": SMALL, "versions": [{"answer": 100}]}]}
        (inventory / "group_vars" / "all" / "second.json").write_text(json.dumps({**settings, **variables}), encoding="utf-8")
        done = play(f"--inventory={inventory}", playbook, *arguments)
        assert not judged or done.returncode == 0, done.output[-5000:]
        return done.output

    return run


@pytest.fixture(name="compare", scope="module")
def fixture_compare(run):
    """Whether all predictions of the Spark model are those of its training. What else the report finds is no matter here."""

    def compare():
        run("playbooks/verify.yml", judged=False)
        report = json.loads((PROJECT / "reports" / LAB / "acceptance.json").read_text(encoding="utf-8"))
        (check,) = [check for check in report["checks"] if check["name"] == f"score {SPARK}"]
        assert check["status"] == "passed" and "569 rows" in check["evidence"], check

    return compare


def process(mlflow, unit=UNIT):
    return mlflow.check_output(f"systemctl show --property=MainPID,ExecMainStartTimestamp {unit}")


def runs_with(mlflow, unit):
    """Release, Java and Python of a process: what it was started with, and what it has loaded."""
    told = mlflow.check_output(f"systemctl show --property=Environment {unit}")
    return re.search(r"releases/([a-z]+-[0-9.]+)-", told).group(1), re.search(r"JAVA_HOME=(\S+)", told).group(1)


ASK = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], sys.argv[2].encode(), {"Content-Type": "application/json"})
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""


def small(sparkflows, address):
    """What the model of MLflow 2 answers from where Sparkflows stands."""
    rows = json.dumps({"dataframe_split": MODELS[1]["sample"]})
    return json.loads(sparkflows.check_output("python3 -c %s %s %s", ASK, f"http://{address}:5002/invocations", rows))


def test_the_model_goes_on_when_mlflow_does(mlflow, run):
    before = process(mlflow)
    run("playbooks/upgrade.yml")
    assert "/mlflow-2-" in mlflow.check_output("readlink /opt/mlflow/current") and process(mlflow) == before
    output = run("playbooks/serve_models.yml", models=MODELS[:1])
    assert process(mlflow) == before, output
    assert "guide-1.30-" in mlflow.check_output("readlink /opt/mlflow/stacks/guide-1.30/current")


def test_a_model_of_the_new_one_is_served_beside_it(mlflow, sparkflows, address, run):
    before = process(mlflow)
    run("molecule/model_stacks/small_model.yml")
    run("playbooks/serve_models.yml")
    assert process(mlflow) == before and small(sparkflows, address) == {"predictions": [101.0, 102.0]}
    (release, java), (other, other_java) = (runs_with(mlflow, f"mlflow-model@{name}.service") for name in (SPARK, SMALL))
    assert (release, other) == ("guide-1.30", "mlflow-2") and "1.8" in java and "17" in other_java


def test_rows_are_put_to_each_as_its_own_mlflow_takes_them(compare):
    """The site's own is another one."""
    compare()


def test_a_second_run_changes_nothing(mlflow, run):
    before = process(mlflow)
    output = run("playbooks/serve_models.yml")
    assert re.search(r"mlflow1 .*changed=0 ", output) and process(mlflow) == before, output[-3000:]


def test_what_is_changed_of_it_starts_with_its_own_stack(mlflow, run, compare):
    before = process(mlflow)
    run("playbooks/serve_models.yml", models=[{**MODELS[0], "memory_max": "6G"}, MODELS[1]])
    unit = f"mlflow-model@{SPARK}@2.service"
    assert process(mlflow, unit) != before and runs_with(mlflow, unit)[0] == "guide-1.30"
    compare()


def test_a_stack_that_is_not_there_is_built_beside_and_the_live_one_stays(mlflow, run, compare):
    """As on a host that has always had MLflow 2 and is given a model of 1.30."""
    run("playbooks/serve_models.yml", models=[{**MODELS[0], "state": "absent"}, MODELS[1]])
    mlflow.run_expect([0], "rm -rf /opt/mlflow/stacks /opt/mlflow/releases/guide-1.30-* && apt-get -qq remove -y 'openjdk-8-*'")
    run("playbooks/serve_models.yml", "--check")
    assert not mlflow.file("/opt/mlflow/stacks").exists
    run("playbooks/serve_models.yml")
    assert runs_with(mlflow, UNIT)[0] == "guide-1.30" and "/mlflow-2-" in mlflow.check_output("readlink -f /opt/mlflow/current")
    assert mlflow.file(mlflow.check_output("readlink -f /opt/mlflow/current") + "/.complete").exists
    compare()


def test_nothing_of_it_is_left(mlflow, run):
    run("playbooks/uninstall.yml", models=[], uninstall_confirm=True)
    assert not mlflow.file("/opt/mlflow").exists and mlflow.check_output("ls /etc/apt/preferences.d") == ""
