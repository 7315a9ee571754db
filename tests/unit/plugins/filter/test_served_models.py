# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.served_models import (
    served_model_problems,
    served_model_versions,
    served_models,
    served_models_plan,
)


def registered(name, version, stage="None", status="READY", created=1):
    return {
        "name": name,
        "version": str(version),
        "current_stage": stage,
        "status": status,
        "creation_timestamp": created,
    }


def test_a_declaration_is_completed_and_text_becomes_numbers():
    model = served_models([{"name": "Iris / v2", "stage": "production", "port": "5001", "workers": None}])[0]
    assert model == {
        "name": "Iris / v2",
        "instance": "Iris___v2",
        "version": "",
        "stage": "Production",
        "stack": "",
        "port": 5001,
        "workers": 1,
        "timeout": 300,
        "sample": None,
        "memory_max": "infinity",
        "state": "present",
    }


def test_a_good_declaration_has_no_problem():
    good = [
        {"name": "a", "version": 3, "port": 5001, "sample": [{"x": 1}], "memory_max": "1.5G"},
        {"name": "b", "stage": "None", "port": "5002", "sample": {"columns": ["x"], "data": [[1]]}, "memory_max": ""},
        {"name": "c", "state": "absent"},
    ]
    assert served_model_problems(good, 5001, 5020) == []


@pytest.mark.parametrize(
    "change, words",
    [
        ({"name": ""}, "entry 1: name is missing"),
        ({"version": None}, "set either version or stage"),
        ({"stage": "Production"}, "set either version or stage"),
        ({"version": "latest"}, "version is 'latest'"),
        ({"version": 0}, "version is '0'"),
        ({"version": None, "stage": "Dev"}, "stage is 'Dev', the registry knows None, Staging, Production, Archived"),
        ({"port": 5021}, "5001 to 5020"),
        ({"port": 5000}, "mlops_serving_port_first"),
        ({"port": "fifty"}, "port must be"),
        ({"port": None}, "port must be"),
        ({"workers": 0}, "workers must be"),
        ({"timeout": "soon"}, "timeout must be"),
        ({"name": "x" * 233}, "name has 233 characters, and 232 is the most"),
        ({"memory_max": "lots"}, "memory_max is 'lots'"),
        ({"sample": "a,b"}, "sample must be rows"),
        ({"sample": []}, "sample must be rows"),
        ({"state": "gone"}, "state is 'gone'"),
        ({"verison": 1}, "'verison' is no setting"),
    ],
)
def test_each_problem_names_model_and_setting(change, words):
    problems = served_model_problems([dict({"name": "iris", "version": 1, "port": 5001}, **change)], 5001, 5020)
    assert len(problems) == 1 and words in problems[0] and problems[0].startswith("model_serving_models, ")


@pytest.mark.parametrize(
    "second, words",
    [
        ({"name": "b", "version": 1, "port": "5001"}, "iris x and b have the same port, 5001"),
        ({"name": "iris-x", "version": 1, "port": 5002}, None),
        ({"name": "iris_x", "version": 1, "port": 5002}, "iris x and iris_x are served under the same name, iris_x"),
        ({"name": "iris x", "state": "absent"}, "iris x and iris x are served under the same name, iris_x"),
    ],
)
def test_two_models_do_not_collide(second, words):
    problems = served_model_problems([{"name": "iris x", "version": 1, "port": 5001}, second], 5001, 5020)
    assert (words is None and problems == []) or (len(problems) == 1 and words in problems[0])


VERSIONS = [
    registered("iris", 10, "Production", created=10),
    registered("iris", 9, "Production", created=9),
    registered("iris", 11, "Staging", created=11),
    registered("iris", 12, "Archived", "FAILED_REGISTRATION"),
    registered("other", 99, "Production"),
]


@pytest.mark.parametrize(
    "meant, release",
    [({"version": "9"}, "9-9"), ({"stage": "Production"}, "10-10"), ({"stage": "staging"}, "11-11")],
)
def test_the_meant_version_is_found(meant, release):
    model = served_model_versions(served_models([dict(meant, name="iris", port=5001)]), VERSIONS)[0]
    assert (model["release"], model["problem"]) == (release, "")
    assert model["version"] == release.split("-")[0]


@pytest.mark.parametrize(
    "meant, problem",
    [
        ({"name": "rose", "version": 1}, "rose: is not registered. Registered are: iris, other."),
        ({"name": "iris", "version": 1}, "iris: has no version 1. Its versions are: 9 (Production), 10 (Production), "),
        ({"name": "other", "stage": "Staging"}, "has no version in stage Staging. Its versions are: 99 (Production)."),
        ({"name": "iris", "version": 12}, "version 12 is not ready, the registry says FAILED_REGISTRATION."),
    ],
)
def test_a_missing_version_is_named_with_what_there_is(meant, problem):
    assert problem in served_model_versions(served_models([meant]), VERSIONS)[0]["problem"]


def test_an_empty_registry():
    problem = served_model_versions(served_models([{"name": "iris", "version": 1}]), [])[0]["problem"]
    assert problem.endswith("is not registered. Registered are: no models.")


def test_plan_names_the_instance_that_serves_and_the_one_that_would_replace_it():
    models = served_models([{"name": name} for name in ("new", "first", "second", "gone")])
    sites = {"first": {"slot": "first", "port": 15002}, "second": {"slot": "second@2", "port": 15004}, "gone": {"slot": "gone", "port": 15009}}
    found = {"slots": ["first", "first@2", "second@2"], "sites": sites, "ports": [22, 15001, 15002]}
    plan = served_models_plan(models, found, "15001", 15006)
    assert [(model["live"], model["live_port"], model["slot"], model["port_private"]) for model in plan] == [
        ("", 0, "new", 15003),
        ("first", 15002, "first@2", 15005),
        ("second@2", 15004, "second", 15006),
        ("", 0, "gone", 0),  # its site names an instance that is not there, and no private port is left
    ]


def test_plan_of_an_empty_host():
    assert served_models_plan(served_models([{"name": "a"}]), {}, 15001, 15002)[0]["port_private"] == 15001
