"""Two MLflow hosts behind one address: what is restarted is not missed, and what stops the first one does not reach the second."""

import json
import os
import re
import statistics
import subprocess
import threading
import time
from pathlib import Path

import pytest
import requests
import testinfra

LAB = os.environ["LAB_NAME"]
PROJECT = Path(__file__).resolve().parents[3]
CACHE = Path(os.environ.get("LAB_CACHE_DIR", PROJECT / ".cache" / "lab"))
INVENTORIES = [f"--inventory={PROJECT}/{name}" for name in (
    "inventories/lab", "inventories/stores", "inventories/two_hosts", "molecule/two_hosts/inventory")]
SEARCH = "/api/2.0/mlflow/registered-models/search"


@pytest.fixture(name="hosts", scope="module")
def fixture_hosts():
    return [testinfra.get_host(f"docker://{LAB}-{name}") for name in ("mlflow1", "mlflow2")]


@pytest.fixture(name="store", scope="module")
def fixture_store():
    return testinfra.get_host(f"docker://{LAB}-store1")


@pytest.fixture(name="report", scope="module")
def fixture_report():
    report = json.loads((PROJECT / "reports" / LAB / "acceptance.json").read_text(encoding="utf-8"))
    assert report["summary"]["failed"] == 0
    return report["checks"]


@pytest.fixture(name="url", scope="module")
def fixture_url(report):
    """The tracking URL that Sparkflows has."""
    return next(json.loads(check["evidence"].partition(" = ")[2]) for check in report if check["name"] == "setting mlflow_url")


@pytest.fixture(name="session")
def fixture_session():
    """A Sparkflows that talks to MLflow. Where MLflow has no login of its own, it is not looked at."""
    session = requests.Session()
    session.auth = ("sparkflows", (CACHE / LAB / "secrets" / "mlflow_password").read_text().strip())
    # A CA bundle in this computer's environment would go before the session's own.
    session.trust_env = False
    session.verify = str(CACHE / LAB / "tls" / "ca.pem")
    return session


def play(*arguments):
    return subprocess.run(
        ["ansible-playbook", *INVENTORIES, "playbooks/mlflow.yml", *arguments], cwd=PROJECT,
        env=dict(os.environ, ANSIBLE_CONFIG=str(PROJECT / "ansible.cfg"), ANSIBLE_NOCOLOR="1", ANSIBLE_FORCE_COLOR="0"),
        check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def pids(hosts):
    return [host.service("mlflow").systemd_properties["MainPID"] for host in hosts]


def test_sparkflows_has_the_stable_address(url, store):
    assert store.interface("eth0").addresses[0] in url


def test_both_hosts_passed_the_proof(report):
    assert {check["host"] for check in report if check["name"] == "artifact round trip" and "s3://registry/" in check["evidence"]} == {
        "mlflow1", "mlflow2"}


def test_both_hosts_have_the_same_registry(hosts, session, url):
    name = "two-hosts-probe"
    assert session.post(url + "/api/2.0/mlflow/registered-models/create", json={"name": name}, timeout=30).ok
    try:
        for host in hosts:
            address = host.check_output(". /etc/mlflow/mlflow.env; echo $MLFLOW_HOST:$MLFLOW_PORT")
            answer = host.check_output("python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())' %s",
                                       f"http://{address}{SEARCH}?max_results=10")
            assert name in [model["name"] for model in json.loads(answer)["registered_models"]]
    finally:
        assert session.delete(url + "/api/2.0/mlflow/registered-models/delete", json={"name": name}, timeout=30).ok


class Requests(threading.Thread):
    """Steady requests, one after the other: reads by GET and by POST."""

    def __init__(self, session, url):
        super().__init__(daemon=True)
        self.session, self.url, self.end, self.failed, self.seconds = session, url, threading.Event(), [], []

    def run(self):
        while not self.end.is_set():
            started = time.monotonic()
            try:
                if len(self.seconds) % 2:
                    answer = self.session.post(self.url + "/api/2.0/mlflow/runs/search", json={"experiment_ids": ["0"], "max_results": 1}, timeout=30)
                else:
                    answer = self.session.get(self.url + SEARCH, params={"max_results": 1}, timeout=30)
                if answer.status_code != 200:
                    self.failed.append(f"{answer.status_code} {answer.text[:200]}")
            except requests.RequestException as exc:
                self.failed.append(str(exc))
            self.seconds.append(time.monotonic() - started)
            time.sleep(0.02)

    def stop(self):
        self.end.set()
        self.join()
        self.session.close()
        return f"{len(self.seconds)} requests, {len(self.failed)} failed, median {statistics.median(self.seconds) * 1000:.0f} ms, " \
               f"longest {max(self.seconds) * 1000:.0f} ms"


def test_restart_of_both_is_not_noticed(hosts, session, url):
    before = pids(hosts)
    loop = Requests(session, url)
    loop.start()
    time.sleep(3)
    run = play("--extra-vars", "mlflow_server_workers=1")
    time.sleep(3)
    said = loop.stop()
    print(said)
    assert run.returncode == 0, run.stdout
    after = pids(hosts)
    assert not set(before) & set(after)
    assert not loop.failed and len(loop.seconds) > 100, said + str(loop.failed[:5])
    # The second one was not touched before the first one had its proof: each is started after the other was.
    started = [int(host.service("mlflow").systemd_properties["ExecMainStartTimestampMonotonic"]) for host in hosts]
    assert started[1] - started[0] > 2_000_000


def test_what_stops_the_first_never_reaches_the_second(hosts, session, url):
    before = pids(hosts)
    run = play("--extra-vars", json.dumps({"mlflow_server_environment": {"MLFLOW_GUNICORN_OPTS": "--no-such-option"}}))
    assert run.returncode != 0 and "no-such-option" in run.stdout, run.stdout
    assert re.search(r"^mlflow1 .*failed=1", run.stdout, re.M)
    assert pids(hosts)[1] == before[1]
    assert "no-such-option" not in hosts[1].file("/etc/mlflow/mlflow.env").content_string
    for _number in range(10):
        assert session.get(url + SEARCH, params={"max_results": 1}, timeout=30).ok
    healed = play()
    assert healed.returncode == 0, healed.stdout
