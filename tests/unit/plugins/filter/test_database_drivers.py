# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.plugin_utils import database_drivers

LOCK = "mlflow==1.30.1 \\\n    --hash=sha256:0\npsycopg2-binary==2.9.9 \\\n"


@pytest.mark.parametrize("uri, lock, missing", [
    ("sqlite:////var/lib/mlflow.db", LOCK, None),
    ("postgresql://u:p@db/x", LOCK, None),
    ("postgresql+psycopg2://u:p@db/x", LOCK, None),
    ("postgresql://u:p@db/x", LOCK + "SQLAlchemy==2.0.58 \\\n", None),
    ("postgresql://u:canary@db/x", LOCK + "SQLAlchemy==2.1.9 \\\n", "psycopg"),
    ("postgresql+psycopg2://u:p@db/x", LOCK + "SQLAlchemy==2.1.9 \\\n", None),
    ("postgresql://u:p@db/x", LOCK + "SQLAlchemy==2.1.9 \\\npsycopg==3.2.1\n", None),
    ("postgresql+pg8000://u:p@db/x", LOCK, "pg8000"),
    ("mysql://u:canary@db/x", LOCK, "mysqlclient"),
    ("mysql+pymysql://u:canary@db/x", LOCK, "pymysql"),
    ("mysql+pymysql://u:canary@db/x", LOCK + "PyMySQL==1.0.2\n", None),
    ("mssql+pyodbc://u:canary@db/x", LOCK, "pyodbc"),
    ("mssql+pyodbc://u:canary@db/x", LOCK + "# pyodbc==5\n", "pyodbc"),
])  # fmt: skip
def test_driver_is_in_the_lock(uri, lock, missing):
    problems = database_drivers.database_driver_problems(uri, lock, "mlflow_server_backend_store_uri")
    assert [f"no driver ({missing})" in problem and "canary" not in problem for problem in problems] == [True] * bool(missing)


def test_another_driver_that_the_stack_has_is_named():
    (problem,) = database_drivers.database_driver_problems("postgresql://u:canary@db/x", LOCK + "sqlalchemy==2.1.9\n", "x")
    assert "let it begin with postgresql+psycopg2://, which the stack has" in problem
    (problem,) = database_drivers.database_driver_problems("mysql://u:canary@db/x", LOCK, "x")
    assert "let it begin" not in problem
