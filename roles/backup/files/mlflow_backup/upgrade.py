"""Going to another release with a database that its MLflow has upgraded, and back. Run by the Python of the release that is gone to.

prepare rehearses it on a copy while MLflow serves. The switch does the same once more when nobody writes. So the database that served is only read,
and is what it was whenever it has to come back.
"""

import os
import time
from contextlib import contextmanager

from . import artifacts, bucket, copies, entries, release, rows, services
from .account import acting_as
from .encryption import decrypted
from .problems import Problem
from .rotation import of_host
from .switch import CONTENT, OUTCOME, Switch, stamp, tell

UPGRADED, REHEARSAL = "upgraded.json", "rehearsal.json"
SAMPLES = 3


class Migration(Switch):
    """What an upgrade and a rollback have in common: links and files of a release, and a database that is made of another one."""

    def switch(self):
        release.load()
        return super().switch()

    @contextmanager
    def made_ready(self, state):
        """What is done within is ready to be switched to at the end, or nothing is left of it."""
        try:
            yield
            state["samples"] = self.samples()
            self.journal.write({}, CONTENT)
            self.journal.write(state)
        except BaseException:
            self.discard(state)
            raise

    def copies(self):
        """Looked at when it is needed: whoever puts something back needs nothing of it."""
        return copies.of(self.settings, self.instance, self.account, self.journal)

    @staticmethod
    def migrated(state):
        """The part of the journal that is the database, if it is changed."""
        part = state["parts"][0]
        return part if part["kind"] != "entries" else None

    def samples(self):
        """Some artifacts with their checksums: the first ones that are small. It must not take long where there are many."""
        folder, found = self.instance.artifacts, {}
        if folder.startswith("s3://"):
            return bucket.Bucket(self.instance.environment, folder).samples(SAMPLES, services.is_sample)
        if not os.path.isdir(folder):
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
        """told: links (path -> where it is to lead), staged (a folder with files below their paths), absent, leads (whether it is this host that
        makes the database anew, which others may share). What is to be changed."""
        wanted = {path: {"link": target} for path, target in told["links"].items()}
        wanted.update(entries.staged(told["staged"]), **dict.fromkeys(told["absent"]))
        base = self.copies()
        revision = base.revision(base.live)
        newest, known = release.schemas()
        if revision not in known:
            raise Problem(f"The database has the schema {revision} of a newer MLflow than {release.version()}, to which it was to be upgraded: "
                          "playbooks/rollback.yml goes back.")
        return base, revision, newest if told["leads"] else revision, entries.part(wanted)

    def prepare(self, told, now=None):
        self.recover()
        self.journal.remove(OUTCOME)
        base, revision, newest, changed = self.look(told)
        there = self.instance.release["name"], os.path.basename(told["links"].get(self.settings["venv"], ""))
        about = {"from": there[0], "to": there[1], "archive": told["archive"], "schema": {"from": revision, "to": newest}, "rehearsed": None}
        if not changed["changes"] and revision == newest:
            return {**about, "due": False}
        parts = [*([base.part(stamp(now))] if revision != newest else []), changed]
        state = self.begin(now, {"keep_previous": True, **told["wanted"]}, parts, about, record=UPGRADED)
        with self.made_ready(state):
            if revision != newest:
                self.rehearse(state, base)
            # Who knew the users: what serves is put back with it.
            login = "mlflow" if "MLFLOW_AUTH_ADMIN_USERNAME" in self.instance.environment else "proxy"
            state["recorded"] = {**about, "at": state["now"], "login": login, "parts": parts, "seeded": {},
                                 "previous": self.journal.read(UPGRADED)}  # fmt: skip
        return {**about, "due": True}

    def rehearse(self, state, base):
        about = state["about"]
        # What serves, a copy of it, and another one in which tables are made anew.
        base.check_room(3)
        begin = time.monotonic()
        original = base.stage_twice()
        self.migrate(state, base, original, "a copy of the database")
        about["rehearsed"] = round(time.monotonic() - begin, 1)
        self.journal.write({"seconds": about["rehearsed"], "at": state["now"], **{key: about[key] for key in ("from", "to", "schema")}}, REHEARSAL)
        for place in self.places(state):
            place.discard()

    def migrate(self, state, base, original, what):
        """The copy, with all that the original has. What MLflow finds there."""
        schema = state["about"]["schema"]
        self.step(state, f"Upgrading {what} from the schema {schema['from']} to {schema['to']}.")
        base.upgrade(base.staged)
        revision = base.revision(base.staged)
        if revision != schema["to"]:
            raise Problem(f"The copy has the schema {revision} after that.")
        self.step(state, f"Comparing {what} with what it was made of, row by row.")
        with base.side_by_side(original, base.staged) as both:
            lost = list(rows.lost(both))
            if lost:
                raise Problem(f"MLflow's upgrade of the database does not keep what is in it: {'; '.join(lost)}.")
            gone, seeded = list(rows.gone_columns(both)), rows.seeded(both)
        self.step(state, f"Opening {what} with the new MLflow.")
        return base.content(base.staged), gone, seeded

    def while_stopped(self, state):
        base = self.copies()
        if not self.migrated(state):
            self.step(state, "Opening the database with the new MLflow.")
            self.journal.write(base.content(base.live), CONTENT)
            return
        self.step(state, "Copying the database.")
        base.still()
        base.stage(base.live)
        content, gone, state["recorded"]["seeded"] = self.migrate(state, base, base.live, "the copy of the database")
        if gone:
            state["notes"].append(f"The new schema has no {', '.join(gone)}")
        self.journal.write(content, CONTENT)


