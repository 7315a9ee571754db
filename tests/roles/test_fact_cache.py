"""What was found on a host in one run must not be what the next run believes, whatever the operator's fact cache keeps."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
from pathlib import Path

import pytest
from playbook_run import PROGRAMS

INVENTORY = """
mlflow: {hosts: {m1: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}}}
sparkflows: {hosts: {fire1: {}}}
"""
PLAYBOOK = """
- hosts: mlflow
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: sparkflows.mlops.mlflow_server
        tasks_from: preflight
"""
VARIABLES = """
mlops_mlflow_proxy: false
mlops_mlflow_bind_address: 0.0.0.0
mlops_user: nobody-who-listens
mlops_sparkflows_url: https://fire1:8443
mlflow_server_minimum_free_mb: 0
mlops_mlflow_port: {port}
mlops_tmp_dir: "{tmp_dir}"
"""


@pytest.fixture(name="preflight")
def fixture_preflight(tmp_path):
    """preflight(port, tmp_dir) -> the run's exit status and output; each run finds the cache that the one before left."""
    (tmp_path / "inventory" / "group_vars").mkdir(parents=True)
    (tmp_path / "inventory" / "hosts.yml").write_text(INVENTORY)
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    caching = {
        "ANSIBLE_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(tmp_path / "cache"),
        "ANSIBLE_GATHERING": "smart",
        "ANSIBLE_HOME": str(tmp_path / "home"),
        "ANSIBLE_CONFIG": str(Path(__file__).parents[2] / "ansible.cfg"),
    }

    def run(port, tmp_dir=""):
        (tmp_path / "inventory" / "group_vars" / "all.yml").write_text(VARIABLES.format(port=port, tmp_dir=tmp_dir))
        command = [PROGRAMS / "ansible-playbook", "-i", tmp_path / "inventory", tmp_path / "play.yml"]
        done = subprocess.run(command, env={**os.environ, **caching}, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_port_that_is_free_again_and_a_directory_that_was_not_there_before(preflight, tmp_path):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as program:
        port = program.getsockname()[1]
        code, text = preflight(port)
        assert (code, f"Port {port} is taken by another program" in text) == (2, True), text
    code, text = preflight(port)
    assert code == 0, text
    code, text = preflight(port, tmp_dir=tmp_path)
    assert code == 0, text
