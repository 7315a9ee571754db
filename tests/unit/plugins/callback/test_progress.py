"""A run shows life: the name of a task before it starts, and which ones are still running."""

from __future__ import annotations

import configparser
import re
import subprocess

from ansible_collections.sparkflows.mlops.plugins.callback.progress import Running, duration, lines
from playbook_run import COLLECTIONS, PROGRAMS, PROJECT, environment_in

PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Skipped
      ansible.builtin.command: {argv: [exit]}
      when: false
    - name: "Slow {{ 'template' }}"
      ansible.builtin.command: {argv: [sleep, "{{ seconds }}"]}
    - name: Items
      ansible.builtin.command: {argv: [sleep, "{{ item }}"]}
      loop: [0, 0, 3]
"""
HOSTS = """
all:
  vars: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}
  hosts: {one: {seconds: 0}, two: {seconds: 4}}
"""


def test_duration():
    assert [duration(seconds) for seconds in (20.9, 60, 3725)] == ["20 s", "1 min 0 s", "62 min 5 s"]


def test_who_is_seen_to_do_something_is_not_named():
    running = {("b", 1): Running("Build", 0, 0), ("a", 1): Running("Build", 10, 10), ("c", 1): Running("Build", 0, 25, 3)}
    assert list(lines(running, 30, 20)) == ["... running for 30 s: Build [a, b]"]
    assert list(lines(running, 31, 20)) == []
    assert list(lines(running, 46, 20)) == ["... running for 46 s: Build [c], 3 items done"]
    assert list(lines(running, 60, 20)) == ["... running for 1 min 0 s: Build [a, b]"]


def test_a_checkout_names_a_task_before_it_starts():
    """The callback `default` does so only if it shows all results."""
    config = configparser.ConfigParser()
    config.read(PROJECT / "ansible.cfg")
    assert {config.getboolean("defaults", name, fallback=True) for name in ("display_skipped_hosts", "display_ok_hosts")} == {True}
    assert "sparkflows.mlops.progress" in config.get("defaults", "callbacks_enabled").split(", ")


def test_in_a_run(tmp_path):
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "hosts.yml").write_text(HOSTS)
    done = subprocess.run([PROGRAMS / "ansible-playbook", "-i", "hosts.yml", "play.yml"], cwd=tmp_path, check=False, capture_output=True, text=True,
                          env=environment_in(tmp_path, ANSIBLE_COLLECTIONS_PATH=COLLECTIONS, MLOPS_PROGRESS_INTERVAL="1",
                                             ANSIBLE_CALLBACKS_ENABLED="sparkflows.mlops.progress"))  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    signs = [line for line in done.stderr.splitlines() if line]
    sign = re.compile(r"\.\.\. running for \d+ s: (Slow template|Items) \[(one|two|one, two)\](, [1-4] items done)?")
    assert all(sign.fullmatch(line) for line in signs), signs
    # Who has ended is not named any more.
    assert [line for line in signs if line.endswith("s: Slow template [two]")] and [line for line in signs if line.endswith("4 items done")], signs
    assert "... running" not in done.stdout
