# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import copy

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.serving_firewall import firewalld_rules, ufw_rules
from hypothesis import given
from hypothesis import strategies as st

FILTERS = FilterModule().filters()
SETTINGS = {
    "ansible_port": 22,
    "mlops_address": "192.0.2.1",
    "mlops_client_sources": ["10.0.0.2"],
    "mlops_deploy_mode": "fire_mlops_server",
    "mlops_fire_mlops_port": 8086,
    "mlops_mlflow_port": 5000,
    "mlops_remove_unused": False,
    "mlops_serving_port_first": 5001,
    "mlops_serving_port_last": 5020,
    "name": "mlops-serving",
    "served_models": [],
    "serving_firewall_backend": "firewalld",
    "serving_firewall_install": False,
    "serving_firewall_rules": {},
    "serving_firewall_serving_ports": "range",
    "serving_firewall_serving_sources": [],
    "sparkflows_addresses": ["fire1"],
}
SPARK = {"name": "mlops-spark", "openings": [{"source": "10.0.0.3", "ports": ["7077", "7100-7163"]}], "guarded": ["7077", "7100-7163"]}
OF_SPARK = {"serving_firewall_rules": SPARK, "name": "mlops-spark"}
PORTS = ["5000", "8086", "5001-5020"]
MARK = "mlops-serving d94e96f9b2da"
RUNS = {"rc": 0}
ABSENT, STOPPED = {"rc": 127, "stdout": ""}, {"rc": 252}
OLD = {"rc": 2, "stderr": "error: unrecognized arguments: --policy=mlops-serving\n"}
UFW = "Status: {}\nufw allow 22/tcp comment 'ssh'\nufw allow from 10.0.0.2 proto tcp comment 'mlops-serving 10.0.0.2 {}'"
LISTENERS = [{"port": port, "unit": "nginx.service"} for port in (5003, 5007, 5031)] + [{"port": 5008, "unit": "other.service"}]


def said(text):
    return dict(RUNS, stdout=text, stdout_lines=text.splitlines())


def asked(filter_name, /, answer=RUNS, zones="", listeners=(), **settings):
    """What the filter makes of these settings; what it was given is as it was."""
    settings, found = dict(SETTINGS, **settings), {"answer": answer, "zones": {"stdout": zones}, "listeners": list(listeners)}
    before = copy.deepcopy((settings, found))
    made = FILTERS[filter_name](settings, found)
    assert (settings, found) == before
    return made


def plan(**given):
    return asked("serving_firewall_plan", **given)


def problems(**given):
    return asked("serving_firewall_problems", **given)


@pytest.mark.parametrize(("answer", "backend", "state"), [
    (RUNS, "firewalld", "running"), ({"rc": 140}, "firewalld", "running"), ({}, "none", "running"),
    (ABSENT, "firewalld", "absent"), (ABSENT, "nftables", "absent"), (ABSENT, "ufw", "absent"),
    (STOPPED, "firewalld", "stopped"), (STOPPED, "nftables", "running"), (said("Status: inactive"), "ufw", "stopped"),
    (said("Status: inactive"), "firewalld", "running"), (OLD, "firewalld", "old"), (OLD, "nftables", "running"),
])  # fmt: skip
def test_what_a_firewall_s_answer_means(answer, backend, state):
    assert FILTERS["serving_firewall_state"](answer, backend) == state


