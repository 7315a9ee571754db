"""Copies of MLflow's database beside the one that serves, for an upgrade and a rollback: made, upgraded, opened by MLflow, compared.

Each is named by where it is: the path of a file, or the schema of PostgreSQL.
"""

import os
import sqlite3
from contextlib import ExitStack, closing, contextmanager

from . import archive, database, judge, locations, postgresql, release, rows, scratch
from .account import acting_as, beside
from .disk import sync_folder
from .places import make_staged, place_of, remove, staged_folder
from .problems import Problem


def refuse(problems):
    found = " ".join(problems)
    if found:
        raise Problem(found[0].upper() + found[1:])


class Copies:
    """What both kinds have: live is where the database is that serves, kind that of its place (places.py), uri_of(where) what MLflow is told."""

    kind = ""

    def __init__(self, settings, instance, account):
        self.settings, self.instance, self.account = settings, instance, account
        self.live = self.find()

    def part(self, now):
        """Of the journal."""
        return {"kind": self.kind, "live": self.live, "staged": self.staged, "before": self.before(now), "had": True}

    def bring_back(self, path, where, revision):
        """The database of an archive, which must have this revision, is there then as if it had been kept."""
        try:
            manifest = self.unpack(path)
            found = manifest["database"]
            if found["revision"] != revision:
                raise Problem(f"{path} is no archive from before the upgrade: its database has the schema {found['revision']} instead of {revision}.")
            self.keep(manifest, where)
        finally:
            self.tidy()

    def tidy(self):
        place_of(self.part(""), self.account, self.instance).discard()

    def upgrade(self, where):
        with self.as_account():
            release.upgrade(self.uri_of(where))

    def content(self, where):
        """What the MLflow of this Python finds there, as many as there are."""
        with self.as_account():
            found = scratch.content(self.uri_of(where))
        scratch.compare_counts(self.count(where), found)
        return found


class FileCopies(Copies):
    """They are of MLflow's account, for it is that which opens them."""

    kind = "sqlite"

    def find(self):
        path = database.Sqlite.path(self.instance.database_uri)
        refuse(judge.link_problems("the database", path, "mlflow_server_backend_store_uri"))
        database.Sqlite.size(self.instance.database_uri)
        return path

    @property
    def staged(self):
        return os.path.join(staged_folder(self.kind, self.live), os.path.basename(self.live))

    def before(self, now):
        return f"{self.live}.before-{now}"

    def as_account(self):
        return acting_as(self.account)

    @staticmethod
    def uri_of(where):
        return "sqlite:///" + where

    def check_room(self, number):
        refuse(judge.room_problem(os.path.dirname(self.live), number * os.path.getsize(self.live), self.settings["minimum_free_mb"]))

    @staticmethod
    def is_there(where):
        return os.path.lexists(where)

    def still(self):
        """Who has the file open was stopped."""

    def revision(self, where):
        with self.as_account():
            return database.Sqlite.revision(where)

    def count(self, where):
        with self.as_account():
            return database.Sqlite.count(where)[1]

    def copy(self, source, where):
        with self.as_account():
            database.Sqlite.copy(self.uri_of(source), where)
            os.chmod(where, 0o640)

    def stage(self, source):
        make_staged(self.kind, self.live, self.account)
        self.copy(source, self.staged)

    def unpack(self, path):
        make_staged(self.kind, self.live, self.account)
        return archive.read(path, {database.Sqlite.member: self.staged}.get, self.as_account)

    def keep(self, manifest, where):
        with self.as_account():
            scratch.take(manifest, self.staged)
        with beside(self.live, self.account):
            os.rename(self.staged, where)
            sync_folder(os.path.dirname(where))

    def stage_twice(self):
        """One copy of what serves, and one of that. Where the first is."""
        self.stage(self.live)
        original = self.staged + ".original"
        with self.as_account():
            os.rename(self.staged, original)
        self.copy(original, self.staged)
        return original

    def relocate(self, where, changes):
        """Artifacts are elsewhere (locations.py). How many of which column were changed."""
        with self.as_account(), closing(sqlite3.connect(where)) as connection:
            return locations.rewrite(connection, changes)

    @contextmanager
    def side_by_side(self, old, new):
        with ExitStack() as stack:
            # It is for that account to open them; what is read is root's to write down.
            with self.as_account():
                both = stack.enter_context(rows.files(old, new))
            yield both


class SchemaCopies(Copies):
    """They are schemas beside MLflow's, in the same database."""

    kind = "schema"

    def __init__(self, settings, instance, account, dump):
        """dump: path for what is dumped and loaded. It is root's."""
        self.uri, self.dump = instance.database_uri, dump
        super().__init__(settings, instance, account)

    def find(self):
        why = postgresql.may_load(self.uri)
        if why:
            raise Problem(f"A copy of the database is made beside it first, and {why}.")
        live = postgresql.live_schema(self.uri)
        if not postgresql.has_tables(self.uri, live):
            raise Problem("There are no tables of MLflow in its database yet: start MLflow first.")
        return live

    @property
    def staged(self):
        return postgresql.scratch_schema(self.settings["host"])

    def before(self, now):
        return f"mlflow_before_{now.lower()}"

    def as_account(self):
        """The login says who it is."""
        return acting_as((0, 0))

    def uri_of(self, where):
        return postgresql.uri_of(self.uri, where)

    def check_room(self, _number):
        """For the dump. What the server has is not to be seen from here."""
        refuse(judge.room_problem(os.path.dirname(self.dump), database.Postgresql.size(self.uri), self.settings["minimum_free_mb"]))

    def is_there(self, where):
        return postgresql.has_schema(self.uri, where)

    def still(self):
        postgresql.check_alone(self.uri)

    def revision(self, where):
        return postgresql.revision(self.uri, where)

    def count(self, where):
        return postgresql.count(self.uri, where)[1]

    def load(self, source, *targets):
        try:
            database.Postgresql.copy(self.uri, self.dump, source)
            for schema in targets:
                postgresql.load(self.uri, self.dump, schema)
        finally:
            remove(self.dump)

    def stage(self, source):
        self.load(source, self.staged)

    def unpack(self, path):
        return archive.read(path, {database.Postgresql.member: self.dump}.get)

    def keep(self, manifest, where):
        scratch.load(manifest, self.dump, self.uri, self.staged)
        postgresql.rename(self.uri, self.staged, where)

    def tidy(self):
        super().tidy()
        remove(self.dump)

    def stage_twice(self):
        """From one dump, so that both have the same. Where the one is that stays as it was."""
        original = postgresql.beside(self.staged)
        self.load(self.live, original, self.staged)
        return original

    def relocate(self, where, changes):
        here = rows.Schemas(self.uri, where, where)
        columns = {table: here.columns("new", table) for table in here.tables["new"]}
        asked = list(locations.statements(columns, changes, where))
        script = "".join(f"WITH changed AS ({statement} RETURNING 1) SELECT count(*) FROM changed;\n" for _table, _column, statement in asked)
        return locations.changed(asked, map(int, postgresql.ask(self.uri, script, transaction=True).split()))

    @contextmanager
    def side_by_side(self, old, new):
        yield rows.Schemas(self.uri, old, new)


def of(settings, instance, account, journal):
    if database.kind_of(instance.database_uri) is database.Sqlite:
        return FileCopies(settings, instance, account)
    return SchemaCopies(settings, instance, account, journal.path(os.path.basename(database.Postgresql.member)))
