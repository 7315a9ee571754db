# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule

FILTERS = FilterModule().filters()
PROGRAM = Path(__file__).resolve().parents[4] / "roles/mlflow_stores/files/live_stores.py"
URI = "postgresql+psycopg2://mlflow:canary-55@db/mlflow"
SETTINGS = {"database": URI, "artifacts": "s3://registry/mlflow", "hosts": ["mlflow1"], "mlops_stack": "guide-1.30", "start_empty": False,
            "store_move_only_rehearse": "false", "store_move_start_timeout": "120"}  # fmt: skip
THERE = [{"item": "/opt/mlflow/current/bin/python", "stat": {"exists": True}}, {"item": "/etc/mlflow/mlflow.env", "stat": {"exists": True}}]
LIVE = {"release": "guide-1.30-abc", "database": "sqlite", "rows": 3, "artifacts": "directory", "files": True}
FOUND = {"due": True, "rehearsal": None,
         "database": {"from": "/db/mlflow.db", "to": "db:5432/mlflow", "bytes": 4096, "rows": {"runs": 2, "metrics": 1, "params": 0, "inputs": 4}},
         "artifacts": {"from": "/artifacts", "to": "s3://registry/mlflow", "files": 1, "bytes": 2048, "there": 0}}  # fmt: skip
OUTCOME = {**FOUND, "moved": True, "downtime": 12.3, "notes": [], "kept": [], "stays": ["/db/mlflow.db", "/artifacts"], "archive": "/a.tar.gz",
           "artifacts": {**FOUND["artifacts"], "locations": {"runs.artifact_uri": 2}}}  # fmt: skip
WHAT = "the database /db/mlflow.db (2 runs, 1 metric, 4 other rows) to PostgreSQL, db:5432/mlflow and 1 artifact (2.0 KB) of /artifacts to s3://registry/mlflow"


def said(live):
    return {"rc": 0, "stdout": json.dumps(live) + "\n"}


@pytest.mark.parametrize(("live", "settings", "words"), [
    ({}, {}, ["MLflow's database is in SQLite and not empty, and PostgreSQL is asked for", "MLflow's artifacts are in a directory and not empty"]),
    ({"rows": 0, "files": False}, {}, []),
    ({"rows": None, "files": False}, {}, ["MLflow's database is in SQLite"]),
    ({}, {"start_empty": True}, []),
    ({}, {"database": "sqlite:////x", "artifacts": "/elsewhere"}, []),
    ({}, {"database": "sqlite:////x"}, ["artifacts are in a directory"]),
    ({"database": "postgresql", "rows": None, "artifacts": "s3"}, {}, []),
    ({"database": "postgresql", "rows": None, "artifacts": "s3"}, {"database": "sqlite:////x", "artifacts": "file:///x"},
     ["set mlops_database_host to what it was", "set mlops_s3_bucket to what it was"]),
])  # fmt: skip
def test_mlflow_does_not_begin_anew(live, settings, words):
    problems = FILTERS["live_stores_problems"]({**SETTINGS, **settings}, said({**LIVE, **live}))
    assert len(problems) == len(words) and all(word in problem for word, problem in zip(words, problems)), problems
    for problem in problems:
        assert "mlflow_stores_start_empty" in problem and "canary" not in problem
        assert ("move_store.yml" in problem) == ("what it was" not in problem)


@pytest.mark.parametrize("answer", [{"rc": 0, "stdout": ""}, {"rc": 0, "stdout": "{}\n"}, {}])
def test_a_host_without_mlflow_begins(answer):
    assert FILTERS["live_stores_problems"](SETTINGS, answer) == []


@pytest.mark.parametrize(("settings", "live", "words"), [
    ({}, {}, None),
    ({"store_move_start_timeout": "0"}, {}, "store_move_start_timeout is 0: set it to a whole number from 1 to 3600"),
    ({"hosts": ["mlflow1", "mlflow2"]}, {}, "The group mlflow has mlflow1, mlflow2, and one host alone is moved"),
    ({"hosts": ["mlflow1", "mlflow2"]}, {"database": "postgresql", "artifacts": "s3"}, None),
    ({"mlops_stack": "mlflow-3"}, {}, "guide-1.30-abc is live, and mlops_stack is mlflow-3: run playbooks/upgrade.yml first"),
])  # fmt: skip
def test_settings(settings, live, words):
    problems = FILTERS["store_move_problems"]({**SETTINGS, **settings}, THERE, said({**LIVE, **live}), False)
    assert len(problems) == (words is not None) and all(words in problem for problem in problems), problems


def test_without_mlflow():
    nothing = [{"item": "/x", "stat": {"exists": False}}]
    (problem,) = FILTERS["store_move_problems"](SETTINGS, nothing, {}, False)
    assert problem.startswith("/x is not there, so there is no MLflow to move: run playbooks/mlflow.yml")
    assert FILTERS["store_move_problems"](SETTINGS, nothing, {}, True) == []
    assert FILTERS["store_move_announcement"]("", True).startswith("There is no MLflow on this host yet")


