# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers to surveys: which of them AWX takes, and those of offline scoring as they arrive. From a command line all are texts; AWX hands over
integers, and texts that it marks !unsafe."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys

import pytest
import yaml
from playbook_run import LOCAL, PROGRAMS, PROJECT, UNSEEN, preflights, problem_of, run, run_in

sys.path.insert(0, str(PROJECT / "tests/awx"))

from awx_jobs import Files, data, defaults, inject, refused, templates, variables_file  # noqa: E402
from awx_lab import ANSWERS  # noqa: E402

FOLDERS = {"score_offline_input": "/srv/in", "score_offline_output": "/srv/out"}
GOOD = {
    "workflow": {**FOLDERS, "score_offline_workflow_id": "7"},
    "scorer_image": FOLDERS,
    "registered_model": {**FOLDERS, "score_offline_model_name": "churn", "score_offline_model_stage": "Production"},
}
TEMPLATES = {template["extra_vars"]["score_offline_method"]: template for name, template in templates().items() if name.startswith("score")}
SURROUNDINGS = {**LOCAL, "scorer_release": "1"}
# As the ansible.cfg of a checkout has it.
AS_TYPED = {"ANSIBLE_CALLBACKS_ENABLED": "sparkflows.mlops.as_typed"}


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


# name: (method, answers, words of the problem; none where all is well)
CASES = {
    **{method: (method, {}, []) for method in GOOD},
    "version": ("registered_model", {"score_offline_model_stage": "", "score_offline_model_version": "3"}, []),
    "no-workflow": ("workflow", {"score_offline_workflow_id": ""}, ["score_offline_workflow_id is empty"]),
    "no-output": ("scorer_image", {"score_offline_output": ""}, ["score_offline_output is empty"]),
    "blank-output": ("scorer_image", {"score_offline_output": " "}, ["score_offline_output is"]),
    "no-model": ("registered_model", {"score_offline_model_name": ""}, ["score_offline_model_name is empty"]),
    "neither": ("registered_model", {"score_offline_model_stage": ""}, ["Set either score_offline_model_version or score_offline_model_stage"]),
    "both": ("registered_model", {"score_offline_model_version": "3"}, ["Set either score_offline_model_version or score_offline_model_stage"]),
    "no-time": ("registered_model", {"score_offline_timeout": "0"}, ["score_offline_timeout is 0"]),
}
# As what an answer arrives.
WRITERS = {"a command line": str, "AWX": lambda answer: {"__ansible_unsafe": answer} if isinstance(answer, str) else answer}
# The model that each of the methods' roles would take.
MODEL = [yaml.safe_load((PROJECT / f"roles/{role}/defaults/main.yml").read_text(encoding="utf-8"))[f"{role}_model_{what}"]
         for role, what in (("batch_scoring", "name"), ("batch_scoring", "version"), ("scorer", "name"))]  # fmt: skip


def answered(method, answers):
    return {**defaults(TEMPLATES[method]), **GOOD[method], **answers, "score_offline_method": method}


@pytest.fixture(name="found", scope="module")
def fixture_found(tmp_path_factory):
    """Case and writer -> the problem that the role's checks found, and the model that would be taken."""
    hosts = {f"{case}, {writer}": {name: write(answer) for name, answer in answered(method, answers).items()}
             for case, (method, answers, _words) in CASES.items() for writer, write in WRITERS.items()}  # fmt: skip
    common = {**SURROUNDINGS, **UNSEEN, "role": "offline_scoring", "told": {"model": MODEL}}
    return preflights(tmp_path_factory.mktemp("answers"), hosts, common)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("case", CASES)
def test_answers_are_checked(found, case, writer):
    method, answers, words = CASES[case]
    one = found[f"{case}, {writer}"]
    if not problem_of(one, words):
        given = {**GOOD[method], **answers}
        name, stage = (given.get(f"score_offline_model_{what}", "") for what in ("name", "stage"))
        assert [str(value) for value in one["model"]] == [name, stage or given.get("score_offline_model_version", ""), name]


@pytest.fixture(name="check")
def fixture_check(tmp_path):
    """Run the role's checks on what AWX hands over; gives the return code, what was said, and the model that would be taken."""

    def run(method, callbacks=AS_TYPED, **answers):
        (tmp_path / "answers.yml").write_text(variables_file(answered(method, answers)))
        play = [{"hosts": "host", "gather_facts": False, "vars": {**SURROUNDINGS, "model": MODEL}, "tasks": [
            {"ansible.builtin.include_role": {"name": "sparkflows.mlops.offline_scoring", "tasks_from": "preflight"}},
            {"ansible.builtin.debug": {"msg": "MODEL {{ model | to_json }}"}}]}]  # fmt: skip
        done = run_in(tmp_path, {"all": {"hosts": {"host": {}}}}, yaml.safe_dump(play), "-e", "@answers.yml", **callbacks)
        told = re.search(r'"msg": ("MODEL .*")', done.output)
        return done.returncode, done.output, told and json.loads(json.loads(told[1]).removeprefix("MODEL "))

    return run


