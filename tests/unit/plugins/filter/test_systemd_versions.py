# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.systemd_versions import SINCE

FILTERS = FilterModule().filters()
SANDBOX = [line for line in (Path(__file__).parents[4] / "roles/topology/files/sandbox.conf").read_text().splitlines() if line[:1].isupper()]


@pytest.mark.parametrize(("version", "unknown"), [
    (239, ["ProtectProc", "ProtectClock", "ProtectHostname", "ProtectKernelLogs", "RestrictSUIDSGID"]),  # RHEL 8
    (245, ["ProtectProc"]),
    (249, []),  # Ubuntu 22.04
    (0, []),
    ("", []),
])  # fmt: skip
def test_sandbox(version, unknown):
    assert FILTERS["unknown_to_systemd"](SANDBOX, version) == unknown
    known = FILTERS["known_to_systemd"](SANDBOX, version)
    assert [line for line in SANDBOX if line.partition("=")[0] not in unknown] == known


def test_every_version_is_of_a_setting_that_the_sandbox_has():
    assert set(SINCE) <= {line.partition("=")[0] for line in SANDBOX}
