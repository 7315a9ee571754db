# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""With which stack a model is served or scores: the one that is named for it, else one that has what it was made with (docs/stacks.md)."""

from __future__ import annotations

import functools
import os
import re

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.controller_files import controller_path
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.stacks import read_stack, stack_problems

# What loads a model that is a pickle. Such have byte code of their Python in them.
PICKLES = ("mlflow.pyfunc.model", "mlflow.sklearn")
NO_STACK = (
    "{what} was made with {made}, which no stack {does}s: {why}. Set {setting} to the one that is to {does} it all the same, or to the folder of a "
    "stack of your own that has what it needs (docs/stacks.md)."
)
SAME_NAME = "{setting} is {stack}, but there is another stack with the name {folder}: rename its folder, for releases have that name on the host."


def release(version):
    """Of 3.36.1.2.post1 the numbers 3, 36, 1, 2."""
    return [int(number) for number in re.match(r"[\d.]*", version).group().split(".") if number]


def same(numbers):
    return lambda has, made: release(has)[:numbers] == release(made)[:numbers]


def not_older(has, made):
    """What Spark promises of its models: a later one of the same major version loads them."""
    return release(has)[:1] == release(made)[:1] and release(has)[:2] >= release(made)[:2]


# What of a stack has to fit to what a model says of itself, by what each project promises. H2O loads models of its very own version only.
FITS = {"MLflow": same(1), "Python": same(2), "Spark": not_older, "H2O": same(4)}
LOCKED = {"MLflow": r"mlflow", "Spark": r"pyspark", "H2O": r"h2o(?:-pysparkling-[\d.-]+)?"}


@functools.cache
def versions_of(folder):
    """What a stack has. Without a lock, which role mlflow_runtime asks for, no packages."""
    lock = ""
    if os.path.isfile(f"{folder}/requirements.txt"):
        with open(f"{folder}/requirements.txt", encoding="utf-8") as stream:
            lock = stream.read()
    found = {name: re.search(rf"^{package}==([^\s;]+)", lock, re.M) for name, package in LOCKED.items()}
    return {"Python": str(read_stack(folder)["python"]), **{name: match.group(1) for name, match in found.items() if match}}


def needs_of(made):
    """What a model says that matters."""
    names = {"MLflow": "mlflow", "Spark": "spark", "H2O": "h2o", **({"Python": "python"} if made.get("loader") in PICKLES else {})}
    return {what: made[name] for what, name in names.items() if made.get(name)}


def lacking(folder, needs):
    """Why a stack does not do for a model, or nothing."""
    has = versions_of(folder)
    for what, version in needs.items():
        if what not in has:
            return f"no {what}"
        if not FITS[what](has[what], version):
            return f"{what} {has[what]}"
    return ""


def named(stack, site):
    """A stack by its name or its folder, with the links that lead to it on the host."""
    folder = controller_path(stack) if "/" in stack else ""
    if site["dir"] in (folder, f"{site['collection']}/{stack}") or stack == site["name"]:
        return {key: site[key] for key in ("name", "dir", "java", "venv")}
    name = os.path.basename(folder) or stack
    links = f"{site['home']}/stacks/{name}"
    return {"name": name, "dir": folder or f"{site['collection']}/{stack}", "java": f"{links}/java", "venv": f"{links}/current"}


def known(site):
    """The site's own first: where it fits, there is no other one."""
    names = sorted(name for name in os.listdir(site["collection"]) if os.path.isfile(f"{site['collection']}/{name}/stack.yml"))
    return [site["dir"], *(f"{site['collection']}/{name}" for name in names if f"{site['collection']}/{name}" != site["dir"])]


def chosen(made, site, **words):
    """The folder of the stack that does for a model, and a sentence where there is none. The words are those of NO_STACK."""
    needs, why = needs_of(made), []
    # What says nothing of itself fits everywhere.
    for folder in known(site) if needs else []:
        lack = lacking(folder, needs)
        if not lack:
            return folder, ""
        why.append(f"{os.path.basename(folder)} has {lack}")
    if not why:
        return site["dir"], ""
    said = " and ".join(f"{what} {version}" for what, version in needs.items())
    return site["dir"], NO_STACK.format(made=said, why=", ".join(why), **words)


def named_stack_problems(stack, site, setting):
    """Of a stack that a setting names: that it is not there, or not what roles need of one."""
    if stack:
        found = named(stack, site)
        yield from stack_problems(stack, found["dir"], setting, "to")
        others = [site["dir"], f"{site['collection']}/{found['name']}"]
        if found["dir"] not in others and (found["name"] == site["name"] or os.path.isdir(others[1])):
            yield SAME_NAME.format(setting=setting, stack=stack, folder=found["name"])


def model_stack_problems(models, site):
    for model in models:
        yield from (f"model_serving_models, {model['name']}: {problem}" for problem in named_stack_problems(model["stack"], site, "stack"))


def models_with_runtimes(models, made_with, site):
    """The models, each with the stack that serves it, and with a problem where there is none."""
    made = {(one["name"], str(one["version"])): one for one in made_with}
    served = []
    for model in models:
        if model["problem"] or model["stack"]:
            folder, problem = model["stack"] or site["dir"], model["problem"]
        else:
            what = f"model_serving_models, {model['name']}: version {model['version']}"
            folder, problem = chosen(made.get((model["name"], model["version"]), {}), site, what=what, does="serve", setting="its stack")
        stack = named(folder, site)
        serving = site["serving"] if stack["dir"] == site["dir"] else read_stack(stack["dir"])["model_serving"]
        served.append({**model, "problem": problem, "runtime": {**stack, "serving": serving}})
    return served


def further_stacks(models, site):
    """Those beside the site's own, each once."""
    found = {model["runtime"]["name"]: model["runtime"] for model in models if not model["problem"]}
    return [beside(one) for one in found.values() if one["dir"] != site["dir"]]


def beside(runtime):
    """What role mlflow_runtime has to be told to install it."""
    return {"name": runtime["name"], "dir": runtime["dir"], "links": os.path.dirname(runtime["venv"])}


def unread(made_with):
    """Models of which it is not known what they were made with."""
    return [f"{one['name']} version {one['version']} ({one['problem']})" for one in made_with if "problem" in one]
