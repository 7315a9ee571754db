"""An archive is brought back whole, or all is as it was."""

import io
import json
import os
import pwd
import shutil
import sqlite3
import stat
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import host_stand_in
import pytest
from host_stand_in import NEWEST, OLDER, fails_once
from mlflow_backup import account, archive, artifacts, command, create, journal, judge, places, release, restore, services
from mlflow_backup.problems import Damaged, Problem

UNITS = {"mlflow.service": "active", "fire-mlops-server.service": "active", "mlflow-gc.timer": "inactive"}
NOON = 1_795_780_800  # 2026-11-27 12:00 UTC
BEFORE = "before-20261127T120000Z"


class Site:
    """A host with an archive, and what was logged after it."""

    def __init__(self, host, server):
        self.host, self.folder = host, host.folder
        host.settings.update(url=f"{server}/{quote(str(host.folder), safe='')}")
        (self.folder / "serving.json").write_text(json.dumps({"database": str(host.database), "artifacts": str(host.artifacts), "hidden": []}))
        self.units = dict(UNITS)
        host.settings_file()
        self.archive = create.create(host.settings, NOON - 3600)["archive"]
        self.then = self.state()
        with closing(sqlite3.connect(host.database)) as connection:
            connection.execute("INSERT INTO runs VALUES ('logged since')")
            connection.commit()
        (host.artifacts / "1/run/model.bin").write_bytes(b"other")
        (host.artifacts / "1/since").mkdir()
        (host.artifacts / "1/since/file").write_text("since")
        self.now = self.state()

    @property
    def units(self):
        return json.loads((self.folder / "units.json").read_text())

    @units.setter
    def units(self, states):
        (self.folder / "units.json").write_text(json.dumps(states))

    def state(self):
        """What serves: rows, artifacts, units."""
        with closing(sqlite3.connect(self.host.database)) as connection:
            rows = {table: sorted(row[0] for row in connection.execute(f"SELECT a FROM {table}")) for table in ("experiments", "runs", "tags")}
            revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        files = {str(path.relative_to(self.host.artifacts)): path.read_bytes() for path in self.host.artifacts.rglob("*") if path.is_file()}
        return rows, revision, files, self.units

    def left(self):
        """What lies beside what serves, and in the folder of the journal."""
        known = {"mlflow.db", "artifacts", "archives", "etc", "releases", "current", "lock", "restore.lock", "backup.json", "state", "units.json",
                 "serving.json"}  # fmt: skip
        state = self.folder / "state"
        return {path.name for path in self.folder.iterdir()} - known, {path.name for path in state.iterdir()} if state.exists() else set()

    def pristine(self):
        return shutil.copytree(self.folder, self.folder.with_name(self.folder.name + "-pristine"), symlinks=True)

    def run(self, *arguments, kill_at=-1):
        return host_stand_in.run(self.folder, kill_at, *arguments)

    def found(self, path=None):
        manifest = archive.read(path or self.archive)
        return judge.inspect(manifest, archive.identity(manifest))


WANTED = {"other_site": False, "again": False, "accept_missing": False, "keep_previous": True, "start_timeout": 0}


@pytest.fixture(name="site")
def fixture_site(host, server, monkeypatch):
    host_stand_in.stand_in(monkeypatch.setattr, host.folder)
    return Site(host, server)


def restored(site, **wanted):
    one = restore.Restore(site.host.settings)
    one.prepare(site.archive, site.found(), {**WANTED, **wanted}, NOON)
    return one.switch()


