# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup is made of, and what is said of it."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.answers import answer_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.controller_files import controller_file_problems, controller_path
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.sandbox import below, unit_path_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.systemd_versions import calendar_problems
from jinja2.filters import do_int

NUMBERS = ("backup_keep_count", "backup_keep_days", "backup_minimum_free_mb")
ARTIFACTS = ("auto", "none")
# Of what a survey may ask: texts without a space at their ends.
ANSWERS = {"backup_artifacts": {}, "backup_verify": {}}
# Folders of which the backup is made, or that others may read.
NOT_BELOW = ("mlops_config_dir", "mlops_data_dir", "mlops_home")
UNITS = ("B", "KB", "MB", "GB", "TB")
ARMOR = "-----BEGIN PGP {} KEY BLOCK-----"


def backup_program_files(paths, folder):
    """The files of the program, for mlops_files: paths on the controller, folder on the host."""
    parts = [{"path": os.path.join(folder, os.path.basename(path)), "source": path} for path in sorted(paths)]
    return [{"path": os.path.dirname(folder), "state": "directory"}, {"path": folder, "state": "directory"}, *parts]


def key_problems(path):
    problems = controller_file_problems({"backup_public_key_path": path})
    if path and not problems:
        text = Path(controller_path(path)).read_bytes().decode("utf-8", "replace")
        if ARMOR.format("PRIVATE") in text:
            problems.append(f"backup_public_key_path is {path}, which has a private key: set it to the public one (gpg --armor --export).")
        elif ARMOR.format("PUBLIC") not in text:
            problems.append(f"backup_public_key_path is {path}, which is no OpenPGP public key: set it to what gpg --armor --export writes.")
    return problems


def directory_problems(settings):
    path = settings["backup_dir"]
    problems = [*unit_path_problems({"backup_dir": path})]
    for name in NOT_BELOW:
        if below(f"{path}/", [settings[name]]):
            problems.append(f"backup_dir is {path}, which lies in {settings[name]} ({name}), of which the backup is made: set it to another place.")
    return problems


def backup_problems(settings, calendar):
    """calendar: what systemd said of backup_schedule, nothing without one."""
    problems = directory_problems(settings)
    if not settings["backup_site"]:
        problems.append("backup_site is empty: set it to a name for this site.")
    if settings["backup_artifacts"].strip() not in ARTIFACTS:
        problems.append(f"backup_artifacts is {settings['backup_artifacts']}: set it to {' or '.join(ARTIFACTS)}.")
    problems += [f"{name} is {settings[name]}: set it to 0 or more." for name in NUMBERS if do_int(settings[name], -1) < 0]
    problems += answer_problems(settings, ANSWERS)
    return [*problems, *key_problems(settings["backup_public_key_path"]), *calendar_problems("backup_schedule", calendar)]


def amount(number, word):
    return f"{number} {word}{'' if number == 1 else 's'}"


def size(number):
    unit = next(place for place in range(len(UNITS)) if number < 1024 ** (place + 1) or place == len(UNITS) - 1)
    return f"{number / 1024**unit:.{1 if unit else 0}f} {UNITS[unit]}"


def contents(manifest):
    counts = manifest["database"]["counts"]
    words = (("experiments", "experiment"), ("runs", "run"), ("registered_models", "model"), ("model_versions", "version"))
    return ", ".join(amount(counts.get(name, 0), word) for name, word in words)


def backup_message(answer):
    """What the program made, in words."""
    manifest = answer["manifest"]
    database, kept = manifest["database"], manifest["artifacts"]
    parts = [f"{answer['archive']} ({size(answer['bytes'])}) has {contents(manifest)}"]
    if kept["kept"] == "none":
        parts[0] += ", and no artifacts (backup_artifacts)"
    else:
        parts[0] += f", and {amount(kept['objects'], 'artifact')} ({size(kept['bytes'])}) {kept['kept']}"
    parts.append(f"It is of MLflow's schema {database['revision']}, release {manifest['release']['name']}")
    parts.append("Verified: " + answer["verified"] if answer["verified"] else "It was not verified (backup_verify)")
    if answer["removed"]:
        parts.append(f"Removed, as backup_keep_count and backup_keep_days say: {', '.join(answer['removed'])}")
    return " ".join(f"{part.rstrip('.')}." for part in [*parts, *answer["notes"]])
