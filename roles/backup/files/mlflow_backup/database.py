"""MLflow's database: copied while it is used, and counted."""

import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from urllib.parse import quote

from .problems import Damaged, Problem

# What is counted in the copy, and compared when it is verified.
COUNTED = ("experiments", "runs", "metrics", "params", "tags", "registered_models", "model_versions")
REVISION = "alembic_version"
# Schemas that a restore keeps, and that a dump is loaded into: copies of MLflow's tables.
NOT_MLFLOW_S = ("mlflow_before_*", "mlflow_scratch_*")


def kind_of(uri):
    kind = uri.split("://", 1)[0].split("+", 1)[0]
    if kind not in KINDS:
        raise Problem(f"MLflow's database is {kind}, and only SQLite and PostgreSQL can be backed up here: use the backup of the database server.")
    return KINDS[kind]


def need(program):
    if not shutil.which(program):
        how = "install GnuPG" if program == "gpg" else "run playbooks/mlflow.yml, which installs it where mlops_database_host is set"
        raise Problem(f"{program} is not installed on this host: {how}.")


class Sqlite:
    name = "sqlite"
    member = "database/mlflow.db"

    @staticmethod
    def path(uri):
        """As SQLAlchemy reads it: after sqlite:/// comes a path, which begins with a slash if it is absolute."""
        return uri.split("://", 1)[1].split("?", 1)[0][1:]

    @classmethod
    def size(cls, uri):
        path = cls.path(uri)
        if not os.path.isfile(path):
            raise Problem(f"There is no database {path} yet: start MLflow first.")
        return os.path.getsize(path)

    @classmethod
    def copy(cls, uri, target):
        """SQLite's own backup: consistent, whoever else writes. They wait meanwhile."""
        path = cls.path(uri)
        try:
            with closing(sqlite3.connect(path, timeout=60)) as source, closing(sqlite3.connect(target)) as copy:
                source.backup(copy)
                verdict = copy.execute("PRAGMA quick_check").fetchone()[0]
        except sqlite3.Error as exc:
            raise Problem(f"The database {path} cannot be copied: {exc}.") from None
        if verdict != "ok":
            raise Problem(f"The database {path} is damaged, so there is nothing to back up: {verdict}. Restore an earlier backup.")

    @staticmethod
    def revision(path):
        """Of the schema, of one that may be in use."""
        try:
            with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=60)) as connection:
                return connection.execute("SELECT version_num FROM " + REVISION).fetchone()[0]
        except (sqlite3.Error, TypeError) as exc:
            raise Problem(f"The database {path} has no schema of MLflow: {exc}.") from None

    @staticmethod
    def count(copy):
        """(revision of the schema, rows by table) of a copy."""
        try:
            with closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as connection:
                if connection.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                    raise Damaged("The copy of the database is damaged.")
                tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
                rows = connection.execute("SELECT version_num FROM " + REVISION).fetchall() if REVISION in tables else []
                counts = {table: connection.execute("SELECT count(*) FROM " + table).fetchone()[0] for table in COUNTED if table in tables}
        except sqlite3.Error as exc:
            raise Damaged(f"The copy of the database cannot be read: {exc}.") from None
        return rows[0][0] if rows else "", counts


class Postgresql:
    name = "postgresql"
    member = "database/mlflow.dump"

    @staticmethod
    def told(uri):
        """libpq is told everything by its environment: a command line is public."""
        import sqlalchemy

        url = sqlalchemy.engine.make_url(uri)
        told = {"PGHOST": url.host, "PGPORT": url.port, "PGUSER": url.username, "PGPASSWORD": url.password, "PGDATABASE": url.database,
                "PGSSLMODE": url.query.get("sslmode"), "PGSSLROOTCERT": url.query.get("sslrootcert")}
        return dict(os.environ, **{key: str(value) for key, value in told.items() if value is not None})

    @classmethod
    def run(cls, command, uri):
        need(command[0])
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=cls.told(uri))
        if done.returncode:
            raise Problem(f"The database cannot be copied, {command[0]} says: {done.stderr.strip()}")
        return done.stdout

    @classmethod
    def size(cls, uri):
        question = "SELECT pg_database_size(current_database())"
        return int(cls.run(["psql", "--no-password", "--no-psqlrc", "--tuples-only", "--no-align", "--command=" + question], uri))

    @classmethod
    def copy(cls, uri, target, schema=""):
        """A dump of all that is MLflow's, or of one schema."""
        which = ["--schema=" + schema] if schema else ["--exclude-schema=" + name for name in NOT_MLFLOW_S]
        cls.run(["pg_dump", "--format=custom", "--no-password", "--no-owner", "--no-privileges", *which, "--file=" + target], uri)

    @staticmethod
    def count(copy):
        """Every row of the dump is read; what is counted is in the same snapshot."""
        need("pg_restore")
        command = ["pg_restore", "--data-only", "--file=-", copy]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            revision, counts = read_rows(process.stdout)
            error = process.stderr.read().decode("utf-8", "replace").strip()
        if process.returncode:
            raise Damaged(f"The database in the archive cannot be read: {error}")
        return revision, counts


def read_rows(lines):
    """Of what pg_restore writes: `COPY schema.table (columns) FROM stdin;`, a line for each row, and a line with `\\.`."""
    revision, counts, table = "", {}, None
    for line in lines:
        if table is None:
            if line.startswith(b"COPY "):
                table = line.split()[1].decode().rpartition(".")[2].strip('"')
                counts.update({table: 0} if table in COUNTED else {})
        elif line.rstrip(b"\n") == b"\\.":
            table = None
        elif table in counts:
            counts[table] += 1
        elif table == REVISION:
            revision = line.decode().strip()
    return revision, counts


KINDS = {"sqlite": Sqlite, "postgresql": Postgresql}
