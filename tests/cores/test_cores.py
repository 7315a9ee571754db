"""Each series of ansible-core that is claimed, on the built archive, with the collections of its package `ansible`. A warning is a failure."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from generations import GENERATIONS, environment, python_for
from playbook_run import PROJECT, run

# Preflights of all roles on this computer, mostly on bad input; the proof; and a site of nginx, whose template is handed a variable.
PREFLIGHTS = [*(f"tests/unit/test_{name}.py" for name in ("deploy_modes", "host_roles", "service_roles", "serving_firewall", "stores", "verify")),
              "tests/roles/test_model_site.py"]  # fmt: skip
WARNING = re.compile(r"\[(?:DEPRECATION )?WARNING\].*")


@pytest.fixture(name="archive", scope="module")
def fixture_archive(tmp_path_factory):
    """Where the archive has been unpacked, as collections lie."""
    folder = tmp_path_factory.mktemp("collections")
    subprocess.run([Path(sys.executable).with_name("ansible-galaxy"), "collection", "build", "--output-path", folder], cwd=PROJECT, check=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder / "ansible_collections/sparkflows/mlops", filter="data")
    return folder


@pytest.fixture(name="programs", params=GENERATIONS)
def fixture_programs(request):
    if not python_for(request.param):
        pytest.skip(f"ansible-core {request.param} is left out: no Python of this computer can run it")
    return environment(request.param) / "bin"


def succeeds(command, **environment):
    done = subprocess.run(command, cwd=PROJECT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment})  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]


def test_plugins(archive, programs):
    succeeds([programs / "python", "-m", "pytest", "-p", "no:cacheprovider", "-o", f"pythonpath={archive} tests tests/doubles",
              "-o", "filterwarnings=error::DeprecationWarning:ansible_collections.*", "tests/unit/plugins"],
             COLLECTIONS=str(archive))  # fmt: skip


def test_playbooks_and_tasks(archive, programs, tmp_path):
    """They are read, with all files of tasks, and all that they refer to is there."""
    collection = archive / "ansible_collections/sparkflows/mlops"
    tasks = sorted(collection.glob("roles/*/tasks/*.yml"))
    imports = [{"ansible.builtin.import_role": {"name": f"sparkflows.mlops.{path.parts[-3]}", "tasks_from": path.stem}} for path in tasks]
    (tmp_path / "tasks.yml").write_text(yaml.safe_dump([{"hosts": "mlflow", "tasks": imports}]))
    playbooks = [f"sparkflows.mlops.{path.stem}" for path in sorted(collection.glob("playbooks/*.yml"))]
    assert len(tasks) > 50 and len(playbooks) > 8
    done = run(programs / "ansible-playbook", "--syntax-check", "-i", collection / "inventories/production", *playbooks, "tasks.yml",
               folder=tmp_path, ANSIBLE_COLLECTIONS_PATH=str(archive), ANSIBLE_HOME=str(tmp_path / "home"))  # fmt: skip
    assert done.returncode == 0 and not WARNING.findall(done.output), done.output[-5000:]


def test_values_arrive_as_typed(programs):
    succeeds([sys.executable, "-m", "pytest", "tests/unit/test_awx_answers.py::test_values_arrive_as_typed"], ANSIBLE_PROGRAMS=str(programs))


def test_preflights(archive, programs, tmp_path):
    log = tmp_path / "log"
    succeeds([sys.executable, "-m", "pytest", *PREFLIGHTS], ANSIBLE_PROGRAMS=str(programs), COLLECTIONS=str(archive), ANSIBLE_LOG_PATH=str(log))
    text = log.read_text(encoding="utf-8", errors="replace")
    assert "PLAY RECAP" in text and sorted(set(WARNING.findall(text))) == []


def test_awx(programs):
    """Objects are made in a double of AWX's API, by the modules of either collection."""
    succeeds([sys.executable, "-m", "pytest", "tests/roles/test_awx.py", "-k", "where_both_are"], ANSIBLE_PROGRAMS=str(programs))


def test_sanity(programs):
    subprocess.run([Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", "--python", programs / "python", "distlib", "pip",
                    "virtualenv"], check=True)  # fmt: skip
    succeeds([PROJECT / "tests/sanity/run"], PATH=f"{programs}:{os.environ['PATH']}")
