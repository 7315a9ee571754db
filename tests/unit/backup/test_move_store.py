"""A host goes to other stores with all that it has, or all is as it was: in a real PostgreSQL, and a bucket that boto3 talks to."""

import hashlib
import json
import os
import re
import sqlite3
import stat
import sys
from contextlib import closing
from types import SimpleNamespace
from urllib.parse import quote

import host_stand_in
import pytest
import s3_stand_in
from host_stand_in import NEWEST, OLDER, fails_once
from mlflow_backup import bucket, database, move, postgresql, release, scratch, services, tables
from mlflow_backup.problems import Problem
from real_postgresql import Url, admin

NOON, STAMP = 1_795_780_800, "20261127T120000Z"
UNITS = {"mlflow.service": "active", "fire-mlops-server.service": "active", "mlflow-gc.timer": "inactive", "mlflow-model@churn.service": "active"}
# MLflow's tables as far as it matters here, for both: what refers to what, and each type that there is.
SCHEMA = """
CREATE TABLE experiments (experiment_id {serial}, a TEXT UNIQUE NOT NULL, artifact_location VARCHAR(256));
CREATE TABLE runs (a VARCHAR(32) PRIMARY KEY, experiment_id INTEGER REFERENCES experiments (experiment_id), artifact_uri VARCHAR(200), ended BIGINT);
CREATE TABLE metrics (a TEXT, run TEXT REFERENCES runs (a), value {double}, is_nan BOOLEAN NOT NULL, PRIMARY KEY (a, run, value));
CREATE TABLE params (a TEXT, value VARCHAR(20));
CREATE TABLE tags (a TEXT, run TEXT REFERENCES runs (a));
CREATE TABLE registered_models (a TEXT PRIMARY KEY);
CREATE TABLE model_versions (a TEXT, source TEXT, tools JSON, secret {bytes});
"""
# What MLflow's release puts into tables that it makes.
SEEDED = "INSERT INTO experiments (a) VALUES ('Default');"
SQLITE_CONTENT, REAL_FILL = host_stand_in.content, tables.fill
ODD = "tab\t newline\n return\r \\N \\. ä 'quoted' \"twice\" {} \u2028"


# Of MLflow's own login app.
USERS = """
CREATE TABLE users (id {serial}, username VARCHAR(255) UNIQUE, is_admin BOOLEAN);
CREATE TABLE alembic_version_auth (version_num VARCHAR(32));
"""


def make_tables(uri, with_users=False):
    schema = re.search("search_path=([a-z0-9_]+)", uri).group(1)
    types = {"serial": "serial PRIMARY KEY", "double": "DOUBLE PRECISION", "bytes": "bytea"}
    made = (SCHEMA + USERS * with_users).format(**types)
    postgresql.ask(uri, f"SET search_path = {schema}; {made} {SEEDED} CREATE TABLE alembic_version (version_num varchar(32));"
                        f"INSERT INTO alembic_version VALUES ('{NEWEST}');")  # fmt: skip


def content(uri):
    """What MLflow's classes find."""
    if uri.startswith("sqlite"):
        return SQLITE_CONTENT(uri)
    schema = re.search("search_path=([a-z0-9_]+)", uri).group(1)
    return {kind: postgresql.ask(uri, f"SELECT a FROM {schema}.{kind};").split("\n") for kind in ("experiments", "runs", "registered_models")}


