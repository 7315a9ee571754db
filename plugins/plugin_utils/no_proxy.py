# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts a service asks without a proxy."""

from __future__ import annotations

from urllib.parse import urlsplit

NAMES = ("NO_PROXY", "no_proxy")  # Programs read the one or the other.


def forms(host):
    """requests wants an IPv6 address without brackets, urllib with them."""
    host = (urlsplit(host).hostname or "" if "://" in host else host.strip("[]")).lower()
    return [host, f"[{host}]"] if ":" in host else [host]


def no_proxy(variables, hosts, others=()):
    given = [entry for text in [*others, *(variables.get(name) or "" for name in NAMES)] for entry in str(text).split(",")]
    entries = list(dict.fromkeys(filter(None, [*(form for host in hosts for form in forms(str(host))), *map(str.strip, given)])))
    return dict(variables, **dict.fromkeys(NAMES, "*" if "*" in entries else ",".join(entries)))
