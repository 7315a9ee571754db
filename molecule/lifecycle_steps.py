"""What the scenarios have in common that take MLflow to another release or to other stores: runs with a stack, kills, and all that is compared."""

import json

import pytest
from conftest import play, with_mlflow

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


@pytest.fixture(name="run", scope="module")
def fixture_run(tmp_path_factory):
    """A run of a playbook with a stack, and more variables of the group mlflow. hosts: variables of single ones."""
    path = tmp_path_factory.mktemp("inventory") / "lifecycle.yml"

    def run(playbook, stack, *arguments, hosts=None, **variables):
        path.write_text(json.dumps({"mlflow": {"vars": {"mlops_stack": stack, **variables}, "hosts": hosts or {}}}), encoding="utf-8")
        return play(f"--inventory={path}", f"playbooks/{playbook}.yml", "--diff", *arguments)

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


def process(mlflow, unit="mlflow.service"):
    return mlflow.check_output(f"systemctl show --property=MainPID,ExecMainStartTimestamp {unit}")


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
