"""What the demo's path leaves behind with MLflow 2 and 3: the scenarios mlflow_2 and mlflow_3."""

import json
import subprocess

import pytest
import yaml
from conftest import LAB, PROJECT, trained, training_rows

STACK = LAB.rpartition("molecule-")[2].replace("_", "-")
MODEL = "breast-cancer-risk"
SEND = """
import sys, urllib.error, urllib.request
request = urllib.request.Request(sys.argv[1], sys.stdin.buffer.read(), {"Content-Type": "application/json"})
try:
    print(urllib.request.urlopen(request, timeout=60).read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""


@pytest.fixture(name="data", scope="module")
def fixture_data():
    return yaml.safe_load((PROJECT / "stacks" / STACK / "stack.yml").read_text(encoding="utf-8"))


@pytest.fixture(name="send", scope="module")
def fixture_send(address):
    """Sends a table from the Sparkflows host, and gives the answer's text."""
    command = ["docker", "exec", "-i", f"{LAB}-sparkflows1", "python3", "-c", SEND, f"http://{address}:5001/invocations"]

    def send(table):
        return subprocess.run(command, input=json.dumps({"dataframe_split": table}), text=True, check=True, stdout=subprocess.PIPE).stdout

    return send


@pytest.fixture(name="sample", scope="module")
def fixture_sample():
    """Ten rows as they are sent, and what the model predicted of them in training."""
    return training_rows(10), trained(MODEL)[:10]


def test_the_stack_is_what_is_installed(mlflow, data):
    assert f'version "{data["java"]}.' in mlflow.run("/opt/mlflow/java/bin/java -version").stderr
    assert mlflow.check_output("/opt/mlflow/current/bin/python --version").startswith(f"Python {data['python']}.")
    assert mlflow.file("/opt/mlflow/current").linked_to.startswith(f"/opt/mlflow/releases/{STACK}-")
    wanted = dict(package.split("==") for package in data["packages"] if "==" in package)
    assert mlflow.check_output("/opt/mlflow/current/bin/mlflow --version").split()[-1] == wanted["mlflow"]


def test_all_scores_are_those_of_the_training(report):
    assert report["summary"]["failed"] == 0 and report["summary"]["checks"] > 20
    (evidence,) = [check["evidence"] for check in report["checks"] if check["name"] == f"score {MODEL}"]
    assert evidence.startswith("569 rows over ") and "all predictions equal the expected ones" in evidence


def test_a_client_scores(send, sample):
    assert json.loads(send(sample[0])) == {"predictions": sample[1]}


def test_very_many_columns_are_refused(send):
    answer = send({"columns": [f"c{number}" for number in range(100_000)], "data": [[1] * 100_000]})
    assert answer.startswith("400 ") and "this model takes 1030 at most" in answer


def test_a_model_whose_java_has_died_comes_back(mlflow, send, sample):
    unit = f"mlflow-model@{MODEL}"
    before = mlflow.service(unit).systemd_properties["MainPID"]
    java = mlflow.check_output(f"pgrep --parent {before} --exact java")
    mlflow.run_expect([0], f"kill -9 {java}")
    mlflow.run_expect([0], f"timeout 60 sh -c 'until [ $(systemctl show -p MainPID --value {unit}) != {before} ]; do sleep 0.5; done'")
    mlflow.run_expect([0], "timeout 300 bash -c 'until (echo > /dev/tcp/127.0.0.1/15001) 2>&-; do sleep 0.5; done'")
    assert json.loads(send(sample[0])) == {"predictions": sample[1]}
    assert f"Java process {java} of the model has died" in mlflow.check_output(f"journalctl --unit {unit} --output cat")
