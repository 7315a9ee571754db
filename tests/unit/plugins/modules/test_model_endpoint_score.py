# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A served model, scripted after what MLflow 1.30.1 and 2 answer."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json

import pytest
from ansible_collections.sparkflows.mlops.plugins.module_utils import endpoint_requests
from ansible_collections.sparkflows.mlops.plugins.module_utils.csv_files import read_rows
from ansible_collections.sparkflows.mlops.plugins.modules import model_endpoint_score
from lab.data_sets import DATA_SETS, SEPARATORS

ROWS = [{"x": 1, "y": "a"}, {"x": 2.5, "y": "b"}, {"x": None, "y": "c"}]
CANARY = "canary-4c1f"


@pytest.fixture(name="model")
def fixture_model(server, reply):
    """Answers each row with its number of values, as MLflow 1 does; what it was sent is in `seen`."""

    def answer(request):
        kind, body = request["headers"]["Content-Type"], request["body"]
        if kind == "text/csv":
            columns, *rows = list(csv.reader(io.StringIO(body)))
        else:
            data = json.loads(body)
            data = data.get("dataframe_split", data)
            columns, rows = data["columns"], data["data"]
        server.seen.append((kind, columns, rows))
        found = [len(row) + number / 10 for number, row in enumerate(rows)]
        return reply({"predictions": found} if "dataframe_split" in body else found)

    server.seen = []
    server.on("POST", "/invocations", answer)
    return server


@pytest.fixture(name="score")
def fixture_score(call, server):
    def run(**options):
        options.setdefault("url", server.url)
        return call(model_endpoint_score, **{key: value for key, value in options.items() if value is not None})

    return run


@pytest.mark.parametrize(
    "input_format, content_type",
    [("pandas-split", "application/json; format=pandas-split"), ("dataframe_split", "application/json"), ("csv", "text/csv")],
)
def test_rows_go_in_chunks_and_come_back_in_order(score, model, input_format, content_type):
    result = score(rows=ROWS, chunk_rows=2, input_format=input_format)
    assert result["predictions"] == [2.0, 2.1, 2.0]
    assert (result["rows"], result["requests"], result["changed"]) == (3, 2, False)
    assert [kind for kind, _columns, _rows in model.seen] == [content_type] * 2
    assert model.seen[0][1] == ["x", "y"] and [len(rows) for _kind, _columns, rows in model.seen] == [2, 1]
    if input_format != "csv":
        assert model.seen[0][2] == [[1, "a"], [2.5, "b"]] and model.seen[1][2] == [[None, "c"]]


@pytest.mark.parametrize(
    "rows", [{"columns": ["x", "y"], "data": [[1, 2]]}, '[{"x": 1, "y": 2}]', '{"columns": ["x", "y"], "data": [[1, 2]]}'])
def test_rows_may_be_columns_and_data_or_text(score, model, rows):
    assert score(rows=rows)["predictions"] == [2.0] and model.seen[0][1:] == (["x", "y"], [[1, 2]])


@pytest.mark.parametrize(
    "options, words",
    [
        ({"rows": "x,y"}, "rows is not JSON"),
        ({"rows": []}, "rows must be a list of records, or columns and data"),
        ({"rows": [{"x": 1}, {"y": 1}]}, "row 2 has other columns than row 1"),
        ({"rows": {"columns": ["x"], "data": [[1], [1, 2]]}}, "row 2 has not 1 values"),
        ({"rows": {"columns": ["x"], "data": []}}, "rows has no rows"),
        ({"rows": ROWS, "chunk_rows": 0}, "chunk_rows must be 1 or more"),
        ({"rows": ROWS, "dest": "/no/such/folder/x.csv"}, "dest: there is no directory"),
        ({"rows": ROWS, "dest": "/tmp/x.csv", "prediction_column": "y"}, "set prediction_column"),
        ({"src": "/no/such/file.csv"}, "src: cannot read /no/such/file.csv"),
        ({"rows": ROWS, "url": "mlflow:5001"}, "url must look like https://host:port"),
        ({"rows": ROWS, "url": "http://u:p@mlflow:5001"}, "url must not contain a user name"),
        ({"rows": ROWS, "src": "/etc/passwd"}, "mutually exclusive"),
        ({}, "one of the following is required: rows, src"),
        ({"rows": ROWS, "username": "u"}, "required together"),
    ],
)
def test_bad_input_is_named_and_nothing_is_sent(score, model, options, words):
    result = score(**options)
    assert result["failed"] and words in result["msg"] and not model.requests


