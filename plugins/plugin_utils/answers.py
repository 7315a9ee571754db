# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers to the questions of a survey: AWX hands them over as texts, and a launch by its API asks nothing."""

from __future__ import annotations

import re


def answer_problems(values, rules):
    """What is wrong with values by their names, in sentences.

    Rules are by name, too: C(min) and C(max) of a whole number, or nothing for a text without a space at its ends.
    """
    problems = []
    for name, rule in rules.items():
        value = values[name]
        stray = isinstance(value, str) and value != value.strip()
        if "min" in rule:
            number = int(value) if re.fullmatch("-?[0-9]{1,15}", str(value)) else None
            if number is None or not rule["min"] <= number <= rule["max"]:
                shown = f"'{value}'" if stray else value if str(value) else "empty"
                problems.append(f"{name} is {shown}: set it to a whole number from {rule['min']} to {rule['max']}.")
        elif stray:
            problems.append(f"{name} is '{value}': remove the space before or after it.")
        elif isinstance(value, str) and not value.isprintable():
            problems.append(f"{name} has a character that cannot be seen, such as the end of a line: write it anew.")
    return problems