class Site:
    def __init__(self, host, server, store, uri):
        self.host, self.folder, self.store, self.uri = host, host.folder, store, uri
        host.settings.update(url=f"{server}/{quote(str(host.folder), safe='')}")
        self.env = self.folder / "etc/mlflow.env"
        host.database.unlink()
        with closing(sqlite3.connect(host.database)) as connection:
            connection.executescript(SCHEMA.format(serial="INTEGER PRIMARY KEY AUTOINCREMENT", double="FLOAT", bytes="BLOB"))
            connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
            connection.execute("INSERT INTO alembic_version VALUES (?)", [NEWEST])
            connection.executemany("INSERT INTO experiments VALUES (?, ?, ?)", [
                (0, "Default", "mlflow-artifacts:/0"), (1, "one", f"file://{host.artifacts}/1"), (7, "gone", "mlflow-artifacts:/7")])  # fmt: skip
            connection.execute("DELETE FROM experiments WHERE a = 'gone'")
            connection.executemany("INSERT INTO runs VALUES (?, ?, ?, ?)", [("x", 1, f"{host.artifacts}/1/x/artifacts", 2**53), ("y", 0, None, None)])
            connection.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?)", [("m", "x", 0.1 + 0.2, 0), ("m", "x", 1.7976931348623157e308, 1),
                                                                               ("m", "y", 5, 0)])  # fmt: skip
            connection.execute("INSERT INTO params VALUES ('p', 'ä')")
            connection.execute("INSERT INTO tags VALUES (?, 'x')", [ODD])
            connection.execute("INSERT INTO registered_models VALUES ('model')")
            connection.execute("INSERT INTO model_versions VALUES ('v', 'mlflow-artifacts:/1/x/artifacts', ?, ?)",
                               ['{"b" : 1,  "a": [ ]}', b"\0\xff\\x"])  # fmt: skip
            connection.commit()
        (self.folder / "serving.json").write_text(json.dumps({"database": str(host.database), "artifacts": str(host.artifacts), "hidden": []}))
        self.write_units(UNITS)
        (self.folder / "proof.json").write_text("of the old stores")
        self.staged = self.folder / "etc/staged"
        self.stage(uri, "s3://registry/m", "s3://registry/m")
        host.settings_file()
        self.old = self.state()

    def write_units(self, states):
        (self.folder / "units.json").write_text(json.dumps(states))

    def stage(self, uri, destination, root=""):
        """Settings for other stores."""
        target = self.staged / self.env.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        told = {"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_ARTIFACTS_DESTINATION": destination, "MLFLOW_DEFAULT_ARTIFACT_ROOT": root,
                **self.store.environment}  # fmt: skip
        target.write_text("".join(f'{name}="{value}"\n' for name, value in told.items()))
        self.environment = told
        self.told = {"staged": str(self.staged), "absent": [str(self.folder / "proof.json")], "archive": "/a.tar.gz", "wanted": {"start_timeout": 0}}

    @property
    def own(self):
        return f"sqlite:///{self.host.database}"

    def execute(self, statement, *values):
        with closing(sqlite3.connect(self.host.database)) as connection:
            connection.execute(statement, values)
            connection.commit()

    def state(self):
        """What serves: the file, artifacts, settings, units."""
        files = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in [self.host.database, *self.host.artifacts.rglob("*.bin")]}
        paths = [self.env, self.folder / "proof.json"]
        settings = {path.name: (path.read_text(), stat.S_IMODE(path.stat().st_mode)) for path in paths if path.exists()}
        return files, settings, json.loads((self.folder / "units.json").read_text())

    def has_moved(self):
        """The new settings, and what was before untouched."""
        files, settings, units = self.state()
        return files == self.old[0] and list(settings) == ["mlflow.env"] and self.uri in settings["mlflow.env"][0] and units == UNITS

    def schemas(self):
        return set(postgresql.ask(self.uri, "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information)';").split())

    def left(self):
        known = {"mlflow.db", "artifacts", "archives", "etc", "releases", "current", "lock", "restore.lock", "backup.json", "state", "units.json",
                 "serving.json", "proof.json"}  # fmt: skip
        state = self.folder / "state"
        return {path.name for path in self.folder.iterdir()} - known, {path.name for path in state.iterdir()} if state.exists() else set()

    def move(self, now=NOON):
        one = move.Move(self.host.settings)
        assert one.prepare(self.told, now)["due"]
        return one.switch()

    def look(self, revision=""):
        return move.Move(self.host.settings).look({"environment": self.environment, "style": "path", "revision": revision})

    def run(self, *arguments, kill_at=-1, told=None):
        return host_stand_in.run(self.folder, kill_at, *arguments, told=told)


def in_postgresql(uri, table, columns="*"):
    return postgresql.ask(uri, f"SELECT {columns} FROM {table} ORDER BY 1;").split("\n")


