"""Bad input: a clear message, before anything is changed on any host. On fresh machines, with the whole of site.yml."""

from __future__ import annotations

import pytest

# extra variables -> what the operator has to be told: the host or the value, and the variable to set
BAD_INPUT = {
    "unknown deploy mode": ("mlops_deploy_mode=cluster", ["mlops_deploy_mode", "fire_mlops_server, local, remote", "cluster"]),
    "port out of range": ("mlops_fire_mlops_port=70000", ["mlflow1", "mlops_fire_mlops_port is 70000, which is not a port", "1 to 65535"]),
    "variable that nobody reads": ("mlops_deploy_mod=local", ["mlops_deploy_mod is no variable of this collection", "mean mlops_deploy_mode?"]),
    "port with a space": ('{"mlops_mlflow_port": "5000 "}', ["mlops_mlflow_port is '5000 '", "set it to a whole number"]),
    "port that is no number": ("mlops_mlflow_port=http", ["mlops_mlflow_port", "http"]),
    "serving range that overlaps MLflow": ("mlops_serving_port_first=4990", ["4990-5020 contain the MLflow port 5000", "mlops_serving_port_first"]),
    "serving range that overlaps Fire MLOps": ("mlops_serving_port_last=9000", ["5001-9000 contain the Fire MLOps port 8086"]),
    "serving range upside down": ("mlops_serving_port_last=4000", ["mlops_serving_port_last must not be below"]),
    "URL without a scheme": ("mlops_sparkflows_url=sparkflows1:8443", ["mlops_sparkflows_url is not a URL", "https://"]),
    "artifact with neither url nor path": ("fire_mlops_server_path=", ["nothing to install", "fire_mlops_server_path", "fire_mlops_server_url"]),
    "artifact with a wrong sha256": ("fire_mlops_server_sha256=" + "0" * 64, ["is not the right file", "fire_mlops_server_sha256", "0" * 64]),
    "unknown configuration key": ('{"sparkflows_configuration_extra": {"mlops.mlflow.trackingUrl": "x"}}',
                                  ["mlops.mlflow.trackingUrl", "mlops.mlflow.trackingURL", "sparkflows_configuration_extra"]),
    "wrong token": ("mlops_sparkflows_token=wrong-token", ["mlops_sparkflows_token", "sparkflows1"]),
    "no free disk": ("mlflow_runtime_min_free_bytes=900000000000000", ["mlflow1", "mlflow_runtime_min_free_bytes", "free"]),
    "serving port outside the range": (
        '{"model_serving_models": [{"name": "m", "version": 1, "port": 6001}]}',
        ["mlflow1", "model_serving_models, m: port", "5001 to 5020"]),
    "proxy without a login": ("mlops_mlflow_password=", ["mlflow1", "mlops_mlflow_password is empty", "mlops_mlflow_proxy"]),
    "proxy without a certificate": ("mlflow_proxy_certificate_method=provided", ["mlflow1", "mlflow_proxy_certificate_path is empty"]),
    "client that is no address": ('{"mlops_client_sources": ["10.0.0.300"]}', ["10.0.0.300", "mlops_client_sources"]),
}


def refused(lab, run, said, before):
    assert run.returncode != 0, run.output
    for words in said:
        assert words in run.text, run.output
    # The preflight changes nothing, on no host: neither by Ansible's own account nor by the engine's.
    assert set(run.changed.values()) == {0}, run.output
    assert {host: lab.files_changed(host) for host in before} == before


@pytest.fixture(name="before")
def fixture_before(lab):
    return {host: lab.files_changed(host) for host in ("mlflow1", "sparkflows1")}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_variable(lab, before, name):
    extra, said = BAD_INPUT[name]
    refused(lab, lab.run("site.yml", "--extra-vars", extra), said, before)


def test_sparkflows_down(lab, before):
    lab.sh("sparkflows1", "systemctl stop fire")
    try:
        refused(lab, lab.run("site.yml", "--extra-vars", "sparkflows_configuration_wait=3"), ["sparkflows1", "mlops_sparkflows_url"], before)
    finally:
        lab.sh("sparkflows1", "systemctl start fire")


def test_zone_that_opens_a_port_to_everybody(lab, before):
    lab.sh("mlflow1", "firewall-cmd --quiet --add-port=5000/tcp && firewall-cmd --quiet --add-service=docker-registry")
    try:
        refused(lab, lab.run("site.yml"), ["mlflow1", "opens 5000/tcp to everybody", "service docker-registry (5000/tcp)", "--remove-port"], before)
    finally:
        lab.sh("mlflow1", "firewall-cmd --quiet --remove-port=5000/tcp; firewall-cmd --quiet --remove-service=docker-registry")


def test_tmp_noexec_without_the_setting(lab, before):
    lab.sh("mlflow1", "mount -o remount,noexec /tmp")
    try:
        refused(lab, lab.run("site.yml"), ["mlflow1", "noexec", "mlops_tmp_dir"], before)
    finally:
        lab.sh("mlflow1", "mount -o remount,exec /tmp")


def test_unsupported_distribution(lab, before):
    lab.sh("mlflow1", "sed 's/^ID=.*/ID=plan9/; s/^PRETTY_NAME=.*/PRETTY_NAME=Plan9/' /etc/os-release > /run/os-release"
                      " && mount --bind /run/os-release /usr/lib/os-release")
    try:
        refused(lab, lab.run("site.yml"), ["mlflow1", "plan9"], before)
    finally:
        lab.sh("mlflow1", "umount /usr/lib/os-release")
