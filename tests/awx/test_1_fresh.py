"""On fresh machines: every template as a check, and every survey with answers that AWX takes and a role must not. None of it changes anything."""

from __future__ import annotations

from functools import partial

import pytest
from awx_lab import ANSWERS, TEMPLATES, warnings


def bad_answers(name):
    """What can be wrong in the answers to a survey and AWX lets through: kind -> (variable, answer). One question stands for all of its kind."""
    template, found = TEMPLATES[name], {}
    required, text = (next((question for question in template["survey"] if question["type"] == "text" and question["required"] is needed), None)
                      for needed in (True, False))  # fmt: skip
    if required:
        found["required answer that is blank"] = (required["variable"], " ")
    stray = required or text
    if stray:
        found["stray whitespace"] = (stray["variable"], f" {ANSWERS[name].get(stray['variable']) or 'x'} ")
    return found


BAD = {f"{name}: {kind}": (name, *bad) for name in TEMPLATES for kind, bad in bad_answers(name).items()}


@pytest.fixture(scope="module", name="launched")
def fixture_launched(lab, launcher, together):
    """All of it at once: nothing changes, so nothing gets in the way of anything."""
    lab.mark()
    calls = {("check", name): partial(launcher.launch, template, ANSWERS[name], job_type="check") for name, template in TEMPLATES.items()}
    calls.update({("bad", what): partial(launcher.launch, TEMPLATES[name], {**ANSWERS[name], variable: answer})
                  for what, (name, variable, answer) in BAD.items()})  # fmt: skip
    done = together(calls)
    return done, lab.changed_since_mark()


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name != "restore"])
def test_check_succeeds(launched, name):
    job = launched[0]["check", name]
    assert job.status == "successful", job.output
    assert warnings(job) == []


def test_there_is_nothing_to_restore(launched):
    job = launched[0]["check", "restore"]
    assert job.status == "failed" and "which is no file on this host" in job.text, job.output


@pytest.mark.parametrize("what", BAD)
def test_bad_answer_is_refused(launched, what):
    job, (_name, variable, _answer) = launched[0]["bad", what], BAD[what]
    assert job.status == "failed", job.output
    assert variable in job.text, job.output
    assert job.changed == {}


def test_nothing_has_changed(launched):
    assert launched[1] == {host: [] for host in launched[1]}


def test_no_survey_asks_for_a_password():
    """A password question that is left at its default hands over what AWX has stored; secrets come from credentials."""
    assert [name for name, template in TEMPLATES.items() for question in template["survey"] if question["type"] == "password"] == []
