# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shutil

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from hypothesis import given
from hypothesis import strategies as st
from playbook_run import PROJECT

FILTERS = FilterModule().filters()
SETTINGS = {
    "mlops_mlflow_port": 5000, "mlops_fire_mlops_port": "8086", "mlops_serving_port_first": 5001, "mlops_serving_port_last": "5020",
    "mlops_serving_private_port_first": 15001, "mlops_serving_private_port_last": 15060, "mlops_mlflow_url": "https://mlflow1:5000",
    "mlops_sparkflows_url": "https://fire1:8443", "mlops_mlflow_path": "", "mlops_mlflow_proxy": True, "mlops_deploy_mode": "fire_mlops_server",
    "mlops_stack": "guide-1.30", "mlops_home": "/opt/mlflow", "mlops_java_home": "/opt/mlflow/java", "mlops_python_home": "/opt/mlflow/python",
    "mlops_venv": "/opt/mlflow/current", "mlops_data_dir": "/var/lib/mlflow", "mlops_config_dir": "/etc/mlflow", "mlops_tmp_dir": "",
    "mlops_s3_ca_path": "", "mlops_database_ca_path": "", "mlops_user": "mlflow", "mlops_group": "mlflow", "mlops_remove_unused": False}  # fmt: skip
PORTS = [name for name in SETTINGS if "_port" in name]


@pytest.fixture(name="problems")
def fixture_problems(tmp_path):
    shutil.copy(PROJECT / "stacks/guide-1.30/stack.yml", tmp_path)
    ends = {"mlflow": ["mlflow1"], "sparkflows": ["fire1"]}

    def problems(mlflow=ends["mlflow"], sparkflows=ends["sparkflows"], **settings):
        settings = {**SETTINGS, "mlops_stack_dir": str(tmp_path), **settings}
        return FILTERS["topology_problems"](settings, {"mlflow": mlflow, "sparkflows": sparkflows})

    return problems


def test_no_problem(problems):
    assert problems() == []
    assert problems([], []) == problems([], [], mlops_deploy_mode="local") == problems([], [], mlops_deploy_mode="remote") == []
    assert problems(mlops_mlflow_path="/ml-flow/v1.2", mlops_mlflow_proxy="yes") == []


@pytest.mark.parametrize(("settings", "words"), [
    ({"mlops_serving_port_last": 5000}, "The serving ports 5001-5000 are no range"),
    ({"mlops_serving_private_port_last": "15000"}, "The private serving ports 15001-15000 contain a port that is not theirs, or are no range"),
    ({"mlops_serving_private_port_first": 5020}, "The private serving ports 5020-15060 contain"),
    ({"mlops_fire_mlops_port": 15060}, "The private serving ports 15001-15060 contain"),
    ({"mlops_mlflow_port": "15001"}, "The private serving ports 15001-15060 contain"),
    ({"mlops_mlflow_port": "5001"}, "The serving ports 5001-5020 contain the MLflow port 5001"),
    ({"mlops_fire_mlops_port": 5020}, "The serving ports 5001-5020 contain the Fire MLOps port 5020"),
    ({"mlops_fire_mlops_port": 5000}, "cannot both have port 5000"),
    ({"mlops_mlflow_url": "mlflow1:5000"}, "mlops_mlflow_url is not a URL"),
    ({"mlops_sparkflows_url": "https://"}, "mlops_sparkflows_url is not a URL"),
    ({"mlops_mlflow_path": "/mlflow/"}, "mlops_mlflow_path is /mlflow/: it must begin with a slash"),
    ({"mlops_mlflow_path": "/mlflow", "mlops_mlflow_proxy": "no"}, "mlops_mlflow_path needs the proxy"),
    ({"mlops_stack_dir": "/none"}, "mlops_stack is guide-1.30, but /none/stack.yml does not exist"),
    ({"mlops_home": "mlflow"}, "mlops_home is 'mlflow'"),
    ({"mlops_group": "ml flow"}, "mlops_group is 'ml flow', which is no name of an account"),
    ({"mlops_remove_unused": "yes "}, "mlops_remove_unused is 'yes '"),
    ({"mlops_deploy_mode": "local"}, "local means one machine, but the inventory has MLflow on mlflow1 and Sparkflows on fire1"),
])  # fmt: skip
def test_problem(problems, settings, words):
    said = problems(**settings)
    assert len(said) == 1 and words in said[0]


def test_machines_of_a_mode(problems):
    assert problems(["One.example"], ["one.example"], mlops_deploy_mode="local") == []
    said = problems(["one", "two"], ["two", "three"], mlops_deploy_mode="remote")
    assert len(said) == 1 and "both MLflow and Sparkflows on two: set" in said[0]


def test_problems_come_in_the_order_of_the_settings(problems):
    said = problems(mlops_mlflow_port="x", mlops_fire_mlops_port="", mlops_mlflow_url="", mlops_deploy_mode="local", mlops_user="")
    assert [text.split()[0] for text in said] == ["MLflow", "mlops_mlflow_url", "The", "mlops_user"]


@given(st.fixed_dictionaries({name: st.one_of(st.none(), st.integers(0, 12), st.integers(0, 12).map(str), st.text(max_size=2)) for name in PORTS}))
def test_ports_that_share_none_are_no_problem(ports):
    def number(name):
        try:
            return int(ports[name])
        except (TypeError, ValueError):
            return 0

    settings = {**SETTINGS, **ports, "mlops_stack_dir": "/none"}
    said = [text for text in FILTERS["topology_problems"](settings, {"mlflow": [], "sparkflows": []}) if "stack.yml" not in text]
    mlflow, fire, first, last, private_first, private_last = map(number, PORTS)
    taken = [mlflow, fire, *range(first, last + 1), *range(private_first, private_last + 1)]
    assert (said == []) == (first <= last and private_first <= private_last and len(set(taken)) == len(taken))


@pytest.mark.parametrize(("version", "callbacks", "in_awx", "number"), [
    ("2.19.0", [], True, 1),
    ("2.19.0rc1", ["sparkflows.mlops.progress"], True, 1),
    ("2.21.3", ["sparkflows.mlops.as_typed"], True, 0),
    ("2.21.3", [], False, 0),
    ("2.18.9", [], True, 0),
])  # fmt: skip
def test_callback_that_awx_needs(version, callbacks, in_awx, number):
    said = FILTERS["controller_problems"](version, callbacks, in_awx)
    assert len(said) == number and all(version in text and "callbacks_enabled" in text for text in said)
