# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host is looked at once in a run, with the questions of all roles at hand. A role that nobody knew of then has its own asked later."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from playbook_run import LOCAL, run_in

COLLECTION = Path(__file__).resolve().parents[2]
QUESTIONS = {
    path.parts[-3]: sorted(name for name in yaml.safe_load(path.read_text(encoding="utf-8")) if re.match("_.+_question$", name))
    for path in COLLECTION.glob("roles/*/vars/main.yml")
}

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
%s
    - ansible.builtin.copy:
        content: "{{ __mlops_answers | to_json }}"
        dest: answers.json
        mode: "0600"
"""
TASK = "    - {name}: {{name: sparkflows.mlops.{role}, tasks_from: preflight{more}}}\n"
ROLES = ("java_runtime", "python_runtime", "mlflow_runtime")


def looks(output):
    return len(re.findall(r"^TASK .*: (?:Look at the host, and ask|Ask) what roles want .*\nok: ", output, re.M))


# How a playbook may name roles: all of them are known from the beginning, or each when its turn comes.
@pytest.mark.parametrize("include, more, times", [("import_role", ", rolespec_validate: false", 1), ("include_role", "", 3)])
def test_each_question_is_asked_once(tmp_path, include, more, times):
    variables = {**LOCAL, "mlops_home": str(tmp_path), "mlops_data_dir": str(tmp_path), "java_runtime_method": "existing",
                 "java_runtime_home": str(tmp_path), "python_runtime_method": "existing", "python_runtime_home": str(tmp_path),
                 "mlflow_runtime_min_free_bytes": 0}  # fmt: skip
    (tmp_path / "bin").mkdir()
    for name in ("java", "python3.7"):
        program = tmp_path / "bin" / name
        program.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_1\"' >&2\n")
        program.chmod(0o755)
    tasks = "".join(TASK.format(name=f"ansible.builtin.{include}", role=role, more=more) for role in ROLES)
    done = run_in(tmp_path, {"all": {"hosts": {"one": variables}}}, PLAY % tasks)
    assert done.returncode == 0, done.output[-5000:]
    answers = json.loads((tmp_path / "answers.json").read_text())
    assert set(answers) == {name for role in ROLES for name in QUESTIONS[role]}
    assert looks(done.output) == times, done.output


def test_each_answer_is_read():
    assert sum(map(len, QUESTIONS.values())) > 8
    used = " ".join(path.read_text(encoding="utf-8") for path in COLLECTION.glob("roles/*/*/*.yml"))
    assert [name for names in QUESTIONS.values() for name in names if f"__mlops_answers.{name}" not in used] == []


@pytest.mark.parametrize(("role", "variable"), [("java_runtime", "java_runtime_method"), ("serving_firewall", "serving_firewall_backend")])
def test_a_question_is_none_where_the_setting_that_it_is_made_of_is_wrong(tmp_path, role, variable):
    """The host is looked at before a role's arguments are checked, and it is these that say what is wrong."""
    variables = {**LOCAL, "mlops_home": str(tmp_path), "mlops_data_dir": str(tmp_path), variable: "other"}
    task = TASK.format(name="ansible.builtin.include_role", role=role, more="")
    done = run_in(tmp_path, {"all": {"hosts": {"one": variables}}}, PLAY % task)
    assert done.returncode != 0 and f"value of {variable} must be one of" in done.text, done.output[-5000:]
