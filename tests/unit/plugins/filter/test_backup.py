# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule

FILTERS = FilterModule().filters()
SETTINGS = {
    "backup_artifacts": "auto", "backup_dir": "/var/backups/mlflow", "backup_keep_count": "14", "backup_keep_days": 0, "backup_minimum_free_mb": 1024,
    "backup_public_key_path": "", "backup_site": "https://mlflow", "backup_verify": False, "mlops_config_dir": "/etc/mlflow",
    "mlops_data_dir": "/var/lib/mlflow", "mlops_home": "/opt/mlflow",
}  # fmt: skip


@pytest.mark.parametrize(("changed", "calendar", "words"), [
    ({}, {}, None), ({}, {"rc": 0}, None), ({"backup_keep_count": 0, "backup_minimum_free_mb": "0"}, {"skipped": True}, None),
    ({}, {"rc": 1, "stderr": "Failed to parse calendar\nspecification 'dayly'"}, "(Failed to parse calendar specification 'dayly'): set it to"),
    ({"backup_dir": "backups"}, {}, "backup_dir is 'backups': set it to an absolute path"),
    ({"backup_dir": "/var/lib/mlflow"}, {}, "lies in /var/lib/mlflow (mlops_data_dir), of which the backup is made"),
    ({"backup_dir": "/etc/mlflow/backups"}, {}, "lies in /etc/mlflow (mlops_config_dir)"),
    ({"backup_dir": "/var/lib/mlflow-backups"}, {}, None),
    ({"backup_site": ""}, {}, "backup_site is empty"),
    ({"backup_artifacts": "copy"}, {}, "backup_artifacts is copy: set it to auto or none."),
    ({"backup_artifacts": "auto "}, {}, "backup_artifacts is 'auto ': remove the space before or after it."),
    ({"backup_verify": " true"}, {}, "backup_verify is ' true': remove the space before or after it."),
    ({"backup_keep_count": "-1"}, {}, "backup_keep_count is -1: set it to 0 or more."),
    ({"backup_keep_days": "x"}, {}, "backup_keep_days is x: set it to 0 or more."),
    ({"backup_public_key_path": "/none/key.asc"}, {}, "backup_public_key_path is /none/key.asc, which is no file on the controller"),
])  # fmt: skip
def test_settings(changed, calendar, words):
    problems = FILTERS["backup_problems"]({**SETTINGS, **changed}, calendar)
    assert len(problems) == (1 if words else 0) and (not words or words in problems[0]), problems


@pytest.mark.parametrize(("content", "words"), [
    ("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n", None), ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nabc\n", "which has a private key"),
    ("ssh-ed25519 AAAA", "which is no OpenPGP public key"),
])  # fmt: skip
def test_keys(content, words, tmp_path):
    (tmp_path / "key.asc").write_text(content)
    problems = FILTERS["backup_problems"]({**SETTINGS, "backup_public_key_path": str(tmp_path / "key.asc")}, {})
    assert len(problems) == (1 if words else 0) and (not words or words in problems[0]), problems


def test_files_of_the_program():
    assert FILTERS["backup_program_files"](["/c/b.py", "/c/a.py"], "/opt/libexec/backup") == [
        {"path": "/opt/libexec", "state": "directory"}, {"path": "/opt/libexec/backup", "state": "directory"},
        {"path": "/opt/libexec/backup/a.py", "source": "/c/a.py"}, {"path": "/opt/libexec/backup/b.py", "source": "/c/b.py"}]


ANSWER = {
    "archive": "/b/a.tar.gz", "bytes": 1536, "verified": "", "removed": [], "notes": [],
    "manifest": {"database": {"revision": "abc", "counts": {"experiments": 1, "runs": 2, "registered_models": 0, "model_versions": 0}},
                 "artifacts": {"kept": "copied", "objects": 3, "bytes": 5 << 30}, "release": {"name": "guide-1.30-1"}},
}  # fmt: skip


def test_message():
    message = FILTERS["backup_message"]
    assert message(ANSWER) == (
        "/b/a.tar.gz (1.5 KB) has 1 experiment, 2 runs, 0 models, 0 versions, and 3 artifacts (5.0 GB) copied. "
        "It is of MLflow's schema abc, release guide-1.30-1. It was not verified (backup_verify).")
    manifest = {**ANSWER["manifest"], "artifacts": {"kept": "none"}}
    said = message({**ANSWER, "bytes": 12, "manifest": manifest, "verified": "loaded", "removed": ["x", "y"], "notes": ["Mind this."]})
    assert "(12 B)" in said and "and no artifacts (backup_artifacts). It is" in said
    assert said.endswith("Verified: loaded. Removed, as backup_keep_count and backup_keep_days say: x, y. Mind this.")
