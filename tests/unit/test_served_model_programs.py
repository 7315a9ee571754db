"""What role model_serving puts beside a model: the workers' watch over their Java process, and the fetching of the files. With real processes."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

FILES = Path(__file__).resolve().parents[2] / "roles" / "model_serving" / "files"

# A worker of gunicorn as far as the program sees it. It starts its Java before the model is loaded, or later, and says so.
WORKER = """
import importlib.util, logging, os, subprocess, sys, time
program, java, when, settled = sys.argv[1:]
specification = importlib.util.spec_from_file_location("model_workers", program)
module = importlib.util.module_from_spec(specification)
specification.loader.exec_module(module)
module.INTERVAL, module.SETTLED = 0.05, float(settled)
class Worker:
    log = logging.getLogger()
    wsgi = None
os.environ["SERVED_MODEL_MAX_COLUMNS"] = "9"
start = lambda: print(subprocess.Popen([java, "60"]).pid, flush=True)
if when == "before":
    start()
    time.sleep(0.2)
module.post_worker_init(Worker)
if when == "after":
    start()
time.sleep(60)
"""


@pytest.fixture(name="worker")
def fixture_worker(tmp_path):
    """worker(...) -> the process, and the id of its Java process."""
    shutil.copy(shutil.which("sleep"), tmp_path / "java")
    started = []

    def start(when="before", settled=10, name="java"):
        if name != "java":
            shutil.copy(tmp_path / "java", tmp_path / name)
        process = subprocess.Popen([sys.executable, "-c", WORKER, str(FILES / "model_workers.py"), str(tmp_path / name), when, str(settled)],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        child = int(process.stdout.readline())
        started.append((process, child))
        time.sleep(0.5)
        return process, child

    yield start
    for process, child in started:
        process.kill()
        process.communicate()
        with_child = Path(f"/proc/{child}")
        if with_child.exists():
            os.kill(child, signal.SIGKILL)


def test_worker_ends_with_its_java(worker):
    process, java = worker()
    assert process.poll() is None
    os.kill(java, signal.SIGKILL)
    assert process.wait(5) == -signal.SIGKILL
    assert f"Java process {java} of the model has died" in process.stderr.read()


def test_java_that_came_later_counts_when_it_stays(worker):
    process, java = worker(when="after", settled=0.2)
    os.kill(java, signal.SIGKILL)
    assert process.wait(5) == -signal.SIGKILL


@pytest.mark.parametrize("case", [{"when": "after", "settled": 10}, {"name": "python-tool"}])
def test_a_tool_that_ends_does_not_count(worker, case):
    process, child = worker(**case)
    os.kill(child, signal.SIGKILL)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)


# ---- columns
def load_workers():
    return load("model_workers")


def load(name):
    specification = importlib.util.spec_from_file_location(name, FILES / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FILES))
        specification.loader.exec_module(module)
    return module


@pytest.fixture(name="workers")
def fixture_workers(monkeypatch, tmp_path):
    module = load_workers()
    monkeypatch.setenv("SERVED_MODEL_DIR", str(tmp_path))
    (tmp_path / "MLmodel").write_text(yaml.safe_dump({"signature": {"inputs": json.dumps([{"name": "x", "type": "double"}])}}))
    return module


def by_gunicorn(workers, kind, body):
    """The status and the answer; the model behind it answers with what it has read."""

    def model(environ, start_response):
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]

    said = []
    environ = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": kind, "wsgi.input": io.BytesIO(body)}
    answer = workers.Narrow(model, workers.most_columns())(environ, lambda status, headers: said.append(status))
    return int(said[0].split()[0]), b"".join(answer)


def by_uvicorn(workers, kind, body):
    """The same with the body in two parts, after which whoever asked goes."""

    async def model(scope, receive, send):
        read, message = b"", {"more_body": True}
        while message["more_body"]:
            message = await receive()
            read += message["body"]
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": read})

    parts = [{"type": "http.disconnect"}, {"type": "http.request", "body": body[3:], "more_body": False},
             {"type": "http.request", "body": body[:3], "more_body": True}]  # fmt: skip
    said = []

    async def receive():
        return parts.pop()

    async def send(message):
        said.append(message)

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", kind.encode())]}
    asyncio.run(load("model_app").Narrow(model, workers.most_columns())(scope, receive, send))
    return said[0]["status"], b"".join(message["body"] for message in said[1:])


POSTS = pytest.mark.parametrize("post", [by_gunicorn, by_uvicorn])


MANY = [f"c{number}" for number in range(100_000)]
SPLIT = "application/json; format=pandas-split"


@POSTS
@pytest.mark.parametrize("kind, body", [
    (SPLIT, {"columns": MANY, "data": [[1] * len(MANY)]}),
    (SPLIT, {"data": [[1] * len(MANY)]}),
    (SPLIT, {"columns": ["x"], "data": [dict.fromkeys(MANY, 1)]}),
    ("application/json; format=pandas-records", [dict.fromkeys(MANY[at:at + 100], 1) for at in range(0, len(MANY), 100)]),
    ("application/json", {"inputs": dict.fromkeys(MANY, [1])}),
    ("application/json", {"instances": [dict.fromkeys(MANY, 1)]}),
    ("application/json", {"dataframe_split": {"columns": MANY, "data": [[1] * len(MANY)]}}),
    ("application/json", {"dataframe_split": {"data": [[1] * len(MANY)]}, "columns": ["x"]}),
    ("application/json; charset=utf-8", {"dataframe_records": [dict.fromkeys(MANY, 1)]}),
    ("text/csv", ",".join(MANY) + "\n"),
    ("text/csv", "\n\nx\n" + ",".join(MANY) + "\n"),
    ("text/csv", '"' + '","'.join(MANY) + '"\n'),
])  # fmt: skip
def test_requests_with_very_many_columns_are_refused_at_once(workers, post, kind, body):
    began = time.process_time()
    status, answer = post(workers, kind, (body if isinstance(body, str) else json.dumps(body)).encode())
    assert status == 400
    assert json.loads(answer)["message"] == "The request has 100000 columns, and this model takes 1001 at most (SERVED_MODEL_MAX_COLUMNS)."
    assert time.process_time() - began < 5


@POSTS
@pytest.mark.parametrize("kind, body", [
    ("application/json", b'{"dataframe_split": 1}'), ("application/json", b'{"dataframe_split": {"data": 1}}'),
    (SPLIT, b'{"columns": ["x"], "data": [[1]]}'), ("application/json", b'[{"x": 1}]'), ("application/json", b"[" * 100_000), (SPLIT, b'{"data": 1}'),
    ("text/csv", b"x\n1\n"), ("text/csv", b""), ("text/csv", b"\xff\n"), ("text/csv", b"x\x00\n"),
    ("application/json", b"null"), ("", b"x"), ("image/png", b"\x00" * 99),
])  # fmt: skip
def test_other_requests_reach_the_model_as_they_are(workers, post, kind, body):
    assert post(workers, kind, body) == (200, body)


def test_what_is_no_request_with_rows_is_left_to_the_model():
    async def model(scope, receive, send):
        await send(scope["type"])

    async def ask(scope):
        said = []

        async def send(message):
            said.append(message)

        async def receive():
            return {"type": "http.disconnect"}

        await load("model_app").Narrow(model, 9)(scope, receive, send)
        return said

    assert asyncio.run(ask({"type": "lifespan"})) == ["lifespan"] and asyncio.run(ask({"type": "http", "method": "GET"})) == ["http"]
    # Who goes before the request is complete gets no answer.
    assert asyncio.run(ask({"type": "http", "method": "POST", "headers": []})) == []


def test_columns_of_parquet(workers, monkeypatch):
    """The release has pyarrow. tests/stacks sends real Parquet."""

    def read_metadata(stream):
        if stream.read(1) != b"P":
            raise ValueError("no Parquet")
        return SimpleNamespace(num_columns=1 + len(stream.read()))

    read = SimpleNamespace(read_metadata=read_metadata)
    monkeypatch.setitem(sys.modules, "pyarrow", SimpleNamespace(parquet=read))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", read)
    answers = [by_uvicorn(workers, workers.PARQUET, body)[0] for body in (b"P" * 1002, b"P" * 1001, b"X" * 1002)]
    assert answers == [400, 200, 200]


KEYS = st.sampled_from(["data", "columns", "inputs", "dataframe_split", "dataframe_records", "a", "b"])
JSON = st.recursive(st.integers(0, 9), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner))


@given(JSON)
def test_a_request_has_no_more_columns_than_one_more_than_commas(data):
    """Others are not read."""
    body = json.dumps(data).encode()
    for kind in ("application/json", "text/csv"):
        assert load_workers().columns(kind, body) <= body.count(b",") + 1


@pytest.mark.parametrize("model, most", [
    ({}, 10_000),
    ({"signature": None}, 10_000),
    ({"signature": {"inputs": json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 20_000]}}])}}, 10_000),
    ({"signature": {"inputs": json.dumps([{"name": name, "type": "double"} for name in MANY[:20_000]])}}, 21_000),
])  # fmt: skip
def test_a_model_takes_as_many_columns_as_it_knows_and_some_more(workers, tmp_path, monkeypatch, model, most):
    (tmp_path / "MLmodel").write_text(yaml.safe_dump(model))
    assert workers.most_columns() == most
    monkeypatch.setenv("SERVED_MODEL_MAX_COLUMNS", "50000")
    assert workers.most_columns() == 50_000


# ---- Sparkling Water
STAGE = '{{"class":"{}","uid":"GBM_1"}}'


@pytest.fixture(name="given")
def fixture_given(workers, tmp_path, monkeypatch):
    """given(class of a stage, what the site has set) -> what pyspark is told before a worker starts."""
    package, metadata = tmp_path / "packages/sparkling_water", tmp_path / "models/1/sparkml/stages/0_GBM_1/metadata"
    for folder in (package, metadata):
        folder.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "sparkling_water_assembly.jar").touch()
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("SERVED_MODEL_DIR", str(tmp_path / "models/1"))

    def ask(stage, before=None):
        (metadata / "part-00000").write_text(STAGE.format(stage))
        monkeypatch.delenv("PYSPARK_SUBMIT_ARGS", raising=False)
        if before:
            monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", before)
        workers.on_starting(None)
        return os.environ.get("PYSPARK_SUBMIT_ARGS")

    yield ask
    sys.modules.pop("sparkling_water", None)


MOJO, FOREST = "ai.h2o.sparkling.ml.models.H2OGBMMOJOModel", "org.apache.spark.ml.regression.RandomForestRegressionModel"


def test_a_model_of_sparkling_water_has_its_java(given, tmp_path):
    option = f"--driver-class-path {tmp_path}/packages/sparkling_water/sparkling_water_assembly.jar"
    assert given(MOJO) == f"{option} pyspark-shell"
    assert given(MOJO, "--driver-memory 4g pyspark-shell") == f"{option} --driver-memory 4g pyspark-shell"


def test_others_and_stacks_without_it_are_left_alone(given, tmp_path):
    assert given(FOREST) is None and given(FOREST, "pyspark-shell") == "pyspark-shell"
    shutil.rmtree(tmp_path / "packages")
    importlib.invalidate_caches()
    assert given(MOJO) is None


# ---- the files
@pytest.fixture(name="fetch")
def fixture_fetch(tmp_path, server, reply):
    """Runs the program with a registry that has one file for each model. Only the path that MLflow 1, 2 and 3 have is answered."""

    def location(request):
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(request["target"]).query))
        return reply({"artifact_uri": f"store:/{asked['name']}/{asked['version']}"})

    server.on("GET", "/api/2.0/mlflow/model-versions/get-download-uri", location)
    artifacts = tmp_path / "lib" / "mlflow" / "artifacts"
    artifacts.mkdir(parents=True)
    (artifacts.parent / "__init__.py").touch()
    (artifacts / "__init__.py").write_text(
        "import os\n"
        "def download_artifacts(artifact_uri, dst_path):\n"
        "    if os.environ.get('REGISTRY') == 'down':\n"
        "        raise OSError('no registry')\n"
        "    os.mkdir(dst_path + '/model')\n"
        "    open(dst_path + '/model/MLmodel', 'w').write(artifact_uri)\n"
        "    os.mkdir(dst_path + '/model/data')\n"
        "    open(dst_path + '/model/data/part-0.snappy.parquet', 'w').write('PAR1 1 2 3 PAR1')\n"
        "    return dst_path + '/model'\n")
    home = tmp_path / "churn"
    home.mkdir()

    def run(release, registry="up", **more):
        environment = dict(os.environ, PYTHONPATH=str(tmp_path / "lib"), SERVED_MODEL_DIR=str(home / release), REGISTRY=registry,
                           SERVED_MODEL_URI="models:/churn/" + release, MLFLOW_TRACKING_URI=server.url + "/", **more)
        done = subprocess.run([sys.executable, FILES / "mlflow_fetch_model.py"], env=environment, capture_output=True, text=True, check=False)
        run.said = done.stdout + done.stderr
        return done.returncode, {path.relative_to(home).as_posix(): path.read_text() for path in home.rglob("*")
                                 if path.is_file() and not path.name.startswith(".")}

    run.home, run.server = home, server
    return run


def fetched(version):
    return {f"{version}/MLmodel": f"store:/churn/{version}", f"{version}/data/part-0.snappy.parquet": "PAR1 1 2 3 PAR1"}


def test_files_are_fetched_once(fetch):
    assert fetch("1") == (0, fetched(1))
    assert fetch("1", registry="down") == (0, fetched(1))


@pytest.mark.parametrize(("more", "sent"), [
    ({}, None), ({"MLFLOW_TRACKING_USERNAME": "a", "MLFLOW_TRACKING_PASSWORD": "b", "MLFLOW_TRACKING_TOKEN": "t"}, "Basic YTpi"),
    ({"MLFLOW_TRACKING_TOKEN": "t"}, "Bearer t"),
])  # fmt: skip
def test_the_registry_is_asked_with_the_login_of_mlflow_s_client(fetch, more, sent):
    assert fetch("1", **more) == (0, fetched(1))
    assert [request["headers"].get("Authorization") for request in fetch.server.sent("GET")] == [sent]


def test_a_registry_that_does_not_know_it(fetch, reply):
    fetch.server.on("GET", "/api/2.0/mlflow/model-versions/get-download-uri", reply({"error_code": "RESOURCE_DOES_NOT_EXIST"}, status=404))
    assert fetch("1") == (1, {}) and "HTTPError: 404 Client Error" in fetch.said


def test_files_of_a_version_that_is_not_served_any_more_go(fetch):
    fetch("1")
    assert fetch("2") == (0, fetched(2))
    assert sorted(path.name for path in fetch.home.iterdir()) == [".digests.json", "2"]


def test_half_a_download_is_no_model(fetch):
    assert fetch("1", registry="down") == (1, {})
    assert f"models:/churn/1 could not be fetched from {fetch.server.url}/ to {fetch.home}/1: OSError: no registry" in fetch.said
    assert fetch("1") == (0, fetched(1))


@pytest.mark.parametrize("damage, said", [
    (lambda home: os.truncate(home / "1/data/part-0.snappy.parquet", 6), "data/part-0.snappy.parquet is not as it was fetched"),
    (lambda home: (home / "1/data/part-0.snappy.parquet").unlink(), "data/part-0.snappy.parquet cannot be read (No such file or directory)"),
    (lambda home: shutil.rmtree(home / "1/data"), "data/part-0.snappy.parquet cannot be read"),
    (lambda home: (home / ".digests.json").write_text('{"MLmo'), "what was fetched is not known"),
    (lambda home: (home / ".digests.json").unlink(), "what was fetched is not known"),
])  # fmt: skip
def test_damaged_files_are_fetched_anew(fetch, damage, said):
    fetch("1")
    damage(fetch.home)
    assert fetch("1", registry="down")[0] == 1
    assert f"The files of the model in {fetch.home}/1 are damaged: {said}" in fetch.said
    assert fetch("1") == (0, fetched(1))
    assert fetch("1", registry="down") == (0, fetched(1))


def test_what_python_keeps_beside_a_model_s_code_is_no_damage(fetch):
    fetch("1")
    (fetch.home / "1/code").mkdir()
    (fetch.home / "1/code/steps.pyc").write_text("x")
    assert fetch("1", registry="down")[0] == 0
