# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes are real ones: this one is the master, its children are the workers."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time

import pytest
from ansible_collections.sparkflows.mlops.plugins.module_utils import proc, systemd
from ansible_collections.sparkflows.mlops.plugins.modules import mlops_nginx_drained


class Workers:
    """Children of a process of their own: other tests' children are none of them."""

    def __init__(self):
        self.master = subprocess.Popen(["bash"], stdin=subprocess.PIPE, text=True)

    def start(self, seconds):
        self.master.stdin.write(f"sleep {seconds} &\n")
        self.master.stdin.flush()

    def wait(self, count):
        end = time.monotonic() + 5
        while len(mlops_nginx_drained.workers(self.master.pid)) != count:
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(0.03)  # the kernel counts in hundredths

    def stop(self):
        self.master.stdin.write("kill $(jobs -p); exit\n")
        self.master.stdin.close()
        self.master.wait()


@pytest.fixture(name="nginx")
def fixture_nginx(tmp_path, monkeypatch):
    workers = Workers()
    home = tmp_path / "bin"
    home.mkdir()
    (home / "systemctl").write_text(f"#!/bin/sh\n[ \"$1\" = show ] && cat {tmp_path}/pid\n")
    (home / "systemctl").chmod(0o755)
    (tmp_path / "pid").write_text(f"MainPID={workers.master.pid}\n")
    (tmp_path / "conf.d").mkdir()
    monkeypatch.setenv("PATH", f"{home}:{os.environ['PATH']}")
    yield workers
    workers.stop()


@pytest.fixture(name="drain")
def fixture_drain(call, tmp_path):
    def run(**options):
        return call(mlops_nginx_drained, config_dir=str(tmp_path / "conf.d"), **options)

    return run


def change(tmp_path, name="mlops-model-churn.conf"):
    (tmp_path / "conf.d" / name).write_text("")


def test_all_workers_are_new(nginx, drain, tmp_path):
    change(tmp_path)
    time.sleep(0.05)
    nginx.start(60)
    nginx.wait(1)
    result = drain()
    assert result["remaining"] == [] and result["seconds"] < 30 and not result["changed"]


def test_a_time_in_the_future_is_no_change(nginx, drain, tmp_path, monkeypatch):
    change(tmp_path)
    os.utime(tmp_path / "conf.d/mlops-model-churn.conf", (time.time() + 99, time.time() + 99))
    time.sleep(0.05)
    nginx.start(60)
    nginx.wait(1)
    monkeypatch.setattr(mlops_nginx_drained, "TAKEN_WITHIN", 0.1)
    assert drain()["remaining"] == []


def test_old_worker_is_waited_for(nginx, drain, tmp_path):
    nginx.start(2)
    nginx.wait(1)
    change(tmp_path)
    time.sleep(0.05)
    nginx.start(60)
    nginx.wait(2)
    result = drain()
    assert result["remaining"] == [] and result["seconds"] > 0


def test_removed_file_counts(nginx, drain, tmp_path):
    change(tmp_path)
    time.sleep(0.05)
    nginx.start(2)
    nginx.wait(1)
    (tmp_path / "conf.d" / "mlops-model-churn.conf").unlink()
    time.sleep(0.05)
    nginx.start(60)
    nginx.wait(2)
    assert drain()["seconds"] > 0


def test_old_worker_is_given_up_after_the_timeout(nginx, drain, tmp_path):
    nginx.start(60)
    nginx.wait(1)
    old = list(mlops_nginx_drained.workers(nginx.master.pid))
    change(tmp_path)
    time.sleep(0.05)
    nginx.start(60)
    nginx.wait(2)
    result = drain(timeout=1)
    assert result["remaining"] == old and result["seconds"] >= 1


def test_old_worker_that_is_busy_with_something_else(nginx, drain, tmp_path):
    """Nothing is open to the port that is asked about: only for a second in the beginning."""
    nginx.start(60)
    nginx.wait(1)
    change(tmp_path)
    time.sleep(0.05)
    nginx.start(60)
    nginx.wait(2)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted = server.accept()[0]
        closed = []
        timer = threading.Timer(1, lambda: (client.close(), accepted.close(), closed.append(time.monotonic())))
        timer.start()
        result = drain(ports=[port], quiet=0.5, timeout=30)
        ended = time.monotonic()
        timer.join()
    # It waits until the connection is closed and the port has been quiet, and not for the worker until the timeout.
    assert len(result["remaining"]) == 1 and ended - closed[0] >= 0.5 and result["seconds"] < 30


def test_nginx_that_was_not_reloaded(nginx, drain, tmp_path, monkeypatch):
    monkeypatch.setattr(mlops_nginx_drained, "TAKEN_WITHIN", 0.5)
    nginx.start(60)
    nginx.wait(1)
    change(tmp_path)
    result = drain()
    assert result["failed"] and "has not been reloaded" in result["msg"]


def test_nginx_that_does_not_run(nginx, drain, tmp_path):
    change(tmp_path)
    (tmp_path / "pid").write_text("MainPID=0\n")
    assert drain()["remaining"] == []


def test_systemd_that_says_nothing(nginx, drain, tmp_path, monkeypatch):
    monkeypatch.setattr(systemd, "PAUSE", 0)
    (tmp_path / "pid").write_text("MainPID=\n")
    assert "systemd does not say whether nginx.service runs (MainPID)" in drain()["msg"]


def test_check_mode_waits_for_nothing(nginx, drain, tmp_path):
    nginx.start(60)
    nginx.wait(1)
    change(tmp_path)
    assert drain(check=True)["seconds"] == 0


def test_a_worker_that_has_ended_is_none():
    """Until its master has heard of it, it is a process."""
    ended = subprocess.Popen(["true"])
    while proc.children(os.getpid())[ended.pid]["state"] != "Z":
        time.sleep(0.01)
    assert ended.pid not in mlops_nginx_drained.workers(os.getpid())
    ended.wait()
