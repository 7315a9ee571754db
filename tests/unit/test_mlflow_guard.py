# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which locations MLflow's guard takes. That MLflow asks it is proven in the lab, with MLflow itself."""

from __future__ import annotations

import importlib.util
import itertools
import re
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "roles/mlflow_server/files/mlflow_guard.py"
spec = importlib.util.spec_from_file_location("mlflow_guard", PROGRAM)
guard = importlib.util.module_from_spec(spec)
spec.loader.exec_module(guard)

ROOTS = ["/var/lib/mlflow/artifacts", "s3://models/mlflow/"]


@pytest.mark.parametrize("uri", [
    "mlflow-artifacts:/0", "mlflow-artifacts:/0/4f/artifacts/a model", "mlflow-artifacts:/0/4f/artifacts/v..1/..x/x..", "/var/lib/mlflow/artifacts",
    "/var/lib/mlflow/artifacts/0", "s3://models/mlflow", "s3://models/mlflow/0/a b/\u00e4",
])
def test_plain_locations_below_a_root_are_taken(uri):
    assert guard.refused(uri, ROOTS) == ""


@pytest.mark.parametrize("uri", [
    "/etc", "/etc/", "file:///etc", "file:/var/lib/mlflow/artifacts/0", "FILE:///etc", "//proc/self/root", "etc", ".", "",
    "/var/lib/mlflow/artifacts-of-others", "/var/lib/mlflow/artifacts/../db", "/var/lib/mlflow", "s3://models/mlflow-2", "s3://models", "s3://others/x",
    "S3://models/mlflow/0", "http://127.0.0.1/", "https://x/api/2.0/mlflow-artifacts/artifacts/0", "ftp://x/", "dbfs:/x", "hdfs://x/",
    "http:///#/../../etc/", "http:///?/../../etc/", "mlflow-artifacts:/x#/..", "mlflow-artifacts:/x?/..", "mlflow-artifacts:/x/%2e%2e/y",
    "mlflow-artifacts:/x\\..\\y", "mlflow-artifacts:/../x", "mlflow-artifacts:/x/..", "mlflow-artifacts:/x;/y",
    "mlflow-artifacts:/x\n/y", "mlflow-artifacts:/x\0",
    "mlflow-artifacts://evil.example.com/x", "mlflow-artifacts:///x", "mlflow-artifacts:x", " mlflow-artifacts:/x", "runs:/4f/model", "models:/a/1",
])
def test_others_are_refused(uri):
    assert guard.refused(uri, ROOTS)


def test_references_are_sources_only():
    assert guard.refused("runs:/4f/model", ROOTS, references=True) == guard.refused("models:/a/1", ROOTS, references=True) == ""
    assert guard.refused("runs:/../x", ROOTS, references=True) and guard.refused("runs://evil/x", ROOTS, references=True)


@pytest.mark.parametrize(("path", "odd"), [
    ("a/b c/x..y", False), ("..a", False), ("", False), ("a/../b", True), ("..", True), ("a%2e", True), ("a\\b", True), ("a#b", True), ("a?b", True)])
def test_paths_of_artifacts(path, odd):
    assert guard.odd(path) == odd


@pytest.mark.parametrize("name", ["a b", "100 %", "a#b/c?d;e\\f", "a..b", "\u00e4" * 256, "50%-quantile"])
def test_names_of_models_and_experiments(name):
    assert guard.problem("name", name, ROOTS) == ""


@pytest.mark.parametrize("name", ["ris%6B", "a%2fb", "a\nb", "a\0", "a\x7f", "a" * 257, "1" * 1000000])
def test_names_that_are_none(name):
    """CVE-2024-3099: a name that the pages decode to that of another model. CVE-2024-6838: one that they cannot draw."""
    assert guard.problem("name", name, ROOTS)


def test_locations_have_bounds():
    long = "mlflow-artifacts:/" + "a" * 240
    assert guard.problem("source", long, ROOTS) == "" and "258 characters, and 256 is the most" in guard.problem("location", long, ROOTS)
    assert guard.problem("source", long * 2, ROOTS)


