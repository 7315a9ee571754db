"""Two machines that let each other in over SSH, seen from the machines themselves; and what is left of that when the mode changes."""

import os
import re

import pytest
from conftest import LAB, LAB_DIR, PROJECT, lab_host, play

KEY = "/etc/sparkflows-mlops/ssh/id_mlops"
ENDS = {"mlflow1": "sparkflows1", "sparkflows1": "mlflow1"}
STRICT = f"-i {KEY} -o BatchMode=yes -o StrictHostKeyChecking=yes -o ConnectTimeout=5"


@pytest.fixture(name="hosts", scope="module")
def fixture_hosts():
    return {name: lab_host(name) for name in ENDS}


@pytest.fixture(name="addresses", scope="module")
def fixture_addresses(hosts):
    return {name: host.interface("eth0").addresses[0] for name, host in hosts.items()}


def as_user(host, command):
    return host.run("runuser -u sparkflows -- sh -c %s", command)


def switch(*arguments):
    """Run what a switch to another mode takes; gives what was said, and the number of changes on each host."""
    run = play("playbooks/ssh_access.yml", "playbooks/sparkflows.yml", "-e", "mlops_deploy_mode=fire_mlops_server", "--diff", *arguments)
    assert run.returncode == 0, run.output[-5000:]
    return run.text, run.changed


@pytest.mark.parametrize("name", ENDS)
def test_login_to_the_other_end(hosts, addresses, name):
    there = as_user(hosts[name], f"ssh {STRICT} sparkflows@{addresses[ENDS[name]]} hostname")
    assert (there.rc, there.stdout.strip()) == (0, ENDS[name]), there.stderr
    # Without options, too: the machine's own settings say them.
    plain = as_user(hosts[name], f"ssh -o BatchMode=yes {addresses[ENDS[name]]} hostname")
    assert (plain.rc, plain.stdout.strip()) == (0, ENDS[name]), plain.stderr


@pytest.mark.parametrize("name", ENDS)
def test_login_from_another_address_is_refused(hosts, addresses, name):
    """The same machine, account and key; only the address that it comes from is another one."""
    other = re.sub(r"\d+$", "99", addresses[name])
    hosts[name].run_expect([0], f"ip address add {other}/24 dev eth0")
    try:
        command = f"ssh -b {{}} {STRICT} sparkflows@{addresses[ENDS[name]]} hostname"
        assert as_user(hosts[name], command.format(addresses[name])).rc == 0
        refused = as_user(hosts[name], command.format(other))
        assert refused.rc == 255 and "Permission denied (publickey" in refused.stderr, refused.stderr
    finally:
        hosts[name].run_expect([0], f"ip address delete {other}/24 dev eth0")


@pytest.mark.parametrize("name", ENDS)
def test_host_key_that_is_not_the_known_one_is_refused(hosts, addresses, name):
    """known_hosts has the keys that the other machine itself has, and a login insists on them."""
    there = hosts[ENDS[name]].check_output("cat /etc/ssh/ssh_host_*_key.pub").splitlines()
    known = hosts[name].file("/etc/ssh/ssh_known_hosts").content_string.splitlines()
    address = addresses[ENDS[name]]
    assert {" ".join(line.split()[:3]) for line in known if line.startswith(address)} == {f"{address} {' '.join(line.split()[:2])}" for line in there}
    wrong = "/tmp/known_hosts"
    hosts[name].run_expect([0], f"awk '{{print \"{address}\", $1, $2}}' /etc/ssh/ssh_host_*_key.pub > {wrong}")
    refused = as_user(hosts[name], f"ssh -o GlobalKnownHostsFile={wrong} {STRICT} sparkflows@{address} hostname")
    assert refused.rc == 255 and "Host key verification failed" in refused.stderr, refused.stderr


@pytest.mark.parametrize("name", ENDS)
def test_a_login_may_run_programs_and_no_more(hosts, addresses, name):
    there = f"sparkflows@{addresses[ENDS[name]]}"
    terminal = as_user(hosts[name], f"ssh -tt {STRICT} {there} tty")
    assert "PTY allocation request failed" in terminal.stderr, terminal.stderr
    # The tunnel would lead to the SSH server of the other end itself, which answers at once where it may be reached.
    tunnel = as_user(hosts[name], f"ssh -W 127.0.0.1:22 {STRICT} {there} </dev/null")
    assert tunnel.rc != 0 and "administratively prohibited" in tunnel.stderr, tunnel.stderr


@pytest.mark.parametrize("name", ENDS)
def test_key_is_for_the_account_alone(hosts, name):
    key = hosts[name].file(KEY)
    assert (key.user, key.mode) == ("sparkflows", 0o600)
    folder = hosts[name].file(os.path.dirname(KEY))
    assert (folder.user, folder.mode) == ("sparkflows", 0o700)
    accounts = ["nobody"] + (["mlflow"] if name == "mlflow1" else [])
    for account in accounts:
        for path in (KEY, KEY + ".pub"):
            assert hosts[name].run("runuser -u %s -- cat %s", account, path).rc != 0
    assert as_user(hosts[name], f"cat {KEY} > /dev/null").rc == 0


