# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from hypothesis import given
from hypothesis import strategies as st

FILTERS = FilterModule().filters()
HOSTS = {"m1": {}, **{f"m-{name}": {"serving_firewall_backend": name} for name in ("none", "nftables", "ufw", "firewalld")}}
# Role topology's defaults, seen from a Sparkflows host.
SETTINGS = {
    "acceptance_closed_port": 5021, "acceptance_closed_state": "auto", "acceptance_connect_timeout": 3, "acceptance_samples": [],
    "acceptance_score_timeout": 60, "groups": {"mlflow": ["m1"], "sparkflows": ["fire1"]}, "inventory_hostname": "fire1",
    "mlops_deploy_mode": "fire_mlops_server", "mlops_fire_mlops_address": "m1", "mlops_fire_mlops_port": 8086, "mlops_mlflow_port": 5000,
    "mlops_mlflow_proxy": True, "mlops_mlflow_url": "https://mlflow.example/registry", "mlops_serving_address": "m1", "mlops_serving_ca_path": "",
    "mlops_serving_port_first": 5001, "mlops_serving_port_last": 5020, "mlops_serving_scheme": "http", "mlops_venv": "/opt/mlflow/current",
    "model_serving_models": [], "python": "/usr/bin/python3",
}  # fmt: skip
MODELS = [{"name": "risk", "version": 1, "port": "5001"}, {"name": "churn v2", "stage": "Production", "port": 5002},
          {"name": "gone", "port": 5003, "state": "absent"}]  # fmt: skip
ON_MLFLOW = {"inventory_hostname": "m1", "model_serving_models": MODELS}


def plan(served=None, **settings):
    return FILTERS["acceptance_plan"]({**SETTINGS, **settings}, served or {})


def ports(hostvars, **settings):
    """Name -> (host, port, wanted)"""
    found = FILTERS["acceptance_ports"]({**SETTINGS, "groups": {"mlflow": list(hostvars)}, **settings}, hostvars)
    assert len({port["name"] for port in found}) == len(found)
    return {port["name"]: (port["host"], port["port"], port["wanted"]) for port in found}


def problems(hostvars=None, **settings):
    return FILTERS["acceptance_problems"]({**SETTINGS, **settings}, hostvars or HOSTS)


def test_services_and_their_units():
    served = {"sites": {"churn_v2": {"slot": "churn_v2@2"}}}
    made = plan(served, **ON_MLFLOW)
    assert [model["name"] for model in made["models"]] == ["risk", "churn v2"]
    assert made["services"] == [
        {"label": "MLflow", "port": 5000, "unit": "mlflow.service"},
        {"label": "Fire MLOps server", "port": 8086, "unit": "fire-mlops-server.service"},
        {"label": "risk", "port": 5001, "unit": "mlflow-model@risk.service"},
        {"label": "churn v2", "port": 5002, "unit": "mlflow-model@churn_v2@2.service"},
    ]
    assert made["units"] == ["nginx.service", *(service["unit"] for service in made["services"])]
    assert plan(served, mlops_mlflow_proxy=False, **ON_MLFLOW)["units"] == made["units"][1:]
    assert plan()["services"] == []


@pytest.mark.parametrize(("mode", "units"), [
    ("fire_mlops_server", ("fire-mlops-server.service", "fire-mlops-server.service")), ("remote", ("", "mlflow.service")),
    ("local", ("", "mlflow.service")),
])  # fmt: skip
def test_whose_access_to_the_store_is_borrowed(mode, units):
    made = plan(mlops_deploy_mode=mode, **ON_MLFLOW)
    assert (made["credentials_unit"], made["store_unit"]) == units
    assert ("fire-mlops-server.service" in made["units"]) == bool(units[0])


