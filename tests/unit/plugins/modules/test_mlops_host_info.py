# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import getpass
import json
import os
import socket
import sys
import time

import pytest
from ansible_collections.sparkflows.mlops.plugins.module_utils import proc, systemd
from ansible_collections.sparkflows.mlops.plugins.modules import mlops_host_info
from module_arguments import patch_module_args


@pytest.fixture(name="run")
def fixture_run(capsys):
    """Run the module, as Ansible does, and return its JSON."""

    def run(**params):
        with patch_module_args(params), pytest.raises(SystemExit):
            mlops_host_info.main()
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture(name="listener", params=["127.0.0.1", "::1"])
def fixture_listener(request):
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as sock:
        try:
            sock.bind((request.param, 0))
        except OSError:
            pytest.skip(f"this machine has no {request.param}")
        sock.listen()
        yield sock


def test_listener_with_its_owner(run, listener):
    host, port = listener.getsockname()[:2]
    found = [item for item in run()["host"]["listeners"] if item["port"] == port]
    with open("/proc/self/comm", encoding="utf-8") as comm:
        name = comm.read().strip()
    assert found == [{"address": host, "port": port, "user": getpass.getuser(), "pid": os.getpid(), "process": name, "unit": ""}]


PASSWD = """mlflow:x:995:994:MLflow:/var/lib/mlflow:/usr/sbin/nologin
open:x:1000:1000:,,,:/home/open:/bin/bash
foreign:x:1001:4711::/home/foreign:/bin/sh

+::::::
"""


def account(group, comment, home, shell, locked):
    return {"group": group, "comment": comment, "home": home, "shell": shell, "locked": locked}


@pytest.mark.parametrize("readable", [True, False])
def test_accounts(tmp_path, readable):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(PASSWD)
    (tmp_path / "etc/group").write_text("mlflow:x:994:\nopen:x:1000:mlflow\n")
    if readable:
        (tmp_path / "etc/shadow").write_text("mlflow:!:19000::::::\nopen:$y$j9T:19000:0:99999:7:::\nforeign::19000::::::\n")
    found = mlops_host_info.accounts(str(tmp_path))
    assert found.pop("+", None) == account(None, "", "", "", None)
    assert found == {
        "mlflow": account("mlflow", "MLflow", "/var/lib/mlflow", "/usr/sbin/nologin", True if readable else None),
        "open": account("open", ",,,", "/home/open", "/bin/bash", False if readable else None),
        "foreign": account(None, "", "/home/foreign", "/bin/sh", False if readable else None),
    }


@pytest.mark.parametrize("said, found", [("1", "enforcing"), ("0", "permissive"), (None, "disabled")])
def test_selinux(tmp_path, said, found):
    if said:
        (tmp_path / "sys/fs/selinux").mkdir(parents=True)
        (tmp_path / "sys/fs/selinux/enforce").write_text(said)
    assert mlops_host_info.selinux(str(tmp_path)) == found


