# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates mean the same on every supported ansible-core. Before 2.19 a template's result is a text that is read again: a number stays a text, a
backslash counts twice, and an `omit` among the defaults of a module is handed over as it is."""

from __future__ import annotations

import functools
import re
import warnings
from pathlib import Path

import jinja2
import pytest
import yaml
from jinja2 import nodes

COLLECTION = Path(__file__).resolve().parents[2]
# Written as expressions, without braces.
CONDITIONS = ("when", "that", "until", "failed_when", "changed_when")


class Loader(yaml.CSafeLoader):
    """Knows Ansible's mark for what is no template."""


Loader.add_constructor("!unsafe", lambda loader, node: "")


@functools.cache
def load(path):
    return yaml.load(path.read_text(encoding="utf-8"), Loader)


def scalars(node, condition=False):
    """The texts of a YAML document, and whether each is a condition."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield str(key), False
            yield from scalars(value, key in CONDITIONS)
    elif isinstance(node, list):
        for value in node:
            yield from scalars(value, condition)
    elif isinstance(node, str):
        yield node, condition


class AnyFilter(dict):
    """Whatever a filter or a test is called: it is only parsed here."""

    def __contains__(self, name):
        return True


ENVIRONMENT = jinja2.Environment()
ENVIRONMENT.filters = ENVIRONMENT.tests = AnyFilter()


@functools.cache
def tree(text, condition=False):
    # A single backslash, as in regular expressions, is Jinja's to worry about.
    with warnings.catch_warnings(action="ignore"):
        return ENVIRONMENT.parse("{{ " + text + " }}" if condition else text)


FOLDERS = ("roles/*/tasks", "roles/*/vars", "roles/*/defaults", "playbooks")
FILES = sorted(path for folder in FOLDERS for path in COLLECTION.glob(folder + "/**/*.yml"))
TEMPLATES = [(path.relative_to(COLLECTION), text, condition)
             for path in FILES for text, condition in scalars(load(path)) if condition or "{{" in text or "{%" in text]  # fmt: skip
# Variables of roles: whoever sets one may do so by a template, and AWX hands over texts.
VARIABLES = {name: value for kind in ("vars", "defaults") for path in COLLECTION.glob(f"roles/*/{kind}/**/*.yml")
             for name, value in load(path).items()}  # fmt: skip


def test_there_are_templates():
    assert len(FILES) > 100 and len(TEMPLATES) > 1000 and len(VARIABLES) > 400


def test_no_quotation_mark_is_escaped():
    assert [(str(path), text) for path, text, _condition in TEMPLATES if "\\'" in text or '\\"' in text] == []


def given(node):
    """What the programs of a YAML document are given to read."""
    if isinstance(node, dict):
        yield from ([node["stdin"]] if "stdin" in node else [])
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from given(value)


def test_no_program_waits_for_a_terminal():
    """Ansible hands over an empty text as nothing, and what reads then does from the terminal that Ansible opens for it where pipelining is off."""
    texts = [(str(path.relative_to(COLLECTION)), text) for path in FILES for text in given(load(path))]
    assert len(texts) > 3
    assert [(path, text) for path, text in texts if not re.search(r"(\| to_json \}\}|\n)$", text)] == []


def without_an_order(text, condition):
    """Filters of sets whose result is used as a list: it has another order in each run, and what is written of it changes each time."""
    if condition:
        return []
    parsed = tree(text)
    asked = [node.test for kind in (nodes.If, nodes.CondExpr) for node in parsed.find_all(kind)]
    harmless = [node.node for node in parsed.find_all(nodes.Filter) if node.name in ("length", "sort")]
    harmless += [node for test in asked for node in test.find_all(nodes.Filter)] + asked
    return [node.name for node in parsed.find_all(nodes.Filter)
            if node.name in ("difference", "intersect", "symmetric_difference", "union") and not any(node is one for one in harmless)]  # fmt: skip


def test_what_is_written_keeps_its_order():
    assert without_an_order("{{ hosts | difference([host]) | map('upper') }}", False) == ["difference"]
    assert without_an_order("{{ 'a' if one | intersect(two) else one | union(two) | sort }}", False) == []
    assert [(str(path), names) for path, text, condition in TEMPLATES if (names := without_an_order(text, condition))] == []


def taken_for_numbers(text, condition):
    """Names of variables of roles that are compared or reckoned with as they are, where the other side is a number."""

    def number(node):
        return isinstance(node, nodes.Const) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool)

    def variable(node):
        return isinstance(node, nodes.Name) and node.name in VARIABLES

    parsed = tree(text, condition)
    pairs = [(node.expr, operand.expr) for node in parsed.find_all(nodes.Compare) for operand in node.ops if operand.op not in ("in", "notin")]
    pairs += [(node.left, node.right) for kind in (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow)
              for node in parsed.find_all(kind)]  # fmt: skip
    return sorted({one.name for pair in pairs for one, other in (pair, pair[::-1]) if variable(one) and number(other)})


def test_finds_what_is_taken_for_a_number():
    assert taken_for_numbers("mlops_mlflow_port == 5000", True) == ["mlops_mlflow_port"]
    assert taken_for_numbers("{{ 2 * mlops_mlflow_port }}", False) == ["mlops_mlflow_port"]
    assert taken_for_numbers("mlops_mlflow_port | int > 0 and mlops_address == '1'", True) == []


def test_variables_are_made_numbers_where_they_are_taken_for_such():
    assert [(str(path), names) for path, text, condition in TEMPLATES if (names := taken_for_numbers(text, condition))] == []


def test_an_address_stands_in_a_url_as_url_host_says():
    """An IPv6 address needs brackets there."""
    bare = re.compile(r"://(' ~ |\{\{ )[^{}~]*address\b(?![^{}~]*\| sparkflows\.mlops\.url_host)")
    assert bare.search("http://{{ mlops_address }}:1") and bare.search("'http://' ~ mlops_address ~ ':1'")
    assert [(str(path), text) for path, text, _condition in TEMPLATES if bare.search(text)] == []


def arguments(node):
    """Module and arguments of each task: include_tasks takes a file's name there."""
    if isinstance(node, dict):
        for name, value in node.items():
            if re.fullmatch(r"[a-z_]+\.[a-z_]+\.[a-z_0-9]+|args", str(name)) and not str(name).startswith("ansible.builtin.include_"):
                yield name, value
            if name not in ("module_defaults", "vars"):
                yield from arguments(value)
    elif isinstance(node, list):
        for value in node:
            yield from arguments(value)


