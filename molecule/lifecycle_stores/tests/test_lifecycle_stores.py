"""Two MLflow hosts with one PostgreSQL database and one bucket go from 1.30 to 2 and to 3 and back to 2 together, with failures and kills on the way.
The tests build on each other."""

import json

import lifecycle_steps as steps
import pytest
from conftest import content, lab_host
from lifecycle_steps import fixture_killed_at, fixture_run, fixture_traffic  # noqa: F401 - pytest finds fixtures by their import

ASKED = """import json, urllib.request as u
print(len(json.load(u.urlopen(u.Request("http://127.0.0.1:5000/api/2.0/mlflow/experiments/search", b'{"max_results": 1000}',
{"Content-Type": "application/json"})))["experiments"]))"""


@pytest.fixture(name="hosts", scope="module")
def fixture_hosts():
    return [lab_host(name) for name in ("mlflow1", "mlflow2")]


@pytest.fixture(name="seen", scope="module")
def fixture_seen():
    """What there was after each step."""
    return {}


def all_served(hosts, number=None):
    """All models on both hosts."""
    return [model for host in hosts for model in steps.served(host.interface("eth0").addresses[0], number)]


@pytest.fixture(name="always", scope="module", autouse=True)
def fixture_always(hosts, traffic):
    """Requests to the served models, from the first test on."""
    for where, rows, answer in all_served(hosts, 20):
        traffic.send(where, rows, answer)


def serve(hosts, stack):
    """Both, with all of the database."""
    assert [steps.release(host) for host in hosts] == [stack, stack]
    numbers = {host.check_output("python3 -c %s", ASKED) for host in hosts}
    assert len(numbers) == 1 and all(host.service(name).is_running for host in hosts for name in ("mlflow", "fire-mlops-server"))


def test_check_mode_changes_nothing(hosts, run, seen):
    steps.fill(seen)
    before = [steps.process(host) for host in hosts]
    done = run("upgrade", "mlflow-2", "--check")
    assert done.returncode == 0 and done.text.count("it would go to a release of the stack mlflow-2") == 2, done.text
    assert [steps.process(host) for host in hosts] == before and not hosts[1].file(steps.STATE).exists


@pytest.mark.parametrize(("playbook", "arguments", "words"), [
    ("upgrade", ["--limit", "mlflow1"], "mlflow2 is not in this run, with the same database as this host"),
    ("mlflow", [], "run playbooks/upgrade.yml first"),
])  # fmt: skip
def test_all_go_together_or_none(hosts, run, playbook, arguments, words):
    before = [steps.process(host) for host in hosts]
    done = run(playbook, "mlflow-2", *arguments)
    assert done.returncode != 0 and words in done.text and set(done.changed.values()) == {0}, done.text
    assert [steps.process(host) for host in hosts] == before
    serve(hosts, "guide-1.30")


def test_only_rehearsed(mlflow, hosts, run, seen, schemas, tmp_path_factory):
    before = [steps.process(host) for host in hosts]
    done = run("upgrade", "mlflow-2", upgrade_only_rehearse=True)
    assert done.returncode == 0 and done.text.count("with every row that it had. MLflow was not stopped") == 1, done.text
    assert [steps.process(host) for host in hosts] == before and content(steps.TRACKING) == seen["guide-1.30"] and schemas() == []
    seen["archive"] = steps.newest_archive(mlflow, tmp_path_factory.mktemp("archive"))


def test_one_that_does_not_come_up_takes_all_back(hosts, run, seen, schemas):
    wrong = {"mlflow2": {"mlflow_server_environment": {"MLFLOW_GUNICORN_OPTS": "--no-such-option"}}}
    done = run("upgrade", "mlflow-2", upgrade_start_timeout=30, hosts=wrong)
    assert done.returncode != 0 and "MLflow does not answer within 30 seconds" in done.text, done.text
    assert "mlflow2 did not come up with mlflow-2-" in done.text and "went back to guide-1.30-" in done.text
    serve(hosts, "guide-1.30")
    assert content(steps.TRACKING) == seen["guide-1.30"] and all(name.startswith("mlflow_before_") for name in schemas())


@pytest.mark.parametrize("step", ["Copying", "Upgrading the copy", "Changing Schema", "Changing Entries", "Starting", "Asking"])
def test_killed_while_it_switches(mlflow, hosts, run, seen, schemas, killed_at, step):
    before = schemas()
    killed_at(step, f"{mlflow.check_output('ls -d /opt/mlflow/releases/mlflow-2-*')}/bin/python")
    done = run("upgrade", "mlflow-2")
    assert done.returncode != 0 and "The upgrade was cut off" in done.text and "is in its place again, and serves" in done.text, done.text
    assert "it waited for mlflow1, which was not switched" in done.text
    serve(hosts, "guide-1.30")
    assert content(steps.TRACKING) == seen["guide-1.30"] and schemas() == before


