# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles of the services refuse, and what their units and settings say. Each case is a host of one run here."""

from __future__ import annotations

import getpass
import json
import subprocess
import sys

import pytest
from playbook_run import PROJECT, preflights, problem_of

CANARY = "canary-4c1f"
USER = {"name": "sparkflows", "password": CANARY}
# Takes a port, under a name that another program has, until its input ends.
STRANGER = """
import socket
open("/proc/self/comm", "w").write("nginx")
with socket.socket() as taken:
    taken.bind(("0.0.0.0", 0))
    taken.listen()
    print(taken.getsockname()[1], flush=True)
    input()
"""
MODEL = {"name": "iris v2", "version": 3, "port": "5001"}

# name: (role, variables, words of the problem; none where all is well)
CASES = {
    "server": ("mlflow_server", {}, []),
    "server-strings": ("mlflow_server", {"mlflow_server_workers": "4", "mlflow_server_minimum_free_mb": "1"}, []),
    "server-postgresql": (
        "mlflow_server", {"mlflow_server_backend_store_uri": "postgresql+psycopg2://mlflow:x%2Fy@db/mlflow"}, []),
    "server-blank": ("mlflow_server", {"mlops_home": "/opt/ml flow", "mlops_user": "ml%flow"}, [
        "mlops_home is '/opt/ml flow'", "mlops_user is 'ml%flow'"]),
    "server-hidden": ("mlflow_server", {"mlflow_server_environment": {"REQUESTS_CA_BUNDLE": "/home/ada/ca.pem"}}, [
        "mlflow_server_environment.REQUESTS_CA_BUNDLE lies in /home, where no service can look"]),
    "fire-blank": ("fire_mlops_server", {"fire_mlops_server_home": "/opt/fire mlops"}, ["fire_mlops_server_home is '/opt/fire mlops'"]),
    "serving-hidden": ("model_serving", {"model_serving_environment": {"AWS_CA_BUNDLE": "/etc/mlflow/ca.pem"}}, [
        "model_serving_environment.AWS_CA_BUNDLE lies in /etc/mlflow"]),
    "server-mysql": ("mlflow_server", {"mlflow_server_backend_store_uri": f"mysql+pymysql://mlflow:{CANARY}@db/mlflow"}, [
        "mlflow_server_backend_store_uri names a database (mysql)", "no driver (pymysql)", "mlops_database_host", "mlops_stack_dir"]),
    "server-mssql": ("mlflow_server", {"mlflow_server_backend_store_uri": "mssql://db/mlflow"}, ["no driver (pyodbc)"]),
    "server-files": ("mlflow_server", {"mlflow_server_backend_store_uri": "/srv/mlruns"}, [
        "mlflow_server_backend_store_uri is not the URI of a database"]),
    "server-nothing": ("mlflow_server", {"mlflow_server_artifacts_destination": "", "mlflow_server_workers": 0}, [
        "mlflow_server_artifacts_destination is empty", "mlflow_server_workers must be 1 or more"]),
    "server-threads": ("mlflow_server", {"mlflow_server_threads": "1"}, ["mlflow_server_threads must be 2 or more"]),
    "server-full": ("mlflow_server", {"mlflow_server_minimum_free_mb": 10 ** 12}, [
        "not enough room", "mlflow_server_minimum_free_mb", "mlops_data_dir"]),
    "server-port": ("mlflow_server", {"mlops_mlflow_port": "taken"}, ["is taken by another program", "mlops_mlflow_port"]),
    "server-outside": ("mlflow_server", {"mlops_mlflow_bind_address": "10.0.0.1"}, [
        "behind the proxy MLflow listens on loopback", "mlops_mlflow_proxy"]),
    "server-no-proxy": ("mlflow_server", {"mlops_mlflow_bind_address": "10.0.0.1", "mlops_mlflow_proxy": "false"}, []),
    "server-alone": ("mlflow_server", {"mlops_mlflow_proxy": "false", "mlops_mlflow_address": "192.0.2.11"}, [
        "MLflow listens on 127.0.0.1: nobody reaches http://192.0.2.11:5000", "Set mlops_mlflow_bind_address to"]),
    "server-own-proxy": ("mlflow_server", {
        "mlops_mlflow_proxy": "false", "mlops_mlflow_address": "192.0.2.11", "mlops_mlflow_url": "https://mlflow"}, []),
    "server-login": ("mlflow_server", {"mlops_mlflow_login": "mlflow", "mlops_stack": "mlflow-3", "mlops_mlflow_password": "twelve chars"}, []),
    "server-no-login-app": ("mlflow_server", {"mlops_mlflow_login": "mlflow", "mlops_mlflow_password": "eleven char"}, [
        "the stack guide-1.30 has no login app of MLflow", "mlops_stack to mlflow-2 or mlflow-3", "mlops_mlflow_password is too short"]),
    "server-gc": ("mlflow_server", {"mlflow_server_gc_schedule": "Sun *-*-* 03:30:00", "mlflow_server_gc_older_than": "1d12h"}, []),
    "server-gc-never": ("mlflow_server", {"mlflow_server_gc_schedule": "dayly", "mlflow_server_gc_older_than": "soon"}, [
        "mlflow_server_gc_schedule is no time that systemd knows", "mlflow_server_gc_older_than is 'soon'"]),
    "server-roots": ("mlflow_server", {"mlflow_server_artifact_roots": ["s3://b/x", "/srv/a", "relative"]}, [
        "relative in mlflow_server_artifact_roots"]),
    "server-ipv6": ("mlflow_server", {"mlops_mlflow_bind_address": "::1", "mlops_mlflow_address": "2001:db8::11",
                                      # Told outside of any role.
                                      "mlops_stack_dir": str(PROJECT / "stacks/guide-1.30"), "told": {
        "host": "{{ _mlflow_server_variables.MLFLOW_HOST }}", "here": "{{ mlops_mlflow_local_url }}", "there": "{{ mlops_mlflow_url }}"}}, []),
    "proxy-ipv6": ("mlflow_proxy", {"mlops_mlflow_bind_address": "::1", "mlflow_proxy_listen_address": "2001:db8::11", "told": {
        "listen": "{{ _mlflow_proxy_listen }}", "behind": "{{ _mlflow_proxy_tracking }}"}}, []),
    "server-path": ("mlflow_server", {"mlops_mlflow_path": "mlflow/"}, ["mlops_mlflow_path is mlflow/", "begin with a slash"]),
    "proxy": ("mlflow_proxy", {}, []),
    "proxy-strings": ("mlflow_proxy", {"mlflow_proxy_timeout": "60", "mlflow_proxy_artifact_max_size": "100"}, []),
    "proxy-none": ("mlflow_proxy", {"mlops_mlflow_proxy": "false", "mlops_mlflow_username": "", "mlflow_proxy_key_path": ""}, []),
    "proxy-no-login": ("mlflow_proxy", {"mlops_mlflow_username": "", "mlops_mlflow_password": ""}, [
        "mlops_mlflow_username is empty", "mlops_mlflow_password is empty", "mlops_mlflow_proxy to false"]),
    "proxy-users": ("mlflow_proxy", {"mlflow_proxy_users": [USER, {"name": "dana", "password": "x", "access": "read"}]}, []),
    "proxy-mlflow-s-users": ("mlflow_proxy", {"mlops_mlflow_login": "mlflow", "mlflow_proxy_users": [USER, {"name": "dana", "password": "x"}]}, [
        "mlflow_proxy_users has other users", "(dana)", "mlops_mlflow_login to proxy"]),
    "proxy-other-users": ("mlflow_proxy", {"mlflow_proxy_users": [dict(USER, password=CANARY + "2")]}, [
        "mlflow_proxy_users lacks the login that Sparkflows is given", "mlops_mlflow_password"]),
    "proxy-reader": ("mlflow_proxy", {"mlflow_proxy_users": [dict(USER, access="read")]}, ["mlflow_proxy_users lacks the login"]),
    "proxy-names": ("mlflow_proxy", {"mlflow_proxy_users": [USER, {"name": "a:b", "password": "x"}, {"name": "c", "password": ""}]}, [
        "a:b is no name of a user", "the password of c is empty"]),
    "proxy-case": ("mlflow_proxy", {"mlflow_proxy_users": [USER, dict(USER, name="Sparkflows", access="read")]}, []),
    "proxy-long": ("mlflow_proxy", {"mlflow_proxy_users": [USER, {"name": "a" * 129, "password": "x"}, {"name": "b", "password": "\u00e9" * 256},
                                                           {"name": "c", "password": "\u00e9" * 255}]}, [
        "a is no name of a user", "128 at the most", "the password of b has 512 bytes, and 511 is the most"]),
    "proxy-host-names": ("mlflow_proxy", {"mlflow_proxy_names": ["https://mlflow", "mlflow.example.com"]}, [
        'mlflow_proxy_names: "https://mlflow" is no name or address of a host']),
    "proxy-twice": ("mlflow_proxy", {"mlflow_proxy_users": [USER, USER]}, ["has sparkflows twice"]),
    "proxy-two-cases": ("mlflow_proxy", {"mlflow_proxy_users": [USER, {"name": "Dana", "password": "x"}, {"name": "dana", "password": "x"}]}, []),
    "proxy-access": ("mlflow_proxy", {"mlflow_proxy_users": [dict(USER, access="admin")]}, ["access", "admin", "write, read"]),
    "proxy-certificate": ("mlflow_proxy", {"mlflow_proxy_certificate_path": "", "mlflow_proxy_key_path": "/nowhere.key"}, [
        "mlflow_proxy_certificate_path is empty", "mlflow_proxy_key_path is /nowhere.key, which is no file"]),
    "proxy-authority": ("mlflow_proxy", {"mlflow_proxy_certificate_method": "ca"}, [
        "mlflow_proxy_ca_path is empty", "mlflow_proxy_ca_key_path is empty"]),
    "proxy-address": ("mlflow_proxy", {"mlflow_proxy_listen_address": "mlflow1"}, ["mlflow_proxy_listen_address is mlflow1", "no IP address"]),
    "proxy-everywhere": ("mlflow_proxy", {"mlflow_proxy_listen_address": "0.0.0.0"}, ["mlflow_proxy_listen_address is 0.0.0.0"]),
    "proxy-numbers": ("mlflow_proxy", {"mlflow_proxy_timeout": 0, "mlflow_proxy_logins_burst": -1}, [
        "mlflow_proxy_timeout must be 1 or more", "mlflow_proxy_logins_burst must be 0 or more"]),
    "proxy-limits": ("mlflow_proxy", {"mlflow_proxy_client_timeout": "0", "mlflow_proxy_requests": 0, "mlflow_proxy_login_transfers": 0}, [
        "mlflow_proxy_client_timeout must be 1 or more", "mlflow_proxy_requests must be", "mlflow_proxy_login_transfers must be"]),
    "proxy-transfers": ("mlflow_proxy", {"mlflow_proxy_transfers": "16", "mlflow_server_threads": "16"}, [
        "mlflow_proxy_transfers must be less than mlflow_server_threads"]),
    "proxy-port": ("mlflow_proxy", {"mlops_mlflow_port": "taken", "mlflow_proxy_listen_address": "127.0.0.3"}, [
        "is taken by another program", "mlops_mlflow_port"]),
    "fire": ("fire_mlops_server", {}, []),
    "fire-nothing": ("fire_mlops_server", {"fire_mlops_server_path": ""}, [
        "nothing to install the Fire MLOps server from", "fire_mlops_server_url"]),
    "fire-version": ("fire_mlops_server", {"fire_mlops_server_version": ""}, ["fire_mlops_server_version is empty"]),
    "fire-sha256": ("fire_mlops_server", {"fire_mlops_server_sha256": "0" * 64}, ["is not the right file", "0" * 64]),
    "fire-command": ("fire_mlops_server", {"fire_mlops_server_command": []}, ["fire_mlops_server_command is empty"]),
    "fire-secret": ("fire_mlops_server", {"fire_mlops_server_command": ["run", f"--key={CANARY}"]}, [
        "fire_mlops_server_command holds a secret", "fire_mlops_server_environment"]),
    "fire-own-secret": ("fire_mlops_server", {
        "fire_mlops_server_environment": {"LICENCE_KEY": "lk-77"}, "fire_mlops_server_command": ["run", "lk-77"]}, [
        "fire_mlops_server_command holds a secret"]),
    "fire-path": ("fire_mlops_server", {"fire_mlops_server_health_url_path": "health"}, ["must begin with a slash"]),
    "fire-port": ("fire_mlops_server", {"mlops_fire_mlops_port": "taken"}, [
        "is taken by another program", "mlops_fire_mlops_port", "InfluxDB"]),
    "fire-other-mode": ("fire_mlops_server", {"mlops_deploy_mode": "local", "fire_mlops_server_path": "", "mlops_fire_mlops_port": "taken"}, []),
    "spark-port": ("spark_cluster", {"mlops_spark_port": "taken"}, ["is taken by another program", "mlops_spark_port"]),
    "serving-nothing": ("model_serving", {}, []),
    "serving": ("model_serving", {"model_serving_models": [MODEL, {"name": "old", "state": "absent"}]}, []),
    "serving-twice": ("model_serving", {"model_serving_models": [MODEL, {"name": "b", "stage": "None", "port": 5001}]}, [
        "iris v2 and b have the same port, 5001"]),
    "serving-outside": ("model_serving", {"model_serving_models": [dict(MODEL, port=5000)]}, [
        "model_serving_models, iris v2: port must be in the range", "5001 to 5020"]),
    "serving-private": ("model_serving", {"mlops_serving_private_port_first": 5020}, [
        "The private serving ports 5020-15060 contain a port that is not theirs", "mlops_serving_private_port_first"]),
    "serving-private-range": ("model_serving", {"mlops_serving_private_port_last": "15000"}, ["15001-15000", "or are no range"]),
    "serving-tls": ("model_serving", {"mlops_serving_scheme": "https", "model_serving_models": [MODEL]}, [
        "mlops_serving_scheme is https, but model_serving_certificate does not say", "provided or ca"]),
    "serving-login": ("model_serving", {"mlops_serving_username": "scoring", "mlops_serving_password": CANARY}, []),
    "serving-names": ("model_serving", {"model_serving_names": ["https://models", "models.example.com"]}, [
        'model_serving_names: "https://models" is no name or address of a host']),
    "serving-long-password": ("model_serving", {"model_serving_users": [{"name": "a", "password": "\u20ac" * 171}]}, [
        "model_serving_users: the password of a has 513 bytes"]),
    "serving-no-password": ("model_serving", {"mlops_serving_username": "scoring"}, ["model_serving_users: the password of scoring is empty"]),
    "serving-odd-user": ("model_serving", {"model_serving_users": [{"name": "a:b", "password": CANARY}]}, ["a name without a colon"]),
    "serving-stack": ("model_serving", {"model_serving_models": [dict(MODEL, stack="mlflow-2")]}, []),
    "serving-no-stack": ("model_serving", {"model_serving_models": [dict(MODEL, stack="mlflow-9")]}, [
        "model_serving_models, iris v2: stack is mlflow-9, but ", "stacks/mlflow-9/stack.yml does not exist: set stack to"]),
    "serving-typo": ("model_serving", {"model_serving_models": [dict(MODEL, verison=1)]}, ["verison"]),
    "serving-port": ("model_serving", {
        "model_serving_models": [dict(MODEL, port="taken")], "mlops_serving_port_last": 65000, "mlops_serving_port_first": 10000,
        "mlops_serving_private_port_first": 65001, "mlops_serving_private_port_last": 65060}, [
        "is taken by another program", "model_serving_models"]),
}


