# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether MLflow goes to other stores, and what is said of it."""

from __future__ import annotations

import json
import re

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.answers import answer_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.backup import amount, size
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.upgrade import duration, rows_in_words, stack_of

# What a survey may ask.
ANSWERS = {"store_move_only_rehearse": {}, "store_move_start_timeout": {"min": 1, "max": 3600}}
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "s3": "S3", "directory": "a directory"}


def live_stores(answer):
    """What a host says of the stores that its MLflow has; nothing of one without MLflow."""
    text = answer.get("stdout", "").strip()
    return json.loads(text) if text else {}


def kinds(settings):
    """Of the stores that are asked for. The URI may have a password, so no more of it is said."""
    place = settings["artifacts"]
    return {"database": re.split("[:+]", settings["database"])[0],
            "artifacts": "directory" if place.startswith(("/", "file:")) else place.split(":")[0]}  # fmt: skip


def changed_kinds(live, wanted):
    """(what, from, to) of each store that is of another kind than the one that has something in it."""
    has = {"database": live.get("rows") != 0, "artifacts": live.get("files", True)}
    for what, kind in wanted.items():
        if live.get(what) and live[what] != kind and has[what]:
            yield what, NAMES.get(live[what], live[what]), NAMES.get(kind, kind)


def live_stores_problems(settings, answer):
    """Whether MLflow would begin anew, since it is given stores without what it has. settings: database, artifacts, start_empty."""
    problems = []
    for what, was, wanted in changed_kinds(live_stores(answer), kinds(settings)):
        name, variable = ("database", "mlops_database_host") if what == "database" else ("artifacts", "mlops_s3_bucket")
        verb = "is" if what == "database" else "are"
        can_move = wanted in ("PostgreSQL", "S3")
        how = (f"playbooks/move_store.yml takes along what is there ({variable})" if can_move
               else f"set {variable} to what it was, for nothing takes along what is there")  # fmt: skip
        problems.append(f"MLflow's {name} {verb} in {was} and not empty, and {wanted} is asked for, where MLflow would find nothing of it: {how}. "
                        "To begin anew without it, set mlflow_stores_start_empty to true.")  # fmt: skip
    return [] if settings["start_empty"] else problems


def store_move_problems(settings, looked, answer, check_mode):
    """looked: what was found of MLflow's Python and of its settings. answer: which stores it has."""
    missing = [one["item"] for one in looked if not one["stat"]["exists"]]
    problems, live = answer_problems(settings, ANSWERS), live_stores(answer)
    if missing and not check_mode:
        problems.append(f"{' and '.join(missing)} is not there, so there is no MLflow to move: run playbooks/mlflow.yml, which sets it up with the "
                        "stores of the inventory.")  # fmt: skip
    if len(settings["hosts"]) > 1 and list(changed_kinds({**live, "rows": None, "files": True}, kinds(settings))):
        problems.append(f"The group mlflow has {', '.join(settings['hosts'])}, and one host alone is moved: leave that in the group whose database "
                        "and artifacts are to be moved, and add the others when it has the new stores.")  # fmt: skip
    if live and stack_of(live["release"]) != settings["mlops_stack"]:
        stack = stack_of(live["release"])
        problems.append(f"{live['release']} is live, and mlops_stack is {settings['mlops_stack']}: run playbooks/upgrade.yml first, or set it to "
                        f"{stack}.")  # fmt: skip
    return problems


def moves(found):
    """In words: what goes from where to where. found: database and artifacts, as the program says it."""
    database, artifacts = found["database"], found["artifacts"]
    if database:
        yield f"the database {database['from']} ({rows_in_words({name: number for name, number in database['rows'].items() if number})}) to " \
              f"PostgreSQL, {database['to']}"
    if artifacts:
        yield f"{amount(artifacts['files'], 'artifact')} ({size(artifacts['bytes'])}) of {artifacts['from']} to {artifacts['to']}"


def store_move_announcement(found, check_mode):
    """What is about to be done, or would be. found: what the program says, as text; nothing without MLflow."""
    if not found:
        return "There is no MLflow on this host yet, so nothing would be moved: mlflow.yml sets it up with the stores of the inventory."
    found = json.loads(found)
    if not found["due"]:
        return "MLflow has the stores that the inventory names: nothing is to be moved."
    what, last = " and ".join(moves(found)), found["rehearsal"]
    if not check_mode:
        return f"Moving {what}."
    said = [f"It would move {what}", "An archive would be made, and all of it copied and compared while MLflow serves",
            "Then MLflow and the Fire MLOps server would be stopped, what has changed since copied, compared, switched to and started"]  # fmt: skip
    there = (found["artifacts"] or {}).get("there")
    if there:
        said.append(f"{amount(there, 'artifact')} of them {'is' if there == 1 else 'are'} in the bucket already")
    said.append(f"The last rehearsal, {last['at']}, took {duration(last['seconds'])}, artifacts that were new to the bucket included" if last
                else "How long MLflow would be away is not known before the first rehearsal")  # fmt: skip
    return " ".join(f"{one}." for one in [*said, "Nothing was changed"])


def store_move_rehearsed(prepared):
    """prepared: what the program says when it has made the move ready."""
    parts = [f"Rehearsed in {duration(prepared['rehearsed'])}: {' and '.join(moves(prepared))}, compared with what there is"]
    if prepared["artifacts"]:
        parts.append("The artifacts stay in the bucket for the move")
    return " ".join(f"{one}." for one in [*parts, "MLflow was not stopped, and has the stores that it had"])


def store_move_outcome(text, said):
    """What the program has written down of the switch. said: by systemd, if there is nothing."""
    outcome = json.loads(text) if text else {"why": f"The switch did not begin: {said}. journalctl -u mlflow-move says more."}
    doing = outcome.get("doing", "")
    why = f"{doing}: {outcome['why']}" if doing and "why" in outcome else outcome.get("why", "")
    return {**outcome, "done": outcome.get("moved", False), "why": why}


def store_move_message(outcome):
    parts = [f"MLflow has other stores: {' and '.join(moves(outcome))}, compared before it was switched to",
             f"It was away for {amount(outcome['downtime'], 'second')}"]  # fmt: skip
    changed = sum((outcome["artifacts"] or {}).get("locations", {}).values())
    if changed:
        parts.append(f"{amount(changed, 'location')} of artifacts in the database name{'s' if changed == 1 else ''} the new place")
    parts += outcome["notes"]
    left = [*outcome["stays"], *outcome["kept"]]
    parts.append(f"What served before is untouched in {' and '.join(left)}: remove it when it is not needed any more")
    if outcome["archive"]:
        parts.append(f"The archive from before is {outcome['archive']}")
    parts.append("site.yml gives the new stores to Sparkflows and to served models, too")
    return " ".join(f"{part.rstrip('.')}." for part in parts)
