"""A lab that AWX's jobs reach over SSH, the project as AWX checks it out, and what is launched on them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from awx_jobs import COLLECTION, Launcher, Project, templates  # noqa: E402

NAME = os.environ.get("LAB_NAME", "awx")
LAB_DIR = Path(os.environ.get("LAB_CACHE_DIR", COLLECTION / ".cache/lab")) / NAME
HOSTS = ("mlflow1", "sparkflows1", "scorer1")
USERNAME = "ansible"
JOBS_AT_A_TIME = 3

# What is there to be scored, and by what: the lab's, as the scenario offline_scoring has it.
SCORING = {"score_offline_input": "/srv/scoring/in", "score_offline_output": "/srv/scoring/out/awx"}
# What an operator answers where there is no default. A template that is new needs a line here.
ANSWERS = {
    "site": {},
    "verify": {},
    "serve models": {},
    "score offline with a workflow": {**SCORING, "score_offline_workflow_id": "7"},
    "score offline with the scorer image": {**SCORING, "score_offline_model_name": "breast-cancer-risk"},
    "score offline with a registered model": {**SCORING, "score_offline_model_name": "breast-cancer-risk", "score_offline_model_version": "1"},
}
TEMPLATES = templates()

# What changes on a machine because somebody looks at it, and what its services write by themselves.
NOT_THE_RUNS = re.compile(r"^/(dev|proc|run|sys|tmp|var/(log|tmp|lib/systemd|cache/ldconfig)|(home/ansible|root)/\.ansible)(/|$)|^/(root|home/ansible|var/lib)?$")


class Lab:
    """The machines, and what there is to know about them."""

    environment = {**os.environ, "LAB_NAME": NAME, "ANSIBLE_CONFIG": str(COLLECTION / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    inventories = ("--inventory=inventories/lab", "--inventory=tests/awx/inventory")

    def playbook(self, *playbooks, **variables):
        """An administrator's run on the command line: what the lab needs, or what comes before a job."""
        command = ["ansible-playbook", *self.inventories, "--extra-vars", json.dumps(variables), *playbooks]
        done = subprocess.run(command, cwd=COLLECTION, env=self.environment, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def up(self):
        self.playbook("playbooks/lab_down.yml")
        with ThreadPoolExecutor() as pool:
            image = pool.submit(self.playbook, "tests/awx/execution_environment.yml")
            self.playbook("playbooks/lab_up.yml")
            self.playbook("tests/awx/machines.yml", "tests/lab/scoring_rows.yml", **self.machine)
            image.result()

    def down(self):
        self.playbook("playbooks/lab_down.yml")

    @property
    def machine(self):
        return {"awx_machine_key_path": str(LAB_DIR / "secrets/awx_machine_key"), "awx_machine_username": USERNAME}

    @staticmethod
    def sh(host, script):
        return subprocess.run(["docker", "exec", f"{NAME}-{host}", "sh", "-c", script], check=True, stdout=subprocess.PIPE, text=True).stdout

    def mark(self):
        """From here on, changes count."""
        for host in HOSTS:
            self.sh(host, "touch /run/awx-marker && sleep 0.1")

    def changed_since_mark(self):
        """By host, the files and folders that were made, written, changed or removed."""
        found = {host: self.sh(host, "find / -xdev -cnewer /run/awx-marker") for host in HOSTS}
        return {host: [path for path in paths.splitlines() if not NOT_THE_RUNS.search(path)] for host, paths in found.items()}


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
    return Launcher(tmp_path_factory.mktemp("jobs"), project, known["groups"], known["hosts"], known["secrets"], USERNAME, key)


@pytest.fixture(scope="session", name="together")
def fixture_together():
    """Call functions side by side; gives their results by name."""

    def run(calls):
        with ThreadPoolExecutor(JOBS_AT_A_TIME) as pool:
            futures = {name: pool.submit(call) for name, call in calls.items()}
            return {name: future.result() for name, future in futures.items()}

    return run
