# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files are real; nginx and systemd are a stand-in that takes and refuses as they were seen to."""

from __future__ import annotations

import getpass
import grp
import os
import time

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkflows.mlops.plugins.module_utils import systemd
from ansible_collections.sparkflows.mlops.plugins.modules import nginx_sites

CANARY = "canary-9b3d"
OWN = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}

# What is in a site, and why nginx cannot listen then.
REFUSED = {"taken": "98: Address already in use", "forbidden": "13: Permission denied"}


class Nginx:
    """"nonsense" in a site is refused by the check, "taken" and "forbidden" by the reload, as nginx does with a port of somebody else."""

    def __init__(self, root, log):
        self.root, self.log, self.active = root, log, True
        self.workers, self.calls = {100: time.time()}, []
        # What a busy systemd says before it says all.
        self.silent = []

    def text(self, root):
        return "".join(path.read_text() for path in sorted(root.glob("conf.d/*.conf")))

    def run_command(self, command, **options):
        del options
        if command[:2] == ["systemctl", "show"]:
            if self.silent:
                return 0, self.silent.pop(0), "Connection timed out"
            return 0, f"ActiveState={'active' if self.active else 'inactive'}\nMainPID=1\n", ""
        self.calls.append(command[1] if command[0] == "systemctl" else "check" if "unshare" in command[0] else command[0])
        if command[0] == "unshare":
            assert CANARY not in " ".join(command)
            bad = "nonsense" in self.text(self.root.parent / command[-3])
            return int(bad), "", '[emerg] 7#7: unknown directive "nonsense"\n' if bad else ""
        if command[0] == "systemctl":
            refused = next((reason for word, reason in REFUSED.items() if word in self.text(self.root)), "")
            if refused:
                with self.log.open("a") as log:
                    log.write(f"2026/01/01 00:00:00 [emerg] 7#7: bind() to 0.0.0.0:80 failed ({refused})\n" * 5)
            else:
                self.active, self.workers = True, {max(self.workers) + 1: time.time() + 1}
        # The live configuration, with what others have written.
        if command[0].endswith("nginx") and "nonsense" in "".join(path.read_text() for path in self.root.rglob("*") if path.is_file()):
            return 1, "", '[emerg] 7#7: unknown directive "nonsense" in sites-enabled/other\n'
        return 0, "", ""


@pytest.fixture(name="nginx")
def fixture_nginx(tmp_path, monkeypatch):
    root, log = tmp_path / "nginx", tmp_path / "error.log"
    for folder in ("conf.d", "mlops"):
        (root / folder).mkdir(parents=True)
    (root / "nginx.conf").write_text("include conf.d/*.conf;")
    log.write_text("[emerg] 1#1: an old story\n")
    nginx = Nginx(root, log)
    monkeypatch.setattr(AnsibleModule, "run_command", lambda self, command, **options: nginx.run_command(command, **options))
    monkeypatch.setattr(AnsibleModule, "get_bin_path", lambda self, name, **options: "/usr/sbin/nginx")
    monkeypatch.setattr(nginx_sites, "processes", lambda parent: dict(nginx.workers))
    # Files of a site belong to root; the tests' belong to whoever runs them.
    monkeypatch.setattr(nginx_sites.Entry.__init__, "__defaults__", (OWN["owner"], OWN["group"], "0644"))
    return nginx


@pytest.fixture(name="run")
def fixture_run(call, nginx):
    def run(*sites, files=(), check=False, **options):
        sites = [{"name": name, "content": content} if content is not None else {"name": name, "state": "absent"} for name, content in sites]
        files = [dict(OWN, path=str(nginx.root / path), content=content) for path, content in files]
        secrets = {entry["path"]: entry.pop("content") for entry in files}
        return call(nginx_sites, check=check, diff=True, sites=sites, files=files, secret_contents=secrets, root=str(nginx.root),
                    error_log=str(nginx.log), timeout=1, **options)

    return run


def state(nginx):
    return {str(path.relative_to(nginx.root)): path.read_text() for path in nginx.root.rglob("*") if path.is_file()}


