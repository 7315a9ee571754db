# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's checks and its rules, each case a host of one run on this computer. The firewalls are scripts that answer as the real ones do."""

from __future__ import annotations

import pytest
from playbook_run import preflights, problem_of

RULE = 'rule family="{}" source address="{}" port port="{}" protocol="tcp" accept'

REMOTE = {"mlops_deploy_mode": "remote"}

# What the programs say: exit code, standard output, standard error.
FIREWALLS = {
    "without": ("", 127, "", ""),
    "firewalld-off": ("firewall-cmd", 252, "", "FirewallD is not running"),
    "firewalld-old": ("firewall-cmd", 2, "", "firewall-cmd: error: unrecognized arguments: --policy=mlops-serving"),
    "firewalld-new": ("firewall-cmd", 140, "", "Error: INVALID_POLICY: mlops-serving"),
    "ufw-off": ("ufw", 0, "Status: inactive", ""),
    "ufw-on": ("ufw", 0, "Status: active", ""),
    # With the openings of the deploy mode fire_mlops_server, as each firewall shows them. 8086 is a part of other numbers, too.
    "firewalld-left": ("firewall-cmd", 0, RULE.format("ipv4", "10.0.0.2", "8086"), ""),
    "firewalld-not-left": ("firewall-cmd", 0, RULE.format("ipv4", "10.0.0.2", "18086"), ""),
    "nft-left": ("nft", 0, "    ip saddr 10.0.0.2 tcp dport { 5000, 5001-5020, 8086 } accept", ""),
    "nft-not-left": ("nft", 0, "    ip saddr 10.0.0.2 tcp dport { 5000, 5001-5020 } accept\n    tcp dport { 5000, 8086 } reject", ""),
    "ufw-left": ("ufw", 0, "ufw allow from 10.0.0.2 to any port 5000,8086 proto tcp comment 'mlops-serving 10.0.0.2 5000,8086,5001:5020'", ""),
}

# name: (firewall, variables, words of the problem; none where all is well)
CASES = {
    "absent": ("without", {}, [
        "firewalld is not installed", "serving_firewall_backend", "serving_firewall_install"]),
    "nft-absent": ("without", {"serving_firewall_backend": "nftables"}, ["nftables is not installed"]),
    "ufw-absent": ("without", {"serving_firewall_backend": "ufw"}, ["ufw is not installed"]),
    "absent-may-install": ("without", {"serving_firewall_install": "true"}, []),
    "stopped": ("firewalld-off", {}, ["firewalld is installed but not running", "serving_firewall_install"]),
    "stopped-may-start": ("firewalld-off", {"serving_firewall_install": True, "ansible_port": 22}, []),
    "stopped-other-ssh": ("firewalld-off", {"serving_firewall_install": True, "ansible_port": 2222}, [
        "lets SSH in on port 22 only, but Ansible comes in on port 2222"]),
    "ufw-stopped": ("ufw-off", {"serving_firewall_backend": "ufw"}, ["ufw is installed but not running"]),
    "ufw-running": ("ufw-on", {"serving_firewall_backend": "ufw"}, []),
    "too-old": ("firewalld-old", {}, ["no policies before version 0.9", "set serving_firewall_backend to nftables"]),
    "running": ("firewalld-new", {}, []),
    "nobody": ("firewalld-new", {"mlops_client_sources": []}, ["mlops_client_sources is empty", "inventory group sparkflows"]),
    "bad-sources": ("firewalld-new", {"mlops_client_sources": ["10.1.2.3/24", "fire1"],
                                      "serving_firewall_serving_sources": "10.0.0.1,any"}, [
        "mlops_client_sources: '10.1.2.3/24' is an address with the length of a network",
        "mlops_client_sources: 'fire1' is neither", "serving_firewall_serving_sources: 'any' is neither"]),
    "named-hosts": ("firewalld-new", {"mlops_client_sources": None}, [
        "mlops_client_sources: 'fire1' is neither", "The default of mlops_client_sources", "set mlops_address of those hosts"]),
    "everybody": ("firewalld-new", {"serving_firewall_serving_sources": ["0.0.0.0/0", "::/0"]}, []),
    "declared": ("firewalld-new", {
        "serving_firewall_serving_ports": "declared", "serving_firewall_serving_sources": ["0.0.0.0/0"], "mlops_serving_port_last": "5030",
        "model_serving_models": [{"name": "a", "version": 1, "port": "5003"}, {"name": "b", "port": 5004, "state": "absent"}],
        "given_listeners": [[5003, "nginx.service"], [5007, "nginx.service"], [5008, "other.service"], [5031, "nginx.service"]]}, []),
    "nothing-declared": ("firewalld-new", {
        "serving_firewall_serving_ports": "declared", "serving_firewall_serving_sources": ["0.0.0.0/0"], "given_listeners": []}, []),
    "unmanaged": ("without", {"serving_firewall_backend": "none"}, []),
    "remote": ("firewalld-new", REMOTE, []),
    "left": ("firewalld-left", REMOTE, []),
    "left-removed": ("firewalld-left", {**REMOTE, "mlops_remove_unused": "true"}, []),
    "not-left": ("firewalld-not-left", REMOTE, []),
    "nft-left": ("nft-left", {**REMOTE, "serving_firewall_backend": "nftables"}, []),
    "nft-not-left": ("nft-not-left", {**REMOTE, "serving_firewall_backend": "nftables"}, []),
    "ufw-left": ("ufw-left", {**REMOTE, "serving_firewall_backend": "ufw"}, []),
    "ufw-not-left": ("ufw-left", {**REMOTE, "serving_firewall_backend": "ufw", "mlops_fire_mlops_port": 808}, []),
    "none-left": ("without", {**REMOTE, "serving_firewall_backend": "none"}, []),
}

