"""How many requests it takes to push the MLflow settings into Sparkflows: the first time, and when nothing is to change.

Usage: settings.py, in the checkout. Sparkflows is its double, in this process, which counts what comes in. Beside ours stands the least that an
administrator's own script could do without asking again: read the settings, save them.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from figures import figure, leave
from runs import PROJECT, measure, unchanged

sys.path.insert(0, str(PROJECT / "tests/doubles"))
from sparkflows_server import SparkflowsServer

PLAYBOOK = "playbooks/sparkflows.yml"
# How to log in, the requests that this takes at least, and the settings for it.
WAYS = [("a token", 0, {}), ("name and password", 2, {"mlops_sparkflows_auth_method": "session"})]


def inventory(server, folder, more):
    secrets = {name: f"of the bench: {name}" for name in ("mlops_mlflow_password", "mlops_s3_access_key", "mlops_s3_secret_key")}
    return {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "ansible_become": False,
        "mlops_mlflow_address": "192.0.2.10",
        "mlops_mlflow_username": "sparkflows",
        "mlops_s3_endpoint_url": "https://192.0.2.20:9000",
        "mlops_sparkflows_url": server.url,
        "mlops_sparkflows_token": server.token(),
        "mlops_sparkflows_username": "admin",
        "mlops_sparkflows_password": "admin",
        "sparkflows_configuration_secrets_state_path": f"{folder}/secrets.json",
        **secrets,
        **more,
    }


def counted(server, hosts):
    """How often which request came in during a run; and the run."""
    before = len(server.requests)
    run = measure("ansible-playbook", "--inventory", str(hosts), PLAYBOOK, no_proxy="127.0.0.1")
    return Counter(f"{request['method']} {request['path']}" for request in server.requests[before:]), run


def told(requests):
    return ", ".join(f"{request} {count}" for request, count in sorted(requests.items()))


def main():
    figures = []
    for way, login, more in WAYS:
        with tempfile.TemporaryDirectory() as folder, SparkflowsServer() as server:
            hosts = Path(folder, "hosts.json")
            hosts.write_text(json.dumps({"sparkflows": {"hosts": {"fire.example": inventory(server, folder, more)}}}))
            first, _run = counted(server, hosts)
            if not server.saves():
                sys.exit("Nothing was saved.")
            again, run = counted(server, hosts)
            unchanged(run)
            if len(server.saves()) != 1:
                sys.exit(f"Saved {len(server.saves())} times.")
            figures += [
                figure(f"first run, {way}", "requests", [sum(first.values())], [login + 2], told(first)),
                figure(f"nothing to change, {way}", "requests", [sum(again.values())], [login + 1], told(again)),
            ]
    leave("the least that a script could do: read, and save what differs", figures, "Counted by the double of Sparkflows, with ten settings.")


if __name__ == "__main__":
    main()
