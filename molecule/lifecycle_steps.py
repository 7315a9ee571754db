"""What the scenarios have in common that take MLflow to another release or to other stores: runs with a stack, kills, and all that is compared."""

import json
import subprocess

import pytest
import yaml
from conftest import LAB, PROJECT, content, play, trained, training_rows, with_mlflow

# What the scenarios lifecycle and lifecycle_stores serve.
VARIABLES = yaml.safe_load((PROJECT / "molecule/lifecycle/inventory/group_vars/all/lifecycle.yml").read_text(encoding="utf-8"))
MODELS = VARIABLES["model_serving_models"]
UNITS = [f"mlflow-model@{model['name']}" for model in MODELS]
SPARK_MODELS = ("breast-cancer-risk", "breast-cancer-h2o")
TRACKING, STATE = "http://127.0.0.1:5000", "/var/lib/mlflow-restore"
# The program, which is killed when it says that.
KILLED = """import os, sys
sys.path.insert(0, "/opt/mlflow/libexec")
from mlflow_backup import command, move, switch, upgrade
def tell(text):
    print(text, file=sys.stderr, flush=True)
    if text.startswith(sys.argv[1]):
        os.kill(os.getpid(), 9)
switch.tell = upgrade.tell = move.tell = tell
sys.exit(command.main(["--settings", "/etc/mlflow/backup.json", "switch"]))
"""

# Sends rows until a file is there: how often each answer came, and what failed. Who takes longer is asked less often: most of the time is the lab's.
SENDS = """
import json, os, sys, time, urllib.request
url, end = sys.argv[1:]
body, answers, failures = sys.stdin.buffer.read(), {}, []
while not os.path.exists(end):
    begun = time.monotonic()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=60) as answer:
            text = answer.read().decode()
        answers[text] = answers.get(text, 0) + 1
    except OSError as exc:
        failures.append([time.time(), str(exc)])
    time.sleep(0.05 + 9 * (time.monotonic() - begun))
print(json.dumps([answers, failures]))
"""
ASKS = """import sys, urllib.request as u
print(u.urlopen(u.Request(sys.argv[1], sys.stdin.buffer.read(), {"Content-Type": "application/json"}), timeout=60).read().decode())"""


def served(address, number=None):
    """Where each model is served, rows for it, all or the first ones, and what it is to answer."""
    expected = {"steady": (VARIABLES["serving_sample"], [101.0, 102.0])}
    expected.update({name: (training_rows(number), trained(name)[:number]) for name in SPARK_MODELS})
    return [(f"{address}:{model['port']}", *expected[model["name"]]) for model in MODELS]


class Traffic:
    """Requests to served models from where Sparkflows stands, until they are asked for. Tells a model by where it is served."""

    END = "/tmp/traffic.end"

    def __init__(self, sparkflows):
        self.sparkflows, self.senders = sparkflows, {}
        sparkflows.run_expect([0], f"rm -f {self.END}")

    def start(self, where, rows, program, *more):
        command = ["docker", "exec", "-i", f"{LAB}-sparkflows1", "python3", "-c", program, f"http://{where}/invocations", *more]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process.stdin.write(json.dumps(rows))
        process.stdin.close()
        return process

    def ask(self, where, rows):
        with self.start(where, rows, ASKS) as process:
            return json.loads(process.stdout.read())

    def check(self, models):
        """Each answers as it should, row by row."""
        for where, rows, expected in models:
            assert self.ask(where, rows) == expected, where

    def send(self, where, rows, expected):
        self.senders[where] = self.start(where, rows, SENDS, self.END), expected

    def end(self):
        """How many requests each model has answered, all of them with what was expected. Fails with what was not."""
        self.sparkflows.run_expect([0], f"touch {self.END}")
        said = {where: (json.loads(process.stdout.read()), expected) for where, (process, expected) in self.senders.items()}
        self.senders = {}
        for where, ((answers, failures), expected) in said.items():
            assert failures == [] and [json.loads(answer) for answer in answers] == [expected], (where, failures, list(answers))
        return {where: sum(answers.values()) for where, ((answers, _failures), _expected) in said.items()}


@pytest.fixture(name="traffic", scope="module")
def fixture_traffic(sparkflows):
    traffic = Traffic(sparkflows)
    yield traffic
    sparkflows.run_expect([0], f"touch {traffic.END}")


