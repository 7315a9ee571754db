# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from hypothesis import given
from hypothesis import strategies as st

FILTERS = FilterModule().filters()
DATABASE = {
    "mlops_database_host": "db.example", "mlops_database_port": 5432, "mlops_database_name": "mlflow", "mlops_database_user": "mlflow",
    "mlops_database_password": "canary", "mlops_database_sslmode": "verify-full", "mlops_database_ca_path": "",
}  # fmt: skip
ARTIFACTS = {
    "mlops_home": "/opt/mlflow", "mlops_s3_endpoint_url": "", "mlops_s3_bucket": "models", "mlops_s3_prefix": "/mlflow/", "mlops_s3_region": "",
    "mlops_s3_addressing_style": "auto", "mlops_s3_access_key": "", "mlops_s3_secret_key": "", "mlops_s3_ca_path": "",
    "mlops_s3_ignore_tls": False, "mlops_s3_upload_extra_args": {}, "mlops_artifact_access": "direct",
}  # fmt: skip
SPARK = {"mlops_spark_secret": "", "mlops_spark_job_port_first": 7100, "mlops_spark_job_port_last": "7163"}
SSH = {
    "mlops_mlflow_url": "http://mlflow.example", "mlops_sparkflows_url": "https://FIRE2:8443", "mlops_ssh_mlflow_user": "ml",
    "mlops_ssh_sparkflows_user": "sf", "mlops_ssh_key_path": "/k/id",
}  # fmt: skip
GROUPS = {"mlflow": ["one"], "sparkflows": ["fire1", "fire2"]}
DEBIAN, ROCKY = {"id": "ubuntu", "id_like": ["debian"]}, {"id": "rocky", "id_like": ["rhel", "fedora"]}


def database(distribution=DEBIAN, **settings):
    return FILTERS["site_database"]({**DATABASE, **settings}, distribution)


def artifacts(**settings):
    return FILTERS["site_artifacts"]({**ARTIFACTS, **settings})


def ssh(host, hostvars):
    return FILTERS["site_ssh"](SSH, host, GROUPS, hostvars, "/k/hosts")


# ---- the database ----------------------------------------------------------------------------------------------------
def test_no_host_is_no_database():
    assert database(mlops_database_host="")["uri"] == ""


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_what_is_encoded_is_what_was_set(user, password, name):
    found = database(mlops_database_user=user, mlops_database_password=password, mlops_database_name=name)
    parts = urlsplit(found["uri"])
    assert (unquote(parts.username), unquote(parts.password), unquote(parts.path[1:])) == (user, password, name)
    assert (parts.scheme, parts.hostname, parts.port) == ("postgresql+psycopg2", "db.example", 5432)
    # It is masked where it is shown.
    assert parts.password == found["password_encoded"]


def test_the_host_knows_the_authorities():
    assert database(ROCKY)["uri"].endswith("?sslmode=verify-full&sslrootcert=/etc/pki/tls/certs/ca-bundle.crt")
    assert database(DEBIAN)["ca_path"] == database({})["ca_path"] == "/etc/ssl/certs/ca-certificates.crt"
    own = database(mlops_database_ca_path="/etc/pki/own ca.pem", mlops_database_sslmode="verify-ca")
    assert parse_qs(urlsplit(own["uri"]).query) == {"sslmode": ["verify-ca"], "sslrootcert": ["/etc/pki/own ca.pem"]}
    assert database(mlops_database_sslmode="require")["uri"].endswith("?sslmode=require")


def test_an_address_has_brackets_and_a_password_may_be_a_number_or_none():
    assert "//mlflow:123@[2001:db8::5]:5432/" in database(mlops_database_host="2001:db8::5", mlops_database_password=123)["uri"]
    assert "//mlflow@db.example:5432/" in database(mlops_database_password="")["uri"]


# ---- the artifact store ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("bucket", "prefix", "root"), [
    ("models", "/mlflow/", "s3://models/mlflow"), ("models", "", "s3://models"), ("models", "a/b", "s3://models/a/b"), ("", "mlflow", ""),
])  # fmt: skip
def test_root(bucket, prefix, root):
    assert artifacts(mlops_s3_bucket=bucket, mlops_s3_prefix=prefix)["root"] == root


