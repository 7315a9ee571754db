# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a port that is ours."""

from __future__ import annotations


def strangers(listeners, ports, units, users):
    wanted = {int(port) for port in ports}

    def is_ours(listener):
        # In a container root may not see the processes of others, so that their unit is not known; the owner of a socket always is.
        return listener["unit"] in units if listener["pid"] else listener["user"] in users

    return [listener for listener in listeners if listener["port"] in wanted and not is_ours(listener)]
