# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role backup refuses before anything is changed, with systemd's own word on the schedule. Each case is a host of one run here."""

from __future__ import annotations

import shutil

import pytest
from playbook_run import preflights, problem_of

CASES = {
    "defaults": ({}, []),
    "schedule": ({"backup_schedule": "*-*-* 02:30:00", "backup_keep_count": "3", "backup_verify": "true"}, []),
    "no-time": ({"backup_schedule": "dayly"}, ["backup_schedule is no time that systemd knows", "dayly"]),
    "all-at-once": ({"backup_dir": "/var/lib/mlflow/backups", "backup_keep_days": -1, "backup_public_key_path": "none.asc"},
                    ["backup_dir is /var/lib/mlflow/backups, which lies in /var/lib/mlflow", "backup_keep_days is -1",
                     "backup_public_key_path is none.asc"]),
}  # fmt: skip


@pytest.fixture(name="found", scope="module")
def fixture_found(tmp_path_factory):
    if not shutil.which("systemd-analyze"):
        pytest.skip("there is no systemd here")
    return preflights(tmp_path_factory.mktemp("backup"), {name: variables for name, (variables, _words) in CASES.items()}, {"role": "backup"})


@pytest.mark.parametrize("case", CASES)
def test_settings_of_the_backup(found, case):
    problem_of(found[case], CASES[case][1])