@pytest.mark.parametrize(
    "text, words",
    [
        (b"", "is empty"),
        (b"x,y\n", "has a header and no rows"),
        (b"x,y\n1,2\n3\n", "line 3 of"),
        (b'x\n"1\n', "{src}: line 2 is not CSV: a quotation mark is not closed"),
        (b"x\n\xff\n", "is not in UTF-8: line 2 has the byte 0xff"),
        (b"x,y\n1,2\n1e400,3\n", "line 3 of {src}: x is '1e400', which is too large for a number"),
        (b"x;y\n1;2\n", "src: {src}: its header 'x;y' has one column only, but semicolons: set separator to semicolon"),
        (b"x\ty\n1\t2\n", "src: {src}: its header 'x\\ty' has one column only, but tabs: set separator to tab"),
        (b"x,x\n1,2\n", "src: {src}: column x is in the header more than once"),
        (b",\n1,2\n", "line 1 of {src} names no column"),
        (b"x,prediction\n1,2\n", "have a column prediction already: set prediction_column"),
    ],
)
def test_bad_file_is_named(score, model, tmp_path, text, words):
    (tmp_path / "rows.csv").write_bytes(text)
    result = score(src=str(tmp_path / "rows.csv"), dest=str(tmp_path / "out.csv"))
    assert result["failed"] and words.format(src=tmp_path / "rows.csv") in result["msg"]
    assert not model.requests
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_lines_are_counted_in_the_text_and_not_in_its_bytes(score, model, tmp_path, encoding):
    lone = "\ud800".encode(encoding, "surrogatepass")
    text = "\ufeffx,y\r\n\u010a,\u0a0d\r1,2\n".encode(encoding) + lone + "x,y\n".encode(encoding)
    for name, content in (("rows.csv", text), ("rows.csv.gz", gzip.compress(text))):
        (tmp_path / name).write_bytes(content)
        for given in (encoding, "utf-16"):
            result = score(src=str(tmp_path / name), encoding=given)
            assert f"src: {tmp_path / name} is not in {encoding.upper()}: line 4 has the byte 0x{lone[0]:02x}." in result["msg"]
    assert not model.requests


def test_file_to_file(score, model, tmp_path):
    source, target = tmp_path / "rows.csv", tmp_path / "out.csv"
    source.write_bytes("\ufeffx,y\n1,\n-2.50,é\n".encode())
    first = score(src=str(source), dest=str(target), mode="0640")
    assert first["changed"] and "predictions" not in first and first["dest"] == str(target)
    assert model.seen[0][1:] == (["x", "y"], [[1, None], [-2.5, "é"]])
    assert target.read_text(encoding="utf-8") == "\ufeffx,y,prediction\n1,,2.0\n-2.50,é,2.1\n"
    assert oct(target.stat().st_mode & 0o7777) == "0o640"
    assert not score(src=str(source), dest=str(target), mode="0640")["changed"]
    assert score(src=str(source), dest=str(target), mode="0600")["changed"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "rows.csv"]


def test_csv_values_go_as_they_are_written(score, model, tmp_path):
    (tmp_path / "rows.csv").write_text("x,y\n007,1e3\n")
    score(src=str(tmp_path / "rows.csv"), input_format="csv", dest=str(tmp_path / "out.csv"))
    assert model.seen[0][2] == [["007", "1e3"]]
    assert (tmp_path / "out.csv").read_text() == "x,y,prediction\n007,1e3,2.0\n"


