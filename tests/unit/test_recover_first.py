# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever switches begins with what a switch of before has left open; there is nothing to do where it has left nothing."""

from __future__ import annotations

import pytest
import yaml
from playbook_run import PROJECT, run

RECOVERED = '{"recovered": "put back"}'


def recovered(folder, *arguments):
    """How many changes there were, of a run of the tasks alone with a program that says what the real one says."""
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [{
        "ansible.builtin.include_tasks": str(PROJECT / "roles/restore/tasks/recover.yml"),
        "vars": {"_backup_command": ["echo", RECOVERED], "_restore_state_dir": str(folder)}}]}  # fmt: skip
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    done = run("ansible-playbook", str(folder / "play.yml"), *arguments)
    assert done.returncode == 0, done.output
    return done.changed["localhost"]


def test_what_is_open_is_put_right(tmp_path):
    (tmp_path / "state.json").write_text("{}")
    assert recovered(tmp_path) == 1 and recovered(tmp_path, "--check") == 0


def test_where_nothing_is_open_nothing_is_done(tmp_path):
    assert recovered(tmp_path) == 0


@pytest.mark.parametrize(("path", "later"), [
    ("upgrade/tasks/main.yml", "Build and prove the release beside the live one"),
    ("upgrade/tasks/rollback.yml", "Check the settings of the rollback"),
    ("store_move/tasks/main.yml", "Say what is to be done"),
])  # fmt: skip
def test_it_comes_before_anything_is_decided(path, later):
    tasks = yaml.safe_load((PROJECT / "roles" / path).read_text(encoding="utf-8"))
    places = {task["name"]: number for number, task in enumerate(tasks)}
    first = [number for number, task in enumerate(tasks) if "recover" in str(task.get("ansible.builtin.include_role", ""))
             or "recover" in str(task.get("ansible.builtin.include_tasks", ""))]  # fmt: skip
    assert first and first[0] < places[later]
