# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who restores which archive, and what is said of it."""

from __future__ import annotations

import json

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.answers import answer_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.backup import amount, contents
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.controller_files import controller_file_problems
from jinja2.filters import do_int

ARCHIVES = ("restore_archive", "restore_archive_path")
# Of what a survey may ask: texts without a space at their ends.
ANSWERS = {name: {} for name in (
    "restore_archive", "restore_other_site", "restore_again", "restore_accept_missing_artifacts", "restore_keep_previous")}  # fmt: skip


def restore_hosts(hosts, hostvars):
    """Those that were given an archive, in the order of the run."""
    return [host for host in hosts if any(hostvars[host].get(name) for name in ARCHIVES)]


def archive_problems(settings, looked):
    here, there = (settings[name] for name in ARCHIVES)
    if not settings["hosts"]:
        yield (f"There is no archive to restore: set restore_archive to one on the host (backup.yml makes them in {settings['backup_dir']}), or "
               "restore_archive_path to one on the controller.")  # fmt: skip
    if here and there:
        yield f"restore_archive is {here} and restore_archive_path is {there}: set one of them."
    if here and not here.startswith("/"):
        yield f"restore_archive is {here}: set it to an absolute path on the host."
    elif here and not looked[-1]["stat"].get("isreg"):
        yield f"restore_archive is {here}, which is no file on this host: correct it, or set restore_archive_path if it is on the controller."
    yield from controller_file_problems({"restore_archive_path": there})


def restore_problems(settings, looked, check_mode):
    """looked: what was found of MLflow's Python, of its settings, and of the archive on the host."""
    problems = answer_problems(settings, ANSWERS) or list(archive_problems(settings, looked))
    missing = [one["item"] for one in looked[:2] if not one["stat"]["exists"]]
    if missing and not check_mode:
        problems.append(f"{' and '.join(missing)} is not there, so there is no MLflow to restore to: run playbooks/mlflow.yml first.")
    others = [host for host in settings["hosts"] if host != settings["host"]]
    if settings["host"] in settings["hosts"] and others and not settings["is_shared"]:
        problems.append(f"{', '.join(others)} would get an archive, too, and each host has a database of its own: run it with --limit for one host.")
    if do_int(settings["restore_start_timeout"]) < 1:
        problems.append(f"restore_start_timeout is {settings['restore_start_timeout']}: set it to 1 or more.")
    return problems


def restore_announcement(found, judged, check_mode):
    """What is about to be done, or would be."""
    manifest = found["manifest"]
    what = f"the archive of {manifest['host']} ({manifest['site']}), made {manifest['created']}, with {contents(manifest)}"
    if judged["restored"]:
        return (f"{what[0].upper()}{what[1:]} was restored at {judged['restored']}, and is left alone. To restore it once more, which takes away "
                "what was logged since, set restore_again to true.")  # fmt: skip
    if check_mode:
        return (f"{what[0].upper()}{what[1:]} is whole and fits here. It would be loaded beside what serves; then MLflow would be stopped, switched "
                "to it, started and asked. Nothing was changed.")  # fmt: skip
    return f"Restoring {what}."


def restore_outcome(text, said):
    """What the program has written down of the switch. said: by systemd, if there is nothing."""
    if not text:
        return {"restored": False, "why": f"The switch did not begin: {said}. journalctl -u mlflow-restore says more."}
    # Ansible makes the message of a failure also where there is none.
    return {"why": "", **json.loads(text)}


def restore_message(outcome):
    parts = [f"{outcome['archive']} is restored: MLflow answers with all of its {contents(outcome['manifest'])}",
             f"It was away for {amount(outcome['downtime'], 'second')}", *outcome["notes"]]  # fmt: skip
    if outcome["kept"]:
        parts.append(f"What served before is kept as {' and '.join(outcome['kept'])}: remove it when it is not needed any more")
    parts.append("Served models went on as they were: serve_models.yml compares them with what is registered now, and verify.yml proves the site")
    return " ".join(f"{part.rstrip('.')}." for part in parts)
