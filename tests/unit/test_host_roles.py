# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles that prepare a host find there, refuse, and write down. Each case is a host of one run here."""

from __future__ import annotations

import json
import shutil
import subprocess

from playbook_run import COLLECTIONS, LOCAL, PROGRAMS, PROJECT, found_in, preflights, problem_of, run, run_in, tell, told_by

CANARY = "canary-4c1f"


def host(name, version, *like):
    return {"distribution": {"id": name, "version": version, "codename": "", "id_like": list(like)}, "architecture": "x86_64"}


UNIT = """
- hosts: mlflow
  gather_facts: false
  roles:
    - {role: sparkflows.mlops.model_serving, when: false}
  tasks:
    - ansible.builtin.include_role: {name: sparkflows.mlops.model_serving, tasks_from: find}
    - ansible.builtin.set_fact:
        unit: "{{ lookup('ansible.builtin.template', role_path ~ '/templates/mlflow-model.service.j2') }}"
""" + tell("groups['mlflow']", "unit")


def test_a_served_model_s_java_survives_an_update_of_the_package_and_its_release_stays(tmp_path):
    versioned = tmp_path / "jvm" / "java-1.8.0-openjdk-1.8.0.432.b06-3.el9.x86_64"
    release = tmp_path / "opt" / "releases" / "one"
    for folder in (versioned, release, tmp_path / "alternatives", tmp_path / "relative"):
        folder.mkdir(parents=True)
    (tmp_path / "alternatives" / "java_sdk").symlink_to(versioned)
    stable = tmp_path / "jvm" / "java-1.8.0-openjdk"
    stable.symlink_to(tmp_path / "alternatives" / "java_sdk")
    for home, java in (("opt", stable), ("relative", "../jvm/java-1.8.0-openjdk")):
        (tmp_path / home / "java").symlink_to(java)
        (tmp_path / home / "current").symlink_to(release)
    variables = dict(LOCAL, role_path=str(PROJECT / "roles" / "model_serving"), __mlops_host=host("debian", "13"),
                     mlops_data_dir="/var/lib/mlflow", model_serving_environment={"REQUESTS_CA_BUNDLE": "/var/lib/mlflow/pki/ca.pem"},
                     model={"instance": "iris", "version": "1", "memory_max": "2G", "runtime": {
                         "java": "{{ mlops_java_home }}", "venv": "{{ mlops_venv }}", "serving": "{{ mlops_stack_data.model_serving }}"}})
    hosts = {home: {"mlops_home": str(tmp_path / home)} for home in ("opt", "relative")}
    inventory = {"all": {"vars": variables, "children": {"mlflow": {"hosts": hosts}, "sparkflows": {"hosts": {"fire1": {}}}}}}
    units = found_in(tmp_path, inventory, UNIT)
    assert len(units) == 2
    for unit in units.values():
        assert f"\nEnvironment=JAVA_HOME={stable}\n" in unit
        assert f"\nExecStart={release}/bin/mlflow models serve " in unit
        # Its sandbox hides MLflow's data, so it is shown the authorities there.
        assert "\nBindReadOnlyPaths=-/var/lib/mlflow/pki/ca.pem\n" in unit


SERVER_UNIT = """
- hosts: mlflow
  gather_facts: false
  roles:
    - {role: sparkflows.mlops.mlflow_server, when: false}
  tasks:
    - sparkflows.mlops.mlops_files:
        files:
          - path: "{{ playbook_dir }}/mlflow.service"
            template: "{{ role_path }}/templates/mlflow.service.j2"
            owner: "{{ lookup('ansible.builtin.pipe', 'id -un') }}"
            group: "{{ lookup('ansible.builtin.pipe', 'id -gn') }}"
"""


