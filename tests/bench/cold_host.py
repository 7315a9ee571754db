"""From a bare machine to an MLflow server that answers: our mlflow.yml with uv, with pip, and the guide's own commands by hand, in turn.

Usage: cold_host.py ROUNDS, in the checkout, with the lab's name in the environment. Each has a machine that was made a moment before.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from figures import figure, leave
from runs import PROJECT, Lab, measure

HOST = "mlflow1"
BY_HAND = "the guide by hand"
WAYS = ("uv", BY_HAND, "pip")
# No packages that an installer has kept from another lab; nothing else differs from the lab as it is.
MACHINE = {"lab_host_number": 11, "lab_container_volumes": [], "mlflow_runtime_cache_dir": ""}
BRING_AND_RUN = """
docker cp "$1" "$3:/root/by_hand.sh" && docker cp "$2" "$3:/root/python.tar.gz" && docker exec "$3" /root/by_hand.sh "$4" /root/python.tar.gz
"""
SPARKFLOWS = {"lab_host_number": 21}


def lab_of(name, installer):
    machine = {**MACHINE, "mlflow_runtime_installer": installer}
    return Lab(name, {"mlflow": {HOST: machine}, "sparkflows": {"sparkflows1": SPARKFLOWS}})


def by_hand(lab, cache):
    """The guide's commands on the machine; what the controller brings is copied within the measured time, as a run of ours does."""
    machine = lab.machine(HOST)
    mirror = (cache / "image/mirror").read_text().strip()
    return measure("sh", "-c", BRING_AND_RUN, "sh", "tests/bench/by_hand.sh", str(cache / "artifacts/python-3.7.tar.gz"), machine, mirror)


def main(rounds):
    name = os.environ["LAB_NAME"] + "-cold"
    cache = Path(os.environ.get("LAB_CACHE_DIR") or PROJECT / ".cache/lab")
    found = {way: [] for way in WAYS}
    for turn in range(rounds):
        first = turn % len(WAYS)
        for way in WAYS[first:] + WAYS[:first]:
            with lab_of(name, way if way != BY_HAND else "uv") as lab:
                lab.up(LAB_PREPARED="false")
                found[way].append(by_hand(lab, cache) if way == BY_HAND else lab.run("playbooks/mlflow.yml"))
    seconds = {way: [run.seconds for run in runs] for way, runs in found.items()}
    leave(
        "the guide's commands by hand (tests/bench/by_hand.sh), which end with a bare mlflow server",
        [
            figure("mlflow.yml with uv", "s", seconds["uv"], seconds[BY_HAND]),
            figure("mlflow.yml with pip", "s", seconds["pip"], seconds[BY_HAND]),
            figure("mlflow.yml with uv", "s of the controller's processors", [run.processor for run in found["uv"]]),
            figure("mlflow.yml with uv", f"tasks executed on {HOST}", [run.hosts[HOST].executed for run in found["uv"]]),
        ],
        "Cold for all: the machine, its package lists, and the installer's cache. Warm for all: the controller's copy of Python 3.7, and what the "
        "package mirrors keep. Ours also brings proxy, firewall, the Fire MLOps server and their proof.",
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
