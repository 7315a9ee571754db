# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stack says of its versions: checked, and filled with what a site has set. docs/stacks.md documents it."""

from __future__ import annotations

import os.path
import string

import yaml

# Which words the variables of a section may have in braces.
SERVER_WORDS = ("guard", "hosts", "origins", "threads", "timeout")
SERVING_WORDS = ("programs", "timeout", "workers")
INPUT_FORMATS = ("pandas-split", "dataframe_split")
# What a stack has to say: a type, or the types of what is in it.
SHAPE = {
    "name": str, "java": str, "python": str, "packages": list, "imports": list,
    "java_runtime": {"packages": dict, "missing": list, "pin": str, "folders": list, "archive": {"version": str}},
    "python_runtime": {"packages": list, "source": {"version": str, "sha256": str}},
    "mlflow_server": {"environment": dict},
    "model_serving": {"input_format": str, "command": str, "environment": dict},
}  # fmt: skip
TYPES = {str: "text", list: "list", dict: "mapping"}


def shape_problems(found, shape, name=""):
    for key, wanted in shape.items():
        path = f"{name}.{key}" if name else key
        kind = dict if isinstance(wanted, dict) else wanted
        if key not in found:
            yield f"{path} is missing"
        elif not isinstance(found[key], kind):
            yield f"{path} is no {TYPES[kind]}"
        elif isinstance(wanted, dict):
            yield from shape_problems(found[key], wanted, path)


def words_of(value):
    return [word for _text, word, _spec, _conversion in string.Formatter().parse(value) if word is not None]


def variable_problems(variables, words, name):
    for variable, value in variables.items():
        if not isinstance(value, str):
            yield f"{name}.{variable} is no text (put it in quotation marks)"
            continue
        try:
            unknown = [word for word in words_of(value) if word not in words]
        except ValueError as exc:
            yield f"{name}.{variable}: {exc}"
            continue
        if unknown:
            yield f"{name}.{variable} has {{{unknown[0]}}}, there are {', '.join(f'{{{word}}}' for word in words)}"


def data_problems(data):
    problems = list(shape_problems(data, SHAPE))
    if problems:
        return problems
    serving = data["model_serving"]
    if serving["input_format"] not in INPUT_FORMATS:
        problems.append(f"model_serving.input_format is {serving['input_format']}, there are {' and '.join(INPUT_FORMATS)}")
    problems += variable_problems(data["mlflow_server"]["environment"], SERVER_WORDS, "mlflow_server.environment")
    problems += variable_problems(serving["environment"], SERVING_WORDS, "model_serving.environment")
    return problems


def stack_problems(stack, folder, meant="mlops_stack", own="mlops_stack_dir to"):
    """Of a stack and its folder; in the words of the settings that say which it is."""
    path = f"{folder}/stack.yml"
    if not os.path.isfile(path):
        return [f"{meant} is {stack}, but {path} does not exist: set {meant} to a stack that the collection has, or {own} the folder of your own."]
    try:
        data = read_stack(folder)
    except (OSError, ValueError, yaml.YAMLError) as exc:
        return [f"{path} cannot be read: {' '.join(str(exc).split())}."]
    problems = data_problems(data) if isinstance(data, dict) else ["it is no mapping"]
    return [f"{path} does not say what roles need of a stack: {', '.join(problems)}. docs/stacks.md has the list."] if problems else []


def read_stack(folder):
    with open(f"{folder}/stack.yml", encoding="utf-8") as stream:
        return yaml.safe_load(stream)


def stack_environment(variables, **words):
    """Variables of a stack with what this site has in place of words in braces."""
    return {name: value.format(**words) for name, value in variables.items()}


def fits(entry, distribution, family):
    """Whether an entry of a stack is about this distribution: by its id or its family, from a version on and before another. A distribution that
    names no version is one that is still being made."""
    if entry["distribution"] not in (distribution["id"], *([family] if family != "debian" else [])):
        return False
    version = number(distribution.get("version"))
    return number(entry.get("from"), 0) <= version and ("before" not in entry or version < number(entry["before"]))


def number(version, otherwise=float("inf")):
    """24.10 comes after 24.4."""
    parts = [int(part) for part in str(version or "").split(".")[:2] if part.isdigit()]
    return parts[0] + (parts[1] if len(parts) > 1 else 0) / 1000 if parts else otherwise
