"""Two MLflow hosts behind one address: what is restarted is not missed, and what stops the first one does not reach the second."""

import json
import re
import statistics
import threading
import time

import pytest
import requests
from conftest import LAB_DIR, lab_host, play, secret

SEARCH = "/api/2.0/mlflow/registered-models/search"


@pytest.fixture(name="hosts", scope="module")
def fixture_hosts():
    return [lab_host(name) for name in ("mlflow1", "mlflow2")]


@pytest.fixture(name="checks", scope="module")
def fixture_checks(report):
    assert report["summary"]["failed"] == 0
    return report["checks"]


@pytest.fixture(name="url", scope="module")
def fixture_url(checks):
    """The tracking URL that Sparkflows has."""
    return next(json.loads(check["evidence"].partition(" = ")[2]) for check in checks if check["name"] == "setting mlflow_url")


@pytest.fixture(name="session")
def fixture_session():
    """A Sparkflows that talks to MLflow. Where MLflow has no login of its own, it is not looked at."""
    session = requests.Session()
    session.auth = ("sparkflows", secret("mlflow_password"))
    # A CA bundle in this computer's environment would go before the session's own.
    session.trust_env = False
    session.verify = str(LAB_DIR / "tls/ca.pem")
    return session


def pids(hosts):
    return [host.service("mlflow").systemd_properties["MainPID"] for host in hosts]


def test_sparkflows_has_the_stable_address(url, store):
    assert store.interface("eth0").addresses[0] in url


def test_both_hosts_passed_the_proof(checks):
    assert {check["host"] for check in checks if check["name"] == "artifact round trip" and "s3://registry/" in check["evidence"]} == {
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
    run = play("playbooks/mlflow.yml", "--extra-vars", "mlflow_server_workers=1")
    time.sleep(3)
    said = loop.stop()
    print(said)
    assert run.returncode == 0, run.output
    after = pids(hosts)
    assert not set(before) & set(after)
    assert not loop.failed and len(loop.seconds) > 100, said + str(loop.failed[:5])
    # The second one was not touched before the first one had its proof: each is started after the other was.
    started = [int(host.service("mlflow").systemd_properties["ExecMainStartTimestampMonotonic"]) for host in hosts]
    assert started[1] - started[0] > 2_000_000


def test_what_stops_the_first_never_reaches_the_second(hosts, session, url):
    # The second one has another release: a link to the one that is to come.
    former = "/opt/mlflow/releases/guide-1.30-former"
    hosts[1].run_expect([0], f"ln -s $(readlink /opt/mlflow/current) {former} && ln -sfn {former} /opt/mlflow/current")
    before, settings = pids(hosts), hosts[0].file("/etc/mlflow/mlflow.env").content_string
    run = play("playbooks/mlflow.yml", "--extra-vars", json.dumps({"mlflow_server_environment": {"MLFLOW_GUNICORN_OPTS": "--no-such-option"}}))
    assert run.returncode != 0 and "no-such-option" in run.output, run.output
    assert "What it ran with before has been put back (/etc/mlflow/mlflow.env), and runs." in run.text, run.output
    assert re.search(r"^mlflow1 .*failed=1", run.output, re.M)
    assert pids(hosts)[1] == before[1]
    assert "no-such-option" not in hosts[1].file("/etc/mlflow/mlflow.env").content_string
    # The first one runs as before again, and the second one never was elsewhere.
    assert hosts[0].file("/etc/mlflow/mlflow.env").content_string == settings and hosts[0].service("mlflow").is_running
    assert hosts[1].check_output("readlink /opt/mlflow/current") == former
    for _number in range(10):
        assert session.get(url + SEARCH, params={"max_results": 1}, timeout=30).ok
    healed = play("playbooks/mlflow.yml")
    assert healed.returncode == 0, healed.output
    assert hosts[1].check_output("readlink /opt/mlflow/current") != former
    hosts[1].run_expect([0], f"rm {former}")