def test_what_is_about_to_be_moved():
    announced = FILTERS["store_move_announcement"]
    assert announced(json.dumps(FOUND), False) == f"Moving {WHAT}."
    assert announced(json.dumps({"due": False}), False) == "MLflow has the stores that the inventory names: nothing is to be moved."
    checked = announced(json.dumps(FOUND), True)
    assert checked.startswith(f"It would move {WHAT}.") and checked.endswith("not known before the first rehearsal. Nothing was changed.")
    again = {**FOUND, "artifacts": {**FOUND["artifacts"], "there": 1}, "rehearsal": {"at": "20261127T120000Z", "seconds": 75.0}}
    checked = announced(json.dumps(again), True)
    assert "1 artifact of them is in the bucket already." in checked and "The last rehearsal, 20261127T120000Z, took 75.0 seconds" in checked
    assert "in the bucket" not in announced(json.dumps({**FOUND, "artifacts": None}), True)


def test_what_was_rehearsed():
    told = FILTERS["store_move_rehearsed"]({**FOUND, "rehearsed": 2.5})
    assert told.startswith(f"Rehearsed in 2.5 seconds: {WHAT}, compared") and "stay in the bucket" in told
    assert "bucket" not in FILTERS["store_move_rehearsed"]({**FOUND, "artifacts": None, "rehearsed": 2.5})


def test_what_came_of_it():
    outcome = FILTERS["store_move_outcome"]
    assert outcome(json.dumps(OUTCOME), "")["done"] and outcome(json.dumps(OUTCOME), "")["why"] == ""
    failed = outcome('{"moved": false, "doing": "Starting", "why": "It does not."}', "")
    assert not failed["done"] and failed["why"] == "Starting: It does not."
    assert outcome("", "No such unit")["why"] == "The switch did not begin: No such unit. journalctl -u mlflow-move says more."


def test_what_was_moved():
    message = FILTERS["store_move_message"](OUTCOME)
    assert message.startswith(f"MLflow has other stores: {WHAT}, compared before it was switched to. It was away for 12.3 seconds. 2 locations of")
    assert "What served before is untouched in /db/mlflow.db and /artifacts: remove it" in message
    assert "The archive from before is /a.tar.gz." in message
    alone = FILTERS["store_move_message"]({**OUTCOME, "database": None, "stays": ["/artifacts"], "kept": ["/db/mlflow.db.before"], "archive": ""})
    assert "untouched in /artifacts and /db/mlflow.db.before" in alone and "archive" not in alone


def live(folder, uri, place):
    (folder / "mlflow.env").write_text(f'# Written\nMLFLOW_BACKEND_STORE_URI="{uri}"\nMLFLOW_ARTIFACTS_DESTINATION="{place}"\n')
    done = subprocess.run([sys.executable, PROGRAM, folder / "mlflow.env", folder / "current"], check=True, capture_output=True, text=True)
    assert "canary" not in done.stdout
    return json.loads(done.stdout)


def test_what_a_host_says(tmp_path):
    (tmp_path / "guide-1.30-abc").mkdir()
    (tmp_path / "current").symlink_to(tmp_path / "guide-1.30-abc")
    (tmp_path / "artifacts/0/empty").mkdir(parents=True)
    assert live(tmp_path, URI.replace("$", "\\$"), "s3://registry") == {
        "release": "guide-1.30-abc", "database": "postgresql", "rows": None, "artifacts": "s3", "files": True}  # fmt: skip
    database = tmp_path / "mlflow.db"
    found = live(tmp_path, f"sqlite:///{database}", tmp_path / "artifacts")
    assert (found["database"], found["rows"], found["artifacts"], found["files"]) == ("sqlite", 0, "directory", False)
    subprocess.run([sys.executable, "-c", "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript('CREATE TABLE runs (a); "
                    "CREATE TABLE registered_models (a); CREATE TABLE experiments (experiment_id); INSERT INTO experiments VALUES (0), (1);"
                    "INSERT INTO runs VALUES (1);')", database], check=True)  # fmt: skip
    (tmp_path / "artifacts/0/x").touch()
    found = live(tmp_path, f"sqlite:///{database}", f"file://{tmp_path}/artifacts")
    assert (found["rows"], found["artifacts"], found["files"]) == (2, "directory", True)
    database.write_bytes(b"no database")
    assert live(tmp_path, f"sqlite:///{database}", "/none")["rows"] is None


def test_a_host_that_has_none(tmp_path):
    done = subprocess.run([sys.executable, PROGRAM, tmp_path / "none", tmp_path / "current"], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == {}
