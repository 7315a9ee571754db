"""A dump is loaded beside MLflow's tables and takes their place, in a real PostgreSQL."""

import re
from types import SimpleNamespace

import host_stand_in
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow_backup import archive, create, judge, postgresql, restore, scratch
from mlflow_backup.problems import Damaged, Problem
from real_postgresql import admin, schemas, somebody_connected

NOON = 1_795_780_800  # 2026-11-27 12:00 UTC
BEFORE = "mlflow_before_20261127t120000z"
def rows(uri, schema="public"):
    """All that MLflow has there."""
    found = {table: sorted(postgresql.ask(uri, f"SELECT t::text FROM {schema}.{table} t;").split("\n"))
             for table in ("alembic_version", "experiments", "runs", "tags", "metrics", "both_names")}  # fmt: skip
    return found


@pytest.fixture(name="site")
def fixture_site(host, uri, monkeypatch):
    """A host with an archive of that, with what was logged since, and what somebody else keeps in the same schema since."""
    host_stand_in.stand_in(monkeypatch.setattr, host.folder)
    (host.folder / "units.json").write_text('{"mlflow.service": "active"}')
    env = host.folder / "etc/mlflow.env"
    env.write_text(re.sub("sqlite:[^\"]*", uri, env.read_text()))
    made = create.create({**host.settings, "artifacts": "none"}, NOON - 3600)
    then = rows(uri)
    postgresql.ask(uri, "INSERT INTO runs VALUES ('since', 1); INSERT INTO experiments (a) VALUES ('since');")
    admin("mlflow", "CREATE TABLE another (b text);", "INSERT INTO another VALUES ('stays');", "GRANT SELECT ON another TO mlflow;")
    return SimpleNamespace(host=host, uri=uri, made=made, then=then, now=rows(uri), schema=postgresql.scratch_schema("mlflow1"))


def prepared(site):
    one = restore.Restore(site.host.settings)
    manifest = archive.read(site.made["archive"])
    found = judge.inspect(manifest, archive.identity(manifest))
    wanted = {"other_site": False, "again": False, "accept_missing": False, "keep_previous": True, "start_timeout": 0}
    assert one.judged(found, wanted) == {"problems": [], "restored": ""}
    one.prepare(site.made["archive"], found, wanted, NOON)
    return one


def served(one, monkeypatch, problem=None):
    """The switch, with MLflow's server left out."""
    def wait(self, timeout):
        pass

    def prove(server, wanted, samples):
        if problem:
            raise Problem(problem)

    monkeypatch.setattr(restore.services.Server, "wait", wait)
    monkeypatch.setattr(restore.services, "prove", prove)
    return one.switch()


def test_tables_take_each_other_s_place(site, monkeypatch):
    one = prepared(site)
    assert rows(site.uri) == site.now and rows(site.uri, site.schema) == site.then
    outcome = served(one, monkeypatch)
    assert rows(site.uri) == site.then and rows(site.uri, BEFORE) == site.now
    assert outcome["kept"] == [f"schema {BEFORE} of the database"] and schemas(site.uri) == {"public", BEFORE}
    # Keys go on counting where they were, in the tables that serve.
    assert postgresql.ask(site.uri, "INSERT INTO experiments (a) VALUES ('next') RETURNING experiment_id;") == "3"
    assert postgresql.ask(site.uri, "INSERT INTO metrics (a) VALUES ('x') RETURNING mood;") == "glad"
    admin("mlflow", "SELECT 1 / count(*) FROM public.another;")
    # The next dump has neither what is kept nor what is loaded.
    counts = create.create({**site.host.settings, "artifacts": "none"}, NOON)["manifest"]["database"]["counts"]
    assert (counts["runs"], counts["experiments"]) == (2, 3)


def test_what_does_not_prove_itself_is_put_back(site, monkeypatch):
    one = prepared(site)
    with pytest.raises(Problem, match="without 1 run"):
        served(one, monkeypatch, "MLflow answers without 1 run")
    assert rows(site.uri) == site.now and schemas(site.uri) == {"public"}
    # And put back once more, nothing changes.
    one.places({"parts": [{"kind": "schema", "live": "public", "staged": site.schema, "before": BEFORE, "had": True}]})[0].revert()
    assert rows(site.uri) == site.now


def test_who_is_still_connected_is_named(site, monkeypatch):
    one = prepared(site)
    monkeypatch.setattr(postgresql.time, "sleep", lambda seconds: None)
    with somebody_connected(), pytest.raises(Problem, match="Somebody is still connected to MLflow's database, from this host: all MLflow hosts"):
        served(one, monkeypatch)
    assert rows(site.uri) == site.now and schemas(site.uri) == {"public"}


