"""What role model_serving puts beside a model: the workers' watch over their Java process, and the fetching of the files. With real processes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FILES = Path(__file__).resolve().parents[2] / "roles" / "model_serving" / "files"

# A worker of gunicorn as far as the program sees it. It starts its Java before the model is loaded, or later, and says so.
WORKER = """
import importlib.util, logging, subprocess, sys, time
program, java, when, settled = sys.argv[1:]
specification = importlib.util.spec_from_file_location("model_workers", program)
module = importlib.util.module_from_spec(specification)
specification.loader.exec_module(module)
module.INTERVAL, module.SETTLED = 0.05, float(settled)
class Worker:
    log = logging.getLogger()
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


# ---- the files
@pytest.fixture(name="fetch")
def fixture_fetch(tmp_path, monkeypatch):
    """Runs the program with a registry that has one file for each model."""
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

    def run(release, registry="up"):
        environment = dict(os.environ, PYTHONPATH=str(tmp_path / "lib"), SERVED_MODEL_DIR=str(home / release), REGISTRY=registry,
                           SERVED_MODEL_URI="models:/churn/" + release, MLFLOW_TRACKING_URI="http://127.0.0.1:5000")
        done = subprocess.run([sys.executable, FILES / "mlflow_fetch_model.py"], env=environment, capture_output=True, text=True, check=False)
        run.said = done.stdout + done.stderr
        return done.returncode, {path.relative_to(home).as_posix(): path.read_text() for path in home.rglob("*")
                                 if path.is_file() and not path.name.startswith(".")}

    run.home = home
    return run


def fetched(version):
    return {f"{version}/MLmodel": f"models:/churn/{version}", f"{version}/data/part-0.snappy.parquet": "PAR1 1 2 3 PAR1"}


def test_files_are_fetched_once(fetch):
    assert fetch("1") == (0, fetched(1))
    assert fetch("1", registry="down") == (0, fetched(1))


def test_files_of_a_version_that_is_not_served_any_more_go(fetch):
    fetch("1")
    assert fetch("2") == (0, fetched(2))
    assert sorted(path.name for path in fetch.home.iterdir()) == [".digests.json", "2"]


def test_half_a_download_is_no_model(fetch):
    assert fetch("1", registry="down") == (1, {})
    assert f"models:/churn/1 could not be fetched from http://127.0.0.1:5000 to {fetch.home}/1: OSError: no registry" in fetch.said
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
