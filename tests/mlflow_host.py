# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is of MLflow on a host, as a folder of this computer: a release whose Python has stand-ins for its packages, settings, a database."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing

REVISION = "97727af70f4d"
# The release knows this schema.
ALEMBIC = f"""
class ScriptDirectory:
    def __init__(self, folder): pass
    def get_current_head(self): return "{REVISION}"
    def walk_revisions(self): return [type("Script", (), {{"revision": "{REVISION}"}})]
"""


def make_mlflow_host(folder):
    """current (a link to guide-1.30-abc), etc, db, artifacts; modules/tmp is for temporary files."""
    for name in ("guide-1.30-abc/bin", "etc", "db", "artifacts", "modules/alembic", "modules/mlflow", "modules/tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "current").symlink_to(folder / "guide-1.30-abc")
    python = folder / "current/bin/python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={folder}/modules exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (folder / "modules/alembic/__init__.py").touch()
    (folder / "modules/alembic/script.py").write_text(ALEMBIC)
    (folder / "modules/mlflow/__init__.py").touch()
    (folder / "modules/mlflow/version.py").write_text('VERSION = "1.30.1"\n')
    (folder / "etc/mlflow.env").write_text(
        f'MLFLOW_BACKEND_STORE_URI="sqlite:///{folder}/db/mlflow.db"\nMLFLOW_ARTIFACTS_DESTINATION="{folder}/artifacts"\n')
    with closing(sqlite3.connect(folder / "db/mlflow.db")) as connection:
        connection.executescript("CREATE TABLE runs (a); CREATE TABLE alembic_version (version_num);"
                                 f"INSERT INTO alembic_version VALUES ('{REVISION}');")  # fmt: skip
