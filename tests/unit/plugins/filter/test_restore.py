# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule

FILTERS = FilterModule().filters()
PATH = "/var/backups/mlflow/a.tar.gz"
SETTINGS = {"restore_accept_missing_artifacts": False, "restore_again": False, "restore_archive": PATH, "restore_archive_path": "",
            "restore_keep_previous": True, "restore_other_site": False, "restore_start_timeout": "120", "backup_dir": "/var/backups/mlflow",
            "hosts": ["m1"], "host": "m1", "is_shared": False}  # fmt: skip
LOOKED = [{"item": "/opt/mlflow/current/bin/python", "stat": {"exists": True}}, {"item": "/etc/mlflow/mlflow.env", "stat": {"exists": True}},
          {"item": PATH, "stat": {"exists": True, "isreg": True}}]  # fmt: skip
GONE = [*LOOKED[:2], {"item": PATH, "stat": {"exists": False}}]
BARE = [{**LOOKED[0], "stat": {"exists": False}}, {**LOOKED[1], "stat": {"exists": False}}, LOOKED[2]]


@pytest.mark.parametrize(("changed", "looked", "words"), [
    ({}, LOOKED, None), ({"restore_archive": "", "hosts": []}, LOOKED[:2], "There is no archive to restore: set restore_archive to one on the host"),
    ({"restore_archive": ""}, LOOKED[:2], None), ({}, GONE, f"restore_archive is {PATH}, which is no file on this host"),
    ({"restore_archive": f" {PATH}"}, GONE, f"restore_archive is ' {PATH}': remove the space"),
    ({"restore_again": "true "}, LOOKED, "restore_again is 'true ': remove the space"),
    ({"restore_archive": "a.tar.gz"}, GONE, "restore_archive is a.tar.gz: set it to an absolute path"),
    ({}, BARE, "/opt/mlflow/current/bin/python and /etc/mlflow/mlflow.env is not there, so there is no MLflow to restore to: run playbooks/"),
    ({"restore_archive": "", "restore_archive_path": "/none/a.tar.gz"}, LOOKED[:2], "restore_archive_path is /none/a.tar.gz, which is no file on"),
    ({"hosts": ["m1", "m2"]}, LOOKED, "m2 would get an archive, too"), ({"hosts": ["m1", "m2"], "is_shared": True}, LOOKED, None),
    ({"hosts": ["m1", "m2"], "host": "m3"}, LOOKED, None),
    ({"restore_start_timeout": "soon"}, LOOKED, "restore_start_timeout is soon"),
    ({"restore_start_timeout": 0}, LOOKED, "restore_start_timeout is 0"),
])  # fmt: skip
def test_settings(changed, looked, words):
    problems = FILTERS["restore_problems"]({**SETTINGS, **changed}, looked, False)
    assert len(problems) == (1 if words else 0) and (not words or words in problems[0]), problems


def test_one_of_both():
    problems = FILTERS["restore_problems"]({**SETTINGS, "restore_archive_path": __file__}, LOOKED, False)
    assert problems == [f"restore_archive is {PATH} and restore_archive_path is {__file__}: set one of them."]


def test_an_empty_host_in_check_mode():
    assert FILTERS["restore_problems"](SETTINGS, BARE, True) == []


def test_which_hosts_were_given_an_archive():
    hostvars = {"a": {}, "b": {"restore_archive": PATH}, "c": {"restore_archive": "", "restore_archive_path": "x"}, "d": {"restore_archive": ""}}
    assert FILTERS["restore_hosts"](["a", "c", "b", "d"], hostvars) == ["c", "b"]


MANIFEST = {"host": "m1", "site": "https://m", "created": "2026-11-27T06:40:33Z",
            "database": {"counts": {"experiments": 2, "runs": 1, "registered_models": 1, "model_versions": 3}}}  # fmt: skip


def test_what_is_announced():
    say = FILTERS["restore_announcement"]
    what = "he archive of m1 (https://m), made 2026-11-27T06:40:33Z, with 2 experiments, 1 run, 1 model, 3 versions"
    assert say({"manifest": MANIFEST}, {"restored": ""}, False) == f"Restoring t{what}."
    assert say({"manifest": MANIFEST}, {"restored": ""}, True).startswith(f"T{what} is whole and fits here. It would be loaded")
    again = say({"manifest": MANIFEST}, {"restored": "20261127T081502Z"}, True)
    assert again.startswith(f"T{what} was restored at 20261127T081502Z, and is left alone.") and "restore_again" in again


def test_what_came_of_it():
    outcome = {"archive": PATH, "manifest": MANIFEST, "downtime": 9.1, "kept": ["/a", "/b"], "notes": ["Mind this."], "restored": True}
    assert FILTERS["restore_outcome"](json.dumps(outcome), "") == {**outcome, "why": ""}
    assert FILTERS["restore_outcome"]("", "No such unit")["why"].startswith("The switch did not begin: No such unit.")
    said = FILTERS["restore_message"](outcome)
    assert said.startswith(f"{PATH} is restored: MLflow answers with all of its 2 experiments, 1 run, 1 model, 3 versions. "
                           "It was away for 9.1 seconds. Mind this. What served before is kept as /a and /b: remove it")  # fmt: skip
    assert "kept" not in FILTERS["restore_message"]({**outcome, "kept": []})
