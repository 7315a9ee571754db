"""A lab, the project as AWX checks it out, and what is launched on them."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from awx_jobs import Launcher, Project  # noqa: E402
from awx_lab import ANSWERS, JOBS_AT_A_TIME, LAB_DIR, NAME, TEMPLATES, USERNAME, Lab  # noqa: E402


@pytest.fixture(scope="session", name="lab")
def fixture_lab():
    lab = Lab()
    # For whoever works on these tests: the lab of the run before, as that has left it.
    if os.environ.get("AWX_LAB_KEPT"):
        yield lab
        return
    lab.up()
    yield lab
    lab.down()


@pytest.fixture(scope="session", name="known")
def fixture_known(lab, tmp_path_factory):
    """The inventory and the secrets of the lab."""
    path = tmp_path_factory.mktemp("inventory") / "inventory.json"
    lab.playbook("tests/awx/inventory.yml", awx_inventory_path=str(path))
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="session", name="project")
def fixture_project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("project")).update()


@pytest.fixture(scope="session", name="launcher")
def fixture_launcher(lab, known, project, tmp_path_factory):
    key = (LAB_DIR / "secrets/awx_machine_key").read_text(encoding="utf-8")
    return Launcher(tmp_path_factory.mktemp("jobs"), project, known["groups"], known["hosts"], known["secrets"], USERNAME, key, known["image"], NAME)


@pytest.fixture(scope="session", name="together")
def fixture_together():
    """Call functions side by side; gives their results by name."""

    def run(calls):
        with ThreadPoolExecutor(JOBS_AT_A_TIME) as pool:
            futures = {name: pool.submit(call) for name, call in calls.items()}
            return {name: future.result() for name, future in futures.items()}

    return run


@pytest.fixture(scope="session", name="jobs")
def fixture_jobs(lab, launcher, together, known):
    """All templates, each once, in the order in which an operator has to launch them: nothing can be served before there is a model. As in AWX they
    run in the execution environment, as its own account, with nothing of this computer but the files that are exposed to jobs."""
    launch = partial(launcher.launch, contained=True)
    declared = {host: {name: values[name] for name in ("model_serving_models", "acceptance_samples")} for host, values in launcher.hosts.items()}
    for values in launcher.hosts.values():
        values.update(model_serving_models=[], acceptance_samples=[])
    jobs = {"site": launch(TEMPLATES["site"], ANSWERS["site"])}
    if jobs["site"].status == "successful":
        lab.playbook("playbooks/lab_model.yml", "tests/lab/model_repository.yml")
    for host, values in launcher.hosts.items():
        values.update(declared[host])
    rest = {name: template for name, template in TEMPLATES.items() if name not in ("site", "verify", "restore")}
    jobs.update(together({name: partial(launch, template, ANSWERS[name]) for name, template in rest.items()}))
    ANSWERS["restore"]["restore_archive"] = jobs["back up"].artifacts.get("backups", {}).get("mlflow1", "")
    for name in ("restore", "verify"):
        jobs[name] = launch(TEMPLATES[name], ANSWERS[name])
    return jobs
