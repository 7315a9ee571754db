# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stacks say, and that their locks are of what they say."""

from __future__ import annotations

import copy
import re

import pytest
import yaml
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.stacks import stack_problems
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from playbook_run import PROJECT

FILTERS = FilterModule().filters()
STACKS = sorted(path.name for path in (PROJECT / "stacks").iterdir())
HASH = r"--hash=sha256:[0-9a-f]{64}"


def data_of(name):
    return yaml.safe_load((PROJECT / "stacks" / name / "stack.yml").read_text(encoding="utf-8"))


def locked(text):
    """Name -> (version, number of hashes) of what a lock says."""
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
    found = {}
    for line in lines:
        pin = re.fullmatch(rf"([A-Za-z0-9._-]+)==(\S+)((?:\s+{HASH})+)\s*", line)
        assert pin, line
        found[canonicalize_name(pin[1])] = (pin[2], len(re.findall(HASH, line)))
    return found


@pytest.fixture(name="folder", params=STACKS)
def fixture_folder(request):
    return PROJECT / "stacks" / request.param


def test_a_stack_says_what_roles_need(folder):
    assert stack_problems(folder.name, str(folder)) == []
    assert data_of(folder.name)["name"] == folder.name


def test_lock_and_pins_agree(folder):
    data, lock = data_of(folder.name), locked((folder / "requirements.txt").read_text(encoding="utf-8"))
    for wanted in map(Requirement, data["packages"]):
        version, _hashes = lock[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(version), f"{wanted}: the lock has {version}; run make lock STACK={folder.name}"
    # Of a stack that does not say which MLflow, Spark and numpy it has, nobody would know what it is.
    exact = {canonicalize_name(wanted.name) for wanted in map(Requirement, data["packages"]) if str(wanted.specifier).startswith("==")}
    assert {"mlflow", "pyspark", "numpy"} <= exact
    locked((folder / "build-constraints.txt").read_text(encoding="utf-8"))


def test_archives_and_sources_have_hashes(folder):
    data = data_of(folder.name)
    archive = data["java_runtime"]["archive"]
    assert set(archive) == {"version", "x86_64", "aarch64"}
    for found in (archive["x86_64"], archive["aarch64"], data["python_runtime"]["source"]):
        assert re.fullmatch("[0-9a-f]{64}", found["sha256"])
    assert data["python_runtime"]["source"]["version"].startswith(data["python"] + ".")


def problems_of(tmp_path, change):
    data = copy.deepcopy(data_of("guide-1.30"))
    change(data)
    (tmp_path / "stack.yml").write_text(yaml.safe_dump(data))
    return " ".join(stack_problems("mine", str(tmp_path)))


@pytest.mark.parametrize(("change", "words"), [
    (lambda data: data.pop("java"), "java is missing"),
    (lambda data: data.update(java=17), "java is no text"),
    (lambda data: data["java_runtime"].pop("pin"), "java_runtime.pin is missing"),
    (lambda data: data["python_runtime"].update(source="3.7.17"), "python_runtime.source is no mapping"),
    (lambda data: data.update(mlflow_server=[]), "mlflow_server is no mapping"),
    (lambda data: data["mlflow_server"]["environment"].update(X="{thread}"), "mlflow_server.environment.X has {thread}, there are {guard}"),
    (lambda data: data["mlflow_server"]["environment"].update(X="{"), "mlflow_server.environment.X: "),
    (lambda data: data["mlflow_server"]["environment"].update(X=False), "mlflow_server.environment.X is no text (put it in quotation marks)"),
    (lambda data: data["model_serving"]["environment"].update(X="{guard}"), "model_serving.environment.X has {guard}"),
    (lambda data: data["model_serving"].pop("command"), "model_serving.command is missing"),
    (lambda data: data["model_serving"].update(input_format="csv"), "model_serving.input_format is csv, there are pandas-split and dataframe_split"),
])  # fmt: skip
def test_what_a_stack_lacks_is_named(tmp_path, change, words):
    found = problems_of(tmp_path, change)
    assert words in found and f"{tmp_path}/stack.yml" in found and "docs/stacks.md" in found


@pytest.mark.parametrize(("text", "words"), [("a: [", "cannot be read"), ("", "it is no mapping"), ("- x", "it is no mapping")])
def test_a_stack_that_is_none(tmp_path, text, words):
    (tmp_path / "stack.yml").write_text(text)
    assert words in " ".join(stack_problems("mine", str(tmp_path)))


def distribution(name, version):
    return {"id": name, "version": version}


@pytest.mark.parametrize(("stack", "name", "version", "family", "found"), [
    ("guide-1.30", "debian", "12", "debian", []), ("guide-1.30", "debian", "", "debian", []),
    ("guide-1.30", "ubuntu", "24.04", "debian", ["openjdk-8-jdk-headless"]), ("guide-1.30", "rocky", "9.4", "rhel", ["java-1.8.0-openjdk-devel"]),
    ("guide-1.30", "rhel", "10.0", "rhel", []), ("guide-1.30", "almalinux", "10.1", "rhel", []), ("guide-1.30", "suse", "15", "", []),
])  # fmt: skip
def test_packages_with_the_jdk(stack, name, version, family, found):
    java = data_of(stack)["java_runtime"]
    assert FILTERS["java_runtime_packages"](java, distribution(name, version), family, []) == found
    # A source of the user's own has it.
    assert FILTERS["java_runtime_packages"](java, distribution(name, version), family, [{"name": "x"}]) == java["packages"].get(family, [])


PYTHONS = {"packages": [
    {"distribution": "debian", "from": "12", "before": "13", "packages": ["a"]},
    {"distribution": "rhel", "from": "8", "before": "10", "packages": ["b"]},
    {"distribution": "ubuntu", "from": "22.10", "before": "23.4", "packages": ["c"]}]}  # fmt: skip


@pytest.mark.parametrize(("name", "version", "family", "found"), [
    ("debian", "12", "debian", ["a"]), ("debian", "11", "debian", []), ("debian", "13", "debian", []), ("debian", "", "debian", []),
    ("rhel", "8.10", "rhel", ["b"]), ("ol", "9.5", "rhel", ["b"]), ("rocky", "10.0", "rhel", []), ("ubuntu", "22.04", "debian", []),
    ("ubuntu", "22.10", "debian", ["c"]), ("ubuntu", "23.04", "debian", []), ("linuxmint", "12", "debian", [])])  # fmt: skip
def test_packages_with_python(name, version, family, found):
    assert FILTERS["python_runtime_packages"](PYTHONS, distribution(name, version), family) == found


SETTINGS = {"mlops_mlflow_url": "https://mlflow.example.com", "mlops_mlflow_address": "mlflow1", "mlops_address": "2001:db8::11",
            "mlops_mlflow_port": 5000, "mlops_mlflow_scheme": "https", "mlops_mlflow_proxy": True, "mlops_mlflow_login": "proxy",
            "mlflow_server_threads": "32", "mlflow_server_request_timeout": 120}  # fmt: skip


def test_what_mlflow_is_told():
    variables = {"OPTIONS": "--threads {threads} --timeout {timeout} --config {guard}", "HOSTS": "{hosts}", "ORIGINS": "{origins}", "X": "true"}
    found = FILTERS["mlflow_server_variables"](variables, SETTINGS, "/g.py")
    assert found == {"OPTIONS": "--threads 32 --timeout 120 --config /g.py", "HOSTS": "*", "X": "true", "ORIGINS":
                     "https://mlflow.example.com,https://mlflow.example.com:5000,https://mlflow1:5000,https://[2001:db8::11]:5000"}  # fmt: skip
    found = FILTERS["mlflow_server_variables"](variables, {**SETTINGS, "mlops_mlflow_proxy": False}, "/g.py")
    assert {"mlflow.example.com", "mlflow1:5000", "[2001:db8::11]:5000", "localhost:5000", "127.0.0.1"} <= set(found["HOSTS"].split(","))
    assert "*" not in found["HOSTS"]


def test_what_mlflow_s_own_login_app_is_told():
    login = {**SETTINGS, "mlops_mlflow_login": "mlflow", "mlops_mlflow_username": "sparkflows", "mlops_mlflow_password": "p",
             "mlflow_server_default_permission": "EDIT"}  # fmt: skip
    assert FILTERS["mlflow_server_variables"]({"X": "{guard}"}, login, "/l.py") == {
        "X": "/l.py", "MLFLOW_AUTH_ADMIN_USERNAME": "sparkflows", "MLFLOW_AUTH_ADMIN_PASSWORD": "p",
        "MLFLOW_AUTH_DEFAULT_PERMISSION": "EDIT"}  # fmt: skip
    assert FILTERS["mlflow_server_variables"]({"X": "{guard}"}, SETTINGS, "/g.py") == {"X": "/g.py"}
