# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role writes for nginx. That nginx and MLflow do with it what is meant is proven in the lab."""

from __future__ import annotations

import re

import pytest
from playbook_run import PROJECT, preflights

WRITERS = [f"writer-{'x' * 90}-{number}" for number in range(150)]
CASES = {
    "many": {
        "mlflow_proxy_users": [
            *({"name": name, "password": "x"} for name in ["sparkflows", *WRITERS]), {"name": "Sparkflows", "password": "x", "access": "read"}],
        "mlflow_proxy_names": [f"{'long-label.' * 15}{number}.example.com" for number in range(50)],
        "mlflow_proxy_certificate_names": ["*.example.com", "2001:db8::1"],
    },
}


@pytest.fixture(name="sites", scope="module")
def fixture_sites(tmp_path_factory):
    """Case -> the site."""
    folder = tmp_path_factory.mktemp("proxy")
    (folder / "a.pem").write_text("x")
    found = preflights(folder, CASES, {
        "role": "mlflow_proxy",
        # For what is told, outside of the role.
        "role_path": f"{PROJECT}/roles/mlflow_proxy",
        "mlops_address": "192.0.2.1",
        "mlops_data_dir": str(folder),
        "mlops_mlflow_username": "sparkflows",
        "mlops_mlflow_password": "x",
        "mlflow_proxy_certificate_path": str(folder / "a.pem"),
        "mlflow_proxy_key_path": str(folder / "a.pem"),
        "told": {"site": f"{{{{ lookup('ansible.builtin.template', '{PROJECT}/roles/mlflow_proxy/templates/mlflow.conf.j2') }}}}"},
    })  # fmt: skip
    return {case: told.get("site") or pytest.fail(told["problem"]) for case, told in found.items()}


def test_lists_have_no_bounds(sites):
    """nginx keeps the plain entries of a map in a table with bounds. Expressions are none of those. A word has 4096 bytes at most."""
    site = sites["many"]
    entries = re.findall(r'^    "(.*)" \S+;$', "\n".join(re.findall(r"^map .*?^}", site, re.M | re.S)), re.M)
    assert len(entries) > 200
    assert {entry for entry in entries if not entry.startswith("~")} == {""}
    assert max(map(len, re.findall(r"\S+", site))) < 4096
    assert "server_name " not in site


def test_writers_keep_their_order_and_the_case_of_their_names(sites):
    assert [name.replace("\\", "") for name in re.findall(r'"~\^write (.*)\$" /granted', sites["many"])] == ["sparkflows", *WRITERS]


def test_names_of_a_certificate_are_names_of_the_server(sites):
    assert '"~*^[^.]+\\.example\\.com$" 0;' in sites["many"] and "2001" not in sites["many"]
