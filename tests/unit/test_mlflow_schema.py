# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What MLflow's service says of a database that it cannot use. The SQLite files are real; SQLAlchemy and MLflow are stand-ins."""

from __future__ import annotations

import importlib.util
import sqlite3
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "roles" / "mlflow_server" / "files" / "mlflow_schema.py"


@pytest.fixture(name="schema")
def fixture_schema(monkeypatch):
    class OperationalError(Exception):
        def __init__(self, orig):
            super().__init__("a long story")
            self.orig = orig

    def create_engine(uri):
        dialect, rest = uri.split("://", 1)
        if dialect == "mysql":
            raise ModuleNotFoundError("No module named 'MySQLdb'")
        url = SimpleNamespace(database=rest[1:], host=None) if dialect == "sqlite" else SimpleNamespace(database="mlflow", host="db")
        return SimpleNamespace(dialect=SimpleNamespace(name=dialect), url=url)

    for name in ("sqlalchemy", "alembic", "alembic.runtime", "alembic.runtime.migration", "alembic.script", "mlflow"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["sqlalchemy"].exc = SimpleNamespace(OperationalError=OperationalError)
    sys.modules["sqlalchemy"].create_engine = create_engine
    sys.modules["alembic.runtime.migration"].MigrationContext = sys.modules["alembic.script"].ScriptDirectory = sys.modules["mlflow"].db = None
    specification = importlib.util.spec_from_file_location("mlflow_schema", PROGRAM)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    prepared = []
    monkeypatch.setattr(module, "prepare", lambda engine, uri: prepared.append(uri))

    def run(uri):
        monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", uri)
        module.main()
        return prepared

    run.module, run.error = module, OperationalError
    return run


def test_a_good_file_and_none(schema, tmp_path):
    with sqlite3.connect(tmp_path / "mlflow.db") as connection:
        connection.execute("CREATE TABLE runs (a)")
    assert len(schema(f"sqlite:///{tmp_path}/mlflow.db")) == 1
    assert len(schema(f"sqlite:///{tmp_path}/none.db")) == 2
    assert not (tmp_path / "none.db").exists()


@pytest.mark.parametrize("damage", [lambda content: b"x" * len(content), lambda content: content[:5000]])
def test_a_damaged_file_is_named_with_its_copy(schema, tmp_path, damage):
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE runs (a)")
        connection.executemany("INSERT INTO runs VALUES (?)", [["x" * 1000]] * 100)
    connection.close()
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    with pytest.raises(SystemExit, match=f"The database {path} is damaged: .*To restore it, stop mlflow.service, .*your own backup; owner"):
        schema(f"sqlite:///{path}")
    (tmp_path / "mlflow.db.97727af70f4d.20260101T000000Z").touch()
    with pytest.raises(SystemExit, match=f"before the last upgrade, {path}.97727af70f4d.20260101T000000Z; owner"):
        schema(f"sqlite:///{path}")
    assert path.read_bytes() == damaged


def test_a_locked_file_is_not_called_damaged(schema, tmp_path):
    path = tmp_path / "a folder"
    path.mkdir()
    with pytest.raises(sqlite3.OperationalError):
        sqlite3.connect(path)
    with pytest.raises(SystemExit, match="SQLite cannot use the database .*: unable to open database file. Look at the owner"):
        schema(f"sqlite:///{path}")


def test_no_driver(schema):
    with pytest.raises(SystemExit, match="no driver for the database .No module named 'MySQLdb'.: set mlops_database_host"):
        schema("mysql://u:canary@db/mlflow")


def test_a_server_that_does_not_answer(schema, monkeypatch):
    def prepare(_engine, _uri):
        raise schema.error("connection refused")

    monkeypatch.setattr(schema.module, "prepare", prepare)
    with pytest.raises(SystemExit, match="The database mlflow at db cannot be used: connection refused"):
        schema("mssql://u:canary@db/mlflow")
