# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers to surveys: which of them AWX takes, and those of offline scoring as they arrive. From a command line all are texts; AWX hands over
integers, and texts that it marks !unsafe."""

from __future__ import annotations

import json
import re
import sys

import pytest
import yaml
from playbook_run import LOCAL, PROJECT, run_in

sys.path.insert(0, str(PROJECT / "tests/awx"))

from awx_jobs import defaults, refused, templates, variables_file  # noqa: E402
from awx_lab import ANSWERS  # noqa: E402

FOLDERS = {"score_offline_input": "/srv/in", "score_offline_output": "/srv/out"}
GOOD = {
    "workflow": {**FOLDERS, "score_offline_workflow_id": "7"},
    "scorer_image": FOLDERS,
    "registered_model": {**FOLDERS, "score_offline_model_name": "churn", "score_offline_model_stage": "Production"},
}
TEMPLATES = {template["extra_vars"]["score_offline_method"]: template for name, template in templates().items() if name.startswith("score")}
SURROUNDINGS = {**LOCAL, "scorer_release": "1"}
WRITERS = {"a command line": lambda given: json.dumps({name: str(value) for name, value in given.items()}), "AWX": variables_file}


@pytest.mark.parametrize("name", ANSWERS)
def test_awx_takes_the_answers_of_an_operator(name):
    template = templates()[name]
    given = {**defaults(template), **ANSWERS[name]}
    assert refused(template, given) == []
    # What is not asked for is not an answer, and integers stay integers.
    assert {question["type"] for question in template["survey"] if isinstance(given.get(question["variable"]), int)} == {"integer"} & {
        question["type"] for question in template["survey"]}  # fmt: skip


@pytest.mark.parametrize("question, answer, words", [
    ({"type": "text", "min": 1}, "", "value  is too small (length is 0 must be at least 1)"), ({"type": "text", "min": 1}, 7, "to be a string"),
    ({"type": "integer", "min": 1, "max": 9}, "5", "to be an integer"), ({"type": "integer", "min": 1, "max": 9}, 10, "is too large"),
    ({"type": "integer", "min": 1, "max": 9}, 0, "is too small"), ({"type": "integer"}, True, "to be an integer"),
    ({"type": "multiplechoice", "choices": ["a"]}, "b", "one of ['a']"), ({"type": "text"}, None, "value missing")])  # fmt: skip
def test_awx_refuses_other_answers(question, answer, words):
    template = {"survey": [{"variable": "v", "required": True, **question}]}
    (problem,) = refused(template, {} if answer is None else {"v": answer})
    assert words in problem


@pytest.mark.parametrize("name", [name for name in ANSWERS if name.startswith("score")])
def test_awx_makes_no_job_of_an_empty_answer_to_a_required_question(name):
    template = templates()[name]
    required = [question["variable"] for question in template["survey"] if question["required"]]
    assert required
    for variable in required:
        assert len(refused(template, {**defaults(template), **ANSWERS[name], variable: ""})) == 1


@pytest.fixture(name="check")
def fixture_check(tmp_path):
    """Run the role's checks; gives the return code, what was said, and the model that each of the methods' roles would take."""

    def run(method, writer, **answers):
        given = {**defaults(TEMPLATES[method]), **GOOD[method], **answers, "score_offline_method": method}
        (tmp_path / "answers.yml").write_text(WRITERS[writer](given))
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
    ("scorer_image", {"score_offline_output": " "}, "score_offline_output is"),
    ("registered_model", {"score_offline_model_name": ""}, "score_offline_model_name is empty"),
    ("registered_model", {"score_offline_model_stage": ""}, "Set either score_offline_model_version or score_offline_model_stage"),
    ("registered_model", {"score_offline_model_version": "3"}, "Set either score_offline_model_version or score_offline_model_stage"),
    ("registered_model", {"score_offline_timeout": "0"}, "score_offline_timeout is 0")])  # fmt: skip
def test_bad_answers_are_refused(check, method, answers, words, writer):
    code, said, _model = check(method, writer, **answers)
    assert code != 0 and words in said, said
