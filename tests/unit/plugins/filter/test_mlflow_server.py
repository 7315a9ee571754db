# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import re

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.mlflow_server import is_loopback

mlflow_server_problems = FilterModule().filters()["mlflow_server_problems"]
SETTINGS = {
    "mlflow_server_artifact_roots": [], "mlflow_server_artifacts_destination": "/var/lib/mlflow/artifacts",
    "mlflow_server_backend_store_uri": "sqlite:////var/lib/mlflow/db/mlflow.db", "mlflow_server_environment": {},
    "mlflow_server_gc_older_than": "30d",
    "mlflow_server_minimum_free_mb": "100",
    "mlflow_server_request_timeout": 60, "mlflow_server_search_terms": 32, "mlflow_server_threads": "8", "mlflow_server_workers": 4,
    "mlops_address": "192.0.2.11", "mlops_config_dir": "/etc/mlflow", "mlops_data_dir": "/var/lib/mlflow", "mlops_mlflow_address": "192.0.2.11",
    "mlops_mlflow_bind_address": "127.0.0.1", "mlops_mlflow_login": "proxy", "mlops_mlflow_password": "x",
    "mlops_mlflow_port": 5000, "mlops_mlflow_proxy": True, "mlops_mlflow_scheme": "https",
    "mlops_mlflow_url": "https://192.0.2.11:5000", "mlops_stack": "ours", "mlops_stack_dir": "/nowhere",
    "mlops_user": "mlflow",
}  # fmt: skip
NGINX = {"address": "192.0.2.11", "port": 5000, "pid": 1, "unit": "nginx.service", "user": "root", "process": "nginx"}
HOST = {"disks": {"/var/lib/mlflow": {"free_bytes": 100 * 1024**2, "mount": "/var"}}, "listeners": [NGINX]}


@pytest.mark.parametrize(("changed", "words"), [
    ({}, None), ({"mlops_mlflow_port": "5000", "mlflow_server_workers": "1"}, None),
    ({"mlflow_server_backend_store_uri": "/srv/mlruns"}, "is not the URI of a database"),
    ({"mlflow_server_artifacts_destination": ""}, "mlflow_server_artifacts_destination is empty"),
    ({"mlflow_server_artifact_roots": ["s3://b", "here"]}, "here in mlflow_server_artifact_roots is no URI"),
    ({"mlflow_server_environment": {"SSL_CERT_FILE": "/root/ca.pem"}}, "mlflow_server_environment.SSL_CERT_FILE lies in /root"),
    ({"mlops_mlflow_bind_address": "192.0.2.11"}, "behind the proxy MLflow listens on loopback"),
    ({"mlops_mlflow_bind_address": "192.0.2.11", "mlops_mlflow_proxy": False}, None),
    ({"mlops_mlflow_bind_address": "::1"}, None),
    ({"mlflow_server_workers": 0}, "mlflow_server_workers must be 1 or more."),
    ({"mlflow_server_threads": "1"}, "mlflow_server_threads must be 2 or more."),
    ({"mlflow_server_search_terms": ""}, "mlflow_server_search_terms must be"),
    ({"mlflow_server_request_timeout": "x"}, "mlflow_server_request_timeout must"),
    ({"mlflow_server_minimum_free_mb": "101"}, "100 MB are free on /var, 101 MB are asked for"),
    ({"mlflow_server_gc_older_than": "1d12h"}, None), ({"mlflow_server_gc_older_than": "90m30s"}, None),
    # MLflow takes this for 0, and removes what was deleted a second ago.
    ({"mlflow_server_gc_older_than": ""}, "mlflow_server_gc_older_than is '': set it to days, hours"),
    ({"mlflow_server_gc_older_than": "30"}, "mlflow_server_gc_older_than is '30': set it"),
    ({"mlflow_server_gc_older_than": 30}, "gc_older_than is '30'"),
])  # fmt: skip
def test_settings(changed, words):
    problems = mlflow_server_problems({**SETTINGS, **changed}, HOST, {})
    assert len(problems) == (words is not None) and (words is None or words in problems[0]), problems


