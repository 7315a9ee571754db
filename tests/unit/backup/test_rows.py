"""Rows of two databases with different schemas, compared."""

import json
import sqlite3
from contextlib import closing

import pytest
from mlflow_backup import rows

OLD = """
CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name TEXT, note TEXT);
CREATE TABLE runs (run_uuid TEXT PRIMARY KEY, experiment_id INTEGER);
CREATE TABLE metrics (key TEXT, value FLOAT, run_uuid TEXT, PRIMARY KEY (key, run_uuid));
CREATE TABLE "a ""table" ("the key" TEXT PRIMARY KEY, "a value" BLOB);
CREATE TABLE jobs (id TEXT);
CREATE TABLE alembic_version (version_num TEXT);
INSERT INTO experiments VALUES (0, 'Default', NULL), (1, 'ä', NULL);
INSERT INTO runs VALUES ('r1', 0), ('r2', NULL);
INSERT INTO metrics VALUES ('m', 0.1, 'r1'), ('m', 1e308, 'r2');
INSERT INTO "a ""table" VALUES ('k', x'00ff');
INSERT INTO jobs VALUES ('of a process');
INSERT INTO alembic_version VALUES ('older');
"""
# As an upgrade of the schema leaves it.
MIGRATED = """
ALTER TABLE runs ADD COLUMN workspace TEXT DEFAULT 'default' NOT NULL;
ALTER TABLE experiments DROP COLUMN note;
CREATE TABLE workspaces (name TEXT PRIMARY KEY);
INSERT INTO workspaces VALUES ('default');
DELETE FROM jobs;
UPDATE alembic_version SET version_num = 'newer';
"""


@pytest.fixture(name="made")
def fixture_made(tmp_path):
    # As in a path that SQLite could take for a part of an address.
    folder = tmp_path / "a folder?mode=x#"
    folder.mkdir()
    paths = {}

    def made(name, script):
        paths[name] = str(folder / name)
        with closing(sqlite3.connect(paths[name])) as connection:
            connection.executescript(script)
        return paths[name]

    return made


def test_an_upgrade_that_keeps_all(made):
    with rows.files(made("old", OLD), made("new", OLD + MIGRATED)) as both:
        assert list(rows.lost(both)) == [] and list(rows.gone_columns(both)) == []
        assert rows.seeded(both) == {"workspaces": 1}
        assert (both.revision("old"), both.revision("new")) == ("older", "newer")
        assert rows.since(both, {"workspaces": 1}) == {"rows": {}, "gone": {}}


@pytest.mark.parametrize(("change", "words"), [
    ("UPDATE metrics SET value = 0.10000000000000002 WHERE run_uuid = 'r1'", "1 of 2 rows of metrics are not as they were"),
    ("UPDATE runs SET experiment_id = 0 WHERE run_uuid = 'r2'", "1 of 2 rows of runs are not as they were"),
    ("DELETE FROM metrics", "2 of 2 rows of metrics are not as they were"),
    ("DROP TABLE runs", "the table runs is gone, which had 2 rows"),
    ('UPDATE "a ""table" SET "a value" = x\'00\'', '1 of 1 rows of a "table are not as they were'),
    ("DROP TABLE metrics; CREATE TABLE metrics (key TEXT)", "2 of 2 rows of metrics are not as they were"),
])  # fmt: skip
def test_what_an_upgrade_loses(made, change, words):
    with rows.files(made("old", OLD), made("new", OLD + MIGRATED + change)) as both:
        assert list(rows.lost(both)) == [words]


def test_rows_that_were_there_twice(made):
    twice = "CREATE TABLE twice (a TEXT); INSERT INTO twice VALUES ('x'), ('x');"
    with rows.files(made("old", OLD + twice), made("new", OLD + twice + "DELETE FROM twice WHERE rowid = 1")) as both:
        assert list(rows.lost(both)) == ["twice has 1 rows instead of 2"]


def test_columns_that_had_values_and_are_gone(made):
    with rows.files(made("old", OLD + "UPDATE experiments SET note = 'n'"), made("new", OLD + MIGRATED)) as both:
        assert list(rows.lost(both)) == [] and list(rows.gone_columns(both)) == ["experiments.note"]


def test_nothing_is_written_to_what_is_compared(made):
    with rows.files(made("old", OLD), made("new", OLD)) as both, pytest.raises(sqlite3.OperationalError, match="readonly"):
        both.connection.execute("DELETE FROM old.runs")


def test_what_was_logged_since_is_saved(made, tmp_path):
    since = """INSERT INTO metrics VALUES ('n', 0.25, 'r3'); INSERT INTO runs (run_uuid, experiment_id) VALUES ('r3', 1);
               UPDATE experiments SET name = 'changed' WHERE experiment_id = 1; INSERT INTO workspaces VALUES ('w');
               INSERT INTO "a ""table" VALUES ('l', x'00ff'); DELETE FROM metrics WHERE run_uuid = 'r1'"""
    path = tmp_path / "since.jsonl"
    with rows.files(made("old", OLD), made("new", OLD + MIGRATED + since)) as both:
        since = rows.since(both, {"workspaces": 1})
        rows.save(both, str(path), {"schema": "newer", **since})
    found = [json.loads(line) for line in path.read_text().splitlines()]
    # What others refer to comes first; of a table that the old one has not got, all.
    assert found == [
        {"form": 1, "schema": "newer", "rows": since["rows"], "gone": {"experiments": 1, "metrics": 1}},
        {"table": "experiments", "row": {"experiment_id": 1, "name": "changed"}},
        {"table": "runs", "row": {"run_uuid": "r3", "experiment_id": 1, "workspace": "default"}},
        {"table": "metrics", "row": {"key": "n", "value": 0.25, "run_uuid": "r3"}},
        {"table": 'a "table', "row": {"the key": "l", "a value": {"base64": "AP8="}}},
        {"table": "workspaces", "row": {"name": "default"}}, {"table": "workspaces", "row": {"name": "w"}},
    ]  # fmt: skip
    assert since["rows"] == {"experiments": 1, "runs": 1, "metrics": 1, 'a "table': 1, "workspaces": 2}
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["since.jsonl"]