def test_a_dump_is_verified_beside_the_tables_that_serve(site):
    made = create.create({**site.host.settings, "artifacts": "none", "verify": True}, NOON)
    assert made["verified"] == "loaded into a schema of its own beside MLflow's tables, opened by a scratch instance of MLflow, and counted there"
    assert schemas(site.uri) == {"public"}


def test_where_no_schema_may_be_made_that_is_said(site):
    admin("mlflow", "ALTER DATABASE mlflow OWNER TO admin;")
    made = create.create({**site.host.settings, "artifacts": "none", "verify": True}, NOON)
    assert made["verified"] == ("every row of the dump was read and counted; it was not loaded into the database: the account mlflow may not make a "
                                "schema there (GRANT CREATE ON DATABASE mlflow TO mlflow)")  # fmt: skip
    manifest = archive.read(site.made["archive"])
    problems = list(judge.database_problems(restore.Restore(site.host.settings).instance))
    assert manifest["database"]["kind"] == "postgresql" and "GRANT CREATE ON DATABASE mlflow TO mlflow" in problems[0]


def test_a_dump_with_other_rows_than_the_manifest_says(site):
    manifest = archive.read(site.made["archive"], lambda name: str(site.host.folder / "dump") if name.startswith("database/") else None)
    manifest["database"]["counts"]["runs"] += 1
    with pytest.raises(Damaged, match="is not what the manifest says"):
        scratch.load(manifest, str(site.host.folder / "dump"), site.uri, site.schema)


def test_a_dump_that_is_cut_off_is_not_loaded(site):
    dump = site.host.folder / "dump"
    archive.read(site.made["archive"], lambda name: str(dump) if name.startswith("database/") else None)
    dump.write_bytes(dump.read_bytes()[:-1000])
    with pytest.raises(Damaged, match="cannot be read"):
        postgresql.load(site.uri, str(dump), site.schema)
    assert schemas(site.uri) == {"public"}


def test_what_psql_refuses_is_said(site, monkeypatch):
    dump = site.host.folder / "dump"
    archive.read(site.made["archive"], lambda name: str(dump) if name.startswith("database/") else None)
    monkeypatch.setattr(postgresql, "elsewhere", lambda lines, source, target: [b"SELECT nonsense;\n", *(b"SELECT 1;\n" for _line in range(100_000))])
    with pytest.raises(Problem, match="cannot be loaded, PostgreSQL says: .*nonsense"):
        postgresql.load(site.uri, str(dump), site.schema)
    assert schemas(site.uri) == {"public"}


@given(rows=st.lists(st.binary().map(lambda row: row.replace(b"\n", b"")).filter(lambda row: row != b"\\.")),
       source=st.sampled_from(["public", "My Own", "a\"b"]))  # fmt: skip
def test_rows_stay_as_they_are(rows, source):
    name = postgresql.name_of(source).encode()
    data = [b"\t".join([row, name + b".runs"]) + b"\n" for row in rows]
    lines = [b"COPY " + name + b".runs (a, b) FROM stdin;\n", *data, b"\\.\n", b"ALTER TABLE " + name + b".runs ADD x;\n"]
    assert list(postgresql.elsewhere(lines, source, "s")) == [b"COPY s.runs (a, b) FROM stdin;\n", *data, b"\\.\n", b"ALTER TABLE s.runs ADD x;\n"]


def test_commands_for_psql_are_refused():
    lines = [b"SET transaction_timeout = 0;\n", b"SET client_encoding = 'UTF8';\n", b"\\restrict abc\n",
             b'CREATE TABLE public.a (b text, "x.public" text);\n', b"COPY public.a (b) FROM stdin;\n",
             b"\\! touch /tmp/x public.\n", b"\\.\n", b"SELECT setval('public.a_seq', 1);\n"]  # fmt: skip
    assert list(postgresql.elsewhere(lines, "public", "s")) == [
        b"SET client_encoding = 'UTF8';\n", b"\\restrict abc\n", b'CREATE TABLE s.a (b text, "x.public" text);\n', b"COPY s.a (b) FROM stdin;\n",
        b"\\! touch /tmp/x public.\n", b"\\.\n", b"SELECT setval('s.a_seq', 1);\n"]  # fmt: skip
    assert list(postgresql.elsewhere([b'"My Own".a "My Own"."b"\n'], "My Own", "s")) == [b's.a s."b"\n']
    with pytest.raises(Damaged, match="has a command for psql"):
        list(postgresql.elsewhere([b"\\! touch /tmp/x\n"], "public", "s"))
