# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the proof asks of a host, where the answer depends on a setting of another one."""

from __future__ import annotations

import pytest
from playbook_run import LOCAL, UNSEEN, found_in, tell

PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: sparkflows.mlops.acceptance, tasks_from: preflight, public: true}
    - ansible.builtin.set_fact:
        found: {closed: "{{ dict(closed | map(attribute='host') | zip(closed | map(attribute='wanted'))) }}",
                store_unit: "{{ _acceptance_questions_mlflow.store_unit }}"}
      vars: {closed: "{{ _acceptance_ports | rejectattr('wanted', 'eq', 'open') }}"}
""" + tell()
# Each MLflow host's firewall, which its Sparkflows host is not told.
FIREWALLS = {
    "m1": {},
    "m2": {"serving_firewall_backend": "none"},
    "m3": {"serving_firewall_backend": "nftables"},
    "m4": {"serving_firewall_backend": "ufw"},
}
SPARKFLOWS = {
    "fire1": {},
    "fire2": {"acceptance_closed_state": "closed"},
    "fire3": {"mlops_deploy_mode": "remote"},
}


@pytest.fixture(name="found", scope="module")
def fixture_found(tmp_path_factory):
    children = {
        "mlflow": {"hosts": {name: {"mlops_address": f"192.0.2.1{name[1]}", **variables} for name, variables in FIREWALLS.items()}},
        "sparkflows": {"hosts": {name: {"mlops_address": f"192.0.2.2{name[4]}", **variables} for name, variables in SPARKFLOWS.items()}},
    }
    return found_in(tmp_path_factory.mktemp("questions"), {"all": {"vars": {**LOCAL, **UNSEEN}, "children": children}}, PLAYBOOK)


def test_a_closed_port_looks_as_the_firewall_of_its_own_host_makes_it(found):
    closed = {f"192.0.2.1{number}": state for number, state in enumerate(["filtered", "closed", "closed", "filtered"], 1)}
    assert found["fire1"]["closed"] == closed
    assert found["fire2"]["closed"] == dict.fromkeys(closed, "closed")


def test_what_is_borrowed_from_a_service_is_not_borrowed_from_the_proxy(found):
    assert (found["fire1"]["store_unit"], found["fire3"]["store_unit"]) == ("fire-mlops-server.service", "mlflow.service")