@pytest.mark.parametrize(("settings", "openings"), [
    ({}, [("10.0.0.2", PORTS)]),
    ({"mlops_serving_port_last": "5001"}, [("10.0.0.2", ["5000", "8086", "5001"])]),
    ({"mlops_client_sources": "10.0.0.9, 10.0.0.2"}, [("10.0.0.2", PORTS), ("10.0.0.9", PORTS)]),
    ({"serving_firewall_serving_sources": ["::/0", "10.0.0.2/32"]}, [("10.0.0.2", PORTS), ("::/0", ["5001-5020"])]),
    ({"mlops_deploy_mode": "remote"}, [("10.0.0.2", ["5000", "5001-5020"])]),
    # On one machine its own address may be a name, and is left out then.
    ({"mlops_deploy_mode": "local", "mlops_address": "one", "mlops_client_sources": ["one"]}, []),
    ({"mlops_deploy_mode": "local", "mlops_client_sources": ["192.0.2.1"]}, [("192.0.2.1", ["5000", "5001-5020"])]),
    ({"serving_firewall_serving_ports": "declared"}, [("10.0.0.2", ["5000", "8086", "5003", "5007"])]),
    ({"serving_firewall_serving_ports": "declared", "serving_firewall_serving_sources": ["10.0.0.3"], "listeners": ()},
     [("10.0.0.2", ["5000", "8086"])]),
    ({"serving_firewall_serving_ports": "declared", "mlops_serving_port_last": "5006", "served_models": [
        {"port": 5004, "state": "present"}, {"port": 5005, "state": "absent"}, {"port": 5003, "state": "present"}]},
     [("10.0.0.2", ["5000", "8086", "5003", "5004"])]),
    (OF_SPARK, [("10.0.0.3", ["7077", "7100-7163"])]),
])  # fmt: skip
def test_openings(settings, openings):
    found = plan(**{"listeners": LISTENERS, **settings})
    assert [(opening["source"], opening["ports"]) for opening in found["openings"]] == openings
    assert found["sentences"] == [f"from {source} to TCP {', '.join(ports)}" for source, ports in openings]


def test_what_is_guarded_is_not_what_is_declared():
    assert plan(serving_firewall_serving_ports="declared")["guarded"] == PORTS
    assert plan(mlops_deploy_mode="remote")["guarded"] == ["5000", "5001-5020"]
    assert plan(**OF_SPARK)["guarded"] == SPARK["guarded"]


def test_no_rules_for_what_is_no_address():
    for settings in ({"mlops_client_sources": ["fire1"]}, {"serving_firewall_serving_sources": "any"}):
        with pytest.raises(AnsibleFilterError, match="networks: '"):
            plan(**settings)


@pytest.mark.parametrize(("backend", "answer", "in_force"), [
    ("firewalld", said("\n".join(reversed(firewalld_rules([{"source": "10.0.0.2", "ports": PORTS}])))), True),
    ("firewalld", said("\n".join(firewalld_rules([{"source": "10.0.0.2", "ports": PORTS[1:]}]))), False),
    ("firewalld", said("\n".join(firewalld_rules([{"source": "10.0.0.2", "ports": [*PORTS, "5021"]}]))), False), ("firewalld", ABSENT, False),
    ("nftables", said(f'    tcp dport 5000 reject comment "{MARK}"'), True), ("nftables", said(""), False), ("nftables", ABSENT, False),
    ("ufw", said(UFW.format("active", "5000,8086,5001:5020")), True), ("ufw", said(UFW.format("inactive", "5000,8086,5001:5020")), False),
    ("ufw", said(UFW.format("active", "5000")), False), ("ufw", said("Status: active"), False),
])  # fmt: skip
def test_whether_the_rules_are_in_force(backend, answer, in_force):
    assert plan(serving_firewall_backend=backend, answer=answer)["in_force"] is in_force


def test_another_mark_for_other_openings():
    """The same for the same, in all versions: a host whose table has it is left alone."""
    assert plan()["mark"] == MARK
    assert plan(**OF_SPARK)["mark"].startswith("mlops-spark ")
    assert plan(mlops_deploy_mode="remote")["mark"] != MARK


def test_ufw_opens_before_it_closes_and_leaves_what_is_others():
    answer = said(UFW.format("active", "5000,8086") + "\n# comment 'mlops-spark 10.0.0.3 7077'")
    assert plan(serving_firewall_backend="ufw", answer=answer)["changes"] == [
        {"source": "10.0.0.2", "ports": "5000,8086,5001:5020", "comment": "mlops-serving 10.0.0.2 5000,8086,5001:5020", "delete": False},
        {"source": "10.0.0.2", "ports": "5000,8086", "comment": "mlops-serving 10.0.0.2 5000,8086", "delete": True},
    ]
    assert plan(answer=answer)["changes"] == []


