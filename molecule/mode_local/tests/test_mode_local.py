"""One machine that carries Sparkflows and MLflow, seen from itself and from outside; and what a switch to this mode leaves."""

import re
import socket

import pytest
from conftest import lab_host, play

UNIT = "/etc/systemd/system/fire-mlops-server.service"
PROGRAM, SETTINGS, PROVEN = "/opt/fire-mlops", "/etc/mlflow/fire-mlops-server.env", "/var/lib/mlops-service/fire-mlops-server.service.json"


@pytest.fixture(name="machine", scope="module")
def fixture_machine():
    return lab_host("machine1")


@pytest.fixture(name="address", scope="module")
def fixture_address(machine):
    return machine.interface("eth0").addresses[0]


def switch(*arguments):
    """Run what a switch of the mode takes; gives what was said, and the number of changes."""
    run = play("--diff", "playbooks/mlflow.yml", "playbooks/sparkflows.yml", "--tags=serving_firewall,fire_mlops_server,sparkflows_configuration",
               *arguments)
    assert run.returncode == 0, run.output[-5000:]
    return run.text, run.changed["machine1"]


def rules(machine):
    return machine.check_output("firewall-cmd --policy=mlops-serving --list-rich-rules")


def test_both_run_on_the_machine(machine):
    for name in ("mlflow", "fire"):
        assert machine.service(name).is_running and machine.service(name).is_enabled


def test_there_is_no_fire_mlops_server(machine):
    assert not machine.file(UNIT).exists and not machine.file(PROGRAM).exists and not machine.file(SETTINGS).exists
    assert machine.run("ss -Hltn sport = :8086").stdout == ""
    assert 'port="8086"' not in rules(machine)


def test_there_is_no_ssh_access(machine):
    assert not machine.file("/etc/sparkflows-mlops/ssh").exists


def test_sparkflows_reaches_mlflow_and_nobody_else_does(machine, report, address):
    url = next(check["evidence"] for check in report["checks"] if check["name"] == "setting mlflow_url").split('"')[1]
    port = int(re.search(r":(\d+)", url.split("//")[1])[1])
    machine.run_expect([0], f"runuser -u sparkflows -- python3 -c 'import socket; socket.create_connection((\"{address}\", {port}), 5)'")
    with pytest.raises(OSError):
        socket.create_connection((address, port), 3)


def test_report_says_that_all_is_well(report):
    assert report["summary"]["failed"] == 0
    assert {check["host"] for check in report["checks"]} == {"machine1"}
    names = {check["name"] for check in report["checks"] if check["status"] == "passed"}
    assert {"service mlflow.service", "MLflow port is open", "registry round trip", "artifact round trip", "setting deploy_mode"} <= names
    # What the double has by itself for the port of the Fire MLOps server is not ours; see the role's own tests.
    assert not {"setting fire_mlops_host", "setting fire_mlops_port", "setting ssh_key_path", "service fire-mlops-server.service"} & names
    assert not [name for name in names if "Fire MLOps" in name]
    assert 'mlops.mlflow.deploy.mode = "local"' in [check["evidence"] for check in report["checks"]]


def test_switch_of_the_mode_removes_nothing_by_surprise(machine, address):
    """From fire_mlops_server to local: the service, its opening and its setting stay until they are to be removed."""
    switch("-e", "mlops_deploy_mode=fire_mlops_server")
    answers = f"python3 -c 'import socket; socket.create_connection((\"{address}\", 8086), 5)'"
    machine.run_expect([0], answers)
    assert 'port="8086"' in rules(machine)
    process = machine.service("fire-mlops-server").systemd_properties["MainPID"]

    # Without the variable: only the deploy mode in Sparkflows is another one.
    said, changed = switch()
    assert changed == 1
    for words in (
        "left over from the deploy mode fire_mlops_server: the firewall (firewalld)", "reach port 8086. It stays open.",
        f"left over from the deploy mode fire_mlops_server: {PROGRAM}, {SETTINGS}, {PROVEN}, {UNIT}. It is left as it is.",
        f"left over from another deploy mode in Sparkflows: mlops.host = {address}.", "Set mlops_remove_unused to true",
    ):  # fmt: skip
        assert words in said
    assert machine.service("fire-mlops-server").systemd_properties["MainPID"] == process
    machine.run_expect([0], answers)
    assert 'port="8086"' in rules(machine)

    said, changed = switch("-e", "mlops_remove_unused=true")
    assert "stopped and removed now" in said and "It is closed now." in said
    # The policy's file and its reload, the service, its files, and the setting.
    assert changed == 5
    for path in (PROGRAM, SETTINGS, PROVEN, UNIT):
        assert not machine.file(path).exists
    assert machine.run(answers).rc != 0
    assert 'port="8086"' not in rules(machine) and 'port="5000"' in rules(machine)
    assert machine.file("/var/lib/fire-mlops-server").exists and machine.user("fire-mlops").exists
    assert machine.service("mlflow").is_running

    said, changed = switch("-e", "mlops_remove_unused=true")
    assert changed == 0 and "left over from" not in said
