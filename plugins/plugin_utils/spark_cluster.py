# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who does what in a cluster of Spark, and what is wrong with its settings."""

from __future__ import annotations

import re

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.strangers import strangers
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.url_host import url_host
from jinja2.filters import do_int as number  # 0 for what is no number: settings come as text from AWX

UNITS = "/etc/systemd/system"
OUR_UNITS = ["spark-master.service", "spark-worker.service"]
SPARK = {
    # The pages only show; they neither end a job nor take one.
    "spark.ui.killEnabled": "false",
    "spark.master.rest.enabled": "false",
    # What ended jobs have left is removed after a day.
    "spark.worker.cleanup.enabled": "true",
    "spark.worker.cleanup.appDataTtl": "86400",
}


def service_of(settings, name, port, web_port, command):
    """The files are what it reads when it starts, its unit the first of them."""
    unit = f"{UNITS}/spark-{name}.service"
    return {"name": name, "port": number(port), "web_port": number(web_port), "command": command, "unit": unit, "loaded": [unit, *settings["loaded"]]}


def master_of(settings):
    port, web_port = settings["mlops_spark_port"], settings["spark_cluster_master_web_port"]
    command = f"org.apache.spark.deploy.master.Master --host {url_host(settings['mlops_address'])} --port {port} --webui-port {web_port}"
    return service_of(settings, "master", port, web_port, command)


def worker_of(settings):
    port, web_port = settings["spark_cluster_worker_port"], settings["spark_cluster_worker_web_port"]
    command = (
        f"org.apache.spark.deploy.worker.Worker --host {url_host(settings['mlops_address'])} --port {port} --webui-port {web_port} "
        f"--cores {settings['spark_cluster_worker_cores']} --memory {settings['spark_cluster_worker_memory']} "
        f"--work-dir {settings['data_dir']}/work {settings['mlops_spark_url']}"
    )
    return service_of(settings, "worker", port, web_port, command)


def firewall_rules_of(settings, services):
    """What master, workers, and the drivers and executors of jobs listen on; for the other hosts of the cluster and nobody else."""
    ports = [
        *(str(service["port"]) for service in services),
        str(settings["spark_cluster_master_web_port"]),
        "-".join(str(port) for port in settings["job_ports"]),
    ]
    others = [address for host, address in settings["hosts"].items() if host != settings["host"]]
    return {"name": "mlops-spark", "openings": [{"source": source, "ports": list(ports)} for source in others], "guarded": ports}


def variables_of(settings):
    """The environment of master and worker."""
    folder = settings["mlops_tmp_dir"]
    temporary = {"SPARK_LOCAL_DIRS": folder, "TMPDIR": folder, "JAVA_TOOL_OPTIONS": f"-Djava.io.tmpdir={folder}"} if folder else {}
    return {**temporary, "SPARK_NO_DAEMONIZE": "1", "SPARK_LOCAL_IP": settings["mlops_address"]}


def spark_cluster_plan(settings):
    host, hosts = settings["host"], list(settings["hosts"])
    workers = hosts[1:] or hosts
    master, worker = master_of(settings), worker_of(settings)
    services = [*([master] if host in hosts[:1] else []), *([worker] if host in workers else [])]
    return {
        "master": master,
        "worker": worker,
        "services": services,
        "unit_files": [{"path": service["unit"], "template": "spark.service.j2", "variables": {"service": service}} for service in services],
        "is_master": master in services,
        "workers": workers,
        "spark": dict(SPARK),
        "variables": variables_of(settings),
        "firewall_rules": firewall_rules_of(settings, services),
    }


def spark_cluster_problems(settings, listeners):
    problems = []
    first, last = settings["job_ports"]
    if settings["host"] not in settings["hosts"]:
        problems.append("it is not in the inventory group spark, whose hosts make the cluster.")
    if not settings["mlops_spark_secret"]:
        problems.append("mlops_spark_secret is empty: without it whoever reaches the cluster runs programs on it. "
                        "Set it to a long random text, in a vault.")  # fmt: skip
    if number(settings["spark_cluster_worker_cores"]) < 1:
        problems.append("spark_cluster_worker_cores must be 1 or more.")
    if not re.match("[0-9]+[kmgtKMGT]$", str(settings["spark_cluster_worker_memory"])):
        memory = settings["spark_cluster_worker_memory"]
        problems.append(f"spark_cluster_worker_memory is {memory}: set it to a number with a unit, for example 2g.")
    if number(last) - number(first) + 1 < 4:
        problems.append(f"The ports of jobs {first}-{last} are fewer than 4: move mlops_spark_job_port_first and "
                        "mlops_spark_job_port_last apart.")  # fmt: skip
    services = spark_cluster_plan(settings)["services"]
    ports = [service[port] for service in services for port in ("port", "web_port")]
    for listener in strangers(listeners, ports, OUR_UNITS, [settings["mlops_user"]]):
        problems.append(f"Port {listener['port']} is taken by another program: stop it, or set mlops_spark_port or the spark_cluster_*_port.")
    return problems
