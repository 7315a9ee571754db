"""MLflow goes from 1.30 to 2 and to 3 and back to 2, while models are served, with failures and kills on the way; and at last from nothing to what
the first archive has. The tests build on each other."""

import json
import re
import subprocess

import lifecycle_steps as steps
import pytest
from conftest import LAB, PROJECT, content, secret, trained, training_rows
from lifecycle_steps import fixture_killed_at, fixture_run, fixture_traffic  # noqa: F401 - pytest finds fixtures by their import

HOST = f"{LAB}-mlflow1"
# Made with MLflow 2, for MLflow 1.30 comes without scikit-learn.
SKLEARN = {"name": "breast-cancer-sklearn", "stage": "Production", "port": 5004, "timeout": 300}
STACKS = ["guide-1.30", "mlflow-2", "mlflow-3"]
STEPS = ["Stopping", "Copying", "Upgrading the copy", "Comparing the copy", "Opening the copy", "Changing SqliteFile", "Changing Entries", "Starting",
         "Asking", "Proven"]  # fmt: skip


@pytest.fixture(name="always", scope="module", autouse=True)
def fixture_always(traffic, address):
    """Requests to the served models, from the first test on."""
    for where, rows, answer in steps.served(address, 20):
        traffic.send(where, rows, answer)


@pytest.fixture(name="seen", scope="module")
def fixture_seen():
    """What there was after each step."""
    return {}


@pytest.fixture(name="clients", scope="module")
def fixture_clients(mlflow, address):
    """Each generation's client against the server that runs now, through the proxy. What it could do: client -> call -> "" or why not."""
    source, url = (PROJECT / "tests/lab/client_calls.py").read_text(encoding="utf-8"), f"https://{mlflow.check_output('hostname')}:5000"
    told = {"MLFLOW_TRACKING_USERNAME": "sparkflows", "MLFLOW_TRACKING_PASSWORD": secret("mlflow_password"), "GIT_PYTHON_REFRESH": "quiet",
            "MLFLOW_TRACKING_SERVER_CERT_PATH": "/etc/ssl/lab-ca.pem", "REQUESTS_CA_BUNDLE": "/etc/ssl/lab-ca.pem"}  # fmt: skip

    def ask(server, stacks=STACKS):
        found = {}
        for stack in stacks:
            python = mlflow.check_output(f"ls -d /opt/mlflow/releases/{stack}-*/bin/python | head -n 1")
            program = ["docker", "exec", "-i", *(f"--env={name}={value}" for name, value in told.items()), HOST, python, "-"]
            done = subprocess.run([*program, url, f"{stack}-at-{server}"], input=source, check=True, capture_output=True, text=True, timeout=600)
            found[stack] = json.loads(done.stdout.splitlines()[-1])
        return found

    return ask


def test_check_mode_changes_nothing(mlflow, run, seen):
    steps.fill(seen)
    before, paths = steps.process(mlflow), mlflow.check_output("find /opt/mlflow -maxdepth 2 | sort")
    done = run("upgrade", "mlflow-2", "--check")
    assert done.returncode == 0, done.text
    assert "it would go to a release of the stack mlflow-2" in done.text and "Nothing was changed" in done.text
    assert steps.process(mlflow) == before and mlflow.check_output("find /opt/mlflow -maxdepth 2 | sort") == paths
    assert not mlflow.file(steps.STATE).exists and not mlflow.file("/etc/systemd/system/mlflow-upgrade.service").exists


def test_only_an_upgrade_goes_to_another_stack(mlflow, run):
    before = steps.process(mlflow)
    done = run("mlflow", "mlflow-2")
    assert done.returncode != 0 and "run playbooks/upgrade.yml first" in done.text and set(done.changed.values()) == {0}, done.text
    assert steps.process(mlflow) == before and steps.release(mlflow) == "guide-1.30"


def test_only_rehearsed(mlflow, run, seen, tmp_path_factory):
    before = steps.process(mlflow)
    done = run("upgrade", "mlflow-2", upgrade_only_rehearse=True)
    assert done.returncode == 0 and "with every row that it had. MLflow was not stopped" in done.text, done.text
    assert steps.process(mlflow) == before and steps.release(mlflow) == "guide-1.30" and content(steps.TRACKING) == seen["guide-1.30"]
    assert mlflow.check_output(f"ls -A {steps.STATE}").split() == ["rehearsal.json"]
    assert "The last rehearsal, " in run("upgrade", "mlflow-2", "--check").text
    seen["archive"] = steps.newest_archive(mlflow, tmp_path_factory.mktemp("archive"))


def upgraded(mlflow, run, stack, then):
    models = steps.models_of(mlflow)
    done = run("upgrade", stack)
    assert done.returncode == 0, done.text
    assert steps.release(mlflow) == stack and f"MLflow runs {stack}-" in done.text and "with every row that it had" in done.text, done.text
    steps.same(then, content(steps.TRACKING))
    # The models go on with what they were started with.
    assert steps.models_of(mlflow) == models
    assert sorted(mlflow.check_output(f"ls -A {steps.STATE}").split()) == ["outcome.json", "rehearsal.json", "upgraded.json"]
    steps.downtime([mlflow], f"to {stack}")


