# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two programs that the acceptance role has the hosts run."""

from __future__ import annotations

import functools
import importlib.util
import json
import math
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

FILES = Path(__file__).resolve().parents[2] / "roles" / "acceptance" / "files"
SHARED = FILES.parents[2] / "plugins" / "module_utils" / "csv_files.py"


def load(name):
    spec = importlib.util.spec_from_file_location("acceptance_" + name, FILES / (name + ".py"))
    module = importlib.util.module_from_spec(spec)
    # As the role hands it over.
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SHARED.parent))
        spec.loader.exec_module(module)
    return module


@pytest.fixture(name="score")
def fixture_score():
    return load("score")


@pytest.fixture(name="mlflow_host")
def fixture_mlflow_host(monkeypatch):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(sys, "dont_write_bytecode", sys.dont_write_bytecode)
    return load("mlflow_host")


def ask(program, questions):
    """Run it as the role does: the code on the command line, questions on standard input."""
    code = [(FILES / (program + ".py")).read_text(encoding="utf-8")]
    if program == "score":
        code = [(FILES / "with_csv_files.py").read_text(encoding="utf-8"), *code, SHARED.read_text(encoding="utf-8")]
    done = subprocess.run([sys.executable, "-c", *code], input=json.dumps(questions), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ---- scores ----------------------------------------------------------------------------------------------------------
ROWS = "a,name,b\n1,x,0.5\n2,\"y, z\",1e-3\n3,,-4\n"


def sample(url, expected="prediction\n0.1\n0.2\n0.3\n", **more):
    return dict(model="churn", url=url + "/invocations", rows=ROWS, expected=expected, rows_path="rows.csv",
                expected_path="expected.csv", missing=[], tolerance=0, timeout=5, input_format="pandas-split") | more


@pytest.fixture(name="served")
def fixture_served(server, reply):
    """A served model that answers with these predictions, one answer a request."""

    def serve(*answers, **more):
        server.on("POST", "/invocations", *[reply(answer, **more) for answer in answers])
        return server.url

    return serve


def test_rows_are_sent_as_pandas_splits_them(served, server):
    answers = ask("score", {"samples": [sample(served([0.1, 0.2, 0.3]))]})
    assert [check["status"] for check in answers["checks"]] == ["passed"]
    request = server.sent("POST")[0]
    assert json.loads(request["body"]) == {
        "columns": ["a", "name", "b"], "data": [[1, "x", 0.5], [2, "y, z", 0.001], [3, None, -4]]}
    assert request["headers"]["Content-Type"] == "application/json; format=pandas-split"
    scores = answers["scores"][0]
    assert (scores["model"], scores["rows"], scores["different"]) == ("churn", 3, 0)
    assert scores["shown"][1] == {"row": 2, "expected": 0.2, "found": 0.2, "same": True}


def test_login_goes_to_the_models_that_have_one(served, server):
    url, login = served([0.1, 0.2, 0.3]), {"username": "scoring", "password": "canary-4c1f"}
    answers = ask("score", {"samples": [sample(url, login=True), sample(url, login=False)], "login": login})
    assert [check["status"] for check in answers["checks"]] == ["passed", "passed"] and "canary" not in json.dumps(answers)
    headers = [request["headers"].get("Authorization") for request in server.sent("POST")]
    assert sorted(headers, key=str) == ["Basic c2NvcmluZzpjYW5hcnktNGMxZg==", None]


def test_no_proxy_is_asked_for_a_model_of_the_site(served, score, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    check, _scores = score.answer(sample(served([0.1, 0.2, 0.3])))
    assert check["status"] == "passed", check


def test_authority_that_is_not_there(score):
    check, _scores = score.answer(sample("https://127.0.0.1:1", ca_path="/nowhere/ca.pem"))
    assert check["status"] == "failed" and "No such file" in check["evidence"]


@pytest.mark.parametrize(("answer", "expected", "tolerance", "status", "words"), [
    ([0.1, 0.2, 0.3], "prediction\n0.1\n0.2\n0.3\n", 0, "passed", "3 rows over"),
    ([0.1, 0.2, 0.3], "id,prediction,x\n7,0.1,9\n8,0.2,9\n9,0.3,9\n", 0, "passed", "all predictions equal"),
    ([0.1, 0.2, 0.3], "id,p\n7,0.1\n8,0.2\n9,0.3\n", 0, "passed", "all predictions equal"),
    ([1, 2, 3.0], "prediction\n1.0\n2\n3\n", 0, "passed", "all predictions equal"),
    (["yes", "no", "yes"], "prediction\nyes\nno\nyes\n", 0, "passed", "all predictions equal"),
    ([{"prediction": 0.1}, {"prediction": 0.2}, {"prediction": 0.3}], "p\n0.1\n0.2\n0.3\n", 0, "passed", "all"),
    ([{"0": 0.1}, {"0": 0.2}, {"0": 0.3}], "p\n0.1\n0.2\n0.3\n", 0, "passed", "all predictions equal"),
    ([0.1, 0.20000000000000004, 0.3], "p\n0.1\n0.2\n0.3\n", 0, "failed",
     "1 differ by more than 0; row 2: expected 0.2, got 0.20000000000000004"),
    ([0.1, 0.20000000000000004, 0.3], "p\n0.1\n0.2\n0.3\n", 1e-9, "passed", "tolerance 1e-09"),
    ([0.1, None, 0.3], "p\n0.1\n0.2\n0.3\n", 1, "failed", "expected 0.2, got None"),
    (["yes", "no", "yes"], "prediction\nno\nno\nno\n", 0, "failed", "2 differ"),
    (["007", "7", "1.0"], "prediction\n007\n7\n1.0\n", 0, "passed", "all predictions equal"),
    (["7", "7", "1"], "prediction\n007\n7\n1\n", 9, "failed", "1 differ by more than 9; row 1: expected 007, got 7"),
    ([True, False, True], "prediction\ntrue\nFalse\nTrue\n", 0, "passed", "all predictions equal"),
    ([True, False, True], "prediction\nfalse\nFalse\nTrue\n", 1, "failed", "1 differ"),
    ([[0.1, 0.9], [1, [2]], [3, 4]], 'p\n"[0.1, 0.9]"\n"[1, [2.0]]"\n"[4, 3]"\n', 0, "failed", "1 differ by more than 0; row 3"),
    ([[0.1, 0.9], [1, [2]], []], 'p\n"[0.1, 0.9]"\n"[1, [2.0]]"\n[]\n', 0, "passed", "all predictions equal"),
    ([{"predict": "a", "p0": 0.1}] * 3, "prediction\na\na\na\n", 0, "passed", "all predictions equal"),
    ([{"predict": "a", "p0": 0.1}] * 3, "p0\n0.1\n0.1\n0.1\n", 0, "passed", "all predictions equal"),
    ([{"no": 0.9, "yes": 0.1}] * 3, "p\n0.1\n0.1\n0.1\n", 0, "failed", "the model answers with no, yes, and none of them is called p"),
    ([0.1, 0.2], "p\n0.1\n0.2\n0.3\n", 0, "failed", "3 rows were sent, and the answer is [0.1, 0.2]"),
    ({"predictions": [0.1]}, "p\n0.1\n0.2\n0.3\n", 0, "failed", "the answer is {"),
    ("<html>log in</html>", "p\n0.1\n0.2\n0.3\n", 0, "failed", "the answer is not JSON: <html>"),
    ([0.1, 0.2, 0.3], "p\n0.1\n", 0, "failed", "rows.csv has 3 rows and expected.csv has 1"),
    ([0.1, 0.2, 0.3], "p\n", 0, "failed", "no rows below the names of the columns"),
    ([0.1, 0.2, 0.3], "", 0, "failed", "expected.csv: it has no header and no rows"),
])
def test_predictions_are_compared_row_by_row(served, score, answer, expected, tolerance, status, words):
    check, _scores = score.answer(sample(served(answer), expected, tolerance=tolerance))
    assert (check["name"], check["status"]) == ("score churn", status)
    assert words in check["evidence"]


def test_refusal_of_the_model_is_told(served, score):
    check, scores = score.answer(sample(served({"error_code": "BAD_REQUEST", "message": "no column c"}, status=400)))
    assert check["status"] == "failed"
    assert "400" in check["evidence"] and "no column c" in check["evidence"]
    assert scores["shown"] == []


def test_nobody_answers(score):
    check, _scores = score.answer(sample("http://127.0.0.1:1"))
    assert (check["status"], "Connection refused" in check["evidence"]) == ("failed", True)


def test_file_is_missing_on_the_controller(score):
    check, _scores = score.answer(sample("http://127.0.0.1:1", missing=["/nowhere/rows.csv"]))
    assert check["evidence"] == "no file on the controller: /nowhere/rows.csv (acceptance_samples)"


def test_many_rows_go_in_several_requests(served, server, score, monkeypatch):
    monkeypatch.setattr(score, "CHUNK", 2)
    check, _scores = score.answer(sample(served([0.1, 0.2], [0.3])))
    assert check["status"] == "passed"
    assert [len(json.loads(request["body"])["data"]) for request in server.sent("POST")] == [2, 1]


def test_rows_that_differ_are_shown(served, score):
    rows = "a\n" + "".join(f"{i}\n" for i in range(50))
    expected = "p\n" + "".join(f"{i}\n" for i in range(50))
    found = [i if i != 40 else -1 for i in range(50)]
    _check, scores = score.answer(sample(served(found), expected, rows=rows))
    assert [(row["row"], row["same"]) for row in scores["shown"]] == [
        (1, True), (2, True), (3, True), (4, True), (5, True), (41, False)]


@pytest.mark.parametrize(("text", "expected"), [
    ("1", 1), ("-1", -1), ("1.", 1.0), (".5", 0.5), ("1e-3", 0.001), (" 1.5 ", 1.5), ("0", 0), ("0.5", 0.5), ("", None), ("0x10", None),
    ("1_000", None), ("nan", None), ("inf", None), ("1 2", None), ("1.2.3", None), ("true", None), ("e5", None), ("+7", None), ("007", None),
    ("1e400", math.inf), ("12345678901234567890", None),
])
def test_number(score, text, expected):
    found = score.number(text)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(("rows", "more", "columns", "data"), [
    ("zip,code,amount\n02134,1E5, 1.10\n10115,7,\n", {"text_columns": ["code"]},
     ["zip", "code", "amount"], [["02134", "1E5", 1.1], ["10115", "7", None]]),
    ("\ufeff,x,t\r\n0,1,NaN\r\n1,NaN,a\r\n", {}, ["x", "t"], [[1, "NaN"], [None, "a"]]),
])
def test_values_are_sent_as_what_their_column_is(served, server, score, rows, more, columns, data):
    check, _scores = score.answer(sample(served([1, 2]), "p\n1\n2\n", rows=rows, **more))
    assert check["status"] == "passed"
    assert json.loads(server.sent("POST")[0]["body"]) == {"columns": columns, "data": data}


def test_names_that_mlflow_takes_for_numbers_in_json_go_as_csv(served, server, score):
    check, _scores = score.answer(sample(served([1]), "p\n1\n", rows="1100,1102\n 1,2\n"))
    request = server.sent("POST")[0]
    assert (check["status"], request["headers"]["Content-Type"], request["body"]) == ("passed", "text/csv", "1100,1102\n1,2\n")


@pytest.fixture(name="generation")
def fixture_generation(server, reply):
    """generation(1) and generation(2) answer with the sum of each row, and refuse what MLflow 1 and what MLflow 2 and 3 refuse."""

    def serve(number, version=None):
        def refused(message, status=400):
            return reply({"error_code": "BAD_REQUEST", "message": message}, status=status)

        def answer(request):
            kind, _, parameters = request["headers"]["Content-Type"].partition("; ")
            if number > 1 and parameters:
                return reply(f"Unrecognized content type parameters: {parameters.partition('=')[0]}.", status=415, content_type="text/plain")
            if kind == "text/csv":
                columns, *rows = [line.split(",") for line in request["body"].split()]
            else:
                body = json.loads(request["body"])
                if number > 1 and set(body) != {"dataframe_split"}:
                    return refused(f"The input must be a JSON dictionary with exactly one of the input fields. Received {sorted(body)}")
                if number == 1 and set(body) != {"columns", "data"}:
                    return refused("Failed to parse input as a Pandas DataFrame")
                body = body.get("dataframe_split", body)
                columns, rows = body["columns"], body["data"]
                if number == 1 and all(name.isdigit() for name in columns):
                    return refused("Model is missing inputs, and has the extra inputs [1100, 1102]")
            assert all(len(row) == len(columns) for row in rows)
            sums = [sum(float(value) for value in row) for row in rows]
            return reply(sums if number == 1 else {"predictions": sums})

        server.on("POST", "/invocations", answer)
        if version:
            server.on("GET", "/version", reply(version, content_type="application/json"))
        return server.url

    return serve


@pytest.mark.parametrize("rows", ["a,b\n1,2\n3,4\n", "1100,1102\n1,2\n3,4\n"])
@pytest.mark.parametrize(("number", "input_format", "words"), [
    (1, "pandas-split", "all predictions equal"), (2, "dataframe_split", "all predictions equal"),
    (1, "dataframe_split", "400 {"),
])
def test_rows_are_put_as_the_model_s_mlflow_takes_them(generation, score, rows, number, input_format, words):
    check, _scores = score.answer(sample(generation(number), "p\n3\n7\n", rows=rows, input_format=input_format))
    assert words in check["evidence"] and (check["status"] == "passed") == ("all" in words), check


@pytest.mark.parametrize(("number", "version", "site_format"), [
    (1, "1.30.1", "dataframe_split"), (2, "2.22.5", "pandas-split"), (3, '"3.17.2"', "pandas-split"), (2, "10.1", "pandas-split"),
    # What does not say which it is, is asked as the site's own.
    (1, None, "pandas-split"), (2, None, "dataframe_split"), (2, "<html>", "dataframe_split"),
])  # fmt: skip
def test_a_model_is_asked_which_mlflow_serves_it(generation, score, number, version, site_format):
    check, _scores = score.answer(sample(generation(number, version), "p\n3\n7\n", rows="a,b\n1,2\n3,4\n", input_format="", site_format=site_format))
    assert check["status"] == "passed", check


def test_what_is_served_at_another_path_is_not_asked(server, reply, score):
    server.on("POST", "/score", reply([0.1, 0.2, 0.3]))
    check, _scores = score.answer({**sample(server.url, input_format="", site_format="pandas-split"), "url": server.url + "/score"})
    assert check["status"] == "passed" and server.sent("GET") == [], check


def test_what_another_mlflow_says_is_told(generation, score):
    check, _scores = score.answer(sample(generation(2), "p\n3\n7\n", rows="a,b\n1,2\n3,4\n"))
    assert check["status"] == "failed" and "415 Unrecognized content type parameters: format" in check["evidence"]


@pytest.mark.parametrize("answer", [[0.1, 0.2, 0.3], {"prediction": [0.1, 0.2, 0.3]}, {"predictions": [0.1]}, {"predictions": 0.1}])
def test_an_answer_of_another_shape(served, score, answer):
    check, _scores = score.answer(sample(served(answer), input_format="dataframe_split"))
    assert check["status"] == "failed" and "3 rows were sent, and the answer is" in check["evidence"]


@pytest.mark.parametrize(("text", "words"), [
    ("a,b\n1,2\n3\n", "rows.csv: line 3 has 1 values, but the header has 2 columns"),
    ('a\n"1\n', "rows.csv: line 2 is not CSV: a quotation mark is not closed"),
    ("a\n", "rows.csv: there are no rows below the names of the columns"),
    ("a,a\n1,2\n", "rows.csv: column a is in the header more than once"),
    ("a\n1\n2\n1e400\n", "a is 1e400, which is too large for a number"),
])
def test_rows_that_cannot_be_sent(score, text, words):
    check, _scores = score.answer(sample("http://127.0.0.1:1", rows=text))
    assert check["status"] == "failed" and words in check["evidence"]


# ---- the MLflow host -------------------------------------------------------------------------------------------------
@pytest.fixture(name="java_home")
def fixture_java_home(tmp_path):
    (tmp_path / "bin").mkdir()

    def install(text):
        program = tmp_path / "bin" / "java"
        program.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{text}\nEND\n")
        program.chmod(0o755)
        return str(tmp_path)

    return install


def test_no_proxy_is_asked_for_mlflow_on_this_host(mlflow_host, server, reply, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server.on("GET", "/health", reply("OK"))
    assert mlflow_host.health(server.url) == (f"GET {server.url}/health: 200 OK", "")


@pytest.mark.parametrize(("text", "wanted", "version"), [
    ('openjdk version "1.8.0_504"\nOpenJDK Runtime', "1.8", "1.8.0_504"),
    ('Picked up JAVA_TOOL_OPTIONS: -Dx=1\njava version "1.8.0_201"', "1.8", "1.8.0_201"),
    ('openjdk version "11.0.2" 2019-01-15', "11", "11.0.2"),
    ('openjdk version "17" 2021-09-14', "17", "17"),
])
def test_java(mlflow_host, java_home, text, wanted, version):
    evidence, found = mlflow_host.java(java_home(text), wanted)
    assert found == version
    assert evidence.startswith(version + " in ")


@pytest.mark.parametrize(("text", "wanted"), [
    ('openjdk version "17.0.15" 2025-04-15', "1.8"),
    ('openjdk version "1.80.0"', "1.8"),
    ("cannot execute", "1.8"),
])
def test_another_java(mlflow_host, java_home, text, wanted):
    with pytest.raises(mlflow_host.Wrong, match="wanted 1.8"):
        mlflow_host.java(java_home(text), wanted)


def test_package(mlflow_host):
    installed = pytest.__version__
    assert mlflow_host.package("pytest==" + installed) == (f"{installed} is installed, wanted {installed}", installed)
    assert mlflow_host.package(f"pytest=={installed}.0.0")[1] == installed  # the same version, written in another way
    with pytest.raises(mlflow_host.Wrong, match="is installed, wanted 0.1"):
        mlflow_host.package("pytest==0.1")
    with pytest.raises(mlflow_host.Wrong, match="not installed, wanted 1"):
        mlflow_host.package("no-such-package==1")
    # What a stack leaves to its lock.
    assert mlflow_host.package("pytest")[0] == f"{installed} is installed, wanted any version"
    assert mlflow_host.package("pytest<999")[1] == installed
    with pytest.raises(mlflow_host.Wrong, match="is installed, wanted <0.1"):
        mlflow_host.package("pytest<0.1")


SINCE = "Mon 2026-11-23 04:00:00 UTC"
WELL = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled", "MainPID": 4711, "NRestarts": 0,
        "ActiveEnterTimestamp": SINCE}  # fmt: skip
GONE = {**WELL, "ActiveState": "failed", "SubState": "failed", "MainPID": 0, "NRestarts": 5, "ActiveEnterTimestamp": ""}


@pytest.mark.parametrize(("unit", "words"), [
    (GONE, "failed (failed) and enabled, 5 restarts by systemd; see journalctl -u x.service"),
    ({**WELL, "UnitFileState": "disabled"}, "active (running) and disabled"),
    ({**GONE, "LoadState": "not-found", "UnitFileState": ""}, "there is no such unit"),
    # systemd that is busy.
    ({}, "systemd does not say whether it runs; see systemctl status x.service"),
    ({"LoadState": "loaded", "SubState": "running"}, "systemd does not say whether it runs"),
    ({"LoadState": "loaded", "ActiveState": "active"}, "active (unknown) and unknown, unknown restarts by systemd, since unknown; see"),
])
def test_service_that_is_not_well(mlflow_host, unit, words):
    with pytest.raises(mlflow_host.Wrong) as problem:
        mlflow_host.service({"x.service": unit, "y.service": WELL}, "x.service")
    assert words in str(problem.value)


def test_service_that_is_well(mlflow_host):
    assert mlflow_host.service({"x.service": WELL}, "x.service")[0] == f"active (running) and enabled, 0 restarts by systemd, since {SINCE}"
    # How often it was restarted is not needed to be well.
    half = {key: value for key, value in WELL.items() if key != "NRestarts"}
    assert "unknown restarts" in mlflow_host.service({"x.service": half}, "x.service")[0]
    with pytest.raises(mlflow_host.Wrong, match="systemd does not say"):
        mlflow_host.service({}, "x.service")


def test_credentials_are_told_by_name_only(mlflow_host):
    environment = {"AWS_SECRET_ACCESS_KEY": "canary", "AWS_ACCESS_KEY_ID": "canary"}
    process = subprocess.Popen(["/bin/cat"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        process.stdin.write(b"x")
        process.stdin.flush()
        process.stdout.read(1)  # it is up
        units = {"fire.service": {"MainPID": process.pid}}
        evidence, _version = mlflow_host.credentials(units, "fire.service", list(environment))
        with pytest.raises(mlflow_host.Wrong) as problem:
            mlflow_host.credentials(units, "fire.service", ["MLFLOW_S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID"])
    assert evidence == f"process {process.pid} of fire.service has AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"
    assert str(problem.value) == f"process {process.pid} of fire.service lacks MLFLOW_S3_ENDPOINT_URL"
    with pytest.raises(mlflow_host.Wrong, match="has no process"):
        mlflow_host.credentials({"fire.service": {"MainPID": 0}}, "fire.service", ["A"])
    with pytest.raises(mlflow_host.NotAsked, match="mlops_s3_access_key"):
        mlflow_host.credentials(units, "fire.service", [])


def test_store_is_asked_with_the_credentials_of_the_service(mlflow_host, monkeypatch):
    registry = Registry(location="s3://registry/mlflow/0")
    for name, module in registry.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("AWS_SECRET_ACCESS_KEY", "OTHER"):
        monkeypatch.setenv(name, "mine")
    environment = {"AWS_SECRET_ACCESS_KEY": "canary=x", "OTHER": "its"}
    with subprocess.Popen(["/bin/cat"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(b"x")
        process.stdin.flush()
        process.stdout.read(1)  # it is up
        evidence, _version = mlflow_host.artifacts(
            "http://127.0.0.1:5000", {"fire.service": {"MainPID": process.pid}}, "fire.service", ["AWS_SECRET_ACCESS_KEY", "AWS_CA_BUNDLE"])
    assert "s3://registry/mlflow/0/acceptance-probe-" in evidence and "canary" not in evidence
    assert (os.environ["AWS_SECRET_ACCESS_KEY"], os.environ["OTHER"]) == ("canary=x", "mine")
    with pytest.raises(mlflow_host.Wrong, match="has no process"):
        mlflow_host.artifacts("http://127.0.0.1:5000", {}, "fire.service", ["AWS_SECRET_ACCESS_KEY"])


class Registry:
    """MLflow's client with a registry and an artifact store in memory."""

    def __init__(self, forgets=False, location="mlflow-artifacts:/0"):
        self.models, self.artifacts, self.forgets, self.calls, self.location = {}, {}, forgets, [], location

    def modules(self):
        registry = self

        class Model:
            def __init__(self, tags):
                self.tags = tags

        class MlflowClient:
            def __init__(self, tracking_uri=None, registry_uri=None):
                pass

            def create_registered_model(self, name, description=""):
                registry.calls.append(name)
                registry.models[name] = {}

            def set_registered_model_tag(self, name, key, value):
                registry.models[name][key] = "" if registry.forgets else value

            def get_registered_model(self, name):
                return Model(registry.models[name])

            def delete_registered_model(self, name):
                del registry.models[name]

            def search_registered_models(self, wanted):
                return [name for name in registry.models if f"name = '{name}'" == wanted]

            def get_experiment(self, number):
                return types.SimpleNamespace(artifact_location=registry.location)

        class Repository:
            def __init__(self, uri):
                self.artifact_uri = uri

            def log_artifact(self, path):
                registry.calls.append(self.artifact_uri)
                registry.artifacts[self.artifact_uri] = Path(path).read_text(encoding="utf-8")

            def download_artifacts(self, name, folder):
                path = Path(folder) / name
                path.write_text("" if registry.forgets else registry.artifacts[self.artifact_uri], encoding="utf-8")
                return str(path)

            def delete_artifacts(self):
                del registry.artifacts[self.artifact_uri]

        names = ["mlflow", "mlflow.tracking", "mlflow.store", "mlflow.store.artifact",
                 "mlflow.store.artifact.artifact_repository_registry"]
        made = {name: types.ModuleType(name) for name in names}
        made["mlflow"].set_tracking_uri = lambda uri: None
        made["mlflow"].tracking = made["mlflow.tracking"]
        made["mlflow.tracking"].MlflowClient = MlflowClient
        made[names[-1]].get_artifact_repository = Repository
        return made


@pytest.mark.parametrize("probe", ["registry", "artifacts"])
@pytest.mark.parametrize("forgets", [False, True])
def test_round_trip_leaves_nothing(mlflow_host, monkeypatch, probe, forgets):
    registry = Registry(forgets)
    for name, module in registry.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    work = functools.partial(mlflow_host.artifacts, units={}, unit="", wanted=[]) if probe == "artifacts" else mlflow_host.registry
    if forgets:
        with pytest.raises(mlflow_host.Wrong, match="read back"):
            work("http://127.0.0.1:5000")
    else:
        assert "deleted" in work("http://127.0.0.1:5000")[0]
    assert registry.models == registry.artifacts == {}
    assert "acceptance-probe-" in registry.calls[0]


def test_whatever_goes_wrong_is_in_the_answers(server, reply, tmp_path):
    server.on("GET", "/health", reply("OK"))
    answers = ask("mlflow_host", {
        "java_home": str(tmp_path), "java": "1.8", "python": "3.7", "venv": str(tmp_path), "packages": ["pytest==0.1"],
        "units": {}, "services": ["fire.service"], "credentials_unit": "fire.service", "store_unit": "fire.service", "credentials": [],
        "mlflow_url": server.url})
    statuses = {check["name"]: (check["status"], check["evidence"]) for check in answers["checks"]}
    missing = f"FileNotFoundError: [Errno 2] No such file or directory: '{tmp_path}/bin/java'"
    assert statuses["Java"] == ("failed", missing)
    assert statuses["Python"][0] == "failed" and "wanted 3.7" in statuses["Python"][1]
    assert statuses["package pytest"][0] == "failed"
    assert statuses["store credentials in the Fire MLOps server's environment"][0] == "skipped"
    assert statuses["service fire.service"] == ("failed", "systemd does not say whether it runs; see systemctl status fire.service")
    assert statuses["MLflow health"] == ("passed", f"GET {server.url}/health: 200 OK")
    assert statuses["registry round trip"] == ("failed", "ModuleNotFoundError: No module named 'mlflow'")
