# Copyright: (c) 2026, Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the hosts of a group are reached by each other."""

from __future__ import annotations

DOCUMENTATION = r"""
name: addresses
short_description: The addresses under which hosts reach each other
version_added: 1.0.0
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
description:
  - Turns a list of inventory names into a list of addresses, in the same order.
  - A host's address is its C(mlops_address), else its C(ansible_host), else its name in the inventory.
options:
  _input:
    description: Names of hosts, for example C(groups['sparkflows']).
    type: list
    elements: str
    required: true
  hostvars:
    description: Ansible's C(hostvars).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Who may reach the serving ports
  ansible.builtin.debug:
    msg: "{{ groups['sparkflows'] | sparkflows.mlops.addresses(hostvars) }}"
"""

RETURN = r"""
_value:
  description: One address a host.
  type: list
  elements: str
"""


def addresses(names, hostvars):
    found = []
    for name in names:
        variables = hostvars[name]
        found.append(variables.get("mlops_address") or variables.get("ansible_host") or name)
    return found


class FilterModule:
    """Filters of the collection."""

    def filters(self):
        return {"addresses": addresses}