def test_mlflow_is_shown_the_authorities_that_its_sandbox_hides(tmp_path):
    variables = dict(LOCAL, role_path=str(PROJECT / "roles" / "mlflow_server"), mlops_s3_ca_path="/srv/pki/ca.pem", mlops_database_host="db",
                     mlops_database_ca_path="/var/pki/db.pem", mlflow_server_environment={"REQUESTS_CA_BUNDLE": "/etc/ssl/certs/ca.pem"},
                     __mlops_host=host("debian", "13"))  # fmt: skip
    done = run_in(tmp_path, {"mlflow": {"hosts": {"m1": variables}}, "sparkflows": {"hosts": {"fire1": {}}}}, SERVER_UNIT)
    assert done.returncode == 0, done.output[-3000:]
    unit = (tmp_path / "mlflow.service").read_text(encoding="utf-8")
    assert "\nBindReadOnlyPaths=-/srv/pki/ca.pem\n" in unit and "\nBindReadOnlyPaths=-/var/pki/db.pem\n" in unit
    # Shown with its folder, so that a new one is seen.
    assert "/etc/ssl/certs/ca.pem" not in unit


# ---- files of the controller
# Each names its files as the production example does, and uses them: what the preflight takes has to be there when all is installed.
RELATIVE = """
- hosts: mlflow
  gather_facts: false
  vars:
    nginx_certificate: {name: mlflow, method: provided, certificate_path: files/mlflow.pem, key_path: files/mlflow.key}
  roles:
    - {role: sparkflows.mlops.scorer, when: false}
  tasks:
    - ansible.builtin.include_role: {name: sparkflows.mlops.mlflow_proxy, tasks_from: preflight}
    - ansible.builtin.include_role: {name: sparkflows.mlops.nginx, tasks_from: certificate}
    - ansible.builtin.include_role: {name: sparkflows.mlops.nginx, tasks_from: certificate}
      vars: {nginx_certificate: {name: other, method: ca, ca_path: files/mlflow.pem, ca_key_path: files/mlflow.key, names: [mlflow1]}}
    - ansible.builtin.include_role: {name: sparkflows.mlops.java_runtime, tasks_from: preflight}
    - ansible.builtin.include_role: {name: sparkflows.mlops.mlflow_runtime, tasks_from: preflight, public: true}
    - ansible.builtin.set_fact:
        found:
          scorer: "{{ _scorer_settings | sparkflows.mlops.scorer_problems({'can_talk_to_docker': true}, __mlops_host.distribution) }}"
          registry: "{{ _scorer_registry_ca }}"
          lock: "{{ lookup('ansible.builtin.file', _mlflow_runtime_lock) }}"
          artifact: "{{ __java_runtime_artifact.path }}"
          stack: "{{ mlops_stack_data }}"
""" + tell()


def test_a_relative_path_means_the_same_in_preflight_and_in_use(tmp_path):
    for folder in ("files", "stack"):
        (tmp_path / folder).mkdir()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=mlflow1", "-days", "2",
                    "-keyout", "mlflow.key", "-out", "mlflow.pem"], cwd=tmp_path / "files", check=True, capture_output=True)
    for name in ("stack.yml", "requirements.txt", "build-constraints.txt"):
        shutil.copy(PROJECT / "stacks" / "guide-1.30" / name, tmp_path / "stack")
    variables = dict(
        LOCAL, mlops_stack_dir="stack", mlflow_proxy_certificate_path="files/mlflow.pem", mlflow_proxy_key_path="files/mlflow.key",
        mlops_mlflow_username="ada", mlops_mlflow_password=CANARY, mlflow_proxy_listen_address="192.0.2.1", mlflow_runtime_uv_path="files/mlflow.pem",
        java_runtime_method="archive", java_runtime_archive_path="files/mlflow.pem", mlflow_runtime_min_free_bytes=0,
        scorer_tag_pattern="", scorer_registry_ca_path="files/mlflow.pem", scorer_release="1",
        scorer_images={"1": "r.example/s:1@sha256:" + "0" * 64})  # fmt: skip
    # As a playbook of the collection, it lies elsewhere.
    (tmp_path / "plays").mkdir()
    (tmp_path / "plays" / "relative.yml").write_text(RELATIVE)
    (tmp_path / "hosts.json").write_text(json.dumps({"mlflow": {"hosts": {"m1": variables}}, "sparkflows": {"hosts": {"fire1": {}}}}))
    done = run(PROGRAMS / "ansible-playbook", "-i", "hosts.json", "plays/relative.yml", "--check", folder=tmp_path,
               ANSIBLE_COLLECTIONS_PATH=COLLECTIONS, ANSIBLE_HOME=str(tmp_path / "home"))  # fmt: skip
    assert done.returncode == 0, done.output[-5000:]
    found = told_by(done)["m1"]
    assert found["scorer"] == []
    assert found["registry"] == (tmp_path / "files/mlflow.pem").read_text()
    assert found["artifact"] == str(tmp_path / "files/mlflow.pem")
    assert found["stack"]["python"] == "3.7" and "mlflow==1.30.1" in found["lock"]


