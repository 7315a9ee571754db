# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import shlex
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.sparkflows.mlops.plugins.modules import mlops_service
from module_arguments import patch_module_args

CANARY = "canary-4c1f"

LOADED = (Path(__file__).parents[4] / "roles/topology/templates/loaded.conf.j2").read_text()

# A systemctl that plays a script: it keeps what it was asked in `calls`, and takes what it shows from `state`, or from the first file in `states`.
# A start is another process (`start` is what the unit does then); it fails if a file that is named in `refuses` has the text that is there, too.
SYSTEMCTL = """#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >> calls
case "$1" in
  show) next=$(ls states | head -n 1); if [ "$next" ]; then cat "states/$next"; rm "states/$next"; else cat state; fi ;;
  is-enabled) [ -e enabled ] ;;
  enable) touch enabled ;;
  stop) sed -i s/^ActiveState=.*/ActiveState=inactive/ state ;;
  restart)
    sed -i "s/^InvocationID=.*/InvocationID=$(wc -l < calls)/; s/^ActiveState=.*/ActiveState=active/" state
    [ ! -e start ] || INVOCATION_ID=$(sed -n s/^InvocationID=//p state) sh start
    [ ! -e refuses ] || ! sh refuses || { echo 'Job for x failed.' >&2; exit 1; } ;;
esac
"""


