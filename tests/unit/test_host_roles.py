# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles that prepare a host find there, refuse, and write down. Each case is a host of one run here."""

from __future__ import annotations

import pytest
from playbook_run import LOCAL, PROJECT, found_in

UNIT = """
- hosts: mlflow
  gather_facts: false
  roles:
    - {role: sparkflows.mlops.model_serving, when: false}
  tasks:
    - ansible.builtin.include_role: {name: sparkflows.mlops.model_serving, tasks_from: find}
    - ansible.builtin.copy:
        content: "{{ {'unit': lookup('ansible.builtin.template', role_path ~ '/templates/mlflow-model.service.j2')} | to_json }}"
        dest: found.json
        mode: "0600"
"""


@pytest.mark.parametrize("link", ["absolute", "relative"])
def test_a_served_model_s_java_survives_an_update_of_the_package_and_its_release_stays(tmp_path, link):
    versioned = tmp_path / "jvm" / "java-1.8.0-openjdk-1.8.0.432.b06-3.el9.x86_64"
    release = tmp_path / "opt" / "releases" / "one"
    for folder in (versioned, release, tmp_path / "alternatives"):
        folder.mkdir(parents=True)
    (tmp_path / "alternatives" / "java_sdk").symlink_to(versioned)
    stable = tmp_path / "jvm" / "java-1.8.0-openjdk"
    stable.symlink_to(tmp_path / "alternatives" / "java_sdk")
    (tmp_path / "opt" / "java").symlink_to(stable if link == "absolute" else "../jvm/java-1.8.0-openjdk")
    (tmp_path / "opt" / "current").symlink_to(release)
    variables = dict(LOCAL, mlops_home=str(tmp_path / "opt"), role_path=str(PROJECT / "roles" / "model_serving"),
                     model={"instance": "iris", "version": "1", "memory_max": "2G"})
    unit = found_in(tmp_path, {"mlflow": {"hosts": {"m1": variables}}, "sparkflows": {"hosts": {"fire1": {}}}}, UNIT)["unit"]
    assert f"\nEnvironment=JAVA_HOME={stable}\n" in unit
    assert f"\nExecStart={release}/bin/mlflow models serve " in unit
