"""A host whose MLflow has its tables in a real PostgreSQL goes to another release with all that it has, or all is as it was; and back again."""

import json
import re
from pathlib import Path

import host_stand_in
import pytest
from host_stand_in import NEWEST, OLDER, fails_once
from mlflow_backup import create, database, entries, postgresql, release, rows, scratch, services, switch, upgrade
from mlflow_backup.problems import Problem
from real_postgresql import admin, schemas, somebody_connected
from upgrade_site import NEW, NOON, OLD, UNITS, Site, each_kill, killed_while_it_takes_from_the_archive

BEFORE = "mlflow_before_20261127t120000z"
# What every MLflow has, and what the tables of the tests have not.
MORE = """
ALTER TABLE experiments ADD note text;
CREATE TABLE params_of_runs (key varchar(250) NOT NULL, value double precision, run text NOT NULL, about json, PRIMARY KEY (key, run));
INSERT INTO params_of_runs VALUES ('a', 'NaN', 'two', '{"b": [1, 2]}'), ('b', 1e308, 'two', NULL), ('b', -0.0, 'one', 'null');
CREATE TABLE "a ""table" ("the key" text PRIMARY KEY, "a value" bytea);
INSERT INTO "a ""table" VALUES ('k', '\\x00ff');
"""


class SchemaSite(Site):
    """MLflow's server is left out: it would have to read PostgreSQL."""

    EFFECTS = 3
    changes = staticmethod(host_stand_in.changes_of_schemas)

    def __init__(self, host, uri):
        self.uri = uri
        env = host.folder / "etc/mlflow.env"
        env.write_text(re.sub('sqlite:[^"]*', uri, env.read_text()))
        super().__init__(host, "http://127.0.0.1")

    def execute(self, statement, *values):
        postgresql.ask(self.uri, statement.replace("?", "'{}'").format(*values) + ";")

    def rows(self, path=None):
        schema, found = path or "public", {}
        tables = postgresql.ask(self.uri, f"SELECT quote_ident(relname) FROM pg_class WHERE relnamespace = '{schema}'::regnamespace "
                                          "AND relkind = 'r' AND relowner = 'mlflow'::regrole ORDER BY 1;").splitlines()  # fmt: skip
        script = "".join(f"SELECT json_build_array('{table}', t::text) FROM {schema}.{table} t;" for table in tables)
        for table, row in map(json.loads, postgresql.ask(self.uri, script).splitlines()):
            found.setdefault(table, []).append(row)
        return {table: sorted(found.get(table, [])) for table in tables}

    def forget(self):
        postgresql.drop(self.uri, BEFORE)

    def again(self, pristine):
        # Of the hosts' own databases PostgreSQL makes a copy in a moment.
        admin("postgres", "DROP DATABASE mlflow WITH (FORCE);", f'CREATE DATABASE mlflow OWNER mlflow TEMPLATE "{pristine.name}";')
        super().again(pristine)

    def pristine(self, name):
        path = super().pristine(name)
        admin("postgres", f'DROP DATABASE IF EXISTS "{path.name}";', f'CREATE DATABASE "{path.name}" TEMPLATE mlflow;')
        return path


@pytest.fixture(name="answers")
def fixture_answers(monkeypatch):
    """What MLflow's server is found to be."""
    problems = {}

    def wait(_server, _timeout):
        if "wait" in problems:
            raise Problem(problems.pop("wait"))

    def prove(_server, wanted, _samples):
        assert sorted(wanted) == ["experiments", "registered_models", "runs"]
        if "prove" in problems:
            raise Problem(problems.pop("prove"))

    monkeypatch.setattr(services.Server, "wait", wait)
    monkeypatch.setattr(services, "prove", prove)
    return problems


@pytest.fixture(name="site")
def fixture_site(host, uri, answers, monkeypatch):
    host_stand_in.stand_in(monkeypatch.setattr, host.folder)
    postgresql.ask(uri, MORE)
    return SchemaSite(host, uri)