def test_private_keys_stay_where_they_were_made(hosts):
    keys = {host.check_output("sha256sum < %s", KEY) for host in hosts.values()}
    assert len(keys) == 2
    # Not on the controller: neither in the lab's folder nor in what Ansible keeps.
    for folder in (LAB_DIR, PROJECT / "reports" / LAB):
        for path in folder.rglob("*") if folder.is_dir() else []:
            assert not path.is_file() or b"OPENSSH PRIVATE KEY" not in path.read_bytes(), path


def test_account_on_the_mlflow_host_is_no_service_account(hosts):
    account = hosts["mlflow1"].user("sparkflows")
    assert account.shell == "/bin/bash" and account.password == "*"
    assert hosts["mlflow1"].run("runuser -u sparkflows -- cat /etc/mlflow/mlflow.env").rc != 0
    assert hosts["mlflow1"].run("runuser -u sparkflows -- ls /var/lib/mlflow/db").rc != 0


def test_there_is_no_fire_mlops_server(hosts):
    assert not hosts["mlflow1"].file("/etc/systemd/system/fire-mlops-server.service").exists
    assert hosts["mlflow1"].run("ss -Hltn sport = :8086").stdout == ""
    assert "8086" not in hosts["mlflow1"].check_output("firewall-cmd --policy=mlops-serving --list-rich-rules")


def test_report_says_that_all_is_well(report):
    assert report["summary"]["failed"] == 0
    names = {(check["host"], check["name"]) for check in report["checks"] if check["status"] == "passed"}
    for name, other in ENDS.items():
        assert {(name, "SSH key is for sparkflows alone"), (name, f"SSH login to {other}"),
                (name, f"SSH key of {other} is accepted from its address only")} <= names
    settings = {check["name"] for check in report["checks"] if check["name"].startswith("setting ")}
    assert "setting ssh_key_path" in settings
    assert not {"setting fire_mlops_host", "setting fire_mlops_port"} & settings


def test_switch_to_another_mode_removes_nothing_by_surprise(hosts, addresses):
    """Last: it takes the SSH access away."""
    said, changed = switch()
    assert changed["mlflow1"] == 0
    for name, other in ENDS.items():
        assert f"{name}: left over from the deploy mode remote:" in said
        assert f"keys of sparkflows-mlops@{other}" in said
    assert "sparkflows1: left over from another deploy mode in Sparkflows: mlops.mlflow.ssh.key.path = " + KEY in said
    assert "Set mlops_remove_unused to true" in said
    command = f"ssh {STRICT} sparkflows@{addresses['mlflow1']} hostname"
    assert as_user(hosts["sparkflows1"], command).rc == 0

    # A key of somebody else in the same file is none of our business.
    add = "ssh-keygen -q -t ed25519 -N '' -C admin -f /root/admin && cat /root/admin.pub >> ~sparkflows/.ssh/authorized_keys"
    hosts["mlflow1"].run_expect([0], add)
    copied = "/opt/sparkflows/copy-of-the-key"
    hosts["sparkflows1"].run_expect([0], f"install -o sparkflows -m 600 {KEY} {copied}")
    said, changed = switch("-e", "mlops_remove_unused=true")
    assert changed["mlflow1"] == 2 and changed["sparkflows1"] == 3
    for host in hosts.values():
        assert not host.file(KEY).exists and not host.file("/etc/ssh/ssh_config.d/50-sparkflows-mlops.conf").exists
    assert hosts["mlflow1"].check_output("cat ~sparkflows/.ssh/authorized_keys").endswith(" admin")
    refused = as_user(hosts["sparkflows1"], command.replace(KEY, copied))
    assert refused.rc == 255 and "Permission denied (publickey" in refused.stderr, refused.stderr

    said, changed = switch("-e", "mlops_remove_unused=true")
    assert set(changed.values()) == {0} and "left over from" not in said


def test_uninstall_takes_the_access_away_and_leaves_what_others_use(hosts):
    """With the mode as it was before the switch, at both ends."""
    assert play("playbooks/ssh_access.yml").returncode == 0
    assert all(host.file(KEY).exists for host in hosts.values())
    command = ("playbooks/uninstall.yml", "--diff", "-e", '{"uninstall_confirm": true}')
    run = play(*command)
    assert run.returncode == 0, run.output[-5000:]
    for host in hosts.values():
        for path in ("/etc/sparkflows-mlops", "/etc/ssh/ssh_config.d/50-sparkflows-mlops.conf", "/etc/ssh/ssh_known_hosts"):
            assert not host.file(path).exists, path
    assert hosts["sparkflows1"].user("sparkflows").exists
    assert "sparkflows-mlops@" not in hosts["sparkflows1"].check_output("cat ~sparkflows/.ssh/* 2>/dev/null; true")
    assert "the account sparkflows stays" in run.text
    assert len(hosts["mlflow1"].check_output("cat ~sparkflows/.ssh/authorized_keys").splitlines()) == 1

    # When nobody uses it any more, the account goes as well.
    hosts["mlflow1"].run_expect([0], "rm ~sparkflows/.ssh/authorized_keys")
    run = play(*command)
    assert run.returncode == 0 and "removed the account sparkflows" in run.text, run.output[-5000:]
    assert not hosts["mlflow1"].user("sparkflows").exists and not hosts["mlflow1"].file("/home/sparkflows").exists
    assert set(play(*command).changed.values()) == {0}
