# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.plugin_utils import sandbox

HIDDEN, SHOWN = ["/etc", "/var", "/srv"], ["/etc/ssl"]


@pytest.mark.parametrize("environment, expected", [
    ({}, []),
    ({"AWS_CA_BUNDLE": "/etc/ssl/ca.pem", "REQUESTS_CA_BUNDLE": "/usr/share/ca.pem"}, []),
    ({"AWS_CA_BUNDLE": "/srv/ca.pem", "REQUESTS_CA_BUNDLE": "/srv/ca.pem", "OTHER": "/srv/x"}, ["/srv/ca.pem"]),
    ({"URI": "postgresql://u:p@db/x?sslmode=verify-full&sslrootcert=%2Fvar%2Fpki%2Fca.pem"}, ["/var/pki/ca.pem"]),
    ({"SSL_CERT_FILE": "/etc/sslother/ca.pem", "CURL_CA_BUNDLE": "/var/tmp/ca.pem", "PGSSLROOTCERT": None}, ["/etc/sslother/ca.pem"]),
])  # fmt: skip
def test_certificates_that_the_unit_has_to_show(environment, expected):
    assert sandbox.sandbox_certificates(environment, HIDDEN, SHOWN) == expected


def test_certificates_that_nobody_can_show():
    environment = {"AWS_CA_BUNDLE": "/home/ada/ca.pem", "SSL_CERT_FILE": "/etc/mlflow/ca.pem", "REQUESTS_CA_BUNDLE": "/srv/ca.pem"}
    first, second = sandbox.sandbox_certificate_problems(environment, ["/etc/mlflow"], "fire_mlops_server_environment")
    assert "fire_mlops_server_environment.AWS_CA_BUNDLE lies in /home, where no service can look" in first
    assert "fire_mlops_server_environment.SSL_CERT_FILE lies in /etc/mlflow" in second
    problems = sandbox.sandbox_certificate_problems({"mlops_s3_ca_path": "/tmp/ca.pem", "mlops_database_ca_path": ""}, [])
    assert len(problems) == 1 and problems[0].startswith("mlops_s3_ca_path lies in /tmp, ")


@pytest.mark.parametrize("path, good", [
    ("/opt/mlflow", True), ("/srv/ml-flow_2.0/größe", True), ("", True), ("/opt/mlflow/", True), ("/opt/ml flow", False), ("/opt/100%", False),
    ("/opt/'x'", False),
    ('/opt/"x"', False), ("/opt/a\nb", False), ("/opt/mlflow\n", False), ("opt/mlflow", False), ("/opt/$HOME", False),
    ("/a;b", False), ("/a:b", False), ("/a\\b", False), ("/", False),
    ("/home/ada/mlflow", False), ("/root", False), ("/homework/x", True)])  # fmt: skip
def test_paths_of_units(path, good):
    problems = sandbox.unit_path_problems({"mlops_home": path})
    assert len(problems) == (not good) and all("mlops_home is " in problem for problem in problems)


@pytest.mark.parametrize("name, good", [("mlflow", True), ("_ml-flow2", True), ("ml flow", False), ("2ml", False), ("ml%", False), ("", False),
                                        ("a" * 32, False), ("mlflow\n", False)])  # fmt: skip
def test_accounts(name, good):
    assert len(sandbox.account_problems({"mlops_user": name})) == (not good)
