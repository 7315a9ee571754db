# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the deploy modes ask of inventory and hosts: each problem is said before anything is changed. Each case is a host of one run here."""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import re
import socket
from pathlib import Path

import pytest
import yaml
from playbook_run import LOCAL, PROJECT, UNSEEN, found_in, looked, problem_of, run_in, tell

ME = pwd.getpwuid(os.getuid()).pw_name
NO_SHELL = "nobody"
IN_FORCE = "port 22\nhostkey /etc/ssh/ssh_host_ed25519_key\npubkeyauthentication yes\nauthorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2\n"

# What the SSH server answers: exit code, text.
SERVERS = {
    "sshd": (0, IN_FORCE),
    "broken": (255, "/etc/ssh/sshd_config: line 7: Bad configuration option: Prot"),
    "no-keys": (0, IN_FORCE.replace("pubkeyauthentication yes", "pubkeyauthentication no")),
    "no-files": (0, IN_FORCE.replace(".ssh/authorized_keys .ssh/authorized_keys2", "none")),
    "elsewhere": (0, IN_FORCE.replace(".ssh/authorized_keys .ssh/authorized_keys2", "/etc/ssh/keys/%u/%%k .ssh/authorized_keys")),
}

# name: (group, SSH server, variables, words of the problem; none where all is well)
CASES = {
    "server": ("mlflow", "sshd", {}, []),
    "mlflow-new-account": ("mlflow", "sshd", {"mlops_ssh_mlflow_user": "nobody-else"}, []),
    "mlflow-strings": ("mlflow", "elsewhere", {"mlops_ssh_sources": ["10.0.0.0/8", "2001:db8::1"], "mlops_remove_unused": "no"}, []),
    "mlflow-service-account": ("mlflow", "sshd", {"mlops_ssh_mlflow_user": "mlflow"}, ["the account that MLflow runs as", "mlops_ssh_mlflow_user"]),
    "mlflow-no-shell": ("mlflow", "sshd", {"mlops_ssh_mlflow_user": NO_SHELL}, [
        f"The account {NO_SHELL} has the shell", "mlops_ssh_mlflow_user to another account"]),
    "no-server": ("mlflow", "absent", {}, ["No SSH server is installed here", "openssh-server", "mlops_deploy_mode"]),
    "broken-server": ("mlflow", "broken", {}, ["line 7: Bad configuration option: Prot", "/etc/ssh"]),
    "no-keys": ("mlflow", "no-keys", {}, [f"accepts no keys from {ME}", "PubkeyAuthentication"]),
    "no-files": ("mlflow", "no-files", {}, ["AuthorizedKeysFile none"]),
    "other-port": ("mlflow", "sshd", {"mlops_ssh_port": "1"}, ["Nothing listens on port 1", "mlops_ssh_port"]),
    "named": ("mlflow", "sshd", {"mlops_address": "mlflow.example"}, [
        "'mlflow.example' is neither", "set mlops_address of this host, or mlops_ssh_sources"]),
    "nowhere": ("mlflow", "sshd", {"mlops_ssh_sources": []}, ["mlops_ssh_sources is empty"]),
    "etc": ("mlflow", "sshd", {"mlops_ssh_key_path": "{etc}/id"}, ["would be closed to all but", "mlops_ssh_key_path"]),
    "relative": ("mlflow", "sshd", {"mlops_ssh_key_path": "id"}, ["mlops_ssh_key_path is id", "absolute"]),
    "pkcs1": ("mlflow", "sshd", {"ssh_access_key_format": "pkcs1"}, ["ssh_access_key_format is pkcs1", "ssh_access_key_type to rsa"]),
    "from": ("mlflow", "sshd", {"ssh_access_mlflow_options": ["restrict", "from=\"*\""]}, ["The option from is not for", "mlops_ssh_sources"]),
    "quote": ("mlflow", "sshd", {"ssh_access_mlflow_command": "echo \"x\""}, ["double quote", "ssh_access_mlflow_command"]),
    "client": ("sparkflows", "sshd", {"mlops_ssh_sparkflows_user": ME}, []),
    "sparkflows-nobody": ("sparkflows", "sshd", {"mlops_ssh_sparkflows_user": "nobody-else"}, [
        "There is no account nobody-else", "mlops_ssh_sparkflows_user"]),
    "sparkflows-no-shell": ("sparkflows", "sshd", {"mlops_ssh_sparkflows_user": NO_SHELL}, ["has the shell", "usermod", "mlops_ssh_sparkflows_user"]),
    "fire-mlops": ("mlflow", "absent", {"mlops_deploy_mode": "fire_mlops_server"}, []),
}

