"""What the scoring job says of values that do not fit their columns."""

import pytest
from score_job import values
from score_job.csv_files import BadInput

COLUMNS = [("a", "double"), ("n", "long"), ("t", "string")]
HEADER = ["a", "n", "t"]


@pytest.mark.parametrize(
    ("kind", "text"),
    [("double", "1e-5"), ("double", " -.5 "), ("double", ""), ("double", "  "),
     ("double", "1.7976931348623157e308"), ("float", "3.4e38"), ("double", "NaN"), ("double", "-inf"), ("long", "-9223372036854775808"),
     ("integer", " 7 "), ("boolean", "True"), ("boolean", " false "), ("double", "Infinity"), ("string", ""), ("string", "anything")],
)
def test_good_values(kind, text):
    assert values.check_value(text, kind) is None


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [("double", "abc", "'abc', but the model wants double"), ("double", "1,5", "'1,5'"), ("double", "1_000", "'1_000'"), ("double", "0x1F", "'0x1F'"),
     ("double", "١", "wants double"), ("long", "", "is empty"), ("long", "1.5", "'1.5'"), ("long", "9223372036854775808", "too large for long"),
     ("integer", "2147483648", "too large for integer"), ("boolean", "yes", "'yes'"),
     ("long", " ", "is empty, but the model wants long"), ("double", "1e400", "is 1e400, which is too large for double"),
     ("double", " -1E309", "too large for double"), ("float", "1e39", "too large for float")],
)
def test_bad_values(kind, text, words):
    assert words in values.check_value(text, kind)


def test_a_bad_value_is_named_by_line_and_column():
    with pytest.raises(BadInput, match="Line 5: n is '2.5', but the model wants long"):
        values.check_values([b'1,2,"x\ny"', b"1,2,x", b"1,2.5,x"], 2, HEADER, COLUMNS)
