# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers in settings."""

from __future__ import annotations


def number(value):
    """AWX gives numbers as text. As Jinja's filter int, 0 for what is no number."""
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return 0
