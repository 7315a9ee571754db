"""A host goes to another release with all that it has, or all is as it was; and back again, with what was logged since in a file."""

import json
import re
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import host_stand_in
import pytest
import s3_stand_in
from host_stand_in import NEWEST, OLDER, fails_once
from mlflow_backup import command, create, database, entries, journal, release, scratch, services, upgrade
from mlflow_backup.problems import Problem
from upgrade_site import NEW, NOON, OLD, STAMP, UNITS, Site, each_kill, is_new, killed_while_it_takes_from_the_archive

KEPT = f"mlflow.db.before-{STAMP}"


@pytest.fixture(name="site")
def fixture_site(host, server, monkeypatch):
    host_stand_in.stand_in(monkeypatch.setattr, host.folder)
    return Site(host, server)


def test_the_new_release_serves_all_that_there_was(site):
    outcome = site.upgrade()
    assert is_new(site, site.state())
    assert outcome["upgraded"] and (outcome["from"], outcome["to"]) == (OLD, NEW) and outcome["schema"] == {"from": OLDER, "to": NEWEST}
    assert outcome["kept"] == [str(site.folder / KEPT)] and outcome["downtime"] >= 0 and outcome["rehearsed"] >= 0
    assert site.rows(site.folder / KEPT) == site.old[0]
    # Nothing else is left.
    assert site.left() == ({KEPT}, {"outcome.json", "upgraded.json", "rehearsal.json"})
    # There is what the settings were, with their secrets.
    assert stat.S_IMODE((site.folder / "state").stat().st_mode) == 0o700


