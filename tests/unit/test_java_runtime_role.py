# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The JDK's packages are installed while something else is done. In place of apt is a program that waits for just that."""

from __future__ import annotations

import json

import pytest
from playbook_run import LOCAL, run_in

# Installs a JDK below its host's folder. It fails unless something has been done meanwhile, and says what it was given.
APT = r"""#!/usr/bin/python
import json, os, sys, time
# WANT_JSON
with open(sys.argv[1]) as file:
    given = json.load(file)
place = given["name"][0]
with open(place + "/asked", "a") as file:
    json.dump(given, file)
    file.write("\n")
if given.get("_ansible_check_mode"):
    print(json.dumps({"changed": True}))
    sys.exit()
if os.path.exists(place + "/no-mirror"):
    print(json.dumps({"failed": True, "msg": "No package matching 'openjdk-8' is available"}))
    sys.exit()
for second in range(200):
    if os.path.exists(place + "/meanwhile"):
        break
    time.sleep(0.1)
else:
    print(json.dumps({"failed": True, "msg": "nothing was done meanwhile"}))
    sys.exit()
java = place + "/jvm/java-8-openjdk/bin/java"
os.makedirs(os.path.dirname(java))
with open(java, "w") as file:
    file.write("#!/bin/sh\necho 'openjdk version \"1.8.0_504\"' >&2\n")
os.chmod(java, 0o755)
print(json.dumps({"changed": True}))
"""
PLAY = """
- hosts: machines
  gather_facts: false
  tasks:
    - ansible.builtin.set_fact: {ansible_pkg_mgr: apt, cacheable: true}
      tags: [always]
    - ansible.builtin.import_role: {name: sparkflows.mlops.java_runtime, tasks_from: begin}
    - ansible.builtin.file: {path: "{{ place }}/meanwhile", state: touch, mode: "0644"}
      when: place is directory
    - ansible.builtin.import_role: {name: sparkflows.mlops.java_runtime}
    # Another play may have it, too.
    - ansible.builtin.import_role: {name: sparkflows.mlops.java_runtime, tasks_from: begin}
    - ansible.builtin.import_role: {name: sparkflows.mlops.java_runtime}
"""
# Whoever has only the role, and nothing to do meanwhile.
ALONE = PLAY.replace(", tasks_from: begin", "")


@pytest.fixture(name="machine")
def fixture_machine(tmp_path):
    """Runs a playbook on a machine whose packages are below a folder of this computer."""
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "apt.py").write_text(APT)
    (tmp_path / "jvm").mkdir()
    variables = {
        **LOCAL, "place": str(tmp_path), "ansible_async_dir": str(tmp_path / "jobs"), "mlops_preflight_passed": True, "mlops_selinux": "never",
        "mlops_home": str(tmp_path / "opt"), "mlops_data_dir": str(tmp_path / "var"), "mlops_tmp_dir": "", "java_runtime_packages": [str(tmp_path)],
    }  # fmt: skip
    # No setting of a user, so the inventory cannot say it.
    internal = json.dumps({"_java_runtime_package_dir": str(tmp_path / "jvm")})

    def play(text, *arguments):
        return run_in(tmp_path, {"machines": {"hosts": {"mlflow1": {}}, "vars": variables}}, text, "-e", internal, *arguments)

    return play


def asked(folder):
    return [json.loads(line) for line in (folder / "asked").read_text().splitlines()] if (folder / "asked").exists() else []


def test_the_packages_are_installed_meanwhile_and_the_second_time_nothing_is_done(tmp_path, machine):
    first = machine(PLAY)
    assert first.returncode == 0, first.output[-5000:]
    assert (tmp_path / "opt/java").resolve() == tmp_path / "jvm/java-8-openjdk"
    assert not list((tmp_path / "jobs").iterdir())
    second = machine(PLAY.replace("state: touch, ", "state: file, "))
    assert second.returncode == 0 and second.changed == {"mlflow1": 0}, second.output[-5000:]
    given = asked(tmp_path)
    assert len(given) == 1, given
    # Of another one, such as that of a run that was killed, it is not said after half a minute that it is in the way.
    assert given[0]["lock_timeout"] >= 600


def test_the_role_alone_waits_for_its_packages(tmp_path, machine):
    (tmp_path / "meanwhile").touch()
    done = machine(ALONE)
    assert done.returncode == 0 and len(asked(tmp_path)) == 1, done.output[-5000:]
    assert not (tmp_path / "jobs").exists()


@pytest.mark.parametrize("play", [PLAY, ALONE], ids=["meanwhile", "alone"])
def test_what_the_package_manager_says_is_seen_with_host_and_settings(tmp_path, machine, play):
    (tmp_path / "no-mirror").touch()
    done = machine(play)
    assert done.returncode == 2
    for words in (f"mlflow1: {tmp_path} could not be installed: No package matching 'openjdk-8' is available.",
                  "has no JDK 1.8, name a source that has one in java_runtime_repositories (apt)"):  # fmt: skip
        assert words in done.text, done.output


def test_a_check_begins_no_job(tmp_path, machine):
    done = machine(PLAY, "--check")
    assert done.returncode == 0, done.output[-5000:]
    assert [one["_ansible_check_mode"] for one in asked(tmp_path)] == [True] and not (tmp_path / "jobs").exists()


def test_a_tag_of_another_role_begins_nothing(tmp_path, machine):
    (tmp_path / "meanwhile").touch()
    for tag, times in (("mlflow_runtime", 0), ("java_runtime", 1)):
        done = machine(PLAY, f"--tags={tag}")
        assert done.returncode == 0 and len(asked(tmp_path)) == times, done.output[-5000:]