LISTENERS = """
- hosts: cases
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact:
        __mlops_host: "{{ {'listeners': dict(given_listeners) | dict2items(key_name='port', value_name='unit'),
                           'distribution': {'id': 'debian', 'version': '13', 'codename': 'trixie', 'id_like': []}} }}"
      when: given_listeners is defined
"""
COMMON = {
    "role": "serving_firewall",
    "surroundings": {"PATH": "{{ firewall }}:/usr/bin:/bin"},
    "told": {
        "openings": "{{ _serving_firewall_plan.openings }}", "rules": "{{ _serving_firewall_plan.rules }}",
        "left": "{{ _serving_firewall_plan.left }}"},
}  # fmt: skip


@pytest.fixture(name="found", scope="module")
def fixture_found(tmp_path_factory):
    """Case -> what the role's preflight found."""
    folder = tmp_path_factory.mktemp("firewall")
    for name, (program, code, out, err) in FIREWALLS.items():
        (folder / name).mkdir()
        if program:
            script = folder / name / program
            script.write_text(f"#!/bin/sh\ncat <<'END'\n{out}\nEND\necho '{err}' >&2\nexit {code}\n")
            script.chmod(0o755)
    hosts = {}
    for name, (firewall, variables, _words) in CASES.items():
        # What is asked of every host is tested elsewhere.
        hosts[name] = dict({"mlops_client_sources": ["10.0.0.2"], "firewall": str(folder / firewall), "mlops_preflight_passed": True}, **variables)
        if hosts[name]["mlops_client_sources"] is None:
            del hosts[name]["mlops_client_sources"]
    return preflights(folder, hosts, COMMON, before=LISTENERS)


@pytest.mark.parametrize("name", CASES)
def test_problem_is_named_before_anything_is_changed(found, name):
    problem = problem_of(found[name], CASES[name][2])
    assert not problem or problem.startswith(name + ": ")


def test_openings(found):
    assert found["running"]["openings"] == [{"source": "10.0.0.2", "ports": ["5000", "8086", "5001-5020"]}]
    assert found["everybody"]["openings"] == [
        {"source": "10.0.0.2", "ports": ["5000", "8086", "5001-5020"]},
        {"source": "0.0.0.0/0", "ports": ["5001-5020"]},
        {"source": "::/0", "ports": ["5001-5020"]},
    ]


@pytest.mark.parametrize("name", ["remote", "left", "left-removed", "not-left", "nft-left", "nft-not-left", "ufw-left", "ufw-not-left", "none-left"])
def test_opening_of_another_deploy_mode_stays_until_it_is_to_be_removed(found, name):
    stays = name in ("left", "nft-left", "ufw-left")
    assert found[name]["openings"] == [{"source": "10.0.0.2", "ports": ["5000", *(["8086"] if stays else []), "5001-5020"]}]
    assert found[name]["left"] == (stays or name == "left-removed")


def test_openings_of_declared_models_and_of_what_is_still_served(found):
    assert found["declared"]["openings"] == [
        {"source": "10.0.0.2", "ports": ["5000", "8086", "5003", "5007"]},
        {"source": "0.0.0.0/0", "ports": ["5003", "5007"]},
    ]
    assert found["nothing-declared"]["openings"] == [{"source": "10.0.0.2", "ports": ["5000", "8086"]}]


def test_rules_are_as_firewalld_shows_them(found):
    assert found["everybody"]["rules"] == [
        RULE.format("ipv4", "10.0.0.2", "5000"), RULE.format("ipv4", "10.0.0.2", "8086"),
        RULE.format("ipv4", "10.0.0.2", "5001-5020"), RULE.format("ipv4", "0.0.0.0/0", "5001-5020"),
        RULE.format("ipv6", "::/0", "5001-5020")]