def test_to_2(mlflow, address, run, seen, traffic):
    upgraded(mlflow, run, "mlflow-2", seen["guide-1.30"])
    traffic.check(steps.served(address))


def test_a_second_run_changes_nothing(mlflow, run):
    for playbook in ("upgrade", "mlflow"):
        done = run(playbook, "mlflow-2")
        assert done.returncode == 0 and set(done.changed.values()) == {0}, done.text


def test_served_models_keep_the_stack_that_they_were_made_with(mlflow, run):
    models = steps.models_of(mlflow)
    done = run("serve_models", "mlflow-2")
    assert done.returncode == 0, done.text
    assert steps.models_of(mlflow) == models
    assert mlflow.file("/opt/mlflow/stacks/guide-1.30/current").linked_to.startswith("/opt/mlflow/releases/guide-1.30-")


def test_a_model_of_scikit_learn_beside_them(address, run, traffic):
    for playbook in ("lab_model", "serve_models"):
        done = run(playbook, "mlflow-2", lab_model_name=SKLEARN["name"], lab_model_program="train_sklearn_model.py",
                   model_serving_models=[*steps.MODELS, SKLEARN])  # fmt: skip
        assert done.returncode == 0, done.text
    model = f"{address}:{SKLEARN['port']}", {"dataframe_split": training_rows()}, {"predictions": trained(SKLEARN["name"])}
    traffic.check([model])
    traffic.send(*model)


def test_a_new_mlflow_that_does_not_start(mlflow, run, seen):
    steps.log(5)
    seen["mlflow-2"] = content(steps.TRACKING)
    assert seen["mlflow-2"]["models"][SKLEARN["name"]]["aliases"] == {"champion": "1"}
    done = run("upgrade", "mlflow-3", mlflow_server_environment={"MLFLOW_GUNICORN_OPTS": "--no-such-option"}, upgrade_start_timeout=20)
    assert done.returncode != 0 and "MLflow does not answer within 20 seconds" in done.text and "Starting MLflow" in done.text, done.text
    assert "What served before is in its place again, and serves" in done.text
    assert steps.release(mlflow) == "mlflow-2" and content(steps.TRACKING) == seen["mlflow-2"]


@pytest.mark.parametrize("step", STEPS)
def test_killed_while_it_switches(mlflow, run, seen, killed_at, step):
    target = mlflow.check_output("ls -d /opt/mlflow/releases/mlflow-3-*")
    killed_at(step, f"{target}/bin/python")
    done = run("upgrade", "mlflow-3", backup_artifacts="none")
    assert done.returncode != 0 and "The upgrade was cut off" in done.text and "is in its place again, and serves" in done.text, done.text
    assert steps.release(mlflow) == "mlflow-2" and content(steps.TRACKING) == seen["mlflow-2"] and mlflow.service("fire-mlops-server").is_running
    assert mlflow.check_output("find /var/lib/mlflow /opt/mlflow /etc/mlflow /etc/systemd/system -maxdepth 2 -name '.mlflow-*'") == ""


def test_to_3(mlflow, address, run, seen, traffic):
    upgraded(mlflow, run, "mlflow-3", seen["mlflow-2"])
    traffic.check(steps.served(address))


@pytest.fixture(name="table", scope="module")
def fixture_table():
    """server -> client -> call -> "" or why not."""
    return {}


def test_clients_of_3(clients, table):
    table["mlflow-3"] = clients("mlflow-3")


@pytest.mark.parametrize("step", ["Stopping", "Saving", "Copying", "Changing SqliteFile", "Changing Entries", "Starting", "Asking", "Proven"])
def test_killed_while_it_goes_back(mlflow, run, killed_at, step):
    before = content(steps.TRACKING)
    killed_at(step, f"{mlflow.check_output('ls -d /opt/mlflow/releases/mlflow-2-*')}/bin/python")
    done = run("rollback", "mlflow-2")
    assert done.returncode != 0 and "The rollback was cut off" in done.text and "is in its place again, and serves" in done.text, done.text
    assert steps.release(mlflow) == "mlflow-3" and content(steps.TRACKING) == before and mlflow.service("fire-mlops-server").is_running


