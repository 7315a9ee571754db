# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From which release a host goes to which, and back, and what is said of it."""

from __future__ import annotations

import json
import os.path

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.answers import answer_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.backup import amount

# What a survey may ask (awx/70_job_templates.yml).
ANSWERS = {"upgrade_only_rehearse": {}, "upgrade_rollback_to": {}, "upgrade_start_timeout": {"min": 1, "max": 3600}}
# How tables are called in a sentence.
WORDS = (("experiments", "experiment"), ("runs", "run"), ("metrics", "metric"), ("params", "param"), ("tags", "tag"),
         ("registered_models", "model"), ("model_versions", "version"))  # fmt: skip


def stack_of(release):
    """Name of the stack that a release was made of: its folder is called after it and a digest."""
    return release.rpartition("-")[0]


def upgrade_wanted_problems(stack, answer):
    """Whether mlflow.yml would take a database to another stack in place, with no way back. answer: of a host to where its live release leads;
    nothing of one that has no database yet, or one of another kind."""
    live = os.path.basename(answer.get("stdout", "").strip())
    if live and stack_of(live) != stack:
        return [f"{live} is live with a database, and mlops_stack is {stack}: run playbooks/upgrade.yml first, which tries it on a copy and can be "
                f"undone by rollback.yml. To stay with what is live, set mlops_stack to {stack_of(live)}."]  # fmt: skip
    return []


def common_problems(settings, looked, check_mode):
    missing = [one["item"] for one in looked[:2] if not one["stat"]["exists"]]
    if missing and not check_mode:
        yield f"{' and '.join(missing)} is not there, so there is no MLflow: run playbooks/mlflow.yml first."
    absent = [host for host in settings["hosts"] if host not in settings["run"]] if settings["mlops_database_host"] else []
    if absent:
        yield (f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not in this run, with the same database as this host: all MLflow hosts "
               "of a site go to another release together (no --limit).")  # fmt: skip
    yield from answer_problems(settings, ANSWERS)


def upgrade_problems(settings, looked, check_mode):
    """settings: also hosts (of the group mlflow) and run (hosts of this run). looked: what was found of MLflow's Python, of its settings and of its
    own login app."""
    problems = list(common_problems(settings, looked, check_mode))
    is_there, login, wanted = looked[1]["stat"]["exists"], looked[2]["stat"]["exists"], settings["mlops_mlflow_login"]
    if is_there and login != (wanted == "mlflow"):
        now = "mlflow" if login else "proxy"
        problems.append(f"mlops_mlflow_login is {wanted}, and MLflow runs with {now}: an upgrade changes the release alone, and not who knows the "
                        f"users. Set it to {now}, run upgrade.yml, and then change it with site.yml.")  # fmt: skip
    return problems


def turns(hosts, hostvars):
    """host -> due, whether something is to be switched there; migrates, whether its last upgrade made the database anew; done, what came of it."""
    return {host: hostvars[host].get("__upgrade_turn") or {"due": False} for host in hosts}


def upgrade_leader(hosts, hostvars, host, is_shared):
    """The host that makes the database anew, while those that share it wait. Who shares it with nobody leads itself. hosts: those of the run."""
    found = turns(hosts, hostvars)
    if not is_shared:
        return host
    candidates = [name for name, turn in found.items() if turn.get("migrates")] or [name for name, turn in found.items() if turn["due"]]
    return candidates[0] if candidates else host


def upgrade_left_behind(hosts, hostvars, leader):
    """Those that did not come up with what their leader has come up with. They cannot use its database any more."""
    found = turns(hosts, hostvars)
    return [host for host, turn in found.items() if turn["due"] and not turn.get("done")] if found[leader].get("done") else []


def upgrade_links(found, live):
    """What is switched of the links, and which releases that is about.

    found: what a host says of each: where live ones lead, then the staged ones, in the order of live; - of what is no link.
    live: their paths: the release, its Java, its Python.
    """
    now, then = found[:len(live)], found[len(live):]
    # A Java or Python that is used where it is has no link of ours.
    links = {path: target for path, was, target in zip(live, now, then) if target not in ("-", was, path)}
    # Without a live release nothing is to be upgraded: that is a host of check mode.
    return {"links": links if now[0] != "-" else {}, "from": os.path.basename(now[0]), "to": os.path.basename(then[0])}


def duration(seconds):
    return amount(seconds, "second") if seconds < 90 else amount(round(seconds / 60), "minute")


def upgrade_announcement(plan, rehearsal, check_mode):
    """What is about to be done, or would be. rehearsal: text of what the last one on this host has left, or nothing."""
    if plan["from"] == "-":
        return "There is no MLflow on this host yet, so nothing would be upgraded: mlflow.yml comes first."
    if not plan["links"]:
        return f"{plan['to']} is live already: nothing is to be upgraded. mlflow.yml brings settings up to date."
    if not check_mode:
        return f"Upgrading from {plan['from']} to {plan['to']}."
    last = json.loads(rehearsal) if rehearsal else None
    said = [f"From {plan['from']} it would go to a release of the stack {stack_of(plan['to'])}",
            "JDK, Python and packages would be installed beside what serves, an archive made, and the upgrade of the database rehearsed on a copy",
            "Then MLflow and the Fire MLOps server would be stopped, switched and started; served models would go on"]  # fmt: skip
    if last:
        said.append(f"The last rehearsal, {last['at']} from {last['from']} to {last['to']}, took {duration(last['seconds'])}: MLflow would be away "
                    "for that and its start")
    else:
        said.append("How long MLflow would be away is not known before the first rehearsal")
    return " ".join(f"{one}." for one in [*said, "Nothing was changed"])


