"""Runs of Ansible that are measured, and labs of a bench's own to run it in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[2]
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)\s+skipped=(\d+)", re.MULTILINE)


class Host(NamedTuple):
    """What the recap of a run says of a host."""

    executed: int
    changed: int
    unreachable: int
    failed: int
    skipped: int

    @property
    def finished(self):
        return not self.unreachable and not self.failed


class Measured(NamedTuple):
    seconds: float
    processor: float
    status: int
    output: str

    @property
    def hosts(self):
        return {name: Host(*map(int, numbers)) for name, *numbers in RECAP.findall(self.output)}


def measure(*command, may_fail=False, **environment):
    """What a command took: seconds, and seconds of the controller's processors."""
    began, before = time.perf_counter(), os.times()
    done = subprocess.run(command, cwd=PROJECT, env={**os.environ, **environment}, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
    took, after = time.perf_counter() - began, os.times()
    if done.returncode and not may_fail:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout[-4000:]}")
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return Measured(took, processor, done.returncode, done.stdout)


def unchanged(run):
    """The run, which has changed nothing; else this is the end."""
    changed = {name: host.changed for name, host in run.hosts.items() if host.changed}
    if changed:
        sys.exit(f"A run that should change nothing has changed something: {changed}")
    return run


class Lab:
    """A lab with an inventory of its own, on the variables of inventories/lab. groups: {group: {host: its variables}}; variables: for all hosts.

    with Lab(name, groups) as lab: ... It is made when up() is called, and gone at the end.
    """

    def __init__(self, name, groups, **variables):
        self.name = name
        self.inventory = PROJECT / ".cache" / name
        every = dict.fromkeys(("mlflow", "sparkflows", "scorers", "spark", "stores", "balancers"), {})
        children = {group: {"hosts": hosts} for group, hosts in {**every, **groups}.items()}
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        self.hosts = {"all": {"hosts": {"localhost": local}, "vars": variables, "children": {"lab": {"children": children}}}}

    def run(self, playbook, *arguments, **more):
        command = ["ansible-playbook", "--inventory", str(self.inventory), playbook, *arguments]
        return measure(*command, **{"LAB_NAME": self.name, **more})

    def up(self, fresh=(), **environment):
        """Make what is not there; the fresh machines anew."""
        self.inventory.mkdir(parents=True, exist_ok=True)
        # hosts.json goes before group_vars of this folder, as a host's own variables do.
        (self.inventory / "hosts.json").write_text(json.dumps(self.hosts))
        for linked in ("group_vars", "settled.yml"):
            (self.inventory / linked).unlink(missing_ok=True)
            (self.inventory / linked).symlink_to(PROJECT / "inventories/lab" / linked)
        for host in fresh:
            measure("docker", "rm", "--force", "--volumes", self.machine(host))
        self.run("playbooks/lab_up.yml", **environment)

    def machine(self, host):
        return f"{self.name}-{host}"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self.inventory.exists():
            self.run("playbooks/lab_down.yml")
            for file in self.inventory.iterdir():
                file.unlink()
            self.inventory.rmdir()
