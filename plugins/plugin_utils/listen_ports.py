# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports of nginx's sites."""

from __future__ import annotations

import re

COMMENT = re.compile(r"#.*")
# listen [address:]port ...; without a port it is 80, and a socket of the file system has none.
LISTEN = re.compile(r"(?:\A|(?<=[{};]))\s*listen\s+([^\s;]+)")


def port_of(address):
    if address.startswith("unix:"):
        return None
    found = re.fullmatch(r"(?:(?:\[.*\]|[^:\[\]]+):)?(\d+)", address)
    return int(found[1]) if found else 80


def ports_of(content):
    return {port_of(address) for address in LISTEN.findall(COMMENT.sub("", content))} - {None}


def listen_ports(sites):
    """The ports are read from what nginx is given. Of a template that is rendered later they are told, and compared then."""
    present = (site for site in sites if site.get("state", "present") == "present")
    return sorted({port for site in present for port in ([int(port) for port in site.get("ports") or []] or ports_of(site.get("content") or ""))})