def test_whoever_looks_leaves_no_trace(site, capsys):
    """Also in check mode an archive is looked at."""
    before = site.host.archives.stat().st_mtime_ns
    assert command.main(["inspect", site.archive, "--work", str(site.host.archives)]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["host"] == "mlflow1" and site.host.archives.stat().st_mtime_ns == before


def test_all_is_as_it_was_then(site):
    outcome = restored(site)
    assert site.state() == site.then
    assert outcome["kept"] == [f"{site.host.database}.{BEFORE}", f"{site.host.artifacts}.{BEFORE}"]
    assert outcome["downtime"] >= 0 and outcome["notes"] == []
    # What served is kept beside it, and nothing else is left.
    assert site.left() == ({f"mlflow.db.{BEFORE}", f"artifacts.{BEFORE}"}, {"last.json", "outcome.json"})
    with closing(sqlite3.connect(f"{site.host.database}.{BEFORE}")) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone()[0] == 2
    assert (site.folder / f"artifacts.{BEFORE}/1/since/file").read_text() == "since"


def test_what_served_is_not_kept_where_that_is_said(site):
    assert restored(site, keep_previous=False)["kept"] == []
    assert site.state() == site.then and site.left()[0] == set()


def test_the_same_archive_is_restored_once(site, capsys):
    restored(site)
    with closing(sqlite3.connect(site.host.database)) as connection:
        connection.execute("INSERT INTO runs VALUES ('logged after the restore')")
        connection.commit()
    used = site.state()
    arguments = ["--settings", site.host.settings_file(), "restore", site.archive]
    assert command.main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == {"problems": [], "restored": "20261127T120000Z"}
    assert site.state() == used
    assert command.main([*arguments, "--again"]) == 0
    assert site.state() == site.then


def test_what_is_made_ready_touches_nothing(site):
    one = restore.Restore(site.host.settings)
    one.prepare(site.archive, site.found(), WANTED, NOON)
    assert site.state() == site.now
    assert site.left()[0] == {".mlflow-restore-db", ".mlflow-restore-artifacts"}
    # And the next one begins anew.
    one.prepare(site.archive, site.found(), WANTED, NOON + 1)
    assert one.recover() == {"recovered": "discarded"}
    assert site.state() == site.now and site.left() == (set(), set())


def test_an_older_schema_is_upgraded_beside_what_serves(site):
    with closing(sqlite3.connect(site.host.database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [OLDER])
        connection.commit()
    site.archive = create.create(site.host.settings, NOON - 60)["archive"]
    outcome = restored(site)
    assert outcome["notes"] == [f"Its schema {OLDER} was upgraded to {NEWEST}."]
    assert site.state()[1] == NEWEST


def change_manifest(site, changed):
    one = site.found()
    one["manifest"].update(changed)
    return one


@pytest.mark.parametrize(("changed", "words"), [
    ({"site": "https://other"}, "it is of the site https://other (host mlflow1), and this is https://mlflow.example.com:5000: set restore_other"),
    ({"database": {"kind": "sqlite", "revision": "ffff", "counts": {}}}, "the schema ffff of release guide-1.30-abc, which the MLflow that is"),
    ({"release": {"name": "mlflow-3-1", "mlflow": "3.17.2"}}, "it is of MLflow 3.17.2 (release mlflow-3-1), and MLflow 1.30.1 is installed here"),
    ({"release": {"name": "guide-1.30-1", "mlflow": "1.30.2"}}, "it is of MLflow 1.30.2"),
    ({"release": {"name": "guide-1.30-1", "mlflow": "1.29.0"}}, None), ({"release": {"name": "guide-1.30-1"}}, None),
    ({"database": {"kind": "postgresql", "revision": NEWEST, "counts": {}}}, "its database is postgresql, and MLflow's on this host is sqlite"),
    ({"artifacts": {"kept": "by reference", "place": "s3://registry/mlflow"}}, "it lists artifacts in s3://registry/mlflow, and has none itself"),
    ({"artifacts": {"kept": "none", "place": "/elsewhere"}}, None),
])  # fmt: skip
def test_archives_that_are_refused(site, changed, words):
    found = change_manifest(site, changed)
    one = restore.Restore(site.host.settings)
    problems = one.judged(found, WANTED)["problems"]
    assert len(problems) == (words is not None) and all(words in problem for problem in problems), problems
    if words:
        with pytest.raises(Problem, match="is not restored"):
            one.prepare(site.archive, found, WANTED)
        assert site.state() == site.now and site.left() == (set(), set())
    if "site" in changed:
        assert one.judged(found, {**WANTED, "other_site": True})["problems"] == []


def test_places_that_are_refused(site, monkeypatch):
    one = restore.Restore(site.host.settings)
    monkeypatch.setattr(judge.os.path, "ismount", lambda path: True)
    (problem,) = one.judged(site.found(), WANTED)["problems"]
    assert "on which a disk is mounted" in problem and "mlflow_server_artifacts_destination" in problem
    monkeypatch.undo()
    host_stand_in.stand_in(monkeypatch.setattr, site.folder)
    elsewhere = site.folder / "elsewhere"
    site.host.artifacts.rename(elsewhere)
    site.host.artifacts.symlink_to(elsewhere)
    (problem,) = one.judged(site.found(), WANTED)["problems"]
    assert f"is a link on this host: set mlflow_server_artifacts_destination to where it leads ({elsewhere})" in problem
    one.settings["minimum_free_mb"] = 10**9
    assert "there is not enough room beside what is there" in one.judged(site.found(), WANTED)["problems"][-1]
    env = site.folder / "etc/mlflow.env"
    env.write_text(env.read_text().replace(str(site.host.artifacts), "s3://registry/mlflow"))
    problems = restore.Restore(site.host.settings).judged(site.found(), WANTED)["problems"]
    assert "and this host keeps them in s3://registry/mlflow" in problems[0]


def test_another_archive_than_was_looked_at(site):
    found = site.found()
    later = create.create(site.host.settings, NOON)["archive"]
    with pytest.raises(Damaged, match="another archive than the one that was looked at"):
        restore.Restore(site.host.settings).prepare(later, found, WANTED)
    assert site.state() == site.now and site.left() == (set(), set())


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_a_damaged_archive_is_refused(site, keep, capsys):
    data = Path(site.archive).read_bytes()
    found = site.found()
    Path(site.archive).write_bytes(data[:int(len(data) * keep)])
    # As a whole, and where it was damaged after it had been looked at.
    assert command.main(["--settings", site.host.settings_file(), "restore", site.archive]) == 1
    assert "is damaged" in capsys.readouterr().err
    with pytest.raises(Damaged):
        restore.Restore(site.host.settings).prepare(site.archive, found, WANTED)
    assert site.state() == site.now and site.left() == (set(), set())


def failed(site, words):
    one = restore.Restore(site.host.settings)
    one.prepare(site.archive, site.found(), WANTED, NOON)
    with pytest.raises(Problem, match=words):
        one.switch()
    assert site.left() == (set(), {"outcome.json"})
    return json.loads((site.folder / "state/outcome.json").read_text())


def test_what_mlflow_does_not_answer_with(site):
    serving = json.loads((site.folder / "serving.json").read_text())
    (site.folder / "serving.json").write_text(json.dumps({**serving, "hidden": ["x"]}))
    outcome = failed(site, "MLflow answers without 1 of 1 experiments, for example x.")
    assert outcome["why"].endswith("What served before is in its place again, and serves.") and not outcome["restored"]
    assert site.state() == site.now


def test_artifacts_that_mlflow_cannot_hand_out(site):
    serving = json.loads((site.folder / "serving.json").read_text())
    elsewhere = shutil.copytree(site.host.artifacts, site.folder / "etc/elsewhere")
    (site.folder / "serving.json").write_text(json.dumps({**serving, "artifacts": str(elsewhere)}))
    failed(site, "another content of the artifact 1/run/model.bin")
    assert site.state() == site.now


def test_a_service_that_does_not_start(site, monkeypatch):
    fails_once(monkeypatch, services, "start", Problem("mlflow.service does not start."))
    failed(site, "does not start")
    assert site.state() == site.now


def test_what_has_served_nothing_is_put_back_as_it_was(site):
    """A database that nobody can read is a reason to restore, and none not to."""
    site.host.database.write_bytes(b"damaged")
    (site.folder / "mlflow.db-journal").write_bytes(b"hot")
    restored(site)
    assert site.state() == site.then
    assert (site.folder / f"mlflow.db.{BEFORE}").read_bytes() == b"damaged" and (site.folder / f"mlflow.db.{BEFORE}-journal").read_bytes() == b"hot"
    assert not (site.folder / "mlflow.db-journal").exists()


@pytest.mark.parametrize("fails", [False, True])
def test_where_there_was_nothing(site, fails):
    site.host.database.unlink()
    shutil.rmtree(site.host.artifacts)
    site.units = {"mlflow.service": "inactive"}
    if fails:
        site.units = {"mlflow.service": "broken"}
        failed(site, "does not start")
        assert not site.host.database.exists() and not site.host.artifacts.exists()
        return
    outcome = restored(site)
    assert outcome["kept"] == [] and site.state()[:3] == site.then[:3] and site.units == {"mlflow.service": "active"}


def test_no_backup_of_what_was_cut_off(site):
    journal.Journal(site.host.settings).write({"kind": "restore", "step": journal.SWITCHING})
    with pytest.raises(Problem, match="The last restore on this host was cut off, so that what is there is no state to keep: run its playbook"):
        create.create(site.host.settings)


def test_switch_without_anything_ready(site):
    with pytest.raises(Problem, match="Nothing is ready to be restored"):
        restore.Restore(site.host.settings).switch()
    assert site.state() == site.now


def test_a_switch_that_cannot_begin_says_so(site):
    """And nobody takes what is written of the restore before for its outcome."""
    restored(site)
    restore.Restore(site.host.settings).prepare(site.archive, site.found(), {**WANTED, "again": True}, NOON + 60)
    with command.alone(site.host.settings["lock"]):
        assert site.run("switch")[1] == 1
    outcome = json.loads((site.folder / "state/outcome.json").read_text())
    assert not outcome["restored"] and "Another backup or restore is running" in outcome["why"]
    assert site.run("recover")[1] == 0 and site.left()[1] == {"last.json", "outcome.json"}


def test_killed_before_each_effect(site):
    """Whoever comes after it puts back or finishes, and the next run restores: from each point, and once more where that is killed, too."""
    pristine = site.pristine()
    effects, status = site.run("restore", site.archive)
    assert status == 0 and effects > 25 and site.state() == site.then
    seen = set()
    for number in range(effects):
        shutil.rmtree(site.folder)
        shutil.copytree(pristine, site.folder, symlinks=True)
        assert site.run("restore", site.archive, kill_at=number) == (-1, -9)
        # MLflow, which somebody may start, would make an empty one.
        assert site.host.database.exists()
        for again in (0, 2, 5):
            site.run("recover", kill_at=again)
        assert site.run("recover")[1] == 0
        state = site.state()
        finished = state != site.now
        seen.add(finished)
        if finished:
            # It was killed after MLflow had answered.
            assert state == site.then and "last.json" in site.left()[1]
        else:
            assert site.left()[0] == set() and "state.json" not in site.left()[1], number
        assert site.run("restore", site.archive)[1] == 0
        assert site.state() == site.then, number
        assert sum("mlflow.db.before" in name for name in site.left()[0]) == 1
    assert seen == {True, False}


def test_what_was_cut_off_is_put_back_before_the_next_is_made_ready(site, monkeypatch):
    one = restore.Restore(site.host.settings)
    one.prepare(site.archive, site.found(), WANTED, NOON)
    monkeypatch.setattr(restore.Restore, "put_back", lambda self, state, why, start=True: None)
    monkeypatch.setattr(services, "prove", lambda *_arguments: sys.exit("killed"))
    with pytest.raises(SystemExit):
        one.switch()
    monkeypatch.undo()
    host_stand_in.stand_in(monkeypatch.setattr, site.folder)
    assert site.state() == site.then
    one.prepare(site.archive, site.found(), WANTED, NOON + 60)
    assert site.state() == site.now and site.left()[0] == {".mlflow-restore-db", ".mlflow-restore-artifacts"}


def test_an_archive_that_counts_otherwise(site):
    """Each member is as the manifest says, but the database has other rows."""
    with tarfile.open(site.archive) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar]
    with tarfile.open(site.archive, "w:gz") as tar:
        for member, data in members:
            if member.name == archive.MANIFEST:
                manifest = json.loads(data)
                manifest["database"]["counts"]["params"] += 1
                data = json.dumps(manifest).encode()
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    with pytest.raises(Damaged, match="The database in the archive is not what the manifest says"):
        restored(site)
    assert site.state() == site.now and site.left() == (set(), set())


def test_a_host_that_went_down_is_put_right_before_mlflow_starts(site):
    """At boot nothing runs, and nothing is started but by systemd."""
    pristine = site.pristine()
    effects, _status = site.run("restore", site.archive)
    for number in range(0, effects, 3):
        shutil.rmtree(site.folder)
        shutil.copytree(pristine, site.folder, symlinks=True)
        site.run("restore", site.archive, kill_at=number)
        site.units = dict.fromkeys(UNITS, "inactive")
        assert site.run("recover", "--boot")[1] == 0
        assert site.state()[:3] in (site.now[:3], site.then[:3]) and site.units == dict.fromkeys(UNITS, "inactive")
        assert "state.json" not in site.left()[1]


def test_mlflow_is_started_while_the_restore_runs(site):
    """Its unit asks for a recovery, which leaves it to who is at it."""
    one = restore.Restore(site.host.settings)
    one.prepare(site.archive, site.found(), WANTED, NOON)
    with command.alone(site.host.settings["restore_lock"]):
        assert site.run("recover", "--boot")[1] == 0
    assert (site.folder / "state/state.json").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another account")
def test_files_are_those_of_mlflow_s_account(open_host, server, monkeypatch):
    host_stand_in.stand_in(monkeypatch.setattr, open_host.folder)
    site = Site(open_host, server)
    site.host.settings.update(user="nobody", group="nogroup")
    # The folder of the artifacts is root's, that of what lies in them MLflow's.
    restored(site)
    assert site.state() == site.then
    model = site.host.artifacts / "1/run/model.bin"
    assert {path.stat().st_uid for path in (site.host.database, site.host.artifacts, model.parent, model)} == {pwd.getpwnam("nobody").pw_uid}
    assert stat.S_IMODE(model.parent.stat().st_mode) == 0o750 and stat.S_IMODE(site.host.database.stat().st_mode) == 0o640
    assert (os.geteuid(), os.getegid()) == (0, 0)


def test_rights_of_root_only_where_nobody_else_says_what_a_path_means(tmp_path):
    if os.getuid():
        pytest.skip("only root can give folders to others")
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.mkdir()
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    (theirs / "link").symlink_to(mine)
    assert account.only_root_s(str(mine)) and not account.only_root_s(str(theirs)) and not account.only_root_s(str(theirs / "link"))
    mine.chmod(0o777)
    assert not account.only_root_s(str(mine))


def test_objects_of_a_bucket(tmp_path, monkeypatch):
    listed = [{"key": "same", "etag": "1", "size": 1, "version": "s1"}, {"key": "changed", "etag": "1", "size": 1, "version": "c1"},
              {"key": "deleted", "etag": "1", "size": 1, "version": "d1"}, {"key": "gone", "etag": "1", "size": 1, "version": "g1"},
              {"key": "unversioned", "etag": "1", "size": 1, "version": ""}]  # fmt: skip
    there = [(True, listed[0]), (True, {"key": "changed", "etag": "2", "size": 1, "version": "c2"}), (False, listed[1]), (False, listed[2]),
             (True, {"key": "since", "etag": "9", "size": 1, "version": "n1"})]  # fmt: skip
    artifacts.write_lines(listed, tmp_path / "keys")
    monkeypatch.setattr(artifacts, "versions", lambda store, place: there)
    changed, gone = artifacts.compare(None, "s3://b/p", tmp_path / "keys")
    assert changed == [{"key": "changed", "version": "c1", "before": "c2"}, {"key": "deleted", "version": "d1", "before": ""}]
    assert gone == ["gone", "unversioned"]


def test_objects_are_brought_back_and_put_back(tmp_path, monkeypatch):
    boto3 = pytest.importorskip("boto3")
    stubber_module = pytest.importorskip("botocore.stub")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    client = boto3.client("s3", region_name="us-east-1")
    monkeypatch.setattr(artifacts, "client", lambda environment: client)
    changed = [{"key": "changed", "version": "c1", "before": "c2"}, {"key": "deleted", "version": "d1", "before": ""}]
    artifacts.write_lines(changed, tmp_path / "changed")
    place = places.Objects({"kind": "objects", "bucket": "b", "path": str(tmp_path / "changed")}, {"MLFLOW_S3_UPLOAD_EXTRA_ARGS": ""})

    def copied(stubber, key, version):
        source = {"Bucket": "b", "Key": key, "VersionId": version}
        stubber.add_response("head_object", {"ContentLength": 1}, source)
        stubber.add_response("copy_object", {}, {"Bucket": "b", "Key": key, "CopySource": source})

    with stubber_module.Stubber(client) as stubber:
        copied(stubber, "changed", "c1")
        copied(stubber, "deleted", "d1")
        place.apply()
        copied(stubber, "changed", "c2")
        stubber.add_response("delete_object", {}, {"Bucket": "b", "Key": "deleted"})
        place.revert()
        stubber.assert_no_pending_responses()
        stubber.add_client_error("head_object", "AccessDenied")
        with pytest.raises(Problem, match="The objects of b cannot be brought back"):
            place.apply()


@pytest.mark.parametrize("accept", [False, True])
def test_objects_that_are_gone(site, monkeypatch, accept):
    env = site.folder / "etc/mlflow.env"
    env.write_text(env.read_text().replace(str(site.host.artifacts), "s3://registry/mlflow"))
    listed = {"key": "mlflow/a", "etag": "1", "size": 1, "version": "v1"}
    monkeypatch.setattr(artifacts, "client", lambda environment: None)
    monkeypatch.setattr(artifacts, "versions", lambda store, place: [(True, listed)])
    site.archive = create.create(site.host.settings, NOON - 60)["archive"]
    monkeypatch.setattr(artifacts, "versions", lambda store, place: [])
    if accept:
        assert "1 of the objects that it lists are not in s3://registry/mlflow any more" in restored(site, accept_missing=True)["notes"][0]
        return
    with pytest.raises(Problem, match=r"1 of the objects that it lists .* mlflow/a.*restore_accept_missing_artifacts"):
        restored(site)
    assert site.state() == site.now and site.left() == (set(), set())


def test_versions_of_mlflow(tmp_path, monkeypatch):
    (tmp_path / "version.py").write_text('import re\n\nVERSION = "1.30.1"\n')
    monkeypatch.setattr(release, "folder", lambda: str(tmp_path))
    assert release.version() == "1.30.1"
    (tmp_path / "version.py").write_text('VERSION: str = "3.17.2.dev0"\n')
    assert release.version() == "3.17.2.dev0" and release.numbers("3.17.2.dev0") == (3, 17, 2)
    monkeypatch.setattr(release, "folder", lambda: str(tmp_path / "none"))
    assert release.version() == ""
    assert release.numbers("1.30.1") < release.numbers("2.0") and release.numbers("1.9") < release.numbers("1.30")


def test_samples_have_plain_names():
    members = {f"artifacts/{name}": {"size": size, "sha256": name} for name, size in (
        ("a/b.bin", 5), ("a/with blank", 1), ("a/..b", 2), ("a/empty", 0), ("c_1", 9), ("d", 7), ("e", 8), ("ä", 1))}
    assert services.samples_of({**members, "database/mlflow.db": {"size": 1, "sha256": "x"}}) == {"a/b.bin": "a/b.bin", "d": "d", "e": "e"}
