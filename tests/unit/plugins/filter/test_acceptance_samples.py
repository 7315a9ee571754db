# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from jinja2 import StrictUndefined

FILTERS = FilterModule().filters()
SETTINGS = {
    "input_format": "dataframe_split",
    "acceptance_samples": [], "acceptance_score_timeout": "60", "groups": {"mlflow": ["m1", "m2"]}, "inventory_hostname": "fire1",
    "mlops_serving_address": "192.0.2.1", "mlops_serving_ca_path": "/etc/ca.pem", "mlops_serving_scheme": "https",
}  # fmt: skip
HOSTVARS = {
    "m1": {
        "mlops_address": "192.0.2.1",
        "model_serving_models": [{"name": "risk", "port": "5001"}, {"name": "gone", "port": 5009, "state": "absent"}],
    },
    "m2": {"mlops_address": "2001:db8::2", "model_serving_models": [{"name": "risk", "port": 5002}]},
    "m3": {},
    "fire1": {"model_serving_models": [{"name": "mine", "port": 5003}]},
}


@pytest.fixture(name="sample")
def fixture_sample(tmp_path, monkeypatch):
    """A sample whose files are in the current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("rows.csv", "expected.csv"):
        (tmp_path / name).write_text(name)
    return {"model": "risk", "rows": "rows.csv", "expected": "expected.csv"}


def questions(samples, **settings):
    paths = FILTERS["acceptance_sample_files"](samples)
    texts = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            texts[path] = file.read()
    return FILTERS["acceptance_sample_questions"]({**SETTINGS, "acceptance_samples": samples, **settings}, HOSTVARS, texts)


def test_a_question(sample, tmp_path):
    assert questions([sample]) == [{
        "model": "risk", "url": "https://192.0.2.1:5001/invocations", "login": True, "ca_path": "/etc/ca.pem",
        "rows_path": f"{tmp_path}/rows.csv", "rows": "rows.csv", "expected_path": f"{tmp_path}/expected.csv", "expected": "expected.csv",
        "missing": [], "text_columns": [], "input_format": "", "site_format": "dataframe_split", "tolerance": 0.0, "timeout": 60,
    }]  # fmt: skip


@pytest.mark.parametrize(("own", "settings", "url"), [
    ({"port": "7000"}, {}, "https://192.0.2.1:7000/invocations"),
    ({"port": 7000, "url": "https://elsewhere/"}, {}, "https://elsewhere/"),
    ({"model": "gone"}, {}, "https://192.0.2.1:/invocations"),
    ({}, {"mlops_serving_address": "2001:db8::1", "mlops_serving_scheme": "http"}, "http://[2001:db8::1]:5001/invocations"),
    # Without a group of MLflow hosts, this host is meant; without a host in it, nobody.
    ({"model": "mine"}, {"groups": {}}, "https://192.0.2.1:5003/invocations"),
    ({"model": "mine"}, {"groups": {"mlflow": []}}, "https://192.0.2.1:/invocations"),
    ({}, {"groups": {"mlflow": ["m3", "m1"]}}, "https://192.0.2.1:/invocations"),
])  # fmt: skip
def test_where_a_sample_is_sent(sample, own, settings, url):
    (question,) = questions([{**sample, **own}], **settings)
    assert question["url"] == url
    # The login is for our models, and not for somebody else's address.
    assert question["login"] == ("url" not in own)


def test_a_model_of_somebody_else_takes_rows_in_its_own_way(sample):
    assert questions([{**sample, "url": "https://elsewhere/", "input_format": "pandas-split"}])[0]["input_format"] == "pandas-split"


@pytest.mark.parametrize(("tolerance", "number"), [("1e-3", 0.001), (2, 2.0), ("much", 0.0), (None, 0.0)])
def test_tolerance_is_a_number(sample, tolerance, number):
    assert questions([{**sample, "tolerance": tolerance}])[0]["tolerance"] == number


def test_files_that_are_missing(sample, tmp_path):
    lacking = {**sample, "expected": "nowhere.csv"}
    assert FILTERS["acceptance_sample_files"]([lacking]) == []
    (question,) = questions([lacking])
    assert question["missing"] == [f"{tmp_path}/nowhere.csv"] and (question["rows"], question["expected"]) == ("", "")
    # A folder is no file.
    assert questions([{**sample, "rows": str(tmp_path)}])[0]["missing"] == [str(tmp_path)]


def test_each_file_is_read_once(sample, tmp_path):
    other = {**sample, "rows": f"{tmp_path}/expected.csv"}
    assert FILTERS["acceptance_sample_files"]([sample, other]) == [f"{tmp_path}/rows.csv", f"{tmp_path}/expected.csv"]
    assert [question["rows"] for question in questions([sample, other])] == ["rows.csv", "expected.csv"]


def test_endpoints():
    assert FILTERS["acceptance_endpoints"](SETTINGS, HOSTVARS) == [
        {"model": "risk", "host": "m1", "url": "https://192.0.2.1:5001/invocations"},
        {"model": "risk", "host": "m2", "url": "https://[2001:db8::2]:5002/invocations"},
    ]
    assert FILTERS["acceptance_endpoints"]({**SETTINGS, "groups": {}}, HOSTVARS) == []


def test_models_that_other_hosts_cannot_see():
    hostvars = {"m1": {"model_serving_models": StrictUndefined(name="models")}, "m2": HOSTVARS["m2"]}
    assert [endpoint["host"] for endpoint in FILTERS["acceptance_endpoints"](SETTINGS, hostvars)] == ["m2"]
