# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.serving_firewall import firewalld_zone_problems

OURS = ["5000", "8086", "5001-5020"]
ZONE = """{name}{state}
  target: {target}
  icmp-block-inversion: no
  interfaces: {interfaces}
  sources: {sources}
  services: {services}
  ports: {ports}
  protocols:
  forward: yes
  masquerade: no
  forward-ports:
  source-ports:
  icmp-blocks:
  rich rules: {rules}
"""
SERVICES = """
/usr/lib/firewalld/services/docker-registry.xml:  <port protocol="tcp" port="5000"/>
/usr/lib/firewalld/services/ssh.xml:  <port protocol="tcp" port="22"/>
/etc/firewalld/services/odd.xml:  <port port="5010-5011" protocol="udp"/>
"""


def said(name="public", state=" (active)", **fields):
    zone = {"target": "default", "interfaces": "eth0", "sources": "", "services": "ssh", "ports": "", "rules": "", **fields}
    quiet = ZONE.format(name="work", state="", **{**zone, "ports": "5000/tcp", "interfaces": ""})
    return "\n".join([quiet, ZONE.format(name=name, state=state, **zone), SERVICES])


@pytest.mark.parametrize("fields", [
    {}, {"ports": "443/tcp 5021/tcp 4000-4999/tcp"}, {"ports": "5000/udp"}, {"services": "ssh odd unknown"}, {"state": ""},
    {"name": "docker", "target": "ACCEPT", "interfaces": "docker0 br-1a2b"}, {"name": "trusted", "target": "ACCEPT", "state": ""},
    {"rules": '\n\trule family="ipv4" source address="10.0.0.9" port port="5000" protocol="tcp" accept'},
    {"rules": '\n\trule family="ipv4" port port="5000" protocol="tcp" reject'},
])  # fmt: skip
def test_what_is_well(fields):
    assert firewalld_zone_problems(said(**fields), OURS) == []


@pytest.mark.parametrize(("fields", "words"), [
    ({"ports": "5000/tcp"}, "opens 5000/tcp to everybody: firewall-cmd --permanent --zone=public --remove-port=5000/tcp"),
    ({"ports": "443/tcp 5015-5030/tcp"}, "opens 5015-5030/tcp"), ({"ports": "1024-65535/tcp", "state": " (default, active)"}, "1024-65535/tcp"),
    ({"ports": "5000/tcp", "state": " (default)", "interfaces": ""}, "opens 5000/tcp"),
    ({"services": "ssh docker-registry"}, "opens the service docker-registry (5000/tcp)"),
    ({"name": "trusted", "target": "ACCEPT", "interfaces": "", "sources": "10.0.0.0/8"}, "zone trusted (10.0.0.0/8) lets everything in"),
    ({"name": "docker", "target": "ACCEPT", "interfaces": "docker0 eth1"}, "zone docker (eth1) lets everything in"),
    ({"rules": '\n\trule family="ipv4" port port="8086" protocol="tcp" accept'}, "has a rule that opens 8086/tcp to everybody"),
])  # fmt: skip
def test_what_makes_the_policy_worthless(fields, words):
    (problem,) = firewalld_zone_problems(said(**fields), OURS)
    assert words in problem


def test_nothing_was_said():
    assert firewalld_zone_problems("", OURS) == []
