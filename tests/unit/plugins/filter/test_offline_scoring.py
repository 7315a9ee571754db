# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from hypothesis import given
from hypothesis import strategies as st

FILTERS = FilterModule().filters()
SETTINGS = {"score_offline_input": "/in", "score_offline_method": "workflow", "score_offline_model_name": "", "score_offline_model_stage": "",
            "score_offline_model_version": "", "score_offline_output": "/out", "score_offline_workflow_id": "7",
            "score_offline_host": "", "score_offline_extra_columns": "refuse", "score_offline_timeout": "60"}  # fmt: skip
MODEL = {"score_offline_method": "registered_model", "score_offline_model_name": "churn", "score_offline_workflow_id": ""}
KNOWN = {"method": "workflow", "host": "spark1", "scored_by": {"method": "workflow"}, "output": "/out"}


@pytest.mark.parametrize(("settings", "words"), [
    ({}, []), ({"score_offline_input": ""}, ["score_offline_input is empty"]),
    ({"score_offline_output": None, "score_offline_workflow_id": ""}, ["score_offline_output is empty", "score_offline_workflow_id is empty"]),
    ({"score_offline_method": "scorer_image", "score_offline_workflow_id": ""}, []),
    ({**MODEL, "score_offline_model_version": 3}, []), ({**MODEL, "score_offline_model_stage": "Production"}, []),
    ({**MODEL, "score_offline_model_name": "", "score_offline_model_version": "3"}, ["score_offline_model_name is empty"]),
    ({"score_offline_timeout": "x"}, ["score_offline_timeout is x: set it to a whole number from 1 to 86400."]),
    (MODEL, ["none would leave it open which one scores."]),
    ({**MODEL, "score_offline_model_version": 3, "score_offline_model_stage": "Production"}, ["both would name two versions"]),
])  # fmt: skip
def test_what_is_missing(settings, words):
    problems = FILTERS["score_offline_problems"]({**SETTINGS, **settings})
    assert len(problems) == len(words) and all(word in problem for word, problem in zip(words, problems))


def plan(refused=(), valid=(), pending=()):
    return {"refused": dict(refused), "valid": list(valid), "pending": [{"name": name} for name in pending]}


def test_what_came_of_it():
    done = {"committed": ["a.csv"], "rows": 7, "failures": {"b.csv": "broken"}}
    summary = FILTERS["score_offline_summary"](plan({"c.csv": "no header\n"}, ["d.csv"], ["a.csv", "b.csv"]), done, KNOWN)
    assert summary == {**KNOWN, "verdict": "failed", "scored": ["a.csv"], "rows": 7, "valid_before": ["d.csv"], "to_score": [],
                       "failed": {"c.csv": "no header\n", "b.csv": "broken"}}  # fmt: skip
    assert FILTERS["score_offline_message"](summary).splitlines() == [
        "spark1: 2 of 4 files could not be scored:", "c.csv: no header", "b.csv: broken",
        "What could be is in /out; its manifest.json says by what. Run again after correcting this: what is valid is not scored again."]  # fmt: skip


def test_where_nothing_is_scored():
    """In check mode, or if all is valid: the task that commits was skipped."""
    skipped = {"skipped": True, "changed": False}
    assert FILTERS["score_offline_summary"](plan(valid=["d.csv"]), skipped, KNOWN)["verdict"] == "passed"
    summary = FILTERS["score_offline_summary"](plan(pending=["a.csv"]), skipped, KNOWN, True)
    assert summary["to_score"] == ["a.csv"] and summary["scored"] == [] and summary["rows"] == 0


NAMES = st.sets(st.text("abc", min_size=1), max_size=4)


@given(NAMES, NAMES, NAMES)
def test_every_file_that_failed_has_a_line(refused, failed, valid):
    summary = FILTERS["score_offline_summary"](
        plan(dict.fromkeys(refused, " why "), valid, failed), {"failures": dict.fromkeys(failed, "so\n")}, KNOWN)  # fmt: skip
    lines = FILTERS["score_offline_message"](summary).splitlines()
    assert (summary["verdict"] == "failed") == bool(refused | failed)
    assert set(lines[1:-1]) == {f"{name}: {'so' if name in failed else 'why'}" for name in refused | failed}
    assert lines[0] == f"spark1: {len(refused | failed)} of {len(refused | failed) + len(valid)} files could not be scored:"


@pytest.mark.parametrize(("run", "reason"), [
    ({"status": "COMPLETED"}, None), ({"skipped": True}, None), ({"skipped": False, "status": "COMPLETED"}, None),
    ({"status": "FAILED"}, "the workflow ended as FAILED"), ({"msg": "no server", "failed": True}, "no server"),
    ({}, "the workflow ended as unknown"), ({"status": "FAILED", "msg": "said"}, "said"),
])  # fmt: skip
def test_runs_of_workflows(run, reason):
    known = {"z.csv": "not read"}
    found = FILTERS["workflow_failures"]([{**run, "item": {"name": "a.csv"}}], known)
    assert found == {**known, **({"a.csv": reason} if reason else {})} and known == {"z.csv": "not read"}