LEFT = {
    "firewalld": 'rule family="ipv4" source address="10.0.0.2" port port="{}" protocol="tcp" accept',
    "nftables": "    ip saddr 10.0.0.2 tcp dport {{ 5000, 5001-5020, {} }} accept\n    tcp dport 8086 reject",
    "ufw": "ufw allow comment 'mlops-serving 10.0.0.2 5000,{},5001:5020'",
}


@pytest.mark.parametrize("backend", LEFT)
def test_opening_of_another_deploy_mode(backend):
    given = {"serving_firewall_backend": backend, "mlops_deploy_mode": "remote", "answer": said(LEFT[backend].format(8086))}
    kept, removed = plan(**given), plan(**given, mlops_remove_unused=True)
    assert kept["left"] is removed["left"] is True and kept["left_to"] == ["10.0.0.2"]
    assert kept["openings"][0]["ports"] == PORTS and removed["openings"][0]["ports"] == ["5000", "5001-5020"]
    # 8086 is a part of other numbers, too; and of the deploy mode that it belongs to, or of another role's rules, nothing is left over.
    another_port = {"answer": said(LEFT[backend].format(18086))}
    for other in (another_port, {"mlops_deploy_mode": "fire_mlops_server"}, OF_SPARK, {"serving_firewall_backend": "none"}):
        assert plan(**{**given, **other})["left"] is False


ZONE = "public (active)\n  target: default\n  interfaces: eth0\n  services: ssh\n  ports: {}\n"


@pytest.mark.parametrize(("settings", "words"), [
    ({}, []),
    ({"answer": ABSENT}, ["firewalld is not installed. Set serving_firewall_backend"]),
    ({"answer": ABSENT, "serving_firewall_install": True}, []),
    ({"answer": ABSENT, "serving_firewall_install": True, "ansible_port": "2222"}, ["but Ansible comes in on port 2222"]),
    ({"answer": ABSENT, "serving_firewall_install": True, "ansible_port": "2222", "serving_firewall_backend": "ufw"}, []),
    ({"answer": STOPPED}, ["firewalld is installed but not running"]),
    ({"answer": STOPPED, "serving_firewall_install": True, "ansible_port": "22"}, []),
    ({"answer": OLD, "serving_firewall_install": True}, ["before version 0.9: error: unrecognized arguments: --policy=mlops-serving Update it"]),
    ({"answer": OLD, "serving_firewall_backend": "none"}, []),
    ({"mlops_client_sources": [], "answer": ABSENT}, ["mlops_client_sources is empty", "is not installed"]),
    ({"mlops_client_sources": [], "mlops_deploy_mode": "local"}, []),
    ({"mlops_client_sources": ["fire1"], "serving_firewall_serving_sources": "any"},
     ["mlops_client_sources: 'fire1' is neither", "serving_firewall_serving_sources: 'any' is neither", "The default of mlops_client_sources"]),
    ({"mlops_client_sources": ["fire2"]}, ["mlops_client_sources: 'fire2' is neither"]),
    ({"mlops_client_sources": "fire1"}, ["mlops_client_sources: 'fire1' is neither"]),
    ({"mlops_client_sources": ["fire1"], "serving_firewall_backend": "none"},
     ["mlops_client_sources: 'fire1' is neither", "The default of mlops_client_sources"]),
    # What is said about zones needs good sources.
    ({"zones": ZONE.format("5000/tcp")}, ["zone public opens 5000/tcp to everybody"]),
    ({"zones": ZONE.format("5000/tcp"), "serving_firewall_backend": "nftables"}, []),
    ({"zones": ZONE.format("5000/tcp"), "mlops_client_sources": []}, ["mlops_client_sources is empty"]),
    ({"zones": ZONE.format("5005/tcp"), "serving_firewall_serving_sources": ["0.0.0.0/0"]}, []),
    ({"zones": ZONE.format("5000/tcp 7101/tcp"), **OF_SPARK, "mlops_client_sources": ["fire1"]}, ["opens 7101/tcp to everybody"]),
    ({"name": "mlops-spark", "serving_firewall_rules": dict(SPARK, openings=[{"source": "spark2", "ports": ["7077"]}])},
     ["mlops_address of the other hosts: 'spark2' is neither"]),
    ({"serving_firewall_backend": "none", "serving_firewall_rules": dict(SPARK, openings=[{"source": "spark2", "ports": ["7077"]}])}, []),
])  # fmt: skip
def test_problems(settings, words):
    found = problems(**settings)
    assert len(found) == len(words), found
    assert all(word in problem for word, problem in zip(words, found)), found


