# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter import controller_files


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
