"""Runs before MLflow starts: its database has the schema that this release of MLflow expects.

An older schema is upgraded, a SQLite database is copied first. A schema that this release does not know belongs to a
newer one, and nothing is touched. The URI of the database comes from the environment: a command line is public.
"""
import os
import sqlite3
import sys
import time
from importlib.util import find_spec

import sqlalchemy
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from mlflow import db


def back_up(path, revision):
    """SQLite's own copy: consistent, whoever else has the database open."""
    copy = f"{path}.{revision}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    source, target = sqlite3.connect(path), sqlite3.connect(copy)
    with target:
        source.backup(target)
    target.close()
    source.close()
    return copy


def main():
    uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
    engine = sqlalchemy.create_engine(uri)
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found is None:
        print("The database is new; MLflow makes its tables.")
        return
    mlflow = find_spec("mlflow").submodule_search_locations[0]
    scripts = ScriptDirectory(os.path.join(mlflow, "store", "db_migrations"))
    head = scripts.get_current_head()
    if found == head:
        return
    if found not in {script.revision for script in scripts.walk_revisions()}:
        sys.exit(
            f"The database has the schema {found} of a newer MLflow; this one knows schemas up to {head}. "
            "Go forward to the newer release, or restore the database from a backup made before the upgrade."
        )
    if engine.dialect.name == "sqlite":
        print(f"Copied the database to {back_up(engine.url.database, found)}.")
    else:
        print("Only a SQLite database is copied here; for this one a backup is the database server's matter.")
    print(f"Upgrading the schema of the database from {found} to {head}.", flush=True)
    db.commands.main(["upgrade", uri], standalone_mode=False)


if __name__ == "__main__":
    main()
