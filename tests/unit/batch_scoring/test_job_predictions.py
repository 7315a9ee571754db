"""Predictions of the scoring job: their types, and how CSV has them."""

import math

import pytest
from score_job import predictions
from score_job.csv_files import BadInput


@pytest.mark.parametrize(
    "value, kind, expected",
    [(1, "double", 1.0), (True, "double", 1.0), (2.0, "long", 2), (1, "boolean", True), ("yes", "string", "yes"), (0.5, "string", "0.5")],
)
def test_the_type_that_was_asked_for(value, kind, expected):
    found = predictions.convert(value, kind)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    "value, kind",
    [("yes", "double"), ("1", "long"), (1.5, "long"), (float("nan"), "long"), (float("inf"), "long"), ("yes", "boolean")],
)
def test_a_type_that_does_not_fit_names_the_setting(value, kind):
    with pytest.raises(BadInput, match="set batch_scoring_result_type, to string for labels"):
        predictions.convert(value, kind)


@pytest.mark.parametrize("number", [0.1, 1 / 3, 1e300, 5e-324, -0.0, 0.9869791666666666])
def test_a_float_comes_back_as_it_was(number):
    assert math.copysign(1, float(predictions.as_text(number))) == math.copysign(1, number) and float(predictions.as_text(number)) == number


def test_other_predictions():
    assert predictions.as_text(3) == "3"
    assert predictions.as_text("plain") == "plain"
    assert predictions.as_text('say "a, b"') == '"say ""a, b"""'
