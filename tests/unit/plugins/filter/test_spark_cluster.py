# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from hypothesis import given
from hypothesis import strategies as st

FILTERS = FilterModule().filters()
# Numbers as AWX gives them, and as they are.
SETTINGS = {
    "data_dir": "/var/lib/mlflow/spark",
    "host": "spark1",
    "hosts": {"spark1": "10.0.0.1", "spark2": "10.0.0.2", "spark3": "2001:db8::3"},
    "job_ports": ["7100", 7163],
    "loaded": ["/etc/mlflow/spark/spark.env"],
    "mlops_address": "10.0.0.1",
    "mlops_spark_port": "7077",
    "mlops_spark_secret": "long",
    "mlops_spark_url": "spark://10.0.0.1:7077",
    "mlops_tmp_dir": "",
    "mlops_user": "mlflow",
    "spark_cluster_master_web_port": 8080,
    "spark_cluster_worker_cores": "2",
    "spark_cluster_worker_memory": "2g",
    "spark_cluster_worker_port": 7078,
    "spark_cluster_worker_web_port": "8081",
}
JOBS = "7100-7163"


def plan(**settings):
    return FILTERS["spark_cluster_plan"](dict(SETTINGS, **settings))


def first_hosts(number):
    return dict(list(SETTINGS["hosts"].items())[:number])


def problems(listeners=(), **settings):
    return FILTERS["spark_cluster_problems"](dict(SETTINGS, **settings), listeners)


@pytest.mark.parametrize(("host", "hosts", "services", "workers"), [
    ("spark1", 3, ["master"], ["spark2", "spark3"]), ("spark3", 3, ["worker"], ["spark2", "spark3"]), ("spark1", 1, ["master", "worker"], ["spark1"]),
    ("other", 1, [], ["spark1"]), ("other", 0, [], []),
])  # fmt: skip
def test_the_first_host_is_the_master_and_alone_it_is_both(host, hosts, services, workers):
    found = plan(host=host, hosts=first_hosts(hosts))
    assert [service["name"] for service in found["services"]] == services
    assert (found["is_master"], found["workers"]) == ("master" in services, workers)


def test_what_spark_s_starter_is_told():
    found = plan(mlops_address="2001:db8::1")
    assert found["master"] == {"name": "master", "port": 7077, "web_port": 8080, "command": (
        "org.apache.spark.deploy.master.Master --host [2001:db8::1] --port 7077 --webui-port 8080"),
        "unit": "/etc/systemd/system/spark-master.service",
        "loaded": ["/etc/systemd/system/spark-master.service", "/etc/mlflow/spark/spark.env"]}  # fmt: skip
    assert found["worker"]["command"] == (
        "org.apache.spark.deploy.worker.Worker --host [2001:db8::1] --port 7078 --webui-port 8081 --cores 2 --memory 2g "
        "--work-dir /var/lib/mlflow/spark/work spark://10.0.0.1:7077")  # fmt: skip


@pytest.mark.parametrize(("host", "hosts", "sources", "ports"), [
    ("spark1", 3, ["10.0.0.2", "2001:db8::3"], ["7077", "8080", JOBS]), ("spark2", 3, ["10.0.0.1", "2001:db8::3"], ["7078", "8080", JOBS]),
    ("spark1", 1, [], ["7077", "7078", "8080", JOBS]),
])  # fmt: skip
def test_the_other_hosts_of_the_cluster_may_reach_it(host, hosts, sources, ports):
    assert plan(host=host, hosts=first_hosts(hosts))["firewall_rules"] == {
        "name": "mlops-spark", "guarded": ports, "openings": [{"source": source, "ports": ports} for source in sources]}


def test_environment():
    assert plan()["variables"] == {"SPARK_NO_DAEMONIZE": "1", "SPARK_LOCAL_IP": "10.0.0.1"}
    assert plan(mlops_tmp_dir="/srv/tmp")["variables"] == {
        "SPARK_LOCAL_DIRS": "/srv/tmp", "TMPDIR": "/srv/tmp", "JAVA_TOOL_OPTIONS": "-Djava.io.tmpdir=/srv/tmp",
        "SPARK_NO_DAEMONIZE": "1", "SPARK_LOCAL_IP": "10.0.0.1"}  # fmt: skip


@pytest.mark.parametrize(("settings", "words"), [
    ({}, []),
    ({"host": "other"}, ["not in the inventory group spark"]),
    ({"mlops_spark_secret": ""}, ["mlops_spark_secret is empty"]),
    ({"spark_cluster_worker_cores": "two"}, ["spark_cluster_worker_cores must be 1 or more"]),
    ({"spark_cluster_worker_memory": 2}, ["spark_cluster_worker_memory is 2: set it to a number with a unit"]),
    ({"spark_cluster_worker_memory": "2gb"}, ["spark_cluster_worker_memory is 2gb"]),
    ({"spark_cluster_worker_memory": "512M", "job_ports": [7100, "7103"]}, []),
    ({"job_ports": ["7100", "7102"]}, ["The ports of jobs 7100-7102 are fewer than 4"]),
    ({"host": "other", "mlops_spark_secret": "", "spark_cluster_worker_cores": 0}, ["not in the inventory", "secret is empty", "cores must be"]),
])  # fmt: skip
def test_problems(settings, words):
    found = problems(**settings)
    assert len(found) == len(words), found
    assert all(word in problem for word, problem in zip(words, found)), found


def test_ports_that_others_have():
    listeners = [{"port": port, "unit": unit, "pid": pid, "user": user} for port, unit, pid, user in (
        (7077, "spark-master.service", 7, "mlflow"), (7078, "other.service", 8, "root"), (8080, "tomcat.service", 9, "tomcat"),
        (8081, "", None, "mlflow"))]
    advice = "is taken by another program: stop it, or set mlops_spark_port or the spark_cluster_*_port."
    # A host that runs the master alone needs no port of a worker.
    assert problems(listeners) == [f"Port 8080 {advice}"]
    assert problems(listeners, hosts=first_hosts(1)) == [f"Port 7078 {advice}", f"Port 8080 {advice}"]


@given(st.lists(st.sampled_from("abcdef"), unique=True, min_size=1))
def test_one_master_and_at_least_one_worker(hosts):
    plans = {host: plan(host=host, hosts=dict(zip(hosts, hosts))) for host in hosts}
    run = [(service["name"], host) for host in hosts for service in plans[host]["services"]]
    assert [host for name, host in run if name == "master"] == hosts[:1]
    assert [host for name, host in run if name == "worker"] == plans[hosts[0]]["workers"] != []
    for host in hosts:
        assert {opening["source"] for opening in plans[host]["firewall_rules"]["openings"]} == set(hosts) - {host}