PLAYBOOK = """
- hosts: mlflow:sparkflows
  gather_facts: false
  tasks:
    - block:
        - ansible.builtin.include_role: {name: sparkflows.mlops.ssh_access, tasks_from: preflight, public: true}
          vars: {_ssh_access_sshd: "{{ server }}"}
        - ansible.builtin.set_fact: {problem: ""}
      rescue:
        - ansible.builtin.set_fact: {problem: "{{ ansible_failed_result.msg }}"}
    - ansible.builtin.set_fact:
        found: {problem: "{{ problem }}", peers: "{{ _mlops_ssh.peers }}",
                file: "{{ _ssh_access_authorized_keys if mlops_deploy_mode == 'remote' else '' }}",
                command: "{{ _mlops_ssh.commands.values() | first }}"}
""" + tell()


@pytest.fixture(name="found", scope="module")
def fixture_found(tmp_path_factory):
    """Case -> the problem that the role's preflight found, and what it told."""
    folder = tmp_path_factory.mktemp("modes")
    for name, (code, text) in SERVERS.items():
        (folder / name).write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\nexit {code}\n")
        (folder / name).chmod(0o755)
    (folder / "etc").mkdir()
    children = {"mlflow": {"hosts": {}}, "sparkflows": {"hosts": {}}}
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        for number, (name, (group, program, variables, _words)) in enumerate(CASES.items(), 1):
            children[group]["hosts"][name] = dict(
                {"mlops_address": f"192.0.2.{number}", "server": str(folder / program), "mlops_ssh_port": server.getsockname()[1],
                 "mlops_ssh_mlflow_user": ME, "mlops_ssh_sparkflows_user": ME, "mlops_ssh_key_path": str(folder / "ssh" / "id")}, **variables)
        text = json.dumps(children).replace("{etc}", "/etc" if ME != "root" else "/proc")
        if ME == "root":  # a directory of another account
            os.chown(folder / "etc", pwd.getpwnam(NO_SHELL).pw_uid, -1)
            text = text.replace("/proc/id", str(folder / "etc" / "id"))
        common = {**LOCAL, **looked(), "mlops_deploy_mode": "remote", "mlops_mlflow_url": "http://mlflow.example:5000", "mlops_home": str(folder),
                  "mlops_data_dir": str(folder)}  # fmt: skip
        return found_in(folder, {"all": {"children": json.loads(text), "vars": common}}, PLAYBOOK)


@pytest.mark.parametrize("name", CASES)
def test_problem_is_named_before_anything_is_changed(found, name):
    problem = problem_of(found[name], CASES[name][3])
    assert not problem or problem.startswith(name + ": ")


def test_the_other_end(found):
    peer = next(peer for peer in found["client"]["peers"] if peer["host"] == "mlflow-strings")
    assert peer["address"] == "192.0.2.3" and peer["names"] == ["192.0.2.3", "mlflow.example"]
    assert peer["sources"] == ["10.0.0.0/8", "2001:db8::1"]
    assert next(peer for peer in found["client"]["peers"] if peer["host"] == "other-port")["port"] == 1
    peer = found["server"]["peers"][0]
    assert (peer["host"], peer["user"], peer["sources"]) == ("client", ME, [peer["address"]])
    command = " ".join(found["server"]["command"])
    assert "StrictHostKeyChecking=yes" in command and "BatchMode=yes" in command and command.endswith(f"{ME}@{peer['address']} true")


def test_file_that_the_server_reads(found):
    assert found["server"]["file"] == os.path.join(pwd.getpwnam(ME).pw_dir, ".ssh/authorized_keys")
    assert found["mlflow-new-account"]["file"] == "/home/nobody-else/.ssh/authorized_keys"
    assert found["mlflow-strings"]["file"] == f"/etc/ssh/keys/{ME}/%k"


# ---- machines and modes ----------------------------------------------------------------------------------------------
TOPOLOGY = "[{hosts: all, gather_facts: false, roles: [sparkflows.mlops.topology]}]"


@pytest.mark.parametrize(("mode", "mlflow", "sparkflows", "words"), [
    ("local", {"one": {}}, {"one": {}}, []),
    ("local", {"one": {"mlops_address": "192.0.2.1"}}, {"api": {"mlops_address": "192.0.2.1"}}, []),
    ("local", {"one": {}}, {"two": {}}, ["local means one machine", "MLflow on one and Sparkflows on two", "mlops_deploy_mode"]),
    ("local", {"one": {}, "two": {}}, {"one": {}}, ["local means one machine"]),
    ("remote", {"one": {}}, {"two": {}}, []),
    ("remote", {"one": {}}, {"one": {}}, ["remote means two machines", "on one: set mlops_deploy_mode to local"]),
    ("fire_mlops_server", {"one": {}}, {"one": {}}, []),
    ("fire_mlops_server", {"one": {}}, {"two": {}}, []),
])  # fmt: skip
def test_mode_fits_the_machines(tmp_path, mode, mlflow, sparkflows, words):
    inventory = {"all": {"children": {"mlflow": {"hosts": mlflow}, "sparkflows": {"hosts": sparkflows}}, "vars": {
        **LOCAL, **UNSEEN, "mlops_deploy_mode": mode}}}
    done = run_in(tmp_path, inventory, TOPOLOGY)
    assert (done.returncode != 0) == bool(words), done.text[-3000:]
    assert all(word in done.text for word in words), done.text[-3000:]


