"""What the tests of all scenarios share: the lab's hosts, its secrets, its report, and runs of Ansible as a user would start them."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

import pytest
import testinfra
import yaml
from playbook_run import PROJECT, run

LAB = os.environ["LAB_NAME"]
PYTHON = "/opt/mlflow/current/bin/python"
LAB_DIR = Path(os.environ.get("LAB_CACHE_DIR", PROJECT / ".cache/lab")) / LAB


def secret(name):
    return (LAB_DIR / "secrets" / name).read_text(encoding="utf-8").strip()


def lab_host(name):
    return testinfra.get_host(f"docker://{LAB}-{name}")


def inventories():
    """Those that Molecule gives to the scenario's own playbooks."""
    # pytest names the test that it runs, wherever it was started.
    scenario = (PROJECT / os.environ["PYTEST_CURRENT_TEST"].partition("::")[0]).parents[1]
    own, shared = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in (scenario / "molecule.yml", PROJECT / ".config/molecule/config.yml"))
    arguments = own.get("ansible", shared["ansible"])["executor"]["args"]["ansible_playbook"]
    return [argument.replace("${MOLECULE_PROJECT_DIRECTORY}", str(PROJECT)) for argument in arguments if argument.startswith("--inventory=")]


def ansible(program, *arguments):
    """Run a program of Ansible on the scenario's inventories."""
    return run(program, *inventories(), *arguments)


def play(*arguments):
    return ansible("ansible-playbook", *arguments)


def with_mlflow(program, *arguments):
    """A program of tests/lab, on the MLflow host with its Python and its settings."""
    command = ["sh", "-c", f'set -a; . /etc/mlflow/mlflow.env; exec {PYTHON} - "$@"', "sh", *arguments]
    source = (PROJECT / "tests/lab" / program).open(encoding="utf-8")
    return subprocess.Popen(["docker", "exec", "-i", f"{LAB}-mlflow1", *command], stdin=source, text=True, stdout=subprocess.PIPE)


def content(uri):
    """All that an MLflow has, with the checksums of its artifacts."""
    process = with_mlflow("mlflow_content.py", uri)
    output = process.communicate()[0]
    assert process.returncode == 0
    return json.loads(output)


def training_rows(number=None):
    """The rows that the lab's models were trained with, all or the first ones, as they are sent to a served model."""
    with open(PROJECT / "tests/data/breast-cancer-wisconsin/data.csv", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))[:number]
    columns = [column for column in rows[0] if column != "malignant"]
    return {"columns": columns, "data": [[float(row[column]) for column in columns] for row in rows]}


def trained(name, column="prediction"):
    """What a model of the lab predicted of each row when it was trained."""
    with open(LAB_DIR / f"{name}-predictions.csv", encoding="utf-8") as stream:
        return [float(row[column]) for row in csv.DictReader(stream)]


@pytest.fixture(name="mlflow", scope="session")
def fixture_mlflow():
    return lab_host("mlflow1")


@pytest.fixture(name="sparkflows", scope="session")
def fixture_sparkflows():
    return lab_host("sparkflows1")


@pytest.fixture(name="store", scope="session")
def fixture_store():
    return lab_host("store1")


@pytest.fixture(name="schemas", scope="session")
def fixture_schemas(store):
    """Asks for those of copies beside MLflow's tables, and of what is kept."""
    def ask():
        statement = "SELECT nspname FROM pg_namespace WHERE nspname ~ '^mlflow_'"
        return store.check_output("runuser -u postgres -- psql -XAtd mlflow -c %s", statement).split()

    return ask


@pytest.fixture(name="address", scope="session")
def fixture_address(mlflow):
    """Where the others reach MLflow."""
    return mlflow.interface("eth0").addresses[0]


@pytest.fixture(name="report", scope="session")
def fixture_report():
    return json.loads((PROJECT / "reports" / LAB / "acceptance.json").read_text(encoding="utf-8"))
