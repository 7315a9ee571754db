# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role store_move refuses before anything is changed, and what mlflow.yml does of other stores. Each case is a host of one run here."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing

import pytest
from playbook_run import preflights, problem_of

# The release knows this schema.
ALEMBIC = """
class ScriptDirectory:
    def __init__(self, folder): pass
    def get_current_head(self): return "97727af70f4d"
    def walk_revisions(self): return []
"""
NOWHERE = {"mlops_s3_bucket": "registry", "mlops_s3_endpoint_url": "http://127.0.0.1:1", "mlops_s3_access_key": "key",
           "mlops_s3_secret_key": "canary-41", "mlflow_stores_timeout": 1}  # fmt: skip
CASES = {
    "same": ({}, []),
    "no-mlflow": ({"mlops_venv": "/none"}, ["/none/bin/python is not there", "run playbooks/mlflow.yml"]),
    "soon": ({"store_move_start_timeout": 0}, ["store_move_start_timeout is 0"]),
    "backup": ({"backup_keep_count": -1}, ["backup_keep_count is -1"]),
    "stack": ({"mlops_stack": "mlflow-3"}, ["guide-1.30-abc is live", "run playbooks/upgrade.yml first"]),
    "elsewhere": ({"mlflow_server_artifacts_destination": "/elsewhere"}, ["only a directory is moved, and only to S3", "Nothing was changed"]),
    "database": ({"mlops_database_host": "127.0.0.1", "mlops_database_port": 1, "mlflow_stores_timeout": 1}, ["127.0.0.1:1", "mlops_database_host"]),
    "mlflow": ({**NOWHERE, "role": "mlflow_stores"}, ["MLflow's artifacts are in a directory and not empty", "playbooks/move_store.yml takes along"]),
    "mlflow-same": ({"role": "mlflow_stores"}, []),
}  # fmt: skip


@pytest.fixture(name="folder", scope="module")
def fixture_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("host")
    for name in ("guide-1.30-abc/bin", "etc", "data/db", "data/artifacts/0", "modules/alembic", "modules/mlflow", "modules/tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "current").symlink_to(folder / "guide-1.30-abc")
    python = folder / "current/bin/python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={folder}/modules exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (folder / "modules/alembic/__init__.py").touch()
    (folder / "modules/alembic/script.py").write_text(ALEMBIC)
    (folder / "modules/mlflow/__init__.py").touch()
    (folder / "modules/mlflow/version.py").write_text('VERSION = "1.30.1"\n')
    (folder / "etc/mlflow.env").write_text(
        f'MLFLOW_BACKEND_STORE_URI="sqlite:///{folder}/data/db/mlflow.db"\nMLFLOW_ARTIFACTS_DESTINATION="{folder}/data/artifacts"\n')
    with closing(sqlite3.connect(folder / "data/db/mlflow.db")) as connection:
        connection.executescript("CREATE TABLE runs (a); CREATE TABLE alembic_version (version_num);"
                                 "INSERT INTO alembic_version VALUES ('97727af70f4d');")  # fmt: skip
    (folder / "data/artifacts/0/x").write_text("x")
    return folder


@pytest.fixture(name="found", scope="module")
def fixture_found(folder):
    common = {"role": "store_move", "mlops_venv": str(folder / "current"), "mlops_config_dir": str(folder / "etc"),
              "mlops_data_dir": str(folder / "data"), "mlops_user": "root", "mlops_group": "root",
              "surroundings": {"TMPDIR": str(folder / "modules/tmp")}}  # fmt: skip
    cases = {name: variables for name, (variables, _words) in CASES.items()}
    (folder / "run").mkdir()
    return preflights(folder / "run", cases, common)


@pytest.mark.parametrize("case", CASES)
def test_stores_of_a_host(found, case):
    assert "canary" not in problem_of(found[case], CASES[case][1])


def test_nothing_is_left(found, folder):
    assert found and list((folder / "modules/tmp").iterdir()) == []