def is_new(site, state):
    expected = {**site.old[0], "alembic_version": [f"({NEWEST})"], "runs": [row[:-1] + ",default)" for row in site.old[0]["runs"]],
                "workspaces": ['(default,"{""a"": 1}")']}  # fmt: skip
    return state[0] == expected and state[1]["current"].endswith(NEW) and state[3] == UNITS


def test_the_new_release_serves_all_that_there_was(site):
    outcome = site.upgrade()
    assert is_new(site, site.state())
    assert outcome["upgraded"] and (outcome["from"], outcome["to"]) == (OLD, NEW) and outcome["schema"] == {"from": OLDER, "to": NEWEST}
    assert outcome["kept"] == [f"schema {BEFORE} of the database"] and site.rows(BEFORE) == site.old[0]
    assert schemas(site.uri) == {"public", BEFORE} and site.left() == (set(), {"outcome.json", "upgraded.json", "rehearsal.json"})
    # The tables that serve are the login's own, with keys that go on.
    assert postgresql.ask(site.uri, "INSERT INTO experiments (a) VALUES ('next') RETURNING experiment_id;") == "3"
    # No secret of the login is in what is written down.
    assert "@db" not in "".join(path.read_text() for path in (site.folder / "state").iterdir())


def test_making_ready_touches_nothing(site):
    said = upgrade.Upgrade(site.host.settings).prepare(site.told, NOON)
    assert said["due"] and said["rehearsed"] >= 0
    assert site.state() == site.old and schemas(site.uri) == {"public"}


def losing(uri):
    host_stand_in.upgrade(uri)
    schema = re.search("search_path=([a-z0-9_]+)", uri).group(1)
    postgresql.ask(uri, f"UPDATE {schema}.params_of_runs SET value = 1 WHERE value = 'NaN';")


def without(uri):
    host_stand_in.upgrade(uri)
    schema = re.search("search_path=([a-z0-9_]+)", uri).group(1)
    postgresql.ask(uri, f"ALTER TABLE {schema}.experiments DROP note;")


