# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule

strangers = FilterModule().filters()["strangers"]
UNIT = {"port": 5000, "unit": "mlflow.service", "pid": 7, "user": "mlflow"}


@pytest.mark.parametrize(("listener", "ours"), [
    (UNIT, True), (dict(UNIT, unit="session-1.scope"), False), (dict(UNIT, unit=""), False), (dict(UNIT, port=5001, unit=""), True),
    (dict(UNIT, unit="", pid=None), True), (dict(UNIT, unit="", pid=None, user="dana"), False),
])  # fmt: skip
def test_a_port_is_held_by_our_unit_or_if_that_cannot_be_seen_by_our_account(listener, ours):
    assert strangers([listener], ["5000"], ["mlflow.service"], ["mlflow"]) == ([] if ours else [listener])