@pytest.fixture(name="systemd")
def fixture_systemd(tmp_path, monkeypatch):
    """A running and enabled service, started now."""
    home = tmp_path / "bin"
    home.mkdir()
    (home / "states").mkdir()
    (home / "journal").write_text(f"no such module {CANARY}\n")
    for name, text in (("systemctl", SYSTEMCTL), ("journalctl", '#!/bin/sh\n[ "$1" = --sync ] || cat "$(dirname "$0")/journal"\n')):
        (home / name).write_text(text)
        (home / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{home}:{os.environ['PATH']}")
    (home / "enabled").touch()
    (home / "calls").touch()

    def show(**changes):
        fields = {
            "ActiveState": "active",
            "InvocationID": "1",
            "NeedDaemonReload": "no",
            "NRestarts": 0,
            "UnitFileState": "enabled",
        }
        fields.update(changes)
        (home / "state").write_text("".join(f"{key}={value}\n" for key, value in fields.items() if value is not None))

    def start(*paths):
        """The process starts now, as a unit with loaded.conf.j2 has it; so it does at each restart."""
        command = shlex.split(LOADED.partition("/bin/sh -c ")[2].replace("$$", "$"))[0]
        command = command.replace("/run/mlops-service", str(tmp_path / "loaded")).replace("%n", "x.service")
        (home / "start").write_text(shlex.join(["sh", "-c", command, "sh", *map(str, paths)]))
        subprocess.run(["sh", home / "start"], check=True, env={"PATH": os.environ["PATH"], "INVOCATION_ID": "1"})

    monkeypatch.setattr(mlops_service, "LOADED", str(tmp_path / "loaded"))
    monkeypatch.setattr(mlops_service, "PROVEN", str(tmp_path / "proven"))
    show()
    return SimpleNamespace(home=home, show=show, start=start, proven=tmp_path / "proven")


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
        result["acts"] = [act for act in result["acts"] if act not in ("show", "is-enabled", "reset-failed")]
        return result

    return run


def test_nothing_to_do(run, systemd):
    systemd.start("/etc/passwd", "/no/such/file")
    result = run(files=["/etc/passwd"], shared_files=["/no/such/file"])
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


@pytest.mark.parametrize("age", [-9, 0, 9])
def test_another_content_needs_a_restart_whatever_its_age(run, systemd, tmp_path, age):
    file = tmp_path / "env"
    file.write_text("new")
    systemd.start(file)
    file.write_text("former")
    os.utime(file, (time.time() + age, time.time() + age))
    result = run(files=[str(file)])
    assert result["reason"] == f"{file} is not what x.service has loaded" and result["acts"] == ["daemon-reload", "restart"]
    assert not run(files=[str(file)])["changed"]


def test_the_same_content_needs_none_whatever_its_age(run, systemd, tmp_path):
    file = tmp_path / "env"
    file.touch()
    systemd.start(file)
    os.utime(file, (time.time() + 99, time.time() + 99))
    assert not run(files=[str(file)])["changed"]


def test_a_file_that_comes_or_goes_needs_a_restart(run, systemd, tmp_path):
    file = tmp_path / "env"
    systemd.start(file)
    file.touch()
    assert run(files=[str(file)])["changed"]
    file.unlink()
    assert run(shared_files=[str(file)])["changed"] and not run(shared_files=[str(file)])["changed"]


def test_a_process_that_others_started_is_known_as_well(run, systemd, tmp_path):
    file = tmp_path / "env"
    file.write_text("new")
    systemd.start(file)
    systemd.show(InvocationID="2")
    assert run(files=[str(file)])["reason"] == "it is not known what x.service has loaded"
    # systemctl restart by hand, after an edit
    file.write_text("edited")
    subprocess.run(["systemctl", "restart", "x.service"], check=True)
    assert not run(files=[str(file)])["changed"]


def test_of_a_link_it_is_where_it_leads(run, systemd, tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.touch()
    link.symlink_to(target)
    systemd.start(link)
    target.write_text("x")
    assert not run(files=[str(link)])["changed"]
    link.unlink()
    link.symlink_to("/")
    assert run(files=[str(link)])["reason"] == f"{link} is not what x.service has loaded"


# What a service says that does not start, and the reason in it.
TRACE = """Traceback (most recent call last):
  File "a.py", line 1, in <module>
    import b
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 3, in <module>
socket.timeout: timed out
[2026-11-25 22:00:00 +0000] [12] [INFO] Worker exiting (pid: 12)
Running the mlflow server failed. Please see the logs above for details.
"""
USAGE = """Usage: mlflow server [OPTIONS]
Try 'mlflow server --help' for help.

Error: Invalid value for '--workers' / '-w': 'zwei' is not a valid integer.
"""
ARGPARSE = """usage: gunicorn [OPTIONS] [APP_MODULE]
gunicorn: error: argument -w/--workers: invalid int value: 'zwei'
Running the mlflow server failed. Please see the logs above for details.
"""
JAVA = """Exception in thread "main" java.lang.IllegalStateException: cannot start
\tat a.B.c(B.java:1)
Caused by: java.net.BindException: Address already in use
\tat java.net.X.y(X.java:2)
"""
REASONS = [
    (TRACE, "socket.timeout: timed out"),
    (USAGE, "Error: Invalid value for '--workers' / '-w': 'zwei' is not a valid integer."),
    (ARGPARSE, "gunicorn: error: argument -w/--workers: invalid int value: 'zwei'"),
    (JAVA, "Caused by: java.net.BindException: Address already in use"),
    ("The database is new.\nThe database has the schema of a newer MLflow.\n\n", "The database has the schema of a newer MLflow."),
]


@pytest.mark.parametrize("journal, reason", REASONS)
def test_the_message_begins_with_the_reason_of_the_service(run, systemd, web, monkeypatch, journal, reason):
    web.answers = [(503, "")]
    (systemd.home / "journal").write_text(journal)
    monkeypatch.setattr(mlops_service.time, "sleep", lambda _seconds: systemd.show(NRestarts=8 + len(web.asked)))
    assert run(timeout=60)["msg"].startswith(f"{reason.rstrip('.')}. x.service ends again and again: ")


@pytest.fixture(name="settings")
def fixture_settings(run, systemd, tmp_path):
    """A file and a link that the service has answered with, and others in their place. It does not start with these."""
    file, link = tmp_path / "env", tmp_path / "current"
    file.write_text(f"two {CANARY}")
    file.chmod(0o640)
    link.symlink_to("releases/1")
    systemd.start(file, link)
    assert not run(files=[str(file), str(link)])["changed"]
    file.write_text("zwei")
    file.chmod(0o600)
    link.unlink()
    link.symlink_to("releases/2")
    (systemd.home / "refuses").write_text(f"grep -q zwei {file}")
    return SimpleNamespace(file=file, link=link, files=[str(file), str(link)])


def test_the_former_files_come_back_and_run(run, systemd, settings):
    (systemd.home / "journal").write_text(USAGE)
    result = run(files=settings.files)
    assert result["msg"].startswith(
        f"Error: Invalid value for '--workers' / '-w': 'zwei' is not a valid integer. x.service does not start: Job for x failed. "
        f"What it ran with before has been put back ({settings.file}, {settings.link}), and runs. The end of its journal:\n")
    assert settings.file.read_text() == f"two {CANARY}" and settings.file.stat().st_mode & 0o777 == 0o640
    assert os.readlink(settings.link) == "releases/1"
    assert result["acts"] == ["daemon-reload", "restart"] * 2
    # The next run finds it as it was, and one with other settings that are right has them run.
    assert not run(files=settings.files)["changed"]
    settings.file.write_text("three")
    assert run(files=settings.files)["answer"] == "OK"
    settings.file.write_text("zwei")
    assert run(files=settings.files)["failed"] and settings.file.read_text() == "three"


def test_a_file_that_was_not_there_before_goes_again(run, systemd, settings, tmp_path):
    added = tmp_path / "added.env"
    settings.file.write_text("three")
    assert run(files=[*settings.files, str(added)])["answer"] == "OK"
    added.write_text("zwei")
    (systemd.home / "refuses").write_text(f"test -e {added}")
    result = run(files=[*settings.files, str(added)])
    assert f"has been put back ({added}), and runs" in result["msg"] and not added.exists()


def test_a_run_that_was_killed_before_the_answer_is_made_good(run, systemd, settings, web):
    systemd.start(*settings.files)
    web.answers = [(503, "")]
    result = run(files=settings.files, timeout=0)
    assert "has been put back" in result["msg"] and settings.file.read_text() == f"two {CANARY}"
    assert result["msg"].startswith("x.service does not answer after 0 seconds: ")


def test_the_former_files_are_asked_where_they_answer(run, systemd, settings):
    assert "has been put back" in run(files=settings.files, url="http://127.0.0.1:1/")["msg"]
    result = run(files=settings.files)
    assert not result["changed"] and result["answer"] == "OK"


def test_former_files_that_do_not_run_either(run, systemd, settings):
    (systemd.home / "refuses").write_text("true")
    result = run(files=settings.files)
    assert "has been put back" in result["msg"] and ", but does not run either: no such module" in result["msg"]


def test_the_former_files_are_for_root_alone(systemd, settings):
    assert [path.stat().st_mode & 0o777 for path in (systemd.proven, systemd.proven / "x.service.json")] == [0o700, 0o600]


def test_a_service_that_is_out_for_another_reason_is_left_alone(run, systemd, web, tmp_path):
    systemd.start("/etc/passwd")
    assert run(files=["/etc/passwd"])["answer"] == "OK"
    web.answers = [(500, "no database")]
    result = run(files=["/etc/passwd"], timeout=0)
    assert "put back" not in result["msg"] and result["acts"] == []


def test_a_service_that_never_answered_is_stopped_and_not_enabled(run, systemd, web):
    systemd.show(ActiveState="inactive", UnitFileState="disabled")
    (systemd.home / "enabled").unlink()
    web.answers = [(503, "")]
    result = run(timeout=0)
    assert "has never answered before, so it has been stopped." in result["msg"]
    assert result["acts"] == ["daemon-reload", "restart", "stop"]


def test_systemd_that_says_only_half_is_asked_again(run, systemd, web):
    web.answers[:0] = [(503, "starting")] * 2
    for number, text in enumerate(["", "ActiveState=active\nNRestarts=", "ActiveState=active\nUnitFileState=enabled\n"]):
        (systemd.home / "states" / str(number)).write_text(text)
    result = run()
    assert result["answer"] == "OK" and result["acts"] == []


def test_systemd_that_never_says_how_often_it_restarted(run, systemd, web, monkeypatch):
    monkeypatch.setattr("ansible_collections.sparkflows.mlops.plugins.module_utils.systemd.ATTEMPTS", 2)
    web.answers[:0] = [(503, "starting")] * 2
    systemd.show(NRestarts=None)
    assert run()["answer"] == "OK"


def test_systemd_that_says_nothing(run, systemd):
    (systemd.home / "state").write_text("")
    result = run()
    assert result["msg"].startswith("Nothing was changed; run this again. systemd does not say whether x.service runs") and result["acts"] == []


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
    (systemd.home / "refuses").write_text("true")
    result = run()
    assert result["msg"].startswith(f"no such module {CANARY}. x.service does not start: Job for x failed. The end of its journal:\nno such")