def upgrade_rehearsed(prepared):
    """prepared: what the program says when it has made the upgrade ready."""
    if prepared["rehearsed"] is None:
        return (f"{prepared['to']} is ready. It has the schema that the database has, so that nothing of the database would be changed. "
                "MLflow was not stopped.")  # fmt: skip
    schema = prepared["schema"]
    return (f"{prepared['to']} is ready. Its MLflow upgraded a copy of the database from the schema {schema['from']} to {schema['to']} in "
            f"{duration(prepared['rehearsed'])}, with every row that it had. MLflow was not stopped.")  # fmt: skip


def upgrade_outcome(text, said, unit):
    """What the program has written down of the switch: done, and why not. said: by systemd, if there is nothing."""
    outcome = json.loads(text) if text else {"from": "", "why": f"The switch did not begin: {said}. journalctl -u {unit} says more."}
    doing = outcome.get("doing", "")
    why = f"{doing}: {outcome['why']}" if doing and "why" in outcome else outcome.get("why", "")
    # A rollback says when it was that was upgraded, too.
    done = outcome.get("rolled_back", outcome.get("upgraded", False))
    return {**outcome, "done": done, "why": why, "rollback_to": stack_of(outcome["from"])}


def kept(outcome):
    if outcome["kept"]:
        yield f"What served before is kept as {' and '.join(outcome['kept'])}: remove it when it is not needed any more"


def upgrade_message(outcome):
    schema = outcome["schema"]
    parts = [f"MLflow runs {outcome['to']} instead of {outcome['from']}",
             f"Its database has the schema {schema['to']} instead of {schema['from']}, with every row that it had"
             if schema["from"] != schema["to"] else "Its database is as it was",
             f"It was away for {amount(outcome['downtime'], 'second')}", *outcome["notes"], *kept(outcome),
             "rollback.yml goes back to it"]  # fmt: skip
    if outcome["archive"]:
        parts.append(f"The archive from before is {outcome['archive']}")
    parts.append("Served models went on with the release that they were started with; verify.yml proves the site")
    return " ".join(f"{part.rstrip('.')}." for part in parts)


def rows_in_words(rows):
    said = [amount(rows[table], word) for table, word in WORDS if rows.get(table)]
    others = sum(number for table, number in rows.items() if table not in dict(WORDS))
    return ", ".join([*said, *([amount(others, "other row")] if others else [])])


def rollback_plan(upgraded, settings):
    """Whether there is something to go back to that is asked for. upgraded: what the last upgrade that was not rolled back has left, as text, or
    nothing."""
    last, wanted = json.loads(upgraded) if upgraded else None, settings["upgrade_rollback_to"] or settings["mlops_stack"]
    return {"last": last, "wanted": wanted, "due": bool(last) and wanted == stack_of(last["from"]),
            "migrates": bool(last) and any(part["kind"] != "entries" for part in last.get("parts", []))}  # fmt: skip


def rollback_problems(settings, looked, plan, check_mode):
    problems, last = list(common_problems(settings, looked, check_mode)), plan["last"]
    if last and not plan["due"] and plan["wanted"] != stack_of(last["to"]):
        problems.append(f"The last upgrade was from {last['from']} to {last['to']}, and {plan['wanted']} is asked for (upgrade_rollback_to, or "
                        f"mlops_stack): rollback.yml goes back to {stack_of(last['from'])} only.")
    wanted, then = settings["mlops_mlflow_login"], (last or {}).get("login", "proxy")
    if plan["due"] and then != wanted:
        problems.append(f"mlops_mlflow_login is {wanted}, and MLflow ran with {then} before the upgrade, to which it goes back: set it to {then}, "
                        "run mlflow.yml, and then rollback.yml.")  # fmt: skip
    leader = settings["leader"]
    if not plan["due"] and leader["turn"].get("due") and leader["turn"].get("migrates"):
        problems.append(f"{leader['host']} goes back with the database that this host uses, too, and there is no upgrade of this host that could be "
                        "rolled back: its MLflow could not use that database. Remove it from here first (uninstall.yml --limit, which keeps the "
                        "database), take this host out of the group mlflow until the others are back, and set it up again then (mlflow.yml).")
    return problems


def rollback_announcement(plan, check_mode):
    last = plan["last"]
    if not last:
        return "There is no upgrade of this host that could be rolled back: nothing is to be done."
    if not plan["due"]:
        return (f"{last['to']} is live, as mlops_stack says: nothing is to be done. To go back to {last['from']}, set mlops_stack to "
                f"{stack_of(last['from'])}.")  # fmt: skip
    what = f"from {last['to']} to {last['from']}, with the database as it was at {last['at']}"
    if check_mode:
        return f"It would go back {what}. What was logged since, and so is not in that database, would be saved as a file first. Nothing was changed."
    return f"Going back {what}."


def rollback_message(outcome):
    since = outcome["since"]
    parts = [f"MLflow runs {outcome['to']} again, instead of {outcome['from']}, with the database of {outcome['upgraded']}"
             if since else f"MLflow runs {outcome['to']} again, instead of {outcome['from']}, with the database as it is",
             f"It was away for {amount(outcome['downtime'], 'second')}"]  # fmt: skip
    if outcome["file"]:
        logged = rows_in_words(since["rows"]) or "nothing"
        parts.append(f"Since then were logged or changed: {logged}. It is saved as {outcome['file']}, and no part of the database any more")
    elif since:
        parts.append("Nothing was logged since")
    parts.append(f"mlops_stack has to be {stack_of(outcome['to'])} from now on")
    return " ".join(f"{part.rstrip('.')}." for part in [*parts, *outcome["notes"], *kept(outcome)])