class Rollback(Migration):
    """Run by the Python of the release that is gone back to."""

    kind = "rollback"

    def find_what_was(self, now=None):
        """The upgrade that is undone, what is to be changed, what was logged since, what is to be said. The database of then is brought back for it
        if it was not kept."""
        upgraded = self.journal.read(UPGRADED)
        if not upgraded:
            raise Problem("There is no upgrade of this host that could be rolled back: upgrade.yml has made none, or it was rolled back already.")
        *migrated, changed = upgraded["parts"]
        parts, since, notes = [entries.back(changed)], {}, []
        for part in migrated:
            base = self.copies()
            if base.kind != part["kind"]:
                raise Problem(f"MLflow's database is another one than at the upgrade, when it was {part['live']}. The archive from before it, "
                              f"{upgraded['archive']}, can be brought back to a host with such a one: playbooks/mlflow.yml with the stack of then, "
                              "and restore.yml.")
            if not base.is_there(part["before"]):
                notes.append(self.bring_back(base, part["before"], upgraded))
            parts.insert(0, {**base.part(stamp(now)), "source": part["before"]})
            with base.side_by_side(part["before"], base.live) as both:
                since = rows.since(both, upgraded["seeded"])
        return upgraded, parts, since, notes

    def bring_back(self, base, where, upgraded):
        """Somebody has removed what was kept. The archive was made a little earlier: what was logged until the upgrade counts as logged since."""
        path, gone = upgraded["archive"], f"The database from before the upgrade, {where}, is not there any more"
        if not os.path.exists(path):
            raise Problem(f"{gone}, nor is the archive that was made before it, {path}: bring that back there from where it was carried to.")
        tell(f"{gone}. Unpacking {path}, which has it.")
        base.check_room(1)
        with decrypted(path, self.journal.folder) as readable:
            base.bring_back(readable, where, upgraded["schema"]["from"])
        return f"{gone}, so it was taken from {path}, and what was logged between that and the upgrade counts as logged since"

    def prepare(self, told, now=None):
        self.recover()
        self.journal.remove(OUTCOME)
        upgraded, parts, since, notes = self.find_what_was(now)
        about = {"from": upgraded["to"], "to": upgraded["from"], "since": since, "upgraded": upgraded["at"], "file": ""}
        state = self.begin(now, {"keep_previous": True, **told["wanted"]}, parts, about, record=UPGRADED, recorded=upgraded["previous"],
                           seeded=upgraded["seeded"], notes=notes)  # fmt: skip
        with self.made_ready(state):
            for part in parts[:-1]:
                base = self.copies()
                base.check_room(2)
                # It can be opened by the MLflow that is gone back to.
                base.content(part["source"])
        return about

    def while_stopped(self, state):
        base, part = self.copies(), self.migrated(state)
        if not part:
            self.journal.write(base.content(base.live), CONTENT)
            return
        self.step(state, "Saving what was logged since the upgrade.")
        base.still()
        about = state["about"]
        with base.side_by_side(part["source"], part["live"]) as both:
            about["since"] = rows.since(both, state["seeded"])
            if about["since"]["rows"] or about["since"]["gone"]:
                about["file"] = os.path.join(self.settings["directory"], f"{of_host(self.settings['host'])}-since-{state['now']}.jsonl")
                header = {"since": about["upgraded"], "saved": state["now"], "release": about["from"], "schema": both.revision("new")}
                rows.save(both, about["file"], {**header, **about["since"]})
                tell(f"Saved as {about['file']}.")
        self.step(state, "Copying the database from before the upgrade.")
        base.stage(part["source"])
        self.journal.write(base.content(part["staged"]), CONTENT)