FAILURES = {
    "none": (release, "upgrade", lambda uri: None, f"The copy has the schema {OLDER} after that", "Upgrading"),
    "losing": (release, "upgrade", losing, "1 of 3 rows of params_of_runs are not as they were", "Comparing"),
    "classes": (scratch, "content", lambda uri: {"experiments": [], "runs": [], "registered_models": []}, "MLflow finds in the copy", "Opening"),
    "dump": (postgresql, "load", lambda uri, dump, schema: postgresql.ask(uri, "SELECT nonsense;"), "nonsense", "Copying"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_what_fails_leaves_all_as_it_was(site, monkeypatch, name):
    where, what, instead, words, doing = FAILURES[name]
    one = upgrade.Upgrade(site.host.settings)
    with monkeypatch.context() as patch, pytest.raises(Problem, match=words):
        patch.setattr(where, what, instead)
        one.prepare(site.told, NOON)
    assert site.state() == site.old and schemas(site.uri) == {"public"} and site.left() == (set(), set())
    one.prepare(site.told, NOON)
    monkeypatch.setattr(where, what, instead)
    with pytest.raises(Problem, match=words):
        one.switch()
    assert site.outcome()["doing"].startswith(doing) and site.outcome()["upgraded"] is False
    assert site.state() == site.old and schemas(site.uri) == {"public"}


@pytest.mark.parametrize("name", ["wait", "prove", "start"])
def test_a_new_release_that_does_not_serve(site, answers, monkeypatch, name):
    one = upgrade.Upgrade(site.host.settings)
    one.prepare(site.told, NOON)
    if name == "start":
        fails_once(monkeypatch, services, "start", Problem("It will not."))
    else:
        answers[name] = "It will not."
    with pytest.raises(Problem, match="It will not"):
        one.switch()
    assert site.outcome()["why"] == "It will not. What served before is in its place again, and serves."
    assert site.state() == site.old and schemas(site.uri) == {"public"}


def test_who_is_still_connected_is_named_before_anything_is_copied(site, monkeypatch):
    one = upgrade.Upgrade(site.host.settings)
    one.prepare(site.told, NOON)
    monkeypatch.setattr(postgresql.time, "sleep", lambda seconds: None)
    with somebody_connected(), pytest.raises(Problem, match="Somebody is still connected to MLflow's database, from this host"):
        one.switch()
    assert site.outcome()["doing"] == "Copying the database" and site.state() == site.old


def test_a_column_that_had_values_and_is_gone_is_named(site, monkeypatch):
    site.execute("UPDATE experiments SET note = 'n'")
    monkeypatch.setattr(release, "upgrade", without)
    assert site.upgrade()["notes"] == ["The new schema has no experiments.note"]


def test_where_no_schema_may_be_made_that_is_said(site):
    admin("mlflow", "ALTER DATABASE mlflow OWNER TO admin;")
    with pytest.raises(Problem, match=r"the account mlflow may not make a schema there \(GRANT CREATE ON DATABASE mlflow TO mlflow\)"):
        site.upgrade()
    assert site.state() == site.old


def test_a_database_without_tables_of_mlflow(site):
    site.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with pytest.raises(Problem, match="There are no tables of MLflow in its database yet"):
        site.upgrade()


def test_rolled_back_with_what_was_logged_since_in_a_file(site):
    site.upgrade()
    site.execute("INSERT INTO runs VALUES ('logged\n since', 1, 'default'); UPDATE params_of_runs SET value = 'Infinity' WHERE key = 'a'; "
                 "DELETE FROM tags; INSERT INTO workspaces VALUES ('w', NULL); INSERT INTO \"a \"\"table\" VALUES ('l', '\\x00ff')")  # fmt: skip
    used = site.rows()
    outcome = site.roll_back()
    assert site.state() == site.old and (outcome["from"], outcome["to"]) == (NEW, OLD)
    assert outcome["since"] == {"rows": {"runs": 1, "params_of_runs": 1, "workspaces": 2, 'a "table': 1}, "gone": {"tags": 1, "params_of_runs": 1}}
    header, *lines = (json.loads(line) for line in Path(outcome["file"]).read_text(encoding="utf-8").splitlines())
    assert header["rows"] == outcome["since"]["rows"] and header["schema"] == NEWEST
    assert lines == [
        {"table": "runs", "row": {"a": "logged\n since", "experiment_id": 1, "workspace": "default"}},
        {"table": 'a "table', "row": {"the key": "l", "a value": "\\x00ff"}},
        {"table": "params_of_runs", "row": {"key": "a", "value": "Infinity", "run": "two", "about": {"b": [1, 2]}}},
        {"table": "workspaces", "row": {"name": "default", "about": {"a": 1}}}, {"table": "workspaces", "row": {"name": "w", "about": None}},
    ]  # fmt: skip
    # Both that served are kept: the one from before the upgrade, and the one with what was logged since.
    assert schemas(site.uri) == {"public", BEFORE, "mlflow_before_20261127t120100z"}
    assert site.rows("mlflow_before_20261127t120100z") == used
    with pytest.raises(Problem, match="There is no upgrade of this host that could be rolled back"):
        site.roll_back()


def test_a_schema_whose_name_is_quoted(site):
    site.execute('ALTER SCHEMA public RENAME TO "My Own"; ALTER ROLE mlflow SET search_path = "My Own"')
    before = site.rows('"My Own"')
    assert site.upgrade()["upgraded"] and site.rows('"My Own"')["alembic_version"] == [f"({NEWEST})"]
    assert site.roll_back()["rolled_back"] and site.rows('"My Own"') == before


def test_a_rollback_takes_from_the_archive_what_was_not_kept(site):
    site.lose_what_was_kept()
    outcome = site.roll_back()
    assert site.state() == site.old and site.rows(BEFORE) == site.old[0]
    assert outcome["notes"] == [f"The database from before the upgrade, {BEFORE}, is not there any more, so it was taken from "
                                f"{site.told['archive']}, and what was logged between that and the upgrade counts as logged since"]  # fmt: skip
    _header, *lines = (json.loads(line) for line in Path(outcome["file"]).read_text(encoding="utf-8").splitlines())
    assert sorted(line["row"]["a"] for line in lines) == ["between", "since"]
    assert schemas(site.uri) == {"public", BEFORE, "mlflow_before_20261127t120100z"}


def test_an_archive_from_after_the_upgrade(site):
    site.lose_what_was_kept()
    used = site.state()
    Path(create.create(site.host.settings, NOON + 30)["archive"]).rename(site.told["archive"])
    with pytest.raises(Problem, match=f"is no archive from before the upgrade: its database has the schema {NEWEST} instead of {OLDER}"):
        site.roll_back()
    assert site.state() == used and schemas(site.uri) == {"public"} and site.left()[1] == {"upgraded.json", "rehearsal.json"}


def test_what_it_takes_is_loaded_before_links_go_back(site, monkeypatch):
    """Whoever recovers was started by way of the link to the new release, in whose packages the old one is not looked for."""
    one, calls = upgrade.Upgrade(site.host.settings), []
    one.prepare(site.told, NOON)
    with monkeypatch.context() as patch, pytest.raises(Problem):
        patch.setattr(upgrade.Upgrade, "put_back", lambda self, state, why, start=True: None)
        fails_once(patch, services, "start", Problem("It will not."))
        one.switch()
    told, revert = database.Postgresql.told, entries.Entries.revert

    def noted_told(uri):
        calls.append("told")
        return told(uri)

    def noted_revert(place):
        calls.append("revert")
        revert(place)

    monkeypatch.setattr(database.Postgresql, "told", staticmethod(noted_told))
    monkeypatch.setattr(entries.Entries, "revert", noted_revert)
    assert switch.Switch(site.host.settings).recover() == {"recovered": "put back"}
    assert calls.index("told") < calls.index("revert") and site.state() == site.old


def ends_well(site, kind, told, begin, end, is_end):
    """Wherever it is killed while it changes the database, all is as it was or as it has to be, and a run after it finishes. What changes files is
    for the tests with SQLite."""
    seen = set()
    for number in each_kill(site, kind, told):
        assert site.run("recover")[1] == 0
        done = is_end(site.state())
        seen.add(done)
        assert done or site.state() == begin, number
        assert schemas(site.uri) == end(done), number
        if not done:
            assert site.run("prepare-" + kind, told=told)[1] == 0 and site.run("switch")[1] == 0
            assert is_end(site.state()), number
    assert seen == {True, False}


def test_an_upgrade_that_is_killed_before_each_effect(site):
    # The time is in the name of what is kept.
    ends_well(site, "upgrade", site.told, site.old, lambda done: {"public", *kept(site, done)}, lambda state: is_new(site, state))


def test_a_rollback_that_is_killed_while_it_takes_the_database_from_the_archive(site):
    for number in killed_while_it_takes_from_the_archive(site):
        assert schemas(site.uri) == {"public", BEFORE, *kept(site, True)}, number


def test_a_rollback_that_is_killed_before_each_effect(site):
    site.upgrade()
    site.log_one("since")
    used = site.state()
    ends_well(site, "rollback", {"wanted": {"start_timeout": 0}}, used, lambda done: {"public", BEFORE, *kept(site, done)},
              lambda state: state == site.old)  # fmt: skip


def kept(site, done):
    return {name for name in schemas(site.uri) if name.startswith("mlflow_before_")} if done else set()


def test_rows_are_found_by_their_key(site):
    """Each compared with each would take days where there are many."""
    postgresql.ask(site.uri, "CREATE SCHEMA s; CREATE TABLE s.alembic_version (a text); CREATE TABLE s.params_of_runs (LIKE public.params_of_runs);")
    both = rows.Schemas(site.uri, "public", "s")
    plan = postgresql.ask(site.uri, f"SET enable_seqscan = off; EXPLAIN SELECT 1 {both.without('params_of_runs', 'old', 'new')};")
    assert re.search("Hash|Merge|Index", plan) and "key" in plan
