# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role restore refuses before anything is changed, with archives that are read on this computer. Each case is a host of one run here."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from mlflow_host import make_mlflow_host
from playbook_run import PREFLIGHTS, PROJECT, preflights, problem_of

PROGRAM = PROJECT / "roles/backup/files/mlflow_backup"


@pytest.fixture(name="host", scope="module")
def fixture_host(tmp_path_factory):
    """What there is of an MLflow host, with an archive, and what else may be given for one."""
    folder = tmp_path_factory.mktemp("host")
    make_mlflow_host(folder)
    (folder / "archives").mkdir()
    settings = {"site": "https://mlflow", "host": "mlflow1", "venv": f"{folder}/current", "config_dir": f"{folder}/etc",
                "directory": f"{folder}/archives", "artifacts": "auto", "verify": False, "recipient": "",
                "keep_count": 0, "keep_days": 0, "minimum_free_mb": 0, "configuration": [],
                "lock": f"{folder}/lock", "state_directory": f"{folder}/state"}  # fmt: skip
    (folder / "backup.json").write_text(json.dumps(settings))
    create = [folder / "current/bin/python", PROGRAM, "--settings", folder / "backup.json", "create"]
    made = subprocess.run(create, check=True, capture_output=True, text=True)
    archive = json.loads(made.stdout)["archive"]
    shutil.move(archive, folder / "whole.tar.gz")
    data = (folder / "whole.tar.gz").read_bytes()
    (folder / "cut.tar.gz").write_bytes(data[:len(data) // 2])
    (folder / "encrypted.tar.gz.gpg").write_bytes(b"no key is for this")
    return folder


# path: of an archive, below the folder of the host
CASES = {
    "whole": ({"restore_archive": "whole.tar.gz"}, []),
    "whole-there": ({"restore_archive_path": "whole.tar.gz"}, []),
    "none": ({}, ["There is no archive to restore: set restore_archive", "restore_archive_path"]),
    "both": ({"restore_archive": "whole.tar.gz", "restore_archive_path": "whole.tar.gz"}, ["set one of them"]),
    "not-here": ({"restore_archive": "gone.tar.gz"}, ["gone.tar.gz, which is no file on this host"]),
    "not-there": ({"restore_archive_path": "gone.tar.gz"}, ["gone.tar.gz, which is no file on the controller"]),
    "no-mlflow": ({"restore_archive": "whole.tar.gz", "mlops_venv": "/none"}, ["/none/bin/python is not there", "run playbooks/mlflow.yml first"]),
    "cut": ({"restore_archive": "cut.tar.gz"}, ["cut.tar.gz is damaged", "Take another archive"]),
    "cut-there": ({"restore_archive_path": "cut.tar.gz"}, ["cut.tar.gz is damaged"]),
    "encrypted": ({"restore_archive_path": "encrypted.tar.gz.gpg"}, ["is encrypted: decrypt it where the private key is",
                                                                               "No key of this account can"]),
    "other-site": ({"restore_archive": "whole.tar.gz", "backup_site": "https://other"}, [
        "whole.tar.gz is not restored: it is of the site https://mlflow (host mlflow1), and this is https://other", "restore_other_site"]),
    "other-site-meant": ({"restore_archive": "whole.tar.gz", "backup_site": "https://other", "restore_other_site": "true"}, []),
    "no-room": ({"restore_archive": "whole.tar.gz", "backup_minimum_free_mb": 10**9}, ["not enough room beside what is there"]),
    "backup": ({"restore_archive": "whole.tar.gz", "backup_keep_count": -1}, ["backup_keep_count is -1"]),
    "soon": ({"restore_archive": "whole.tar.gz", "restore_start_timeout": "0"}, ["restore_start_timeout is 0"]),
}  # fmt: skip


@pytest.fixture(name="found", scope="module")
def fixture_found(host, tmp_path_factory):
    def path(name, value):
        return str(host / value) if name in ("restore_archive", "restore_archive_path") else value

    cases = {case: {name: path(name, value) for name, value in variables.items()} for case, (variables, _words) in CASES.items()}
    common = {"role": "restore", "mlops_venv": str(host / "current"), "mlops_config_dir": str(host / "etc"), "backup_site": "https://mlflow",
              "mlops_user": "root", "mlops_group": "root", "surroundings": {"TMPDIR": str(host / "modules/tmp")}}  # fmt: skip
    # Each is alone with its archive.
    alone = {case: {**variables, "given": [case] * (case != "none")} for case, variables in cases.items()}
    folder = tmp_path_factory.mktemp("restore")
    playbook = PREFLIGHTS.replace("public: true}", 'public: true}\n          vars: {_restore_hosts: "{{ given }}"}')
    return preflights(folder, alone, common, playbook=playbook)


@pytest.mark.parametrize("case", CASES)
def test_archives(found, case):
    problem_of(found[case], CASES[case][1])


def test_nothing_is_left(found, host):
    assert found
    assert {path.name for path in host.iterdir()} == {
        "current", "guide-1.30-abc", "etc", "db", "artifacts", "archives", "modules", "backup.json", "whole.tar.gz", "cut.tar.gz",
        "encrypted.tar.gz.gpg", "lock"}
    assert list((host / "modules/tmp").iterdir()) == []
