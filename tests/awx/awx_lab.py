"""The lab that AWX's jobs reach over SSH, and what an operator answers in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from awx_jobs import COLLECTION, templates

NAME = os.environ.get("LAB_NAME", "awx")
LAB_DIR = Path(os.environ.get("LAB_CACHE_DIR", COLLECTION / ".cache/lab")) / NAME
HOSTS = ("mlflow1", "sparkflows1", "scorer1")
USERNAME = "ansible"
JOBS_AT_A_TIME = 3

# What is there to be scored, and by what: the lab's, as the scenario offline_scoring has it.
SCORING = {"score_offline_input": "/srv/scoring/in", "score_offline_output": "/srv/scoring/out/awx"}
ROWS = 569
# What an operator answers where there is no default. A template that is new needs a line here.
ANSWERS = {
    "site": {},
    "verify": {},
    "serve models": {},
    "back up": {"backup_verify": "true"},
    # Until there is one, which the fixture jobs knows.
    "restore": {"restore_archive": "/var/backups/mlflow/none.tar.gz"},
    # To the stack of the inventory, which is what is there.
    "upgrade": {},
    "roll back": {},
    "move stores": {},
    "score offline with a workflow": {**SCORING, "score_offline_workflow_id": "7"},
    "score offline with the scorer image": {**SCORING, "score_offline_model_name": "breast-cancer-risk"},
    "score offline with a registered model": {**SCORING, "score_offline_model_name": "breast-cancer-risk", "score_offline_model_version": "1"},
}
TEMPLATES = templates()

# What changes on a machine because somebody looks at it, what its services write by themselves, and the packages that all labs share.
NOT_THE_RUNS = re.compile(
    r"^/(dev|proc|run|sys|tmp|var/(log|tmp|lib/systemd|cache/(ldconfig|mlflow-runtime))|(home/ansible|root)/\.ansible)(/|$)|^/(root|home/ansible|var/lib)?$"
)


# What an engine says that runs in a container itself: such a machine has no cgroup controllers to hand on.
OF_THE_LAB = re.compile(r"Your kernel does not support \w+ limit")


def warnings(job):
    return [said for said in job.warnings() if not OF_THE_LAB.search(said)]


class Lab:
    """The machines, and what there is to know about them."""

    environment = {**os.environ, "LAB_NAME": NAME, "ANSIBLE_CONFIG": str(COLLECTION / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    inventories = ("--inventory=inventories/lab", "--inventory=inventories/awx")

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
        # By the machine's namespaces and not by `docker exec`: once a machine has run containers of its own, the lab's engine may put nothing
        # into its control group ("device or resource busy").
        inspect = ["docker", "inspect", "--format", "{{.State.Pid}}", f"{NAME}-{host}"]
        first = subprocess.run(inspect, check=True, capture_output=True, text=True).stdout.strip()
        enter = ["nsenter", "--target", first, "--mount", "--uts", "--ipc", "--net", "--pid"]
        done = subprocess.run([*enter, "sh", "-c", script], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def mark(self):
        """From here on, changes count."""
        for host in HOSTS:
            self.sh(host, "touch /run/awx-marker && sleep 0.1")

    def changed_since_mark(self):
        """By host, the files and folders that were made, written, changed or removed."""
        found = {host: self.sh(host, "find / -xdev -cnewer /run/awx-marker") for host in HOSTS}
        return {host: [path for path in paths.splitlines() if not NOT_THE_RUNS.search(path)] for host, paths in found.items()}
