# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import socket

import pytest
from ansible_collections.sparkflows.mlops.plugins.modules import mlops_served_models_info


@pytest.fixture(name="look")
def fixture_look(call, tmp_path):
    for name in ("units", "sites"):
        (tmp_path / name).mkdir()

    def run(**options):
        return call(mlops_served_models_info, unit_dir=str(tmp_path / "units"), site_dir=str(tmp_path / "sites"), **options)

    return run


def site(folder, instance, slot, port):
    mark = json.dumps({"instance": instance, "slot": slot, "port": port})
    (folder / "sites" / f"mlops-model-{instance}.conf").write_text(f"# Written by Ansible.\n# live: {mark}\nserver {{\n}}\n")


def test_an_empty_host(call, look, tmp_path):
    result = look()
    assert (result["slots"], result["sites"], result["links"], result["changed"]) == ([], {}, {}, False)
    nowhere = call(mlops_served_models_info, unit_dir="/no/such/dir", site_dir="/no/such/dir")
    assert (nowhere["slots"], nowhere["sites"]) == ([], {})


def test_instances_and_the_live_ones(look, tmp_path):
    for name in ("mlflow-model@churn.service", "mlflow-model@churn@2.service", "mlflow-model@iris_v2.service", "mlflow-model@.service",
                 "mlflow.service", "mlflow-model@iris_v2.service.d"):
        (tmp_path / "units" / name).touch()
    site(tmp_path, "churn", "churn@2", 15002)
    (tmp_path / "sites" / "mlops-mlflow.conf").write_text("server {\n}\n")
    result = look()
    assert result["slots"] == ["churn", "churn@2", "iris_v2"]
    assert result["sites"] == {"churn": {"slot": "churn@2", "port": 15002}}


def test_a_site_that_somebody_has_rewritten(look, tmp_path):
    (tmp_path / "sites" / "mlops-model-churn.conf").write_text("server {\n}\n")
    result = look()
    assert result["failed"] and "mlops-model-churn.conf is not as role model_serving has written it" in result["msg"]


def test_ports_on_which_something_listens(look):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with socket.create_connection(taken.getsockname()) as client:
            ports = look()["ports"]
            assert taken.getsockname()[1] in ports and client.getsockname()[1] not in ports


def test_links_lead_to_their_end(look, tmp_path):
    (tmp_path / "release").mkdir()
    os.symlink("release", tmp_path / "live")
    os.symlink("live", tmp_path / "current")
    current, none = str(tmp_path / "current"), str(tmp_path / "none")
    assert look(links=[current, none])["links"] == {current: str(tmp_path / "release"), none: none}


def test_names_lead_one_step(look, tmp_path):
    os.symlink("../alternatives/java", tmp_path / "units" / "java")
    link, none = str(tmp_path / "units" / "java"), str(tmp_path / "none")
    assert look(names=[link, none])["names"] == {link: str(tmp_path / "alternatives" / "java"), none: none}
