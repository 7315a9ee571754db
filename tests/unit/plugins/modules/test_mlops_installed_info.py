# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest
from ansible_collections.sparkflows.mlops.plugins.module_utils import systemd
from ansible_collections.sparkflows.mlops.plugins.modules import mlops_installed_info


def test_paths_are_found_by_name_and_by_pattern(call, tmp_path):
    (tmp_path / "sites").mkdir()
    for name in ("mlops-mlflow.conf", "mlops-model-churn.conf", "company.conf", ".mlops-hidden.conf"):
        (tmp_path / "sites" / name).write_text("")
    (tmp_path / "away").symlink_to(tmp_path / "nowhere")
    result = call(mlops_installed_info, paths=[f"{tmp_path}/sites", f"{tmp_path}/sites/mlops-*.conf", f"{tmp_path}/away", f"{tmp_path}/none"])
    assert sorted(result["paths"]) == sorted([f"{tmp_path}/away", f"{tmp_path}/sites", f"{tmp_path}/sites/mlops-mlflow.conf",
                                              f"{tmp_path}/sites/mlops-model-churn.conf"])  # fmt: skip
    assert result["paths"][f"{tmp_path}/sites"]["kind"] == "directory" and len(result["paths"][f"{tmp_path}/sites"]["entries"]) == 4
    assert result["paths"][f"{tmp_path}/away"] == {"kind": "link", "entries": [], "leads_to": f"{tmp_path}/nowhere"}
    assert "/" in result["mounts"] and not result["changed"]


def test_a_link_to_a_folder_is_a_link_with_what_lies_there(call, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/x").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert call(mlops_installed_info, paths=[f"{tmp_path}/link"])["paths"][f"{tmp_path}/link"] == {
        "kind": "link", "entries": ["x"], "leads_to": str(tmp_path / "real")}  # fmt: skip


LISTED = """mlflow.service loaded active running MLflow
mlflow-batch-scoring-7.service loaded active running job
mlflow-model@gone.service not-found failed failed mlflow-model@gone.service
mlflow-etc.service not-found inactive dead mlflow-etc.service
"""


@pytest.mark.parametrize("booted", [True, False])
def test_units_with_a_file_and_those_that_run_without(tmp_path, monkeypatch, booted):
    monkeypatch.setattr(mlops_installed_info, "BOOTED", str(tmp_path if booted else tmp_path / "none"))
    (tmp_path / "mlflow.service").write_text("[Service]\n")
    (tmp_path / "mlflow-model@churn.service").write_text("[Service]\n")

    class Module:
        def get_bin_path(self, _name):
            return "/bin/systemctl"

        def run_command(self, command):
            if command[1] == "list-units":
                return 0, LISTED, ""
            state = "enabled" if command[-1] == "mlflow.service" else "transient"
            return 0, f"ActiveState=active\nUnitFileState={state}\n", ""

    found = mlops_installed_info.units(Module(), ["mlflow.service", "mlflow-model@*.service", "mlflow-batch-scoring-*.service"], str(tmp_path))
    of_files = {"mlflow.service", "mlflow-model@churn.service"}
    assert set(found) == (of_files | {"mlflow-batch-scoring-7.service", "mlflow-model@gone.service"} if booted else of_files)
    assert found["mlflow.service"]["enabled"] is booted
    assert not found["mlflow-model@churn.service"]["enabled"]
    assert {unit["active"] for unit in found.values()} == {"active" if booted else "inactive"}


def test_a_silent_systemd_is_no_answer(call, tmp_path, monkeypatch):
    """What may still run is not to be taken for something that does not."""
    monkeypatch.setattr(mlops_installed_info, "BOOTED", str(tmp_path))
    monkeypatch.setattr(systemd, "PAUSE", 0)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/systemctl").write_text("#!/bin/sh\n[ $1 = list-units ] || echo Failed to connect to bus >&2\n")
    (tmp_path / "bin/systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "mlflow.service").write_text("[Service]\n")
    result = call(mlops_installed_info, units=["mlflow.service"], unit_dir=str(tmp_path))
    assert result["failed"] and "mlflow.service" in result["msg"] and "Failed to connect to bus" in result["msg"]


def test_a_host_that_has_nothing(call, tmp_path):
    assert call(mlops_installed_info, paths=[str(tmp_path / "x")], unit_dir=str(tmp_path))["paths"] == {}
