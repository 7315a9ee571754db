# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases of MLflow: what stands in their way, and where their packages come from."""

from __future__ import annotations

import os

from ansible.module_utils.common.text.formatters import bytes_to_human
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.controller_files import controller_file_problems

# Those that the locks of the stacks have packages for.
ARCHITECTURES = ("x86_64", "aarch64")


def mlflow_runtime_options(settings):
    """In the words of both installers. What is empty is left out: it would count as a value."""
    index, extra = settings["mlflow_runtime_index_url"], " ".join(map(str, settings["mlflow_runtime_extra_index_urls"]))
    wheels, cache, ca = (settings[f"mlflow_runtime_{name}"] for name in ("wheelhouse", "cache_dir", "ca_path"))
    only_wheels = "1" if wheels else ""
    options = {
        "PIP_INDEX_URL": index,
        "UV_DEFAULT_INDEX": index,
        "PIP_EXTRA_INDEX_URL": extra,
        "UV_INDEX": extra,
        "PIP_FIND_LINKS": wheels,
        "UV_FIND_LINKS": wheels,
        "PIP_NO_INDEX": only_wheels,
        "UV_NO_INDEX": only_wheels,
        "PIP_CERT": ca,
        "SSL_CERT_FILE": ca,
        "UV_CACHE_DIR": cache,
        "PIP_CACHE_DIR": cache,
        "TMPDIR": settings["mlops_tmp_dir"],
    }
    return "".join(f"{name}={value}\n" for name, value in options.items() if value)


def mlflow_runtime_problems(settings, host, fits, lock):
    return [*host_problems(settings, host, fits), *installer_problems(settings), *lock_problems(settings, lock)]


def host_problems(settings, host, fits):
    home, temporary = settings["mlops_home"], settings["mlops_tmp_dir"] or "/tmp"
    disk = host["disks"][home]
    if host["architecture"] not in ARCHITECTURES:
        known = " and ".join(ARCHITECTURES)
        yield f"the locked packages are for {known}, but this host is {host['architecture']}: take another host into the group mlflow."
    if not fits:
        free, wanted = (bytes_to_human(int(size)) for size in (disk["free_bytes"], settings["mlflow_runtime_min_free_bytes"]))
        yield (
            f"there is not enough free disk for a release: {disk['mount']} has {free} free, and mlflow_runtime_min_free_bytes asks for {wanted}. "
            "Free some, or set mlops_home to a place on a larger disk."
        )
    if "noexec" in disk["options"]:
        yield f"{home} is mounted noexec ({disk['mount']}), so no program can run there: set mlops_home to a place on another mount."
    if "noexec" in host["disks"][temporary]["options"]:
        yield (
            f"Spark cannot load its native libraries from {temporary}, which is mounted noexec: set mlops_tmp_dir to a directory on a mount without "
            f"noexec, for example {home}/tmp."
        )


def installer_problems(settings):
    if settings["mlflow_runtime_installer"] == "uv":
        yield from controller_file_problems({"mlflow_runtime_uv_path": settings["mlflow_runtime_uv_path"]})


def lock_problems(settings, lock):
    if not os.path.isfile(lock):
        yield f"the stack {settings['mlops_stack']} has no lock {lock}: correct mlops_stack or mlops_stack_dir."


def mlflow_runtime_turn(wanted, host, turn):
    """Of the hosts that want the same, the first that has not had its turn builds."""
    wanted = [want for want in wanted if want]
    mine = next(want for want in wanted if want["host"] == host)
    had = [*turn.get("had", []), *([turn["builder"]] if turn else [])]
    alike = [want for want in wanted if same(want, mine) and want["host"] not in had]
    if not mine["shares"] or not alike:
        alike = [mine]
    builder, *receivers = alike
    suffix = "zst" if all(want["zstd"] for want in alike) else "gz"
    return {"builder": builder["host"], "receivers": [want["host"] for want in receivers], "suffix": suffix, "had": had}


def same(one, other):
    return all(one[name] == other[name] for name in ("release", "python", "architecture", "distribution", "shares"))
