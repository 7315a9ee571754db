# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.module_utils import systemd

WANTED = ("ActiveState", "MainPID", "NRestarts", "UnitFileState")


@pytest.fixture(name="ask")
def fixture_ask(monkeypatch):
    """ask(answers, ...) -> what is understood, and how often systemd was asked. It repeats its last answer."""
    monkeypatch.setattr(systemd.time, "sleep", lambda _seconds: None)

    def ask(*answers, **options):
        asked = []

        def run_command(command):
            asked.append(command)
            return 0, answers[min(len(asked), len(answers)) - 1], "Connection timed out"

        found = systemd.shown(run_command, "x.service", WANTED, **options)
        assert set(map(tuple, asked)) == {("systemctl", "show", "--property", "ActiveState,MainPID,NRestarts,UnitFileState", "x.service")}
        return found, len(asked)

    return ask


def test_all_is_said(ask):
    text = "MainPID=12\nNRestarts=0\nActiveState=active\nUnitFileState=\nOther=x\n"
    assert ask(text) == ({"MainPID": 12, "NRestarts": 0, "ActiveState": "active", "UnitFileState": ""}, 1)


def test_what_is_left_out_is_asked_for_again(ask):
    answers = ["", "ActiveState=active\nMainPID=\nNRestarts", "ActiveState=failed\nUnitFileState=enabled\n", "MainPID=0\nNRestarts=[not set]\n"]
    assert ask(*answers, "NRestarts=3\n") == ({"MainPID": 0, "NRestarts": 3, "ActiveState": "failed", "UnitFileState": "enabled"}, 5)


def test_what_is_never_said_is_left_out(ask):
    assert ask("MainPID=1\nActiveState=active\nUnitFileState=enabled", needed=["ActiveState"]) == (
        {"MainPID": 1, "ActiveState": "active", "UnitFileState": "enabled"}, systemd.ATTEMPTS)


def test_what_is_needed_is_an_error(ask):
    with pytest.raises(systemd.Silent) as problem:
        ask("UnitFileState=enabled", needed=["ActiveState", "MainPID", "UnitFileState"])
    assert str(problem.value) == "systemd does not say whether x.service runs (ActiveState, MainPID). Connection timed out"
