"""What the scoring job checks before and beside Spark: columns, values, encodings, and that a file is cut into whole rows."""

import csv
import importlib.util
import io
import json
import math
import random
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "roles/batch_scoring/files/score_job.py"
SHARED = PROGRAM.parents[3] / "plugins/module_utils"
COLUMNS = [("a", "double"), ("n", "long"), ("t", "string")]
HEADER = ["a", "n", "t"]


@pytest.fixture(name="job", scope="module")
def fixture_job():
    # As the role puts them beside each other.
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SHARED))
        spec = importlib.util.spec_from_file_location("score_job", PROGRAM)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    sys.modules.pop("csv_files", None)


def blocks(job, content, size=16):
    return list(job.read_blocks(io.BytesIO(content), size))


def rows(job, content, **options):
    return [row for _line, data in blocks(job, content, **options) for row in job.split_rows(data) if row]


# ---- columns
def test_the_order_of_columns_is_free(job):
    job.check_columns(["t", "a", "n"], COLUMNS, keep_extra=False)


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
def test_wrong_columns(job, header, keep, words):
    with pytest.raises(job.BadInput) as caught:
        job.check_columns(header, COLUMNS, keep)
    assert words in str(caught.value)


def test_an_extra_column_can_be_kept(job):
    job.check_columns(["a", "n", "t", "x"], COLUMNS, keep_extra=True)
    job.check_columns(["", "a", "n", "t", ""], COLUMNS, keep_extra=True)


def test_many_columns_in_bounded_time(job):
    names = [f"c{number}" for number in range(100000)]
    columns = [(name, "double") for name in names]
    began = time.process_time()
    job.check_columns(names, columns, keep_extra=False)
    job.check_values([b",".join([b"1.5"] * len(names))], 2, names, columns)
    # 0.4 s here; what grows with the square of the columns takes minutes.
    assert time.process_time() - began < 10


def test_signature(job):
    assert job.signature_columns('[{"name": "a", "type": "double"}]') == [("a", "double")]
    assert job.signature_columns('[{"type": "tensor"}]') is None
    assert job.signature_columns("") is None
    with pytest.raises(job.BadInput, match="d .datetime."):
        job.check_types([("d", "datetime")])


@pytest.mark.parametrize(
    "content, names, after",
    [
        (b'\xef\xbb\xbfa,"b, c"\r\n1', ["a", "b, c"], 2),
        (b'\n\r\na,"two\nlines"\n1', ["a", "two\nlines"], 5),
        (b"," + b"x" * 200000 + b"\n1", ["", "x" * 200000], 2),
    ],
)
def test_header(job, content, names, after):
    source = io.BytesIO(content)
    assert job.read_header(source)[1:] == (names, after) and source.read() == b"1"


@pytest.mark.parametrize("content, why", [(b"", "is empty"), (b"\n\n", "is empty"), (b"caf\xe9,b\n", "Line 1 is not UTF-8"),
                                          (b"\r\n\n\"a\nb\",caf\xe9\n", "Line 4 is not UTF-8")])
def test_no_header(job, content, why):
    with pytest.raises(job.BadInput, match=why):
        job.read_header(io.BytesIO(content))


def test_plan_and_job_read_the_same(job, tmp_path):
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
        _first, header, line = job.read_header(source)
        found = [row for _line, data in job.read_blocks(source, 16, line) for row in job.split_rows(data) if row]
        job.check_widths(found, line, len(header))
        assert [next(csv.reader(io.StringIO(row.decode(), newline=""))) for row in found] == [row[1] for row in dialect.rows(str(given))][1:]
        assert len(found) == count == len(made)
    assert seen == {True, False}


def test_long_values(job):
    job.check_widths([b'1,"' + b"x" * 200000 + b'",3'], 2, 3)


# ---- rows
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
def test_whole_rows(job, content, expected, size):
    assert rows(job, content, size=size) == expected


def test_rows_do_not_depend_on_the_size_of_blocks(job):
    chance = random.Random(7)
    values = ["1", "", '"a\nb"', '"""\n"', "é", '","']
    for _round in range(50):
        made = [",".join(chance.choices(values, k=3)).encode() for _row in range(chance.randrange(1, 30))]
        content = b"".join(row + chance.choice([b"\n", b"\r\n"]) for row in made)
        for size in (3, 50, 10000):
            found = blocks(job, content, size=size)
            assert [row for _line, data in found for row in job.split_rows(data)] == made
            starts = {2 + b"".join(data for _line, data in found[:index]).count(b"\n") for index in range(len(found))}
            assert {line for line, _data in found} <= starts


def test_a_line_that_is_not_utf8_is_named(job):
    with pytest.raises(job.BadInput, match="Line 4 is not UTF-8"):
        blocks(job, b"1,2,x\n1,2,x\n1,2,\xe9\n1,2,x\n")