FIREWALL = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: sparkflows.mlops.serving_firewall, tasks_from: preflight, public: true}
    - ansible.builtin.debug: {msg: "openings={{ _serving_firewall_plan.openings | to_json }}="}
"""


@pytest.mark.parametrize(("variables", "openings"), [
    # Its own address does no harm. A name cannot be in a rule, and the machine reaches itself without one.
    ({"mlops_address": "192.0.2.1"}, [{"source": "192.0.2.1", "ports": ["5000", "5001-5020"]}]),
    ({}, []),
    ({"serving_firewall_serving_sources": ["192.0.2.0/24"]}, [{"source": "192.0.2.0/24", "ports": ["5001-5020"]}]),
])  # fmt: skip
def test_firewall_of_one_machine(tmp_path, variables, openings):
    inventory = {"all": {"children": {"mlflow": {"hosts": {"one": variables}}, "sparkflows": {"hosts": {"one": {}}}}, "vars": {
        **LOCAL, **UNSEEN, "mlops_deploy_mode": "local", "serving_firewall_backend": "none"}}}
    done = run_in(tmp_path, inventory, FIREWALL)
    assert done.returncode == 0, done.output[-3000:]
    assert json.loads(re.search(r"openings=(.*?)=", done.output)[1].replace('\\"', '"')) == openings


# preflight.yml checks each group in a play of its own, and its first play says which hosts the run has.
GROUP_AFTER_GROUP = [yaml.safe_load((PROJECT / "playbooks" / "preflight.yml").read_text())[0],
                     *yaml.safe_load(PLAYBOOK.replace("mlflow:sparkflows", "mlflow"))]  # fmt: skip


@pytest.mark.parametrize("playbook", [PLAYBOOK, yaml.safe_dump(GROUP_AFTER_GROUP)], ids=["both", "group-after-group"])
@pytest.mark.parametrize("limit", ["one", "all"])
def test_one_end_alone(tmp_path, playbook, limit):
    """With a limit to one end there is nobody to exchange keys with."""
    (tmp_path / "sshd").write_text(f"#!/bin/sh\necho '{IN_FORCE}'\n")
    (tmp_path / "sshd").chmod(0o755)
    hosts = {"one": {"mlops_address": "192.0.2.1"}}, {"two": {"mlops_address": "192.0.2.2"}}
    inventory = {"all": {"children": {"mlflow": {"hosts": hosts[0]}, "sparkflows": {"hosts": hosts[1]}}, "vars": {
        **LOCAL, "mlops_deploy_mode": "remote", "server": str(tmp_path / "sshd"), "mlops_ssh_sparkflows_user": ME, "mlops_ssh_mlflow_user": ME}}}
    done = run_in(tmp_path, inventory, playbook, f"--limit={limit}", "-v")
    assert done.returncode == 0, done.output[-3000:]
    assert ("two is the other end and is not part of this run" in done.text) == (limit == "one"), done.output[-5000:]


# ---- the program that the acceptance role has both ends run ----------------------------------------------------------
BLOB, OTHER = "AAAAC3NzaC1lZDI1NTE5AAAAIone", "AAAAC3NzaC1lZDI1NTE5AAAAItwo"
PEER = {"host": "mlflow1", "address": "192.0.2.1", "user": "u", "command": ["ssh", "u@192.0.2.1", "true"], "comment": "sparkflows-mlops@mlflow1",
        "from": "192.0.2.1", "timeout": 20}  # fmt: skip
GOOD = f'from="192.0.2.1",restrict ssh-ed25519 {BLOB} sparkflows-mlops@mlflow1'


@pytest.fixture(name="program")
def fixture_program():
    spec = importlib.util.spec_from_file_location("acceptance_ssh_access", PROJECT / "roles" / "acceptance" / "files" / "ssh_access.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("lines", "why"), [
    (["# a comment", f"ssh-ed25519 {OTHER} admin", GOOD], ""),
    ([f'from="192.0.2.1",command="/bin/x y",restrict ssh-ed25519 {BLOB} sparkflows-mlops@mlflow1'], ""),
    ([], "0 keys of mlflow1 are authorized"),
    ([f"ssh-ed25519 {OTHER} admin"], "0 keys of mlflow1"),
    ([f"ssh-ed25519 {BLOB} sparkflows-mlops@mlflow1"], "has the options (none), wanted from="),
    ([f"restrict ssh-ed25519 {BLOB} sparkflows-mlops@mlflow1"], "has the options restrict, wanted from="),
    ([GOOD.replace("192.0.2.1", "192.0.2.1,*")], 'has the options from="192.0.2.1,*",restrict, wanted'),
    ([GOOD, f"ssh-ed25519 {BLOB} somebody"], "2 keys of mlflow1"),
    ([GOOD, GOOD.replace(BLOB, OTHER)], "2 keys of mlflow1"),
])  # fmt: skip
def test_key_is_accepted_from_its_address_only(program, monkeypatch, tmp_path, lines, why):
    (tmp_path / "keys").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(program, "run", lambda *command: (0, f"port 22\nauthorizedkeysfile {tmp_path}/keys {tmp_path}/none\nusepam yes"))
    if why:
        with pytest.raises(program.Wrong, match=re.escape(why)):
            program.comes_from_its_address_only(ME, PEER)
    else:
        assert "the key of mlflow1 has the options from=" in program.comes_from_its_address_only(ME, PEER)


@pytest.mark.parametrize(("code", "said", "why"), [
    (0, "", ""),
    (1, "no such command", ""),  # of the program at the other end: the login is what counts
    (255, "u@192.0.2.1: Permission denied (publickey).", "cannot log in to u@192.0.2.1: u@192.0.2.1: Permission denied"),
    (124, "", "no end (20 s are allowed)"),
])  # fmt: skip
def test_login(program, monkeypatch, code, said, why):
    monkeypatch.setattr(program, "run", lambda *command: (code, said))
    if why:
        with pytest.raises(program.Wrong, match=re.escape(why)):
            program.login("u", PEER)
    else:
        assert "logged in to u@192.0.2.1" in program.login("u", PEER)


@pytest.mark.skipif(ME != "root", reason="asks as other accounts, as the role does")
def test_key_is_private(program, tmp_path):
    # Where pytest's own folder is closed to others, they could not read anything in it.
    folder = Path("/var/tmp") / tmp_path.name
    folder.mkdir(mode=0o755)
    key = folder / "id"
    try:
        key.write_text("secret")
        key.chmod(0o600)
        assert "owner root, mode 0600" in program.key_is_private("root", str(key))
        for mode, why in ((0o640, "mode 0640, wanted owner root"), (0o604, "mode 0604")):
            key.chmod(mode)
            with pytest.raises(program.Wrong, match=why):
                program.key_is_private("root", str(key))
        key.chmod(0o600)
        with pytest.raises(program.Wrong, match="owner root, mode 0600, wanted owner nobody"):
            program.key_is_private("nobody", str(key))
        folder.chmod(0o777)
        with pytest.raises(program.Wrong, match="others may replace it"):
            program.key_is_private("root", str(key))
    finally:
        key.unlink()
        folder.rmdir()


# ---- the SSH client --------------------------------------------------------------------------------------------------
# Programs that a host has, by its distribution -> what is installed. On the RHEL family the maker of keys comes with the server, the client does not.
CLIENTS = {
    "debian-bare": (["debian", []], [], ["openssh-client"]),
    "debian": (["debian", []], ["ssh", "ssh-keygen"], []),
    "el-server-alone": (["rocky", ["rhel", "fedora"]], ["ssh-keygen"], ["openssh-clients"]),
    "el-client": (["rocky", ["rhel", "fedora"]], ["ssh", "ssh-keygen"], []),
}
PACKAGES = """
- hosts: mlflow
  gather_facts: false
  roles:
    - {role: sparkflows.mlops.ssh_access, when: false}
  tasks:
    - ansible.builtin.set_fact: {found: "{{ _ssh_access_packages }}"}
""" + tell()


def test_ssh_client_is_installed_where_it_is_not(tmp_path):
    hosts = {}
    for name, ((distribution, like), programs, _packages) in CLIENTS.items():
        looked = [{"item": f"/usr/bin/{program}", "stat": {"exists": program in programs}} for program in ("ssh", "ssh-keygen")]
        hosts[name] = {"__mlops_host": {"distribution": {"id": distribution, "id_like": like}}, "__ssh_access_looked": {"results": looked}}
    found = found_in(tmp_path, {"all": {"vars": LOCAL, "children": {"mlflow": {"hosts": hosts}, "sparkflows": {"hosts": {"fire1": {}}}}}}, PACKAGES)
    assert found == {name: packages for name, (_distribution, _programs, packages) in CLIENTS.items()}
