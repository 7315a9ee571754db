# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""README.md of each role, made from its argument spec, which is the only place where a role is described: `make readmes` writes them.

antsibull-docs makes web pages of argument specs; this is for whoever looks at a role in the repository, in the archive or on Galaxy.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml
from antsibull_docs_parser.md import MDFormatter, to_md
from antsibull_docs_parser.parser import Context, parse

COLLECTION = Path(__file__).resolve().parents[1]
NAME = "sparkflows.mlops"
HEAD = "<!-- Made from meta/argument_specs.yml. Change that, then: make readmes -->"


def code(text):
    return f"`{text}`"


def plain(text):
    """Text, with what would be markup in Markdown escaped."""
    return re.sub(r"([\\`*_<>\[\]])", r"\\\1", text)


class Formatter(MDFormatter):
    """As that of antsibull, but it is to be read in an editor, too."""

    def format_text(self, part):
        return plain(part.text)

    def format_code(self, part):
        return code(part.text)

    def format_option_name(self, part, url):
        return code(part.name if part.value is None else f"{part.name}={part.value}")

    def format_option_value(self, part):
        return code(part.value)

    def format_env_variable(self, part):
        return code(part.name)

    def format_module(self, part, url):
        return code(part.fqcn)

    def format_plugin(self, part, url):
        return code(part.plugin.fqcn)


def markdown(text, separator=" "):
    return to_md(parse(text, Context(), errors="exception", helpful_errors=True), formatter=Formatter(), par_sep=separator)


def shown(value):
    return code(value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False))


def variables(options, indent=""):
    """Lines of a list with one entry for each option, and one below it for each of its own options."""
    for name, option in options.items():
        kind = [option["type"] + (f" of {option['elements']}" if "elements" in option else "")]
        if option.get("required"):
            kind.append("required")
        if "choices" in option:
            kind.append("one of " + ", ".join(map(shown, option["choices"])))
        if "default" in option:
            kind.append(f"default {shown(option['default'])}")
        yield f"{indent}- {code(name)} ({', '.join(kind)}): {markdown(option['description'])}"
        yield from variables(option.get("options", {}), indent + "  ")


def entry_points(specs, first):
    of_main = specs[first]["options"]
    for name, spec in specs.items():
        if name != first:
            more = spec.get("description", [])
            texts = [spec["short_description"] + ".", *([more] if isinstance(more, str) else more)]
            yield f"- {code(name)}: {markdown(texts)}"
            if spec["options"] != of_main:
                all_of_main = set(of_main) <= set(spec["options"])
                own = ", ".join(code(option) for option in spec["options"] if not all_of_main or option not in of_main)
                yield f"  Its variables: {'those of `main`, and ' * all_of_main}{own}."


def readme(role):
    folder = COLLECTION / "roles" / role
    specs = yaml.load((folder / "meta/argument_specs.yml").read_text(encoding="utf-8"), yaml.CSafeLoader)["argument_specs"]
    dependencies = yaml.safe_load((folder / "meta/main.yml").read_text(encoding="utf-8"))["dependencies"]
    # Where main only leads to the checks, it is these that say what the role is.
    first = "main" if "main" in specs else "preflight"
    lines = [HEAD, "", f"# {NAME}.{role}", "", f"{markdown(specs[first]['short_description'])}.", "", markdown(specs[first]["description"], "\n\n")]
    for name in (dependency["role"].split(".")[-1] for dependency in dependencies):
        lines += ["", f"Addresses, paths and all else that roles share, it reads from the role [{name}](../{name}/README.md)."]
    if len(specs) > 1:
        lines += ["", "## Entry points besides `main`", "", *entry_points(specs, first)]
    # An entry point may have options that the main one has not.
    options = {name: option for spec in specs.values() for name, option in spec["options"].items()}
    lines += ["", "## Variables", "", *variables(options)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for path in sorted(COLLECTION.glob("roles/*/meta/argument_specs.yml")):
        (path.parents[1] / "README.md").write_text(readme(path.parents[1].name), encoding="utf-8")