def test_a_model_may_be_called_like_a_number(check):
    answers = {"score_offline_model_name": "0123", "score_offline_model_stage": "", "score_offline_model_version": "007"}
    code, said, model = check("registered_model", **answers)
    assert code == 0, said
    assert model == ["0123", "007", "0123"]


def test_without_the_callback_a_job_of_awx_is_refused(check):
    code, said, _model = check("workflow", callbacks={}, awx_job_id=7)
    assert code != 0 and "Write callbacks_enabled = sparkflows.mlops.as_typed into the section defaults of ansible.cfg" in said, said
    code, said, _model = check("workflow", awx_job_id=7)
    assert code == 0, said


# Texts that YAML takes for something else where they have no quotes, and those that Ansible could take for templates or structures.
TEXTS = ["0123", "yes", "null", "1e3", "2024-01-01", "{{ x }}", "a: b", "~", "off", "1_000", "12:30:45", "{% raw %}"]


def launched(folder, texts):
    """What AWX hands over if surveys' text questions are answered, and credentials filled in, with texts: the arguments, and what was typed."""
    typed, arguments = {}, []
    (folder / "env").mkdir()
    files = Files(folder, folder)
    for kind in data("awx_credential_types"):
        inputs = {field["id"]: next(texts) for field in kind["inputs"]["fields"]}
        inject(kind, inputs, {}, arguments, files)
        for variable, template in kind["injectors"]["extra_vars"].items():
            typed[variable] = inputs[template.strip("{} ")]
    asked = {question["variable"] for template in templates().values() for question in template["survey"] if question["type"] == "text"}
    answers = {variable: next(texts) for variable in sorted(asked - {"score_offline_host"})} | {"score_offline_host": ""}
    typed |= answers
    # An inventory's or a workflow's variables may have more than texts.
    answers["nested"] = typed["nested"] = {"0123": ["0123", 5, True, {"yes": "yes"}], "on": None}
    own = {"template": "{{ score_offline_host ~ 'from the template' }}"}
    (folder / "env/extravars").write_text(variables_file({**own, **answers}, own))
    return ["-e", f"@{folder}/env/extravars", *arguments], {**typed, "template": "from the template"}


def test_values_arrive_as_typed(tmp_path):
    """In the checkout that is AWX's project. With each core in tests/cores."""
    arguments, typed = launched(tmp_path, itertools.cycle(TEXTS))
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": [
        {"ansible.builtin.copy": {"content": "{{ lookup('ansible.builtin.vars', *names) | to_json }}", "dest": "{{ folder }}/found", "mode": "0600"}},
        {"ansible.builtin.command": {"argv": ["printf", "%s\\n", *(f"{{{{ {name} }}}}" for name in list(typed)[:7])]}, "register": "printed"},
        {"ansible.builtin.copy": {"content": "{{ printed.stdout }}", "dest": "{{ folder }}/printed", "mode": "0600"}}]}]))  # fmt: skip
    # What a person gives: an encrypted file, a text in place of a file, and what comes later goes before.
    (tmp_path / "vault.yml").write_text("in_vault: !unsafe '0123'\nlater: !unsafe '0123'\n")
    (tmp_path / "password").write_text("opens the vault")
    with_password = ("--vault-password-file", tmp_path / "password")
    subprocess.run([PROGRAMS / "ansible-vault", "encrypt", *with_password, tmp_path / "vault.yml"], check=True, capture_output=True)
    typed |= {"in_vault": "0123", "in_place": "0123", "later": "7", "number": 83}
    own = {"names": list(typed), "folder": str(tmp_path), **LOCAL}
    done = run(PROGRAMS / "ansible-playbook", "-i", "localhost,", tmp_path / "play.yml", *with_password, *arguments, "-e", f"@{tmp_path}/vault.yml",
               "-e", "{in_place: !unsafe '0123', number: 0123}", "-e", "later=7", "-e", json.dumps(own))  # fmt: skip
    assert done.returncode == 0 and "WARNING" not in done.output, done.output
    assert dict(zip(typed, json.loads((tmp_path / "found").read_text()))) == typed
    assert (tmp_path / "printed").read_text().splitlines() == list(typed.values())[:7]
