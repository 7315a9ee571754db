# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role store_move refuses before anything is changed, and what mlflow.yml does of other stores. Each case is a host of one run here."""

from __future__ import annotations

import pytest
from mlflow_host import make_mlflow_host
from playbook_run import preflights, problem_of

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
    make_mlflow_host(folder)
    (folder / "artifacts/x").write_text("x")
    return folder


@pytest.fixture(name="found", scope="module")
def fixture_found(folder):
    common = {"role": "store_move", "mlops_venv": str(folder / "current"), "mlops_config_dir": str(folder / "etc"),
              "mlops_data_dir": str(folder), "mlops_user": "root", "mlops_group": "root",
              "surroundings": {"TMPDIR": str(folder / "modules/tmp")}}  # fmt: skip
    cases = {name: variables for name, (variables, _words) in CASES.items()}
    (folder / "run").mkdir()
    return preflights(folder / "run", cases, common)


@pytest.mark.parametrize("case", CASES)
def test_stores_of_a_host(found, case):
    assert "canary" not in problem_of(found[case], CASES[case][1])


def test_nothing_is_left(found, folder):
    assert found and list((folder / "modules/tmp").iterdir()) == []
