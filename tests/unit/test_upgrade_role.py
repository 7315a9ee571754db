# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role upgrade refuses before anything is changed. Each case is a host of one run here."""

from __future__ import annotations

import pytest
from playbook_run import preflights, problem_of

CASES = {
    "good": ({}, []),
    "text": ({"upgrade_start_timeout": "300"}, []),
    "soon": ({"upgrade_start_timeout": 0}, ["upgrade_start_timeout is 0: set it to a whole number from 1 to 3600"]),
    # The group mlflow has another host.
    "not-all": ({"mlops_database_host": "db1.example.com"}, ["mlflow1 is not in this run, with the same database as this host"]),
    "no-mlflow": ({"mlops_venv": "/none"}, ["/none/bin/python is not there", "run playbooks/mlflow.yml first"]),
    "backup": ({"backup_keep_count": -1}, ["backup_keep_count is -1"]),
    "all-at-once": ({"mlops_venv": "/none", "upgrade_start_timeout": -5}, ["/none/bin/python is not there", "upgrade_start_timeout is -5"]),
}  # fmt: skip


@pytest.fixture(name="found", scope="module")
def fixture_found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("upgrade")
    (folder / "current/bin").mkdir(parents=True)
    (folder / "etc").mkdir()
    for path in ("current/bin/python", "etc/mlflow.env"):
        (folder / path).touch()
    common = {"role": "upgrade", "mlops_venv": str(folder / "current"), "mlops_config_dir": str(folder / "etc")}
    return preflights(folder, {name: variables for name, (variables, _words) in CASES.items()}, common)


@pytest.mark.parametrize("case", CASES)
def test_settings_of_the_upgrade(found, case):
    problem_of(found[case], CASES[case][1])
