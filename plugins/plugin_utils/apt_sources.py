# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Package sources of apt, written as ansible.builtin.deb822_repository writes them.

That module needs a package on the host, for which apt fetches its lists, and has to fetch them again for the new source.
"""

from __future__ import annotations

import re

from ansible.module_utils.common.text.converters import to_text
from ansible.module_utils.parsing.convert_bool import boolean

SOURCES = "/etc/apt/sources.list.d"
KEYS = "/etc/apt/keyrings"
# The fields, in the order in which they are written.
FIELDS = {
    "name": "X-Repolib-Name",
    "types": "Types",
    "uris": "URIs",
    "suites": "Suites",
    "components": "Components",
    "architectures": "Architectures",
    "signed_by": "Signed-By",
    "trusted": "Trusted",
    "check_valid_until": "Check-Valid-Until",
}
LISTS = ("types", "uris", "suites", "components", "architectures")
SWITCHES = ("trusted", "check_valid_until")


def source_paths(name):
    """Of the source itself, and of its key, in letters or in bytes."""
    slug = re.sub("[^a-z0-9-]+", "", re.sub(r"[_\s]+", "-", name.lower()))
    return f"{SOURCES}/{slug}.sources", f"{KEYS}/{slug}.asc", f"{KEYS}/{slug}.gpg"


def apt_source_keys(repositories):
    """The keys that have to be fetched."""
    return [{"url": one["signed_by"], "path": source_paths(one["name"])[-1]} for one in repositories if is_url(one.get("signed_by"))]


def is_url(key):
    return "://" in (key or "")


def apt_source_files(repositories, pins_path, packages):
    """A file for each, and one that has apt take nothing but these packages from them: all else stays with the distribution's own suite."""
    suites = [suite for one in repositories for suite in listed(one["suites"])]
    return [
        *([{"path": KEYS, "state": "directory"}] if apt_source_keys(repositories) else []),
        *({"path": source_paths(one["name"])[0], "content": source(one)} for one in repositories),
        {"path": pins_path, "content": "\n".join(pin for suite in suites for pin in pins(suite, packages))},
    ]


def source(repository):
    values = {"types": ["deb"], **{name: value for name, value in repository.items() if value is not None}}
    if is_url(values.get("signed_by")):
        values["signed_by"] = source_paths(values["name"])[-1]
    return "".join(f"{field}: {text(name, values[name])}\n" for name, field in FIELDS.items() if name in values)


def text(name, value):
    if name in SWITCHES:
        return "yes" if boolean(value) else "no"
    if name in LISTS:
        return " ".join(listed(value))
    first, *more = to_text(value).strip().splitlines() or [""]
    # A key itself: an empty line in it would end the source.
    return "\n ".join(["", *(line.strip() or "." for line in [first, *more])]) if more else first


def listed(value):
    """A text is a list of its own, as for Ansible's modules."""
    return [to_text(one).strip() for one in (value.split(",") if isinstance(value, str) else value)]


def pins(suite, packages):
    for release in (f"n={suite}", f"a={suite}"):
        yield f"Package: *\nPin: release {release}\nPin-Priority: -1\n"
    yield f"Package: {packages}\nPin: release a={suite}\nPin-Priority: 500\n"