@pytest.fixture(name="run", scope="module")
def fixture_run(tmp_path_factory):
    """A run of a playbook with a stack, and more variables of the group mlflow. hosts: variables of single ones."""
    # Variables of a group in an inventory's file go behind those of the folders of all inventories.
    folder = tmp_path_factory.mktemp("inventory")
    (folder / "group_vars/mlflow").mkdir(parents=True)

    def run(playbook, stack, *arguments, hosts=None, **variables):
        (folder / "hosts.yml").write_text(json.dumps({"mlflow": {"hosts": hosts or {}}}), encoding="utf-8")
        (folder / "group_vars/mlflow/lifecycle.yml").write_text(json.dumps({"mlops_stack": stack, **variables}), encoding="utf-8")
        return play(f"--inventory={folder}", f"playbooks/{playbook}.yml", "--diff", *arguments)

    return run


@pytest.fixture(name="killed_at")
def fixture_killed_at(mlflow):
    """The switch is killed at a step, and whoever comes after it, too, if nothing is to be put right yet."""
    units = set()

    def arrange(step, python="/opt/mlflow/current/bin/python", recovered=True, unit_name="mlflow-upgrade"):
        units.add(unit_name)
        folder = f"/etc/systemd/system/{unit_name}.service.d"
        mlflow.run_expect([0], f"mkdir -p {folder} && echo %s > /opt/killed.py", KILLED)
        unit = f'[Service]\nExecStart=\nExecStart={python} -B /opt/killed.py "{step}"\n' + ("" if recovered else "ExecStopPost=\n")
        mlflow.run_expect([0], "echo %s > %s/kill.conf", unit, folder)

    yield arrange
    for name in units:
        mlflow.run_expect([0], f"rm -rf /etc/systemd/system/{name}.service.d; systemctl daemon-reload; systemctl reset-failed {name}.service || true")


def release(mlflow):
    return mlflow.check_output("readlink /opt/mlflow/current").rpartition("/")[2].rpartition("-")[0]


def log(number, *more):
    """As many runs with one inside each."""
    # Newer clients say where each of them is seen.
    assert with_mlflow("log_runs.py", TRACKING, str(number), "-", *more).communicate(timeout=900)[0].split()[-1] == str(number)


def fill(then):
    """Runs, models in several versions and stages. Remembers all of it as that of MLflow 1.30."""
    log(100, "200")
    assert with_mlflow("second_versions.py", TRACKING, *SPARK_MODELS, "breast-cancer-h2o-python").wait(timeout=300) == 0
    then["guide-1.30"] = now = content(TRACKING)
    assert len(now["runs"]) > 200 and sorted(len(model["versions"]) for model in now["models"].values()) == [1, 2, 2, 2, 3]


def newest_archive(mlflow, folder):
    """Of a host, on this computer: the host itself keeps a number of them only."""
    path = mlflow.check_output("ls /var/backups/mlflow/mlflow-mlflow1-*.tar.gz | tail -n 1")
    subprocess.run(["docker", "cp", f"{LAB}-mlflow1:{path}", f"{folder}/first.tar.gz"], check=True)
    return f"{folder}/first.tar.gz"


def measured(what, value):
    """A line for reports/<lab>/measured.txt."""
    path = PROJECT / "reports" / LAB / "measured.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{what}: {value}\n")


def downtime(hosts, what):
    outcomes = [json.loads(host.check_output(f"cat {STATE}/outcome.json")) for host in hosts]
    measured(f"MLflow was away, {what}, seconds", [outcome["downtime"] for outcome in outcomes])


def process(mlflow, unit="mlflow.service"):
    return mlflow.check_output(f"systemctl show --property=MainPID,ExecMainStartTimestamp {unit}")


def models_of(mlflow):
    """The processes of the served models."""
    return [process(mlflow, unit) for unit in UNITS]


def same(then, now):
    """All that both MLflows know of."""
    assert then["experiments"] == now["experiments"] and then["models"] == now["models"] and set(then["runs"]) == set(now["runs"])
    for name, run in then["runs"].items():
        other = now["runs"][name]
        parts = ("params", "tags", "metrics", "artifacts")
        assert {part: run[part] for part in parts} == {part: other[part] for part in parts}, name
        common = set(run["info"]) & set(other["info"])
        assert {"status", "start_time", "end_time", "lifecycle_stage"} <= common
        assert {key: run["info"][key] for key in common} == {key: other["info"][key] for key in common}, name