def test_arguments_of_a_task_are_no_template_as_a_whole():
    """Where facts are variables, a host could say what they are. ansible-core 2.21 warns of it."""
    every = [(str(path), name, value) for path in FILES if path.parent.name in ("tasks", "playbooks") for name, value in arguments(load(path))]
    assert len(every) > 300
    assert [argument for argument in every if isinstance(argument[2], str) and "{{" in argument[2]] == []


def module_defaults(node):
    if isinstance(node, dict):
        if "module_defaults" in node:
            yield node["module_defaults"]
        for value in node.values():
            yield from module_defaults(value)
    elif isinstance(node, list):
        for value in node:
            yield from module_defaults(value)


def names_in(node):
    """Every name that a template uses, and those that the variables behind it use."""
    found, todo = set(), [node]
    while todo:
        for text, _condition in scalars(todo.pop()):
            new = {name.name for name in tree(text).find_all(nodes.Name)} - found
            found |= new
            todo += [VARIABLES[name] for name in new if name in VARIABLES]
    return found


@pytest.mark.parametrize("path", [path for path in FILES if any(module_defaults(load(path)))], ids=lambda path: str(path.relative_to(COLLECTION)))
def test_nothing_is_omitted_among_the_defaults_of_modules(path):
    assert all("omit" not in names_in(defaults) for defaults in module_defaults(load(path)))


def test_a_template_that_is_handed_variables_looks_up_no_other():
    """The lookup copies all variables. From ansible-core 2.21 on, it warns where those that it was handed itself are among them."""
    call = re.compile(
        r"""lookup\('ansible\.builtin\.template', [^\n]*?([\w.-]+\.j2)',\s*template_vars=|template"?: "?([\w.-]+\.j2)"?,?\s+"?variables\b"""
    )
    texts = [path.read_text(encoding="utf-8") for files in ("roles/*/[tv]a*/*.yml", "plugins/plugin_utils/*.py") for path in COLLECTION.glob(files)]
    handed = {name for text in texts for found in call.findall(text) for name in found}
    assert {"mlflow-model.service.j2", "spark.service.j2", "environment.j2"} <= handed
    assert [path.name for path in COLLECTION.glob("roles/*/templates/*")
            if path.name in handed and "lookup('ansible.builtin.template'" in path.read_text(encoding="utf-8")] == []  # fmt: skip