@pytest.mark.parametrize(("text", "runs"), [
    ("flavors:\n  python_function: {loader_module: mlflow.sklearn}\nsignature:\n  inputs: '[{\"name\": \"!!x\", \"type\": \"double\"}]'\n", False),
    ("", False), ("a: !!js/function 'function () {}'", True), ("a: !<tag:yaml.org,2002:js/function> x", True),
    ("%TAG ! tag:yaml.org,2002:\n--- {a: !js/regexp x}", True),
    ("{a: [!!js%2Ffunction x]}", True), ("a: 'open", True), ("\0", True),
])
def test_programs_in_a_model_s_description(text, runs):
    """CVE-2026-33865."""
    assert guard.programs(text.encode()) == runs


def words(text):
    """Stands for sqlparse, which MLflow has: what is in quotes is one word."""
    kinds = [("Token.Literal.String.Single", r"'[^']*'"), ("Token.Name", r"`[^`]*`|\w+"), ("Token.Text.Whitespace", r"\s"),
             ("Token.Comment.Single", r"--"), ("Token.Operator.Comparison", r"[<>=]+"), ("Token.Punctuation", ".")]  # fmt: skip
    for found in re.finditer("|".join(f"({pattern})" for _kind, pattern in kinds), text):
        yield kinds[found.lastindex - 1][0], found[0]


@pytest.mark.parametrize(("texts", "orders"), [
    ([" and ".join(["metrics.m > 1"] * 32)], 0), ([""], 0), (["", *["metrics.`a > b` DESC"] * 32], 32), (["a = 1", *["name"] * 31], 31),
    (["tags.a = '" + "a = 1 and " * 5000 + "'"], 0), (["run_id IN (" + ", ".join(["'4f'"] * 300) + ")"], 0)])  # fmt: skip
def test_searches(texts, orders):
    assert guard.costs(texts, orders, 32, words) == ""


@pytest.mark.parametrize(("texts", "orders", "why"), [
    ([" and ".join(["metrics.m > 1"] * 33)], 0, "33 comparisons and orders, and 32 is the most (mlflow_server_search_terms)"),
    (["a = 1", *["name"] * 32], 32, "33 comparisons"), (["=1" * 100], 0, "100 comparisons"), (["--\n" * 99], 0, "99 comparisons"),
    (["a;" * 99], 0, "99 comparisons"), (["a in " * 99], 0, "99 comparisons"), (["", "a=1" * 99], 1, "100 comparisons"),
    (["a," * 501], 0, "more than 1000 words"), (["a," * 300, "b," * 300], 1, "more than 1000 words")])  # fmt: skip
def test_searches_that_keep_a_thread_busy(texts, orders, why):
    assert why in guard.costs(texts, orders, 32, words)


def test_only_so_much_of_a_search_is_read_as_is_needed():
    assert guard.costs(itertools.repeat("a "), 0, 32, words)


@pytest.mark.parametrize(("path", "part"), [
    ("/ajax-api/2.0/mlflow/gateway-proxy", "gateway-proxy"), ("/api/2.0/mlflow/webhooks/1/test", "webhooks"),
    ("/api/2.0/mlflow/webhooks", "webhooks"),
    ("/ajax-api/3.0/mlflow/webhooks", "webhooks"), ("/api/2.0//mlflow//runs//create-promptlab-run", "runs/create-promptlab-run"),
    ("/sub/ajax-api/2.0/mlflow/webhooks", "webhooks"), ("/api/2.0/mlflow/runs/create", ""), ("/api/2.0/mlflow/webhooks-of-mine", ""),
    ("/api/2.0/mlflow-artifacts/artifacts/webhooks", ""), ("/", ""), ("/health", ""), ("/other/api/2.0/mlflow/webhooks", "")])  # fmt: skip
def test_parts_that_are_closed(path, part):
    assert guard.closed(path, ["gateway-proxy", "runs/create-promptlab-run", "webhooks"], "/sub") == part


def test_nothing_is_closed_that_is_not_named():
    assert guard.closed("/api/2.0/mlflow/webhooks", []) == ""