def test_a_character_may_cross_blocks(job):
    assert rows(job, "1,2,éééééééé\n3,4,ü\n".encode(), size=5) == ["1,2,éééééééé".encode(), "3,4,ü".encode()]


def test_a_quotation_mark_that_is_not_closed(job, monkeypatch):
    monkeypatch.setattr(job, "LONGEST_ROW_BYTES", 100)
    with pytest.raises(job.BadInput, match="line 3 does not end"):
        blocks(job, b'1,2,x\n3,4,"y\n' + b"5,6,z\n" * 100)
    with pytest.raises(job.BadInput, match="not closed in the row that begins '3,4,"):
        rows(job, b'3,4,"y\n5,6,z\n')


@pytest.mark.parametrize(
    ("row", "words"),
    [(b"1,2", "Line 5 has 2 values, but the first line names 3"), (b"1,2,3,4", "Line 5 has 4 values"), (b'1,"2,3"', "Line 5 has 2")],
)
def test_rows_of_another_width(job, row, words):
    with pytest.raises(job.BadInput, match=words):
        job.check_widths([b"1,2,3", b"", b'1,"2,3",4', row], 2, 3)


# ---- values
@pytest.mark.parametrize(
    ("kind", "text"),
    [("double", "1e-5"), ("double", " -.5 "), ("double", ""), ("double", "  "),
     ("double", "1.7976931348623157e308"), ("float", "3.4e38"), ("double", "NaN"), ("double", "-inf"), ("long", "-9223372036854775808"),
     ("integer", " 7 "), ("boolean", "True"), ("boolean", " false "), ("double", "Infinity"), ("string", ""), ("string", "anything")],
)
def test_good_values(job, kind, text):
    assert job.check_value(text, kind) is None


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [("double", "abc", "'abc', but the model wants double"), ("double", "1,5", "'1,5'"), ("double", "1_000", "'1_000'"), ("double", "0x1F", "'0x1F'"),
     ("double", "١", "wants double"), ("long", "", "is empty"), ("long", "1.5", "'1.5'"), ("long", "9223372036854775808", "too large for long"),
     ("integer", "2147483648", "too large for integer"), ("boolean", "yes", "'yes'"),
     ("long", " ", "is empty, but the model wants long"), ("double", "1e400", "is 1e400, which is too large for double"),
     ("double", " -1E309", "too large for double"), ("float", "1e39", "too large for float")],
)
def test_bad_values(job, kind, text, words):
    assert words in job.check_value(text, kind)


def test_a_bad_value_is_named_by_line_and_column(job):
    with pytest.raises(job.BadInput, match="Line 5: n is '2.5', but the model wants long"):
        job.check_values([b'1,2,"x\ny"', b"1,2,x", b"1,2.5,x"], 2, HEADER, COLUMNS)


@pytest.mark.parametrize("number, line", [(0, 2), (1, 4), (2, 6)])
def test_the_line_of_a_row(job, number, line):
    assert job.line_of_row([b"1,2", b"", b'3,"x\ny"', b"5,6"], 2, number) == line


# ---- answers
@pytest.mark.parametrize(
    "value, kind, expected",
    [(1, "double", 1.0), (True, "double", 1.0), (2.0, "long", 2), (1, "boolean", True), ("yes", "string", "yes"), (0.5, "string", "0.5")],
)
def test_the_type_that_was_asked_for(job, value, kind, expected):
    found = job.convert(value, kind)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    "value, kind",
    [("yes", "double"), ("1", "long"), (1.5, "long"), (float("nan"), "long"), (float("inf"), "long"), ("yes", "boolean")],
)
def test_a_type_that_does_not_fit_names_the_setting(job, value, kind):
    with pytest.raises(job.BadInput, match="set batch_scoring_result_type, to string for labels"):
        job.convert(value, kind)


@pytest.mark.parametrize("number", [0.1, 1 / 3, 1e300, 5e-324, -0.0, 0.9869791666666666])
def test_a_float_comes_back_as_it_was(job, number):
    assert math.copysign(1, float(job.as_text(number))) == math.copysign(1, number) and float(job.as_text(number)) == number


def test_other_predictions(job):
    assert job.as_text(3) == "3"
    assert job.as_text("plain") == "plain"
    assert job.as_text('say "a, b"') == '"say ""a, b"""'