@pytest.fixture(name="systemctl")
def fixture_systemctl(tmp_path, monkeypatch):
    """Has systemctl say something when it is asked for that, and nothing else."""

    def says(question, said):
        program = tmp_path / "systemctl"
        program.write_text(f"#!/bin/sh\n[ $1 = {question} ] && cat <<'END'\n{said}END\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return says


@pytest.mark.parametrize("said, found", [("systemd 239 (239-82.el8)\n+PAM\n", 239), ("systemd 257 (257.9-1~deb13u1)\n", 257), ("", 0)])
def test_systemd(run, systemctl, said, found):
    systemctl("--version", said)
    assert run()["host"]["systemd"] == found


@pytest.mark.parametrize("said, found", [
    ("LANG=C\nNO_PROXY=.example.com,10.0.0.0/8\nPATH=/bin\n", ".example.com,10.0.0.0/8"),
    ("no_proxy=$'*.example.com'\nNO_PROXY=a\n", "a,*.example.com"),
    ("XNO_PROXY=b\n", ""),
    ("Failed to get environment\n", ""),
])
def test_no_proxy_of_all_services(run, systemctl, said, found):
    systemctl("show-environment", said)
    assert run()["host"]["no_proxy"] == found


@pytest.mark.parametrize("groups, unit", [
    ("0::/system.slice/mlflow.service\n", "mlflow.service"),
    ("0::/docker/0f3a/system.slice/system-mlflow\\x2dmodel.slice/mlflow-model@iris.service\n", "mlflow-model@iris.service"),
    ("12:pids:/system.slice/other.service\n1:name=systemd:/system.slice/nginx.service\n0::/\n", "nginx.service"),
    ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/tool.service\n", "tool.service"),
    ("0::/system.slice/docker-0f3a.scope\n", ""),
    ("", ""),
])
def test_unit_of_a_process(groups, unit):
    assert proc.unit(groups) == unit


def test_connection_is_not_a_listener(run, listener):
    with socket.create_connection(listener.getsockname()[:2]) as client:
        ports = [item["port"] for item in run()["host"]["listeners"]]
        assert client.getsockname()[1] not in ports


def test_process_of_another_user_is_left_out(monkeypatch, listener):
    def denied(path):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(proc.os, "scandir", denied)
    found = [item for item in proc.listeners() if item["port"] == listener.getsockname()[1]]
    assert [(item["user"], item["pid"], item["process"]) for item in found] == [(getpass.getuser(), None, "")]


def test_open(run, listener):
    host, port = listener.getsockname()[:2]
    answer = run(connect=[{"host": host, "port": port}])
    assert "host" not in answer
    assert answer["changed"] is False
    assert answer["connect"][0].pop("milliseconds") < 1000
    assert answer["connect"] == [{"host": host, "port": port, "state": "open", "error": ""}]


def test_brackets_around_ipv6(run, listener):
    host, port = listener.getsockname()[:2]
    assert run(connect=[{"host": f"[{host}]", "port": port}])["connect"][0]["state"] == "open"


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_refused(run):
    answer = run(connect=[{"host": "127.0.0.1", "port": free_port()}])["connect"][0]
    assert (answer["state"], answer["error"]) == ("refused", "Connection refused")


def test_unresolved(run):
    answer = run(connect=[{"host": "nobody.invalid", "port": 1}, {"host": "a..b", "port": 1}])["connect"]
    assert [item["state"] for item in answer] == ["unresolved", "unresolved"]
    assert all(item["error"] for item in answer)


@pytest.fixture(name="silent")
def fixture_silent():
    """A port that answers nothing, as behind a firewall that drops: its queue of connections is full."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        clients = []
        for _number in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(sock.getsockname())
            clients.append(client)
        yield sock.getsockname()
        for client in clients:
            client.close()


def test_no_answer_is_filtered_and_all_wait_together(run, silent):
    start = time.monotonic()
    answer = run(connect=[{"host": silent[0], "port": silent[1]}] * 8, timeout=0.5)["connect"]
    assert {(item["state"], item["error"]) for item in answer} == {("filtered", "no answer in 0.5 s")}
    assert time.monotonic() - start < 2


@pytest.mark.parametrize(("number", "state"), [
    (errno.EHOSTUNREACH, "filtered"),  # "administratively prohibited", what firewalld rejects with
    (errno.ENETUNREACH, "filtered"),
    (errno.EPERM, "filtered"),  # an output filter on this host
    (errno.ECONNREFUSED, "refused"),
])
def test_answer_of_a_firewall(monkeypatch, run, number, state):
    def connect(self, target):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket.socket, "connect", connect)
    answer = run(connect=[{"host": "127.0.0.1", "port": 1}])["connect"][0]
    assert (answer["state"], answer["error"]) == (state, os.strerror(number))


@pytest.mark.parametrize(("states", "expected"), [
    (["filtered", "open"], "open"),
    (["filtered", "refused"], "refused"),
    (["refused", "filtered"], "refused"),
])
def test_best_of_several_addresses(monkeypatch, run, states, expected):
    answers = iter(states)
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{i}", 1)) for i in (1, 2)]
    monkeypatch.setattr(mlops_host_info.socket, "getaddrinfo", lambda *args, **kwargs: found)
    monkeypatch.setattr(mlops_host_info, "attempt", lambda *args: (next(answers), "text"))
    assert run(connect=[{"host": "both", "port": 1}])["connect"][0]["state"] == expected


def test_disk_of_missing_path_is_its_parents(run, tmp_path):
    there, missing = str(tmp_path), str(tmp_path / "not" / "yet")
    disks = run(paths=[there, missing])["host"]["disks"]
    assert disks[there]["mount"] == disks[missing]["mount"]
    assert os.path.ismount(disks[there]["mount"])
    stat = os.statvfs(there)
    assert abs(disks[missing]["free_bytes"] - stat.f_bavail * stat.f_frsize) < 1024 ** 3
    assert disks[there]["fstype"]
    assert {"rw", "ro"} & set(disks[there]["options"])


def test_disk_behind_a_symbolic_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    points = {"/": ("ext4", ["rw"]), str(tmp_path / "real"): ("xfs", ["rw", "noexec"])}
    found = mlops_host_info.disk(str(tmp_path / "link" / "new"), points)
    assert (found["mount"], found["fstype"], found["options"]) == (str(tmp_path / "real"), "xfs", ["rw", "noexec"])


def test_mounts_hide_earlier_ones_and_may_have_spaces(tmp_path):
    (tmp_path / "mounts").write_text("sda / ext4 rw 0 0\nsdb /my\\040disk ext4 rw 0 0\ntmpfs /my\\040disk tmpfs rw,noexec 0 0\nbroken\n")
    assert proc.mounts(tmp_path / "mounts") == {"/": ("ext4", ["rw"]), "/my disk": ("tmpfs", ["rw", "noexec"])}


@pytest.mark.parametrize(("file", "text", "expected"), [
    ("etc/os-release", 'ID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\n# ID=other\n',
     {"id": "debian", "version": "13", "codename": "trixie", "id_like": []}),
    ("usr/lib/os-release", 'ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.4"\nNAME=\'Rocky "9"\'\n',
     {"id": "rocky", "version": "9.4", "codename": "", "id_like": ["rhel", "centos", "fedora"]}),
    ("etc/os-release", 'ID="ol"\nID_LIKE="fedora"\nVERSION_ID="9.5"\n',
     {"id": "ol", "version": "9.5", "codename": "", "id_like": ["rhel", "fedora"]}),
    ("elsewhere", "", {"id": "linux", "version": "", "codename": "", "id_like": []}),
])
def test_distribution(tmp_path, file, text, expected):
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert mlops_host_info.distribution(str(tmp_path)) == expected


@pytest.mark.skipif(sys.byteorder != "little", reason="the samples are from a little-endian machine")
@pytest.mark.parametrize(("text", "expected"), [
    ("0100007F", "127.0.0.1"),
    ("00000000", "0.0.0.0"),
    ("00000000000000000000000001000000", "::1"),
    ("0000000000000000FFFF00000100007F", "::ffff:127.0.0.1"),
    ("B80D0120000000000000000001000000", "2001:db8::1"),
])
def test_address(text, expected):
    assert proc.address(text) == expected


@pytest.mark.parametrize(("params", "words"), [
    ({"paths": ["opt/mlflow"]}, "paths must be absolute: opt/mlflow"),
    ({"connect": [{"host": "a", "port": 0}, {"host": "b", "port": 65536}]}, "1 to 65535: a:0, b:65536"),
    ({"connect": [{"host": "a"}]}, "missing required arguments: port"),
    ({"timeout": 0}, "more than 0 seconds"),
])
def test_bad_input(run, params, words):
    answer = run(**params)
    assert answer["failed"] is True
    assert words in answer["msg"]


def test_units(run, tmp_path, monkeypatch):
    program = tmp_path / "systemctl"
    program.write_text('#!/bin/sh\necho "ActiveState=active\nMainPID=12\nSubState=$4"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(systemd, "ATTEMPTS", 1)
    found = run(units=["a.service", "b@1.service"])
    assert found["changed"] is False
    assert found["units"] == {unit: {"ActiveState": "active", "MainPID": 12, "SubState": unit} for unit in ("a.service", "b@1.service")}
    assert run(units=[])["units"] == {}


def test_check_mode_says_the_same(run):
    facts = run(_ansible_check_mode=True)["host"]
    assert facts["architecture"]
    assert facts["disks"] == {}


def test_owner_without_a_name():
    assert proc.user_name(4294967000) == "4294967000"


# ---- questions of roles
def test_commands_are_asked_without_input_and_in_plain_words(run, tmp_path, monkeypatch):
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    found = run(commands={
        "said": ["sh", "-c", "cat; echo $LC_ALL; echo two; echo why >&2; exit 3"],
        "number": ["echo", 8086],
        "absent": [str(tmp_path / "no such program"), "-version"],
        "not a program": [str(tmp_path)],
        "not asked": [],
        "no text": ["printf", "\\377"],
    })["commands"]  # fmt: skip
    assert {name: answer["rc"] for name, answer in found.items()} == {
        "said": 3, "number": 0, "absent": 127, "not a program": 127, "not asked": 0, "no text": 0}  # fmt: skip
    assert found["said"] == {
        "cmd": ["sh", "-c", "cat; echo $LC_ALL; echo two; echo why >&2; exit 3"], "rc": 3,
        "stdout": "C\ntwo\n", "stdout_lines": ["C", "two"], "stderr": "why\n", "stderr_lines": ["why"]}  # fmt: skip
    assert found["number"]["stdout_lines"] == ["8086"] and found["number"]["cmd"] == ["echo", "8086"]
    assert str(tmp_path / "no such program") in found["absent"]["stderr"]
    assert found["not asked"]["stdout_lines"] == [] and found["not asked"]["cmd"] == []
    assert found["no text"]["stdout"] == "\ufffd"


def test_commands_are_asked_at_the_same_time(run, tmp_path):
    """Each waits for the other."""
    wait = "touch $1; for _ in $(seq 200); do [ -e $2 ] && exit 0; sleep 0.05; done; exit 1"
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    found = run(commands={"one": ["sh", "-c", wait, "sh", one, two], "two": ["sh", "-c", wait, "sh", two, one]})
    assert [answer["rc"] for answer in found["commands"].values()] == [0, 0]
    # Only what is asked for.
    assert "host" not in found


def test_a_command_is_a_list(run):
    found = run(commands={"java": "java -version", "release": ["true"]})
    assert found["failed"] and "java" in found["msg"] and "release" not in found["msg"]
