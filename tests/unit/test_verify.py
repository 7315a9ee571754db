# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""verify.yml where nothing can be proven: the run fails, says why, and no report of an earlier run is left to be believed."""

from __future__ import annotations

import json

import pytest
from playbook_run import LOCAL, run_in

NAMES = ("acceptance.html", "acceptance.json", "acceptance.xml", "summary.txt")
# No program of the engine is there to be asked, so that every host is out of reach.
UNREACHABLE = {"ansible_connection": "community.docker.docker", "ansible_docker_docker_command": "/nonexistent/docker"}


@pytest.fixture(name="verify")
def fixture_verify(tmp_path):
    """Run verify.yml beside an old report; gives the exit code, the output, and the folder of the report."""

    def run(connections, *arguments, **variables):
        hosts = {"mlflow": {"mlflow1": connections[0]}, "sparkflows": {"fire1": connections[1]}}
        inventory = {"all": {
            "vars": {"mlops_reports_dir": str(tmp_path / "reports"), "ansible_become": False,
                     "mlops_sparkflows_url": "http://127.0.0.1:9", "mlops_sparkflows_token": "t", **variables},
            "children": {group: {"hosts": members} for group, members in hosts.items()}}}
        (tmp_path / "reports").mkdir()
        for name in NAMES:
            (tmp_path / "reports" / name).write_text("an old report\n")
        done = run_in(tmp_path, inventory, "- import_playbook: sparkflows.mlops.verify", *arguments)
        return done.returncode, done.text, tmp_path / "reports"

    return run


def test_no_host_is_in_reach(verify):
    code, said, folder = verify((UNREACHABLE, UNREACHABLE))
    assert code == 2, said[-3000:]
    report = json.loads((folder / "acceptance.json").read_text())
    assert report["summary"]["failed"] == report["summary"]["checks"] > 0
    assert {check["host"] for check in report["checks"]} == {"mlflow1", "fire1"}
    assert all("an old report" not in (folder / name).read_text() for name in NAMES)
    for host in ("mlflow1", "fire1"):
        assert f"{host}: answers" in said or f"{host}: reachable ports" in said


def test_one_host_is_in_reach(verify):
    code, said, folder = verify((UNREACHABLE, LOCAL), mlops_home="/nonexistent", mlops_data_dir="/nonexistent")
    assert code == 2, said[-3000:]
    checks = json.loads((folder / "acceptance.json").read_text())["checks"]
    assert [check["name"] for check in checks if check["host"] == "mlflow1"] == ["answers of the MLflow host"]
    assert "MLflow port is open" in [check["name"] for check in checks if check["host"] == "fire1"]
    assert "mlflow1: answers of the MLflow host: the host cannot be reached" in said


def test_the_run_ends_before_anything_is_asked(verify):
    code, said, folder = verify((UNREACHABLE, UNREACHABLE), acceptance_closed_port=5000)
    assert code != 0
    assert "mlflow1: acceptance_closed_port is 5000" in said
    assert sorted(path.name for path in folder.iterdir()) == []


def test_check_mode_leaves_the_report(verify):
    code, said, folder = verify((LOCAL, LOCAL), "--check", mlops_home="/nonexistent", mlops_data_dir="/nonexistent")
    assert code == 0, said[-3000:]
    assert all((folder / name).read_text() == "an old report\n" for name in NAMES)
