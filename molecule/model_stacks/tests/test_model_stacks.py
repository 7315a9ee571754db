"""Models of 1.30 go on being served, and score files, when their MLflow goes on to 2, beside a model of that. The tests build on each other."""

import csv
import io
import json
import re

import pytest
from conftest import LAB, PROJECT, play, trained

SPARK, SMALL, H2O = "breast-cancer-risk", "steady", "breast-cancer-h2o-python"
MODELS = [{"name": SPARK, "version": 1, "port": 5001}, {"name": SMALL, "version": 1, "port": 5002, "sample": {"columns": ["x"], "data": [[1], [2]]}}]
UNIT = f"mlflow-model@{SPARK}.service"
# The rows that the models were trained with, on the MLflow host, and where scored files go.
ROWS, SCORED = "/var/lib/mlflow/lab/data.csv", "/srv/scored"


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


@pytest.fixture(name="score", scope="module")
def fixture_score(run):
    """A run that scores a file with a registered model."""

    def score(output, *arguments, model=SPARK, **variables):
        order = {"score_offline_method": "registered_model", "score_offline_model_name": model, "score_offline_model_version": "1",
                 "score_offline_input": ROWS, "score_offline_output": f"{SCORED}/{output}", "score_offline_extra_columns": "keep"}  # fmt: skip
        return run("playbooks/score_offline.yml", *arguments, **{**order, **variables})

    return score


def scored(mlflow, folder, name="data.csv"):
    """The stack that scored a file, and the predictions."""
    (entry,) = json.loads(mlflow.file(f"{SCORED}/{folder}/manifest.json").content_string)["files"].values()
    rows = csv.DictReader(io.StringIO(mlflow.file(f"{SCORED}/{folder}/{name}").content_string))
    return entry["scored_by"]["stack"], [float(row["prediction"]) for row in rows]


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


def test_a_file_is_scored_before(mlflow, score):
    score("before", mlops_stack="guide-1.30")
    assert scored(mlflow, "before") == ("guide-1.30", trained(SPARK)) and not mlflow.file("/opt/mlflow/stacks").exists


def test_the_model_goes_on_when_mlflow_does(mlflow, run):
    before = process(mlflow)
    run("playbooks/upgrade.yml")
    assert "/mlflow-2-" in mlflow.check_output("readlink /opt/mlflow/current") and process(mlflow) == before
    output = run("playbooks/serve_models.yml", models=MODELS[:1])
    assert process(mlflow) == before, output
    assert "guide-1.30-" in mlflow.check_output("readlink /opt/mlflow/stacks/guide-1.30/current")


def test_a_model_of_the_new_one_is_served_beside_it(mlflow, sparkflows, address, run):
    before = process(mlflow)
    run("molecule/small_models.yml")
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


def test_files_are_scored_with_the_stack_of_their_model(mlflow, score):
    score("after")
    assert scored(mlflow, "after")[0] == "guide-1.30" and "/mlflow-2-" in mlflow.check_output("readlink /opt/mlflow/current")
    assert mlflow.check_output(f"cmp {SCORED}/before/data.csv {SCORED}/after/data.csv && wc -l < {SCORED}/after/data.csv") == "570"
    again = score("after")
    assert re.search(r"mlflow1 .*changed=0 ", again), again[-3000:]
    mlflow.run_expect([0], f"mkdir -p {SCORED}/in && printf 'x\n1\n2\n' > {SCORED}/in/small.csv")
    score("small", model=SMALL, score_offline_input=f"{SCORED}/in/small.csv", batch_scoring_columns={"x": "long"})
    assert scored(mlflow, "small", "small.csv") == ("mlflow-2", [101.0, 102.0])


def test_a_cluster_of_another_spark_is_told(mlflow, score):
    said = re.sub(r"\s+", " ", score("cluster", judged=False, batch_scoring_master="spark://127.0.0.1:7077"))
    assert f"the model {SPARK}, version 1, is to score with the stack guide-1.30 (Spark 3.2.1), but the workers of spark://127.0.0.1:7077" in said
    assert "have mlflow-2 (Spark 3.5.8)" in said and not mlflow.file(f"{SCORED}/cluster").exists


def test_a_model_of_h2o_scores_with_its_own_h2o(mlflow, score):
    """Which loads models of its very version only."""
    score("h2o", model=H2O)
    stack, predictions = scored(mlflow, "h2o")
    # Its client reads what the model predicted in training without the last bit of some numbers.
    assert stack == "guide-1.30" and predictions == pytest.approx(trained("breast-cancer-h2o", "python"), rel=1e-15, abs=1e-15)


def test_what_is_changed_of_it_starts_with_its_own_stack(mlflow, run, compare):
    before = process(mlflow)
    run("playbooks/serve_models.yml", models=[{**MODELS[0], "memory_max": "6G"}, MODELS[1]])
    unit = f"mlflow-model@{SPARK}@2.service"
    assert process(mlflow, unit) != before and runs_with(mlflow, unit)[0] == "guide-1.30"
    compare()


def test_a_stack_that_is_not_there_is_built_beside_and_the_live_one_stays(mlflow, run, score, compare):
    """As on a host that has always had MLflow 2 and is given a model of 1.30."""
    run("playbooks/serve_models.yml", models=[{**MODELS[0], "state": "absent"}, MODELS[1]])
    mlflow.run_expect([0], "rm -rf /opt/mlflow/stacks /opt/mlflow/releases/guide-1.30-* && apt-get -qq remove -y 'openjdk-8-*'")
    run("playbooks/serve_models.yml", "--check")
    assert "to_score" in score("beside", "--check") and not mlflow.file(f"{SCORED}/beside").exists
    assert not mlflow.file("/opt/mlflow/stacks").exists
    run("playbooks/serve_models.yml")
    assert runs_with(mlflow, UNIT)[0] == "guide-1.30" and "/mlflow-2-" in mlflow.check_output("readlink -f /opt/mlflow/current")
    assert mlflow.file(mlflow.check_output("readlink -f /opt/mlflow/current") + "/.complete").exists
    compare()
    # What is served has paths of its own; a job needs the links.
    mlflow.run_expect([0], "rm -rf /opt/mlflow/stacks")
    score("beside")
    assert mlflow.check_output(f"cmp {SCORED}/before/data.csv {SCORED}/beside/data.csv && readlink /opt/mlflow/stacks/guide-1.30/current") != ""


def test_nothing_of_it_is_left(mlflow, run):
    run("playbooks/uninstall.yml", models=[], uninstall_confirm=True)
    assert not mlflow.file("/opt/mlflow").exists and not mlflow.file("/var/lib/mlflow/batch_scoring").exists
    assert mlflow.check_output("ls /etc/apt/preferences.d") == ""
