# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule

listen_ports = FilterModule().filters()["listen_ports"]


@pytest.mark.parametrize(("content", "ports"), [
    ("server {\n    listen 192.0.2.11:5000 ssl;\n}\nserver {\n    listen 127.0.0.2:5000;\n}\n", [5000]),
    ("server { listen [2001:db8::11]:5001 ssl; listen *:5000; }", [5000, 5001]),
    ("server { listen 5003 default_server; listen localhost:5004; }", [5003, 5004]),
    ("server { listen 192.0.2.11; }", [80]),
    ("server { listen [::1]; }", [80]),
    ("server { listen unix:/run/nginx.sock; }", []),
    ("# was { listen 6002; }\nserver { listen 5000; }", [5000]),
    ("# listen 6000;\nserver { listen 5000; # listen 6001;\n}", [5000]),
    ("map $host $x { default 1; }", []),
])  # fmt: skip
def test_ports_are_those_that_the_sites_name(content, ports):
    assert listen_ports([{"name": "a", "content": content}]) == ports


def test_sites_that_go_have_none():
    assert listen_ports([{"name": "a", "state": "absent"}, {"name": "b", "content": "server { listen 5000; }", "state": "absent"}]) == []