def test_json_files(score, model, tmp_path):
    (tmp_path / "rows.json").write_text(json.dumps(ROWS))
    assert score(src=str(tmp_path / "rows.json"), dest=str(tmp_path / "out.json"))["changed"]
    assert json.loads((tmp_path / "out.json").read_text()) == [2.0, 2.1, 2.2]


@pytest.mark.parametrize("exists", [False, True])
def test_check_mode_predicts_and_writes_nothing(score, model, tmp_path, exists):
    target = tmp_path / "out.csv"
    if exists:
        target.write_text("old")
    result = score(rows=ROWS, dest=str(target), check=True, diff=True)
    assert result["changed"] and len(model.seen) == 1 and result["diff"]["before_header"] == str(target)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"] * exists


@pytest.mark.parametrize(
    "prediction, field",
    [
        ({"prediction": 0.5}, "0.5"), ({"0": 0.5}, "0.5"), ([7], "7"), ([[True]], "True"), (False, "False"), ("yes", "yes"), ("a,b", '"a,b"'),
        ([1, 2], '"[1, 2]"'), ([[1, 2], [3]], '"[[1, 2], [3]]"'), ({"predict": "yes", "p0": 0.1, "p1": 0.9}, "yes"),
    ],
)  # fmt: skip
def test_prediction_with_several_values(score, server, reply, tmp_path, prediction, field):
    server.on("POST", "/invocations", reply([prediction]))
    score(rows=[{"x": 1}], dest=str(tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text() == f"x,prediction\n1,{field}\n"


@pytest.mark.parametrize(
    "body, status, words",
    [
        ({"error_code": "BAD_REQUEST", "message": "Encountered an unexpected error.", "stack_trace": "Traceback\n  File x\nKeyError: 'age'\n"},
         400, ["HTTP 400 for row 3", "Encountered an unexpected error: KeyError: 'age'"]),
        ({"error_code": "BAD_REQUEST", "message": "Failed to enforce schema"}, 400, ["POST /invocations answered HTTP 400", "enforce schema"]),
        ("Internal Server Error", 500, ["HTTP 500", "Internal Server Error"]),
        ("<html><title>Welcome to nginx!</title></html>", 200, ["web page", "Welcome to nginx!"]),
        ([1.0], 200, ["1 predictions for rows 3 to 4", "[1.0]"]),
        ({"predictions": "no"}, 200, ["no list of predictions for rows 3 to 4"]),
        ("OK", 200, ["no list of predictions", "OK"]),
        ({"message": "no"}, 401, ["did not accept the login", "Check username and password"]),
    ],
)
def test_refusal_names_url_status_rows_and_the_models_words(score, server, reply, tmp_path, body, status, words):
    server.on("POST", "/invocations", reply([1.0, 2.0]), reply(body, status))
    result = score(rows=[{"x": number} for number in range(5)], chunk_rows=2, dest=str(tmp_path / "out.csv"))
    assert result["failed"] and all(word in result["msg"] for word in [server.url, *words]), result["msg"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_busy_server_is_asked_again(score, server, reply, pauses, status):
    server.on("POST", "/invocations", reply("busy", status), reply([1.0]))
    result = score(rows=[{"x": 1}])
    assert result["predictions"] == [1.0] and len(pauses) == 1
    assert any(str(status) in warning for warning in result["warnings"])


def test_busy_server_is_given_up_in_the_end(score, server, reply, pauses):
    server.on("POST", "/invocations", reply("busy", 503))
    result = score(rows=[{"x": 1}], retries=2)
    assert result["failed"] and "HTTP 503" in result["msg"] and len(server.requests) == 3


def test_login_goes_along_and_is_not_shown(score, model):
    result = score(rows=ROWS, url=model.url + "/invocations/", username="scoring", password=CANARY)
    assert result["predictions"] and model.requests[0]["target"] == "/invocations"
    assert model.requests[0]["headers"]["Authorization"] == "Basic " + base64.b64encode(f"scoring:{CANARY}".encode()).decode()
    assert CANARY not in result.output


def test_echoed_password_is_hidden(score, server, reply):
    server.on("POST", "/invocations", reply({"message": f"who is {CANARY}", "stack_trace": f"x\nKeyError: {CANARY}"}, 400))
    result = score(rows=ROWS, username="scoring", password=CANARY)
    assert result["failed"] and CANARY not in result.output


def test_no_answer_says_what_to_look_at(score):
    result = score(rows=ROWS, url="http://127.0.0.1:9")
    assert result["failed"] and "http://127.0.0.1:9 cannot be reached" in result["msg"]


# ---- rows come out as they went in
ROW = "000123,02134,+4915112345678,1E5,1.10"


@pytest.mark.parametrize(
    "given, scored",
    [
        (f"account,zip,phone,code,amount\n{ROW}\n", f"account,zip,phone,code,amount,prediction\n{ROW},5.0\n"),
        ("x,y\r\n1,2\r\n3,4", "x,y,prediction\r\n1,2,2.0\r\n3,4,2.1"),
        ('"x","y z"\n"1",a\n 2 ,"b ""q"", c"\n', '"x","y z",prediction\n"1",a,2.0\n 2 ,"b ""q"", c",2.1\n'),
        ('x,y\n1,"two\r\nlines"\n\n2,b\n', 'x,y,prediction\n1,"two\r\nlines",2.0\n2,b,2.1\n'),
        ("\ufeffx,y\n1,\n", "\ufeffx,y,prediction\n1,,2.0\n"),
        (",x,t\n0,1.50,a\n1,2.50,b\n", ",x,t,prediction\n0,1.50,a,2.0\n1,2.50,b,2.1\n"),
        ("1100,1102\n1,2\n", "1100,1102,prediction\n1,2,2.0\n"),
        ("x\ty\n1\tü, 2\n", "x\ty\tprediction\n1\tü, 2\t2.0\n"),
        ("x;y\n1;1,5\n", "x;y;prediction\n1;1,5;2.0\n"),
    ],
)
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("input_format", [None, "csv"])
def test_rows_come_out_as_they_went_in(score, model, tmp_path, given, scored, ending, input_format):
    source, target = tmp_path / f"rows.csv{ending}", tmp_path / f"out.csv{ending}"
    source.write_bytes(gzip.compress(given.encode()) if ending else given.encode())
    separator = next((name for name, found in {"tab": "\t", "semicolon": ";"}.items() if f"x{found}y" in given), None)
    result = score(src=str(source), dest=str(target), separator=separator, input_format=input_format)
    assert not result.get("failed"), result
    found = target.read_bytes()
    assert (gzip.decompress(found) if ending else found).decode() == scored
    assert not score(src=str(source), dest=str(target), separator=separator, input_format=input_format)["changed"]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-be", "UTF-8-SIG"])
def test_encoding_stays(score, model, tmp_path, encoding):
    source, target = tmp_path / "rows.csv", tmp_path / "out.csv"
    mark = {"utf-16-be": "\ufeff"}.get(encoding, "")
    source.write_bytes(f"{mark}x,größe\r\n1,süß\r\n".encode(encoding))
    for name in (encoding, "utf-16") if mark else (encoding,):
        assert not score(src=str(source), dest=str(target), encoding=name).get("failed")
        assert target.read_bytes() == f"{mark}x,größe,prediction\r\n1,süß,2.0\r\n".encode(encoding)
        assert model.seen.pop()[1:] == (["x", "größe"], [[1, "süß"]])
    assert "encoding is ebcdic-x, which Python does not know" in score(src=str(source), encoding="ebcdic-x")["msg"]


@pytest.mark.parametrize(
    "text, options, columns, rows",
    [
        # What only looks like a number is sent as it is, and so is every value of a column in which one does.
        (f"account,zip,phone,code,amount\n{ROW}\n", {"text_columns": ["code"]}, ["account", "zip", "phone", "code", "amount"],
         [["000123", "02134", "+4915112345678", "1E5", 1.1]]),
        ("n,id\n1,1E5\n2,A7\n", {}, ["n", "id"], [[1, "1E5"], [2, "A7"]]),
        ("id,x\n12345678901234567890,1\n", {}, ["id", "x"], [["12345678901234567890", 1]]),
        ("x,y,z\n1.5, 2.5, 3.5\n-.5 ,1e-3,1.\n", {}, ["x", "y", "z"], [[1.5, 2.5, 3.5], [-0.5, 0.001, 1.0]]),
        ("x,t\n1, a\nNaN,nan\n,b\n", {}, ["x", "t"], [[1, " a"], [None, "nan"], [None, "b"]]),
        (",x,t\n0,1,a\n", {}, ["x", "t"], [[1, "a"]]),
    ],
)
def test_values_are_sent_as_what_their_column_is(score, model, tmp_path, text, options, columns, rows):
    (tmp_path / "rows.csv").write_text(text)
    assert not score(src=str(tmp_path / "rows.csv"), **options).get("failed")
    (_kind, *seen), = model.seen
    assert seen == [columns, rows]
    assert [[type(value) for value in row] for row in seen[1]] == [[type(value) for value in row] for row in rows]


@pytest.mark.parametrize("header", ["1100,1102", "2024-01,2024-02", "Jan,Feb"])
def test_names_that_mlflow_takes_for_numbers_in_json_go_as_csv(score, model, tmp_path, header):
    (tmp_path / "rows.csv").write_text(f"{header}\n 1,2\n")
    score(src=str(tmp_path / "rows.csv"))
    assert model.seen == [("text/csv", header.split(","), [["1", "2"]])]


@pytest.mark.parametrize(
    "text, words",
    [
        ("x,bmi\n1,20\n2,\n3,30\n", "for row 2 (line 3 of {src}): 2 is odd (bmi is empty)"),
        ("x,bmi\n1,20\n2,n/a\n3,30\n", "for row 2 (line 3 of {src}): 2 is odd (bmi is 'n/a')"),
        ('x,bmi\n1,20\n\n2,"NaN"\n3,30\n', "for row 2 (line 4 of {src}): 2 is odd (bmi is 'NaN')"),
        ("x,bmi\n2,20\n3,n/a\n", "for row 1 (line 2 of {src}): 2 is odd (bmi is 'n/a' in line 3)"),
        ("x,bmi\n1,20\n2,30\n3,\n", "for row 2 (line 3 of {src}): 2 is odd"),
    ],
)
def test_refused_row_is_named_by_line_and_column(score, server, reply, tmp_path, text, words):
    def answer(request):
        rows = json.loads(request["body"])["data"]
        if 2 in [row[0] for row in rows]:
            return reply({"error_code": "BAD_REQUEST", "message": "2 is odd"}, 400)
        return reply([1.0] * len(rows))

    server.on("POST", "/invocations", answer)
    (tmp_path / "rows.csv").write_text(text)
    result = score(src=str(tmp_path / "rows.csv"), dest=str(tmp_path / "out.csv"))
    assert result["failed"] and result["msg"].endswith(words.format(src=tmp_path / "rows.csv")), result["msg"]
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    "answer, options, words",
    [
        ([{"no": 0.1, "yes": 0.9}], {}, "The model answers with no, yes: set prediction_field"),
        ([{"no": 0.1, "yes": 0.9}], {"prediction_field": "p"}, "prediction_field is p, but the model answers with no, yes"),
        ([0.5], {"prediction_field": "p"}, "values that have no names"),
        ([None], {}, "no prediction for line 2"),
        ("[NaN]", {}, "no prediction for line 2"),
        ([{"prediction": None, "p": 1}], {}, "no prediction for line 2"),
    ],
)
def test_answers_that_are_no_prediction(score, server, reply, tmp_path, answer, options, words):
    server.on("POST", "/invocations", reply(answer, content_type="application/json"))
    (tmp_path / "rows.csv").write_text("x\n1\n")
    result = score(src=str(tmp_path / "rows.csv"), dest=str(tmp_path / "out.csv"), **options)
    assert result["failed"] and words in result["msg"], result["msg"]
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    "answer", [[{"no": 0.1, "yes": 0.9}], {"predictions": [{"no": 0.1, "yes": 0.9}]}, {"predictions": {"no": [0.1], "yes": [0.9]}}])
def test_field_of_a_table(score, server, reply, tmp_path, answer):
    server.on("POST", "/invocations", reply(answer))
    assert score(rows=[{"x": 1}])["predictions"] == [{"no": 0.1, "yes": 0.9}]
    assert score(rows=[{"x": 1}], prediction_field="yes")["predictions"] == [0.9]
    score(rows=[{"x": 1}], prediction_field="yes", dest=str(tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text() == "x,prediction\n1,0.9\n"


def test_numbers_in_json_that_are_none(score, model):
    assert "row 2: x is too large for a number" in score(rows='[{"x": 1}, {"x": 1e400}]')["msg"]
    assert score(rows='[{"x": 1}, {"x": NaN}]')["predictions"] and model.seen[0][2] == [[1], [None]]


def test_damaged_gzip(score, tmp_path):
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(b"x\n" + b"1\n" * 1000)[:-9])
    assert "is no complete gzip file" in score(src=str(tmp_path / "rows.csv.gz"))["msg"]
    (tmp_path / "rows.csv.gz").write_bytes(b"x\n1\n")
    assert "is no complete gzip file" in score(src=str(tmp_path / "rows.csv.gz"))["msg"]


def test_requests_are_bounded_however_wide_the_rows(score, model, tmp_path, monkeypatch):
    monkeypatch.setattr(endpoint_requests, "LARGEST_CHUNK", 1 << 18)
    names, row = (",".join(part * 20_000).rstrip(",") for part in (["c{}"], ["0.25"]))
    names = names.format(*range(20_000))
    (tmp_path / "wide.csv").write_text("\n".join([names, *[row] * 5, ""]))
    result = score(src=str(tmp_path / "wide.csv"), dest=str(tmp_path / "out.csv"))
    assert result["rows"] == 5 and result["requests"] == 2
    assert (tmp_path / "out.csv").read_text().count("\n" + row + ",20000.") == 5


@pytest.mark.parametrize("name", DATA_SETS)
def test_data_sets_come_out_as_they_went_in_and_are_predicted_as_in_training(score, server, reply, tmp_path, name):
    data_set = DATA_SETS[name]

    def answer(request):
        """As MLflow reads a request by the signature of a model."""
        if request["headers"]["Content-Type"] == "text/csv":
            columns, *rows = csv.reader(io.StringIO(request["body"]))
        else:
            columns, rows = json.loads(request["body"]).values()
        found = []
        for row in rows:
            record = dict(zip(columns, row))
            assert [type(record[column]) for column, kind in data_set.columns.items() if kind == "string"] == [str] * list(
                data_set.columns.values()).count("string")
            read = {"double": lambda value: float("nan") if value in (None, "") else float(value), "long": int, "string": str}
            found.append(data_set.predict({column: read[kind](record[column]) for column, kind in data_set.columns.items()}))
        return reply(found)

    server.on("POST", "/invocations", answer)
    source, target, separator = tmp_path / "in.csv", tmp_path / "out.csv", SEPARATORS[data_set.separator]
    for _file, text, predictions in list(data_set.texts())[:20]:
        source.write_bytes(text.encode(data_set.encoding))
        result = score(src=str(source), dest=str(target), separator=data_set.separator, encoding=data_set.encoding)
        assert not result.get("failed"), result
        scored = target.read_bytes().decode(data_set.encoding)
        before, after = (list(read_rows(io.StringIO(part, newline=""), separator)) for part in (text, scored))
        assert len(before) == len(after) == len(predictions) + 1
        for (_line, _values, given), (_same, values, found), prediction in zip(before, after, ["prediction", *predictions]):
            ends = [field + data_set.line_end for field in (values[-1], '"' + values[-1].replace('"', '""') + '"')]
            assert values[-1] == str(prediction) and found in [given[: -len(data_set.line_end)] + separator + end for end in ends]
