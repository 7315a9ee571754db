# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared models: put into one shape, checked, and found in the registry."""

from __future__ import annotations

import re

from ansible_collections.sparkflows.mlops.plugins.module_utils.registered_versions import find_version

DEFAULTS = {
    "name": "",
    "version": "",
    "stage": "",
    "stack": "",
    "port": "",
    "workers": 1,
    "timeout": 300,
    "sample": None,
    "memory_max": "infinity",
    "state": "present",
}
# systemd takes names of 255 characters: mlflow-model@<name>@2.service.
LONGEST = 232
STAGES = {stage.lower(): stage for stage in ("None", "Staging", "Production", "Archived")}


def number(value):
    """AWX gives numbers as text. -1 for what is no number."""
    text = str(value).strip()
    return int(text) if re.fullmatch(r"\d{1,9}", text) else -1


def served_models(models):
    found = []
    for declared in models:
        model = {key: default if declared.get(key) in (None, "") else declared[key] for key, default in DEFAULTS.items()}
        for key in ("port", "workers", "timeout"):
            model[key] = number(model[key])
        for key in ("name", "version", "stage", "stack", "memory_max", "state"):
            model[key] = str(model[key]).strip()
        model["stage"] = STAGES.get(model["stage"].lower(), model["stage"])
        # What systemd allows in the name of an instance.
        model["instance"] = re.sub(r"[^A-Za-z0-9_.-]", "_", model["name"])
        found.append(model)
    return found


def problems_of(model, first, last):
    if model["state"] not in ("present", "absent"):
        yield f"state is '{model['state']}', set it to present or absent."
    if model["state"] != "present":
        return
    if bool(model["version"]) == bool(model["stage"]):
        yield "set either version or stage."
    if len(model["instance"]) > LONGEST:
        yield f"name has {len(model['name'])} characters, and {LONGEST} is the most that the name of a unit has place for."
    if model["version"] and number(model["version"]) < 1:
        yield f"version is '{model['version']}', set it to the number of a registered version."
    if model["stage"] and model["stage"] not in STAGES.values():
        yield f"stage is '{model['stage']}', the registry knows {', '.join(STAGES.values())}."
    if not first <= model["port"] <= last:
        yield (
            f"port must be in the range of the serving ports, {first} to {last}: set it, "
            "or move mlops_serving_port_first and mlops_serving_port_last."
        )
    for key in ("workers", "timeout"):
        if model[key] < 1:
            yield f"{key} must be a number from 1 on."
    if not re.fullmatch(r"infinity|\d+(\.\d+)?[KMGT%]?", model["memory_max"]):
        yield f"memory_max is '{model['memory_max']}', set it to something like 2G."
    if model["sample"] is not None and not (isinstance(model["sample"], (dict, list)) and model["sample"]):
        yield "sample must be rows as the model takes them, a list of records or columns and data."


def served_model_problems(models, first, last):
    problems = []
    for position, declared in enumerate(models, 1):
        model = served_models([declared])[0]
        where = f"model_serving_models, {model['name'] or f'entry {position}'}: "
        problems += [
            f"{where}'{key}' is no setting of a model, there are {', '.join(DEFAULTS)}."
            for key in declared
            if key not in DEFAULTS
        ]
        if not model["name"]:
            problems.append(f"{where}name is missing.")
        problems += [where + problem for problem in problems_of(model, int(first), int(last))]
    wanted = served_models(models)
    for key, what in (("instance", "are served under the same name"), ("port", "have the same port")):
        users = {}
        for model in wanted:
            if model["state"] == "present" or key == "instance":
                users.setdefault(model[key], []).append(model["name"])
        problems += [
            f"model_serving_models: {' and '.join(names)} {what}, {value}: change one of them."
            for value, names in users.items()
            if len(names) > 1 and value not in (-1, "")
        ]
    return problems


def served_model_versions(models, versions):
    found = []
    for model in models:
        answer = find_version(model, versions)
        if isinstance(answer, str):
            found.append(dict(model, problem=f"model_serving_models, {model['name']}: {answer}"))
        else:
            # The time tells a version from another one of that number, after a model was deleted and made again.
            release = f"{answer['version']}-{answer['creation_timestamp']}"
            found.append(dict(model, version=str(answer["version"]), release=release, problem=""))
    return found


def served_models_plan(models, found, first, last):
    """Beside the instance that serves a model now, the one that would replace it: its name and its private port.

    A model has two names for its instances in turn. No name of a model has the character @, so they are nobody else's.
    """
    sites = found.get("sites", {})
    taken = {site["port"] for site in sites.values()} | set(found.get("ports", []))
    free = (port for port in range(int(first), int(last) + 1) if port not in taken)
    plan = []
    for model in models:
        name, site = model["instance"], sites.get(model["instance"], {})
        live = site["slot"] if site.get("slot") in found.get("slots", []) else ""
        plan.append(
            dict(
                model,
                live=live,
                live_port=site["port"] if live else 0,
                slot=f"{name}@2" if live == name else name,
                port_private=next(free, 0),
            )
        )
    return plan
