# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.sparkflows.mlops.plugins.module_utils import csv_files
from ansible_collections.sparkflows.mlops.plugins.module_utils import parquet as module_utils_parquet
from ansible_collections.sparkflows.mlops.plugins.modules import scored_files

DATA = Path(__file__).parents[3] / "data" / "breast-cancer-wisconsin" / "data.csv"
IDENTITY = {"method": "registered_model", "model": {"name": "risk", "version": "1", "checksum": "sha256:0"}, "stack": "s"}
PEOPLE = 'name,age\n"Müller, Anna",41\n"two\nlines",7\n\n"say ""hi""",9\n'


class Scoring:
    """The three steps on real files; `score` is what a method does."""

    def __init__(self, call, folder):
        self.call, self.input, self.output = call, folder / "in", folder / "out"
        self.input.mkdir()

    def put(self, name, content=PEOPLE):
        path = self.input / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def plan(self, check=False, identity=None, **more):
        options = dict({"input": str(self.input), "output": str(self.output)}, **more)
        identity = IDENTITY if identity is None else identity
        return self.call(scored_files, check=check, diff=True, state="planned", identity=identity, **options)

    def score(self, plan, change=lambda rows: rows):
        for entry in plan["pending"]:
            with open(entry["path"], encoding="utf-8-sig", newline="") as file:
                rows = [row for row in csv.reader(file) if row]
            rows = [rows[0] + ["prediction"]] + [row + [repr(number / 7)] for number, row in enumerate(rows[1:])]
            with open(entry["staged"], "w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows(change(rows))

    def commit(self, plan, check=False, identity=None, **more):
        options = dict(output=str(self.output), identity=identity or IDENTITY, pending=plan["pending"], **more)
        return self.call(scored_files, check=check, diff=True, state="committed", **options)

    def run(self, change=lambda rows: rows, **more):
        plan = self.plan(**more)
        self.score(plan, change)
        return self.commit(plan, **{key: value for key, value in more.items() if key == "identity"})

    @property
    def manifest(self):
        return json.loads((self.output / "manifest.json").read_text(encoding="utf-8"))["files"]

    def left(self):
        return sorted(os.listdir(self.output)) if self.output.exists() else None


@pytest.fixture(name="scoring")
def fixture_scoring(call, tmp_path):
    return Scoring(call, tmp_path)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def scored_in(scoring, name="a.csv"):
    return (scoring.output / name).read_bytes()


def test_real_data_from_plan_to_record(scoring):
    given = scoring.input / "data.csv"
    shutil.copy(DATA, given)
    given.chmod(0o640)
    plan = scoring.plan()
    assert plan["changed"] and not plan["refused"] and not plan["valid"]
    entry = plan["pending"][0]
    assert (entry["name"], entry["rows"], entry["format"], entry["sha256"]) == ("data.csv", 569, "csv", sha256(DATA))
    assert Path(entry["staged"]).parent.is_relative_to(scoring.output)

    scoring.score(plan)
    done = scoring.commit(plan)
    assert done["changed"] and done["committed"] == ["data.csv"] and done["failures"] == {} and done["rows"] == 569
    record = scoring.manifest["data.csv"]
    assert record["scored_by"] == IDENTITY
    assert record["input"] == {"path": str(given), "sha256": sha256(given), "rows": 569, "bytes": given.stat().st_size}
    scored = scoring.output / "data.csv"
    assert record["output"] == {"sha256": sha256(scored), "rows": 569, "bytes": scored.stat().st_size}
    assert 0 <= record["seconds"] < 60 and record["when"].endswith("Z")
    assert oct(scored.stat().st_mode & 0o777) == "0o640"
    assert scoring.left() == ["data.csv", "manifest.json"]

    again = scoring.plan()
    assert not again["changed"] and again["pending"] == [] and again["valid"] == ["data.csv"] and not again["diff"]["prepared"]


def test_one_file_as_input(scoring):
    plan = scoring.plan(input=str(scoring.put("a.csv")))
    scoring.put("b.csv")
    scoring.score(plan)
    assert scoring.commit(plan)["committed"] == ["a.csv"]


def test_check_mode_says_it_and_changes_nothing(scoring):
    scoring.put("a.csv")
    plan = scoring.plan(check=True)
    assert plan["changed"] and plan["diff"]["prepared"] == "to score: a.csv (3 rows)\n" and plan["staging"] == ""
    assert scoring.left() is None


@pytest.mark.parametrize(
    "content, rows",
    [
        (PEOPLE, 3),
        (PEOPLE.replace("\n", "\r\n"), 3),
        ("\ufeff" + PEOPLE, 3),
        ("a\n1\n2", 2),
        ("a,b\n1,\n,2\n", 2),
    ],
)
def test_rows_are_not_lines(scoring, content, rows):
    scoring.put("a.csv", content)
    plan = scoring.plan()
    assert [entry["rows"] for entry in plan["pending"]] == [rows]
    scoring.score(plan)
    assert scoring.commit(plan)["failures"] == {}


@pytest.mark.parametrize(
    "content, why",
    [
        ("", "the file is empty"),
        ("\n\n", "no header and no rows"),
        ("a,b\n", "a header, but no rows"),
        ("a,b,a\n1,2,3\n", "column a is in the header more than once"),
        ("a,prediction\n1,2\n", "a column prediction already"),
        ("a,b\n1,2\n\n3\n", "line 4 has 1 values, but the header has 2 columns"),
        ('a,b\n1,"2\n', "line 2 is not CSV: a quotation mark is not closed"),
        ("a,b\nx,Müller\n".encode("latin-1"), "line 2 has the byte 0xfc (byte 8 of the file)"),
        ("a,b\nx,y\n".encode("utf-16"), "it is not UTF-8: line 1 has the byte 0xff"),
        ("a,b\nx,y\n".encode("utf-16-le"), "Is it UTF-16"),
        (b"a,b\n1,2\n3,\xc3", "line 3 has the byte 0xc3"),
        ("a;b\n1,5;2\n", "has one column only, but semicolons: set score_offline_separator to semicolon"),
        ("a\tb\n1\t2\n", "set score_offline_separator to tab"),
        ("a,b\n1,2,\n", "line 2 has 3 values, but the header has 2 columns"),
        ('a,b\n1,2\n"x"y,2\n', "line 3 is not CSV"),
    ],
)
def test_file_that_cannot_be_scored_is_named_and_the_others_are_not_held_up(scoring, content, why):
    scoring.put("bad.csv", content)
    scoring.put("good.csv")
    plan = scoring.plan()
    assert list(plan["refused"]) == ["bad.csv"] and why in plan["refused"]["bad.csv"]
    assert [entry["name"] for entry in plan["pending"]] == ["good.csv"]
    scoring.score(plan)
    scoring.commit(plan)
    assert scoring.left() == ["good.csv", "manifest.json"]


def test_place_of_a_wrong_byte_beyond_the_first_chunk(scoring, monkeypatch):
    for size in range(1, 9):
        monkeypatch.setattr(csv_files, "CHUNK", size)
        scoring.put("bad.csv", b"a,b\n" + "ä,ö\r\n".encode() * 4 + b"x,\xe9y\n")
        assert "line 6 has the byte 0xe9 (byte 35 of the file)" in scoring.plan()["refused"]["bad.csv"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_lines_are_counted_in_the_text_and_not_in_its_bytes(scoring, monkeypatch, encoding):
    """A byte of a character may be that of a line end, as in \u010a; a carriage return may end a line alone."""
    lone = "\ud800".encode(encoding, "surrogatepass")
    for size in (1 << 20, 1, 3):
        monkeypatch.setattr(csv_files, "CHUNK", size)
        scoring.put("bad.csv", "\ufeffa,b\r\n\u010a,\u0a0d\r1,2\n".encode(encoding) + lone + "x,y\n".encode(encoding))
        why = scoring.plan(encoding="utf-16")["refused"]["bad.csv"]
        assert f"line 4 has the byte 0x{lone[0]:02x} (byte 29 of the file)" in why


@pytest.mark.parametrize("name", ["with space.csv", "Grüße ☂.csv", "it's; $(x) #1.csv", "-rf.csv", "UPPER.CSV", "a.b.csv"])
def test_names(scoring, name):
    scoring.put(name)
    done = scoring.run()
    assert done["committed"] == [name] and scoring.left() == sorted([name, "manifest.json"])
    assert scoring.plan()["valid"] == [name]


def test_names_that_cannot_be_shown_are_refused(scoring):
    scoring.put("two\nlines.csv")
    (Path(os.fsdecode(os.fsencode(scoring.input) + b"/\xff.csv"))).write_text(PEOPLE, encoding="utf-8")
    plan = scoring.plan()
    assert plan["pending"] == [] and len(plan["refused"]) == 2
    assert all("characters that cannot be shown" in why for why in plan["refused"].values())


def test_what_is_in_a_directory(scoring):
    for name in ("a.csv", ".hidden.csv", "notes.txt", "_SUCCESS"):
        scoring.put(name)
    (scoring.input / "deeper").mkdir()
    (scoring.input / "table.csv").mkdir()
    plan = scoring.plan()
    assert [entry["name"] for entry in plan["pending"]] == ["a.csv"]
    assert "it is not a file" in plan["refused"]["table.csv"] and len(plan["refused"]) == 1


@pytest.mark.parametrize(
    "options, why",
    [
        ({"input": "/nowhere/x.csv"}, "there is no file or directory /nowhere/x.csv on this host"),
        ({}, "there is no *.csv or *.parquet in the directory"),
        ({"output": "in"}, "is where the input lies"),
        ({"output": "/dev/null"}, "/dev/null is not a directory"),
    ],
)
def test_nothing_can_be_done(scoring, options, why):
    if "output" in options:
        scoring.put("a.csv")
        options = {"output": str(scoring.input) if options["output"] == "in" else options["output"]}
    result = scoring.plan(**options)
    assert result["failed"] is True and why in result["msg"]
    assert scoring.left() is None


def test_format_that_the_method_cannot_read(scoring):
    scoring.put("a.parquet")
    scoring.put("b.txt")
    assert "csv files only" in scoring.plan(formats=["csv"])["refused"]["a.parquet"]
    assert "csv files only" in scoring.plan(input=str(scoring.input / "b.txt"), formats=["csv"])["refused"]["b.txt"]


@pytest.mark.parametrize(
    "change, why",
    [
        (lambda rows: rows[:-1], "it has 3 rows, but 2 were scored"),
        (lambda rows: rows[:1] + rows[2:], "it has 3 rows, but 2 were scored"),
        (lambda rows: rows + rows[-1:], "it has 3 rows, but 4 were scored"),
        (lambda rows: rows[:1], "it has 3 rows, but 0 were scored"),
        (lambda rows: rows[:1] + rows[:0:-1], "row 1 of what was scored is not row 1 of the input: name is 'say"),
        (lambda rows: [row[:-1] for row in rows], "prediction is missing"),
        (lambda rows: [row[1:] for row in rows], "name is missing"),
        (lambda rows: [row + ["x"] for row in rows], "x is new"),
        (lambda rows: [row[::-1] for row in rows], "their order has changed"),
        (lambda rows: rows[:2] + [rows[2][:-1] + [""]] + rows[3:], "has no prediction"),
        (lambda rows: rows[:2] + [rows[2][:-1]] + rows[3:], "has 2 values instead of 3"),
        (lambda rows: [], "name, age, prediction is missing"),
    ],
)
def test_what_was_scored_has_to_be_the_input(scoring, change, why):
    scoring.put("a.csv")
    plan = scoring.plan()
    scoring.score(plan, change)
    if not Path(plan["pending"][0]["staged"]).stat().st_size:
        why = "what was scored is empty"
    done = scoring.commit(plan)
    assert not done["changed"] and done["committed"] == [] and why in done["failures"]["a.csv"]
    assert scoring.left() == []


def test_numbers_may_be_written_in_another_way_and_rows_come_out_as_they_went_in(scoring):
    scoring.put("a.csv", "\ufeffx,y,z\r\n17.990, word ,True\r\n1e3,,false\r\n\r\n01234,+4915,FALSE")
    change = {"17.990": "17.99", "1e3": "1000.0", " word ": "word", "True": "true", "01234": "1234", "+4915": "4915.0"}
    done = scoring.run(lambda rows: [[change.get(value, value) for value in row] for row in rows])
    assert done["failures"] == {}
    predictions = [repr(number / 7).encode() for number in range(3)]
    given = [b"17.990, word ,True", b"1e3,,false", b"01234,+4915,FALSE"]
    rows = [b"%s,%s\r\n" % row for row in zip(given, predictions)]
    assert scored_in(scoring) == b"\xef\xbb\xbfx,y,z,prediction\r\n" + b"".join(rows)
    assert scoring.manifest["a.csv"]["output"] == {"sha256": sha256(scoring.output / "a.csv"), "rows": 3, "bytes": len(scored_in(scoring))}
    assert scoring.left() == ["a.csv", "manifest.json"]


@pytest.mark.parametrize(
    "given, scored",
    [
        ("1234567890123456789", "1234567890123456768"),
        ("1234567890123456789", "1234567890123456800"),
        ("123456789012345678.90", "123456789012345678.91"),
        ("0.12345678901234567890", "0.12345678901234567891"),
        ("2024-01-02", "2024-01-03"),
        ("2024-01-02", "2024-01-02 00:00:00"),
        ("true", "1"),
        ("AbC", "abc"),
        ("0x10", "16"),
        ("1_0", "10"),
        ("word", ""),
        ("1e99999999999999999999", "1e99999999999999999998"),
    ],
)
def test_a_changed_value_is_seen(scoring, given, scored):
    scoring.put("a.csv", f"id,zip,x\n{given},01234,1\n")
    done = scoring.run(lambda rows: [[scored if value == given else value for value in row] for row in rows])
    assert "row 1 of what was scored is not row 1 of the input: id is" in done["failures"]["a.csv"]


@pytest.mark.parametrize(
    "given, scored",
    [
        ("1234567890123456789", "1.2345678901234568E18"),
        ("0.1234567890123456789", "0.12345678901234568"),
        ("123456789.012345678901", "1.2345678901234567E8"),
        ("01234", "1234"),
        ("1E5", "100000.0"),
        ("", "NaN"),
        ("Infinity", "inf"),
        ("TRUE", "true"),
    ],
)
def test_the_same_value_in_another_notation(scoring, given, scored):
    scoring.put("a.csv", f"id,x\n{given},1\n")
    assert scoring.run(lambda rows: [[scored if value == given else value for value in row] for row in rows])["failures"] == {}
    assert scored_in(scoring) == f"id,x,prediction\n{given},1,0.0\n".encode()


@pytest.mark.parametrize(
    "content, copy",
    [
        # What any reader takes is not copied.
        ("1100,1102,1104\n1,2,3\n", None),
        (",x,t\n0,1.5,a\n", None),
        ("a,b,\n1,2,\n", None),
        ('a,b\r\n1,"say ""hi"", twice"\r\n', None),
        ("a,b\n1," + "x" * 200000 + "\n", None),
        # Others are.
        ('x,t\n1,5" pipe\n2,b\n', b'x,t\n1,"5"" pipe"\n2,b\n'),
        ("x,t\r1,a\r\r2,b", b"x,t\n1,a\n\n2,b\n"),
        ('x\n""\n1\n', None),
        ('x,t\n1,""\n2,a"\n', b'x,t\n1,\n2,"a"""\n'),
        ("\ufeffx,t\n1,a\n", b"x,t\n1,a\n"),
    ],
)
def test_a_method_gets_what_every_reader_understands(scoring, content, copy):
    given = scoring.put("a.csv", content)
    given.chmod(0o640)
    plan = scoring.plan()
    assert plan["refused"] == {}
    entry = plan["pending"][0]
    assert entry["source"] == str(given)
    if copy is None:
        assert entry["path"] == str(given)
    else:
        assert Path(entry["path"]).read_bytes() == copy and oct(os.stat(entry["path"]).st_mode & 0o777) == "0o640"
    scoring.score(plan)
    assert scoring.commit(plan)["failures"] == {} and scoring.left() == ["a.csv", "manifest.json"]
    # The rows of the input are there as they were.
    for row in content.splitlines()[1:]:
        assert row.encode() in scored_in(scoring)


@pytest.mark.parametrize(
    "separator, encoding, content",
    [
        ("semicolon", "cp1252", 'Größe;Preis;"a;b"\r\n1,70 m;"5 €";x,y\r\n007;;2\r\n'),
        ("tab", "utf-16", "Größe\tб\n1\t2,5\n"),
        ("tab", "utf-16-be", "\ufeffGröße\tб\n1\t2,5\n"),
        ("pipe", "utf-8", "\ufeffa|b\n1|x,y\n"),
    ],
)
def test_other_separators_and_encodings(scoring, separator, encoding, content):
    scoring.put("a.csv", content.encode(encoding))
    how = {"separator": separator, "encoding": encoding[:6]}
    plan = scoring.plan(**how)
    assert plan["refused"] == {}
    sign, end = csv_files.SEPARATORS[separator], "\r\n" if "\r" in content else "\n"
    rows = content.splitlines()
    assert Path(plan["pending"][0]["path"]).read_text(encoding="utf-8").startswith(rows[0].split(sign)[0].lstrip("\ufeff") + ",")
    scoring.score(plan)
    assert scoring.commit(plan, **how)["failures"] == {}
    expected = [rows[0] + sign + "prediction", *(f"{row}{sign}{number / 7!r}" for number, row in enumerate(rows[1:]))]
    assert scored_in(scoring) == "".join(row + end for row in expected).encode(encoding)
    # Read in another way it is another input.
    assert scoring.plan(**how)["valid"] == ["a.csv"] and scoring.plan()["valid"] == []


def test_an_encoding_that_is_none(scoring):
    scoring.put("a.csv")
    assert "set score_offline_encoding to utf-8" in scoring.plan(encoding="latin-99")["msg"]


def test_what_spark_writes_is_read(scoring):
    texts = ['He said "hi", twice', "C:\\dir", "C:\\dir, x", "a, ends\\", "ends\\", '5" pipe', 'a","b', '\\"', "", "two\nlines"]
    # As Spark 3.2.1 wrote it.
    spark = [r'"He said \"hi\", twice"', r"C:\dir", r'"C:\\dir, x"', r'"a, ends\\"', "ends\\"]
    spark += [r'"5\" pipe"', r'"a\",\"b"', r'"\\\""', '""', '"two\nlines"']
    content = io.StringIO()
    csv.writer(content, lineterminator="\n").writerows([["", "t"], *([str(number), text] for number, text in enumerate(texts))])
    scoring.put("a.csv", content.getvalue())
    plan = scoring.plan()
    rows = ['"",t,prediction', *(f"{number},{text},0.5" for number, text in enumerate(spark))]
    Path(plan["pending"][0]["staged"]).write_text("\n".join(rows) + "\n", newline="")
    assert scoring.commit(plan)["failures"] == {}
    rows = list(csv.reader(io.StringIO(scored_in(scoring).decode(), newline="")))
    assert [row[:2] for row in rows[1:]] == [[str(number), text] for number, text in enumerate(texts)]


def test_what_spark_predicts_is_read_as_the_rows_are(scoring):
    scoring.put("a.csv", "t\r\nsay hi\r\n")
    plan = scoring.plan()
    # Another reader would find two values more in it, and take the last one.
    Path(plan["pending"][0]["staged"]).write_text('t,prediction\n"say hi","say \\", x"\n', newline="")
    assert scoring.commit(plan)["failures"] == {}
    assert list(csv.reader(io.StringIO(scored_in(scoring).decode(), newline=""))) == [["t", "prediction"], ["say hi", 'say ", x']]


@pytest.mark.parametrize(
    "given, scored, how, prediction",
    [
        (r"C:\dir, x", r'"C:\\dir, x","C:\\dir, y"', {}, r"C:\dir, y"),
        (r"C:\dir, x", r'"C:\dir, x","C:\\dir, y"', {}, r"C:\\dir, y"),
        (r"C:\\dir, x", r'"C:\\dir, x","C:\\dir, y"', {}, r"C:\\dir, y"),
        ("a", r'a,"C:\\dir, y"', {}, r"C:\dir, y"),
        ("a", r'a,"C:\dir, y"', {}, r"C:\dir, y"),
        ("a", r'a,"C:\\dir, y"', {"quotation": "doubled"}, r"C:\\dir, y"),
    ],
)
def test_a_row_in_both_ways_to_quote_is_what_the_input_and_the_file_say(scoring, given, scored, how, prediction):
    scoring.put("a.csv", f't\n"{given}"\n')
    plan = scoring.plan()
    Path(plan["pending"][0]["staged"]).write_text(f"t,prediction\n{scored}\n", newline="")
    assert scoring.commit(plan, **how)["failures"] == {}
    assert list(csv.reader(io.StringIO(scored_in(scoring).decode(), newline="")))[1:] == [[given, prediction]]


def test_a_link_beside_what_was_scored_is_not_followed(scoring, tmp_path):
    scoring.put("a.csv", "t\r\n1\r\n")
    plan, victim = scoring.plan(), tmp_path / "victim"
    victim.write_text("mine")
    staged = Path(plan["pending"][0]["staged"])
    staged.write_text("t,prediction\n1,2\n", newline="")
    staged.with_name(staged.name + ".merged").symlink_to(victim)
    assert scoring.commit(plan)["failures"] == {}
    assert victim.read_text() == "mine" and scored_in(scoring) == b"t,prediction\r\n1,2\r\n"


def test_a_prediction_that_the_encoding_does_not_have(scoring):
    scoring.put("a.csv", "t\n1\n")
    plan = scoring.plan(encoding="cp1252")
    Path(plan["pending"][0]["staged"]).write_text("t,prediction\n1,Łódź\n", encoding="utf-8", newline="")
    assert "'Ł', which cp1252 does not have" in scoring.commit(plan, encoding="cp1252")["failures"]["a.csv"]


def test_names_that_spark_and_pandas_give(scoring):
    scoring.put("a.csv", ",x,\n0,1,2\n")
    assert scoring.run(lambda rows: [["_c0", "x", "Unnamed: 2", "prediction"], *rows[1:]])["failures"] == {}
    assert scored_in(scoring) == b",x,,prediction\n0,1,2,0.0\n"


def test_what_looks_as_if_it_were_meant_is_named(scoring):
    for name in ("a.csv", "b.csv.gz", "c.parquet.zst", "d.tsv"):
        scoring.put(name)
    plan = scoring.plan()
    assert [entry["name"] for entry in plan["pending"]] == ["a.csv"]
    assert plan["refused"] == {
        "b.csv.gz": "it is compressed: unpack it",
        "c.parquet.zst": "it is compressed: unpack it",
        "d.tsv": "rename it to *.csv, and set score_offline_separator to tab",
    }


def test_many_columns_in_bounded_time(scoring):
    width = 100000
    names = ",".join(f"c{number}" for number in range(width))
    scoring.put("a.csv", names + "\n" + ",".join(["1.50"] * width) + "\n")
    began = time.process_time()
    assert scoring.run()["failures"] == {}
    # 0.5 s here; what grows with the square of the columns takes minutes.
    assert time.process_time() - began < 10


def test_line_ends_are_those_of_the_input(scoring):
    scoring.put("a.csv", "x,y\r\n1,2\n3,4\r\n5,6")
    assert scoring.run()["failures"] == {}  # the method writes line feeds only
    assert scored_in(scoring) == f"x,y,prediction\r\n1,2,0.0\n3,4,{1 / 7}\r\n5,6,{2 / 7}\r\n".encode()


WIDE = [f"band {number}" for number in range(1000)]
SETS = {
    "labels": ({}, "id,colour,weight\n007,rot,1.50\n008,blau,2.00\n", 1),
    "nulls": ({}, "age,income,city\n41,,Bern\n,NaN,\n7,1e3,\"\"\n", 1),
    "wide": ({"separator": "tab"}, "\t".join(WIDE) + "\r\n" + "\t".join(["0.10"] * 1000) + "\r\n", 1),
    "many": ({}, "k,v\n0001,true\n", 200),
    "european": ({"separator": "semicolon", "encoding": "cp1252"}, 'Straße;Betrag\n"Am; Weg";1,50\nÖde;"5"" Rohr"\n', 1),
}


@pytest.mark.parametrize("name", SETS)
def test_rows_of_any_kind_come_out_as_they_went_in(scoring, name):
    how, content, count = SETS[name]
    encoding, separator = how.get("encoding", "utf-8"), csv_files.SEPARATORS[how.get("separator", "comma")]
    for number in range(count):
        scoring.put(f"{number}.csv", content.encode(encoding))
    plan = scoring.plan(**how)
    assert plan["refused"] == {} and len(plan["pending"]) == count
    # What pandas makes of numbers and of what is missing.
    change = {"007": "7", "008": "8", "1.50": "1.5", "2.00": "2.0", "NaN": "", "1e3": "1000.0", "0.10": "0.1", "0001": "1", "true": "True"}
    scoring.score(plan, lambda rows: [rows[0], *([*(change.get(value, value) for value in row[:-1]), "ja, sehr"] for row in rows[1:])])
    done = scoring.commit(plan, **how)
    assert done["failures"] == {} and len(done["committed"]) == count
    end = "\r\n" if "\r" in content else "\n"
    label = '"ja, sehr"' if separator == "," else "ja, sehr"
    header, *rows = content.splitlines()
    expected = "".join(row + separator + last + end for row, last in [(header, "prediction"), *((row, label) for row in rows)])
    assert {scored_in(scoring, f"{number}.csv") for number in range(count)} == {expected.encode(encoding)}


def staged_link(staged, folder):
    (folder / "secret").write_text("root's own", encoding="utf-8")
    staged.symlink_to(folder / "secret")


def staged_hard_link(staged, folder):
    staged_link(staged, folder)
    staged.unlink()
    os.link(folder / "secret", staged)


@pytest.mark.parametrize(
    "make, why",
    [
        (lambda staged, folder: None, "nothing was scored"),
        (lambda staged, folder: staged.mkdir(), "not a plain file"),
        (lambda staged, folder: staged.write_bytes(b""), "what was scored is empty"),
        (lambda staged, folder: staged.write_bytes(b"\xff\xfe"), "not UTF-8"),
        (staged_link, "not a plain file"),
        (staged_hard_link, "not a plain file"),
    ],
)
def test_what_is_staged_is_not_trusted(scoring, make, why, tmp_path):
    scoring.put("a.csv")
    plan = scoring.plan()
    make(Path(plan["pending"][0]["staged"]), tmp_path)
    assert why in scoring.commit(plan)["failures"]["a.csv"]
    assert scoring.left() == []


def test_nobody_exchanges_what_is_being_looked_at(scoring, monkeypatch):
    scoring.put("a.csv")
    plan = scoring.plan()
    scoring.score(plan)
    os.chmod(plan["staging"], 0o777)
    seen, real = [], scored_files.verify

    def look(entry, *rest):
        seen.append(os.stat(plan["staging"]))
        return real(entry, *rest)

    monkeypatch.setattr(scored_files, "verify", look)
    assert scoring.commit(plan)["committed"] == ["a.csv"]
    assert [(status.st_mode & 0o777, status.st_uid) for status in seen] == [(0o700, os.geteuid())]


def test_failures_of_the_method_are_passed_on_and_the_others_appear(scoring):
    scoring.put("a.csv")
    scoring.put("b.csv")
    plan = scoring.plan()
    scoring.score(plan)
    done = scoring.commit(plan, failures={"a.csv": "column age is missing"})
    assert done["failures"] == {"a.csv": "column age is missing"} and done["committed"] == ["b.csv"]
    assert scoring.left() == ["b.csv", "manifest.json"]
    assert [entry["name"] for entry in scoring.plan()["pending"]] == ["a.csv"]


def test_input_that_changes_while_it_is_scored(scoring):
    path = scoring.put("a.csv")
    gone = scoring.put("b.csv")
    plan = scoring.plan()
    scoring.score(plan)
    path.write_text(PEOPLE + "new,1\n", encoding="utf-8")
    gone.unlink()
    done = scoring.commit(plan)
    assert done["committed"] == [] and set(done["failures"].values()) == {"the input changed while it was scored"}
    assert scoring.left() == []


@pytest.mark.parametrize("what", ["input", "output", "no output", "version", "entry"])
def test_scored_again_when_something_is_not_what_it_was(scoring, what):
    scoring.put("a.csv")
    scoring.put("b.csv")
    scoring.run()
    identity = IDENTITY
    if what == "input":
        scoring.put("a.csv", PEOPLE + "more,1\n")
    elif what == "output":
        (scoring.output / "a.csv").write_text("tampered", encoding="utf-8")
    elif what == "no output":
        (scoring.output / "a.csv").unlink()
    elif what == "version":
        identity = dict(IDENTITY, model=dict(IDENTITY["model"], version="2"))
    else:
        text = (scoring.output / "manifest.json").read_text(encoding="utf-8")
        broken = json.loads(text)
        broken["files"]["a.csv"] = {"scored_by": IDENTITY, "input": []}
        (scoring.output / "manifest.json").write_text(json.dumps(broken), encoding="utf-8")
    plan = scoring.plan(identity=identity)
    assert [entry["name"] for entry in plan["pending"]] == (["a.csv", "b.csv"] if what == "version" else ["a.csv"])
    scoring.score(plan)
    scoring.commit(plan, identity=identity)
    assert scoring.manifest["a.csv"]["scored_by"] == identity
    assert scoring.plan(identity=identity)["valid"] == ["a.csv", "b.csv"]


def test_what_was_valid_stays_when_scoring_it_again_fails(scoring):
    scoring.put("a.csv")
    scoring.run()
    before = (scoring.output / "a.csv").read_bytes()
    scoring.put("a.csv", PEOPLE + "more,1\n")
    assert scoring.run(lambda rows: rows[:-1])["failures"]
    assert (scoring.output / "a.csv").read_bytes() == before
    assert scoring.manifest["a.csv"]["output"]["sha256"] == sha256(scoring.output / "a.csv")


@pytest.mark.parametrize("content", ["{", "[]", '{"files": []}', '{"files": {"a.csv": 1}}', "\x00", "{}"])
def test_broken_manifest_is_told_kept_and_replaced(scoring, content):
    scoring.put("a.csv")
    scoring.run()
    (scoring.output / "manifest.json").write_text(content, encoding="utf-8")
    plan = scoring.plan()
    assert [entry["name"] for entry in plan["pending"]] == ["a.csv"] and "cannot be read" in plan["warnings"][0]
    scoring.score(plan)
    assert scoring.commit(plan)["committed"] == ["a.csv"]
    assert scoring.left() == ["a.csv", "manifest.json", "manifest.json.unreadable"]
    assert scoring.plan()["valid"] == ["a.csv"]


def test_killed_between_scoring_and_recording(scoring):
    scoring.put("a.csv")
    plan = scoring.plan()
    scoring.score(plan)
    assert scoring.left() == [".staging"]
    second = scoring.plan()
    assert second["staging"] != plan["staging"] and not Path(plan["staging"]).exists()
    # What comes late from the first one finds nothing of the second one's.
    assert scoring.commit(plan)["failures"] == {"a.csv": "nothing was scored"}
    assert scoring.run()["committed"] == ["a.csv"]
    assert scoring.left() == ["a.csv", "manifest.json"]


KILLED_HERE = ["os.rename:1", "os.rename:2", "os.fsync:1", "os.fsync:2", "os.fsync:3"]


@pytest.mark.parametrize("where", KILLED_HERE)
def test_killed_while_recording_ends_in_the_same_state(scoring, where, tmp_path):
    scoring.put("a.csv")
    plan = scoring.plan()
    scoring.score(plan)
    call, number = where.split(":")
    arguments = dict(state="committed", output=str(scoring.output), identity=IDENTITY, pending=plan["pending"])
    program = f"""
import os, signal
from module_arguments import patch_module_args
from ansible_collections.sparkflows.mlops.plugins.module_utils import csv_files
from ansible_collections.sparkflows.mlops.plugins.modules import scored_files
real, calls = {call}, []
def dying(*args):
    calls.append(args)
    if len(calls) == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args)
{call} = dying
with patch_module_args({arguments!r}):
    scored_files.main()
"""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=False)
    assert run.returncode == -signal.SIGKILL, run
    # Whatever lies there, nothing of it is taken for scored without a record.
    again = scoring.plan()
    assert [entry["name"] for entry in again["pending"]] == ["a.csv"]
    scoring.score(again)
    assert scoring.commit(again)["committed"] == ["a.csv"]
    assert [name for name in scoring.left() if not name.startswith(".manifest-")] == ["a.csv", "manifest.json"]


def test_what_a_killed_run_leaves_is_removed_when_nothing_is_to_be_done(scoring):
    scoring.put("a.csv")
    scoring.run()
    (scoring.output / ".staging" / "old").mkdir(parents=True)
    assert not scoring.plan()["pending"]
    assert scoring.left() == ["a.csv", "manifest.json"]


@contextlib.contextmanager
def no_room(size):
    """No file may grow beyond some bytes, pytest's own log included, so no longer than the one call that is tested."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_full_disk_while_recording_leaves_nothing(scoring):
    scoring.put("a.csv")
    plan = scoring.plan()
    scoring.score(plan)
    with no_room(100):
        done = scoring.commit(plan)
    assert done["committed"] == [] and "cannot be recorded in manifest.json" in done["failures"]["a.csv"]
    assert "File too large" in done["failures"]["a.csv"]
    assert scoring.left() == []


def test_too_little_room_is_told_before_anything_is_scored(scoring, monkeypatch):
    scoring.put("a.csv", "x\n" + "1\n" * 5000)
    real = os.statvfs

    class Full:
        f_bavail, f_frsize = 2, 4096

    monkeypatch.setattr(os, "statvfs", lambda path: Full if str(path) in str(scoring.output) else real(path))
    result = scoring.plan()
    assert result["failed"] is True and "need about 10 KiB" in result["msg"] and "8 KiB free" in result["msg"]
    assert scoring.left() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_full_file_system(scoring, tmp_path):
    scoring.output.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", scoring.output], check=False).returncode:
        pytest.skip("this computer does not let a file system be mounted")
    try:
        scoring.put("a.csv")
        plan = scoring.plan()
        scoring.score(plan)
        with pytest.raises(OSError), open(scoring.output / ".staging" / "rest", "wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        done = scoring.commit(plan)
        assert "No space left on device" in done["failures"]["a.csv"]
        assert scoring.left() == []
    finally:
        subprocess.run(["umount", scoring.output], check=True)


def test_a_directory_is_in_the_way(scoring):
    scoring.put("a.csv")
    (scoring.output / "a.csv").mkdir(parents=True)
    assert "is a directory" in scoring.run()["failures"]["a.csv"]


def test_identity_has_to_be_given(scoring):
    scoring.put("a.csv")
    assert "identity is empty" in scoring.plan(identity={})["msg"]


def test_committed_in_check_mode_moves_nothing(scoring):
    scoring.put("a.csv")
    plan = scoring.plan()
    scoring.score(plan)
    assert scoring.commit(plan, check=True)["changed"]
    assert scoring.left() == [".staging"]


# ---- Parquet
# Stands in for the stack's Python: its pyarrow takes for Parquet what is written in JSON. The real one is in tests/long/test_parquet.py.
BECOME_NOBODY = module_utils_parquet.become_nobody
STACK = """#!/bin/sh
exec {python} -c 'import sys; sys.path.insert(0, "{folder}"); sys.argv = sys.argv[3:]; exec(sys.argv[0])' "$@"
"""
PYARROW = """
def unregister_extension_type(name):
    assert name == "arrow.py_extension_type"
"""
READER = """
import json, os
from types import SimpleNamespace

class ParquetFile:
    def __init__(self, file):
        text = file.read().decode()
        if text == "break":
            os.abort()
        said = json.loads(text)
        self.schema_arrow, self.metadata = SimpleNamespace(names=said["columns"]), SimpleNamespace(num_rows=said["rows"])
"""


@pytest.fixture(name="stack")
def fixture_stack(tmp_path, monkeypatch):
    """Options of the module."""
    # Who is nobody does not get into pytest's folders.
    monkeypatch.setattr(module_utils_parquet, "become_nobody", lambda: None)
    folder = tmp_path / "stack"
    (folder / "pyarrow").mkdir(parents=True)
    (folder / "pyarrow/__init__.py").write_text(PYARROW)
    (folder / "pyarrow/parquet.py").write_text(READER)
    python = folder / "python"
    python.write_text(STACK.format(python=sys.executable, folder=folder))
    python.chmod(0o755)
    return {"parquet_python": str(python)}


def parquet(columns, rows):
    return json.dumps({"columns": columns.split(), "rows": rows})


def test_parquet_is_counted_and_recorded(scoring, stack):
    """Compared are columns and number of rows: values are not read here. That they come out as they went in is in the scenario offline_scoring."""
    scoring.put("a.parquet", parquet("größe ok", 300))
    plan = scoring.plan(**stack)
    assert [(entry["format"], entry["rows"]) for entry in plan["pending"]] == [("parquet", 300)]
    scored = parquet("größe ok prediction", 300)
    Path(plan["pending"][0]["staged"]).write_text(scored)
    done = scoring.commit(plan, **stack)
    assert done["failures"] == {} and done["rows"] == 300
    assert scoring.manifest["a.parquet"]["output"]["rows"] == 300
    # Whatever the method wrote is put in place as it is.
    assert scored_in(scoring, "a.parquet") == scored.encode()


@pytest.mark.parametrize(
    "scored, why",
    [
        (parquet("a b prediction", 299), "it has 300 rows, but 299 were scored"),
        (parquet("a b", 300), "prediction is missing"),
        ("cut", "it cannot be read as a Parquet file: Expecting value"),
        ("break", "could not read it with pyarrow: it ended with -6"),
    ],
)
def test_parquet_that_was_scored_wrongly(scoring, stack, scored, why):
    scoring.put("a.parquet", parquet("a b", 300))
    plan = scoring.plan(**stack)
    Path(plan["pending"][0]["staged"]).write_text(scored)
    assert why in scoring.commit(plan, **stack)["failures"]["a.parquet"]


@pytest.mark.parametrize(
    "content, why",
    [
        ("cut", "it cannot be read as a Parquet file: Expecting value: line 1 column 1 (char 0)"),
        ("break", "python could not read it with pyarrow: it ended with -6"),
        (parquet("a prediction", 3), "a column prediction already"),
        (parquet("a", 0), "a header, but no rows"),
    ],
)
def test_parquet_that_cannot_be_scored(scoring, stack, content, why):
    scoring.put("a.parquet", content)
    scoring.put("b.parquet", parquet("a", 3))
    plan = scoring.plan(**stack)
    assert why in plan["refused"]["a.parquet"] and [entry["name"] for entry in plan["pending"]] == ["b.parquet"]


def test_parquet_and_no_stack(scoring, stack, tmp_path):
    scoring.put("a.parquet", parquet("a", 3))
    absent = str(tmp_path / "no/python")
    assert f"is not there, {absent}: install the stack first" in scoring.plan(parquet_python=absent)["refused"]["a.parquet"]
    assert "is not there, parquet_python: install" in scoring.plan(check=True)["refused"]["a.parquet"]
    plan = scoring.plan(check=True, parquet_python=absent)
    assert plan["diff"]["prepared"] == "to score: a.parquet (rows are counted when the stack is installed)\n" and not plan["refused"]
    if os.geteuid() == 0:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module_utils_parquet, "become_nobody", BECOME_NOBODY)
            assert "may be started by some accounts only, not by nobody" in scoring.plan(**stack)["refused"]["a.parquet"]
    (tmp_path / "stack/pyarrow/__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'pyarrow'\")")
    assert "pyarrow: ModuleNotFoundError: No module named 'pyarrow'" in scoring.plan(**stack)["refused"]["a.parquet"]


def test_folders_can_be_entered_whatever_the_umask(scoring, tmp_path):
    """Who scores may be another account than the one that plans."""
    scoring.put("a.csv")
    scoring.output = tmp_path / "srv" / "scores" / "out"
    before = os.umask(0o077)
    try:
        plan = scoring.plan()
    finally:
        os.umask(before)
    staging = Path(plan["pending"][0]["staged"]).parent
    assert [oct(path.stat().st_mode & 0o777) for path in (tmp_path / "srv", tmp_path / "srv/scores", staging.parent)] == ["0o755"] * 3


def test_selinux_s_context_is_that_of_the_place(scoring, labels):
    scoring.put("a.csv")
    scoring.run()
    names = ("a.csv", "manifest.json")
    assert [labels(scoring.output / name) for name in names] == [f"type of {scoring.output}/{name}" for name in names]
    for name in names:
        labels(scoring.output / name, "chosen_by_somebody_t")
    scoring.put("a.csv", "name,age\nBo,3\n")
    scoring.run()
    assert [labels(scoring.output / name) for name in names] == ["chosen_by_somebody_t"] * 2
