"""Runs of Ansible, for all tests of the collection."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path

from ansible_collections.sparkflows.mlops.plugins.modules import mlops_host_info
from module_arguments import patch_module_args

PROJECT = Path(__file__).resolve().parents[1]
# The programs of Ansible: those beside this Python, or another core's.
PROGRAMS = Path(os.environ.get("ANSIBLE_PROGRAMS", Path(sys.executable).parent))
# Where the collection is found: in the checkout, or installed.
COLLECTIONS = os.environ.get("COLLECTIONS", str(PROJECT / "collections"))
# This computer, as a host.
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
# A host that is not looked at, where what would be found is not asked about: that takes a third of the time of a short run.
UNSEEN = {"__mlops_host": {}}


def tell(hosts="ansible_play_hosts", name="found"):
    """The last task of a play, for found_in: what each of these hosts has found. It takes a second to have a module write that into a file."""
    return f"""
    - ansible.builtin.debug: {{msg: "FOUND {{{{ dict({hosts} | zip({hosts} | map('extract', hostvars, '{name}'))) | to_json }}}}"}}
      run_once: true
"""


# Each case is a host of the group cases. Besides the problem that the preflight of its `role` found, what `told` asks for is noted.
PREFLIGHTS = """
- hosts: cases
  gather_facts: false
  environment: "{{ surroundings | default({}) }}"
  tasks:
    - block:
        - ansible.builtin.include_role: {name: "sparkflows.mlops.{{ role }}", tasks_from: preflight, public: true}
        - ansible.builtin.set_fact: {found: "{{ dict(told | default({}), problem='') }}"}
      rescue:
        - ansible.builtin.set_fact: {found: {problem: "{{ ansible_failed_result.msg }}"}}
""" + tell("groups['cases']")


class Run:
    """What a run of ansible-playbook said and did."""

    def __init__(self, completed):
        self.returncode = completed.returncode
        self.output = completed.stdout
        # Messages are folded by the YAML output; one line is easier to search.
        self.text = re.sub(r"\s+", " ", self.output)
        self.changed = {host: int(number) for host, number in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", self.output, re.M)}


def environment_in(folder=PROJECT, **more):
    """The environment of a run in a folder: it is the folder's ansible.cfg that counts, not the caller's."""
    # On a terminal, Molecule asks for colors.
    return {**os.environ, "ANSIBLE_CONFIG": f"{folder}/ansible.cfg", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0", "COLUMNS": "500", **more}


def run(*command, folder=PROJECT, **environment):
    """Run a program of Ansible to its end, by default as a user of the checkout would."""
    return Run(subprocess.run(command, cwd=folder, env=environment_in(folder, **environment), check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))  # fmt: skip


def run_with(folder, variables, *arguments, **environment):
    """Run a playbook from the checkout, on the hosts.json of a folder. Variables come from a file there, as secrets among them should."""
    (folder / "vars.json").write_text(json.dumps(variables))
    return run(PROGRAMS / "ansible-playbook", "-i", folder / "hosts.json", "-e", f"@{folder}/vars.json", *arguments, **environment)


def run_in(folder, inventory, playbook, *arguments, **environment):
    """Run a text as a playbook, in a folder that finds the collection as if it were installed and has no ansible.cfg."""
    (folder / "hosts.json").write_text(json.dumps(inventory))
    (folder / "play.yml").write_text(playbook)
    return run(PROGRAMS / "ansible-playbook", "-i", "hosts.json", "play.yml", "--forks=4", *arguments, folder=folder,
               ANSIBLE_COLLECTIONS_PATH=COLLECTIONS, ANSIBLE_HOME=str(folder / "home"), **environment)  # fmt: skip


def found_in(folder, inventory, playbook):
    """What a playbook has told."""
    done = run_in(folder, inventory, playbook)
    assert done.returncode == 0, done.output[-5000:]
    return told_by(done)


def told_by(done):
    return json.loads(json.loads(re.search(r'"msg": ("FOUND .*")', done.output)[1]).removeprefix("FOUND "))


def looked(mlops_home="/opt/mlflow", mlops_data_dir="/var/lib/mlflow", **_variables):
    """What the topology would find on this computer, for hosts that are this computer. A look in the run takes a second, or one for each host."""
    said = io.StringIO()
    with patch_module_args({"paths": [mlops_home, mlops_data_dir, "/tmp"]}), redirect_stdout(said), suppress(SystemExit):
        mlops_host_info.main()
    return {"__mlops_host": json.loads(said.getvalue())["host"]}


def preflights(folder, cases, common, before="", groups=(), playbook=PREFLIGHTS):
    """Case -> what the preflight of its role found. A play may come before; cases may be in more groups: (group, case)."""
    # Not in the group mlflow: each would ask for all others' addresses.
    children = {"cases": {"hosts": cases}, "mlflow": {"hosts": {"mlflow1": {}}}, "sparkflows": {"hosts": {"fire1": {}}},
                **{group: {"hosts": {case: {}}} for group, case in groups}}  # fmt: skip
    return found_in(folder, {"all": {"vars": {**LOCAL, **looked(**common), **common}, "children": children}}, before + playbook)


def problem_of(found, words):
    """The problem that was found: it has these words, and there is one only if there are words."""
    problem = re.sub(r"\s+", " ", found["problem"])
    assert bool(problem) == bool(words), problem
    assert all(word in problem for word in words), problem
    return problem