def test_new_site_is_checked_then_loaded_and_the_second_run_changes_nothing(run, nginx):
    result = run(("a", "listen 80;"), files=[("mlops/users", CANARY)])
    assert result["changed"] and nginx.calls == ["check", "reload"]
    assert result["changed_paths"] == [str(nginx.root / "conf.d/mlops-a.conf"), str(nginx.root / "mlops/users")]
    assert result["diff"][0]["after"] == "listen 80;" and CANARY not in result.output
    assert (nginx.root / "mlops/users").read_text() == CANARY
    assert (nginx.root / "mlops/users").stat().st_mode & 0o777 == 0o640
    again = run(("a", "listen 80;"), files=[("mlops/users", CANARY)])
    assert not again["changed"] and again["diff"] == [] and nginx.calls == ["check", "reload", "/usr/sbin/nginx"]
    assert sorted(os.listdir(nginx.root.parent)) == ["error.log", "nginx"]


def test_what_nginx_refuses_never_goes_live(run, nginx):
    run(("a", "listen 80;"))
    before = state(nginx)
    result = run(("a", "nonsense;"), ("b", "listen 81;"))
    assert result["failed"] and 'unknown directive "nonsense"' in result["msg"]
    assert state(nginx) == before and nginx.calls[-1] == "check"
    assert not run(("a", "listen 80;"))["changed"]


@pytest.mark.parametrize(("port", "words"), [
    ("taken", "98: Address already in use"),
    ("forbidden", "13: Permission denied): SELinux keeps it from this port: leave mlops_selinux at auto"),
])  # fmt: skip
def test_what_nginx_does_not_load_is_taken_back(run, nginx, port, words):
    run(("a", "listen 80;"))
    before, result = state(nginx), run(("a", f"listen {port};"), ("b", "listen 81;"))
    assert result["failed"] and "bind() to 0.0.0.0:80 failed (" + words in result["msg"]
    assert result["msg"].count("bind()") == 1 and "an old story" not in result["msg"]
    assert state(nginx) == before
    # The former files run: the next run finds nothing to load.
    assert nginx.calls[-2:] == ["reload", "reload"]
    assert not run(("a", "listen 80;"))["changed"]


def test_interrupted_run_is_completed(run, nginx):
    run(("a", "listen 80;"))
    loaded = max(path.stat().st_ctime for path in nginx.root.rglob("*")) + 0.1
    for path in ("conf.d/mlops-a.conf", "mlops"):
        nginx.workers, nginx.active = {9: loaded}, True
        assert not run(("a", "listen 80;"), check=True)["changed"]
        time.sleep(0.2)
        # Put back with its old time, or touched
        os.utime(nginx.root / path, (1, 1))
        result = run(("a", "listen 80;"), check=True)
        assert result["changed"] and f"{path} is newer than what nginx has loaded" in result["reason"]
        loaded = time.time() + 0.1
    nginx.workers = {9: 1}
    calls = len(nginx.calls)
    assert run(("a", "listen 80;"))["changed"] and nginx.calls[calls:] == ["/usr/sbin/nginx", "reload"]


@pytest.mark.parametrize("check", [False, True])
def test_broken_file_of_somebody_else_is_named_though_nothing_changes(run, nginx, check):
    """Else nobody would know until the next reboot, when nginx does not start."""
    run(("a", "listen 80;"))
    (nginx.root / "sites-enabled").mkdir()
    (nginx.root / "sites-enabled/other").write_text("nonsense;")
    result = run(("a", "listen 80;"), check=check)
    assert result["failed"] and "sites-enabled/other" in result["msg"] and nginx.calls[-1] == "/usr/sbin/nginx"


def test_what_a_power_failure_has_left_is_removed(run, nginx):
    left = nginx.root.parent / ".mlops-nginx-left"
    (left / "new/mlops").mkdir(parents=True)
    (left / "new/mlops/mlflow.key").write_text(CANARY)
    used = nginx.root.parent / ".mlops-nginx-used"
    used.mkdir()
    handle = nginx_sites.hold(str(used))
    try:
        result = run(("a", "listen 80;"), check=True)
        assert str(left) in result["changed_paths"] and left.exists()
        assert str(left) in run(("a", "listen 80;"))["changed_paths"]
        assert not left.exists() and used.exists()
        assert not run(("a", "listen 80;"))["changed"]
    finally:
        os.close(handle)
    # Also where nothing else is to be done, and then without a reload.
    calls = len(nginx.calls)
    assert run(("a", "listen 80;"))["changed_paths"] == [str(used)] and not used.exists()
    assert nginx.calls[calls:] == ["/usr/sbin/nginx"]


