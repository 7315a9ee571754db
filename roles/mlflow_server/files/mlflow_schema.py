"""Runs before MLflow starts: its database has the schema that this release of MLflow expects.

A new PostgreSQL database gets its tables, an older schema is upgraded, by one host at a time; what was there is copied first.
A schema that this release does not know belongs to a newer one, and nothing is touched. The URI of the database comes from the
environment: a command line is public. Where MLflow's own login app is wanted, its users are there, too.
"""
import glob
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from importlib.util import find_spec

import sqlalchemy
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from mlflow import db

# Any number will do that no other program on the same database takes.
LOCK = 0x6D6C666C6F77


@contextmanager
def turn(engine):
    """Hosts that share a database take turns. A SQLite file belongs to one host."""
    if engine.dialect.name != "postgresql":
        yield
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:lock)"), {"lock": LOCK})
        try:
            yield
        finally:
            connection.execute(sqlalchemy.text("SELECT pg_advisory_unlock(:lock)"), {"lock": LOCK})


def current_revision(engine):
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def check_sqlite(path):
    """A file that SQLite cannot read is named, with the copies that there are: nobody can tell which one that is from MLflow's own traceback."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as exc:  # the file may be good
        sys.exit(f"SQLite cannot use the database {path}: {exc}. Look at the owner of the file and of its folder, and at who has it open.")
    except sqlite3.DatabaseError as exc:
        copies = sorted(glob.glob(glob.escape(path) + ".*.*Z"), key=os.path.getmtime)
        upgrade = f", or the one that was made before the last upgrade, {copies[-1]}" if copies else ""
        sys.exit(
            f"The database {path} is damaged: {exc}. Nothing was changed. To restore it, stop mlflow.service, move the file out of the way, put a "
            f"copy in its place (your own backup{upgrade}; owner and mode as before), and start mlflow.service. Runs and models that were registered "
            "after the copy was made are lost."
        )


def copy_sqlite(path, name):
    """SQLite's own copy: consistent, whoever else has the database open."""
    copy = f"{path}.{name}"
    source, target = sqlite3.connect(path), sqlite3.connect(copy)
    with target:
        source.backup(target)
    target.close()
    source.close()
    return copy


def dump_postgresql(url, directory, name):
    """pg_dump is told everything by its environment."""
    if not shutil.which("pg_dump"):
        raise OSError("pg_dump is not installed on this host")
    copy = os.path.join(directory, f"{url.database}.{name}.dump")
    told = {"PGHOST": url.host, "PGPORT": url.port, "PGUSER": url.username, "PGPASSWORD": url.password, "PGDATABASE": url.database,
            "PGSSLMODE": url.query.get("sslmode"), "PGSSLROOTCERT": url.query.get("sslrootcert")}
    done = subprocess.run(
        ["pg_dump", "--format=custom", "--no-password", "--file=" + copy + ".part"], check=False, text=True, stderr=subprocess.PIPE,
        env=dict(os.environ, **{key: str(value) for key, value in told.items() if value is not None}))
    if done.returncode:
        raise OSError(done.stderr.strip())
    os.rename(copy + ".part", copy)
    return copy


def back_up(engine, directory, revision):
    name = f"{revision}.{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    if engine.dialect.name == "sqlite":
        return copy_sqlite(engine.url.database, name)
    if engine.dialect.name == "postgresql":
        return dump_postgresql(engine.url, directory, name)
    raise OSError(f"only SQLite and PostgreSQL databases can be copied here, not {engine.dialect.name}")


def prepare(engine, uri):
    found = current_revision(engine)
    if found is None:
        if engine.dialect.name == "postgresql":
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            print("The database is new: making MLflow's tables.", flush=True)
            SqlAlchemyStore(uri, os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT") or "mlflow-artifacts:/")
        else:
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
    directory = os.environ.get("MLFLOW_SCHEMA_BACKUP_DIR")
    if directory:
        try:
            print(f"Copied the database to {back_up(engine, directory, found)}.")
        except OSError as exc:
            sys.exit(
                f"The schema of the database has to be upgraded from {found} to {head}, and the database could not be copied before: {exc}. "
                "Nothing was changed. Cure that, or back the database up where it is and set mlflow_server_database_backup to false."
            )
    print(f"Upgrading the schema of the database from {found} to {head}.", flush=True)
    db.commands.main(["upgrade", uri], standalone_mode=False)


def main():
    uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
    try:
        engine = sqlalchemy.create_engine(uri)
    except ImportError as exc:
        sys.exit(f"This release has no driver for the database ({exc}): set mlops_database_host to a PostgreSQL server, or correct "
                 "mlflow_server_backend_store_uri.")
    if engine.dialect.name == "sqlite" and os.path.exists(engine.url.database or ""):
        check_sqlite(engine.url.database)
    try:
        with turn(engine):
            prepare(engine, uri)
            if "MLFLOW_AUTH_ADMIN_USERNAME" in os.environ:
                import mlflow_login

                mlflow_login.prepare(engine, uri)
    except sqlalchemy.exc.OperationalError as exc:
        # Without SQLAlchemy's story around it. The URI has the password.
        sys.exit(f"The database {engine.url.database} at {engine.url.host or 'this host'} cannot be used: {exc.orig}")


if __name__ == "__main__":
    main()
