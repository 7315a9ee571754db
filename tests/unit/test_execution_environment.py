# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The execution environment has what the playbooks need on the controller, and ansible-builder is content with it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

COLLECTION = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
FILES = ("execution-environment.yml", "requirements.txt", "requirements.yml", "bindep.txt")


def load(name):
    return yaml.safe_load((COLLECTION / name).read_text(encoding="utf-8"))


def lines(name):
    return [line for line in (COLLECTION / name).read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="module", name="created")
def fixture_created(tmp_path_factory):
    """What ansible-builder makes of the files alone: nothing else of the checkout is there."""
    folder = tmp_path_factory.mktemp("ee")
    for name in FILES:
        shutil.copy(COLLECTION / name, folder)
    done = subprocess.run([BIN / "ansible-builder", "create", "--verbosity=3", "--output-filename=Containerfile"], cwd=folder, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
    return done, folder / "context"


def test_builder_is_content(created):
    done, context = created
    assert done.returncode == 0 and "Complete!" in done.stdout, done.stdout
    assert not re.search("warn|deprecat|error", done.stdout, re.I), done.stdout
    assert load("execution-environment.yml")["version"] == 3
    assert (context / "Containerfile").read_text().count("\nFROM ") == 4


def test_recipe_has_the_requirements(created):
    build = created[1] / "_build"
    assert yaml.safe_load((build / "requirements.yml").read_text()) == load("requirements.yml")
    for name in ("requirements.txt", "bindep.txt"):
        assert set(lines(name)) <= set((build / name).read_text().splitlines())


def test_another_environment_gets_the_same_from_the_collection(created, tmp_path):
    """Whoever has the collection in an execution environment of his own: ansible-builder finds what it needs there."""
    place = tmp_path / "ansible_collections/sparkflows/mlops"
    (place / "meta").mkdir(parents=True)
    for name in ("meta/execution-environment.yml", "meta/runtime.yml", "galaxy.yml", "requirements.txt", "bindep.txt"):
        shutil.copy(COLLECTION / name, place / name)
    done = subprocess.run([sys.executable, created[1] / "_build/scripts/introspect.py", "introspect", tmp_path], check=True,
                          capture_output=True, text=True)  # fmt: skip
    found = yaml.safe_load(done.stdout)
    for kind, name in (("python", "requirements.txt"), ("system", "bindep.txt")):
        assert found[kind] == [f"{line}  # from collection sparkflows.mlops" for line in lines(name)]
    assert "warn" not in (done.stdout + done.stderr).lower()


def test_requirements_are_those_of_the_collection():
    asked = {collection["name"]: collection["version"] for collection in load("requirements.yml")["collections"]}
    assert asked == load("galaxy.yml")["dependencies"]


def test_required_collections_are_those_that_are_used():
    """The first two words of a module's, a plugin's or a filter's name, in what the collection ships."""
    text = "".join(path.read_text(encoding="utf-8") for folder in ("roles", "playbooks") for path in sorted((COLLECTION / folder).rglob("*.yml")))
    installed = {f"{path.parent.name}.{path.name}" for path in BIN.parent.glob("lib/*/site-packages/ansible_collections/*/*")}
    used = {".".join(name.split(".")[:2]) for name in re.findall(r"\b[a-z_]+\.[a-z_]+\.[a-z_]+(?=:|\b)", text)} & installed
    assert used == set(load("galaxy.yml")["dependencies"])


def test_the_collection_is_found_in_a_checkout(tmp_path):
    """With ansible.cfg and the link alone: in AWX nothing has been installed."""
    shutil.copy(COLLECTION / "ansible.cfg", tmp_path)
    shutil.copytree(COLLECTION / "collections", tmp_path / "collections", symlinks=True)
    (tmp_path / "galaxy.yml").touch()
    (tmp_path / "roles/here/tasks").mkdir(parents=True)
    (tmp_path / "roles/here/tasks/main.yml").write_text("[{ansible.builtin.debug: {msg: found the role of the checkout}}]")
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks/play.yml").write_text("[{hosts: localhost, gather_facts: false, roles: [sparkflows.mlops.here]}]")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    command = [BIN / "ansible-playbook", "-i", "localhost,", "-c", "local", "playbooks/play.yml"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
    assert done.returncode == 0 and "found the role of the checkout" in done.stdout, done.stdout