def test_secrets_lie_in_the_folder_of_the_run_only(run, nginx, monkeypatch):
    """A power failure in the middle leaves nothing elsewhere."""
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _handle: seen.extend(
        path for path in nginx.root.parent.rglob("*") if path.is_file() and ".mlops-nginx-" not in str(path) and CANARY in path.read_text()))
    run(files=[("mlops/users", CANARY)])
    assert seen == [] and (nginx.root / "mlops/users").read_text() == CANARY


def test_a_time_in_the_future_is_no_reason(run, nginx):
    run(("a", "listen 80;"))
    os.utime(nginx.root / "conf.d/mlops-a.conf", (time.time() + 99, time.time() + 99))
    assert not run(("a", "listen 80;"))["changed"]


def test_service_that_does_not_run_is_started(run, nginx):
    run(("a", "listen 80;"))
    nginx.active = False
    assert "is not running" in run(("a", "listen 80;"))["reason"] and nginx.calls[-1] == "restart"


def test_site_is_removed_and_others_stay(run, nginx):
    (nginx.root / "conf.d/other.conf").write_text("listen 99;")
    run(("a", "listen 80;"), ("b", "listen 81;"))
    result = run(("a", None), ("never-was", None))
    assert result["changed_paths"] == [str(nginx.root / "conf.d/mlops-a.conf")] and result["diff"][0]["before"] == "listen 80;"
    assert sorted(os.listdir(nginx.root / "conf.d")) == ["mlops-b.conf", "other.conf"]


def test_check_mode_says_the_same_and_touches_nothing(run, nginx):
    before = state(nginx)
    result = run(("a", "listen 80;"), files=[("mlops/users", CANARY)], check=True)
    assert result["changed"] and len(result["changed_paths"]) == 2
    assert state(nginx) == before and nginx.calls == []


def test_without_nginx(run, monkeypatch):
    monkeypatch.setattr(AnsibleModule, "get_bin_path", lambda self, name, **options: None)
    assert run(("a", "listen 80;"), check=True)["changed"]
    assert "run role nginx first" in run(("a", "listen 80;"))["msg"]


@pytest.mark.parametrize("name", ["", "a b", "../a", "a/b", "a\n"])
def test_name_that_is_none(run, name):
    assert "is no name of a site" in run((name, "x"))["msg"]


def test_file_elsewhere(run, nginx):
    assert "does not lie below" in run(files=[("../passwd", "x")])["msg"]
    assert "No such file or directory" in run(files=[("missing/x", "x")])["msg"]
    assert not (nginx.root.parent / "passwd").exists()


def test_selinux_s_context_is_that_of_the_place(run, nginx, labels):
    run(("a", "listen 80;"), files=[("mlops/users", CANARY)])
    assert labels(nginx.root / "mlops/users") == f"type of {nginx.root}/mlops/users"
    labels(nginx.root / "conf.d/mlops-a.conf", "chosen_by_somebody_t")
    run(("a", "listen 81;"))
    assert labels(nginx.root / "conf.d/mlops-a.conf") == "chosen_by_somebody_t"


def test_systemd_that_says_only_half(run, nginx, monkeypatch):
    monkeypatch.setattr(systemd.time, "sleep", lambda _seconds: None)
    nginx.silent = ["", "ActiveState=active\n", "MainPID=\n"]
    assert run(("a", "listen 80;"))["changed"] and nginx.calls == ["check", "reload"]
    before, nginx.silent = state(nginx), ["MainPID=1\n"] * 100
    result = run(("a", "listen 81;"))
    assert result["msg"] == "Nothing was changed; run this again. systemd does not say whether nginx.service runs (ActiveState). Connection timed out"
    assert state(nginx) == before and nginx.calls == ["check", "reload", "check"]