def test_a_worker_s_message_is_found_in_java_s(job):
    report = "An error occurred\n\tat org.apache...\nBadInput: Line 3: a is 'x', but the model wants double.\n\n\tat java.lang"
    assert job.explain(RuntimeError(report)) == "Line 3: a is 'x', but the model wants double."
    assert "Encountered null" in job.explain(RuntimeError("o1.fit\n\tat x\nCaused by: org.apache.spark.SparkException: Encountered null\n\tat y"))
    named = "x\n  File y\ncsv_files.BadInput: Line 5: bmi is empty, and that may be why. The model failed: ValueError: NaN\n"
    assert job.explain(RuntimeError(named)).startswith("Line 5: bmi is empty")
    python = "An error\nCaused by: a.PythonException: Traceback (most)\n  File x\nh2o.StartupError: no jar\n\n\tat y"
    assert job.explain(RuntimeError(python)) == "h2o.StartupError: no jar"
    assert job.explain(PermissionError(13, "Permission denied", "/tmp/in0/a.csv")).endswith("may not read or write a.csv.")
    assert job.explain(OSError(28, "No space left on device")) == "the scored file: No space left on device"


def test_the_checksum_is_of_names_and_contents(job, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one/a").write_text("1")
    first = job.checksum(str(tmp_path))
    (tmp_path / "one/a").rename(tmp_path / "one/b")
    second = job.checksum(str(tmp_path))
    (tmp_path / "one/b").write_text("2")
    assert len({first, second, job.checksum(str(tmp_path))}) == 3


# ---- the model
class Registry:
    def __init__(self, *versions):
        self.versions = [SimpleNamespace(version=str(number), current_stage=stage, status=status) for number, stage, status in versions]

    def get_model_version(self, name, version):
        return next(one for one in self.versions if one.version == version)

    def get_latest_versions(self, name, stages):
        return [one for one in self.versions if one.current_stage in stages][-1:]

    def search_model_versions(self, _filter):
        return self.versions


def test_model_files_are_fetched_once_and_anew_where_they_are_damaged(job, tmp_path, monkeypatch):
    fetched = []

    def download_artifacts(artifact_uri, dst_path):
        fetched.append(artifact_uri)
        model = Path(dst_path) / "model"
        model.mkdir()
        (model / "MLmodel").write_text(artifact_uri)
        return str(model)

    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "mlflow.artifacts", SimpleNamespace(download_artifacts=download_artifacts))
    first, second = (SimpleNamespace(version=version, creation_timestamp=7) for version in "12")
    path = Path(job.fetch("churn/eu", first, str(tmp_path)))
    job.fetch("churn/eu", first, str(tmp_path))
    assert len(fetched) == 1
    (path / "MLmodel").write_text("")
    job.fetch("churn/eu", first, str(tmp_path))
    assert fetched == ["models:/churn/eu/1"] * 2 and (path / "MLmodel").read_text() == "models:/churn/eu/1"
    (tmp_path / "churn%2Feu@1-7.mojo").mkdir()
    job.fetch("churn/eu", second, str(tmp_path))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".churn%2Feu@2-7.sha256", "churn%2Feu@2-7"]


@pytest.fixture(name="no_mlflow")
def fixture_no_mlflow(monkeypatch):
    exceptions = SimpleNamespace(MlflowException=type("MlflowException", (Exception,), {}))
    monkeypatch.setitem(__import__("sys").modules, "mlflow", SimpleNamespace(exceptions=exceptions))
    monkeypatch.setitem(__import__("sys").modules, "mlflow.exceptions", exceptions)


@pytest.mark.usefixtures("no_mlflow")
def test_a_stage_is_its_newest_version(job):
    registry = Registry((1, "Production", "READY"), (2, "Production", "READY"), (3, "Staging", "FAILED_REGISTRATION"))
    assert job.resolve(registry, "m", "production").version == "2"
    assert job.resolve(registry, "m", "1").version == "1"
    for wanted, words in [("Prod", "neither a version nor a stage"), ("Archived", r"there are: 1 \(Production\), 2"), ("3", "is not ready")]:
        with pytest.raises(job.BadInput, match=words):
            job.resolve(registry, "m", wanted)


def test_the_program_says_what_is_wrong_as_json(job, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"x": 1})))
    monkeypatch.setattr("sys.argv", ["score_job.py", "model"])
    job.main()
    assert "problem" in json.loads(capsys.readouterr().out)


def test_what_mlflow_opens_to_everybody_lies_where_nobody_else_gets_to(job, tmp_path, monkeypatch):
    """CVE-2024-27134: get_or_create_tmp_dir of MLflow 1.30.1 makes a folder with mkdtemp, and gives it the mode 0777."""
    monkeypatch.setattr(job.tempfile, "tempdir", str(tmp_path))
    tmp_path.chmod(0o1777)
    monkeypatch.setattr(job.sys, "stdin", io.StringIO("{}"))
    made = []

    def answers(_order):
        made.append(Path(job.tempfile.mkdtemp()))
        made[0].chmod(0o777)
        return []

    monkeypatch.setattr(job, "answers", answers)
    job.main()
    inside = made[0].relative_to(tmp_path).parts
    assert len(inside) == 2 and (tmp_path / inside[0]).stat().st_mode & 0o077 == 0
