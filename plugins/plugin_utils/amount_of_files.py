# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much there is to be scored, for the name of a step."""

from __future__ import annotations

from ansible.module_utils.common.text.formatters import bytes_to_human

LONGEST = 100


def amount_of_files(files):
    names = ", ".join(file["name"] for file in files)
    shown = names if len(names) <= LONGEST else names[: LONGEST - 3] + "..."
    return f"{sum(file['rows'] for file in files)} rows, {bytes_to_human(sum(file['bytes'] for file in files))}, in {shown}"
