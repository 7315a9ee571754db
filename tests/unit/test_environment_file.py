# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd reads from the environment file of a service is what the variables say."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.no_proxy import no_proxy
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment

TEMPLATE = Path(__file__).resolve().parents[2] / "roles/topology/templates/environment.j2"


def render(variables, **more):
    # As Ansible sets up a template.
    environment = Environment(trim_blocks=True, keep_trailing_newline=True)
    environment.filters["sparkflows.mlops.no_proxy"] = no_proxy
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(environment_variables=variables, _mlops_own_hosts=["mlflow1"], **more)


def as_systemd_reads(text):
    """systemd.exec(5): in double quotes a backslash before one of these is dropped, any other is kept."""
    found = re.findall(r'^([A-Z_]+)="((?:[^"\\]|\\.)*)"$', text, flags=re.DOTALL | re.MULTILINE)
    return {name: re.sub(r'\\(["\\`$])', r"\1", value) for name, value in found}


@given(st.text(st.characters(min_codepoint=32, max_codepoint=382), min_size=1))
def test_any_value_arrives_unchanged(value):
    assert as_systemd_reads(render({"A": value, "B": "next"})) == {"A": value, "B": "next", "NO_PROXY": "mlflow1"}


def test_order_is_stable_and_empty_values_are_left_out():
    text = render({"B": 5001, "A": "x", "NONE": None, "EMPTY": ""})
    assert text.splitlines()[1:] == ['A="x"', 'B="5001"', 'NO_PROXY="mlflow1"', 'no_proxy="mlflow1"']


def test_no_service_asks_a_proxy_for_the_sites_own_hosts():
    """Where systemd gives all services a proxy (DefaultEnvironment), it gives them what needs none, too; the file of a service comes after it."""
    found = as_systemd_reads(render({"NO_PROXY": "s3.example.com", "HTTPS_PROXY": "http://proxy:3128"}, __mlops_host={"no_proxy": ".corp"}))
    assert found == {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "mlflow1,.corp,s3.example.com"}
