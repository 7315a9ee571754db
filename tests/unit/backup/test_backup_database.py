"""What the program asks PostgreSQL's programs for, and reads of what they say. The programs are stand-ins."""

import sys
from types import SimpleNamespace

import pytest
from mlflow_backup import database
from mlflow_backup.problems import Damaged, Problem
from mlflow_backup.settings import Instance, read_environment

URI = "postgresql+psycopg2://mlflow:p%40ss@db:5433/mlflow?sslmode=verify-full&sslrootcert=/etc/ssl/ca.pem"
STAND_IN = """#!/bin/sh
printf '%s\\n' "$0 $*" >> {log}
env | grep ^PG | sort >> {log}
case $0 in
*psql) echo 4096;;
*pg_restore) printf 'SET a = b;\\nCOPY public.alembic_version (version_num) FROM stdin;\\n97727af70f4d\\n\\\\.\\n\\n'
  printf 'COPY public.runs (run_uuid, name) FROM stdin;\\n1\\tCOPY public.tags (x) FROM stdin;\\n2\\t\\\\\\\\.\\n\\\\.\\n'
  printf 'COPY public.other (a) FROM stdin;\\n1\\n\\\\.\\nCOPY public."tags" (a) FROM stdin;\\n\\\\.\\n';;
esac
{more}
"""


@pytest.fixture(name="programs")
def fixture_programs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    url = SimpleNamespace(host="db", port=5433, username="mlflow", password="p@ss", database="mlflow",
                          query={"sslmode": "verify-full", "sslrootcert": "/etc/ssl/ca.pem"})  # fmt: skip
    monkeypatch.setitem(sys.modules, "sqlalchemy", SimpleNamespace(engine=SimpleNamespace(make_url=lambda uri: url)))
    log = tmp_path / "log"

    def write(more=""):
        for name in ("psql", "pg_dump", "pg_restore"):
            (tmp_path / name).write_text(STAND_IN.format(log=log, more=more))
            (tmp_path / name).chmod(0o755)
        return log

    return write


def test_pg_dump_is_told_by_its_environment(programs):
    log = programs()
    kind = database.kind_of(URI)
    assert kind.size(URI) == 4096
    kind.copy(URI, "/backups/database")
    lines = log.read_text().splitlines()
    assert [line.partition(f"{log.parent}/")[2] for line in lines if "--" in line] == [
        "psql --no-password --no-psqlrc --tuples-only --no-align --command=SELECT pg_database_size(current_database())",
        "pg_dump --format=custom --no-password --no-owner --no-privileges --exclude-schema=mlflow_before_* --exclude-schema=mlflow_scratch_* "
        "--file=/backups/database",
    ]
    told = {"DATABASE": "mlflow", "HOST": "db", "PASSWORD": "p@ss", "PORT": "5433", "SSLMODE": "verify-full", "SSLROOTCERT": "/etc/ssl/ca.pem",
            "USER": "mlflow"}  # fmt: skip
    assert lines[-7:] == [f"PG{name}={value}" for name, value in told.items()]
    assert "p@ss" not in "".join(line for line in lines if not line.startswith("PG"))


def test_rows_of_a_dump_are_counted(programs):
    programs()
    assert database.Postgresql.count("/backups/database") == ("97727af70f4d", {"runs": 2, "tags": 0})


def test_what_they_say_when_they_fail(programs):
    programs("echo 'server version mismatch' >&2; exit 1")
    with pytest.raises(Problem, match="pg_dump says: server version mismatch"):
        database.Postgresql.copy(URI, "/backups/database")
    with pytest.raises(Damaged, match="cannot be read: server version mismatch"):
        database.Postgresql.count("/backups/database")


def test_a_program_that_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Problem, match="pg_restore is not installed on this host"):
        database.Postgresql.count("/backups/database")


def test_other_databases():
    with pytest.raises(Problem, match="MLflow's database is mysql, and only SQLite and PostgreSQL"):
        database.kind_of("mysql+pymysql://db/mlflow")


def test_paths_of_sqlite():
    assert database.Sqlite.path("sqlite:////var/lib/mlflow/db/mlflow.db") == "/var/lib/mlflow/db/mlflow.db"
    with pytest.raises(Problem, match="There is no database /none"):
        database.Sqlite.size("sqlite:////none")


def test_settings_of_mlflow(host):
    assert read_environment(str(host.folder / "etc/mlflow.env"))["A"] == '"$\\'
    (host.folder / "etc/mlflow.env").unlink()
    with pytest.raises(Problem, match="run playbooks/mlflow.yml first"):
        Instance(host.settings)
