"""A host on which one release is live, and another one lies ready beside it."""

import json
import shutil
import sqlite3
import stat
from contextlib import closing
from urllib.parse import quote

import host_stand_in
from host_stand_in import NEWEST, OLDER
from mlflow_backup import create, upgrade

UNITS = {"mlflow.service": "active", "fire-mlops-server.service": "active", "mlflow-gc.timer": "inactive", "mlflow-model@churn.service": "active"}
NOON, STAMP = 1_795_780_800, "20261127T120000Z"
OLD, NEW = "guide-1.30-abc", "mlflow-3-def"


class Site:
    """A host on which one release is live, and another one lies ready beside it."""

    # So many there are at least while a switch goes on.
    EFFECTS = 20
    changes = staticmethod(host_stand_in.changes_of_files)

    def __init__(self, host, server):
        self.host, self.folder = host, host.folder
        host.settings.update(url=f"{server}/{quote(str(host.folder), safe='')}")
        self.execute("UPDATE alembic_version SET version_num = ?", OLDER)
        (self.folder / "serving.json").write_text(json.dumps({"database": str(host.database), "artifacts": str(host.artifacts), "hidden": [],
                                                              "schemas": {OLD: OLDER, NEW: NEWEST}}))  # fmt: skip
        self.write_units(UNITS)
        (self.folder / "java").symlink_to("/usr/lib/jvm/java-8")
        (self.folder / "releases" / NEW).mkdir()
        (self.folder / "proof.json").write_text("of the old release")
        env = self.folder / "etc/mlflow.env"
        env.chmod(0o640)
        # Files of the new release, below their paths.
        staged = self.folder / "etc/staged"
        for path, text in ((env, env.read_text() + 'NEW="1"\n'), (self.folder / "mlflow.service", "[Service]\n"),
                           (self.folder / "etc/models/churn.env", (self.folder / "etc/models/churn.env").read_text())):  # fmt: skip
            target = staged / path.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            target.chmod(0o644)
        (staged / env.relative_to("/")).chmod(0o600)
        self.told = {"links": {str(self.folder / "current"): str(self.folder / "releases" / NEW), str(self.folder / "java"): "/usr/lib/jvm/java-17"},
                     "staged": str(staged), "absent": [str(self.folder / "proof.json"), str(self.folder / "none")], "archive": "/a.tar.gz",
                     "wanted": {"start_timeout": 0}, "leads": True}  # fmt: skip
        host.settings_file()
        self.old = self.state()

    def write_units(self, states):
        (self.folder / "units.json").write_text(json.dumps(states))

    def execute(self, statement, *values):
        with closing(sqlite3.connect(self.host.database)) as connection:
            connection.execute(statement, values)
            connection.commit()

    def rows(self, path=None):
        with closing(sqlite3.connect(path or self.host.database)) as connection:
            names = sorted(row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"))
            return {name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall()) for name in names}

    def state(self):
        """What serves: rows, links, files with their modes, units."""
        links = {name: str((self.folder / name).readlink()) for name in ("current", "java")}
        paths = [self.folder / "etc/mlflow.env", self.folder / "mlflow.service", self.folder / "proof.json"]
        files = {path.name: (path.read_text(), stat.S_IMODE(path.stat().st_mode)) for path in paths if path.exists()}
        return self.rows(), links, files, json.loads((self.folder / "units.json").read_text())

    def left(self):
        """What lies beside what serves, and in the folder of the journal."""
        known = {"mlflow.db", "artifacts", "archives", "etc", "releases", "current", "java", "lock", "restore.lock", "backup.json", "state",
                 "units.json", "serving.json", "proof.json", "mlflow.service"}  # fmt: skip
        state = self.folder / "state"
        return {path.name for path in self.folder.iterdir()} - known, {path.name for path in state.iterdir()} if state.exists() else set()

    def upgrade(self, now=NOON):
        one = upgrade.Upgrade(self.host.settings)
        one.prepare(self.told, now)
        return one.switch()

    def roll_back(self, now=NOON + 60):
        one = upgrade.Rollback(self.host.settings)
        one.prepare({"wanted": {"start_timeout": 0}}, now)
        return one.switch()

    def log(self):
        """What nobody had logged at the upgrade, with one that was changed and one that was deleted."""
        self.execute("INSERT INTO runs VALUES ('logged since')")
        self.execute("INSERT INTO metrics VALUES ('since')")
        self.execute("UPDATE params SET a = 'changed'")
        self.execute("DELETE FROM tags")

    def lose_what_was_kept(self):
        """After an upgrade, before which something was logged that the archive has not."""
        self.told["archive"] = create.create(self.host.settings, NOON - 60)["archive"]
        self.log_one("between")
        self.upgrade()
        self.log_one("since")
        self.forget()

    def log_one(self, name):
        self.execute("INSERT INTO runs (a) VALUES (?)", name)

    def forget(self):
        (self.folder / f"mlflow.db.before-{STAMP}").unlink()

    def outcome(self):
        return json.loads((self.folder / "state/outcome.json").read_text())

    def run(self, *arguments, kill_at=-1, told=None):
        return host_stand_in.run(self.folder, kill_at, *arguments, told=told, changes=self.changes)

    def again(self, pristine):
        shutil.rmtree(self.folder)
        shutil.copytree(pristine, self.folder, symlinks=True)

    def pristine(self, name):
        return shutil.copytree(self.folder, self.folder.with_name(f"{self.folder.name}-{name}"), symlinks=True, dirs_exist_ok=True)


def is_new(site, state):
    rows, links, files, units = state
    return (
        rows == {**site.old[0], "alembic_version": [(NEWEST,)]}
        and links == {"current": str(site.folder / "releases" / NEW), "java": "/usr/lib/jvm/java-17"}
        and files == {"mlflow.env": (site.old[2]["mlflow.env"][0] + 'NEW="1"\n', 0o600), "mlflow.service": ("[Service]\n", 0o644)}
        and units == UNITS
    )


def killed_while_it_takes_from_the_archive(site):
    """A rollback for which nothing was kept, killed before each of its effects until it is ready. The one after it finishes."""
    site.lose_what_was_kept()
    used, told = site.state(), {"wanted": {"start_timeout": 0}}
    for number in each_kill(site, "rollback", told, steps=1):
        assert site.state() == used, number
        assert site.run("prepare-rollback", told=told)[1] == 0 and site.run("switch")[1] == 0
        assert site.state() == site.old and site.outcome()["since"]["rows"] == {"runs": 2}, number
        yield number


def each_kill(site, kind, told, steps=2):
    """Kills a run before each of its effects. How many came before. steps: 1 for what makes ready, 2 for the switch too."""
    pristine = site.pristine("pristine")
    effects = [site.run("prepare-" + kind, told=told)]
    prepared = site.pristine("prepared")
    effects.append(site.run("switch"))
    assert [status for _count, status in effects] == [0, 0] and effects[1][0] > site.EFFECTS
    for step, (count, _status) in enumerate(effects[:steps]):
        for number in range(count):
            site.again(prepared if step else pristine)
            killed = site.run("switch", kill_at=number) if step else site.run("prepare-" + kind, told=told, kill_at=number)
            assert killed == (-1, -9)
            # MLflow, which somebody may start, would make an empty one; and there is always a release to start it with.
            assert site.host.database.exists() and (site.folder / "current").exists()
            yield number
