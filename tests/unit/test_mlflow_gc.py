# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What removes deleted runs for good keeps to MLflow's own artifact store. MLflow is a stand-in, the guard is real."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

FILES = Path(__file__).resolve().parents[2] / "roles/mlflow_server/files"
URI = "postgresql+psycopg2://mlflow:canary-77@db/mlflow"


@pytest.fixture(name="gc")
def fixture_gc(monkeypatch):
    """Runs it for deleted runs with these places; what MLflow was told, and what it has removed."""
    monkeypatch.syspath_prepend(str(FILES))
    monkeypatch.setenv("MLFLOW_GC_OLDER_THAN", "30d")
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", URI)
    monkeypatch.setenv("MLFLOW_GUARD_ROOTS", json.dumps(["/var/lib/mlflow/artifacts", "s3://registry/mlflow"]))
    monkeypatch.delitem(sys.modules, "mlflow_gc", raising=False)
    told, removed = [], []

    def run(*places):
        def command(arguments, standalone_mode):
            told.append((arguments, standalone_mode, list(sys.argv)))
            for place in places:
                cli.get_artifact_repository(place)

        cli = SimpleNamespace(gc=SimpleNamespace(main=command), get_artifact_repository=removed.append)
        mlflow = ModuleType("mlflow")
        mlflow.cli = cli
        monkeypatch.setitem(sys.modules, "mlflow", mlflow)
        importlib.import_module("mlflow_gc").main()

    run.told, run.removed = told, removed
    return run


def test_mlflow_is_told_by_the_environment(gc):
    places = ["mlflow-artifacts:/1/a/artifacts", "s3://registry/mlflow/1/b/artifacts", "/var/lib/mlflow/artifacts/1/c/artifacts"]
    gc(*places)
    ((arguments, standalone, line),) = gc.told
    assert (arguments, standalone) == (["--older-than", "30d", "--backend-store-uri", URI], False)
    assert not any("canary-77" in word for word in line) and gc.removed == places


@pytest.mark.parametrize("place", ["file:///etc", "/var/lib/mlflow/db", "s3://registry/mlflow/../x", "mlflow-artifacts://elsewhere/1", "runs:/1/a"])
def test_other_places_are_left(gc, place):
    with pytest.raises(SystemExit, match="The artifacts of a deleted run are in .* and are not removed"):
        gc(place, "mlflow-artifacts:/1/a/artifacts")
    assert gc.removed == []
