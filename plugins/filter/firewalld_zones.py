# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What firewalld's zones let in besides our policy. Its documentation is beside this file."""

from __future__ import annotations

import re

# Bridges to containers and virtual machines of the host itself: nobody comes from outside there.
OWN_BRIDGE = re.compile("(lo|docker|br-|virbr|cni|podman|veth|lxc|lxd)")


def numbers(text):
    """First and last port of 5000 or 5001-5020."""
    first, _dash, last = text.partition("-")
    return int(first), int(last or first)


def overlaps(one, other):
    (first, last), (start, end) = numbers(one), numbers(other)
    return first <= end and start <= last


def zones_of(said):
    """The zones in use as firewall-cmd shows them: (name, whether it is for all that no zone is named for, {field: words}, rich rules)."""
    for block in re.split(r"\n(?=\S)", said):
        head, _newline, body = block.partition("\n")
        found = re.fullmatch(r"(\S+) \(([a-z, ]+)\)", head.strip())
        states = found[2].split(", ") if found else []
        if "active" in states or "default" in states:
            fields = {name: words.split() for name, words in re.findall(r"^  ([a-z-]+): ?(.*)$", body, re.M)}
            yield found[1], "default" in states, fields, re.findall(r"^\s+(rule .*)$", body, re.M)


def services_of(said):
    """Service -> its TCP ports, from the lines of the files that define them."""
    services = {}
    for name, line in re.findall(r"^\S*/([^/\s]+)\.xml:(.*)$", said, re.M):
        port = re.search(r'port="([0-9]+(?:-[0-9]+)?)"', line)
        if port and 'protocol="tcp"' in line:
            services.setdefault(name, set()).add(port[1])
    return services


def firewalld_zone_problems(said, ports):
    services, problems = services_of(said), []
    for zone, is_default, fields, rules in zones_of(said):
        bound = fields.get("interfaces", []) + fields.get("sources", [])
        outside = [name for name in bound if not OWN_BRIDGE.match(name)] or (["all that is in no other zone"] if is_default and not bound else [])
        if not outside:
            continue
        remedy = f"firewall-cmd --permanent --zone={zone}"
        if fields.get("target") == ["ACCEPT"]:
            problems.append(f"firewalld's zone {zone} ({', '.join(outside)}) lets everything in, whatever is opened here: give it another target, "
                            "or move what is in it to another zone.")  # fmt: skip
        for opened in fields.get("ports", []):
            port, _slash, protocol = opened.partition("/")
            if protocol == "tcp" and any(overlaps(port, ours) for ours in ports):
                problems.append(f"firewalld's zone {zone} opens {opened} to everybody: {remedy} --remove-port={opened}.")
        for service in fields.get("services", []):
            if any(overlaps(port, ours) for port in services.get(service, ()) for ours in ports):
                problems.append(f"firewalld's zone {zone} opens the service {service} ({', '.join(sorted(services[service]))}/tcp) to everybody: "
                                f"{remedy} --remove-service={service}.")  # fmt: skip
        for rule in rules:
            port = re.search(r'port port="([0-9]+(?:-[0-9]+)?)" protocol="tcp"', rule)
            if port and rule.endswith("accept") and "source " not in rule and any(overlaps(port[1], ours) for ours in ports):
                problems.append(f"firewalld's zone {zone} has a rule that opens {port[1]}/tcp to everybody: {remedy} --remove-rich-rule='{rule}'.")
    return problems


class FilterModule:
    """Filters of the collection."""

    def filters(self):
        return {"firewalld_zone_problems": firewalld_zone_problems}
