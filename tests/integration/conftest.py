"""A lab of its own, and ansible-playbook runs against it."""

from __future__ import annotations

import os
import re
import signal
import subprocess

import pytest
from playbook_run import PROJECT, environment_in, run

NAME = "integration"
HOSTS = ("mlflow1", "sparkflows1")

# Values that must not be seen anywhere. They are given as an administrator's vaulted variables would be.
CANARIES = {
    "mlops_mlflow_password": "canary-mlflow-password-7d1f",
    "mlops_s3_access_key": "CANARYACCESSKEY7D1F",
    "mlops_s3_secret_key": "canary/s3+secret=key-7d1f",
}


class Lab:
    environment = {"LAB_NAME": NAME}

    def command(self, *arguments):
        return ["ansible-playbook", *arguments]

    def run(self, playbook, *arguments, **environment):
        """Run a playbook of the collection to its end."""
        return run(*self.command("playbooks/" + playbook, *arguments), **{**self.environment, **environment})

    def start(self, playbook, *arguments, log):
        """Start a playbook in a process group of its own, to be killed."""
        return subprocess.Popen(self.command("playbooks/" + playbook, *arguments), cwd=PROJECT, env=environment_in(**self.environment),
                                stdout=log, stderr=subprocess.STDOUT, start_new_session=True)

    @staticmethod
    def kill(process):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    @staticmethod
    def sh(host, script):
        """Run a shell script on a lab host and give back what it prints."""
        return subprocess.run(["docker", "exec", f"{NAME}-{host}", "sh", "-c", script], check=True, stdout=subprocess.PIPE, text=True).stdout

    @staticmethod
    def files_changed(host):
        """Files that differ from the image, as the engine sees them; what Ansible and systemd do on any host is left out."""
        lines = subprocess.run(["docker", "diff", f"{NAME}-{host}"], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        return sorted(line for line in lines if not re.search(r" /(root/\.ansible|root$|run|tmp|var/tmp|var/log|var/lib/systemd|dev)", line))

    def fresh(self):
        down = self.run("lab_down.yml")
        assert down.returncode == 0, down.output
        up = self.run("lab_up.yml")
        assert up.returncode == 0, up.output


@pytest.fixture(scope="session", name="lab")
def fixture_lab():
    lab = Lab()
    lab.fresh()
    yield lab
    lab.run("lab_down.yml")
