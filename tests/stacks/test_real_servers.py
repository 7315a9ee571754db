# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each stack as it is installed: its server with the guard, told what the role tells it; the published requests, a client, and a served model.

Needs a package registry, and on this computer the Python of the stack: python3.11 for MLflow 2 and 3. Spark needs its Java, too, which is 17.
Releases are kept in .cache/stacks.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import re
import shlex
import shutil
import socket
import string
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
import yaml
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.mlflow_server import mlflow_server_variables
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.model_serving import served_model_request
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.stacks import stack_environment
from playbook_run import PROJECT

FILES = PROJECT / "roles/mlflow_server/files"
GUARD = FILES / "mlflow_guard.py"
API = "/api/2.0/mlflow/"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts/"
UP = "../" * 14
SETTINGS = {"mlops_mlflow_url": "https://mlflow1:5000", "mlops_mlflow_address": "mlflow1", "mlops_address": "192.0.2.11", "mlops_mlflow_port": 5000,
            "mlops_mlflow_scheme": "https", "mlops_mlflow_proxy": True, "mlops_mlflow_login": "proxy", "mlflow_server_threads": 8,
            "mlflow_server_request_timeout": 120}  # fmt: skip
STACKS = ["mlflow-2", "mlflow-3"]
# What a server of 1.30, 2.22 or 3.17 would take, and what it would read.
LOCATIONS = ["s3://another-bucket/", "dbfs:/etc/", "/etc", "FILE:///etc", "file:/etc", "//proc/self/root", "mlflow-artifacts://evil.example.com/x",
             "mlflow-artifacts:/" + UP + "etc", "mlflow-artifacts:/x/%2e%2e/y", "mlflow-artifacts:/x;/y", "http:///#/" + UP + "etc/"]  # fmt: skip
PATHS = [UP + "etc/passwd", "..%2f" * 9 + "etc%2fpasswd", "%252e%252e%252f" * 9 + "etc%252fpasswd", "..%5c" * 9 + "etc%5cpasswd", "a%23b", "a%3fb"]

CLIENT = """
import os, sys, tempfile
import mlflow, numpy, pandas
from mlflow.tracking import MlflowClient
class Sum(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input.sum(axis=1).to_numpy()
sample, name = pandas.DataFrame({"1100": [1.0, 2.0], "1102": [0.5, 0.25]}), sys.argv[1]
mlflow.set_experiment(name)
with mlflow.start_run() as run, tempfile.TemporaryDirectory() as folder:
    mlflow.log_metric("m", 0.5)
    path = os.path.join(folder, "a file.bin")
    with open(path, "wb") as file:
        file.write(bytes(range(256)) * 8192)
    mlflow.log_artifact(path, "some folder")
    client = MlflowClient()
    got = client.download_artifacts(run.info.run_id, "some folder/a file.bin", folder)
    assert open(got, "rb").read() == open(path, "rb").read()
    mlflow.pyfunc.log_model("model", python_model=Sum(), registered_model_name=name, pip_requirements=["mlflow"],
                            signature=mlflow.models.infer_signature(sample, numpy.array([1.5, 2.25])))
client.transition_model_version_stage(name, "1", "Production")
client.set_registered_model_alias(name, "champion", "1")
assert [one.info.run_id for one in client.search_runs([run.info.experiment_id], "metrics.m > 0.1", order_by=["metrics.m DESC"])] == [run.info.run_id]
assert client.get_model_version_by_alias(name, "champion").current_stage == "Production"
"""


PARQUET = """
import io, sys
import pandas
pandas.DataFrame({f"c{number}": [1] for number in range(20_000)}).to_parquet(table := io.BytesIO())
sys.stdout.buffer.write(table.getvalue())
"""

ACCEPTANCE = PROJECT / "roles/acceptance/files"
ROWS = PROJECT / "tests/data/breast-cancer-wisconsin/data.csv"
SCORE = [ACCEPTANCE / "with_csv_files.py", ACCEPTANCE / "score.py", PROJECT / "plugins/module_utils/csv_files.py"]


