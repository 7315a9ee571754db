# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.answers import answer_problems
from hypothesis import given
from hypothesis import strategies as st

PORT = {"min": 1, "max": 65535}


@pytest.mark.parametrize("value", [1, 8086, 65535, "1", "8086", "65535"])
def test_numbers_within_their_bounds(value):
    assert answer_problems({"port": value}, {"port": PORT}) == []


@pytest.mark.parametrize(("value", "shown"), [
    (0, "0"), ("0", "0"), (65536, "65536"), ("-1", "-1"), ("", "empty"), (" 8086", "' 8086'"), ("8086\n", "'8086\n'"), ("80.86", "80.86"),
    (80.5, "80.5"), ("eight", "eight"), (True, "True"), (None, "None"), ("9" * 40, "9" * 40), ("٨", "٨"),
])  # fmt: skip
def test_other_numbers(value, shown):
    assert answer_problems({"port": value}, {"port": PORT}) == [f"port is {shown}: set it to a whole number from 1 to 65535."]


@pytest.mark.parametrize("value", ["", "churn", "two words", "/data/in", "Grüße", True, None, ["a "]])
def test_texts(value):
    assert answer_problems({"model": value}, {"model": {}}) == []


@pytest.mark.parametrize("value", [" churn", "churn ", "\tchurn", "churn\n", " "])
def test_texts_with_stray_space(value):
    assert answer_problems({"model": value}, {"model": {}}) == [f"model is '{value}': remove the space before or after it."]


def test_texts_with_characters_that_cannot_be_seen():
    assert "model has a character that cannot be seen" in answer_problems({"model": "chu\nrn"}, {"model": {}})[0]


def test_each_variable_for_itself():
    problems = answer_problems({"port": "x", "model": " x", "other": " "}, {"model": {}, "port": PORT})
    assert [problem.split()[0] for problem in problems] == ["model", "port"]


@given(st.integers())
def test_every_number(number):
    assert (answer_problems({"port": str(number)}, {"port": PORT}) == []) == (1 <= number <= 65535)
