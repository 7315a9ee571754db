# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the acceptance asks, and what it cannot. The documentation is beside this file, one YAML file a filter."""

from __future__ import annotations

import re

from ansible_collections.sparkflows.mlops.plugins.filter.controller_files import controller_file_problems

# How a port that is not open looks behind each firewall. These two guard nothing but their own ports.
OPEN_OTHERWISE = ("nftables", "none")


def closed_states(hosts, hostvars, state):
    def expected(host):
        # A setting of the MLflow host, which the host that asks need not have.
        backend = hostvars[host].get("serving_firewall_backend") or "firewalld"
        return "closed" if backend in OPEN_OTHERWISE else "filtered"

    return {host: expected(host) if state == "auto" else state for host in hosts}


def problem_of(sample, models):
    if any(sample.get(name) in (None, "") for name in ("model", "rows", "expected")):
        return "set model, rows and expected."
    # What is expected may be made in the same run; where it is missing at the end, the report says so.
    problems = controller_file_problems({"rows": sample["rows"]})
    if problems:
        return " ".join(problems)
    if "url" not in sample and "port" not in sample and sample["model"] not in models:
        return "the model is not in model_serving_models: set port or url."
    if not re.fullmatch("[0-9.eE+-]+", str(sample.get("tolerance", 0))):
        return "tolerance is no number."
    return ""


def sample_problems(samples, models):
    problems, models = [], set(models)
    for number, sample in enumerate(samples):
        problem = problem_of(sample, models)
        if problem:
            problems.append(f"acceptance_samples[{number}] ({sample.get('model') or 'no model'}): {problem}")
    return problems


class FilterModule:
    """Filters of the collection."""

    def filters(self):
        return {"closed_states": closed_states, "sample_problems": sample_problems}
