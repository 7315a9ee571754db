# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule

FILTERS = FilterModule().filters()
SETTINGS = {
    "mlflow_runtime_ca_path": "",
    "mlflow_runtime_cache_dir": "",
    "mlflow_runtime_extra_index_urls": [],
    "mlflow_runtime_index_url": "",
    "mlflow_runtime_installer": "pip",
    "mlflow_runtime_min_free_bytes": 4 << 30,
    "mlflow_runtime_uv_path": "",
    "mlflow_runtime_wheelhouse": "",
    "mlops_home": "/opt/mlflow",
    "mlops_stack": "guide",
    "mlops_tmp_dir": "",
}


def host(architecture="x86_64", home=(), temporary=()):
    disks = {"/opt/mlflow": {"free_bytes": 1 << 30, "mount": "/opt", "options": list(home)},
             "/tmp": {"free_bytes": 1, "mount": "/", "options": list(temporary)},
             "/t": {"free_bytes": 1, "mount": "/", "options": ["rw"]}}  # fmt: skip
    return {"architecture": architecture, "disks": disks}


@pytest.mark.parametrize(("settings", "found", "fits", "problem"), [
    ({}, host(), True, None), ({}, host("aarch64", ["rw"], ["rw", "nosuid"]), True, None),
    ({"mlops_tmp_dir": "/t"}, host(temporary=["noexec"]), True, None),
    ({}, host("ppc64le"), True, "the locked packages are for x86_64 and aarch64, but this host is ppc64le: take another host into the group mlflow."),
    ({}, host(), False, "there is not enough free disk for a release: /opt has 1.00 GB free, and mlflow_runtime_min_free_bytes asks for 4.00 GB. "
     "Free some, or set mlops_home to a place on a larger disk."),
    ({}, host(home=["rw", "noexec"]), True, "/opt/mlflow is mounted noexec (/opt), so no program can run there: set mlops_home to a place on another "
     "mount."),
    ({}, host(temporary=["noexec"]), True, "Spark cannot load its native libraries from /tmp, which is mounted noexec: set mlops_tmp_dir to a "
     "directory on a mount without noexec, for example /opt/mlflow/tmp."),
    ({"mlflow_runtime_installer": "uv"}, host(), True, None),
    ({"mlflow_runtime_installer": "uv", "mlflow_runtime_uv_path": "/nowhere/uv"}, host(), True,
     "mlflow_runtime_uv_path is /nowhere/uv, which is no file on the controller: correct it."),
    ({"mlflow_runtime_uv_path": "/nowhere/uv"}, host(), True, None),
    ({"mlflow_runtime_installer": "uv", "mlflow_runtime_uv_path": __file__}, host(), True, None),
])  # fmt: skip
def test_problems(settings, found, fits, problem):
    assert FILTERS["mlflow_runtime_problems"]({**SETTINGS, **settings}, found, fits, __file__) == [problem] * bool(problem)


def test_a_stack_without_a_lock():
    problem = "the stack guide has no lock /nowhere/requirements.txt: correct mlops_stack or mlops_stack_dir."
    assert FILTERS["mlflow_runtime_problems"](SETTINGS, host(), True, "/nowhere/requirements.txt") == [problem]


def test_what_the_installers_are_told():
    assert FILTERS["mlflow_runtime_options"](SETTINGS) == ""
    values = {"index_url": "https://ada:x@i/simple", "extra_index_urls": ["https://a", "https://b"], "wheelhouse": "/w", "ca_path": "/ca"}
    settings = {f"mlflow_runtime_{name}": value for name, value in values.items()}
    said = FILTERS["mlflow_runtime_options"]({**SETTINGS, **settings, "mlflow_runtime_cache_dir": "/c d", "mlops_tmp_dir": "/t"})
    assert said.endswith("\n") and said.splitlines() == [
        "PIP_INDEX_URL=https://ada:x@i/simple", "UV_DEFAULT_INDEX=https://ada:x@i/simple", "PIP_EXTRA_INDEX_URL=https://a https://b",
        "UV_INDEX=https://a https://b", "PIP_FIND_LINKS=/w", "UV_FIND_LINKS=/w", "PIP_NO_INDEX=1", "UV_NO_INDEX=1", "PIP_CERT=/ca",
        "SSL_CERT_FILE=/ca", "UV_CACHE_DIR=/c d", "PIP_CACHE_DIR=/c d", "TMPDIR=/t"]  # fmt: skip


def wants(host, **other):
    distribution = {"id": "debian", "version": "13"}
    same = {"release": "/r", "python": "/p", "architecture": "x86_64", "distribution": distribution, "zstd": True, "shares": True}
    return {"host": host, **same, **other}


# The hosts, who asks, the turn before, and the turn: who builds, who receives, packed how, and who had a turn.
@pytest.mark.parametrize(("wanted", "host", "before", "turn"), [
    ([wants("a")], "a", {}, ("a", [], "zst", [])),
    ([wants("a"), wants("b"), wants("c")], "a", {}, ("a", ["b", "c"], "zst", [])),
    ([wants("a"), wants("b"), wants("c")], "c", {}, ("a", ["b", "c"], "zst", [])),
    ([wants("a"), wants("b", zstd=False)], "a", {}, ("a", ["b"], "gz", [])),
    # What has it already wants nothing.
    ([{}, wants("b")], "b", {}, ("b", [], "zst", [])),
    ([wants("a", release="/q"), wants("b")], "b", {}, ("b", [], "zst", [])),
    ([wants("a", python="/q"), wants("b")], "b", {}, ("b", [], "zst", [])),
    ([wants("a", architecture="aarch64"), wants("b")], "b", {}, ("b", [], "zst", [])),
    ([wants("a", distribution={"id": "debian", "version": "12"}), wants("b")], "b", {}, ("b", [], "zst", [])),
    # One that does not share with others, others do not share with.
    ([wants("a", shares=False), wants("b")], "b", {}, ("b", [], "zst", [])),
    ([wants("a", shares=False), wants("b", shares=False)], "b", {}, ("b", [], "zst", [])),
    ([wants("a"), wants("b"), wants("c")], "c", {"builder": "a", "had": []}, ("b", ["c"], "zst", ["a"])),
    ([wants("a"), wants("b"), wants("c")], "c", {"builder": "b", "had": ["a"]}, ("c", [], "zst", ["a", "b"])),
])  # fmt: skip
def test_who_builds_and_who_gets_it_from_there(wanted, host, before, turn):
    assert FILTERS["mlflow_runtime_turn"](wanted, host, before) == dict(zip(("builder", "receivers", "suffix", "had"), turn))
