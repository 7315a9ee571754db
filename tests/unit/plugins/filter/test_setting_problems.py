# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.sparkflows.mlops.plugins.filter.setting_problems import FilterModule

setting_problems = FilterModule().filters()["setting_problems"]
PROJECT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize(("name", "near"), [
    ("mlops_deploy_mod", "mlops_deploy_mode"), ("mlops_mlflow_prot", "mlops_mlflow_port"), ("model_serving_model", "model_serving_models"),
    ("score_offline_metod", "score_offline_method"), ("mlflow_server_worker", "mlflow_server_workers"), ("batch_scoring_foo", "batch_scoring_"),
])  # fmt: skip
def test_names_that_nobody_reads(name, near):
    (problem,) = setting_problems({name: "x"})
    assert problem.startswith(f"{name} is no variable of this collection") and f"Did you mean {near}" in problem


@pytest.mark.parametrize("name", ["nginx_vhosts", "awx_admin_user", "ansible_port", "lab_name", "mlopsx", "__mlops_host", "_mlops_ports"])
def test_names_of_others(name):
    assert setting_problems({name: "x "}) == []


@pytest.mark.parametrize(("name", "value"), [
    ("mlops_mlflow_port", 5000), ("mlops_mlflow_port", "5000"), ("mlops_mlflow_password", " 5000 "), ("mlops_spark_secret", "x\n"),
    ("mlops_address", "10.0.0.1"), ("mlops_client_sources", ["10.0.0.1 "]), ("mlops_address", ""), ("mlflow_proxy_users", [{"name": "a "}]),
])  # fmt: skip
def test_values_that_are_well(name, value):
    assert setting_problems({name: value}) == []


@pytest.mark.parametrize(("name", "value", "words"), [
    ("mlops_mlflow_port", "5000 ", "whole number"), ("mlops_mlflow_port", "\t5000", "whole number"), ("mlops_mlflow_port", "5000.0", "whole number"),
    ("mlops_mlflow_port", 5000.5, "whole number"), ("mlflow_server_workers", "zwei", "whole number"), ("mlflow_proxy_timeout", "", "whole number"),
    ("mlops_mlflow_port", "0", "which is not a port"), ("mlops_serving_port_last", 65536, "which is not a port"),
    ("mlops_ssh_port", -1, "which is not a port"), ("mlops_address", "10.0.0.1 ", "remove the space"),
    ("mlops_home", " /opt/mlflow", "remove the space"),
])  # fmt: skip
def test_values_that_are_not(name, value, words):
    (problem,) = setting_problems({name: value})
    assert problem.startswith((f"{name} is '{value}': ", f"{name} is {value}, ")) and words in problem


@pytest.mark.parametrize("folder", sorted((PROJECT / "inventories").iterdir()), ids=lambda folder: folder.name)
def test_our_own_inventories_have_no_name_that_nobody_reads(folder):
    for path in folder.rglob("*.yml"):
        names = yaml.safe_load(path.read_text(encoding="utf-8")) if path.name != "hosts.yml" else {}
        assert not [text for text in setting_problems(dict.fromkeys(names or {}, "0")) if "no variable" in text], path
