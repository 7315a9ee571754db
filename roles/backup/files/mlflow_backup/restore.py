"""Bringing an archive back: made ready beside what serves, then put in its place.

prepare unpacks the archive beside the database and the artifacts that serve, loads it, and has MLflow's own classes count it. switch stops who
writes, changes the places, starts again, and asks MLflow for all that the archive has. recover puts back what a switch that was cut off has left.
What each of them begins is in the journal before it is begun.
"""

import os
import sys
import time

from . import archive, artifacts, database, judge, postgresql, release, scratch, services
from .account import acting_as
from .encryption import plain
from .journal import PREPARED, PROVEN, SWITCHING, Journal
from .places import STAGED, make_staged, place_of, staged_folder
from .problems import Damaged, Problem
from .settings import Instance

CONTENT, LISTED, CHANGED = "content.json", "artifacts.jsonl", "changed.jsonl"
OUTCOME = "outcome.json"


def tell(text):
    """What is done now: to the journal of systemd."""
    print(text, file=sys.stderr, flush=True)


class Restore:
    def __init__(self, settings):
        self.settings, self.instance, self.journal = settings, Instance(settings), Journal(settings)
        self.account = judge.account(settings)

    def places(self, state):
        return [place_of(part, self.account, self.instance) for part in state["parts"]]

    # -- ready beside what serves

    def judged(self, found, wanted):
        """What of the archive is known here: why it is refused, and when it was restored, if it was the last one."""
        last = self.journal.read("last.json") or {}
        if last.get("identity") == found["identity"] and not wanted["again"]:
            return {"problems": [], "restored": last["at"]}
        return {"problems": list(judge.problems(self.settings, self.instance, found, wanted)), "restored": ""}

    def prepare(self, path, found, wanted, now=None):
        self.recover()
        # That of one of before would be taken for this one's.
        self.journal.remove(OUTCOME)
        refused = self.judged(found, wanted)["problems"]
        if refused:
            raise Problem(f"{path} is not restored: {' '.join(refused)}")
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now or time.time()))
        state = {"step": PREPARED, "archive": path, "identity": found["identity"], "wanted": wanted, "now": now, "notes": [],
                 "manifest": found["manifest"], "parts": list(self.parts(found["manifest"], now))}
        self.journal.write(state)
        try:
            tell(f"Unpacking {path} beside what serves.")
            for part in state["parts"]:
                if part["kind"] in STAGED:
                    make_staged(part["kind"], part["live"], self.account)
            manifest = self.unpack(path, state)
            self.load(manifest, state)
            self.compare_objects(manifest, state)
            state["samples"] = services.samples_of(manifest["members"]) if manifest["artifacts"]["kept"] == "copied" else {}
            os.sync()
            self.journal.write(state)
        except BaseException:
            self.discard(state)
            raise
        return {"prepared": path, "notes": state["notes"]}

    def parts(self, manifest, now):
        if manifest["database"]["kind"] == "sqlite":
            live = database.Sqlite.path(self.instance.database_uri)
            yield {"kind": "sqlite", "live": live, "staged": os.path.join(staged_folder("sqlite", live), os.path.basename(live)),
                   "before": f"{live}.before-{now}", "had": os.path.lexists(live)}
        else:
            uri = self.instance.database_uri
            yield {"kind": "schema", "live": postgresql.live_schema(uri), "staged": postgresql.scratch_schema(self.settings["host"]),
                   "before": f"mlflow_before_{now.lower()}", "had": True}
        if manifest["artifacts"]["kept"] == "copied":
            live = self.instance.artifacts.rstrip("/")
            yield {"kind": "artifacts", "live": live, "staged": staged_folder("artifacts", live), "before": f"{live}.before-{now}",
                   "had": os.path.lexists(live)}

    def unpack(self, path, state):
        """Every member where it belongs, as MLflow's account; the dump and the list of objects are root's."""
        targets = {part["kind"]: part["staged"] for part in state["parts"]}

        def place(name):
            folder, _slash, rest = name.partition("/")
            if folder == "artifacts" and "artifacts" in targets:
                return os.path.join(targets["artifacts"], rest)
            return targets["sqlite"] if name == database.Sqlite.member and "sqlite" in targets else None

        def place_of_root(name):
            return self.journal.path(os.path.basename(name)) if name in (database.Postgresql.member, LISTED) else None

        path = plain(path, self.journal.folder)
        try:
            if "sqlite" in targets or "artifacts" in targets:
                manifest = archive.read(path, place, lambda: acting_as(self.account))
            if "schema" in targets or state["manifest"]["artifacts"]["kept"] == "by reference":
                manifest = archive.read(path, place_of_root)
        finally:
            if path != state["archive"]:
                os.unlink(path)
        if archive.identity(manifest) != state["identity"]:
            raise Damaged(f"{state['archive']} is another archive than the one that was looked at.")
        return manifest

    def load(self, manifest, state):
        """Counted as it is, upgraded if its schema is an older one, and opened by MLflow."""
        tell("Loading its database beside the one that serves.")
        part = state["parts"][0]
        if part["kind"] == "sqlite":
            uri, account = "sqlite:///" + part["staged"], self.account
            with acting_as(account):
                # As MLflow makes it; the copy of the backup was root's alone.
                os.chmod(part["staged"], 0o640)
                revision, counts = database.Sqlite.count(part["staged"])
            scratch.compare(manifest, {"revision": revision, "counts": counts})
        else:
            uri, account = postgresql.uri_of(self.instance.database_uri, part["staged"]), (0, 0)
            dump = self.journal.path(os.path.basename(database.Postgresql.member))
            try:
                scratch.load(manifest, dump, self.instance.database_uri, part["staged"])
            finally:
                os.unlink(dump)
        newest, _known = release.schemas()
        with acting_as(account):
            if manifest["database"]["revision"] != newest:
                tell(f"Upgrading its schema from {manifest['database']['revision']} to {newest}.")
                release.upgrade(uri)
                state["notes"].append(f"Its schema {manifest['database']['revision']} was upgraded to {newest}.")
            content = scratch.content(uri)
        scratch.compare_counts(manifest["database"]["counts"], content)
        self.journal.write(content, CONTENT)

    def compare_objects(self, manifest, state):
        if manifest["artifacts"]["kept"] == "none":
            state["notes"].append("The archive has no artifacts: those that are there stay.")
        if manifest["artifacts"]["kept"] != "by reference":
            return
        tell("Comparing its list of objects with the bucket.")
        listed = self.journal.path(LISTED)
        changed, gone = artifacts.compare(artifacts.client(self.instance.environment), self.instance.artifacts, listed)
        os.unlink(listed)
        if gone:
            said = f"{len(gone)} of the objects that it lists are not in {self.instance.artifacts} any more, nor is the version that it names: " \
                   f"{', '.join(sorted(gone)[:5])}"
            if not state["wanted"]["accept_missing"]:
                raise Problem(f"{state['archive']} is not restored: {said}. Bring them back from a copy of the bucket, or set "
                              "restore_accept_missing_artifacts to true to do without them.")
            state["notes"].append(said + ".")
        if changed:
            path = self.journal.path(CHANGED)
            artifacts.write_lines(changed, path)
            state["parts"].append({"kind": "objects", "bucket": judge.bucket_of(self.instance), "path": path})
            state["notes"].append(f"{len(changed)} objects that were changed or deleted since are as they were then; what was there is an earlier "
                                  "version of each in the bucket.")

    # -- in its place

    def switch(self):
        self.journal.remove(OUTCOME)
        state, content = self.journal.read(), self.journal.read(CONTENT)
        if not state or state["step"] != PREPARED or content is None:
            raise Problem("Nothing is ready to be restored on this host: run playbooks/restore.yml.")
        state.update(step=SWITCHING, running=services.running())
        self.journal.write(state)
        server, begin = services.Server(self.settings["url"]), time.monotonic()
        try:
            tell(f"Stopping {', '.join(state['running']) or 'nothing, for nothing runs'}.")
            services.stop()
            for place in self.places(state):
                tell(f"Changing {type(place).__name__}.")
                place.still()
                place.apply()
            tell("Starting MLflow with what was restored.")
            services.start([*state["running"], services.MLFLOW])
            server.wait(state["wanted"]["start_timeout"])
            state["downtime"] = round(time.monotonic() - begin, 1)
            tell("Asking MLflow for all that the archive has.")
            services.prove(server, content, state["samples"])
            tell("Proven.")
        except BaseException as exc:
            self.put_back(state, exc)
            raise
        state["step"] = PROVEN
        self.journal.write(state)
        return self.finish(state)

    def finish(self, state):
        """What served before is kept, or not; nothing else is left."""
        places = self.places(state)
        if not state["wanted"]["keep_previous"]:
            for place in places:
                place.forget()
        outcome = {"restored": True, "archive": state["archive"], "identity": state["identity"], "at": state["now"], "downtime": state["downtime"],
                   "kept": [place.kept for place in places if place.kept], "notes": state["notes"], "manifest": state["manifest"]}
        self.journal.write(outcome, "last.json")
        self.journal.write(outcome, OUTCOME)
        self.discard(state)
        return outcome

    def put_back(self, state, why, start=True):
        """What served before serves again, wherever the switch was cut off."""
        tell(f"Putting back what served before: {why}")
        if start:
            services.stop()
        for place in reversed(self.places(state)):
            place.revert()
        ends = "What served before is in its place again"
        if start:
            services.start(state["running"])
            if services.MLFLOW in state["running"]:
                try:
                    services.Server(self.settings["url"]).wait(state["wanted"]["start_timeout"])
                    ends += ", and serves"
                except Problem as exc:
                    ends += f". {exc}"
        self.journal.write({"restored": False, "archive": state["archive"], "why": f"{str(why).rstrip('.')}. {ends.rstrip('.')}."}, OUTCOME)
        self.discard(state)

    def discard(self, state):
        for place in self.places(state):
            place.discard()
        self.journal.remove(CONTENT)
        self.journal.remove()

    def recover(self, start=True):
        """After one that was killed, or a host that went down."""
        state = self.journal.read()
        if not state:
            return {"recovered": ""}
        if state["step"] == PROVEN:
            self.finish(state)
            return {"recovered": "finished"}
        if state["step"] == SWITCHING:
            self.put_back(state, "The restore was cut off", start)
            return {"recovered": "put back"}
        self.discard(state)
        return {"recovered": "discarded"}
