"""1, 2, 4, 8 hosts in one run: seconds and processor seconds of the controller, cold and with nothing to change; and a run in which two have a fault.

Usage: many_hosts.py ROUNDS LARGEST [KIND ...], in the checkout, with the lab's name in the environment. KIND: mlflow (independent sites), spark (a
cluster). With LARGEST 4 it is 1, 2 and 4.
"""

from __future__ import annotations

import os
import sys
from typing import NamedTuple

from figures import figure, leave
from runs import Lab, measure, unchanged

KINDS = {"mlflow": "tests/bench/mlflow_sites.yml", "spark": "playbooks/spark.yml"}
# Another site each: what is called by the address of the first host of a group elsewhere is the host's own here.
SITE = {
    "mlops_mlflow_address": "{{ mlops_address }}",
    "mlops_serving_address": "{{ mlops_address }}",
    "mlops_client_sources": ["{{ lab_network_prefix }}.0/24"],
    "mlops_sparkflows_url": "https://sparkflows.example:8443",
    "mlops_sparkflows_token": "",
    "mlops_s3_access_key": "",
    "mlops_s3_secret_key": "",
}
CLUSTER = {
    "mlops_spark_secret": "of the bench",
    "spark_cluster_worker_cores": 1,
    "spark_cluster_worker_memory": "512m",
    "spark_cluster_firewall": "firewalld",
}
# A file system of 4 MB without a free byte, where MLflow keeps its data.
FILL = "mkdir -p /var/lib/mlflow && mount -t tmpfs -o size=4m tmpfs /var/lib/mlflow && ! cat /dev/zero >/var/lib/mlflow/full 2>/dev/null"


class Counted(NamedTuple):
    """A number of hosts, and the runs on them."""

    hosts: int
    runs: list

    def a_host(self, what):
        return [getattr(run, what) / self.hosts for run in self.runs]

    def each_further(self, alone):
        """Processor seconds for each host after the first."""
        return [(run.processor - one.processor) / (self.hosts - 1) for run, one in zip(self.runs, alone.runs)]


def names(kind, count):
    return [f"{kind}{number}" for number in range(1, count + 1)]


def lab_of(kind, count):
    more = SITE if kind == "mlflow" else CLUSTER
    machines = {name: {"lab_host_number": 100 + number, **more} for number, name in enumerate(names(kind, count))}
    return Lab(f"{os.environ['LAB_NAME']}-many", {kind: machines})


def faulty(kind, count):
    """How many of the hosts without a fault finish, and whether the run says which have one."""
    hosts = names(kind, count)
    dead, full = hosts[1], hosts[2]
    with lab_of(kind, count) as lab:
        lab.up(LAB_PREPARED="true")
        measure("docker", "exec", lab.machine(full), "sh", "-c", FILL)
        measure("docker", "kill", lab.machine(dead))
        run = lab.run(KINDS[kind], may_fail=True)
    finished = {name for name, host in run.hosts.items() if host.finished}
    wrong = [name for name in (dead, full) if name in finished] + [name for name in hosts if name not in (dead, full) and name not in finished]
    says = f"{dead} is dead, {full} has a full disk; exit status {run.status}, which names {', '.join(sorted(set(hosts) - finished)) or 'nobody'}"
    if wrong or not run.status:
        print(run.output[-6000:], file=sys.stderr)
    found = figure(f"{count} {kind} hosts, of which two have a fault", "hosts that finish", [len(finished)], [count - 2], says)
    return found, not wrong and run.status != 0


def measured(kind, counts, rounds):
    """{number of hosts: (cold, again)}"""
    found = {count: (Counted(count, []), Counted(count, [])) for count in counts}
    for _round in range(rounds):
        for count in counts:
            with lab_of(kind, count) as lab:
                lab.up(LAB_PREPARED="true")
                cold, again = found[count]
                cold.runs.append(lab.run(KINDS[kind]))
                again.runs.append(unchanged(lab.run(KINDS[kind])))
    return found


def figures_of(kind, found):
    figures = []
    for number, state in enumerate(("cold", "nothing to change")):
        alone = found[1][number]
        seconds, processor = alone.a_host("seconds"), alone.a_host("processor")
        figures += [
            figure(f"{kind}, 1 in a run, {state}", "s", seconds),
            figure(f"{kind}, 1 in a run, {state}", "controller's processor s", processor),
        ]
        for count in [count for count in found if count > 1]:
            runs, what = found[count][number], f"{kind}, {count} in a run, {state}"
            figures += [
                figure(what, "s a host", runs.a_host("seconds"), seconds),
                figure(what, "controller's processor s for each further host", runs.each_further(alone), processor),
            ]
    return figures


def main(rounds, largest, *kinds):
    counts = [count for count in (1, 2, 4, 8) if count <= int(largest)]
    figures, fine = [], True
    for kind in kinds or KINDS:
        figures += figures_of(kind, measured(kind, counts, int(rounds)))
        if kind == "mlflow" and counts[-1] > 2:
            faults, fine = faulty(kind, counts[-1])
            figures.append(faults)
    leave(
        "a run with one host",
        figures,
        "Cold means that JDK, Python and release are on the machine already (tests/lab/prepared.yml): what many hosts cost the controller is seen, "
        "and not the network. MLflow hosts are sites of their own on SQLite, Spark hosts one cluster.",
    )
    if not fine:
        sys.exit("Others have finished than those without a fault, or the run does not say so.")


if __name__ == "__main__":
    main(*sys.argv[1:])
