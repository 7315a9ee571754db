# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's systemd knows."""

from __future__ import annotations

# systemd's NEWS. RHEL 8 has 239.
SINCE = {"ProtectHostname": 242, "RestrictSUIDSGID": 242, "ProtectKernelLogs": 244, "ProtectClock": 245, "ProtectProc": 247}


def since(line):
    return SINCE.get(line.partition("=")[0].strip(), 0)


def known_to_systemd(lines, version):
    """A unit's file may have more, of which systemd warns; to systemd-run it is an error."""
    return [line for line in lines if since(line) <= int(version or max(SINCE.values()))]


def unknown_to_systemd(lines, version):
    known = known_to_systemd(lines, version)
    return [line.partition("=")[0].strip() for line in lines if line not in known]


def calendar_problems(variable, calendar):
    """calendar: what `systemd-analyze calendar` said of the variable, nothing where it was not asked."""
    if not calendar.get("rc"):
        return []
    said = " ".join((calendar.get("stderr") or calendar.get("msg") or "").split())
    return [f"{variable} is no time that systemd knows ({said}): set it to something such as daily, or *-*-* 02:30:00."]
