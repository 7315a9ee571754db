"""Going to another release with a database that its MLflow has upgraded, and back. Run by the Python of the release that is gone to.

prepare rehearses it on a copy while MLflow serves. The switch does the same once more when nobody writes. So the database that served is only read,
and is what it was whenever it has to come back.
"""

import os
import time
from contextlib import ExitStack, contextmanager

from . import artifacts, database, entries, judge, release, rows, scratch, services
from .account import acting_as
from .places import make_staged, staged_folder
from .problems import Problem
from .rotation import of_host
from .switch import CONTENT, OUTCOME, Switch, stamp, tell

UPGRADED, REHEARSAL = "upgraded.json", "rehearsal.json"
SAMPLES = 3


def sqlite_part(live, now):
    return {"kind": "sqlite", "live": live, "staged": os.path.join(staged_folder("sqlite", live), os.path.basename(live)),
            "before": f"{live}.before-{stamp(now)}", "had": True}


class Migration(Switch):
    """What an upgrade and a rollback have in common: links and files of a release, and a SQLite file that is made of another one."""

    def sqlite(self):
        kind = database.kind_of(self.instance.database_uri)
        if kind is not database.Sqlite:
            raise Problem("MLflow's database is PostgreSQL, and only SQLite can be upgraded and rolled back here yet: mlflow.yml upgrades its schema "
                          "in place, after a copy (mlflow_server_database_backup).")
        path = kind.path(self.instance.database_uri)
        self.refuse(judge.link_problems("the database", path, "mlflow_server_backend_store_uri"))
        kind.size(self.instance.database_uri)
        return path

    @staticmethod
    def refuse(problems):
        found = " ".join(problems)
        if found:
            raise Problem(found[0].upper() + found[1:])

    def check_room(self, live, copies):
        self.refuse(judge.room_problem(os.path.dirname(live), copies * os.path.getsize(live), self.settings["minimum_free_mb"]))

    def copied(self, source, part):
        """A copy beside the database that serves, as MLflow's account has it."""
        make_staged("sqlite", part["live"], self.account)
        with acting_as(self.account):
            database.Sqlite.copy("sqlite:///" + source, part["staged"])
            os.chmod(part["staged"], 0o640)

    def switch(self):
        release.load()
        return super().switch()

    @contextmanager
    def side_by_side(self, old, new):
        with ExitStack() as stack:
            # It is for that account to open them; what is read is root's to write down.
            with acting_as(self.account):
                both = stack.enter_context(rows.pair(old, new))
            yield both

    def content(self, path):
        """What the MLflow of this Python finds in a database, as many as there are."""
        with acting_as(self.account):
            _revision, counts = database.Sqlite.count(path)
            found = scratch.content("sqlite:///" + path)
        scratch.compare_counts(counts, found)
        return found

    def samples(self):
        """Some artifacts with their checksums: the first ones that are small. It must not take long where there are many."""
        folder, found = self.instance.artifacts, {}
        if not artifacts.is_directory(folder) or not os.path.isdir(folder):
            return found
        with acting_as(self.account):
            for name, file in artifacts.files(folder):
                if services.is_sample(name, os.fstat(file.fileno()).st_size):
                    found[name] = services.checksum(file.read())
                if len(found) == SAMPLES:
                    break
        return found