@pytest.fixture(name="site")
def fixture_site(host, server, postgres, monkeypatch):
    for name in ("AWS_CONFIG_FILE", "AWS_CA_BUNDLE", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PGHOST", postgres)
    monkeypatch.setattr(database.Postgresql, "told", staticmethod(lambda uri: dict(
        os.environ, PGUSER=Url(uri).username, PGDATABASE=Url(uri).database)))  # fmt: skip
    monkeypatch.setitem(sys.modules, "sqlalchemy", SimpleNamespace(engine=SimpleNamespace(make_url=Url)))
    admin("postgres", "DROP DATABASE IF EXISTS mlflow WITH (FORCE);", "DROP ROLE IF EXISTS mlflow;", "CREATE ROLE mlflow LOGIN;",
          "CREATE DATABASE mlflow OWNER mlflow;")  # fmt: skip
    host_stand_in.stand_in(monkeypatch.setattr, host.folder)
    # Also of those processes that are killed.
    monkeypatch.setattr(host_stand_in, "content", content)
    monkeypatch.setattr(scratch, "content", content)
    monkeypatch.setattr(release, "make_tables", make_tables)
    with s3_stand_in.store() as store:
        yield Site(host, server, store, "postgresql+psycopg2://mlflow@db.example.com/mlflow?x=y")


def test_all_goes_to_the_new_stores(site):
    found = site.look()
    assert found["due"] and found["database"]["rows"]["metrics"] == 3 and found["database"]["to"] == "db.example.com/mlflow"
    assert found["artifacts"] == {"from": str(site.host.artifacts), "to": "s3://registry/m", "files": 1, "bytes": 5000, "there": 0}
    outcome = site.move()
    assert site.has_moved() and site.schemas() == {"public"}
    assert outcome["moved"] and outcome["stays"] == [str(site.host.database), str(site.host.artifacts)] and outcome["kept"] == []
    assert outcome["artifacts"]["locations"] == {"experiments.artifact_location": 2, "runs.artifact_uri": 1, "model_versions.source": 1}
    assert site.store.below("m") == {"1/run/model.bin": b"model" * 1000}
    assert in_postgresql(site.uri, "experiments") == ["0|Default|s3://registry/m/0", "1|one|s3://registry/m/1"]
    assert in_postgresql(site.uri, "runs") == [f"x|1|s3://registry/m/1/x/artifacts|{2**53}", "y|0||"]
    assert in_postgresql(site.uri, "metrics", "value, is_nan") == ["0.30000000000000004|f", "5|f", "1.7976931348623157e+308|t"]
    assert postgresql.ask(site.uri, "SELECT encode(convert_to(a, 'UTF8'), 'hex') FROM tags;") == ODD.encode().hex()
    assert in_postgresql(site.uri, "model_versions", "encode(secret, 'hex'), tools") == ['00ff5c78|{"b" : 1,  "a": [ ]}']
    # A number that was given once is not given again.
    assert postgresql.ask(site.uri, "INSERT INTO experiments (a) VALUES ('next') RETURNING experiment_id;") == "8"
    assert site.left() == (set(), {"outcome.json", "moved.json", "move-rehearsal.json", "uploaded.jsonl"})
    assert "mlflow@" not in "".join(path.read_text() for path in (site.folder / "state").iterdir())


def test_users_of_mlflow_s_own_login_app_go_along(site):
    made = USERS.format(serial="INTEGER PRIMARY KEY").strip().split("\n")
    for statement in (*made, "INSERT INTO users VALUES (1, 'sparkflows', 1), (4, 'ana', 0)", "INSERT INTO alembic_version_auth VALUES ('86')"):
        site.execute(statement)
    assert site.move()["moved"]
    assert in_postgresql(site.uri, "users") == ["1|sparkflows|t", "4|ana|f"]
    assert in_postgresql(site.uri, "alembic_version_auth") == ["86"]
    assert postgresql.ask(site.uri, "INSERT INTO users (username) VALUES ('next') RETURNING id;") == "5"


def test_making_ready_touches_nothing(site):
    one = move.Move(site.host.settings)
    said = one.prepare(site.told, NOON)
    assert said["due"] and said["database"]["rows"]["runs"] == 2 and said["artifacts"]["uploaded"] == 1
    assert site.state() == site.old and site.schemas() == {"public"} and in_postgresql(site.uri, "pg_tables WHERE schemaname = 'public'") == [""]
    assert one.recover() == {"recovered": "discarded"} and site.left() == (set(), {"move-rehearsal.json", "uploaded.jsonl"})
    assert site.look()["artifacts"]["there"] == 1 and site.look()["rehearsal"]["seconds"] >= 0
    site.store.puts.clear()
    site.move()
    assert site.store.puts == []


def test_what_comes_meanwhile_is_taken_along(site):
    one = move.Move(site.host.settings)
    one.prepare(site.told, NOON)
    site.execute("INSERT INTO runs (a) VALUES ('since')")
    (site.host.artifacts / "1/run/since.bin").write_bytes(b"since")
    one.switch()
    assert in_postgresql(site.uri, "runs", "a") == ["since", "x", "y"] and site.store.below("m")["1/run/since.bin"] == b"since"


def test_artifacts_alone(site):
    site.stage(site.own, "s3://registry/m", "s3://registry/m")
    before = site.host.database.read_bytes()
    outcome = site.move()
    kept = site.folder / f"mlflow.db.before-{STAMP}"
    assert outcome["kept"] == [str(kept)] and outcome["stays"] == [str(site.host.artifacts)] and kept.read_bytes() == before
    with closing(sqlite3.connect(site.host.database)) as connection:
        assert connection.execute("SELECT artifact_uri FROM runs").fetchall() == [("s3://registry/m/1/x/artifacts",), (None,)]
        assert connection.execute("SELECT a FROM tags").fetchall() == [(ODD,)]
    assert site.schemas() == {"public"} and site.left()[0] == {kept.name}


def test_an_upgrade_of_before_is_not_undone_any_more(site):
    record = site.folder / "state/upgraded.json"
    record.parent.mkdir(mode=0o700)
    record.write_text("{}")
    one = move.Move(site.host.settings)
    one.prepare(site.told, NOON)
    assert record.exists()
    one.switch()
    assert not record.exists()


def test_the_database_alone(site):
    site.stage(site.uri, str(site.host.artifacts))
    assert site.look()["artifacts"] is None
    outcome = site.move()
    assert outcome["stays"] == [str(site.host.database)] and site.has_moved() and not site.store.puts
    assert in_postgresql(site.uri, "experiments", "artifact_location") == [f"file://{site.host.artifacts}/1", "mlflow-artifacts:/0"]


def test_the_artifacts_later(site):
    """When the database is PostgreSQL already: its tables with the new places are made beside those that serve."""
    site.stage(site.uri, str(site.host.artifacts))
    site.move()
    before = in_postgresql(site.uri, "experiments"), in_postgresql(site.uri, "runs")
    site.stage(site.uri, "s3://registry/m", "s3://registry/m")
    found = site.look(revision=NEWEST)
    assert found["due"] and found["database"] is None and found["artifacts"]["files"] == 1
    outcome = site.move(NOON + 60)
    kept = "mlflow_before_20261127t120100z"
    assert outcome["kept"] == [f"schema {kept} of the database"] and outcome["stays"] == [str(site.host.artifacts)]
    assert outcome["artifacts"]["locations"] == {"experiments.artifact_location": 2, "runs.artifact_uri": 1, "model_versions.source": 1}
    assert site.schemas() == {"public", kept} and (in_postgresql(site.uri, f"{kept}.experiments"), in_postgresql(site.uri, f"{kept}.runs")) == before
    assert in_postgresql(site.uri, "experiments") == ["0|Default|s3://registry/m/0", "1|one|s3://registry/m/1"]
    assert in_postgresql(site.uri, "runs") == [f"x|1|s3://registry/m/1/x/artifacts|{2**53}", "y|0||"]
    assert postgresql.ask(site.uri, "SELECT encode(convert_to(a, 'UTF8'), 'hex') FROM tags;") == ODD.encode().hex()
    assert site.store.below("m") == {"1/run/model.bin": b"model" * 1000} and site.has_moved()


def test_artifacts_that_mlflow_hands_on_stay_with_it(site):
    site.stage(site.uri, "s3://registry/m")
    site.move()
    assert in_postgresql(site.uri, "experiments", "artifact_location") == ["mlflow-artifacts:/0", "mlflow-artifacts:/1"]


def test_where_all_is_there_nothing_is_due(site):
    site.move()
    assert not site.look()["due"] and not move.Move(site.host.settings).prepare(site.told, NOON + 60)["due"]
    assert "state.json" not in site.left()[1]


# What is asked for, and what is said.
REFUSED = {
    "back": (lambda site: (site.env.write_text(site.env.read_text().replace(site.own, site.uri)), site.stage(site.own, str(site.host.artifacts))),
             "MLflow's database is postgresql, and sqlite is asked for"),
    "another": (lambda site: (site.env.write_text(site.env.read_text().replace(site.own, site.uri)),
                              site.stage(site.uri.replace("db.example", "other.example"), str(site.host.artifacts))), "another one of that kind"),
    "file": (lambda site: site.stage("sqlite:////elsewhere.db", str(site.host.artifacts)), "mlops_data_dir"),
    "directory": (lambda site: site.stage(site.own, "/elsewhere"), "only a directory is moved, and only to S3"),
    "schema": (lambda site: site.execute("UPDATE alembic_version SET version_num = ?", OLDER), "run playbooks/upgrade.yml first"),
    "objects": (lambda site: site.store.add("m/x", b"x"), "has objects that are none of MLflow's"),
    "tables": (lambda site: postgresql.ask(site.uri, "CREATE TABLE alembic_version (version_num text);"), "has tables of MLflow already"),
    "right": (lambda site: admin("mlflow", "ALTER DATABASE mlflow OWNER TO admin;"), "GRANT CREATE ON DATABASE mlflow TO mlflow"),
    "room": (lambda site: site.host.settings.update(minimum_free_mb=10**9), "There is not enough room"),
}  # fmt: skip
# Those that only making ready finds.
LATER = ("right", "room")


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_anything_is_changed(site, name):
    arrange, words = REFUSED[name]
    arrange(site)
    before = site.state()
    if name not in LATER:
        with pytest.raises(Problem, match=words):
            site.look(revision="abc" if name == "tables" else "")
    with pytest.raises(Problem, match=words):
        site.move()
    assert site.state() == before and site.left()[1] <= {"uploaded.jsonl"} and site.schemas() == {"public"}


# What is in the database that PostgreSQL does not take.
NOT_TAKEN = {
    "nul": ("INSERT INTO params VALUES ('a' || char(0) || 'b', 'v')", r"params.a has a text with a NUL character.*in the row 'a\\x00b'"),
    "long": ("INSERT INTO params VALUES ('p2', 'more than twenty characters are no')", r"too long for type character varying\(20\)\n.*COPY params"),
    "utf8": ("INSERT INTO tags VALUES (CAST(x'ff' AS TEXT), 'x')", "The table tags has a text that is no UTF-8"),
    "orphan": ("INSERT INTO tags VALUES ('t', 'nobody')", "violates foreign key constraint"),
}


@pytest.mark.parametrize("name", NOT_TAKEN)
def test_what_postgresql_does_not_take_is_named(site, name):
    statement, words = NOT_TAKEN[name]
    site.execute(statement)
    before = site.state()
    with pytest.raises(Problem, match=words):
        site.move()
    assert site.state() == before and site.schemas() == {"public"} and site.left()[1] == {"uploaded.jsonl"}


def test_a_table_that_mlflow_does_not_make(site):
    site.execute("CREATE TABLE mine (a TEXT)")
    site.move()
    assert "mine" not in tables.columns(site.uri, "public")


def test_values_without_a_place(site):
    site.execute("CREATE TABLE mine (a TEXT)")
    site.execute("INSERT INTO mine VALUES ('x')")
    with pytest.raises(Problem, match="The database has values in mine.a, for which MLflow has no column"):
        site.move()


def losing(table):
    def fill(uri, schema, path):
        REAL_FILL(uri, schema, path)
        postgresql.ask(uri, f"UPDATE {schema}.{table} SET a = a || 'x';")

    return fill


def other_schema(uri, with_users=False):
    make_tables(uri, with_users)
    schema = re.search("search_path=([a-z0-9_]+)", uri).group(1)
    postgresql.ask(uri, f"UPDATE {schema}.alembic_version SET version_num = 'ffff';")


def full(*_arguments):
    raise Problem("The bucket is full.")


def nothing(_uri):
    return {"experiments": [], "runs": [], "registered_models": []}


# What fails, how, and at which step that is.
FAILURES = {
    "artifact": (bucket, "copy", full, "The bucket is full", "Copying the artifacts"),
    "rows": (tables, "fill", losing("params"), "1 of 1 rows of params are not as they were", "Comparing the new database"),
    "schema": (release, "make_tables", other_schema, "with the schema ffff there", "Making MLflow's tables"),
    "classes": (scratch, "content", nothing, "MLflow finds in the copy", "Opening the new"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_a_rehearsal_that_fails_changes_nothing(site, monkeypatch, name):
    monkeypatch.setattr(*FAILURES[name][:3])
    with pytest.raises(Problem, match=FAILURES[name][3]):
        site.move()
    assert site.state() == site.old and site.left()[1] <= {"uploaded.jsonl"} and site.schemas() == {"public"}


def is_as_it_was(site):
    empty = in_postgresql(site.uri, "pg_tables WHERE schemaname = 'public'") == [""]
    return site.state() == site.old and site.schemas() == {"public"} and empty


def failed(site, one, words, doing):
    with pytest.raises(Problem, match=words):
        one.switch()
    outcome = json.loads((site.folder / "state/outcome.json").read_text())
    assert outcome["doing"].startswith(doing) and outcome["why"].endswith("What served before is in its place again, and serves."), outcome
    assert outcome["moved"] is False and is_as_it_was(site)
    assert site.left() == (set(), {"outcome.json", "move-rehearsal.json", "uploaded.jsonl"})


@pytest.mark.parametrize("name", [*FAILURES, "stop", "start", "answer", "content"])
def test_a_switch_that_fails_is_put_back(site, monkeypatch, name):
    one = move.Move(site.host.settings)
    one.prepare(site.told, NOON)
    if name in FAILURES:
        monkeypatch.setattr(*FAILURES[name][:3])
        failed(site, one, *FAILURES[name][3:])
    elif name in ("stop", "start"):
        fails_once(monkeypatch, services, name, Problem("It will not."))
        failed(site, one, "It will not", "Stopping" if name == "stop" else "Starting MLflow with what is moved")
    elif name == "answer":
        fails_once(monkeypatch, services.Server, "wait", Problem("It does not answer."))
        failed(site, one, "does not answer", "Starting")
    else:
        fails_once(monkeypatch, services, "prove", Problem("MLflow answers without 1 of 2 runs."))
        failed(site, one, "without 1 of 2 runs", "Asking")


def test_a_new_database_that_is_gone_keeps_nobody_from_going_back(site, monkeypatch):
    """Its tables are put aside by the next run."""
    one = move.Move(site.host.settings)
    one.prepare(site.told, NOON)

    with monkeypatch.context() as only_now:
        def no_route(*_arguments):
            raise Problem("PostgreSQL says: no route to host.")

        def gone(*_arguments):
            for name in ("has_schema", "drop"):
                only_now.setattr(postgresql, name, no_route)
            raise Problem("MLflow does not answer.")

        only_now.setattr(services, "prove", gone)
        with pytest.raises(Problem, match="does not answer"):
            one.switch()
    assert site.state() == site.old and in_postgresql(site.uri, "runs", "a") == ["x", "y"]
    assert site.look(revision=NEWEST)["due"]
    site.move(NOON + 60)
    assert site.has_moved() and site.schemas() == {"public", "mlflow_before_20261127t120100z"}


# Of all effects that a switch has some are enough, and others in the next test: each takes a database of its own.
@pytest.mark.parametrize("first", [0, 3])
def test_a_switch_that_is_killed_before_its_effects(site, first):
    assert site.run("prepare-move", told=site.told)[1] == 0
    pristine = {path: (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) for path in site.folder.rglob("*") if path.is_file()}
    count, status = site.run("switch")
    assert status == 0 and count > 20 and site.has_moved()
    seen = set()
    for number in range(first, count, 6):
        admin("mlflow", "DROP SCHEMA public CASCADE;", "CREATE SCHEMA public;", "ALTER SCHEMA public OWNER TO mlflow;")
        for path in [path for path in site.folder.rglob("*") if path.is_file()]:
            path.unlink()
        for path, (data, mode) in pristine.items():
            path.write_bytes(data)
            path.chmod(mode)
        assert site.run("switch", kill_at=number) == (-1, -9)
        assert site.state()[0] == site.old[0]
        for again in (0, 2):
            site.run("recover", kill_at=again)
        assert site.run("recover")[1] == 0
        done = (site.folder / "state/moved.json").exists()
        seen.add(done)
        assert site.has_moved() if done else is_as_it_was(site), number
        assert "state.json" not in site.left()[1] and not [name for name in site.left()[1] if name.startswith("moving")]
    assert False in seen


def test_after_a_kill_the_next_run_moves(site):
    assert site.run("prepare-move", told=site.told)[1] == 0
    assert site.run("switch", kill_at=15) == (-1, -9)
    assert site.run("prepare-move", told=site.told)[1] == 0 and site.run("switch")[1] == 0
    assert site.has_moved()
    assert {"state.json", "content.json"}.isdisjoint(site.left()[1])


def test_a_move_that_is_killed_while_it_is_made_ready(site):
    count, _status = site.run("prepare-move", told=site.told)
    for number in range(0, count, 6):
        site.run("recover")
        assert site.run("prepare-move", told=site.told, kill_at=number) == (-1, -9)
        assert site.state() == site.old
    assert site.run("recover")[1] == 0 and is_as_it_was(site)