# ---- distributions
NO_JDK = ["there is no known package of JDK 1.8", "java_runtime_method to archive or existing", "java_runtime_repositories"]
UNKNOWN = ["this collection installs on Debian, Ubuntu and the RHEL family, but this host is opensuse-leap 15.6"]
SUSE = host("opensuse-leap", "15.6", "suse", "opensuse")
# name: (role, what was found on the host, variables, words of the problem; none where all is well)
DISTRIBUTIONS = {
    "debian": ("java_runtime", host("debian", "12"), {}, NO_JDK),
    "debian-testing": ("java_runtime", host("debian", ""), {}, NO_JDK),
    "debian-source": ("java_runtime", host("debian", "13"), {"java_runtime_repositories": [{"name": "x", "uris": "https://x", "suites": "y"}]}, []),
    "debian-packages": ("java_runtime", host("debian", "13"), {"java_runtime_packages": ["temurin-8-jdk"]}, []),
    "ubuntu": ("java_runtime", host("ubuntu", "22.04", "debian"), {}, []),
    "oracle": ("java_runtime", host("ol", "9.5", "rhel", "fedora"), {}, []),
    "rhel10": ("java_runtime", host("rhel", "10.0", "centos", "fedora"), {}, NO_JDK),
    "suse-java": ("java_runtime", SUSE, {}, UNKNOWN),
    "suse-python": ("python_runtime", SUSE, {}, UNKNOWN),
}  # fmt: skip


def test_what_a_distribution_has_is_known_before_anything_is_installed(tmp_path):
    # What is asked of every host is tested elsewhere.
    cases = {name: dict(variables, role=role, __mlops_host=found, mlops_preflight_passed=True)
             for name, (role, found, variables, _words) in DISTRIBUTIONS.items()}  # fmt: skip
    found = preflights(tmp_path, cases, {})
    for name, (_role, _found, _variables, words) in DISTRIBUTIONS.items():
        problem = problem_of(found[name], words)
        assert "suse" not in name or "_method" not in problem, name


# ---- packages
# What the distribution's own database says of nginx's package, and whether the package manager is asked for it.
PACKAGES = {
    "there": ("debian", 'test "$4" = nginx && echo package=installed', {}, False),
    "missing": ("debian", "echo no packages found matching nginx >&2; exit 1", {}, True),
    "removed": ("debian", "echo package=config-files", {}, True),
    "cut-off": ("debian", "echo package=half-installed", {}, True),
    "another": ("debian", 'test "$4" = nginx && echo package=installed', {"nginx_package": "nginx-extras"}, True),
    "el-there": ("rocky", 'test "$4" = nginx && echo package=installed', {}, False),
    "el-missing": ("rocky", "echo package nginx is not installed; exit 1", {}, True),
    "no-database": ("rocky", "", {}, True),
}
# The rest of the installation has nothing to do here, and writes nothing.
INSTALL = """
- hosts: packages
  gather_facts: false
  environment: {PATH: "{{ playbook_dir }}/{{ inventory_hostname }}:/usr/bin:/bin"}
  tasks:
    - ansible.builtin.set_fact: {ansible_pkg_mgr: apt, cacheable: true}
    - ansible.builtin.include_role: {name: sparkflows.mlops.nginx, tasks_from: install}
      vars: {_nginx_own_files: [], nginx_remove_default_site: false, mlops_selinux: never}
""" + tell("groups['packages']", "__nginx_package")
# In place of the module: what it is given.
APT = """
import json
import sys
# WANT_JSON
with open(sys.argv[1]) as file:
    print(json.dumps({"changed": True, "given": json.load(file)}))
"""


