# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a stack can talk to a database."""

from __future__ import annotations

import re

# What SQLAlchemy takes when a URI names no driver, and the packages that have a driver.
DEFAULTS = {"postgresql": "psycopg2", "mysql": "mysqldb", "mariadb": "mysqldb", "mssql": "pyodbc"}
PACKAGES = {
    "psycopg2": ["psycopg2-binary", "psycopg2"], "mysqldb": ["mysqlclient"], "pymysql": ["pymysql"], "mysqlconnector": ["mysql-connector-python"],
    "pyodbc": ["pyodbc"], "pymssql": ["pymssql"],
}  # fmt: skip


def locked_packages(lock):
    """Names of what a lock has, as they are compared."""
    return {re.sub("[-_.]+", "-", name).lower() for name in re.findall(r"^([A-Za-z0-9._-]+)==", lock, re.M)}


def database_driver_problems(uri, lock, variable):
    """The URI may have a password, so it is not shown."""
    dialect, _plus, driver = uri.split(":", 1)[0].lower().partition("+")
    if dialect == "sqlite":  # comes with Python
        return []
    driver = driver or DEFAULTS.get(dialect, dialect)
    packages = PACKAGES.get(driver, [driver])
    if locked_packages(lock).intersection(packages):
        return []
    return [f"{variable} names a database ({dialect}) for which the stack has no driver ({packages[0]}): set mlops_database_host to a PostgreSQL "
            f"server, or mlops_stack_dir to a stack of your own whose requirements.txt has {packages[0]}."]
