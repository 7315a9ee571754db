"""A look-alike as the machine of a lab, and ansible-playbook runs against it. What they did is printed as a table in the end."""

from __future__ import annotations

import subprocess
import time

import pytest
from playbook_run import PROJECT, run

NAME = "lookalike"
# os-release -> how far it is taken: all of site.yml, or its preflight alone where only os-release differs from one that is taken further.
PLATFORMS = {"rocky9": "site", "oracle9": "preflight", "ubuntu2404": "site", "ubuntu2204": "preflight"}
INVENTORIES = ("--inventory=inventories/one_machine", "--inventory=tests/lookalikes/inventory")
ROWS = pytest.StashKey()


class LookAlike:
    def __init__(self, platform):
        self.platform = platform
        self.machine = f"{NAME}-machine1"

    def play(self, playbook, *arguments):
        return run("ansible-playbook", *INVENTORIES, playbook, *arguments, LAB_NAME=NAME, LOOK_ALIKE=self.platform)

    def sh(self, script):
        """Run a shell script on the machine and give back what it prints."""
        return subprocess.run(["docker", "exec", self.machine, "sh", "-c", script], check=True, stdout=subprocess.PIPE, text=True).stdout

    def report(self):
        return PROJECT / "reports" / NAME / "acceptance.json"


def passed(done):
    assert done.returncode == 0, done.output[-10000:]
    return done


@pytest.fixture(name="machine", scope="module", params=PLATFORMS)
def fixture_machine(request):
    """A machine of its platform on which nothing has run yet."""
    machine = LookAlike(request.param)
    began = time.monotonic()
    passed(machine.play("tests/lookalikes/image.yml"))
    passed(machine.play("playbooks/lab_down.yml"))
    passed(machine.play("playbooks/lab_up.yml"))
    if machine.platform.startswith("ubuntu"):
        # That it is there is the lab's way to let others reach its double of Sparkflows.
        machine.sh("systemctl disable --quiet --now firewalld && rm -r /etc/firewalld")
    yield machine
    passed(machine.play("playbooks/lab_down.yml"))
    request.config.stash.setdefault(ROWS, []).append((machine.platform, PLATFORMS[machine.platform], (time.monotonic() - began) / 60))


def pytest_terminal_summary(terminalreporter, config):
    for platform, what, minutes in config.stash.get(ROWS, []):
        terminalreporter.write_line(f"{platform:<12} {what:<10} {minutes:5.1f} minutes")
