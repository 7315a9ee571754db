# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is missing for scoring files, and what came of it."""

from __future__ import annotations

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.answers import answer_problems

# Of what a survey may ask: the bounds of numbers (those of the argument spec), and texts.
ANSWERS = {
    "score_offline_input": {},
    "score_offline_output": {},
    "score_offline_host": {},
    "score_offline_model_name": {},
    "score_offline_model_version": {},
    "score_offline_model_stage": {},
    "score_offline_workflow_id": {},
    "score_offline_extra_columns": {},
    "score_offline_timeout": {"min": 1, "max": 86400},
}

VERSION_OR_STAGE = (
    "Set either score_offline_model_version or score_offline_model_stage: both would name two versions, none would leave it open which one scores."
)
NEXT = "What could be is in {}; its manifest.json says by what. Run again after correcting this: what is valid is not scored again."


def score_offline_problems(settings):
    method = settings["score_offline_method"]
    problems = []
    if not settings["score_offline_input"]:
        problems.append("score_offline_input is empty: set it to the file to score, or to a directory of CSV files, on this host.")
    if not settings["score_offline_output"]:
        problems.append("score_offline_output is empty: set it to a directory on this host for the scored files.")
    if method == "workflow" and not settings["score_offline_workflow_id"]:
        problems.append("score_offline_workflow_id is empty: set it to the id of the Sparkflows workflow that scores.")
    if method == "registered_model":
        if not settings["score_offline_model_name"]:
            problems.append("score_offline_model_name is empty: set it to the name of a registered model.")
        if bool(settings["score_offline_model_version"]) == bool(settings["score_offline_model_stage"]):
            problems.append(VERSION_OR_STAGE)
    problems += answer_problems(settings, ANSWERS)
    return problems


def score_offline_summary(plan, done, known, check_mode=False):
    """Everything that was not scored is among failed, whether the plan refused it or scoring did."""
    failed = {**plan["refused"], **done.get("failures", {})}
    return {
        "verdict": "failed" if failed else "passed",
        **known,
        "scored": list(done.get("committed", [])),
        "rows": done.get("rows", 0),
        "valid_before": list(plan["valid"]),
        "to_score": [one["name"] for one in plan["pending"]] if check_mode else [],
        "failed": failed,
    }


def score_offline_message(summary):
    failed = summary["failed"]
    count = len(failed) + len(summary["scored"]) + len(summary["valid_before"])
    lines = [f"{name}: {str(reason).strip()}" for name, reason in failed.items()]
    return "\n".join([f"{summary['host']}: {len(failed)} of {count} files could not be scored:", *lines, NEXT.format(summary["output"])])


def workflow_failures(runs, failures):
    """Besides the failures that are known: a run that could not even be started has no status."""
    found = dict(failures)
    for run in runs:
        status = run.get("status", "")
        if not run.get("skipped", False) and status != "COMPLETED":
            found[run["item"]["name"]] = run.get("msg", f"the workflow ended as {run.get('status', 'unknown')}")
    return found