@pytest.mark.parametrize(("host", "mode", "samples", "asked"), [
    ("m1", "fire_mlops_server", [{}], ["mlflow_host.py"]),
    ("m1", "remote", [], ["mlflow_host.py", "ssh_access.py"]),
    ("fire1", "fire_mlops_server", [], []),
    ("fire1", "local", [{}], ["score.py"]),
    ("fire1", "remote", [{}], ["score.py", "ssh_access.py"]),
    ("both", "remote", [{}], ["mlflow_host.py", "score.py", "ssh_access.py"]),
    ("spark1", "remote", [{}], []),
])
def test_who_is_asked_by_which_program(host, mode, samples, asked):
    groups = {"mlflow": ["m1", "both"], "sparkflows": ["fire1", "both"]}
    programs = plan(inventory_hostname=host, mlops_deploy_mode=mode, acceptance_samples=samples, groups=groups)["programs"]
    assert [program["program"] for program in programs] == asked
    assert all((program["python"] == "/opt/mlflow/current/bin/python") == (program["questions"] == "mlflow") for program in programs)


def test_logins_are_asked_for_where_the_proxy_wants_one():
    assert [(login["login"], login["wanted"]) for login in plan()["logins"]] == [("none", [401]), ("wrong", [401, 429]), ("right", [200])]
    assert [login["login"] for login in plan(mlops_mlflow_proxy=False)["logins"]] == ["right"]


@pytest.mark.parametrize(("state", "expected"), [
    ("auto", ["filtered", "closed", "closed", "filtered", "filtered"]), ("closed", ["closed"] * 5), ("filtered", ["filtered"] * 5)])
def test_how_a_closed_port_looks(state, expected):
    found = ports(HOSTS, acceptance_closed_state=state)
    assert [found[f"port 5021 of {host} is closed"] for host in HOSTS] == [(host, 5021, looks) for host, looks in zip(HOSTS, expected)]
    assert ports(HOSTS, acceptance_closed_state=state, inventory_hostname="m1")["port 5021 of m1 is closed"][2] == "closed"


def test_ports_that_must_be_open():
    hostvars = {"m1": {"mlops_address": "192.0.2.1", "model_serving_models": MODELS}, "m2": {"ansible_host": "192.0.2.2"}}
    assert list(ports(hostvars, mlops_fire_mlops_port="8087", acceptance_closed_port="6000").items()) == [
        ("MLflow port is open", ("mlflow.example", 443, "open")),
        ("Fire MLOps port is open", ("m1", 8087, "open")),
        ("serving port of risk on m1 is open", ("192.0.2.1", 5001, "open")),
        ("serving port of churn v2 on m1 is open", ("192.0.2.1", 5002, "open")),
        ("port 6000 of m1 is closed", ("192.0.2.1", 6000, "filtered")),
        ("port 6000 of m2 is closed", ("192.0.2.2", 6000, "filtered")),
    ]
    assert list(ports({}, mlops_deploy_mode="remote", groups={})) == ["MLflow port is open"]


@pytest.mark.parametrize(("url", "expected"), [
    ("http://h/x", ("h", 80)), ("https://user:secret@[2001:db8::1]:8443", ("2001:db8::1", 8443)),
    ("HTTPS://Mlflow.Example", ("mlflow.example", 443)),
])  # fmt: skip
def test_the_port_of_a_url(url, expected):
    assert ports({}, mlops_mlflow_url=url)["MLflow port is open"][:2] == expected


