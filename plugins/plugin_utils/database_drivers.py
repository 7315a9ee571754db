# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a stack can talk to a database."""

from __future__ import annotations

import re

# What SQLAlchemy takes when a URI names no driver (from 2.1 on another one for PostgreSQL), and the packages that have a driver.
DEFAULTS = {"postgresql": "psycopg2", "mysql": "mysqldb", "mariadb": "mysqldb", "mssql": "pyodbc"}
PACKAGES = {
    "psycopg": ["psycopg", "psycopg-binary"],
    "psycopg2": ["psycopg2-binary", "psycopg2"], "mysqldb": ["mysqlclient"], "pymysql": ["pymysql"], "mysqlconnector": ["mysql-connector-python"],
    "pyodbc": ["pyodbc"], "pymssql": ["pymssql"],
}  # fmt: skip


def locked_packages(lock):
    """Version by name, as names are compared, of what a lock has."""
    return {re.sub("[-_.]+", "-", name).lower(): version for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^ \\\n]+)", lock, re.M)}


def default_driver(dialect, locked):
    numbers = tuple(map(int, re.findall(r"\d+", locked.get("sqlalchemy", "1"))[:2]))
    return "psycopg" if dialect == "postgresql" and numbers >= (2, 1) else DEFAULTS.get(dialect, dialect)


def database_driver_problems(uri, lock, variable):
    """The URI may have a password, so it is not shown."""
    dialect, _plus, driver = uri.split(":", 1)[0].lower().partition("+")
    if dialect == "sqlite":  # comes with Python
        return []
    locked = locked_packages(lock)
    driver = driver or default_driver(dialect, locked)
    packages = PACKAGES.get(driver, [driver])
    if set(packages).intersection(locked):
        return []
    known = DEFAULTS.get(dialect)
    hint = f"let it begin with {dialect}+{known}://, which the stack has, " if set(PACKAGES.get(known, ())).intersection(locked) else ""
    return [f"{variable} names a database ({dialect}) for which the stack has no driver ({packages[0]}): {hint}set mlops_database_host to a "
            f"PostgreSQL server, or mlops_stack_dir to a stack of your own whose requirements.txt has {packages[0]}."]
