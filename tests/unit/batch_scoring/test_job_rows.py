"""That the scoring job cuts a file into whole rows, and reads what the plan takes."""

import csv
import io
import random

import pytest
from score_job import rows
from score_job.csv_files import BadInput


def cut(content, size=16):
    return list(rows.read_blocks(io.BytesIO(content), size))


def whole_rows(content, **options):
    return [row for _line, data in cut(content, **options) for row in rows.split_rows(data) if row]


@pytest.mark.parametrize(
    "content, names, after",
    [
        (b'\xef\xbb\xbfa,"b, c"\r\n1', ["a", "b, c"], 2),
        (b'\n\r\na,"two\nlines"\n1', ["a", "two\nlines"], 5),
        (b"," + b"x" * 200000 + b"\n1", ["", "x" * 200000], 2),
    ],
)
def test_header(content, names, after):
    source = io.BytesIO(content)
    assert rows.read_header(source)[1:] == (names, after) and source.read() == b"1"


@pytest.mark.parametrize("content, why", [(b"", "is empty"), (b"\n\n", "is empty"), (b"caf\xe9,b\n", "Line 1 is not UTF-8"),
                                          (b"\r\n\n\"a\nb\",caf\xe9\n", "Line 4 is not UTF-8")])
def test_no_header(content, why):
    with pytest.raises(BadInput, match=why):
        rows.read_header(io.BytesIO(content))


def test_plan_and_job_read_the_same(tmp_path):
    """Whatever the plan takes, the job sees the same rows in what it is handed."""
    from ansible_collections.sparkflows.mlops.plugins.module_utils import scoring_inputs

    chance = random.Random(11)
    values = ["1", "", "5\" pipe", '"a\nb"', '"say ""x"""', "é", '","', " 2 ", '""', "x" * 200, '"cr\rlf"']
    ends = ["\n", "\r\n", "\r"]
    given, handed = tmp_path / "given.csv", tmp_path / "handed.csv"
    dialect, seen = scoring_inputs.Dialect(), set()
    for _round in range(300):
        made = [",".join(chance.choices(values, k=2)) for _row in range(chance.randrange(1, 6))]
        given.write_bytes(("a,b\n" + "".join(row + chance.choice(ends) for row in made)).encode())
        count, plain = scoring_inputs.look_at_csv(str(given), dialect)
        seen.add(plain)
        if plain:
            handed.write_bytes(given.read_bytes())
        else:
            scoring_inputs.write_plain(str(given), str(handed), dialect)
        source = io.BytesIO(handed.read_bytes())
        _first, header, line = rows.read_header(source)
        found = [row for _line, data in rows.read_blocks(source, 16, line) for row in rows.split_rows(data) if row]
        rows.check_widths(found, line, len(header))
        assert [next(csv.reader(io.StringIO(row.decode(), newline=""))) for row in found] == [row[1] for row in dialect.rows(str(given))][1:]
        assert len(found) == count == len(made)
    assert seen == {True, False}


def test_long_values():
    rows.check_widths([b'1,"' + b"x" * 200000 + b'",3'], 2, 3)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"1,2,x\n3,4,y\n", [b"1,2,x", b"3,4,y"]),
        (b"1,2,x\r\n3,4,y", [b"1,2,x", b"3,4,y"]),
        (b"1,2,x\n\r\n\n3,4,y\n\n", [b"1,2,x", b"3,4,y"]),
        (b'1,2,"x\ny"\r\n3,4,"say ""\n"""\n5,6,z', [b'1,2,"x\ny"', b'3,4,"say ""\n"""', b"5,6,z"]),
        (b"", []),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_whole_rows(content, expected, size):
    assert whole_rows(content, size=size) == expected


def test_rows_do_not_depend_on_the_size_of_blocks():
    chance = random.Random(7)
    values = ["1", "", '"a\nb"', '"""\n"', "é", '","']
    for _round in range(50):
        made = [",".join(chance.choices(values, k=3)).encode() for _row in range(chance.randrange(1, 30))]
        content = b"".join(row + chance.choice([b"\n", b"\r\n"]) for row in made)
        for size in (3, 50, 10000):
            found = cut(content, size=size)
            assert [row for _line, data in found for row in rows.split_rows(data)] == made
            starts = {2 + b"".join(data for _line, data in found[:index]).count(b"\n") for index in range(len(found))}
            assert {line for line, _data in found} <= starts


def test_a_line_that_is_not_utf8_is_named():
    with pytest.raises(BadInput, match="Line 4 is not UTF-8"):
        cut(b"1,2,x\n1,2,x\n1,2,\xe9\n1,2,x\n")


def test_a_character_may_cross_blocks():
    assert whole_rows("1,2,éééééééé\n3,4,ü\n".encode(), size=5) == ["1,2,éééééééé".encode(), "3,4,ü".encode()]


def test_a_quotation_mark_that_is_not_closed(monkeypatch):
    monkeypatch.setattr(rows, "LONGEST_ROW_BYTES", 100)
    with pytest.raises(BadInput, match="line 3 does not end"):
        cut(b'1,2,x\n3,4,"y\n' + b"5,6,z\n" * 100)
    with pytest.raises(BadInput, match="not closed in the row that begins '3,4,"):
        whole_rows(b'3,4,"y\n5,6,z\n')


@pytest.mark.parametrize(
    ("row", "words"),
    [(b"1,2", "Line 5 has 2 values, but the first line names 3"), (b"1,2,3,4", "Line 5 has 4 values"), (b'1,"2,3"', "Line 5 has 2")],
)
def test_rows_of_another_width(row, words):
    with pytest.raises(BadInput, match=words):
        rows.check_widths([b"1,2,3", b"", b'1,"2,3",4', row], 2, 3)


@pytest.mark.parametrize("number, line", [(0, 2), (1, 4), (2, 6)])
def test_the_line_of_a_row(number, line):
    assert rows.line_of_row([b"1,2", b"", b'3,"x\ny"', b"5,6"], 2, number) == line
