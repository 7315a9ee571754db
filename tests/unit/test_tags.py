# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`--tags` with a role's name runs all of the role, its checks first. What an include brings has the tags of what stands around the include and those
of `apply`, and not those of the include itself: a file whose tasks have none is included and then nothing of it runs, without a word."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
import yaml
from playbook_run import LOCAL, run_in

COLLECTION = Path(__file__).resolve().parents[2]
ROLES = sorted(path.parents[1].name for path in COLLECTION.glob("roles/*/tasks/main.yml"))
LAB = {"demo", "lab_up", "lab_down", "lab_model", "lab_h2o_model"}
PLAYBOOKS = sorted(path.stem for path in COLLECTION.glob("playbooks/*.yml") if path.stem not in LAB)
INCLUDES = ("ansible.builtin.include_tasks", "ansible.builtin.include_role")


@functools.cache
def load(path):
    return yaml.load((COLLECTION / path).read_text(encoding="utf-8"), yaml.CSafeLoader)


def tags_of(node):
    tags = (node or {}).get("tags") or []
    return set(tags if isinstance(tags, list) else [tags])


def tasks_in(nodes, around=frozenset()):
    """Each task, with the tags of what stands around it."""
    for node in nodes or []:
        if "block" in node:
            for part in ("block", "rescue", "always"):
                yield from tasks_in(node.get(part), around | tags_of(node))
        else:
            yield node, around


def roles_of(play):
    """The roles that a play runs, whichever way it names them."""
    imported = (task.get("ansible.builtin.import_role", {}) for task, _around in tasks_in(play.get("tasks")))
    return {name.split(".")[-1] for name in [*play.get("roles", []), *(role["name"] for role in imported if "tasks_from" not in role and role)]}


def reached(task, around):
    """The tags with which what the task brings is run, and not only the task itself."""
    include = next((task[name] for name in INCLUDES if name in task), None)
    if include is None:
        return around | tags_of(task)
    return around | (tags_of(include.get("apply")) & tags_of(task) if isinstance(include, dict) else set())


@pytest.mark.parametrize("role", ROLES)
def test_the_name_of_a_role_is_the_tag_of_all_that_it_does(role):
    tag = "always" if role == "topology" else role
    assert [task["name"] for task, around in tasks_in(load(f"roles/{role}/tasks/main.yml")) if tag not in reached(task, around)] == []


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_what_a_playbook_does_besides_has_the_tag_of_its_role(playbook):
    plays = load(f"playbooks/{playbook}.yml")
    known = {"always", *(role for play in plays for role in roles_of(play))}
    for play in plays:
        for part in ("pre_tasks", "tasks", "post_tasks"):
            for task, around in tasks_in(play.get(part), tags_of(play)):
                # A role's own tasks have its name.
                assert "ansible.builtin.import_role" in task or reached(task, around) & known, task["name"]


def test_everything_is_checked_first():
    """In site.yml a role's own check is left out, because preflight.yml has made it."""
    checked = set(re.findall(r"\b[a-z_]+\b", (COLLECTION / "playbooks/preflight.yml").read_text(encoding="utf-8")))
    playbooks = [play["ansible.builtin.import_playbook"] for play in load("playbooks/site.yml")]
    used = {role for name in playbooks for play in load(f"playbooks/{name}") for role in roles_of(play)}
    assert len(used) > 10
    # What roles use in their turn.
    used |= {name.split(".")[-1] for role in used for path in COLLECTION.glob(f"roles/{role}/tasks/*.yml")
             for name in re.findall(r"name: (sparkflows\.mlops\.[a-z_]+)", path.read_text(encoding="utf-8"))}  # fmt: skip
    assert {role for role in used if (COLLECTION / f"roles/{role}/tasks/preflight.yml").exists()} <= checked


PLAY = """
- hosts: all
  gather_facts: false
  roles:
    - {role: sparkflows.mlops.java_runtime, when: inventory_hostname == 'java'}
    - {role: sparkflows.mlops.python_runtime, when: inventory_hostname == 'python'}
    - {role: sparkflows.mlops.mlflow_runtime, when: inventory_hostname == 'release'}
"""


def test_a_tag_runs_the_checks(tmp_path):
    hosts = {
        "java": {"java_runtime_method": "existing"}, "python": {"python_runtime_method": "existing"},
        "release": {"mlflow_runtime_min_free_bytes": 10**18},
    }  # fmt: skip
    inventory = {"all": {"vars": {**LOCAL, "mlops_home": str(tmp_path), "mlops_data_dir": str(tmp_path)}, "hosts": hosts}}
    done = run_in(tmp_path, inventory, PLAY, "--tags=java_runtime,python_runtime,mlflow_runtime")
    for words in ("java: java_runtime_method is existing,", "python: python_runtime_method is existing,", "release: there is not enough free disk"):
        assert words in done.text, done.output
    assert done.changed == dict.fromkeys(hosts, 0)
