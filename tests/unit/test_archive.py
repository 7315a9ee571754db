# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive that Galaxy gets has all that users need, and nothing that is the lab's or somebody's own."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

COLLECTION = Path(__file__).resolve().parents[2]
# What people have in the checkout from which they build or install.
OWN = [
    ".vault_pass", "vault_pass.txt", "vault.yml", "hosts.yml", "site.retry", "secrets.yml", "sparkflows-mlops-0.9.0.tar.gz",
    ".env", ".idea/workspace.xml", ".ansible/facts/mlflow1",
    ".cache/lab/authority.key", "reports/demo/acceptance.json", "reports/acceptance.html", "id_ed25519", "id_ed25519.pub",
    "facts/mlflow1.json", "log/ansible.log",
    "group_vars/all/vault.yml", "host_vars/mlflow1/vault.yml", "files/mlflow.key", "files/mlflow.pem",
    "files/fire-mlops-server.jar",
    "inventories/acme/hosts.yml", "inventories/acme/group_vars/all/main.yml", "inventories/acme/group_vars/all/vault.yml",
    "inventories/acme/files/mlflow.key",
    "inventories/production/group_vars/all/mine.yml", "inventories/production/group_vars/mlflow/vault.yml",
    "inventories/production/group_vars/all/main.yml~",
    "inventories/production/host_vars/mlflow1.example.com/vault.yml", "inventories/production/files/mlflow.key",
    "inventories/production/.vault_pass",
    "playbooks/files/mlflow.key", "playbooks/group_vars/all/vault.yml", "playbooks/host_vars/mlflow1.yml",
    "playbooks/.vault_pass", "playbooks/inventory/hosts.yml",
    "awx/.token", "awx/vault/passwords.yml", "docs/notes.txt", "docs/.notes.md", "roles/nginx/files/company.key",
    "roles/nginx/files/company.pem", "stacks/mine/wheels/a.whl",
    "roles/nginx/tasks/main.yml.orig", "roles/nginx/tasks/.main.yml.swp", "roles/nginx/vars/.main.yml",
    "plugins/filter/__pycache__/networks.cpython-311.pyc",
    "collections/ansible_collections/acme/site/galaxy.yml",
]  # fmt: skip


def built(folder, checkout):
    """The files in the archive that ansible-galaxy makes of a checkout."""
    command = [Path(sys.executable).with_name("ansible-galaxy"), "collection", "build", "--output-path", folder, checkout]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0 and "warn" not in done.stdout.lower(), done.stdout
    with tarfile.open(folder / "sparkflows-mlops-{}.tar.gz".format(yaml.safe_load((COLLECTION / "galaxy.yml").read_text())["version"])) as archive:
        return {entry.name for entry in archive if not entry.isdir()}


@pytest.fixture(scope="module", name="files")
def fixture_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    # Git's files and the environments of tools are large, and nothing of them is named in galaxy.yml.
    shutil.copytree(COLLECTION, folder / "checkout", symlinks=True, ignore=shutil.ignore_patterns(".?*", "__pycache__", "reports"))
    kept = {str(path.relative_to(folder / "checkout")) for path in (folder / "checkout").rglob("*") if path.is_file()}
    for name in OWN:
        assert name not in kept, name
        (folder / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "checkout" / name).write_text("secret: of mine\n")
    return built(folder, folder / "checkout"), kept


def test_nothing_of_somebodys_own(files):
    archive, _kept = files
    assert not archive & set(OWN)


def test_nothing_of_the_lab_and_of_the_development(files):
    archive, _kept = files
    names = r"(?i)(^|[/_.-])(lab|demo|double|molecule|tests?|git|ci|venv|makefile|pyproject)([/_.-]|$)"
    # The one is for ansible-test, which whoever certifies the archive lets look at it.
    assert [name for name in archive if re.search(names, name)] == ["tests/config.yml"]
    assert {name.split("/")[1] for name in archive if name.startswith("inventories/")} == {"production"}


def test_all_that_users_need(files):
    archive, kept = files
    of_the_lab = {name for name in kept if re.match(r"playbooks/(lab_|demo\.)", name)}
    needed = {name for name in kept if re.match(r"(awx|docs|inventories/production|meta|playbooks|plugins|roles|stacks)/", name)}
    assert of_the_lab and needed - of_the_lab <= archive
    assert {"MANIFEST.json", "FILES.json", "README.md", "CHANGELOG.rst", "COPYING"} <= archive
    # What execution environments are made of: test_execution_environment.py.
    assert {"execution-environment.yml", "requirements.txt", "requirements.yml", "bindep.txt"} <= archive


def test_what_is_in_the_archive_refers_to_nothing_outside_of_it(files):
    archive, _kept = files
    links = set()
    for name in sorted(name for name in archive if name.endswith((".md", ".yml"))):
        text = (COLLECTION / name).read_text(encoding="utf-8")
        paths = re.findall(r"\]\((?!https?:|#)([^)#]+)", text) + re.findall(r"import_playbook: (\S+)", text)
        links |= {(name, str((COLLECTION / name).parent.joinpath(path).resolve().relative_to(COLLECTION))) for path in paths}
    assert links
    assert not [(name, path) for name, path in links if path not in archive]
