"""What the demo's path leaves behind, seen from the hosts themselves."""

import json

import pytest
from conftest import LAB, PROJECT, trained, training_rows

SERVICES = ["mlflow", "fire-mlops-server", "mlflow-model@breast-cancer-risk"]


@pytest.mark.parametrize("name", SERVICES)
def test_service_runs_as_an_account_of_its_own(mlflow, name):
    service = mlflow.service(name)
    assert service.is_running and service.is_enabled
    user = service.systemd_properties["User"]
    assert user not in ("", "root")
    assert mlflow.user(user).shell.endswith("nologin")
    assert mlflow.file(mlflow.user(user).home).user != "root" or not mlflow.file(mlflow.user(user).home).exists


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_sandboxed(mlflow, name):
    properties = mlflow.service(name).systemd_properties
    assert properties["ProtectSystem"] == "strict"
    assert properties["NoNewPrivileges"] == properties["PrivateTmp"] == "yes"
    assert properties["ProtectHome"] in ("yes", "tmpfs", "read-only")
    # An empty property is left out of the ones above.
    assert mlflow.check_output("systemctl show --property CapabilityBoundingSet --value %s", name) == ""


def test_runtime_is_what_the_guide_names(mlflow):
    assert 'version "1.8.0' in mlflow.run("/opt/mlflow/java/bin/java -version").stderr
    assert mlflow.check_output("/opt/mlflow/current/bin/python --version").startswith("Python 3.7.")
    installed = mlflow.pip.get_packages(pip_path="/opt/mlflow/current/bin/pip")
    pins = {"h2o-pysparkling-3.2": "3.36.1.2.post1", "pyspark": "3.2.1", "mlflow": "1.30.1", "boto3": "1.28.50", "Flask": "2.2.4",
            "click": "8.1.3", "tornado": "6.2", "pylint": "2.5.3", "numpy": "1.21.6"}
    assert {name.lower(): version for name, version in pins.items()}.items() <= {
        name.lower().replace("_", "-"): package["version"] for name, package in installed.items()}.items()


def test_release_is_versioned_and_not_the_service_accounts(mlflow):
    current = mlflow.file("/opt/mlflow/current")
    assert current.is_symlink and current.linked_to.startswith("/opt/mlflow/releases/guide-1.30-")
    assert mlflow.run("runuser -u mlflow -- test -w /opt/mlflow/current/bin").rc == 1


@pytest.mark.parametrize("path", ["/etc/mlflow", "/etc/fire-mlops"])
def test_settings_are_not_for_everybody(mlflow, path):
    assert mlflow.run(f"find {path} -type f -perm /o=rwx").stdout == ""


@pytest.mark.parametrize("port", [5000, 5001, 8086])
def test_port_is_open_for_sparkflows(sparkflows, address, port):
    sparkflows.run_expect([0], f"python3 -c 'import socket; socket.create_connection((\"{address}\", {port}), 5)'")


@pytest.mark.parametrize("port", [4999, 5021, 8087])
def test_other_ports_are_closed_for_sparkflows(mlflow, sparkflows, address, port):
    # Something listens there, so that a firewall that lets everything through is found out.
    mlflow.run_expect([0], f"systemd-run --unit=listener-{port} python3 -m http.server {port}")
    try:
        mlflow.run_expect([0], f"timeout 10 sh -c 'until ss -Hltn sport = :{port} | grep -q .; do sleep 0.2; done'")
        run = sparkflows.run(f"python3 -c 'import socket; socket.create_connection((\"{address}\", {port}), 3)'")
        assert run.rc != 0 and ("timed out" in run.stderr or "No route to host" in run.stderr)
    finally:
        mlflow.run(f"systemctl stop listener-{port}")


def test_port_is_closed_for_others(address):
    """This computer is no Sparkflows host, although it is on the lab's network."""
    import socket

    with pytest.raises(OSError):
        socket.create_connection((address, 5000), 3)


def test_model_scores_over_rest_from_the_sparkflows_host(sparkflows, address):
    program = ("import sys, urllib.request\n"
               f"request = urllib.request.Request('http://{address}:5001/invocations', sys.argv[1].encode(),\n"
               "                                 {'Content-Type': 'application/json'})\n"
               "print(urllib.request.urlopen(request, timeout=60).read().decode())\n")
    assert json.loads(sparkflows.check_output("python3 -c %s %s", program, json.dumps(training_rows(3)))) == trained("breast-cancer-risk")[:3]


def test_report_says_that_all_is_well(report):
    assert report["summary"]["failed"] == 0
    assert report["summary"]["checks"] == len(report["checks"]) > 20
    assert all(set(check) >= {"name", "host", "status", "evidence"} for check in report["checks"])
    assert {check["host"] for check in report["checks"]} >= {"mlflow1", "sparkflows1"}


def test_junit_report_agrees(report):
    from xml.etree import ElementTree

    root = ElementTree.parse(PROJECT / "reports" / LAB / "acceptance.xml").getroot()
    assert len(root.findall(".//testcase")) == report["summary"]["checks"]
    assert not root.findall(".//failure")


def test_mlflow_sees_what_others_put_in_the_place_of_a_file(mlflow):
    """As resolvconf, NetworkManager and Ansible do it: another file under the same name. Not resolv.conf itself, which the engine mounts here."""
    name = "nsswitch.conf"
    seen = f"runuser -u mlflow -- cat /proc/{mlflow.service('mlflow').systemd_properties['MainPID']}/root/etc/{name}"
    replace = f"cp /etc/{name} /etc/{name}.new && echo '# %s' >> /etc/{name}.new && mv /etc/{name}.new /etc/{name}"
    for number in range(2):
        mlflow.run_expect([0], replace % number)
        mlflow.run_expect([0], f"timeout 10 sh -c 'until {seen} | grep -q \"^# {number}\"; do sleep 0.2; done'")


# Last: a model needs its time to load again.
@pytest.mark.parametrize("name", SERVICES)
def test_service_comes_back_after_a_kill(mlflow, name):
    before = mlflow.service(name).systemd_properties["MainPID"]
    mlflow.run_expect([0], f"kill -9 {before}")
    mlflow.run_expect([0], f"timeout 60 sh -c 'until systemctl is-active -q {name} && "
                           f"[ $(systemctl show -p MainPID --value {name}) != {before} ]; do sleep 1; done'")


def test_mlflow_answers_again_after_the_kill(mlflow):
    """Active is not ready; and what comes after these tests wants it ready."""
    mlflow.run_expect([0], "timeout 120 bash -c 'until (echo > /dev/tcp/127.0.0.1/5000) 2>&-; do sleep 0.5; done'")
