"""Machines with names, paths and package manager of distributions that cannot be had here: what the roles do there that they do nowhere else."""

from __future__ import annotations

import json
import re

import pytest
from conftest import PLATFORMS, passed

JAVA = "readlink -f /srv/mlflow/java; readlink /srv/mlflow/java; /srv/mlflow/java/bin/java -version 2>&1"


@pytest.fixture(name="installed", scope="module")
def fixture_installed(machine):
    """After site.yml, which was asked first what it would do; and what the two runs said."""
    if PLATFORMS[machine.platform] != "site":
        pytest.skip("its preflight alone is run")
    checked = passed(machine.play("playbooks/site.yml", "--check", "--diff"))
    done = passed(machine.play("playbooks/site.yml", "--diff"))
    return {"checked": checked, "done": done}


@pytest.fixture(name="el", scope="module")
def fixture_el(machine, installed):
    del installed
    if machine.platform.startswith("ubuntu"):
        pytest.skip("it is none of the RHEL family")
    return machine


@pytest.fixture(name="ubuntu", scope="module")
def fixture_ubuntu(machine, installed):
    del installed
    if not machine.platform.startswith("ubuntu"):
        pytest.skip("it is no Ubuntu")
    return machine


def test_preflight_passes_on_the_bare_machine(machine):
    done = passed(machine.play("playbooks/preflight.yml"))
    assert set(done.changed.values()) == {0}


def test_site_ends_with_a_good_report_and_then_changes_nothing(machine, installed):
    del installed
    report = json.loads(machine.report().read_text(encoding="utf-8"))
    assert report["summary"]["failed"] == 0
    assert {"service mlflow.service", "MLflow port is open", "registry round trip"} <= {
        check["name"] for check in report["checks"] if check["status"] == "passed"}  # fmt: skip
    again = passed(machine.play("playbooks/site.yml", "--diff"))
    assert set(again.changed.values()) == {0}, again.output[-10000:]


def test_packages_come_from_dnf(el):
    assert {"nginx", "java-1.8.0-openjdk-devel"} <= set(el.sh("rpm -qa --queryformat '%{NAME}\\n'").split())


def test_nginx_has_our_sites_and_not_its_default_server(el):
    loaded = el.sh("nginx -T 2>/dev/null")
    assert "user nginx;" in loaded and "# configuration file /etc/nginx/conf.d/mlops-mlflow.conf:" in loaded
    assert el.sh("ss -Hltn sport = :80") == ""
    # All but the server is as it came, also the comment that has another one.
    assert re.findall(r"^(#?) +include /etc/nginx/(.*)/\*\.conf;", loaded, flags=re.MULTILINE) == [("", "conf.d"), ("#", "default.d")]
    assert el.sh("stat -c %G /etc/nginx/mlops /etc/nginx/mlops/mlflow.htpasswd").split() == ["nginx", "nginx"]


def test_selinux_has_a_policy_for_what_is_there(el):
    """In the store of its policy: no kernel with SELinux runs below a container."""
    assert re.search(r"^http_port_t +tcp .*\b5000\b", el.sh("semanage port -l"), flags=re.MULTILINE)
    assert re.search(r"^httpd_can_network_connect +\(\w+ *, +on\)", el.sh("semanage boolean -l"), flags=re.MULTILINE)
    assert ":bin_t:" in el.sh("matchpathcon /srv/mlflow/current/bin/mlflow")


def test_java_survives_an_update_of_its_package(el):
    versioned, link = el.sh(JAVA).splitlines()[:2]
    assert link == "/usr/lib/jvm/java-1.8.0-openjdk"
    el.sh("dnf --quiet --assumeyes --enablerepo=updates update 'java-1.8.0-openjdk*'")
    after = el.sh(JAVA).splitlines()
    assert el.sh(f"ls -d {versioned.partition('.b06')[0]}* 2>/dev/null || true") == ""
    assert after[1] == link and 'version "1.8.0' in "".join(after)
    again = passed(el.play("playbooks/site.yml", "--diff"))
    assert set(again.changed.values()) == {0}, again.output[-10000:]


def test_ports_are_opened_in_ufw(ubuntu):
    assert "Status: active" in ubuntu.sh("ufw status") and "mlops-serving" in ubuntu.sh("ufw show added")


def test_jdk_and_nginx_are_those_of_the_distribution(ubuntu):
    assert ubuntu.sh("readlink /opt/mlflow/java").strip().startswith("/usr/lib/jvm/java-")
    assert "mlops-mlflow.conf" in ubuntu.sh("nginx -T 2>/dev/null")
    assert ubuntu.sh("ss -Hltn sport = :80") == ""
