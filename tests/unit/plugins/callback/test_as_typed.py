# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run was given as extra variables. That it arrives is tested in tests/unit/test_awx_answers.py, with each core in tests/cores."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.sparkflows.mlops.plugins.callback.as_typed import given


def read(path):
    return Path(path).read_text(encoding="utf-8")


def test_later_ones_count(tmp_path):
    (tmp_path / "a.yml").write_text("a: !unsafe '0123'\nb: 1\n")
    assert given([f"@{tmp_path / 'a.yml'}", '{"b": 2}', "c=3", None], read) == {"a": "0123", "b": 2, "c": "3"}


# Who writes -e @<(sops --decrypt secrets.yml) has a pipe, which Ansible has read; to open it once more would wait for ever.
def test_a_pipe_is_not_read_again(tmp_path):
    (tmp_path / "a.yml").write_text("a: !unsafe '0123'\n")
    os.mkfifo(tmp_path / "pipe")
    assert given([f"@{tmp_path / 'a.yml'}", f"@{tmp_path / 'pipe'}"], lambda _path: "a: !unsafe read") == {}
