# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names and values that somebody has mistyped."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import yaml
from ansible.errors import AnsibleFilterError
from ansible.release import __version__
from jinja2 import Environment, TemplateSyntaxError, meta

ROLES = Path(__file__).resolve().parents[2] / "roles"
# Roles whose variables are called otherwise than the role.
PREFIXES = {"topology": "mlops", "offline_scoring": "score_offline"}
# Roles of other collections have variables that begin like these.
SHARED = {"nginx", "awx"}
PORT = re.compile("_port(_|$)")
UNDEFINED = re.compile(r"'(\w+)' is undefined")
# Before 2.19, a variable of a host comes as it was written where something in it is undefined.
AS_WRITTEN = tuple(map(int, __version__.split(".")[:2])) < (2, 19)
# What templates have beside variables.
GIVEN = {"lookup", "query", "q", "now", "undef", "omit", "vars", "hostvars", "groups", "environment", *Environment().globals}
SECRET = re.compile("password|passphrase|secret|token|access_key")


def documented():
    """Prefix -> the options that the entry points of its role document, by name."""
    found = {}
    for path in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        role = path.parts[-3]
        with path.open(encoding="utf-8") as file:
            entry_points = yaml.load(file, getattr(yaml, "CSafeLoader", yaml.SafeLoader))["argument_specs"]
        options = found.setdefault(PREFIXES.get(role, role), {})
        for entry_point in entry_points.values():
            options.update(entry_point.get("options", {}))
    if not found:
        raise AnsibleFilterError(f"setting_problems: no role of the collection is in {ROLES}")
    return found


def leaves(value):
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else None
    if items is None:
        yield value
    else:
        for item in items:
            yield from leaves(item)


def undefined_in(value):
    """Names of which some are undefined, if the value is no value yet. Raises what Ansible raises for such."""
    for leaf in leaves(value):
        text = str(leaf)
        if AS_WRITTEN and ("{{" in text or "{%" in text) and not hasattr(leaf, "__UNSAFE__"):
            yield from sorted(meta.find_undeclared_variables(Environment().parse(text)))


def template_problem(name, variables, known):
    """What is wrong with the template that a value is made by: a sentence, nothing, or None where it cannot be judged here."""
    try:
        names = list(undefined_in(variables[name]))
    except Exception as exc:  # each core has its own for each case
        names = UNDEFINED.findall(str(exc))
        if not names and (isinstance(exc, TemplateSyntaxError) or re.search("(?i)template error|syntax error in template", str(exc))):
            # Not with Ansible's words, which have the text in them, perhaps a secret.
            return f"{name} is no template that Ansible can read: correct its braces and filters, or write !unsafe before a text that has such."
        if not names:
            return None
    missing = [found for found in dict.fromkeys(names) if found not in variables]
    # What a role has a default for, or a play, is known where the role runs, and not yet here.
    if missing and not any(found in known or found.startswith("_") for found in missing):
        return f"{name} refers to {' and '.join(missing)}, which nobody defines: define it, in a vault for example, or correct the name."
    return None if names else ""


def problem_of(name, option, variables):
    """What is wrong with a value that Ansible itself takes, or nothing."""
    kind = option.get("type", "str")
    if kind == "int":
        value = variables[name]
        if value is None:  # as if it were not set
            return ""
        if not re.fullmatch("-?[0-9]+", str(value)):
            return f"{name} is '{value}': set it to a whole number, without a space before or after it."
        if PORT.search(name) and not 0 < int(value) < 65536:
            return f"{name} is {value}, which is not a port: set it to a number from 1 to 65535."
    elif kind in ("str", "path") and not SECRET.search(name):
        value = variables[name]
        if isinstance(value, str) and "\n" not in value and value != value.strip():
            return f"{name} is '{value}': remove the space before or after it."
    return ""


def setting_problems(variables, known=()):
    roles = documented()
    options = {name: option for known in roles.values() for name, option in known.items()}
    known = {*known, *options, *GIVEN}
    ours = tuple(prefix + "_" for prefix in roles if prefix not in SHARED)
    problems = []
    for name in sorted(variables):
        if name in options:
            problem = template_problem(name, variables, known)
            problems.append(problem_of(name, options[name], variables) if problem == "" else problem)
        elif name.startswith(ours):
            near = difflib.get_close_matches(name, options, n=1, cutoff=0)[0]
            problems.append(f"{name} is no variable of this collection, so nobody reads it. Did you mean {near}? Rename or remove it.")
    return [problem for problem in problems if problem]
