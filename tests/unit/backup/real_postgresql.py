"""A PostgreSQL server of the tests' own, with MLflow's database in it."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from mlflow_backup import database, postgresql

# As MLflow makes them: keys that count, references, and what looks like the schema's name in rows and texts.
TABLES = """
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('97727af70f4d');
CREATE TABLE experiments (experiment_id serial PRIMARY KEY, a text NOT NULL UNIQUE, CHECK (a <> 'public.'));
CREATE TABLE runs (a text PRIMARY KEY, experiment_id integer REFERENCES experiments (experiment_id));
CREATE TABLE tags (a text, run text REFERENCES runs (a));
CREATE INDEX ON tags (a);
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE TABLE metrics (a text, mood mood DEFAULT 'glad');
CREATE TABLE params (a text);
CREATE TABLE registered_models (a text);
CREATE VIEW both_names AS SELECT a FROM runs UNION SELECT a FROM experiments;
CREATE FUNCTION prevent_mutation() RETURNS trigger AS $$
BEGIN
    IF OLD.a IS DISTINCT FROM NEW.a THEN RAISE EXCEPTION 'params.a is immutable'; END IF;
    RETURN NEW;
END;
$$ LANGUAGE plpgsql;
CREATE TRIGGER prevent_mutation BEFORE UPDATE ON params FOR EACH ROW EXECUTE FUNCTION prevent_mutation();
INSERT INTO experiments (a) VALUES ('Default'), (E'public.experiments\\n\\\\.\\nSET a = 1;');
INSERT INTO runs VALUES ('COPY public.tags (a) FROM stdin;', 1), ('two', 2);
INSERT INTO tags VALUES ('a', 'two');
INSERT INTO metrics VALUES ('m');
"""


def programs():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "/none")]
    return found[-1].parent


@pytest.fixture(name="postgres", scope="module")
def fixture_postgres():
    """A server of its own, as an account that is not root."""
    if not (programs() / "initdb").exists() or not shutil.which("pg_dump"):
        pytest.skip("there is no PostgreSQL here")
    with tempfile.TemporaryDirectory() as folder:
        who = []
        if os.getuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            who = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
        data, options = f"{folder}/data", f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"

        def server(program, *arguments):
            # Its output is kept open by the server.
            nowhere = subprocess.DEVNULL
            subprocess.run([*who, programs() / program, "-D", data, *arguments], check=True, stdout=nowhere, stderr=nowhere, cwd="/")

        server("initdb", "-U", "admin", "-A", "trust", "-E", "UTF8", "--no-sync")
        server("pg_ctl", "-o", options, "-l", f"{folder}/log", "-w", "start")
        try:
            yield folder
        finally:
            server("pg_ctl", "-m", "immediate", "stop")


class Url:
    """What the program asks SQLAlchemy."""

    def __init__(self, uri):
        parts = urlsplit(uri)
        self.text, self.host, self.port, self.username, self.password = uri, None, None, parts.username, parts.password
        self.database, self.query = parts.path.strip("/"), {name: values[0] for name, values in parse_qs(parts.query).items()}

    def update_query_dict(self, query):
        return Url(self.text + "&" + "&".join(f"{name}={value}" for name, value in query.items()))

    def render_as_string(self, hide_password):
        assert not hide_password
        return self.text


@pytest.fixture(name="uri")
def fixture_uri(postgres, monkeypatch):
    """MLflow's own database, with MLflow's account as its owner."""
    monkeypatch.setenv("PGHOST", postgres)
    monkeypatch.setattr(database.Postgresql, "told", staticmethod(lambda uri: dict(
        os.environ, PGUSER=Url(uri).username, PGDATABASE=Url(uri).database)))  # fmt: skip
    monkeypatch.setitem(sys.modules, "sqlalchemy", SimpleNamespace(engine=SimpleNamespace(make_url=Url)))
    # Of tests before.
    left = admin("postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres';").splitlines()
    admin("postgres", *(f'DROP DATABASE "{name}" WITH (FORCE);' for name in left), "DROP ROLE IF EXISTS mlflow;", "CREATE ROLE mlflow LOGIN;",
          "CREATE DATABASE mlflow OWNER mlflow;")  # fmt: skip
    uri = "postgresql+psycopg2://mlflow@db/mlflow?x=y"
    postgresql.ask(uri, TABLES)
    return uri


def admin(name, *statements):
    """What the last of them answers."""
    for statement in statements:
        done = subprocess.run(["psql", "-XqAt", "-U", "admin", "-d", name, "-c", statement], check=True, capture_output=True, text=True)
    return done.stdout


@contextmanager
def somebody_connected():
    """With MLflow's login, and idle."""
    command = ["psql", "-XqAt", "-U", "mlflow", "-d", "mlflow"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as other:
        print("SELECT 1;", file=other.stdin, flush=True)
        other.stdout.readline()
        yield
        other.stdin.close()


def schemas(uri):
    return set(postgresql.ask(uri, "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information)';").split())