def answer_of(python, code, questions, environment):
    """A program of the acceptance, as the role runs it."""
    done = subprocess.run([python, "-c", *code], input=json.dumps(questions), env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def ask(url, method, path, body=None, **headers):
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as exc:
        return exc.code, exc.read().decode("utf-8", "replace")


@contextlib.contextmanager
def running(command, environment, log, url, path, seconds=300):
    with open(log, "w", encoding="utf-8") as stream:
        process = subprocess.Popen(command, env=environment, cwd=log.parent, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        end = time.monotonic() + seconds
        while True:
            assert process.poll() is None and time.monotonic() < end, log.read_text()[-3000:]
            with contextlib.suppress(OSError):
                if ask(url, "GET", path)[0] == 200:
                    break
            time.sleep(0.5)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(60)


class Release:
    """A stack installed from its lock, with hashes, as the role does it."""

    def __init__(self, name):
        self.stack = PROJECT / "stacks" / name
        self.data = yaml.safe_load((self.stack / "stack.yml").read_text(encoding="utf-8"))
        files = ("requirements.txt", "build-constraints.txt")
        digest = hashlib.sha256(b"".join((self.stack / file).read_bytes() for file in files)).hexdigest()[:12]
        self.home = PROJECT / ".cache/stacks" / f"{name}-{digest}"
        if not (self.home / ".complete").exists():
            uv = [shutil.which("uv", path=os.path.dirname(sys.executable)) or "uv"]
            subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", self.data["python"], self.home], check=True)
            subprocess.run([*uv, "pip", "install", "--quiet", "--require-hashes", "--python", self.home / "bin/python", "--build-constraints",
                            self.stack / files[1], "--requirement", self.stack / files[0]], check=True)  # fmt: skip
            subprocess.run([*uv, "pip", "check", "--quiet", "--python", self.home / "bin/python"], check=True)
            (self.home / ".complete").touch()

    def environment(self, **more):
        return {"PATH": f"{self.home}/bin:/usr/bin:/bin", "HOME": "/tmp", "GIT_PYTHON_REFRESH": "quiet", "MLFLOW_DISABLE_TELEMETRY": "true", **more}


@pytest.fixture(name="release", params=STACKS, scope="module")
def fixture_release(request):
    return Release(request.param)


@pytest.fixture(name="url", scope="module")
def fixture_url(release, tmp_path_factory):
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    (folder / "artifacts").mkdir()
    url = f"http://127.0.0.1:{port}"
    told = mlflow_server_variables(release.data["mlflow_server"]["environment"], SETTINGS, str(GUARD))
    artifacts = f"{folder}/artifacts"
    environment = release.environment(
        **told, MLFLOW_BACKEND_STORE_URI=f"sqlite:///{folder}/mlflow.db", MLFLOW_ARTIFACTS_DESTINATION=artifacts, MLFLOW_HOST="127.0.0.1",
        MLFLOW_PORT=str(port), MLFLOW_WORKERS="1", MLFLOW_GUARD_ROOTS=json.dumps([artifacts]), MLFLOW_GUARD_SEARCH_TERMS="32")  # fmt: skip
    subprocess.run([release.home / "bin/python", FILES / "mlflow_schema.py"], env=environment, cwd=folder, check=True)
    with running([release.home / "bin/mlflow", "server"], environment, folder / "server.log", url, "/health"):
        yield url


def test_all_that_is_promised_can_be_imported(release):
    program = f"import {', '.join(release.data['imports'])}"
    subprocess.run([release.home / "bin/python", "-c", program], env=release.environment(), cwd="/tmp", check=True)


def test_locations_of_others_are_refused(url):
    answers = {location: ask(url, "POST", API + "experiments/create", {"name": "x" + hashlib.sha256(location.encode()).hexdigest(),
                                                                       "artifact_location": location})[0] for location in LOCATIONS}  # fmt: skip
    assert set(answers.values()) == {400}, answers
    assert ask(url, "POST", API + "registered-models/create", {"name": "locations"})[0] == 200
    # As a prompt, whose source 2.22 does not look at (CVE-2026-2614).
    prompt = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
    answers = {(location, bool(tags)): ask(url, "POST", API + "model-versions/create", {"name": "locations", "source": location, "tags": tags})[0]
               for location in LOCATIONS for tags in ([], prompt)}  # fmt: skip
    assert set(answers.values()) == {400}, answers


def test_paths_that_lead_elsewhere_are_refused(url):
    run = json.loads(ask(url, "POST", API + "runs/create", {"experiment_id": "0"})[1])["run"]["info"]["run_id"]
    asked = [*[("GET", ARTIFACTS + path) for path in PATHS], *[("PUT", ARTIFACTS + path) for path in PATHS],
             *[("GET", f"/get-artifact?path={path}&run_uuid={run}") for path in PATHS]]  # fmt: skip
    answers = {one: ask(url, *one, b"" if one[0] == "PUT" else None) for one in asked}
    assert {status for status, _text in answers.values()} == {400}, answers
    assert not [text for _status, text in answers.values() if "root:x:0:0" in text]


def test_names_and_searches_and_descriptions(url):
    for name in ("ris%6B", "1" * 9000):
        assert ask(url, "POST", API + "registered-models/create", {"name": name})[0] == 400
        assert ask(url, "POST", API + "experiments/create", {"name": name})[0] == 400
    status, text = ask(url, "POST", API + "runs/search", {"experiment_ids": ["0"], "max_results": 5, "filter": " and ".join(["metrics.m > 1"] * 40)})
    assert status == 400 and "mlflow_server_search_terms" in text
    run = json.loads(ask(url, "POST", API + "runs/create", {"experiment_id": "0"})[1])["run"]["info"]
    place = run["artifact_uri"].partition(":/")[2].lstrip("/")
    assert ask(url, "PUT", f"{ARTIFACTS}{place}/m/MLmodel", b"flavors: !!js/function 'function () {}'")[0] == 200
    status, text = ask(url, "GET", f"/get-artifact?path=m/MLmodel&run_uuid={run['run_id']}")
    assert status == 400 and "no plain YAML" in text


def test_closed_parts_and_other_web_sites(release, url):
    for part in json.loads(release.data["mlflow_server"]["environment"]["MLFLOW_GUARD_CLOSED"]):
        status, text = ask(url, "GET", f"/ajax-api/2.0/mlflow/{part}")
        assert status == 403 and "MLFLOW_GUARD_CLOSED" in text, part
    # Jobs, assistant and the like are served by uvicorn only.
    assert ask(url, "POST", "/ajax-api/3.0/jobs/", {})[0] in (404, 405)
    create = ("POST", API + "experiments/create", {"name": "from elsewhere"})
    assert ask(url, *create, Origin="https://evil.example.com", **{"Content-Type": "text/plain"})[0] in (400, 403)
    # The pages' own requests, as a browser sends them through the proxy.
    assert ask(url, "POST", API + "experiments/create", {"name": "of the pages"}, Origin="https://mlflow1:5000", Host="mlflow1:5000")[0] == 200


@contextlib.contextmanager
def served(release, tracking, name, folder, workers=1):
    """A model as the unit of role model_serving serves it: its process, and its address."""
    programs, port, serving = PROJECT / "roles/model_serving/files", free_port(), release.data["model_serving"]
    told = stack_environment(serving["environment"], programs=str(programs), timeout=300, workers=workers)
    environment = release.environment(
        **told, MLFLOW_TRACKING_URI=tracking, MLFLOW_HOST="127.0.0.1", MLFLOW_PORT=str(port), SERVED_MODEL_DIR=str(folder / "home/1-x"),
        SERVED_MODEL_URI=f"models:/{name}/1", SPARK_LOCAL_IP="127.0.0.1")  # fmt: skip
    (folder / "home").mkdir()
    subprocess.run([release.home / "bin/python", programs / "mlflow_fetch_model.py"], env=environment, cwd=folder, check=True)
    # As systemd does it.
    command = shlex.split(string.Template(serving["command"]).substitute(environment))
    address = f"http://127.0.0.1:{port}"
    with running([release.home / "bin" / command[0], *command[1:]], environment, folder / "model.log", address, "/ping") as process:
        yield process, address


def compared(release, address, rows, expected):
    """What the acceptance says of a model that should answer these rows with these predictions."""
    input_format = release.data["model_serving"]["input_format"]
    sample = {"model": "m", "url": f"{address}/invocations", "missing": [], "input_format": input_format, "tolerance": 0, "timeout": 300,
              "rows": rows, "rows_path": "rows.csv", "expected": expected, "expected_path": "expected.csv"}  # fmt: skip
    code = [program.read_text(encoding="utf-8") for program in SCORE]
    (check,) = answer_of(sys.executable, code, {"samples": [sample]}, os.environ)["checks"]
    return check


@pytest.mark.parametrize("workers", [1, 2])
def test_a_client_works_and_its_model_is_served(release, url, tmp_path, workers):
    name, python, input_format = f"sum{workers}", release.home / "bin/python", release.data["model_serving"]["input_format"]
    subprocess.run([python, "-c", CLIENT, name], env=release.environment(MLFLOW_TRACKING_URI=url), cwd=tmp_path, check=True)
    with served(release, url, name, tmp_path, workers) as (_process, address):
        # Names that an older one makes numbers of.
        rows = {"columns": ["1100", "1102"], "data": [[1.0, 0.5], [2.0, 0.25]]}
        assert ask(address, "POST", "/invocations", rows)[0] == 400
        for body in (rows, [{"1100": 1.0, "1102": 0.5}, {"1100": 2.0, "1102": 0.25}]):
            status, text = ask(address, "POST", "/invocations", served_model_request(body, input_format))
            assert (status, json.loads(text)) == (200, {"predictions": [1.5, 2.25]})
        # Half a megabyte of columns, which would keep pandas busy for minutes.
        many = [f"c{number}" for number in range(100_000)]
        status, text = ask(address, "POST", "/invocations", {"dataframe_split": {"columns": many, "data": [[1] * len(many)]}})
        assert status == 400 and "SERVED_MODEL_MAX_COLUMNS" in text
        table = subprocess.run([python, "-c", PARQUET], env=release.environment(), check=True, capture_output=True).stdout
        status, text = ask(address, "POST", "/invocations", table, **{"Content-Type": "application/vnd.apache.parquet"})
        assert status == 400 and "SERVED_MODEL_MAX_COLUMNS" in text
        check = compared(release, address, "1100,1102\n1.0,0.5\n2.0,0.25\n3.0,\n", "prediction\n1.5\n2.25\n3\n")
        assert check["status"] == "passed", check
    code = [(ACCEPTANCE / "mlflow_host.py").read_text(encoding="utf-8")]
    asked = {"java_home": "/nowhere", "java": "17", "python": release.data["python"], "venv": str(release.home), "packages": release.data["packages"],
             "services": [], "units": {}, "credentials_unit": "", "store_unit": "", "credentials": [], "mlflow_url": url}  # fmt: skip
    checks = answer_of(python, code, asked, release.environment())["checks"]
    assert [one for one in checks if one["status"] != "passed" and one["name"] != "Java"] == []


@pytest.fixture(name="trained", scope="module")
def fixture_trained(release, url, tmp_path_factory):
    """The lab's Spark model, trained and registered with the release: the file of its predictions."""
    found = re.findall(r'version "(\d+)', subprocess.run(["sh", "-c", "java -version 2>&1"], check=False, capture_output=True, text=True).stdout)
    if found != [release.data["java"]]:
        pytest.skip(f"no Java {release.data['java']} here")
    folder = tmp_path_factory.mktemp("training")
    environment = release.environment(MLFLOW_TRACKING_URI=url, SPARK_LOCAL_IP="127.0.0.1")
    program = [release.home / "bin/python", PROJECT / "tests/lab/train_model.py", ROWS, "risk", folder / "predictions.csv"]
    subprocess.run(program, env=environment, cwd=folder, check=True)
    return folder / "predictions.csv"


def test_a_spark_model_is_served_until_its_java_dies(release, url, trained, tmp_path):
    with served(release, url, "risk", tmp_path) as (process, address):
        check = compared(release, address, ROWS.read_text(encoding="utf-8"), trained.read_text(encoding="utf-8"))
        assert check["status"] == "passed" and check["evidence"].startswith("569 rows"), check
        java = subprocess.run(["pgrep", "--parent", str(process.pid), "--exact", "java"], check=True, capture_output=True, text=True).stdout.strip()
        os.kill(int(java), 9)
        assert process.wait(60) == -9
        assert f"Java process {java} of the model has died" in (tmp_path / "model.log").read_text(encoding="utf-8")


def test_a_registered_model_scores_a_file(release, url, trained, tmp_path):
    """The job of role batch_scoring, in one process of this computer."""
    shutil.copytree(PROJECT / "roles/batch_scoring/files/score_job", tmp_path / "score_job")
    shutil.copy(PROJECT / "plugins/module_utils/csv_files.py", tmp_path / "score_job")
    (tmp_path / "models").mkdir()
    environment = release.environment(MLFLOW_TRACKING_URI=url, SPARK_LOCAL_IP="127.0.0.1")

    def job(command, order):
        program = [release.home / "bin/python", tmp_path / "score_job", command]
        done = subprocess.run(program, input=json.dumps(order), env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    model = job("model", {"name": "risk", "version": "1", "columns": {}, "home": str(tmp_path / "models")})
    answer = job("score", {"model": model, "master": "local[2]", "prediction_column": "", "result_type": "", "extra_columns": "keep", "timeout": 300,
                           "files": [{"name": ROWS.name, "path": str(ROWS), "staged": str(tmp_path / "scored.csv")}]})  # fmt: skip
    assert answer.get("rows") == 569, answer
    with trained.open(encoding="utf-8") as expected, (tmp_path / "scored.csv").open(encoding="utf-8") as scored:
        assert [float(row["prediction"]) for row in csv.DictReader(scored)] == [float(row["prediction"]) for row in csv.DictReader(expected)]
