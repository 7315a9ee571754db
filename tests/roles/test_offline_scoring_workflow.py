"""The method workflow of offline scoring against a double in this process, which really scores: without a lab."""

from __future__ import annotations

import csv
import json
import math
import os
import re

import pytest
from playbook_run import LOCAL, UNSEEN, run_with
from sparkflows_server import SparkflowsServer

WEIGHTS = {"mean_radius": 0.3, "mean_texture": -0.1}


class Scoring:
    def __init__(self, folder, server):
        self.folder, self.server = folder, server
        self.input, self.output = folder / "in", folder / "out"
        self.input.mkdir()
        (folder / "hosts.json").write_text(json.dumps({"sparkflows": {"hosts": {"fire.example": {**LOCAL, **UNSEEN, "ansible_become": False}}}}))

    def write(self, name, rows):
        with open(self.input / name, "w", newline="") as stream:
            csv.writer(stream).writerows([["id", "mean_radius", "mean_texture"], *rows])

    def read(self, name):
        with open(self.output / name, newline="") as stream:
            return list(csv.DictReader(stream))

    def run(self, *arguments, **variables):
        variables = {
            "mlops_mlflow_address": "192.0.2.10",
            "mlops_sparkflows_url": self.server.url,
            "mlops_sparkflows_token": self.server.token(),
            "score_offline_method": "workflow",
            "score_offline_workflow_id": "7",
            "score_offline_workflow_dir": str(self.folder),
            "score_offline_workflow_user": "",
            "score_offline_input": str(self.input),
            "score_offline_output": str(self.output),
            **variables,
        }
        done = run_with(self.folder, variables, "playbooks/score_offline.yml", *arguments, no_proxy="127.0.0.1")
        self.text = done.text
        assert not [name for name in os.listdir(self.folder) if name.startswith("scoring-")]  # the copies are gone
        return done.returncode


@pytest.fixture(name="scoring")
def fixture_scoring(tmp_path):
    workflow = {"name": "Risk", "intercept": -2.0, "weights": WEIGHTS}
    with SparkflowsServer(workflows={"7": workflow}, workflow_log_dir=str(tmp_path / "logs")) as server:
        yield Scoring(tmp_path, server)


def expected(row):
    return 1 / (1 + math.exp(2.0 - sum(weight * float(row[name]) for name, weight in WEIGHTS.items())))


def test_scores_once_and_again_when_the_workflow_changes(scoring):
    scoring.write("a.csv", [["x, y", "17.99", "10.38"], ["2", "20.570", "17.77"]])
    scoring.write("b.csv", [[str(number), "1.5", str(number)] for number in range(500)])
    assert scoring.run("--check", "--diff") == 0, scoring.text
    assert not scoring.output.exists() and not scoring.server.executions
    assert scoring.run("-vvv") == 0, scoring.text
    assert scoring.server.token_secret not in scoring.text
    for name in ("a.csv", "b.csv"):
        rows = scoring.read(name)
        assert [float(row["prediction"]) for row in rows] == pytest.approx([expected(row) for row in rows], rel=1e-15)
    assert [row["id"] for row in scoring.read("b.csv")] == [str(number) for number in range(500)]
    manifest = (scoring.output / "manifest.json").read_text()
    assert "Risk" in manifest and "Sparkflows 3.3.41" in manifest and scoring.server.url in manifest
    assert scoring.run() == 0 and re.search(r"changed=0 .*failed=0", scoring.text) and len(scoring.server.executions) == 2
    scoring.server.settings.workflows["7"].update(intercept=-3.0, parts=4)  # and written as Spark does
    assert scoring.run() == 0, scoring.text
    assert len(scoring.server.executions) == 4 and len(scoring.read("b.csv")) == 500
    assert [row["id"] for row in scoring.read("b.csv")] == [str(number) for number in range(500)]


def test_one_bad_file_does_not_keep_the_others(scoring):
    scoring.write("good.csv", [["1", "17.99", "10.38"]])
    scoring.write("wrong.csv", [["1", "17.99", "ten"]])
    assert scoring.run() != 0
    assert "wrong.csv: Workflow 7 ended as FAILED" in scoring.text and "could not convert string to float: 'ten'" in scoring.text
    assert sorted(os.listdir(scoring.output)) == ["good.csv", "manifest.json"]


@pytest.mark.parametrize(
    "faults, variables, text",
    [
        ({"hangs": True}, {"score_offline_timeout": "1"}, "did not end within 1 s (wait_timeout); its status was RUNNING. Execution 162 was stopped"),
        ({"drop_rows": 1}, {}, "it has 2 rows, but 1 were scored"),
        ({"reverse_rows": True}, {}, "is not row 1 of the input"),
        ({"prediction_column": "risk"}, {}, "mean_radius, mean_texture, risk: set score_offline_workflow_prediction_column"),
        ({}, {"score_offline_workflow_parameters": "--var input={input}"}, "the workflow ended well, but wrote nothing to"),
        ({}, {"score_offline_workflow_user": "nobody-here"}, "there is no user nobody-here on this host: set score_offline_workflow_user"),
    ],
)
def test_nothing_half_written(scoring, faults, variables, text):
    scoring.server.settings.workflows["7"].update(faults)
    scoring.write("a.csv", [["1", "17.99", "10.38"], ["2", "20.57", "17.77"]])
    assert scoring.run(**variables) != 0
    assert text in scoring.text and not (scoring.output / "a.csv").exists()


def test_other_column_and_other_call(scoring):
    scoring.server.settings.workflows["7"]["prediction_column"] = "risk"
    scoring.write("a.csv", [["1", "17.99", "10.38"]])
    code = scoring.run(score_offline_workflow_prediction_column="risk", score_offline_workflow_execute_call="create_execution")
    assert code == 0, scoring.text
    assert list(scoring.read("a.csv")[0]) == ["id", "mean_radius", "mean_texture", "prediction"]


def test_server_that_is_not_there_or_does_not_know_us(scoring):
    scoring.write("a.csv", [["1", "17.99", "10.38"]])
    assert scoring.run(mlops_sparkflows_token="wrong") != 0
    assert "did not accept the login" in scoring.text and "mlops_sparkflows_token" in scoring.text and not scoring.output.exists()
