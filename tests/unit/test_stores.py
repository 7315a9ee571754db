# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stores' role refuses without asking a store, and what MLflow is told of them. Each case is a host of one run here."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from playbook_run import LOCAL, PROJECT, found_in, looked, problem_of, tell

PASSWORD = "canary@:/?#%+& '\"\\$`ä-9d3e"
DATABASE = {"mlops_database_host": "db.example.com", "mlops_database_password": PASSWORD}
BUCKET = {"mlops_s3_bucket": "registry", "mlops_s3_access_key": "key", "mlops_s3_secret_key": "secret"}
SHARED = dict(DATABASE, **BUCKET, mlops_mlflow_address="mlflow.example.com")

# name: (hosts in the group mlflow, variables, words of the problem; none where all is well)
CASES = {
    "nothing": (1, {}, []),
    "name": (1, dict(DATABASE, mlops_database_name="", mlops_database_user=""), ["mlops_database_name is empty", "mlops_database_user is empty"]),
    "host-with-port": (1, dict(DATABASE, mlops_database_host="db.example.com:5432"), ["mlops_database_host", "mlops_database_port"]),
    "uri": (1, dict(DATABASE, mlops_database_host="postgresql://db"), ["mlops_database_host"]),
    "hidden-ca": (1, dict(DATABASE, mlops_database_ca_path="/etc/mlflow/ca.pem"), ["mlops_database_ca_path lies in /etc/mlflow"]),
    "hidden-s3-ca": (1, dict(BUCKET, mlops_s3_ca_path="/etc/mlflow/ca.pem"), ["mlops_s3_ca_path lies in /etc/mlflow"]),
    "bucket": (1, dict(BUCKET, mlops_s3_bucket="s3://registry"), ["mlops_s3_bucket", "mlops_s3_prefix"]),
    "endpoint": (1, dict(BUCKET, mlops_s3_endpoint_url="10.2.0.10:9000"), ["mlops_s3_endpoint_url", "http://"]),
    "half": (1, dict(BUCKET, mlops_s3_secret_key=""), ["mlops_s3_access_key and mlops_s3_secret_key"]),
    "several": (2, {}, ["mlops_database_host", "mlops_s3_bucket", "mlops_mlflow_address"]),
    "several-address": (2, dict(SHARED, mlops_mlflow_address="192.0.2.11"), ["mlops_mlflow_address"]),
    "several-shared-directory": (2, {
        "mlflow_server_artifacts_destination": "/mnt/shared", "mlflow_server_backend_store_uri": "mysql://db/mlflow",
        "mlops_mlflow_address": "mlflow.example.com"}, []),
}
# Of these, what MLflow and the others are told is looked at.
TOLD = {
    "defaults": {},
    "database": DATABASE,
    "ipv6": dict(DATABASE, mlops_database_host="2001:db8::5", mlops_database_user="a/b", mlops_database_sslmode="require"),
    "no-password": {"mlops_database_host": "db", "mlops_database_ca_path": "/etc/ssl/ca.pem"},
    "direct": dict(BUCKET, mlops_s3_endpoint_url="https://s3", mlops_s3_prefix="/a/b/", mlops_s3_addressing_style="path", mlops_s3_ca_path="/ca.pem"),
    "proxied": dict(BUCKET, mlops_artifact_access="proxied", mlops_s3_prefix=""),
    "encrypted": dict(BUCKET, mlops_s3_upload_extra_args={"ServerSideEncryption": "aws:kms"}),
    "credentials-only": {"mlops_s3_access_key": "key", "mlops_s3_secret_key": "secret"},
}

PLAYBOOK = """
- hosts: cases
  gather_facts: false
  tasks:
    - block:
        - ansible.builtin.include_role: {name: sparkflows.mlops.mlflow_stores, tasks_from: preflight}
        - ansible.builtin.set_fact: {found: {problem: ""}}
      rescue:
        - ansible.builtin.set_fact: {found: {problem: "{{ ansible_failed_result.msg }}"}}

# The roles do nothing here; their variables are looked at. Without the tag, each of their tasks would be looked at, too.
- hosts: told
  gather_facts: false
  roles:
    - sparkflows.mlops.topology
    - {role: sparkflows.mlops.mlflow_server, when: false, tags: [never]}
    - {role: sparkflows.mlops.fire_mlops_server, when: false, tags: [never]}
    - {role: sparkflows.mlops.model_serving, when: false, tags: [never]}
    - {role: sparkflows.mlops.batch_scoring, when: false, tags: [never]}
  tasks:
    - ansible.builtin.set_fact:
        found:
          server: "{{ _mlflow_server_variables }}"
          fire: "{{ _fire_mlops_server_variables }}"
          batch: "{{ _batch_scoring_secrets.environment }}"
          serving: "{{ _model_serving_variables }}"
          secrets: "{{ _mlflow_server_secrets }}"
          fire_address: "{{ mlops_fire_mlops_address }}"

- hosts: cases[0]
  gather_facts: false
  tasks:
""" + tell("(groups['cases'] + groups['told'])")