def test_only_what_is_set_is_in_the_environment():
    assert artifacts()["environment"] == {}
    found = artifacts(mlops_s3_access_key="a", mlops_s3_secret_key="canary", mlops_s3_ignore_tls="yes", mlops_s3_upload_extra_args={"ACL": "private"})
    assert found["environment"] == {
        "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "canary", "MLFLOW_S3_IGNORE_TLS": "true",
        "MLFLOW_S3_UPLOAD_EXTRA_ARGS": json.dumps({"ACL": "private"}),
    }  # fmt: skip


@pytest.mark.parametrize("settings", [{"mlops_artifact_access": "proxied"}, {"mlops_s3_bucket": ""}])
def test_clients_need_nothing_of_what_comes_through_mlflow(settings):
    assert artifacts(mlops_s3_access_key="a")["client_environment"] == {"AWS_ACCESS_KEY_ID": "a"}
    assert artifacts(mlops_s3_access_key="a", **settings)["client_environment"] == {}


@pytest.mark.parametrize(("style", "bucket", "there"), [("path", "models", True), ("auto", "models", False), ("path", "", False)])
def test_boto3_is_given_a_file_where_it_needs_one(style, bucket, there):
    found = artifacts(mlops_s3_addressing_style=style, mlops_s3_bucket=bucket)
    assert (found["environment"].get("AWS_CONFIG_FILE") == found["settings_path"]) == there
    assert [file["path"] for file in found["files"]] == ["/opt/mlflow/etc", "/opt/mlflow/etc/s3.conf"]
    assert (found["files"][1].get("state") != "absent") == there


# ---- Spark -----------------------------------------------------------------------------------------------------------
def test_ports_and_security_of_a_cluster():
    found = FILTERS["site_spark"](SPARK)
    assert found["job_ports"] == {"spark.driver.port": 7100, "spark.blockManager.port": 7100, "spark.port.maxRetries": 63}
    assert found["security"] == {}
    assert FILTERS["site_spark"]({**SPARK, "mlops_spark_secret": "canary"})["security"]["spark.authenticate.secret"] == "canary"


# ---- SSH -------------------------------------------------------------------------------------------------------------
def test_peers_are_what_the_other_end_says_of_itself():
    found = ssh("one", {"fire1": {"mlops_address": "192.0.2.2", "mlops_ssh_port": "2222", "mlops_ssh_sources": ["10.0.0.0/8"]}, "fire2": {}})
    assert (found["is_mlflow"], found["user"]) == (True, "ml")
    assert found["peers"] == [
        {"host": "fire1", "address": "192.0.2.2", "names": ["192.0.2.2", "fire2"], "port": 2222, "user": "sf", "sources": ["10.0.0.0/8"]},
        {"host": "fire2", "address": "fire2", "names": ["fire2"], "port": 22, "user": "sf", "sources": ["fire2"]},
    ]


def test_a_name_is_the_same_in_capitals():
    found = ssh("fire1", {"one": {"mlops_address": "MLflow.Example"}})
    assert (found["is_mlflow"], found["user"]) == (False, "sf")
    assert found["peers"][0]["names"] == ["MLflow.Example"] and found["peers"][0]["user"] == "ml"


def test_an_end_without_hosts_has_no_peers():
    assert FILTERS["site_ssh"](SSH, "one", {"mlflow": ["one"]}, {}, "/k/hosts")["peers"] == []


def test_command_says_every_option():
    command = ssh("one", {"fire1": {"mlops_address": "192.0.2.2", "mlops_ssh_port": 2222}, "fire2": {}})["commands"]["fire1"]
    assert command[:7] == ["ssh", "-F", "none", "-i", "/k/id", "-p", "2222"] and command[-2:] == ["sf@192.0.2.2", "true"]
    assert {"StrictHostKeyChecking=yes", "UserKnownHostsFile=none", "GlobalKnownHostsFile=/k/hosts", "BatchMode=yes"} < set(command)
    assert all(isinstance(part, str) for part in command)
