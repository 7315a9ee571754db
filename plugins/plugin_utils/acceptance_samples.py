# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Served models, where they are asked, and with which rows."""

from __future__ import annotations

import os
import re

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.addresses import addresses
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.controller_files import controller_file_problems, controller_path
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.served_models import served_models
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.stacks import INPUT_FORMATS
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.url_host import url_host
from jinja2 import Undefined
from jinja2.filters import do_float, do_int


def present_models(models):
    """One model or none, and text for a port, are normal."""
    return [model for model in served_models(models) if model["state"] == "present"]


def models_of(host, hostvars):
    declared = hostvars[host].get("model_serving_models", [])
    # Undefined, where it is made of a variable that other hosts cannot see.
    return present_models([] if isinstance(declared, Undefined) else declared)


def first_models(settings, hostvars):
    """Those at mlops_serving_address, which is that of the first MLflow host."""
    hosts = settings["groups"].get("mlflow", [settings["inventory_hostname"]])
    return models_of(hosts[0], hostvars) if hosts else []


def invocations_url(settings, address, port):
    return f"{settings['mlops_serving_scheme']}://{url_host(address)}:{port}/invocations"


def problem_of(sample, models):
    if any(sample.get(name) in (None, "") for name in ("model", "rows", "expected")):
        return "set model, rows and expected."
    # What is expected may be made in the same run; where it is missing at the end, the report says so.
    problems = controller_file_problems({"rows": sample["rows"]})
    if problems:
        return " ".join(problems)
    if "url" not in sample and "port" not in sample and sample["model"] not in models:
        return "the model is not in model_serving_models: set port or url."
    if not re.fullmatch("[0-9.eE+-]+", str(sample.get("tolerance", 0))):
        return "tolerance is no number."
    if sample.get("input_format", INPUT_FORMATS[0]) not in INPUT_FORMATS:
        return f"input_format is {sample['input_format']}, there are {' and '.join(INPUT_FORMATS)}."
    return ""


def sample_problems(settings, hostvars):
    problems, models = [], {model["name"] for model in first_models(settings, hostvars)}
    for number, sample in enumerate(settings["acceptance_samples"]):
        problem = problem_of(sample, models)
        if problem:
            problems.append(f"acceptance_samples[{number}] ({sample.get('model') or 'no model'}): {problem}")
    return problems


def paths_of(sample):
    """Its files, and those of them that are missing."""
    paths = [controller_path(sample["rows"]), controller_path(sample["expected"])]
    return paths, [path for path in paths if not os.path.isfile(path)]


def acceptance_sample_files(samples):
    found = []
    for sample in samples:
        paths, missing = paths_of(sample)
        found += [path for path in paths if not missing and path not in found]
    return found


def acceptance_sample_questions(settings, hostvars, texts):
    ports = {}
    for model in first_models(settings, hostvars):
        ports.setdefault(model["name"], model["port"])
    questions = []
    for sample in settings["acceptance_samples"]:
        (rows, expected), missing = paths_of(sample)
        port = sample["port"] if "port" in sample else ports.get(sample["model"], "")
        questions.append({
            "model": sample["model"],
            "url": sample["url"] if "url" in sample else invocations_url(settings, settings["mlops_serving_address"], port),
            "login": "url" not in sample, "ca_path": settings["mlops_serving_ca_path"],
            "rows_path": rows, "rows": "" if missing else texts[rows],
            "expected_path": expected, "expected": "" if missing else texts[expected], "missing": missing,
            "text_columns": sample.get("text_columns", []), "input_format": sample.get("input_format", ""), "site_format": settings["input_format"],
            "tolerance": do_float(sample.get("tolerance", 0)), "timeout": do_int(settings["acceptance_score_timeout"]),
        })  # fmt: skip
    return questions


def acceptance_endpoints(settings, hostvars):
    return [
        {"model": model["name"], "host": host, "url": invocations_url(settings, addresses([host], hostvars)[0], model["port"])}
        for host in settings["groups"].get("mlflow", [])
        for model in models_of(host, hostvars)
    ]
