# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The condition of a block is asked anew before each of its tasks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

COLLECTION = Path(__file__).resolve().parents[2]
FILES = sorted(path for pattern in ("roles/*/tasks/*.yml", "playbooks/**/*.yml") for path in COLLECTION.glob(pattern))
PARTS = ("block", "rescue", "always")


def blocks(tasks):
    for task in tasks or []:
        for play in ("pre_tasks", "tasks", "post_tasks"):
            yield from blocks(task.get(play))
        if "block" in task:
            yield task
        for part in PARTS:
            yield from blocks(task.get(part))


def registered(tasks):
    for task in tasks:
        if "register" in task:
            yield task["register"]
        for part in PARTS:
            yield from registered(task.get(part, []))


def cut_short(tasks):
    """What a block registers before its end, and asks about in its own condition: the rest of it would be skipped."""
    for block in blocks(tasks):
        condition = str(block.get("when", ""))
        for name in registered(block["block"][:-1]):
            if re.search(rf"\b{name} is (not )?defined\b", condition):
                yield block.get("name"), name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(COLLECTION)))
def test_no_block_cuts_itself_short(path):
    assert list(cut_short(yaml.safe_load(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(("last", "found"), [("one", [("block", "one")]), ("two", [])])
def test_a_block_that_cuts_itself_short_is_seen(last, found):
    tasks = [{"register": "one"}, {"register": "two"}]
    assert list(cut_short([{"name": "block", "when": ["x", f"{last} is not defined"], "block": tasks}])) == found