def test_when_what_was_deleted_is_removed():
    assert mlflow_server_problems(SETTINGS, HOST, {"rc": 0}) == []
    assert mlflow_server_problems(SETTINGS, HOST, {"rc": 1, "stderr": "Failed to parse\n'dayly'"}) == [
        "mlflow_server_gc_schedule is no time that systemd knows (Failed to parse 'dayly'): set it to something such as daily, or *-*-* 02:30:00."]


@pytest.mark.parametrize(("lock", "changed", "words"), [
    ("Flask_WTF==1.3.0 \\\n", {}, []), ("flask-wtf==1.3.0 \\\n", {"mlops_mlflow_password": "twelve chars"}, []),
    ("mlflow==1.30.1\n# flask-wtf\n", {}, ["the stack ours has no login app of MLflow"]),
    ("flask-wtf==1.3.0\n", {"mlops_mlflow_proxy": False, "mlops_mlflow_bind_address": "192.0.2.11", "mlops_mlflow_password": "eleven char"}, [
        "mlops_mlflow_proxy is false: passwords would go over the network", "mlops_mlflow_password is too short: .*12 characters"]),
])  # fmt: skip
def test_mlflow_s_own_login_app(tmp_path, lock, changed, words):
    (tmp_path / "requirements.txt").write_text(lock)
    settings = {**SETTINGS, "mlops_stack_dir": str(tmp_path), "mlops_mlflow_login": "mlflow", "mlops_mlflow_password": "a long password", **changed}
    found = mlflow_server_problems(settings, HOST, {})
    assert len(found) == len(words) and all(map(re.search, words, found)), found
    assert mlflow_server_problems({**settings, "mlops_mlflow_login": "proxy"}, HOST, {}) == []


@pytest.mark.parametrize("uri", ["postgresql://mlflow:secret@db/mlflow", "postgresql+psycopg2://mlflow:secret@db/mlflow"])
@pytest.mark.parametrize("lock", ["mlflow==1.30.1\n", "psycopg2-binary==2.9.9\n"])
def test_driver_of_the_stack(tmp_path, uri, lock):
    (tmp_path / "requirements.txt").write_text(lock)
    problems = mlflow_server_problems({**SETTINGS, "mlflow_server_backend_store_uri": uri, "mlops_stack_dir": str(tmp_path)}, HOST, {})
    assert len(problems) == ("psycopg2" not in lock)
    assert all("no driver (psycopg2-binary)" in problem and "secret" not in problem for problem in problems)


@pytest.mark.parametrize(("changed", "listeners", "reached"), [
    ({}, [], False), ({}, [NGINX], True), ({}, [{**NGINX, "address": "::"}], True), ({}, [{**NGINX, "address": "127.0.0.1"}], False),
    ({}, [{**NGINX, "port": 443}], False), ({"mlops_mlflow_url": "https://ml.example.com"}, [], True),
    ({"mlops_mlflow_bind_address": "0.0.0.0"}, [], True),
    ({"mlops_mlflow_address": "127.0.0.1", "mlops_mlflow_url": "https://127.0.0.1:5000"}, [], True),
    ({"mlops_mlflow_address": "2001:db8::11", "mlops_mlflow_url": "https://[2001:db8::11]:5000"}, [], False),
])  # fmt: skip
def test_without_the_proxy_somebody_must_reach_it(changed, listeners, reached):
    problems = mlflow_server_problems({**SETTINGS, "mlops_mlflow_proxy": False, **changed}, {**HOST, "listeners": listeners}, {})
    assert [("nobody reaches" in problem) for problem in problems] == ([] if reached else [True])


def test_another_program_on_its_port():
    other = {**NGINX, "unit": "other.service", "process": "docker-registry"}
    assert mlflow_server_problems(SETTINGS, {**HOST, "listeners": [other]}, {}) == [
        "Port 5000 is taken by another program (docker-registry): stop it, or set mlops_mlflow_port."]  # fmt: skip
    # Of a process that root does not see, the account tells whose it is.
    assert mlflow_server_problems(SETTINGS, {**HOST, "listeners": [{**other, "pid": 0, "user": "mlflow"}]}, {}) == []


def test_loopback():
    assert [is_loopback(address) for address in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert [is_loopback(address) for address in ("0.0.0.0", "::", "::12", "localhost.example.com", "10.127.0.1")] == [False] * 5
