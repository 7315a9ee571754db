"""When role sparkflows_configuration restarts the server: the command that asks, on real files."""

import os
import subprocess
import time
from pathlib import Path

import yaml

TASK = yaml.safe_load((Path(__file__).resolve().parents[2] / "roles/sparkflows_configuration/tasks/restart.yml").read_text())[0]


def unread(file, start):
    command = [part if not part.startswith(("{{", "/run/")) else str(file if "configuration_file" in part else start)
               for part in TASK["ansible.builtin.command"]["argv"]]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout != b""


def test_a_file_is_unread_whatever_time_it_says(tmp_path):
    file, start = tmp_path / "application.properties", tmp_path / "invocation"
    file.touch()
    os.utime(file, (time.time() + 99, time.time() + 99))
    time.sleep(0.05)
    start.symlink_to("4f1c")
    assert not unread(file, start)
    time.sleep(0.05)
    # Put back with its old time
    os.utime(file, (1, 1))
    assert unread(file, start)
