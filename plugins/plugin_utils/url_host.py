# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses in URLs."""

from __future__ import annotations


def url_host(host):
    """The one place where brackets are put: an IPv6 address has colons of its own, and a port follows after one."""
    host = str(host)
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
