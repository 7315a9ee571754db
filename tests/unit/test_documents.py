# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents lead to what there is, leave nothing out, and claim what was tried."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.sparkflows.mlops.plugins.filter import plans
from generations import GENERATIONS

COLLECTION = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(path for pattern in ("*.md", "docs/*.md", "roles/*/README.md", "tests/**/*.md") for path in COLLECTION.glob(pattern))
ROLES = sorted(path.parents[1].name for path in COLLECTION.glob("roles/*/meta/main.yml"))


def prose(path):
    """A document without its blocks of code."""
    return re.sub(r"^( *)```.*?^\1```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)


def links(path):
    text = re.sub(r"`[^`\n]*`", "", prose(path))
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r"^\[[^]]+\]: (\S+)", text, flags=re.M)


def anchors(path):
    """The anchors that GitHub makes of headings."""
    found = set()
    for heading in re.findall(r"^#+ +(.+?) *$", prose(path), flags=re.M):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        number = sum(1 for one in found if re.fullmatch(re.escape(anchor) + r"(-\d+)?", one))
        found.add(f"{anchor}-{number}" if number else anchor)
    return found


def broken(path):
    for link in links(path):
        if not re.match(r"https?://", link):
            name, _hash, anchor = link.partition("#")
            target = path.parent / name if name else path
            if not target.exists() or (anchor and anchor not in anchors(target)):
                yield link


def tables(path):
    """The tables of a document, each as a list of rows, without head; a row is a list of cells."""
    for table in re.findall(r"(?:^\|.*\n)+", prose(path), flags=re.M):
        yield [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


@functools.cache
def load(path):
    return yaml.load((COLLECTION / path).read_text(encoding="utf-8"), yaml.CSafeLoader)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(COLLECTION)))
def test_links_lead_somewhere(path):
    assert not list(broken(path))


def test_what_leads_nowhere_is_found(tmp_path):
    (tmp_path / "other.md").write_text("# A `name`, and more\n## Twice\n## Twice\n```\n# no heading\n[x](no-link)\n```\n")
    right = "[a](other.md) [b](other.md#a-name-and-more) [c](other.md#twice-1) [d](https://example.com) `[e](code)` [f](#here)"
    wrong = "[g](missing.md) [h](other.md#no-heading) [i](other.md#twice-2) [j](#there)\n\n[k]: missing/too.md"
    (tmp_path / "one.md").write_text(f"# Here\n{right}\n{wrong}\n")
    assert list(broken(tmp_path / "one.md")) == ["missing.md", "other.md#no-heading", "other.md#twice-2", "#there", "missing/too.md"]


def test_documents_that_are_named_in_the_code_exist():
    named = set()
    for folder in ("awx", "inventories", "playbooks", "plugins", "roles"):
        for path in (COLLECTION / folder).rglob("*"):
            if path.suffix in (".j2", ".md", ".py", ".sh", ".yml"):
                named |= set(re.findall(r"\bdocs/[\w.-]+\.md\b", path.read_text(encoding="utf-8")))
    assert named and not [name for name in named if not (COLLECTION / name).exists()]


def test_readme_leads_to_every_document_and_role_and_names_every_playbook():
    led_to = set(links(COLLECTION / "README.md"))
    assert {str(path.relative_to(COLLECTION)) for path in COLLECTION.glob("docs/*.md")} <= led_to
    assert {link for link in led_to if link.startswith("roles/")} == {f"roles/{role}/README.md" for role in ROLES}
    playbooks = next(table for table in tables(COLLECTION / "README.md") if table[0][0] == "`site.yml`")
    assert {name for row in playbooks for name in re.findall(r"`(\w+\.yml)`", row[0])} == {path.name for path in COLLECTION.glob("playbooks/*.yml")}


def test_every_filter_has_a_page():
    assert [path.name for path in COLLECTION.glob("plugins/filter/*.py")] == ["plans.py"]
    filters = set(plans.FilterModule().filters())
    pages = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in COLLECTION.glob("plugins/filter/*.yml")}
    assert filters == set(pages)
    # Without a description ansible-doc shows no page.
    needed = ("description", "short_description", "author", "options")
    assert all(page["DOCUMENTATION"]["name"] == name and page["EXAMPLES"] and page["RETURN"] for name, page in pages.items())
    assert [name for name, page in pages.items() if not all(page["DOCUMENTATION"].get(part) for part in needed)] == []


def test_numbers_in_documents_are_the_defaults():
    options = {}
    for role in ROLES:
        options.update(load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["preflight"]["options"])
    rows = [row for path in COLLECTION.glob("docs/*.md") for table in tables(path) for row in table if len(row) == 3 and row[1].isdigit() and row[2]]
    assert rows
    for row in rows:
        assert int(row[1]) == options[re.findall(r"`(\w+)`", row[2])[0]]["default"], row


# docs/platforms.md

HOSTS, CORES, PYTHONS = tables(COLLECTION / "docs/platforms.md")
RELEASES = {
    **{("Debian", "bookworm"): "Debian 12", ("Debian", "trixie"): "Debian 13"},
    **{("Ubuntu", "jammy"): "Ubuntu 22.04", ("Ubuntu", "noble"): "Ubuntu 24.04"},
    **{("EL", "8"): "RHEL 8", ("EL", "9"): "RHEL 9"},
}


def test_claims_are_of_three_words():
    claims = [row[1] for row in HOSTS] + [row[2] for row in CORES + PYTHONS]
    assert set(claims) <= {"proven", "rehearsed on a look-alike", "written for"}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_for_the_hosts_that_are_claimed(role):
    platforms = {(one["name"], version) for one in load(f"roles/{role}/meta/main.yml")["galaxy_info"]["platforms"] for version in one["versions"]}
    if platforms != {("GenericLinux", "all")}:
        assert {RELEASES.get(platform, platform) for platform in platforms} == {row[0] for row in HOSTS}


def test_the_lab_is_what_is_claimed_to_be_proven():
    lab = RELEASES["Debian", load("inventories/lab/group_vars/all/lab.yml")["lab_release"]]
    assert [row[0] for row in HOSTS if row[1] == "proven"] == [lab]


def test_cores_are_those_that_are_supported():
    cores = {row[0]: row[1] for row in CORES}
    oldest = min(cores, key=lambda core: int(core.split(".")[1]))
    assert {core: cores.get(core) for core in GENERATIONS} == {core: generation[0] for core, generation in GENERATIONS.items()}
    assert load("meta/runtime.yml")["requires_ansible"] == f">={oldest}.0"
    assert {load(f"roles/{role}/meta/main.yml")["galaxy_info"]["min_ansible_version"] for role in ROLES} == {oldest}


def test_cores_that_run_here_are_proven():
    development = re.search(r"^ansible==(\d+)", (COLLECTION / ".config/dev-requirements.in").read_text(), flags=re.M)[1]
    environment = load("execution-environment.yml")["dependencies"]["ansible_core"]["package_pip"]
    proven = {row[0]: row[1] for row in CORES if row[2] == "proven"}
    assert development in proven.values()
    assert re.search(r">=(\d+\.\d+)", environment)[1] in proven
