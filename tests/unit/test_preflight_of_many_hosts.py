# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host that does not pass hides nothing of what is wrong with another, and whether the rest goes on is a setting."""

from __future__ import annotations

from pathlib import Path

import pytest
from playbook_run import LOCAL, run_in

COLLECTION = Path(__file__).resolve().parents[2]
PLAY = f"""
- ansible.builtin.import_playbook: {COLLECTION}/playbooks/preflight.yml
- hosts: spark
  gather_facts: false
  tasks:
    - ansible.builtin.command: {{cmd: "touch {{{{ inventory_hostname }}}}.done", creates: "{{{{ inventory_hostname }}}}.done"}}
"""


@pytest.mark.parametrize("goes_on", [False, True])
def test_the_others(tmp_path, goes_on):
    hosts = {
        "good": {}, "good-too": {},
        "dead": {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1},
        "full": {"mlflow_runtime_min_free_bytes": 10**18},
        "mistyped": {"mlops_data_dirr": "/srv"},
        # Of this the questions of a role are made, before its arguments are checked.
        "other": {"java_runtime_method": "snap"},
    }  # fmt: skip
    runtimes = {"java_runtime_method": "existing", "java_runtime_home": str(tmp_path), "python_runtime_method": "existing",
                "python_runtime_home": str(tmp_path), "mlflow_runtime_min_free_bytes": 0}  # fmt: skip
    (tmp_path / "bin").mkdir()
    for name in ("java", "python3.7"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_1\"' >&2\n")
        (tmp_path / "bin" / name).chmod(0o755)
    folders = {"mlops_home": str(tmp_path), "mlops_data_dir": str(tmp_path), "ansible_become": False, "mlops_spark_secret": "0123456789" * 4}
    inventory = {"all": {"children": {"spark": {"hosts": hosts}}, "vars": {**LOCAL, **runtimes, **folders, "mlops_skip_failed_hosts": goes_on}}}
    done = run_in(tmp_path, inventory, PLAY)
    assert done.returncode != 0
    # All that is wrong, whichever host comes first.
    for words in ("[dead]: UNREACHABLE", "full: there is not enough free disk", "mistyped: mlops_data_dirr",
                  "value of java_runtime_method must be one of"):  # fmt: skip
        assert words in done.text, done.output[-6000:]
    assert ("did not pass the checks: dead, full, mistyped, other." in done.text) != goes_on, done.output[-6000:]
    assert sorted(path.stem for path in tmp_path.glob("*.done")) == (["good", "good-too"] if goes_on else [])
