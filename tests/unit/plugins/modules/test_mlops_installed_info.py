# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
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


def test_mount_points_with_blanks():
    assert mlops_installed_info.mounts("/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /srv/my\\040data ext4 rw 0 0\n") == ["/", "/srv/my data"]


LISTED = """mlflow.service loaded active running MLflow
mlflow-batch-scoring-7.service loaded active running job
mlflow-model@gone.service not-found failed failed mlflow-model@gone.service
mlflow-etc.service not-found inactive dead mlflow-etc.service
"""


@pytest.mark.parametrize("systemd", [True, False])
def test_units_with_a_file_and_those_that_run_without(tmp_path, systemd):
    (tmp_path / "mlflow.service").write_text("[Service]\n")
    (tmp_path / "mlflow-model@churn.service").write_text("[Service]\n")

    class Module:
        def get_bin_path(self, _name):
            return "/bin/systemctl" if systemd else None

        def run_command(self, command):
            if command[1] == "list-units":
                return 0, LISTED, ""
            return 0, {"is-active": "active\n", "is-enabled": "enabled\n" if command[2] == "mlflow.service" else "transient\n"}[command[1]], ""

    found = mlops_installed_info.units(Module(), ["mlflow.service", "mlflow-model@*.service", "mlflow-batch-scoring-*.service"], str(tmp_path))
    of_files = {"mlflow.service", "mlflow-model@churn.service"}
    assert set(found) == (of_files | {"mlflow-batch-scoring-7.service", "mlflow-model@gone.service"} if systemd else of_files)
    assert found["mlflow.service"]["enabled"] is systemd
    assert not found["mlflow-model@churn.service"]["enabled"]


def test_a_host_that_has_nothing(call, tmp_path):
    assert call(mlops_installed_info, paths=[str(tmp_path / "x")], unit_dir=str(tmp_path))["paths"] == {}
