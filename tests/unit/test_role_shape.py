# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of roles say what things are called and how they hang together. What is decided, filters decide, in Python."""

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import nodes
from test_templates import TEMPLATES, tree

COLLECTION = Path(__file__).resolve().parents[2]


def name(path):
    return str(path.relative_to(COLLECTION / "roles"))


VARIABLES = sorted(path for kind in ("vars", "defaults") for path in COLLECTION.glob(f"roles/*/{kind}/**/*.yml"))


@pytest.mark.parametrize("path", VARIABLES, ids=name)
def test_no_program_in_jinja(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "{%" in line] == []


def conditionals_in_others(path):
    for template, text, condition in TEMPLATES:
        if COLLECTION / template == path:
            for outer in tree(text, condition).find_all(nodes.CondExpr):
                if any(inner is not outer for inner in outer.find_all(nodes.CondExpr)):
                    yield text


@pytest.mark.parametrize("path", VARIABLES, ids=name)
def test_no_conditional_in_another(path):
    assert list(conditionals_in_others(path)) == []


@pytest.mark.parametrize("path", [path for path in VARIABLES if "/vars/" in name(path)], ids=name)
def test_variables_fit_on_a_screen(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 60, f"{lines} lines"


def test_no_file_of_python_is_too_long():
    folders = [COLLECTION / name for name in ("plugins", "roles", "tests/doubles")]
    long = {str(path.relative_to(COLLECTION)): lines for folder in folders for path in folder.rglob("*.py")
            if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 500}  # fmt: skip
    assert not long, long
