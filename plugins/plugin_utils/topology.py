# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports, URLs, machines and places that do not fit together."""

from __future__ import annotations

import re

from ansible.module_utils.compat.version import LooseVersion
from ansible.plugins.filter.core import to_bool
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.answers import answer_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.controller_files import controller_path
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.sandbox import account_problems, unit_path_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.stacks import stack_problems
from jinja2.filters import do_int

URLS = ("mlops_mlflow_url", "mlops_sparkflows_url")
# Paths and names that go into units, settings and commands.
PATHS = ("mlops_home", "mlops_java_home", "mlops_python_home", "mlops_venv", "mlops_data_dir", "mlops_config_dir", "mlops_tmp_dir",
         "mlops_s3_ca_path", "mlops_database_ca_path")  # fmt: skip
ACCOUNTS = ("mlops_user", "mlops_group")
# What a survey may ask, with the bounds of numbers (those of the argument spec).
ANSWERS = {"mlops_remove_unused": {}}
# The callback without which ansible-core, from this series on, makes numbers of texts.
AS_TYPED = "sparkflows.mlops.as_typed"
MAKES_NUMBERS = "2.19"


def topology_problems(settings, ends):
    """Each is one sentence that names the variable to set; the operator sees all of them at once."""
    return [
        *range_problems(settings),
        *url_problems(settings),
        *mode_problems(settings["mlops_deploy_mode"], ends["mlflow"], ends["sparkflows"]),
        *stack_problems(settings["mlops_stack"], controller_path(settings["mlops_stack_dir"])),
        *unit_path_problems({name: settings[name] for name in PATHS}),
        *account_problems({name: settings[name] for name in ACCOUNTS}),
        *answer_problems(settings, ANSWERS),
    ]


def range_problems(settings):
    mlflow, fire = (do_int(settings[f"mlops_{name}_port"]) for name in ("mlflow", "fire_mlops"))
    first, last = (do_int(settings[f"mlops_serving_port_{end}"]) for end in ("first", "last"))
    private_first, private_last = (do_int(settings[f"mlops_serving_private_port_{end}"]) for end in ("first", "last"))
    # As they were written.
    serving = f"{settings['mlops_serving_port_first']}-{settings['mlops_serving_port_last']}"
    private = f"{settings['mlops_serving_private_port_first']}-{settings['mlops_serving_private_port_last']}"
    overlap = private_first <= last and first <= private_last
    if last < first:
        yield f"The serving ports {serving} are no range: mlops_serving_port_last must not be below mlops_serving_port_first."
    if private_last < private_first or overlap or any(private_first <= port <= private_last for port in (mlflow, fire)):
        yield (f"The private serving ports {private} contain a port that is not theirs, or are no range: move mlops_serving_private_port_first and "
               "mlops_serving_private_port_last.")  # fmt: skip
    for name, variable, port in (("MLflow", "mlops_mlflow_port", mlflow), ("Fire MLOps", "mlops_fire_mlops_port", fire)):
        if first <= port <= last:
            yield (f"The serving ports {serving} contain the {name} port {settings[variable]}: move mlops_serving_port_first and "
                   f"mlops_serving_port_last, or {variable}.")  # fmt: skip
    if mlflow == fire:
        yield (f"MLflow and the Fire MLOps server cannot both have port {settings['mlops_mlflow_port']}: set mlops_mlflow_port or "
               "mlops_fire_mlops_port to another one.")  # fmt: skip


def url_problems(settings):
    path = settings["mlops_mlflow_path"]
    for name in URLS:
        if not re.match(r"https?://[^/\s]+", str(settings[name])):
            yield f"{name} is not a URL: it must begin with http:// or https:// and name a host."
    if path and not re.match("(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$", str(path)):
        yield f'mlops_mlflow_path is {path}: it must begin with a slash, end with none, and have letters, digits, ".", "_" and "-" between.'
    if path and not to_bool(settings["mlops_mlflow_proxy"]):
        yield "mlops_mlflow_path needs the proxy: set mlops_mlflow_proxy to true, or mlops_mlflow_path to an empty text."


def mode_problems(mode, mlflow, sparkflows):
    mlflow, sparkflows = list(map(str, mlflow)), list(map(str, sparkflows))
    # Names of machines differ by more than upper and lower case.
    if mode == "local" and mlflow and sparkflows and len({address.lower() for address in [*mlflow, *sparkflows]}) > 1:
        yield (f"The deploy mode local means one machine, but the inventory has MLflow on {', '.join(mlflow)} and Sparkflows on "
               f"{', '.join(sparkflows)}: put one host into both groups, or set mlops_deploy_mode to fire_mlops_server or remote.")  # fmt: skip
    both = [address for address in mlflow if address in sparkflows]
    if mode == "remote" and both:
        yield (f"The deploy mode remote means two machines, but the inventory has both MLflow and Sparkflows on {', '.join(both)}: set "
               "mlops_deploy_mode to local.")  # fmt: skip


def controller_problems(version, callbacks, in_awx):
    """Only AWX hands over answers as text that ansible-core would read once more."""
    if in_awx and LooseVersion(version) >= LooseVersion(MAKES_NUMBERS) and AS_TYPED not in callbacks:
        return [f"ansible-core {version} does not take texts from AWX as they were typed, a password 0123 for example. Write callbacks_enabled = "
                f"{AS_TYPED} into the section defaults of ansible.cfg in the project."]  # fmt: skip
    return []
