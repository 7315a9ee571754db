# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FILTERS, FilterModule

COLLECTIONS = Path(__file__).resolve().parents[4] / "collections"
UTILS = "ansible_collections.sparkflows.mlops.plugins.plugin_utils"
PLACES = [(subject, name) for subject, names in FILTERS.items() for name in names]


@pytest.mark.parametrize(("subject", "name"), PLACES)
def test_a_filter_is_a_function_of_its_subject(subject, name):
    assert callable(getattr(importlib.import_module(f"{UTILS}.{subject}"), name))
    assert callable(FilterModule().filters()[name])


def test_no_filter_has_the_name_of_another():
    assert len(FilterModule().filters()) == len(PLACES)


def test_errors_and_results_are_those_of_the_function():
    filters = FilterModule().filters()
    assert filters["url_host"]("2001:db8::1") == "[2001:db8::1]"
    with pytest.raises(TypeError):
        filters["url_host"]()


LOADED = """
import sys
from ansible.plugins import loader
loader.init_plugin_loader([sys.argv[1]])
called = loader.filter_loader.get("sparkflows.mlops.url_host")
print([name for name in sys.modules if "sparkflows.mlops" in name and "plugin_utils." in name])
called.j2_function("a")
print([name.rpartition(".")[2] for name in sys.modules if "sparkflows.mlops" in name and "plugin_utils." in name])
"""


def test_a_filter_loads_its_subject_and_no_other_and_only_when_it_is_called():
    done = subprocess.run([sys.executable, "-c", LOADED, COLLECTIONS], check=True, capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == ["[]", "['url_host']"], done.stderr
