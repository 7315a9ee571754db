"""On finished machines: every template as a check, and the proof from within the execution environment."""

from __future__ import annotations

import copy
import shutil
from functools import partial

import pytest
from awx_jobs import COLLECTION, Launcher
from awx_lab import ANSWERS, LAB_DIR, NAME, ROWS, TEMPLATES, warnings


@pytest.fixture(scope="module", name="checks")
def fixture_checks(lab, launcher, together, jobs):
    assert all(job.status == "successful" for job in jobs.values())
    lab.mark()
    return together({name: partial(launcher.launch, template, ANSWERS[name], job_type="check") for name, template in TEMPLATES.items()}), (
        lab.changed_since_mark())  # fmt: skip


@pytest.mark.parametrize("name", TEMPLATES)
def test_check_would_change_nothing(checks, name):
    job = checks[0][name]
    assert job.status == "successful", job.output
    assert warnings(job) == []
    assert job.changed == {}, job.output


def test_nothing_has_changed(checks):
    assert checks[1] == {host: [] for host in checks[1]}


@pytest.fixture(scope="module", name="proof")
def fixture_proof(lab, launcher, jobs, project, known, tmp_path_factory):
    """verify.yml in a container of the execution environment, as its own account, with nothing of this computer but a file exposed to jobs."""
    exposed = tmp_path_factory.mktemp("exposed") / "predictions.csv"
    shutil.copy(LAB_DIR / "breast-cancer-risk-predictions.csv", exposed)
    exposed.chmod(0o644)
    hosts = copy.deepcopy(known["hosts"])
    for values in hosts.values():
        rows = "/runner/project/tests/data/breast-cancer-wisconsin/data.csv"
        values["acceptance_samples"] = [{"model": "breast-cancer-risk", "port": 5001, "rows": rows, "expected": str(exposed)}]
    contained = Launcher(tmp_path_factory.mktemp("contained"), project, known["groups"], hosts, known["secrets"], launcher.username, launcher.key)
    return contained.launch(TEMPLATES["verify"], ANSWERS["verify"], image=known["image"], mounts=[exposed], network=NAME)


def test_proof_from_the_execution_environment(proof):
    assert proof.status == "successful", proof.output
    assert warnings(proof) == []
    assert proof.artifacts["acceptance"]["verdict"] == "passed"
    assert proof.artifacts["acceptance"]["scored_rows"] == ROWS


def test_proof_ran_what_is_checked_out(proof):
    """The collection comes with the project; the image has only what the project needs."""
    roles = {event.get("event_data", {}).get("role") for event in proof.events} - {None}
    assert any("acceptance" in role for role in roles)
    paths = {event["event_data"]["task_path"] for event in proof.events if "/roles/acceptance/" in event.get("event_data", {}).get("task_path", "")}
    assert paths and all(path.startswith("/runner/project/") for path in paths)
    assert (COLLECTION / "roles/acceptance").is_dir()
