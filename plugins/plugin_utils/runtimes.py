# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with where Python and the JDK come from."""

from __future__ import annotations

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.sandbox import unit_path_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.stacks import fits


def java_runtime_packages(stack, distribution, family, repositories):
    """Packages with the stack's JDK, none where the distribution has none and nothing else was named that has."""
    if not repositories and any(fits(entry, distribution, family) for entry in stack["missing"]):
        return []
    return stack["packages"].get(family, [])


def python_runtime_packages(stack, distribution, family):
    """Packages with the stack's Python, where the distribution has them."""
    return next((entry["packages"] for entry in stack["packages"] if fits(entry, distribution, family)), [])


# Alike in their order, but no sentence of one is the other's.
def python_runtime_problems(settings, version, existing, distribution):
    method, home = settings["python_runtime_method"], settings["python_runtime_home"]
    problems = []
    if method == "package" and not settings["python_runtime_packages"]:
        problems.append(
            f"python_runtime_method is package, but no supported distribution has a Python {version} package of its own: set python_runtime_packages "
            "to those of your package source, or python_runtime_method to archive, source or existing."
        )
    if method == "existing" and not home:
        problems.append(
            f"python_runtime_method is existing, but nothing says where: set python_runtime_home to the prefix of a Python {version} (the folder "
            f"that has bin/python{version})."
        )
    elif method == "existing" and existing["rc"] != 0:
        said = (existing.get("stderr_lines") or ["nothing"])[-1]
        problems.append(
            f"python_runtime_home is no working Python {version}: {home}/bin/python{version} says {said}. Set python_runtime_home to the prefix of "
            "one, or python_runtime_method to archive or source."
        )
    problems += unit_path_problems({"python_runtime_home": home})
    if method == "source" and not settings["python_runtime_source_build_packages"]:
        problems.append(
            f"it is not known what building Python needs on {distribution['id']}: set python_runtime_source_build_packages, or set "
            "python_runtime_method to archive or existing."
        )
    return problems


def java_runtime_problems(settings, version, existing, distribution, family):
    method, home = settings["java_runtime_method"], settings["java_runtime_home"]
    problems = []
    if method == "package" and not settings["java_runtime_packages"]:
        problems.append(
            f"there is no known package of JDK {version} for {distribution['id']} {distribution['version']}: set java_runtime_method to archive or "
            "existing, or name a source that has one in java_runtime_repositories (apt), or set java_runtime_packages to those of a source that the "
            "host has."
        )
    if method == "existing" and not home:
        problems.append(
            f"java_runtime_method is existing, but nothing says where: set java_runtime_home to the folder of the JDK {version} (the one that has "
            "bin/java)."
        )
    elif method == "existing" and (existing["rc"] != 0 or f'version "{version}.' not in existing["stderr"]):
        said = (existing.get("stderr_lines") or ["nothing"])[0]
        problems.append(
            f"java_runtime_home is no working JDK {version}: {home}/bin/java says {said}. Set java_runtime_home to the folder of one, or "
            "java_runtime_method to package or archive."
        )
    problems += unit_path_problems({"java_runtime_home": home})
    if settings["java_runtime_repositories"] and family != "debian":
        problems.append(
            f"java_runtime_repositories are for apt, but this host is {distribution['id']}: empty it, and give the host its package sources before."
        )
    return problems
