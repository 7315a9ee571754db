"""What the scoring job says of columns that do not fit the model's."""

import time

import pytest
from score_job import columns, values
from score_job.csv_files import BadInput

COLUMNS = [("a", "double"), ("n", "long"), ("t", "string")]


def test_the_order_of_columns_is_free():
    columns.check_columns(["t", "a", "n"], COLUMNS, keep_extra=False)


@pytest.mark.parametrize(
    ("header", "keep", "words"),
    [
        (["a", "t"], False, "column n is missing"),
        (["t"], True, "column a, n is missing"),
        (["a", "n", "t", "x"], False, "does not know the column x (set score_offline_extra_columns"),
        (["a", "n", "t", "t"], True, "column t is in the header more than once"),
        (["a", "n", "t", "prediction"], True, "a column prediction already, which is the one that scoring adds: rename it"),
        # What it advised, keep, it then refused.
        (["a", "n", "t", "prediction"], False, "a column prediction already, which is the one that scoring adds: rename it"),
        (["", "a", "n", "t"], False, "does not know the column 1 (without a name) (set"),
        (["1.5", "2", "x"], True, "column a, n, t is missing."),
        (["1.5", "2"], True, "first line has numbers only"),
        (["a", "x"], False, "column n, t is missing; the model does not know the column x"),
    ],
)
def test_wrong_columns(header, keep, words):
    with pytest.raises(BadInput) as caught:
        columns.check_columns(header, COLUMNS, keep)
    assert words in str(caught.value)


def test_an_extra_column_can_be_kept():
    columns.check_columns(["a", "n", "t", "x"], COLUMNS, keep_extra=True)
    columns.check_columns(["", "a", "n", "t", ""], COLUMNS, keep_extra=True)


def test_many_columns_in_bounded_time():
    names = [f"c{number}" for number in range(100000)]
    wanted = [(name, "double") for name in names]
    began = time.process_time()
    columns.check_columns(names, wanted, keep_extra=False)
    values.check_values([b",".join([b"1.5"] * len(names))], 2, names, wanted)
    # 0.4 s here; what grows with the square of the columns takes minutes.
    assert time.process_time() - began < 10


def test_signature():
    assert columns.signature_columns('[{"name": "a", "type": "double"}]') == [("a", "double")]
    assert columns.signature_columns('[{"type": "tensor"}]') is None
    assert columns.signature_columns("") is None
    with pytest.raises(BadInput, match="d .datetime."):
        columns.check_types([("d", "datetime")])
