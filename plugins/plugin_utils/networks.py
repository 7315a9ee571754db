# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sources of a firewall rule."""

from __future__ import annotations

import ipaddress

from ansible.errors import AnsibleFilterError


def entries(sources):
    """Accepts text too, because a survey's answer is one line."""
    if isinstance(sources, str):
        sources = sources.replace(",", " ").split()
    return [str(source).strip() for source in sources]


def network_problems(sources):
    problems = []
    for source in entries(sources):
        try:
            if "%" in source:
                raise ValueError("a zone means something on one host only")
            network = ipaddress.ip_network(source, strict=False)
        except ValueError:
            problems.append(f"'{source}' is neither an IP address nor a network such as 10.1.2.0/24 or 2001:db8::/64.")
            continue
        address = ipaddress.ip_interface(source).ip
        if address != network.network_address:
            problems.append(
                f"'{source}' is an address with the length of a network: "
                f"write {address} for the one or {network} for the other."
            )
    return problems


def networks(sources):
    problems = network_problems(sources)
    if problems:
        raise AnsibleFilterError("networks: " + " ".join(problems))
    found = [ipaddress.ip_network(source) for source in entries(sources)]
    merged = [
        network
        for version in (4, 6)
        for network in ipaddress.collapse_addresses(item for item in found if item.version == version)
    ]
    # A firewall shows one address without its length, and what it shows is compared with what is wanted.
    return [str(item.network_address if item.num_addresses == 1 else item) for item in merged]
