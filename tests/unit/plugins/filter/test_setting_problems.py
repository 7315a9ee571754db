# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from playbook_run import LOCAL, found_in, tell

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
    ("mlops_database_port", 70000, "which is not a port"), ("mlops_ssh_port", -1, "which is not a port"),
    ("mlops_address", "10.0.0.1 ", "remove the space"), ("mlops_home", " /opt/mlflow", "remove the space"),
])  # fmt: skip
def test_values_that_are_not(name, value, words):
    (problem,) = setting_problems({name: value})
    assert problem.startswith((f"{name} is '{value}': ", f"{name} is {value}, ")) and words in problem


@pytest.mark.parametrize("folder", sorted((PROJECT / "inventories").iterdir()), ids=lambda folder: folder.name)
def test_our_own_inventories_have_no_name_that_nobody_reads(folder):
    for path in folder.rglob("*.yml"):
        names = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader) if path.name != "hosts.yml" else {}
        assert not [text for text in setting_problems(dict.fromkeys(names or {}, "0")) if "no variable" in text], path


# ---- templates, as the core that runs this has them
PLAY = """
- hosts: mlflow
  gather_facts: false
  vars: {of_the_play: 3}
  tasks:
    - ansible.builtin.set_fact:
        found: "{{ hostvars[inventory_hostname] | sparkflows.mlops.setting_problems(known=query('ansible.builtin.varnames', '.')) }}"
""" + tell()
UNDEFINED, UNREADABLE = "refers to nobody_s, which nobody defines", "is no template that Ansible can read"
# variable: (its value, words of the problem; none where all is well or cannot be judged yet)
TEMPLATES = {
    "mlops_mlflow_password": ("{{ nobody_s }}", UNDEFINED),
    "mlflow_proxy_ca_key_passphrase": ("canary {{", UNREADABLE),
    "mlflow_server_workers": ("{{ nobody_s }}", UNDEFINED),
    "mlflow_proxy_users": ([{"name": "dana", "password": "{{ nobody_s }}"}], UNDEFINED),
    "mlflow_server_environment": ({"A": "x{{ nobody_s }}"}, UNDEFINED),
    "mlops_home": ("/opt/{{ nobody_s }}", UNDEFINED),
    "model_serving_bind_address": ("{{ 'a' | no_such_filter }}", UNREADABLE),
    "mlops_serving_password": ({"__ansible_unsafe": "canary {{ nobody_s }}"}, ""),
    "mlflow_server_threads": ("{{ group_s * 2 }}", ""),
    "mlflow_proxy_timeout": ("{{ of_the_play }}", ""),
    # The role's own default, known where the role runs.
    "mlflow_server_request_timeout": ("{{ mlflow_server_health_timeout }}", ""),
    "mlflow_proxy_key_path": ("{{ mlops_config_dir }}/{{ inventory_hostname }}.key", ""),
    "mlflow_proxy_ca_path": ("{{ mlops_config_dir }}/{{ nobody_s | default('ca') }}.pem", ""),
    "mlflow_server_minimum_free_mb": ("{{ hostvars[inventory_hostname].group_s * 100 }}", ""),
    # Not by its own name: Ansible itself says what is missing where it is used.
    "scorer_timeout": ("{{ hostvars[inventory_hostname].not_there }}", ""),
    "acceptance_score_timeout": ("{{ groups['mlflow'] | length * 30 }}", ""),
    "mlops_ssh_port": ("{{ group_s }}2 ", "set it to a whole number"),
}


def test_templates(tmp_path):
    variables = {**LOCAL, "group_s": 2, **{name: value for name, (value, _words) in TEMPLATES.items()}}
    problems = found_in(tmp_path, {"mlflow": {"hosts": {"m1": {}}, "vars": variables}}, PLAY)["m1"]
    assert "canary" not in str(problems)
    for name, (_value, words) in TEMPLATES.items():
        found = [problem for problem in problems if problem.split()[0] == name]
        assert len(found) == bool(words) and words in "".join(found), (name, problems)