PORT_LISTS = st.lists(st.sampled_from(["1", "2-3"]))
OPENINGS = st.lists(st.fixed_dictionaries({"source": st.sampled_from(["10.0.0.2", "2001:db8::/64"]), "ports": PORT_LISTS}))


@given(OPENINGS)
def test_rules_that_ufw_takes(openings):
    """No more than 15 ports in a rule, a range counted twice; each source has what it had."""
    rules = ufw_rules(openings)
    assert all(1 <= ports.count(",") + ports.count(":") + 1 <= 15 for _source, ports in rules)
    assert [(opening["source"], port) for opening in openings for port in opening["ports"]] == [
        (source, port.replace(":", "-")) for source, ports in rules for port in ports.split(",")]


SOURCES = st.lists(st.sampled_from(["10.0.0.2", "10.0.0.3", "10.0.0.0/30", "2001:db8::9", "0.0.0.0/0"]), min_size=1)


@given(st.sampled_from(["firewalld", "nftables", "ufw"]), SOURCES, SOURCES, st.sampled_from(["remote", "fire_mlops_server"]))
def test_what_was_done_is_in_force_and_nothing_more_is_to_be_done(backend, clients, scorers, mode):
    """The firewall does as it is told and shows it: a second run has nothing to do."""
    settings = {"serving_firewall_backend": backend, "mlops_deploy_mode": mode,
                "mlops_client_sources": clients, "serving_firewall_serving_sources": scorers}  # fmt: skip
    first = plan(**settings, answer=said("Status: active"))
    assert not first["in_force"] and bool(first["changes"]) == (backend == "ufw")
    shown = ["Status: active", *(f"comment '{change['comment']}'" for change in first["changes"])] if backend == "ufw" else first["rules"]
    second = plan(**settings, answer=said("\n".join(shown)))
    assert second["in_force"] and not second["changes"] and second["openings"] == first["openings"]


def test_what_goes_of_each_firewall():
    names = ["mlops-serving", "mlops-spark"]
    lines = [
        "firewalld runs", "policy mlops-serving", "in-force mlops-serving", "in-force mlops-spark", "table-file mlops-spark", "table mlops_spark",
        "includes /etc/nftables.conf", "ufw allow from 10.0.0.2 to any port 5000 proto tcp comment 'mlops-serving 10.0.0.2 5000'",
        "ufw allow 22/tcp comment 'ssh'", "ufw allow from 10.0.0.9 to any port 80 proto tcp comment 'mlops-serving-of-others 10.0.0.9 80'",
    ]  # fmt: skip
    left = FILTERS["serving_firewall_left"](lines, names)
    assert left == {
        "policies": ["mlops-serving"], "firewalld_runs": True, "policies_in_force": ["mlops-serving", "mlops-spark"],
        "files": ["/etc/nftables-mlops-spark.nft"], "mains": ["/etc/nftables.conf"], "tables": ["mlops_spark"],
        "ufw": [{"source": "10.0.0.2", "ports": "5000", "comment": "mlops-serving 10.0.0.2 5000", "delete": True}],
    }  # fmt: skip
    assert not any(FILTERS["serving_firewall_left"]([], names).values())
