# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.sparkflows.mlops.plugins.modules import mlops_service

CANARY = "canary-4c1f"

# A systemctl that plays a script: it keeps what it was asked in `calls`, and takes what it shows from `state`.
SYSTEMCTL = """#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >> calls
case "$1" in
  show) cat state ;;
  is-enabled) [ -e enabled ] ;;
  enable) touch enabled ;;
  restart) [ ! -e refuses ] || { echo 'Job for x failed.' >&2; exit 1; } ;;
esac
"""


@pytest.fixture(name="systemd")
def fixture_systemd(tmp_path, monkeypatch):
    """A running and enabled service, started now."""
    home = tmp_path / "bin"
    home.mkdir()
    for name, text in (("systemctl", SYSTEMCTL), ("journalctl", f"#!/bin/sh\necho 'no such module {CANARY}'\n")):
        (home / name).write_text(text)
        (home / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:{os.environ['PATH']}")
    (home / "enabled").touch()
    (home / "calls").touch()

    def show(**changes):
        fields = {
            "ActiveState": "active",
            "ExecMainStartTimestampMonotonic": int(time.monotonic() * 1e6),
            "NeedDaemonReload": "no",
            "NRestarts": 0,
            "UnitFileState": "enabled",
        }
        fields.update(changes)
        (home / "state").write_text("".join(f"{key}={value}\n" for key, value in fields.items()))

    show()
    return SimpleNamespace(home=home, show=show)


@pytest.fixture(name="web")
def fixture_web():
    """A server whose answers are in `answers`, the last one for ever: (status, text)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answers, length = self.server.answers, int(self.headers.get("Content-Length") or 0)
            self.server.asked.append((self.command, self.path, self.rfile.read(length).decode()))
            status, text = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/login")
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_GET

        def log_message(self, *_arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.answers, server.asked = [(200, "OK")], []
        server.url = f"http://127.0.0.1:{server.server_port}/health"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(name="run")
def fixture_run(capsys, systemd, web, monkeypatch):
    monkeypatch.setattr(mlops_service.time, "sleep", lambda _seconds: None)

    def run(check=False, **changes):
        params = {"name": "x.service", "url": web.url, "timeout": 5, "_ansible_check_mode": check}
        params.update(changes)
        params = {key: value for key, value in params.items() if value is not None}
        with patch_module_args(params), pytest.raises(SystemExit):
            mlops_service.main()
        result = json.loads(capsys.readouterr().out)
        result["acts"] = [line.split()[0] for line in (systemd.home / "calls").read_text().splitlines()]
        result["acts"] = [act for act in result["acts"] if act not in ("show", "is-enabled")]
        return result

    return run


def test_nothing_to_do(run):
    result = run(files=["/etc/passwd", "/no/such/file"])
    assert not result["changed"] and result["reason"] == "" and result["answer"] == "OK" and result["acts"] == []


@pytest.mark.parametrize(
    "state, reason",
    [
        ({"ActiveState": "inactive"}, "x.service is not running"),
        ({"ActiveState": "activating"}, "x.service is not running"),
        ({"NeedDaemonReload": "yes"}, "the unit of x.service is newer than what systemd has loaded"),
    ],
)
def test_state_that_needs_a_restart(run, systemd, state, reason):
    systemd.show(**state)
    result = run()
    assert result["changed"] and result["reason"] == reason and result["acts"] == ["daemon-reload", "restart"]


def test_a_newer_file_needs_a_restart(run, tmp_path):
    file = tmp_path / "env"
    file.touch()
    os.utime(file, (time.time() + 1, time.time() + 1))
    result = run(files=[str(file)])
    assert result["reason"] == f"{file} is newer than the process" and result["acts"] == ["daemon-reload", "restart"]


def test_the_age_of_a_link_is_its_own(run, tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.touch()
    link.symlink_to(target)
    os.utime(link, (1, 1), follow_symlinks=False)
    os.utime(target, (time.time() + 9, time.time() + 9))
    assert not run(files=[str(link)])["changed"]


def test_enabling_alone_restarts_nothing(run, systemd):
    systemd.show(UnitFileState="disabled")
    (systemd.home / "enabled").unlink()
    result = run()
    assert result["changed"] and result["acts"] == ["daemon-reload", "enable"]


@pytest.mark.parametrize("state, files_changed", [({"ActiveState": "inactive"}, False), ({}, True)])
def test_check_mode_does_nothing(run, systemd, web, state, files_changed):
    systemd.show(**state)
    result = run(check=True, files_changed=files_changed)
    assert result["changed"] and result["reason"] and result["acts"] == [] and web.asked == []


def test_it_waits_until_the_service_is_ready(run, web):
    web.answers[:0] = [(503, "starting"), (500, "starting")]
    assert run()["answer"] == "OK" and len(web.asked) == 3


def test_a_port_is_enough_where_there_is_no_url(run, web):
    assert not run(url=None, port=web.server_port)["changed"]


def test_a_sample_is_posted(run, web):
    web.answers = [(200, "[4.0]")]
    assert run(body=[{"a": 2}])["answer"] == "[4.0]"
    assert web.asked == [("POST", "/health", '[{"a": 2}]')]


@pytest.mark.parametrize("status", [400, 404])
def test_a_refused_request_is_not_repeated(run, web, status):
    web.answers = [(status, "column a is missing")]
    result = run(hint="Look at sample.", timeout=60)
    assert result["failed"] and len(web.asked) == 1
    text, _journal = result["msg"].split(" The end of its journal:\n")
    assert text == (
        f"x.service refuses the request: {web.url}: HTTP status {status} column a is missing. Look at sample."
    )


def test_a_redirect_is_no_answer(run, web):
    web.answers = [(302, "")]
    result = run(timeout=0)
    assert result["failed"] and "HTTP status 302" in result["msg"]


def test_no_answer_ends_with_the_journal_less_the_secrets(run, web):
    web.answers = [(503, "starting")]
    result = run(timeout=0, secrets=[CANARY])
    assert "does not answer after 0 seconds" in result["msg"] and result["msg"].endswith("no such module ********")
    assert CANARY not in json.dumps(result)


def test_a_service_that_cannot_start_is_not_waited_for(run, systemd, web, monkeypatch):
    web.answers = [(503, "")]
    # While it is waited for, the service ends and is started again by systemd.
    monkeypatch.setattr(mlops_service.time, "sleep", lambda _seconds: systemd.show(NRestarts=8 + len(web.asked)))
    systemd.show(NRestarts=8)
    result = run(timeout=60)
    assert "ends again and again" in result["msg"] and len(web.asked) == 4


def test_a_refused_port(run):
    result = run(url=None, port=1, timeout=0)
    assert "127.0.0.1:1: Connection refused" in result["msg"]


def test_a_start_that_fails_at_once(run, systemd):
    systemd.show(ActiveState="failed")
    (systemd.home / "refuses").touch()
    result = run()
    assert result["msg"].startswith("x.service does not start: Job for x failed. The end of its journal:\nno such")
