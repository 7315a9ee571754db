# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers to the surveys of offline scoring as they arrive: as texts, and as what ansible-core 2.19 makes of texts that AWX marks !unsafe."""

from __future__ import annotations

import json
import re
import sys

import pytest
import yaml
from playbook_run import LOCAL, PROJECT, run_in

sys.path.insert(0, str(PROJECT / "tests/awx"))

from awx_jobs import defaults, templates, variables_file  # noqa: E402

FOLDERS = {"score_offline_input": "/srv/in", "score_offline_output": "/srv/out"}
GOOD = {
    "workflow": {**FOLDERS, "score_offline_workflow_id": "7"},
    "scorer_image": FOLDERS,
    "registered_model": {**FOLDERS, "score_offline_model_name": "churn", "score_offline_model_stage": "Production"},
}
TEMPLATES = {template["extra_vars"]["score_offline_method"]: template for name, template in templates().items() if name.startswith("score")}
SURROUNDINGS = {**LOCAL, "scorer_release": "1"}
WRITERS = {"texts": json.dumps, "texts marked unsafe": variables_file}


@pytest.fixture(name="check")
def fixture_check(tmp_path):
    """Run the role's checks; gives the return code, what was said, and the model that each of the methods' roles would take."""

    def run(method, writer, **answers):
        given = {**defaults(TEMPLATES[method]), **GOOD[method], **answers, "score_offline_method": method}
        (tmp_path / "answers.yml").write_text(WRITERS[writer]({name: str(value) for name, value in given.items()}))
        play = [{"hosts": "host", "gather_facts": False, "vars": SURROUNDINGS, "tasks": [
            {"ansible.builtin.include_role": {"name": "sparkflows.mlops.offline_scoring", "tasks_from": "preflight"}},
            *({"ansible.builtin.include_vars": f"{PROJECT}/roles/{role}/defaults/main.yml"} for role in ("batch_scoring", "scorer")),
            {"ansible.builtin.debug": {"msg": "MODEL {{ [batch_scoring_model_name, batch_scoring_model_version, scorer_model_name] | to_json }}"}}]}]
        done = run_in(tmp_path, {"all": {"hosts": {"host": {}}}}, yaml.safe_dump(play), "-e", "@answers.yml")
        told = re.search(r'"msg": ("MODEL .*")', done.output)
        return done.returncode, done.output, told and json.loads(json.loads(told[1]).removeprefix("MODEL "))

    return run


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("method", GOOD)
def test_good_answers_pass(check, method, writer):
    code, said, model = check(method, writer)
    assert code == 0, said
    name, version = (GOOD[method].get(f"score_offline_model_{what}", "") for what in ("name", "stage"))
    assert model == [name, version, name]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_version_instead_of_a_stage(check, writer):
    code, said, model = check("registered_model", writer, score_offline_model_stage="", score_offline_model_version="3")
    assert code == 0, said
    assert [str(value) for value in model] == ["churn", "3", "churn"]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("method, answers, words", [
    ("workflow", {"score_offline_workflow_id": ""}, "score_offline_workflow_id is empty"),
    ("scorer_image", {"score_offline_output": ""}, "score_offline_output is empty"),
    ("registered_model", {"score_offline_model_name": ""}, "score_offline_model_name is empty"),
    ("registered_model", {"score_offline_model_stage": ""}, "Set either score_offline_model_version or score_offline_model_stage"),
    ("registered_model", {"score_offline_model_version": "3"}, "Set either score_offline_model_version or score_offline_model_stage"),
    ("registered_model", {"score_offline_timeout": "0"}, "score_offline_timeout is 0")])  # fmt: skip
def test_bad_answers_are_refused(check, method, answers, words, writer):
    code, said, _model = check(method, writer, **answers)
    assert code != 0 and words in said, said
