# Copyright: (c) 2026, Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the hosts of a group are reached by each other."""

from __future__ import annotations


def addresses(names, hostvars):
    found = []
    for name in names:
        variables = hostvars[name]
        found.append(variables.get("mlops_address") or variables.get("ansible_host") or name)
    return found
