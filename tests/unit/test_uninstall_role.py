# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each role that makes something on a host says what, in a form that the plan of role uninstall understands."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"
# These make nothing on hosts, or take it away themselves (the firewall's rules).
NOTHING = {"acceptance", "awx", "mlflow_stores", "offline_scoring", "serving_firewall", "uninstall"}
ASKED = yaml.safe_load((ROLES / "uninstall/vars/main.yml").read_text(encoding="utf-8"))["_uninstall_roles"]
KINDS = {"units", "links", "files", "folders", "data", "accounts", "apt_sources", "elsewhere", "named_by_units"}


def test_every_role_is_asked():
    """A new role says what it makes, or is named above."""
    assert set(ASKED) | NOTHING == {path.name for path in ROLES.iterdir() if (path / "tasks").is_dir()}
    assert not set(ASKED) & NOTHING and len(ASKED) == len(set(ASKED))


@pytest.mark.parametrize("role", ASKED)
def test_what_a_role_says_is_understood(role):
    (task,) = yaml.safe_load((ROLES / role / "tasks/made.yml").read_text(encoding="utf-8"))
    said = task["ansible.builtin.set_fact"][f"__{role}_made"]
    assert said and set(said) <= KINDS