@pytest.mark.parametrize(("sample", "words"), [
    ({}, ""), ({"tolerance": "1e-6"}, ""), ({"model": "other", "port": 5001}, ""), ({"model": "other", "url": "https://x/"}, ""),
    ({"expected": "not-yet.csv"}, ""),
    ({"model": None}, "(no model): set model, rows and expected."), ({"rows": ""}, "(risk): set model, rows and expected."),
    ({"rows": "missing.csv"}, "rows is missing.csv, which is no file on the controller"), ({"model": "other"}, "(other): the model is not in"),
    ({"input_format": "dataframe_split"}, ""), ({"input_format": "csv"}, "(risk): input_format is csv, there are pandas-split and dataframe_split."),
    ({"tolerance": "much"}, "(risk): tolerance is no number."), ({"tolerance": ""}, "tolerance is no number."),
])
def test_samples(sample, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("x")
    well = {"model": "risk", "rows": "rows.csv", "expected": "expected.csv"}
    found = problems({"m1": {"model_serving_models": MODELS[:1]}}, acceptance_samples=[well, {**well, **sample}])
    assert len(found) == bool(words) and words in "".join(found)
    assert not found or found[0].startswith("acceptance_samples[1] (")


@pytest.mark.parametrize(("settings", "words"), [
    ({}, ""), ({"acceptance_closed_port": "6000"}, ""),
    ({"acceptance_closed_port": "5000"}, "acceptance_closed_port is 5000, which is opened on purpose"),
    ({"acceptance_closed_port": 8086}, "opened on purpose"),
    ({"acceptance_closed_port": 5020}, "opened on purpose"), ({"acceptance_closed_port": 5001}, "opened on purpose"),
    ({"acceptance_closed_port": 6000, "mlops_serving_port_last": "6000"}, "opened on purpose"),
    ({"acceptance_closed_port": 0}, "acceptance_closed_port is 0: set it to a port from 1 to 65535."),
    ({"acceptance_closed_port": 65536}, "from 1 to 65535"), ({"acceptance_closed_port": "no port"}, "from 1 to 65535"),
    ({"acceptance_score_timeout": 0}, "acceptance_score_timeout is 0: set it to a whole number from 1 to 3600."),
    ({"acceptance_connect_timeout": " 3"}, "acceptance_connect_timeout is ' 3': set it"),
])  # fmt: skip
def test_ports_and_numbers(settings, words):
    found = problems(**settings)
    assert len(found) == bool(words) and words in "".join(found)


def test_all_problems_are_told_at_once():
    found = problems(acceptance_samples=[{}], acceptance_closed_port=0, acceptance_score_timeout="")
    assert [problem.split()[0] for problem in found] == ["acceptance_samples[0]", "acceptance_closed_port", "acceptance_score_timeout"]


@given(*[st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_infinity=False), st.text())] * 3)
def test_any_value_is_judged(port, timeout, first):
    settings = {"acceptance_closed_port": port, "acceptance_score_timeout": timeout, "mlops_serving_port_first": first}
    assert all(problem.endswith((".", "65535.")) for problem in problems(**settings))


def test_other_ends_of_ssh():
    peers = [{"host": "m1", "address": "192.0.2.1", "user": "mlflow", "sources": ["192.0.2.0/25", "192.0.2.128/25"], "port": 22, "names": []}]
    command = ["ssh", "mlflow@192.0.2.1", "true"]
    assert FILTERS["acceptance_ssh_peers"](peers, {"m1": command}, "mlops@", "20") == [
        {"host": "m1", "address": "192.0.2.1", "user": "mlflow", "command": command, "comment": "mlops@m1", "from": "192.0.2.0/24", "timeout": 20}]
    with pytest.raises(AnsibleFilterError):
        FILTERS["acceptance_ssh_peers"]([{**peers[0], "sources": ["nonsense"]}], {"m1": command}, "mlops@", 20)


def test_what_programs_were_handed_is_not_kept():
    programs = plan(**ON_MLFLOW)["programs"]
    result = {"changed": False, "results": [{"rc": 0, "stdout": "{}", "invocation": {"module_args": {"stdin": "a login"}}, "item": {}}]}
    before = copy.deepcopy(result)
    assert FILTERS["acceptance_program_answers"](programs, result) == {
        "asked": [{"name": "answers of the MLflow host", "python": "/opt/mlflow/current/bin/python", "program": "mlflow_host.py"}],
        "result": {"changed": False, "results": [{"rc": 0, "stdout": "{}"}]},
    }
    assert result == before
    gone = {"unreachable": True, "msg": "no route"}
    assert FILTERS["acceptance_program_answers"](programs, gone)["result"] == gone


def test_of_no_programs_nothing_is_looked_at():
    class Deprecated(dict):
        def __getitem__(self, key):
            raise AssertionError(key)

    assert FILTERS["acceptance_program_answers"]([], Deprecated(results=[])) == {"asked": [], "result": {}}