@pytest.fixture(name="found", scope="module")
def fixture_found(tmp_path_factory):
    """Case -> the problem that the role's preflight found."""
    folder = tmp_path_factory.mktemp("services")
    (folder / "fire.jar").write_text("x")
    with subprocess.Popen([sys.executable, "-c", STRANGER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stranger:
        port = stranger.stdout.readline().strip()
        hosts = {name: dict(variables, role=role) for name, (role, variables, _words) in CASES.items()}
        common = {
            "mlops_address": "127.0.0.1",
            "mlops_s3_secret_key": CANARY,
            "mlops_mlflow_username": "sparkflows",
            "mlops_mlflow_password": CANARY,
            "mlflow_proxy_listen_address": "192.0.2.1",
            "mlflow_proxy_certificate_path": str(folder / "fire.jar"),
            "mlflow_proxy_key_path": str(folder / "fire.jar"),
            "mlops_data_dir": str(folder),
            # Whoever has the account of a service, or its name, is still no process of its unit.
            "mlops_user": getpass.getuser(),
            "fire_mlops_server_user": getpass.getuser(),
            "mlops_spark_secret": CANARY,
            "fire_mlops_server_version": "1.0",
            "fire_mlops_server_path": str(folder / "fire.jar"),
        }
        found = preflights(folder, json.loads(json.dumps(hosts).replace('"taken"', port)), common, groups=[("spark", "spark-port")])
        stranger.stdin.close()
    return found


@pytest.mark.parametrize("name", CASES)
def test_problem_is_named_before_anything_is_changed(found, name):
    assert CANARY not in problem_of(found[name], CASES[name][2])


def test_ipv6_addresses_stand_in_brackets(found):
    told = {"host": "[::1]", "here": "http://[::1]:5000", "there": "https://[2001:db8::11]:5000"}
    assert {name: str(found["server-ipv6"][name]).strip() for name in told} == told
    told = {"listen": "[2001:db8::11]:5000", "behind": "http://[::1]:5000"}
    assert {name: str(found["proxy-ipv6"][name]).strip() for name in told} == told
