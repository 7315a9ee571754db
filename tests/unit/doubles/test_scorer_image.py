# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scorer image's program says to bad input, before any model is loaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[3] / "tests" / "doubles" / "scorer_image" / "score.py"
SPEC = importlib.util.spec_from_file_location("score", PATH)
score = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(score)

COLUMNS = [("a", "double"), ("b", "long")]


def refusal(work, *arguments):
    with pytest.raises(score.Refused) as caught:
        work(*arguments)
    assert caught.value.status == score.BAD_INPUT
    return str(caught.value)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (["a"], "Missing columns, which the model needs: b."),
        (["a", "b", "c", "d"], "Extra columns, which the model does not know: c, d."),
        (["a", "b", "a"], "there twice: a."),
        (["a", "b", "prediction"], "prediction already"),
    ],
)
def test_a_wrong_header_is_refused_by_name(header, words):
    assert words in refusal(score.check_header, header, COLUMNS, "refuse")


def test_extra_columns_are_kept_if_wanted_and_the_order_does_not_matter():
    score.check_header(["c", "b", "a"], COLUMNS, "keep")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"a,b\n1,2\n\xff\xfe,3\n", "Not UTF-8"), (b'a,b\n1,"2\n', "Line 2")],
)
def test_what_is_no_csv_is_refused(tmp_path, content, words):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with path.open(encoding="utf-8", newline="") as file:
        assert words in refusal(list, score.read_rows(file))


def test_lines_are_counted_as_an_editor_does_and_blank_lines_are_no_rows(tmp_path):
    path = tmp_path / "good.csv"
    path.write_text('a,b\n\n1,"x\ny"\n2,z\n', encoding="utf-8")
    with path.open(encoding="utf-8", newline="") as file:
        assert list(score.read_rows(file)) == [(1, ["a", "b"]), (4, ["1", "x\ny"]), (5, ["2", "z"])]


@pytest.mark.parametrize(
    ("kind", "text"), [("double", "n/a"), ("double", "1e400"), ("double", "1_0"), ("long", ""), ("long", "1.5"), ("boolean", "yes")]
)
def test_a_cell_that_is_not_of_its_type_is_no_value(kind, text):
    with pytest.raises((ValueError, KeyError)):
        score.TYPES[kind][0](text)


def test_numbers_are_read_as_they_are():
    assert score.TYPES["double"][0]("0.1") == 0.1
    assert score.TYPES["long"][0]("-7") == -7
    assert score.TYPES["boolean"][0]("TRUE") is True


def test_what_is_left_out_is_missing():
    assert score.TYPES["double"][0]("") != score.TYPES["double"][0](" ") and score.TYPES["string"][0]("") is None
    assert score.TYPES["double"][0](" 1.5 ") == 1.5 and score.TYPES["double"][0]("inf") == float("inf")
