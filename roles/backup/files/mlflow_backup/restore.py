"""Bringing an archive back: made ready beside what serves, then put in its place (switch.py).

The archive is unpacked beside the database and the artifacts that serve, loaded, and counted by MLflow's own classes.
"""

import os

from . import archive, artifacts, database, judge, postgresql, release, scratch, services
from .account import acting_as
from .encryption import decrypted
from .places import STAGED, make_staged, staged_folder
from .problems import Damaged, Problem
from .switch import CONTENT, OUTCOME, Switch, stamp, tell

LISTED, CHANGED = "artifacts.jsonl", "changed.jsonl"
LAST = "last.json"


class Restore(Switch):
    kind = "restore"

    def judged(self, found, wanted):
        """What of the archive is known here: why it is refused, and when it was restored, if it was the last one."""
        last = self.journal.read(LAST) or {}
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
        about = {"archive": path, "identity": found["identity"], "manifest": found["manifest"]}
        state = self.begin(now, wanted, list(self.parts(found["manifest"], stamp(now))), about, record=LAST)
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

        with decrypted(path, self.journal.folder) as readable:
            if "sqlite" in targets or "artifacts" in targets:
                manifest = archive.read(readable, place, lambda: acting_as(self.account))
            if "schema" in targets or state["about"]["manifest"]["artifacts"]["kept"] == "by reference":
                manifest = archive.read(readable, place_of_root)
        if archive.identity(manifest) != state["about"]["identity"]:
            raise Damaged(f"{state['about']['archive']} is another archive than the one that was looked at.")
        return manifest

    def load(self, manifest, state):
        """Counted as it is, upgraded if its schema is an older one, and opened by MLflow."""
        tell("Loading its database beside the one that serves.")
        part = state["parts"][0]
        if part["kind"] == "sqlite":
            uri, account = "sqlite:///" + part["staged"], self.account
            with acting_as(account):
                scratch.take(manifest, part["staged"])
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
                raise Problem(f"{state['about']['archive']} is not restored: {said}. Bring them back from a copy of the bucket, or set "
                              "restore_accept_missing_artifacts to true to do without them.")
            state["notes"].append(said + ".")
        if changed:
            path = self.journal.path(CHANGED)
            artifacts.write_lines(changed, path)
            state["parts"].append({"kind": "objects", "bucket": judge.bucket_of(self.instance), "path": path})
            state["notes"].append(f"{len(changed)} objects that were changed or deleted since are as they were then; what was there is an earlier "
                                  "version of each in the bucket.")