def upgraded(hosts, run, stack, then):
    models = [steps.models_of(host) for host in hosts]
    done = run("upgrade", stack)
    assert done.returncode == 0 and done.text.count(f"MLflow runs {stack}-") == 2 and done.text.count("with every row that it had") == 1, done.text
    serve(hosts, stack)
    steps.same(then, content(steps.TRACKING))
    assert [steps.models_of(host) for host in hosts] == models
    steps.downtime(hosts, f"to {stack}")


def test_to_2(hosts, run, seen):
    upgraded(hosts, run, "mlflow-2", seen["guide-1.30"])


def test_a_second_run_changes_nothing(run):
    for playbook in ("upgrade", "mlflow"):
        done = run(playbook, "mlflow-2")
        assert done.returncode == 0 and set(done.changed.values()) == {0}, done.text


def test_to_3(hosts, run, seen):
    steps.log(5)
    seen["mlflow-2"] = content(steps.TRACKING)
    upgraded(hosts, run, "mlflow-3", seen["mlflow-2"])


def test_no_host_is_left_with_a_database_that_it_cannot_use(hosts, run):
    """As one that was set up anew since the upgrade."""
    hosts[1].run_expect([0], f"mv {steps.STATE}/upgraded.json {steps.STATE}/aside.json")
    done = run("rollback", "mlflow-2")
    hosts[1].run_expect([0], f"mv {steps.STATE}/aside.json {steps.STATE}/upgraded.json")
    assert done.returncode != 0 and "mlflow1 goes back with the database that this host uses, too" in done.text, done.text
    assert set(done.changed.values()) == {0}
    serve(hosts, "mlflow-3")


@pytest.mark.parametrize("step", ["Stopping", "Saving", "Changing Schema", "Changing Entries", "Asking"])
def test_killed_while_it_goes_back(mlflow, hosts, run, schemas, killed_at, step):
    before, kept = content(steps.TRACKING), schemas()
    killed_at(step, f"{mlflow.check_output('ls -d /opt/mlflow/releases/mlflow-2-*')}/bin/python")
    done = run("rollback", "mlflow-2")
    assert done.returncode != 0 and "The rollback was cut off" in done.text and "is in its place again, and serves" in done.text, done.text
    serve(hosts, "mlflow-3")
    assert content(steps.TRACKING) == before and schemas() == kept


def test_back_to_2(hosts, run, seen):
    steps.log(3)
    done = run("rollback", "mlflow-2")
    assert done.returncode == 0 and "Since then were logged or changed: " in done.text, done.text
    serve(hosts, "mlflow-2")
    steps.downtime(hosts, "back to mlflow-2")
    assert content(steps.TRACKING) == seen["mlflow-2"]
    path = hosts[0].check_output("ls /var/backups/mlflow/mlflow-mlflow1-since-*.jsonl | tail -n 1")
    lines = [json.loads(line) for line in hosts[0].check_output(f"cat {path}").splitlines()]
    assert lines[0]["rows"]["runs"] == sum(line.get("table") == "runs" for line in lines) == 6
    for playbook in ("rollback", "mlflow"):
        done = run(playbook, "mlflow-2")
        assert done.returncode == 0 and set(done.changed.values()) == {0}, done.text
    steps.log(1)


def test_no_request_to_a_served_model_has_failed(hosts, traffic):
    """And each answer had the predictions of the training, row by row."""
    traffic.check(all_served(hosts))
    answered = traffic.end()
    steps.measured("requests to served models, none failed", answered)
    assert len(answered) == 2 * len(steps.MODELS) and min(answered.values()) > 10


def test_back_to_where_it_began(hosts, run, seen):
    done = run("rollback", "guide-1.30")
    assert done.returncode == 0, done.text
    serve(hosts, "guide-1.30")
    assert content(steps.TRACKING) == seen["guide-1.30"]


def test_the_first_archive_on_bare_hosts(store, hosts, run, seen, traffic):
    """With an empty database. The objects stay in their bucket: an archive lists them."""
    done = run("uninstall", "guide-1.30", "--limit", "mlflow", uninstall_data=True)
    assert done.returncode == 0, done.text
    for host in hosts:
        assert host.check_output("ls -d /opt/mlflow /etc/mlflow /var/lib/mlflow* /var/backups/mlflow 2>&-; true") == ""
    store.run_expect([0], "cd /; runuser -u postgres -- dropdb mlflow && runuser -u postgres -- createdb --owner=mlflow mlflow")
    for playbook, variables in (("mlflow", {}), ("restore", {"restore_archive_path": seen["archive"]}), ("serve_models", {})):
        done = run(playbook, "guide-1.30", **variables)
        assert done.returncode == 0, done.text
    serve(hosts, "guide-1.30")
    assert content(steps.TRACKING) == seen["guide-1.30"]
    traffic.check(all_served(hosts))
