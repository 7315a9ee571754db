# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.acceptance_plan import FilterModule

FILTERS = FilterModule().filters()
HOSTS = {"m1": {}, **{f"m-{name}": {"serving_firewall_backend": name} for name in ("none", "nftables", "ufw", "firewalld")}}


@pytest.mark.parametrize(("state", "expected"), [
    ("auto", ["filtered", "closed", "closed", "filtered", "filtered"]), ("closed", ["closed"] * 5), ("filtered", ["filtered"] * 5)])
def test_how_a_closed_port_looks(state, expected):
    assert FILTERS["closed_states"](list(HOSTS), HOSTS, state) == dict(zip(HOSTS, expected))


@pytest.mark.parametrize(("sample", "words"), [
    ({}, ""), ({"tolerance": "1e-6"}, ""), ({"model": "other", "port": 5001}, ""), ({"model": "other", "url": "https://x/"}, ""),
    ({"expected": "not-yet.csv"}, ""),
    ({"model": None}, "(no model): set model, rows and expected."), ({"rows": ""}, "(risk): set model, rows and expected."),
    ({"rows": "missing.csv"}, "rows is missing.csv, which is no file on the controller"), ({"model": "other"}, "(other): the model is not in"),
    ({"tolerance": "much"}, "(risk): tolerance is no number."), ({"tolerance": ""}, "tolerance is no number."),
])
def test_samples(sample, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("x")
    well = {"model": "risk", "rows": "rows.csv", "expected": "expected.csv"}
    problems = FILTERS["sample_problems"]([well, {**well, **sample}], iter(["risk"]))
    assert len(problems) == bool(words) and words in "".join(problems)
    assert not problems or problems[0].startswith("acceptance_samples[1] (")