@pytest.fixture(name="found", scope="module")
def fixture_found(tmp_path_factory):
    """Case -> what was found."""
    found = {}
    for number in (1, 2):
        folder = tmp_path_factory.mktemp("stores")
        hosts = {name: variables for name, (several, variables, _words) in CASES.items() if several == number}
        told = TOLD if number == 1 else {}
        # Told outside of any role.
        common = {**LOCAL, **looked(mlops_data_dir=str(folder)), "mlops_stack_dir": str(PROJECT / "stacks/guide-1.30"),
                  "mlops_data_dir": str(folder), "mlops_user": "nobody-else", "mlops_address": "127.0.0.1",
                  "mlflow_server_minimum_free_mb": 1}
        mlflow = {f"mlflow{index}": {"mlops_address": f"192.0.2.{10 + index}"} for index in range(1, number + 1)}
        inventory = {"all": {"vars": common, "children": {
            "mlflow": {"hosts": mlflow}, "cases": {"hosts": hosts}, "told": {"hosts": told}, "sparkflows": {"hosts": {"f": {}}}}}}
        found.update(found_in(folder, inventory, PLAYBOOK))
    return found


@pytest.mark.parametrize("name", CASES)
def test_problem_is_named_before_a_store_is_asked(found, name):
    assert "canary" not in problem_of(found[name], CASES[name][2])


def test_sqlite_and_a_directory_are_the_default(found):
    server = found["defaults"]["server"]
    assert server["MLFLOW_BACKEND_STORE_URI"].startswith("sqlite:////") and server["MLFLOW_ARTIFACTS_DESTINATION"].startswith("/")
    assert not server["MLFLOW_DEFAULT_ARTIFACT_ROOT"] and not [name for name in server if name.startswith("AWS_")]


def test_password_is_encoded_once(found):
    told = found["database"]
    uri = urlsplit(told["server"]["MLFLOW_BACKEND_STORE_URI"])
    assert (uri.scheme, uri.username, uri.hostname, uri.port, uri.path) == ("postgresql+psycopg2", "mlflow", "db.example.com", 5432, "/mlflow")
    assert unquote(uri.password) == PASSWORD and not set(uri.password) & set("@:/?#+& '\"\\$`ä")
    assert parse_qs(uri.query) == {"sslmode": ["verify-full"], "sslrootcert": ["/etc/ssl/certs/ca-certificates.crt"]}
    assert {PASSWORD, uri.password} <= set(told["secrets"])


def test_uri_of_an_address(found):
    uri = urlsplit(found["ipv6"]["server"]["MLFLOW_BACKEND_STORE_URI"])
    assert uri.hostname == "2001:db8::5" and uri.netloc.startswith("a%2Fb:") and uri.query == "sslmode=require"


def test_uri_without_a_password(found):
    uri = urlsplit(found["no-password"]["server"]["MLFLOW_BACKEND_STORE_URI"])
    assert uri.netloc == "mlflow@db:5432" and parse_qs(uri.query)["sslrootcert"] == ["/etc/ssl/ca.pem"]


def test_everyone_who_writes_to_the_bucket_is_told_how(found):
    for who in ("server", "fire", "batch", "serving"):
        assert found["encrypted"][who]["MLFLOW_S3_UPLOAD_EXTRA_ARGS"] == '{"ServerSideEncryption": "aws:kms"}', who
        assert not found["direct"][who].get("MLFLOW_S3_UPLOAD_EXTRA_ARGS"), who


def test_direct_access_gives_everyone_the_credentials(found):
    told = found["direct"]
    assert told["server"]["MLFLOW_DEFAULT_ARTIFACT_ROOT"] == told["server"]["MLFLOW_ARTIFACTS_DESTINATION"] == "s3://registry/a/b"
    for who in ("server", "fire", "batch", "serving"):
        assert {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_CA_BUNDLE": "/ca.pem",
                "AWS_CONFIG_FILE": "/opt/mlflow/etc/s3.conf", "MLFLOW_S3_ENDPOINT_URL": "https://s3"}.items() <= told[who].items(), who


def test_proxied_access_keeps_the_credentials(found):
    told = found["proxied"]
    assert told["server"]["MLFLOW_ARTIFACTS_DESTINATION"] == "s3://registry" and not told["server"]["MLFLOW_DEFAULT_ARTIFACT_ROOT"]
    for who, has in {"server": True, "fire": True, "batch": False, "serving": False}.items():
        assert ("AWS_SECRET_ACCESS_KEY" in told[who]) == has, who


def test_credentials_without_a_bucket_go_to_the_fire_mlops_server(found):
    told = found["credentials-only"]
    assert told["fire"]["AWS_SECRET_ACCESS_KEY"] == "secret" and "AWS_SECRET_ACCESS_KEY" not in told["serving"]
    assert told["server"]["MLFLOW_ARTIFACTS_DESTINATION"].startswith("/")


def test_fire_mlops_server_is_at_the_only_host(found):
    assert found["defaults"]["fire_address"] == "192.0.2.11"