def test_making_ready_touches_nothing(site, capsys):
    said = upgrade.Upgrade(site.host.settings).prepare(site.told, NOON)
    assert said["due"] and said["rehearsed"] >= 0
    assert site.state() == site.old and site.left() == (set(), {"state.json", "content.json", "rehearsal.json"})
    assert command.main(["--settings", site.host.settings_file(), "upgraded"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["upgraded"] is None and answer["open"] == "upgrade" and answer["rehearsal"]["seconds"] == said["rehearsed"]
    assert upgrade.Upgrade(site.host.settings).recover() == {"recovered": "discarded"}
    assert site.state() == site.old and site.left() == (set(), {"rehearsal.json"})


@pytest.mark.parametrize(("line", "login"), [("", "proxy"), ('MLFLOW_AUTH_ADMIN_USERNAME="sparkflows"\n', "mlflow")])
def test_who_knew_the_users_is_written_down(site, line, login):
    """For a rollback, which goes back to that."""
    env = site.folder / "etc/mlflow.env"
    env.write_text(env.read_text() + line)
    site.upgrade()
    assert json.loads((site.folder / "state/upgraded.json").read_text())["login"] == login


def test_where_all_is_there_nothing_is_due(site):
    site.upgrade()
    used = site.state()
    assert not upgrade.Upgrade(site.host.settings).prepare(site.told, NOON + 60)["due"]
    assert site.state() == used and "state.json" not in site.left()[1]


def test_a_release_with_the_same_schema_leaves_the_database_alone(site, monkeypatch):
    monkeypatch.setattr(release, "schemas", lambda: (OLDER, {OLDER}))
    serving = json.loads((site.folder / "serving.json").read_text())
    (site.folder / "serving.json").write_text(json.dumps({**serving, "schemas": {OLD: OLDER, NEW: OLDER}}))
    before = site.host.database.stat()
    outcome = site.upgrade()
    assert outcome["kept"] == [] and outcome["rehearsed"] is None and site.state()[1] != site.old[1]
    assert site.host.database.stat().st_ino == before.st_ino and site.state()[0] == site.old[0]
    site.log()
    assert site.roll_back()["file"] == ""
    assert ("logged since",) in site.state()[0]["runs"] and site.state()[1:] == site.old[1:]


@pytest.mark.parametrize("stored", ["as MLflow answers it", "something else"])
def test_artifacts_in_a_bucket_are_asked_for_too(site, stored):
    (site.host.artifacts / "1").mkdir(exist_ok=True)
    (site.host.artifacts / "1/model.txt").write_text("as MLflow answers it")
    with s3_stand_in.store() as store:
        store.add("a/b/1/model.txt", stored.encode())
        for path in site.folder.glob("**/mlflow.env"):
            told = {"MLFLOW_ARTIFACTS_DESTINATION": "s3://registry/a/b", **store.environment}
            path.write_text(path.read_text() + "".join(f'{name}="{value}"\n' for name, value in told.items()))
        if stored == "as MLflow answers it":
            assert site.upgrade()["upgraded"]
        else:
            with pytest.raises(Problem, match="another content of the artifact 1/model.txt than it has to"):
                site.upgrade()
            assert (site.folder / "current").readlink().name == OLD


def test_a_schema_that_the_release_does_not_know(site):
    site.execute("UPDATE alembic_version SET version_num = 'ffff'")
    with pytest.raises(Problem, match=r"the schema ffff of a newer MLflow than 1.30.1.*rollback.yml goes back"):
        site.upgrade()
    assert site.left() == (set(), set())


def test_what_is_no_link_is_not_made_one(site):
    (site.folder / "java").unlink()
    (site.folder / "java").mkdir()
    with pytest.raises(Problem, match="java is no link, so it cannot be switched"):
        site.upgrade()
    assert site.left() == (set(), set())


def test_there_is_room_for_a_rehearsal(site):
    site.host.settings["minimum_free_mb"] = 10**9
    with pytest.raises(Problem, match="There is not enough room beside what is there"):
        site.upgrade()
    assert site.state() == site.old and site.left() == (set(), set())


def losing(uri):
    host_stand_in.upgrade(uri)
    with closing(sqlite3.connect(uri[len("sqlite:///"):])) as connection:
        connection.execute("UPDATE params SET a = 'other'")
        connection.commit()


def failing(_uri):
    raise Problem("MLflow's migration fails.")


# What fails, how, and at which step that is.
FAILURES = {
    "migration": (release, "upgrade", failing, "MLflow's migration fails.", "Upgrading"),
    "none": (release, "upgrade", lambda uri: None, f"The copy has the schema {OLDER} after that", "Upgrading"),
    "losing": (release, "upgrade", losing, "1 of 1 rows of params are not as they were", "Comparing"),
    "classes": (scratch, "content", lambda uri: {"experiments": [], "runs": [], "registered_models": []}, "MLflow finds in the copy", "Opening"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_rehearsal_that_fails_changes_nothing(site, monkeypatch, name):
    monkeypatch.setattr(*FAILURES[name][:3])
    with pytest.raises(Problem, match=FAILURES[name][3]):
        site.upgrade()
    assert site.state() == site.old and site.left() == (set(), set())


def failed(site, one, words, doing):
    with pytest.raises(Problem, match=words):
        one.switch()
    outcome = site.outcome()
    assert outcome["doing"].startswith(doing) and outcome["why"].endswith("What served before is in its place again, and serves."), outcome
    return outcome


@pytest.mark.parametrize("name", FAILURES)
def test_a_switch_that_fails_is_put_back(site, monkeypatch, name):
    """What had worked in the rehearsal."""
    one = upgrade.Upgrade(site.host.settings)
    one.prepare(site.told, NOON)
    monkeypatch.setattr(*FAILURES[name][:3])
    outcome = failed(site, one, FAILURES[name][3], FAILURES[name][4])
    assert outcome["upgraded"] is False and site.state() == site.old and site.left() == (set(), {"outcome.json", "rehearsal.json"})


@pytest.mark.parametrize(("where", "name", "doing"), [(services, "stop", "Stopping"), (database.Sqlite, "copy", "Copying the database")])
def test_what_cannot_be_stopped_or_copied_is_put_back(site, monkeypatch, where, name, doing):
    one = upgrade.Upgrade(site.host.settings)
    one.prepare(site.told, NOON)
    fails_once(monkeypatch, where, name, Problem("It will not."))
    failed(site, one, "It will not", doing)
    assert site.state() == site.old and site.left() == (set(), {"outcome.json", "rehearsal.json"})


def start_first_not(monkeypatch):
    fails_once(monkeypatch, services, "start", Problem("mlflow.service does not start."))


@pytest.mark.parametrize("name", ["start", "answer", "runs", "artifact"])
def test_a_new_release_that_does_not_serve(site, monkeypatch, name):
    one = upgrade.Upgrade(site.host.settings)
    one.prepare(site.told, NOON)
    path = site.folder / "serving.json"
    serving = json.loads(path.read_text())
    if name == "start":
        start_first_not(monkeypatch)
        failed(site, one, "does not start", "Starting MLflow with what is upgraded")
    elif name == "answer":
        path.write_text(json.dumps({**serving, "schemas": {OLD: OLDER, NEW: "another"}}))
        failed(site, one, "MLflow does not answer within 0 seconds", "Starting")
    elif name == "runs":
        path.write_text(json.dumps({**serving, "hidden": ["x"]}))
        failed(site, one, "MLflow answers without 1 of 1 experiments, for example x", "Asking")
    else:
        (site.host.artifacts / "1/run/model.bin").write_bytes(b"another")
        failed(site, one, "another content of the artifact 1/run/model.bin", "Asking")
    assert site.state() == site.old and site.left() == (set(), {"outcome.json", "rehearsal.json"})


def test_what_served_before_has_its_time_to_start(site, monkeypatch):
    one, waits, wait = upgrade.Upgrade(site.host.settings), [], services.Server.wait
    one.prepare(site.told, NOON)
    monkeypatch.setattr(services.Server, "wait", lambda server, seconds: waits.append(seconds) or wait(server, seconds))
    start_first_not(monkeypatch)
    failed(site, one, "does not start", "Starting")
    assert waits == [120] and site.told["wanted"]["start_timeout"] < 120


def test_an_upgrade_that_is_killed_before_each_effect(site):
    seen = set()
    for number in each_kill(site, "upgrade", site.told):
        for again in (0, 2, 5):
            site.run("recover", kill_at=again)
        assert site.run("recover")[1] == 0
        done = (site.folder / "state/upgraded.json").exists()
        seen.add(done)
        assert is_new(site, site.state()) if done else site.state() == site.old, number
        assert site.left()[0] == ({name for name in site.left()[0] if name.startswith("mlflow.db.before-")} if done else set()), number
        assert "state.json" not in site.left()[1]
        if not done:
            assert site.run("prepare-upgrade", told=site.told)[1] == 0 and site.run("switch")[1] == 0
            assert is_new(site, site.state()), number
    assert seen == {True, False}


def test_a_host_that_went_down_is_put_right_before_mlflow_starts(site):
    for number in each_kill(site, "upgrade", site.told):
        site.write_units(dict.fromkeys(UNITS, "inactive"))
        assert site.run("recover", "--boot")[1] == 0
        state = (*site.state()[:3], UNITS)
        assert state == site.old or is_new(site, state), number
        assert site.state()[3] == dict.fromkeys(UNITS, "inactive") and "state.json" not in site.left()[1]


@pytest.fixture(name="follower")
def fixture_follower(site):
    """Another host makes the database anew that it shares with this one."""
    one = upgrade.Upgrade(site.host.settings)
    said = one.prepare({**site.told, "leads": False}, NOON)
    assert said["due"] and said["rehearsed"] is None and site.left() == (set(), {"state.json", "content.json"})
    return one


def test_one_that_waits_follows(site, follower):
    assert command.main(["--settings", site.host.settings_file(), "hold"]) == 0
    assert site.state() == (*site.old[:3], {**UNITS, "mlflow.service": "inactive", "fire-mlops-server.service": "inactive"})
    host_stand_in.upgrade(f"sqlite:///{site.host.database}")
    state = follower.journal.read()
    follower.journal.write({**state, "held": state["held"] - 100})
    outcome = follower.switch()
    assert 100 <= outcome["downtime"] < 200
    # All that ran before it had to wait runs again, with the database as the other one has made it.
    assert is_new(site, site.state()) and outcome["kept"] == [] and outcome["schema"] == {"from": OLDER, "to": OLDER}
    # The other one goes back first.
    site.execute("UPDATE alembic_version SET version_num = ?", OLDER)
    assert site.roll_back()["file"] == "" and site.state() == site.old


def test_one_that_has_waited_in_vain(site, follower):
    # A run that was cut off holds it twice.
    assert follower.hold() == follower.hold() == {"held": ["fire-mlops-server.service", "mlflow.service"]}
    assert follower.recover() == {"recovered": "discarded"} and site.state() == site.old and site.left() == (set(), set())


def test_one_that_went_down_while_it_waited(site, follower):
    follower.hold()
    # systemd starts what is enabled.
    assert follower.recover(start=False) == {"recovered": "discarded"} and site.state()[3]["mlflow.service"] == "inactive"


def test_nothing_is_stopped_where_nothing_is_ready(site):
    with pytest.raises(Problem, match="Nothing is ready on this host: run playbooks/upgrade.yml"):
        upgrade.Upgrade(site.host.settings).hold()
    assert site.state() == site.old


def test_what_served_before_does_not_start_again(site, monkeypatch):
    """It is in its place, and said. Nobody has to put it back once more."""
    one = upgrade.Upgrade(site.host.settings)
    one.prepare(site.told, NOON)

    def start(_units):
        raise Problem("mlflow.service does not start.")

    monkeypatch.setattr(services, "start", start)
    with pytest.raises(Problem, match="does not start"):
        one.switch()
    assert site.outcome()["why"] == "mlflow.service does not start. What served before is in its place again. mlflow.service does not start."
    assert site.state()[:3] == site.old[:3] and site.left()[1] == {"outcome.json", "rehearsal.json"}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rolled_back_with_what_was_logged_since_in_a_file(site):
    site.upgrade()
    site.log()
    used = site.rows()
    outcome = site.roll_back()
    assert site.state() == site.old
    assert outcome["rolled_back"] and (outcome["from"], outcome["to"]) == (NEW, OLD)
    assert outcome["since"] == {"rows": {"runs": 1, "params": 1, "metrics": 1}, "gone": {"tags": 1, "params": 1}}
    saved = site.host.archives / "mlflow-mlflow1-since-20261127T120100Z.jsonl"
    assert outcome["file"] == str(saved) and stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert lines(saved) == [
        {"form": 1, "since": STAMP, "saved": "20261127T120100Z", "release": NEW, "schema": NEWEST, "rows": outcome["since"]["rows"],
         "gone": outcome["since"]["gone"]},
        {"table": "runs", "row": {"a": "logged since"}}, {"table": "params", "row": {"a": "changed"}}, {"table": "metrics", "row": {"a": "since"}},
    ]  # fmt: skip
    # All of it is in the database that served, too, which is kept.
    assert site.rows(site.folder / "mlflow.db.before-20261127T120100Z") == used
    assert site.left()[1] == {"outcome.json", "rehearsal.json"}
    with pytest.raises(Problem, match="There is no upgrade of this host that could be rolled back"):
        site.roll_back()


def test_rolled_back_step_by_step(site):
    """By way of a release in the middle, and back to where it began."""
    site.upgrade()
    third = "mlflow-3-ghi"
    (site.folder / "releases" / third).mkdir()
    serving = json.loads((site.folder / "serving.json").read_text())
    (site.folder / "serving.json").write_text(json.dumps({**serving, "schemas": {**serving["schemas"], third: NEWEST}}))
    middle = site.state()
    site.told["links"][str(site.folder / "current")] = str(site.folder / "releases" / third)
    site.upgrade(NOON + 60)
    assert site.roll_back(NOON + 120)["to"] == NEW and site.state() == middle
    assert site.roll_back(NOON + 180)["to"] == OLD and site.state() == site.old


def test_a_rollback_takes_from_the_archive_what_was_not_kept(site):
    site.lose_what_was_kept()
    outcome = site.roll_back()
    assert site.state() == site.old
    assert re.fullmatch(rf"The database from before the upgrade, .*/{KEPT}, is not there any more, so it was taken from {site.told['archive']}, .*",
                        outcome["notes"][0])  # fmt: skip
    header, *saved = lines(Path(outcome["file"]))
    assert saved == [{"table": "runs", "row": {"a": name}} for name in ("between", "since")] and header["rows"] == outcome["since"]["rows"]
    # As if it had been kept.
    assert site.rows(site.folder / KEPT) == site.old[0] and stat.S_IMODE((site.folder / KEPT).stat().st_mode) == 0o640
    assert site.left() == ({KEPT, "mlflow.db.before-20261127T120100Z"}, {"outcome.json", "rehearsal.json"})


def test_a_rollback_takes_it_from_an_encrypted_archive(site, key, monkeypatch, tmp_path):
    gpg, site.host.settings["recipient"] = key
    site.lose_what_was_kept()
    used = site.state()
    monkeypatch.setenv("GNUPGHOME", str(tmp_path / "nobody's"))
    with pytest.raises(Problem, match=f"{site.told['archive']} is encrypted: decrypt it where the private key is"):
        site.roll_back()
    assert site.told["archive"].endswith(".gpg") and site.state() == used
    monkeypatch.setenv("GNUPGHOME", gpg[gpg.index("--homedir") + 1])
    assert site.roll_back()["rolled_back"] and site.state() == site.old
    assert "plain.tar.gz" not in site.left()[1]


def no_archive(site):
    Path(site.told["archive"]).unlink()
    return f"{KEPT}, is not there any more, nor is the archive that was made before it, {site.told['archive']}: bring that back there"


def damaged_archive(site):
    path = Path(site.told["archive"])
    path.write_bytes(path.read_bytes()[:-200])
    return f"{path} is damaged"


def archive_from_after_it(site):
    Path(create.create(site.host.settings, NOON + 30)["archive"]).rename(site.told["archive"])
    return f"{site.told['archive']} is no archive from before the upgrade: its database has the schema {NEWEST} instead of {OLDER}"


def no_room(site):
    site.host.settings["minimum_free_mb"] = 10**9
    return "There is not enough room beside what is there"


def another_kind(site):
    record = site.folder / "state/upgraded.json"
    text = record.read_text().replace('"kind": "sqlite"', '"kind": "schema"')
    record.write_text(text.replace(f'"live": "{site.host.database}"', '"live": "public"'))
    return f"MLflow's database is another one than at the upgrade, when it was public. The archive from before it, {site.told['archive']}, can be"


@pytest.mark.parametrize("broken", [no_archive, damaged_archive, archive_from_after_it, no_room, another_kind])
def test_a_rollback_that_finds_no_database_of_then(site, broken):
    site.lose_what_was_kept()
    used, words = site.state(), broken(site)
    with pytest.raises(Problem, match=re.escape(words)):
        site.roll_back()
    assert site.state() == used and site.left() == (set(), {"upgraded.json", "rehearsal.json"})


@pytest.mark.parametrize("name", ["start", "classes"])
def test_a_rollback_that_fails_is_put_back(site, monkeypatch, name):
    site.upgrade()
    site.log()
    used = site.state()
    one = upgrade.Rollback(site.host.settings)
    one.prepare({"wanted": {"start_timeout": 0}}, NOON + 60)
    if name == "start":
        start_first_not(monkeypatch)
        failed(site, one, "does not start", "Starting MLflow with what is rolled back")
    else:
        monkeypatch.setattr(*FAILURES["classes"][:3])
        failed(site, one, "MLflow finds in the copy", "Copying the database from before")
    assert site.state() == used and site.outcome()["rolled_back"] is False
    monkeypatch.undo()
    host_stand_in.stand_in(monkeypatch.setattr, site.folder)
    site.roll_back(NOON + 120)
    assert site.state() == site.old


def test_a_rollback_that_is_killed_while_it_takes_the_database_from_the_archive(site):
    for number in killed_while_it_takes_from_the_archive(site):
        assert (site.folder / KEPT).exists(), number


def test_a_rollback_that_is_killed_before_each_effect(site):
    site.upgrade()
    site.log()
    used, seen = site.state(), set()
    for number in each_kill(site, "rollback", {"wanted": {"start_timeout": 0}}):
        for again in (0, 2, 5):
            site.run("recover", kill_at=again)
        assert site.run("recover")[1] == 0
        done = not (site.folder / "state/upgraded.json").exists()
        seen.add(done)
        assert site.state() == (site.old if done else used), number
        assert "state.json" not in site.left()[1]
        if not done:
            assert site.run("prepare-rollback", told={"wanted": {"start_timeout": 0}})[1] == 0 and site.run("switch")[1] == 0
            assert site.state() == site.old, number
    assert seen == {True, False}


def test_an_interrupted_upgrade_is_put_back_by_whatever_comes_next(site, monkeypatch):
    one = upgrade.Upgrade(site.host.settings)
    one.prepare(site.told, NOON)
    monkeypatch.setattr(upgrade.Upgrade, "put_back", lambda self, state, why, start=True: None)
    start_first_not(monkeypatch)
    with pytest.raises(Problem):
        one.switch()
    monkeypatch.undo()
    host_stand_in.stand_in(monkeypatch.setattr, site.folder)
    assert site.state() != site.old and journal.Journal(site.host.settings).open_kind == "upgrade"
    with pytest.raises(Problem, match="There is no upgrade"):
        upgrade.Rollback(site.host.settings).prepare({"wanted": {"start_timeout": 0}}, NOON)
    assert site.state() == site.old


def test_entries_are_written_whole(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_text("was")
    path.chmod(0o640)
    was = entries.capture(str(path))
    assert entries.capture(str(tmp_path / "none")) is None
    entries.write(str(link), {"link": "/somewhere"})
    entries.write(str(path), {**was, "mode": 0o600})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and str(link.readlink()) == "/somewhere"
    part = entries.part({str(path): was, str(link): {"link": "/somewhere"}, str(tmp_path / "none"): None})
    assert [change["path"] for change in part["changes"]] == [str(path)]
    assert entries.back({"changes": [{"path": str(link), "was": None}]})["changes"][0]["was"] == {"link": "/somewhere"}
    assert {one.name for one in tmp_path.iterdir()} == {"file", "link"}
