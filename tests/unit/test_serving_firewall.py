# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's checks and its rules, each case a host of one run on this computer. The firewalls are scripts that answer as the real ones do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter import networks as plugin

COLLECTIONS = Path(plugin.__file__).parents[5]
RULE = 'rule family="{}" source address="{}" port port="{}" protocol="tcp" accept'

# What the programs say: exit code, standard output, standard error.
FIREWALLS = {
    "without": ("", 127, "", ""),
    "firewalld-off": ("firewall-cmd", 252, "", "FirewallD is not running"),
    "firewalld-old": ("firewall-cmd", 2, "", "firewall-cmd: error: unrecognized arguments: --policy=mlops-serving"),
    "firewalld-new": ("firewall-cmd", 140, "", "Error: INVALID_POLICY: mlops-serving"),
    "ufw-off": ("ufw", 0, "Status: inactive", ""),
    "ufw-on": ("ufw", 0, "Status: active", ""),
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
        "ansible_facts_listeners": [[5003, "nginx"], [5007, "nginx"], [5008, "other"], [5031, "nginx"]]}, []),
    "nothing-declared": ("firewalld-new", {
        "serving_firewall_serving_ports": "declared", "serving_firewall_serving_sources": ["0.0.0.0/0"], "ansible_facts_listeners": []}, []),
    "unmanaged": ("without", {"serving_firewall_backend": "none"}, []),
}

PLAYBOOK = """
- hosts: mlflow
  gather_facts: false
  environment: {PATH: "{{ firewall }}:/usr/bin:/bin"}
  tasks:
    - ansible.builtin.set_fact:
        mlops_host: "{{ {'listeners': dict(ansible_facts_listeners) | dict2items(key_name='port', value_name='process'),
                         'distribution': {'id': 'debian', 'version': '13', 'codename': 'trixie', 'id_like': []}} }}"
        cacheable: true
      when: ansible_facts_listeners is defined
    - block:
        - ansible.builtin.include_role: {name: sparkflows.mlops.serving_firewall, tasks_from: preflight, public: true}
        - ansible.builtin.set_fact:
            found: {problem: "", openings: "{{ _serving_firewall_openings }}", rules: "{{ _serving_firewall_firewalld_rules }}"}
      rescue:
        - ansible.builtin.set_fact: {found: {problem: "{{ ansible_failed_result.msg }}"}}
    - ansible.builtin.copy:
        content: "{{ dict(groups['mlflow'] | zip(groups['mlflow'] | map('extract', hostvars, 'found'))) | to_json }}"
        dest: found.json
        mode: "0600"
      run_once: true
"""


@pytest.fixture(name="found", scope="module")
def fixture_found(tmp_path_factory):
    """Case -> what the role's preflight found."""
    folder = tmp_path_factory.mktemp("firewall")
    for name, (program, code, out, err) in FIREWALLS.items():
        (folder / name).mkdir()
        if program:
            script = folder / name / program
            script.write_text(f"#!/bin/sh\necho '{out}'\necho '{err}' >&2\nexit {code}\n")
            script.chmod(0o755)
    hosts = {}
    for name, (firewall, variables, _words) in CASES.items():
        hosts[name] = dict({"mlops_client_sources": ["10.0.0.2"], "firewall": str(folder / firewall)}, **variables)
        if hosts[name]["mlops_client_sources"] is None:
            del hosts[name]["mlops_client_sources"]
    inventory = {"all": {"vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
                         "children": {"mlflow": {"hosts": hosts}, "sparkflows": {"hosts": {"fire1": {}}}}}}
    (folder / "hosts.json").write_text(json.dumps(inventory))
    (folder / "play.yml").write_text(PLAYBOOK)
    environment = dict(os.environ, ANSIBLE_COLLECTIONS_PATH=str(COLLECTIONS), ANSIBLE_HOME=str(folder / "home"), ANSIBLE_FORKS="4")
    environment.pop("ANSIBLE_CONFIG", None)
    done = subprocess.run([Path(sys.executable).parent / "ansible-playbook", "-i", "hosts.json", "play.yml"],
                          cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("name", CASES)
def test_problem_is_named_before_anything_is_changed(found, name):
    words, problem = CASES[name][2], re.sub(r"\s+", " ", found[name]["problem"])
    assert bool(problem) == bool(words), problem
    assert all(word in problem for word in words), problem
    assert not problem or problem.startswith(name + ": ")


def test_openings(found):
    assert found["running"]["openings"] == [{"source": "10.0.0.2", "ports": ["5000", "8086", "5001-5020"]}]
    assert found["everybody"]["openings"] == [
        {"source": "10.0.0.2", "ports": ["5000", "8086", "5001-5020"]},
        {"source": "0.0.0.0/0", "ports": ["5001-5020"]},
        {"source": "::/0", "ports": ["5001-5020"]},
    ]


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