class Upgrade(Migration):
    kind = "upgrade"

    def look(self, told):
        """told: links (path -> where it is to lead), staged (a folder with files below their paths), absent. What is to be changed."""
        wanted = {path: {"link": target} for path, target in told["links"].items()}
        wanted.update(entries.staged(told["staged"]), **dict.fromkeys(told["absent"]))
        live = self.sqlite()
        revision = database.Sqlite.revision(live)
        newest, known = release.schemas()
        if revision not in known:
            raise Problem(f"The database has the schema {revision} of a newer MLflow than {release.version()}, to which it was to be upgraded: "
                          "playbooks/rollback.yml goes back.")
        return live, revision, newest, entries.part(wanted)

    def prepare(self, told, now=None):
        self.recover()
        self.journal.remove(OUTCOME)
        live, revision, newest, changed = self.look(told)
        there = self.instance.release["name"], os.path.basename(told["links"].get(self.settings["venv"], ""))
        about = {"from": there[0], "to": there[1], "archive": told["archive"], "schema": {"from": revision, "to": newest}, "rehearsed": None}
        if not changed["changes"] and revision == newest:
            return {**about, "due": False}
        parts = [*([sqlite_part(live, now)] if revision != newest else []), changed]
        state = self.begin(now, {"keep_previous": True, **told["wanted"]}, parts, about, record=UPGRADED)
        try:
            if revision != newest:
                self.rehearse(state)
            state["samples"] = self.samples()
            state["recorded"] = {**about, "at": state["now"], "parts": parts, "seeded": {}, "previous": self.journal.read(UPGRADED)}
            self.journal.write({}, CONTENT)
            self.journal.write(state)
        except BaseException:
            self.discard(state)
            raise
        return {**about, "due": True}

    def rehearse(self, state):
        part, about = state["parts"][0], state["about"]
        # What serves, a copy of it, and another one in which tables are made anew.
        self.check_room(part["live"], 3)
        self.copied(part["live"], part)
        begin = time.monotonic()
        original = part["staged"] + ".original"
        with acting_as(self.account):
            os.rename(part["staged"], original)
            database.Sqlite.copy("sqlite:///" + original, part["staged"])
        self.migrate(state, original, "a copy of the database")
        about["rehearsed"] = round(time.monotonic() - begin, 1)
        self.journal.write({"seconds": about["rehearsed"], "bytes": os.path.getsize(part["live"]), "at": state["now"],
                            **{key: about[key] for key in ("from", "to", "schema")}}, REHEARSAL)
        for place in self.places(state):
            place.discard()

    def migrate(self, state, original, what):
        """The copy, with all that the original has. What MLflow finds there."""
        part, schema = state["parts"][0], state["about"]["schema"]
        self.step(state, f"Upgrading {what} from the schema {schema['from']} to {schema['to']}.")
        with acting_as(self.account):
            release.upgrade("sqlite:///" + part["staged"])
            revision = database.Sqlite.revision(part["staged"])
            if revision != schema["to"]:
                raise Problem(f"The copy has the schema {revision} after that.")
        self.step(state, f"Comparing {what} with what it was made of, row by row.")
        with self.side_by_side(original, part["staged"]) as both:
            lost = list(rows.lost(both))
            if lost:
                raise Problem(f"MLflow's upgrade of the database does not keep what is in it: {'; '.join(lost)}.")
            gone, seeded = list(rows.gone_columns(both)), rows.seeded(both)
        self.step(state, f"Opening {what} with the new MLflow.")
        return self.content(part["staged"]), gone, seeded

    def while_stopped(self, state):
        part = state["parts"][0]
        if part["kind"] != "sqlite":
            self.step(state, "Opening the database with the new MLflow.")
            self.journal.write(self.content(self.sqlite()), CONTENT)
            return
        self.step(state, "Copying the database.")
        self.copied(part["live"], part)
        content, gone, state["recorded"]["seeded"] = self.migrate(state, part["live"], "the copy of the database")
        if gone:
            state["notes"].append(f"The new schema has no {', '.join(gone)}")
        self.journal.write(content, CONTENT)


class Rollback(Migration):
    """Run by the Python of the release that is gone back to."""

    kind = "rollback"

    def look(self, now=None):
        """The upgrade that is undone, what is to be changed, and what was logged since."""
        upgraded = self.journal.read(UPGRADED)
        if not upgraded:
            raise Problem("There is no upgrade of this host that could be rolled back: upgrade.yml has made none, or it was rolled back already.")
        *migrated, changed = upgraded["parts"]
        parts, since = [entries.back(changed)], {}
        for part in migrated:
            if not os.path.lexists(part["before"]):
                raise Problem(f"The database from before the upgrade, {part['before']}, is not there any more. The archive that was made before it "
                              f"is {upgraded['archive'] or 'not known'}: have playbooks/mlflow.yml set MLflow up with the stack of then and an empty "
                              "database, and bring the archive back with restore.yml.")
            live = self.sqlite()
            parts.insert(0, {**sqlite_part(live, now), "source": part["before"]})
            with self.side_by_side(part["before"], live) as both:
                since = {"rows": rows.count_since(both, upgraded["seeded"]), "gone": rows.gone(both)}
        return upgraded, parts, since

    def prepare(self, told, now=None):
        self.recover()
        self.journal.remove(OUTCOME)
        upgraded, parts, since = self.look(now)
        about = {"from": upgraded["to"], "to": upgraded["from"], "since": since, "upgraded": upgraded["at"], "file": ""}
        state = self.begin(now, {"keep_previous": True, **told["wanted"]}, parts, about, record=UPGRADED, recorded=upgraded["previous"],
                           seeded=upgraded["seeded"])  # fmt: skip
        try:
            for part in parts[:-1]:
                self.check_room(part["live"], 2)
                # It can be opened by the MLflow that is gone back to.
                self.content(part["source"])
            state["samples"] = self.samples()
            self.journal.write({}, CONTENT)
            self.journal.write(state)
        except BaseException:
            self.discard(state)
            raise
        return about

    def while_stopped(self, state):
        part = state["parts"][0]
        if part["kind"] != "sqlite":
            self.journal.write(self.content(self.sqlite()), CONTENT)
            return
        self.step(state, "Saving what was logged since the upgrade.")
        about = state["about"]
        with self.side_by_side(part["source"], part["live"]) as both:
            about["since"] = {"rows": rows.count_since(both, state["seeded"]), "gone": rows.gone(both)}
            if about["since"]["rows"] or about["since"]["gone"]:
                about["file"] = os.path.join(self.settings["directory"], f"{of_host(self.settings['host'])}-since-{state['now']}.jsonl")
                header = {"since": about["upgraded"], "saved": state["now"], "release": about["from"], "schema": both.revision("new")}
                rows.save(both, state["seeded"], about["file"], header)
                tell(f"Saved as {about['file']}.")
        self.step(state, "Copying the database from before the upgrade.")
        self.copied(part["source"], part)
        self.journal.write(self.content(part["staged"]), CONTENT)
