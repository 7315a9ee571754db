# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A served model, scripted after what MLflow 1.30.1 and 2 answer."""

from __future__ import annotations

import base64
import csv
import io
import json

import pytest
from ansible_collections.sparkflows.mlops.plugins.modules import model_endpoint_score

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
        (b'x\n"1\n', "is not CSV in UTF-8"),
        (b"x\n\xff\n", "is not CSV in UTF-8"),
    ],
)
def test_bad_file_is_named(score, model, tmp_path, text, words):
    (tmp_path / "rows.csv").write_bytes(text)
    result = score(src=str(tmp_path / "rows.csv"), dest=str(tmp_path / "out.csv"))
    assert result["failed"] and words in result["msg"] and "src" in result["msg"]
    assert [path.name for path in tmp_path.iterdir()] == ["rows.csv"]


def test_file_to_file(score, model, tmp_path):
    source, target = tmp_path / "rows.csv", tmp_path / "out.csv"
    source.write_bytes("\ufeffx,y\n1,\n-2.50,é\n".encode())
    first = score(src=str(source), dest=str(target), mode="0640")
    assert first["changed"] and "predictions" not in first and first["dest"] == str(target)
    assert model.seen[0][1:] == (["x", "y"], [[1, None], [-2.5, "é"]])
    assert target.read_text(encoding="utf-8") == "x,y,prediction\n1,,2.0\n-2.5,é,2.1\n"
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
    [({"prediction": 0.5}, "0.5"), ([7], "7"), ([[True]], "True"), ({"a": 1, "b": 2}, '"{""a"": 1, ""b"": 2}"'), ([1, 2], '"[1, 2]"')],
)
def test_prediction_with_several_values(score, server, reply, tmp_path, prediction, field):
    server.on("POST", "/invocations", reply([prediction]))
    score(rows=[{"x": 1}], dest=str(tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_text() == f"x,prediction\n1,{field}\n"


@pytest.mark.parametrize(
    "body, status, words",
    [
        ({"error_code": "BAD_REQUEST", "message": "Encountered an unexpected error.", "stack_trace": "Traceback\n  File x\nKeyError: 'age'\n"},
         400, ["HTTP 400 for rows 3 to 4", "Encountered an unexpected error: KeyError: 'age'"]),
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
