"""Going to other stores: a SQLite file to PostgreSQL, a directory of artifacts to a bucket, with the locations of artifacts in the database.

prepare copies all of it while MLflow serves, and compares. The switch does the same once more with what has changed since, when nobody writes. The
file and the directory that served are only read, and MLflow goes back to them by its settings.
"""

import os
import sqlite3
import time
from contextlib import closing

from . import artifacts, bucket, copies, database, entries, judge, locations, postgresql, release, rows, scratch, tables
from .places import Emptied
from .problems import Problem
from .settings import Stores, read_environment
from .switch import CONTENT, OUTCOME, stamp, tell
from .upgrade import UPGRADED, Migration

MOVED, REHEARSAL, UPLOADED = "moved.json", "move-rehearsal.json", "uploaded.jsonl"
COPY, READ_BACK = "moving.db", "moving-read-back.db"


def kind_of(place):
    return "directory" if artifacts.is_directory(place) else place.split(":", 1)[0]


def address(uri):
    """Of a database, without the login."""
    return uri.rpartition("@")[2].partition("?")[0]


class Move(Migration):
    kind, playbook = "move", "move_store"

    def unsupported(self, here, there):
        """What of the change nobody does here."""
        was, wanted = (one.database_uri.split(":", 1)[0].split("+", 1)[0] for one in (here, there))
        if (was, wanted) not in (("sqlite", "postgresql"), (wanted, was)):
            yield (f"MLflow's database is {was}, and {wanted} is asked for: only SQLite is moved, and only to PostgreSQL. Set mlops_database_host to "
                   "what it was.")
        elif was == wanted and address(here.database_uri) != address(there.database_uri):
            how = "set mlflow_server_backend_store_uri and mlops_data_dir to what they were"
            if was != "sqlite":
                how = "set mlops_database_host, mlops_database_port and mlops_database_name to what they were, or move it with pg_dump and pg_restore"
            yield f"MLflow's database is {was}, and another one of that kind is asked for, which is not moved by this: {how}."
        was, wanted = kind_of(here.artifacts), kind_of(there.artifacts)
        if here.artifacts.rstrip("/") != there.artifacts.rstrip("/") and (was, wanted) != ("directory", "s3"):
            yield (f"MLflow's artifacts are in {here.artifacts}, and {there.artifacts} is asked for: only a directory is moved, and only to S3. Set "
                   "mlops_s3_bucket, mlops_s3_prefix and mlflow_server_artifacts_destination to what they were.")

    def wanted(self, there):
        """(whether the database is moved, whether the artifacts are)."""
        here = self.instance
        copies.refuse(self.unsupported(here, there))
        database_moves = here.database_uri.startswith("sqlite") and not there.database_uri.startswith("sqlite")
        return database_moves, artifacts.is_directory(here.artifacts) and not artifacts.is_directory(there.artifacts)

    def look(self, told):
        """What would be moved, and what is in the way. told: environment (of an MLflow with the new stores), style (of addresses of S3), revision (of
        a schema that is in the new database)."""
        there = Stores({name: str(value) for name, value in told["environment"].items()})
        database_moves, artifacts_move = self.wanted(there)
        found = {"due": database_moves or artifacts_move, "database": None, "artifacts": None, "rehearsal": self.journal.read(REHEARSAL)}
        if database_moves:
            base = self.copies()
            about = {"from": base.live, "to": address(there.database_uri)}
            found["database"] = {**about, "bytes": os.path.getsize(base.live), "rows": tables.counts(base.live)}
            self.check_schema(base)
            if told["revision"] and not self.is_of_us(there.database_uri):
                raise Problem(self.not_empty(there))
        if artifacts_move:
            found["artifacts"] = self.look_at_bucket(there, told["style"])
        return found

    def look_at_bucket(self, there, style=""):
        target = bucket.Bucket(there.environment, there.artifacts, style)
        found = bucket.look(target, self.uploaded(there), self.instance.artifacts)
        if found["strange"]:
            raise Problem(bucket.strange_problem(target, found["strange"]))
        return {"from": self.instance.artifacts, "to": there.artifacts, **{key: found[key] for key in ("files", "bytes", "there")}}

    def uploaded(self, there):
        """By moves that were not proven. Once one was, all that is there is MLflow's."""
        moved = (self.journal.read(MOVED) or {}).get("artifacts") or {}
        return bucket.Uploaded(self.journal.path(UPLOADED), f"{there.environment.get('MLFLOW_S3_ENDPOINT_URL', '')} {there.artifacts}",
                               over=moved.get("to") == there.artifacts)  # fmt: skip

    @staticmethod
    def not_empty(there):
        return (f"The database {address(there.database_uri)} has tables of MLflow already, and nothing is put among them: set mlops_database_host "
                "and mlops_database_name to an empty one, or have its administrator drop them.")

    @staticmethod
    def check_schema(base):
        revision, (newest, _known) = base.revision(base.live), release.schemas()
        if revision != newest:
            raise Problem(f"The database has the schema {revision}, and that of MLflow {release.version()}, which is live, is {newest}: run "
                          "playbooks/upgrade.yml first.")

    def is_of_us(self, uri):
        """Whether the tables that are there were left by a move that could not clear up: then the schema that it has emptied is there, too."""
        try:
            return postgresql.is_empty_schema(uri, postgresql.scratch_schema(self.settings["host"]))
        except Problem:
            # Without psql there was none.
            return False

    def prepare(self, told, now=None):
        """told: staged (a folder with files below their paths, settings for the new stores among them), absent, archive, wanted."""
        self.recover()
        self.journal.remove(OUTCOME)
        settings = os.path.join(told["staged"] + self.settings["config_dir"], "mlflow.env")
        there = Stores(read_environment(settings))
        database_moves, artifacts_move = self.wanted(there)
        about = {"archive": told["archive"], "database": None, "artifacts": None, "rehearsed": None, "stays": []}
        if not (database_moves or artifacts_move):
            return {**about, "due": False}
        if self.uploaded(there).over:
            self.journal.remove(UPLOADED)
        # An upgrade of before is not undone any more: that would bring back the former stores, too.
        absent = [*told["absent"], self.journal.path(UPGRADED)]
        changed = entries.part({**dict(entries.staged(told["staged"])), **dict.fromkeys(absent)})
        parts = [self.database_part(there, database_moves, now), changed]
        state = self.begin(now, {"keep_previous": True, **told["wanted"]}, parts, about, record=MOVED, target=there.environment,
                           moves={"database": database_moves, "artifacts": artifacts_move})  # fmt: skip
        with self.made_ready(state):
            begin = time.monotonic()
            self.carry(state, "Rehearsal: ")
            about["rehearsed"] = round(time.monotonic() - begin, 1)
            self.journal.write({"seconds": about["rehearsed"], "at": state["now"], "database": about["database"], "artifacts": about["artifacts"]},
                               REHEARSAL)  # fmt: skip
            for place in self.places(state):
                place.discard()
        return {**about, "due": True}

    def database_part(self, there, moves, now):
        base = self.copies()
        self.check_schema(base)
        if not moves:
            base.check_room(2)
            return base.part(stamp(now))
        # The copy, and what is read back of the new one.
        copies.refuse(judge.room_problem(os.path.dirname(self.journal.folder), 2 * os.path.getsize(base.live), self.settings["minimum_free_mb"]))
        uri = there.database_uri
        refused = postgresql.may_load(uri)
        if refused:
            raise Problem(f"The database cannot be moved to {address(uri)}: {refused}.")
        schema, staged = postgresql.live_schema(uri), postgresql.scratch_schema(self.settings["host"])
        if postgresql.has_tables(uri, schema):
            if not self.is_of_us(uri):
                raise Problem(self.not_empty(there))
            aside = f"mlflow_before_{stamp(now).lower()}"
            tell(f"Tables that a move of before has left there are put aside, into the schema {aside}.")
            postgresql.set_aside(uri, schema, aside)
            postgresql.drop(uri, staged)
        return {"kind": "emptied", "uri": uri, "live": schema, "staged": staged, "files": [self.journal.path(name) for name in (COPY, READ_BACK)]}

    def carry(self, state, what="", still=False):
        """All that is moved is beside where it is to be, compared. still: nobody writes any more."""
        there, about, changes = Stores(state["target"]), state["about"], []
        if state["moves"]["artifacts"]:
            self.step(state, f"{what}Copying the artifacts to {there.artifacts}.")
            done = bucket.copy(bucket.Bucket(there.environment, there.artifacts), self.uploaded(there), self.instance.artifacts, still)
            about["artifacts"] = {"from": self.instance.artifacts, "to": there.artifacts, "locations": {}, **done}
            changes = locations.prefixes(self.instance.artifacts, there.environment.get("MLFLOW_DEFAULT_ARTIFACT_ROOT", ""))
        base = self.copies()
        self.step(state, f"{what}Copying the database.")
        if state["moves"]["database"]:
            copy = self.journal.path(COPY)
            database.Sqlite.copy(base.uri_of(base.live), copy)
            if changes:
                with closing(sqlite3.connect(copy)) as connection:
                    about["artifacts"]["locations"] = locations.rewrite(connection, changes)
            both = rows.files(base.live, copy)
        else:
            if still:
                base.still()
            base.stage(base.live)
            about["artifacts"]["locations"] = base.relocate(base.staged, changes)
            both = base.side_by_side(base.live, base.staged)
        if still:
            self.check_same(both)
        return self.carry_rows(state, copy, there) if state["moves"]["database"] else base.content(base.staged)

    @staticmethod
    def check_same(opened):
        """All of the copy but where artifacts are."""
        with opened as both:
            locations.leave_out(both)
            lost = list(rows.lost(both))
        if lost:
            raise Problem(f"The copy of the database is not as the database is: {'; '.join(lost)}.")

    def carry_rows(self, state, copy, there):
        uri, schema = there.database_uri, state["parts"][0]["staged"]
        own = postgresql.uri_of(uri, schema)
        postgresql.drop(uri, schema)
        postgresql.ask(uri, f"CREATE SCHEMA {schema};")
        self.step(state, "Making MLflow's tables in the new database.")
        release.make_tables(own, tables.has_users(copy))
        revision, wanted = postgresql.revision(uri, schema), database.Sqlite.revision(copy)
        if revision != wanted:
            raise Problem(f"MLflow makes tables with the schema {revision} there, and the database has {wanted}: run playbooks/upgrade.yml first.")
        self.step(state, "Copying the rows into the new database.")
        tables.fill(uri, schema, copy)
        self.step(state, "Comparing the new database with the old one, row by row.")
        number = self.compare(uri, schema, copy)
        self.step(state, "Opening the new database with MLflow.")
        content = scratch.content(own)
        scratch.compare_counts(postgresql.count(uri, schema)[1], content)
        state["about"]["database"] = {"from": self.copies().live, "to": address(uri), "rows": number}
        return content

    def compare(self, uri, schema, copy):
        """What PostgreSQL has is read back. How many rows of which table."""
        back = self.journal.path(READ_BACK)
        Emptied.remove_files([back])
        tables.read_back(uri, schema, copy, back)
        with rows.files(copy, back) as both, rows.files(back, copy) as other_way:
            wrong = [*rows.lost(both), *(f"{table} has rows that were not there" for table in rows.gone(other_way))]
        if wrong:
            raise Problem(f"The new database has not what the old one has: {'; '.join(wrong)}.")
        number = tables.counts(copy)
        if tables.counts(back) != number:
            raise Problem("The new database has not as many rows as the old one.")
        Emptied.remove_files([back])
        return number

    def while_stopped(self, state):
        self.journal.write(self.carry(state, still=True), CONTENT)
        moves, about, state["samples"] = state["moves"], state["about"], self.samples()
        about["stays"] = [about[name]["from"] for name in ("database", "artifacts") if moves[name]]
