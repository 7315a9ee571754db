# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import os

import pytest
from ansible_collections.sparkflows.mlops.plugins.plugin_utils import controller_files


@pytest.mark.parametrize("path, expected", [
    ("files/mlflow.pem", "{here}/files/mlflow.pem"), ("../a b.pem", "{above}/a b.pem"), ("/etc//ssl/a.pem", "/etc/ssl/a.pem"),
    ("~/a.pem", "/home/ada/a.pem"), ("", "")])  # fmt: skip
def test_a_path_begins_in_the_current_folder(tmp_path, monkeypatch, path, expected):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    assert controller_files.controller_path(path) == expected.format(here=tmp_path, above=tmp_path.parent)


def test_problems(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.pem").touch()
    assert controller_files.controller_file_problems({"a": "there.pem", "b": "", "c": str(tmp_path / "there.pem")}) == []
    assert controller_files.controller_file_problems({"a": "gone.pem", "b": "/gone.pem", "c": "."}) == [
        f"a is gone.pem, which is no file on the controller ({tmp_path}/gone.pem): correct it.",
        "b is /gone.pem, which is no file on the controller: correct it.",
        f"c is ., which is no file on the controller ({tmp_path}): correct it."]
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read all
    assert controller_files.controller_file_problems({"a": "there.pem"}) == [
        "a is there.pem, which cannot be read on the controller: let the account that runs Ansible read it."]


DIGEST = hashlib.sha256(b"a program").hexdigest()


@pytest.fixture(name="found")
def fixture_found(tmp_path, monkeypatch):
    """Of an artifact with these settings, beside a file that is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program.jar").write_bytes(b"a program")

    def found(**settings):
        settings = {"name": "the program", "variable": "program", "path": "", "url": "", "sha256": "", **settings}
        return controller_files.controller_artifact(settings, "cache")

    return found


@pytest.mark.parametrize("sha256", ["", DIGEST, DIGEST.upper()])
def test_a_file_is_known_by_what_is_in_it(found, tmp_path, sha256):
    expected = {"path": str(tmp_path / "program.jar"), "sha256": DIGEST, "missing": False, "problems": []}
    assert found(path="program.jar", sha256=sha256) == expected
    # A path wins.
    assert found(path="program.jar", sha256=sha256, url="https://x/other.jar") == expected


def test_a_download_is_missing_until_the_right_file_is_there(found, tmp_path):
    url, path = "https://ada:word@x.example/a/program.jar?token=b", tmp_path / "cache" / f"{DIGEST[:12]}-program.jar"
    expected = {"path": str(path), "sha256": DIGEST, "missing": True, "problems": []}
    assert found(url=url, sha256=DIGEST.upper()) == expected
    path.parent.mkdir()
    path.write_bytes(b"half a pro")
    assert found(url=url, sha256=DIGEST) == expected
    path.write_bytes(b"a program")
    assert found(url=url, sha256=DIGEST) == {**expected, "missing": False}


@pytest.mark.parametrize("settings, problem", [
    ({}, "there is nothing to install the program from. Set program_path to a file on the controller, or program_url together with program_sha256."),
    ({"path": "program.jar", "sha256": "ABC"}, "program_sha256 is not a SHA-256 (64 hexadecimal digits): ABC"),
    ({"url": "https://x/a"}, "the program is to be downloaded, but nothing says what must arrive. Set program_sha256 to the SHA-256 of the file "
                             "behind program_url."),
    ({"path": "gone.jar"}, "the program is not there: gone.jar is no readable file on the controller ({here}/gone.jar). Correct program_path."),
    ({"path": "."}, "the program is not there: . is no readable file on the controller ({here}). Correct program_path."),
    ({"path": "program.jar", "sha256": "0" * 64}, f"the program is not the right file: program.jar has the SHA-256 {DIGEST}, but program_sha256 says "
                                                  f"{'0' * 64}. Correct one of the two."),
])  # fmt: skip
def test_what_is_wrong_with_an_artifact(found, tmp_path, settings, problem):
    artifact = found(**settings)
    assert artifact["problems"] == [problem.format(here=tmp_path)]
    assert artifact["missing"] is False