def test_back_to_2(mlflow, run, seen):
    steps.log(3)
    more = len(content(steps.TRACKING)["runs"]) - len(seen["mlflow-2"]["runs"])
    assert more >= 6
    done = run("rollback", "mlflow-3")
    assert done.returncode == 0 and set(done.changed.values()) == {0} and "set mlops_stack to mlflow-2" in done.text, done.text
    done = run("rollback", "mlflow-2")
    assert done.returncode == 0 and steps.release(mlflow) == "mlflow-2", done.text
    steps.downtime([mlflow], "back to mlflow-2")
    assert content(steps.TRACKING) == seen["mlflow-2"] and "Since then were logged or changed: " in done.text
    path = mlflow.check_output("ls /var/backups/mlflow/mlflow-mlflow1-since-*.jsonl | tail -n 1")
    lines = [json.loads(line) for line in mlflow.check_output(f"cat {path}").splitlines()]
    assert lines[0]["rows"]["runs"] == sum(line.get("table") == "runs" for line in lines) == more
    for playbook in ("rollback", "mlflow"):
        done = run(playbook, "mlflow-2")
        assert done.returncode == 0 and set(done.changed.values()) == {0}, done.text
    steps.log(1)


def test_clients_of_2(clients, table):
    table["mlflow-2"] = clients("mlflow-2")


def test_no_request_to_a_served_model_has_failed(address, traffic):
    """And each answer had the predictions of the training, row by row."""
    traffic.check(steps.served(address))
    answered = traffic.end()
    steps.measured("requests to served models, none failed", answered)
    assert len(answered) == len(steps.MODELS) + 1 and min(answered.values()) > 10


def test_a_host_that_goes_down_while_it_switches(mlflow, run, killed_at):
    before = content(steps.TRACKING)
    target = mlflow.check_output("ls -d /opt/mlflow/releases/mlflow-3-*")
    # All is new, MLflow is stopped, and nobody has proven it.
    killed_at("Starting", f"{target}/bin/python", recovered=False)
    done = run("upgrade", "mlflow-3")
    assert done.returncode != 0 and steps.release(mlflow) == "mlflow-3" and not mlflow.service("mlflow").is_running, done.text
    subprocess.run(["docker", "restart", "--time", "5", HOST], check=True, stdout=subprocess.DEVNULL)
    mlflow.run_expect([0], "timeout 120 bash -c 'until (echo > /dev/tcp/127.0.0.1/5000) 2>&-; do sleep 0.5; done'")
    assert steps.release(mlflow) == "mlflow-2" and content(steps.TRACKING) == before


def test_back_to_where_it_began(mlflow, run, seen):
    """Somebody has made room meanwhile: what was kept of 1.30 is in the archive of its upgrade only."""
    kept = json.loads(mlflow.check_output(f"cat {steps.STATE}/upgraded.json"))["parts"][0]["before"]
    mlflow.run_expect([0], "rm %s", kept)
    done = run("rollback", "guide-1.30")
    assert done.returncode == 0 and steps.release(mlflow) == "guide-1.30" and content(steps.TRACKING) == seen["guide-1.30"], done.text
    assert f"{kept}, is not there any more, so it was taken from /var/backups/mlflow/" in done.text, done.text


def in_a_cell(why):
    """In one line, and without the page that came with it."""
    return re.sub(r" != 200\. Response body.*", "", " ".join(why.split())).replace("|", "/")


def test_a_table_of_clients_and_servers(clients, table):
    """It is written into reports/. Each client can do all with a server of its own generation."""
    table["guide-1.30"] = clients("guide-1.30")
    pairs = [(server, client) for server in STACKS for client in STACKS]
    rows = [["Call", *(f"{client.rpartition('-')[2]} to {server.rpartition('-')[2]}" for server, client in pairs)], ["---"] * (len(pairs) + 1)]
    rows += [[call, *(in_a_cell(table[server][client][call]) or "yes" for server, client in pairs)] for call in table[STACKS[0]][STACKS[0]]]
    path = PROJECT / "reports" / LAB / "clients.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"| {' | '.join(row)} |\n" for row in rows), encoding="utf-8")
    own = {stack: {call: why for call, why in table[stack][stack].items() if why} for stack in STACKS}
    # Aliases came with 2.3.
    assert list(own.pop("guide-1.30")) == ["give the version an alias"] and own == {"mlflow-2": {}, "mlflow-3": {}}


def uninstalled(mlflow, run, stack):
    done = run("uninstall", stack, "--limit", "mlflow1", uninstall_data=True)
    assert done.returncode == 0, done.text
    left = mlflow.check_output("ls -d /opt/mlflow /etc/mlflow /var/lib/mlflow* /var/backups/mlflow /etc/systemd/system/*mlflow* 2>&-; true")
    assert left == "" and not mlflow.user("mlflow").exists


def test_the_first_archive_on_a_bare_host(mlflow, address, run, seen, traffic):
    uninstalled(mlflow, run, "mlflow-2")
    for playbook, variables in (("mlflow", {}), ("restore", {"restore_archive_path": seen["archive"]}), ("serve_models", {})):
        done = run(playbook, "guide-1.30", **variables)
        assert done.returncode == 0, done.text
    assert content(steps.TRACKING) == seen["guide-1.30"] and steps.release(mlflow) == "guide-1.30"
    traffic.check(steps.served(address))


def test_nothing_is_left_of_it(mlflow, run):
    uninstalled(mlflow, run, "guide-1.30")