def test_no_package_manager_is_asked_for_a_package_that_is_there(tmp_path):
    """It would refresh its index first: in vain without a mirror in reach, and for seconds with one."""
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "apt.py").write_text("#!/usr/bin/python\n" + APT)
    hosts = {}
    for name, (distribution, says, variables, _asked) in PACKAGES.items():
        (tmp_path / name).mkdir()
        program = tmp_path / name / ("dpkg-query" if distribution == "debian" else "rpm")
        program.write_text(f"#!{'/bin/sh' if says else '/nowhere'}\n{says}\n")
        # What was here before is known: nothing is written down on this computer.
        (tmp_path / name / "systemctl").write_text("#!/bin/sh\necho before=known\n")
        for path in (program, tmp_path / name / "systemctl"):
            path.chmod(0o755)
        hosts[name] = dict(variables, __mlops_host=host(distribution, "9", *([] if distribution == "debian" else ["rhel"])))
    found = found_in(tmp_path, {"packages": {"hosts": hosts, "vars": {**LOCAL, "mlops_preflight_passed": True}}}, INSTALL)
    assert {name: bool(found[name].get("given")) for name in PACKAGES} == {name: asked for name, (*_said, asked) in PACKAGES.items()}
    given = found["another"]["given"]
    assert given["name"] == "nginx-extras" and given["update_cache"] is True and given["policy_rc_d"] == 101
    assert found["there"]["changed"] is False


# ---- accounts
THERE = {"group": "mlflow", "comment": "MLflow", "home": "/var/lib/mlflow", "shell": "/usr/sbin/nologin", "locked": True}
# What the host has of the account, and whether it is made or corrected.
ACCOUNTS = {
    "account-there": (THERE, False),
    "account-missing": (None, True),
    "other-group": ({**THERE, "group": "users"}, True),
    "other-home": ({**THERE, "home": "/home/mlflow"}, True),
    "with-a-shell": ({**THERE, "shell": "/bin/bash"}, True),
    "with-a-password": ({**THERE, "locked": False}, True),
    "nobody-can-say": ({**THERE, "locked": None}, True),
}
# On this computer nothing is made: in check mode the modules only say what they would do.
MAKE_ACCOUNTS = """
- hosts: accounts
  gather_facts: false
  check_mode: true
  roles:
    - {role: sparkflows.mlops.topology, when: false}
  tasks:
    - ansible.builtin.include_role: {name: sparkflows.mlops.topology, tasks_from: account}
      vars: {mlops_account: "{{ _mlops_account }}"}
"""


def test_no_account_is_made_that_is_there(tmp_path):
    hosts = {}
    for name, (found, _made) in ACCOUNTS.items():
        hosts[name] = {"__mlops_host": {"accounts": {"root": THERE, **({"mlflow": found} if found else {})}}}
    done = run_in(tmp_path, {"accounts": {"hosts": hosts, "vars": LOCAL}}, MAKE_ACCOUNTS)
    assert done.returncode == 0, done.output[-5000:]
    for task in ("Make the group", "Make the account"):
        said = done.output.partition(f": {task}] ")[2].partition("\n\n")[0]
        assert {name: f"skipping: [{name}]" not in said for name in hosts} == {name: made for name, (_found, made) in ACCOUNTS.items()}, said
