# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule

url_host = FilterModule().filters()["url_host"]


@pytest.mark.parametrize(("host", "expected"), [
    ("2001:db8::11", "[2001:db8::11]"), ("::1", "[::1]"), ("[::1]", "[::1]"), ("10.1.2.3", "10.1.2.3"), ("mlflow1", "mlflow1")])  # fmt: skip
def test_host_in_a_url(host, expected):
    assert url_host(host) == expected
