"""An archive appears whole or not at all."""

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow_backup import archive, command, create, rotation, scratch
from mlflow_backup.problems import Damaged, Problem

PROGRAM = Path(create.__file__).parent
NOON = 1_795_780_800  # 2026-11-27 12:00 UTC


def left(host):
    return sorted(path.name for path in host.archives.iterdir())


def test_what_the_manifest_says(host):
    made = create.create(host.settings, NOON)
    manifest = archive.read(made["archive"])
    manifest.pop("members")
    assert manifest == made["manifest"] == {
        "form": 1, "site": "https://mlflow.example.com:5000", "host": "mlflow1", "created": "2026-11-27T12:00:00Z",
        "release": {"name": "guide-1.30-abc", "stack": "guide-1.30", "digest": "abc", "mlflow": ""},
        "database": {"kind": "sqlite", "revision": "97727af70f4d",
                     "counts": dict.fromkeys(("experiments", "runs", "metrics", "params", "tags", "registered_models", "model_versions"), 1)},
        "artifacts": {"kept": "copied", "place": str(host.artifacts), "objects": 1, "bytes": 5000},
        "served": [{"instance": "churn", "model": "models:/churn/3", "port": "15001"}],
    }  # fmt: skip
    assert left(host) == ["mlflow-mlflow1-20261127T120000Z.tar.gz"]
    assert stat.S_IMODE(os.stat(made["archive"]).st_mode) == 0o600


def test_the_database_is_whole_while_it_is_written(host):
    """Two tables that grow in one transaction have as many rows in each copy."""
    ends = threading.Event()

    def grow():
        with closing(sqlite3.connect(host.database, timeout=60)) as connection:
            while not ends.is_set():
                connection.execute("INSERT INTO runs VALUES ('y')")
                connection.execute("INSERT INTO tags VALUES ('y')")
                connection.commit()

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        counts = [create.create(host.settings, NOON + number)["manifest"]["database"]["counts"] for number in range(4)]
    finally:
        ends.set()
        writer.join()
    assert all(one["runs"] == one["tags"] for one in counts) and counts[-1]["runs"] > counts[0]["runs"]


def test_a_damaged_database_is_no_backup(host):
    data = bytearray(host.database.read_bytes())
    data[4096:8192] = b"\xff" * 4096
    host.database.write_bytes(data)
    with pytest.raises(Problem, match="damaged|cannot be copied|malformed"):
        create.create(host.settings)
    assert left(host) == []


def test_links_lead_nowhere(host):
    secret = host.folder / "secret"
    secret.write_text("canary-7731")
    (host.artifacts / "link").symlink_to(secret)
    (host.artifacts / "folder").symlink_to(host.folder)
    os.mkfifo(host.artifacts / "pipe")
    members = archive.read(create.create(host.settings)["archive"])["members"]
    assert [name for name in members if name.startswith("artifacts/")] == ["artifacts/1/run/model.bin"]


def test_without_room_nothing_is_begun(host, monkeypatch):
    monkeypatch.setattr(create.shutil, "disk_usage", lambda _path: SimpleNamespace(free=50 << 20))
    create.create(host.settings)
    with pytest.raises(Problem, match=r"50 MB are free.*60 MB of them to stay free \(backup_minimum_free_mb\)"):
        create.create({**host.settings, "minimum_free_mb": 60})
    monkeypatch.setattr(create.shutil, "disk_usage", lambda _path: SimpleNamespace(free=host.database.stat().st_size * 2 + 5000))
    create.create(host.settings)
    for more in ({"verify": True}, {"recipient": "key"}):
        with pytest.raises(Problem, match="not enough room"):
            create.create({**host.settings, **more})


def test_artifacts_elsewhere(host):
    env = host.folder / "etc/mlflow.env"
    env.write_text(env.read_text().replace(str(host.artifacts), "hdfs://cluster/mlflow"))
    with pytest.raises(Problem, match="Artifacts are in hdfs://cluster/mlflow.*backup_artifacts to none"):
        create.create(host.settings)
    made = create.create({**host.settings, "artifacts": "none"})
    assert made["manifest"]["artifacts"] == {"kept": "none", "place": "hdfs://cluster/mlflow"}


def test_a_bucket_by_reference(host, monkeypatch):
    env = host.folder / "etc/mlflow.env"
    env.write_text(env.read_text().replace(str(host.artifacts), "s3://registry/mlflow"))
    pages = [{"Versions": [{"Key": "mlflow/a", "Size": 3, "ETag": '"e1"', "VersionId": "v2", "IsLatest": True},
                           {"Key": "mlflow/a", "Size": 2, "ETag": '"e0"', "VersionId": "v1", "IsLatest": False}]},
             {"Versions": [{"Key": "mlflow/b", "Size": 4, "ETag": '"e3"', "VersionId": "v3", "IsLatest": True}]}, {}]  # fmt: skip
    asked = []

    class Paginator:
        def paginate(self, **below):
            asked.append(below)
            return pages

    store = SimpleNamespace(get_bucket_versioning=lambda Bucket: {"Status": "Enabled"}, get_paginator=lambda name: asked.append(name) or Paginator())  # noqa: N803
    monkeypatch.setitem(sys.modules, "botocore", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "botocore.exceptions", SimpleNamespace(BotoCoreError=OSError, ClientError=KeyError))
    monkeypatch.setattr(create.artifacts, "client", lambda environment: store)
    made = create.create(host.settings)
    assert asked == ["list_object_versions", {"Bucket": "registry", "Prefix": "mlflow/"}]
    assert made["manifest"]["artifacts"] == {"kept": "by reference", "place": "s3://registry/mlflow", "objects": 2, "bytes": 7, "with_version": 2}
    assert made["notes"] == []
    archive.read(made["archive"], lambda name: str(host.folder / "keys") if name == "artifacts.jsonl" else None)
    assert [json.loads(line) for line in (host.folder / "keys").read_text().splitlines()] == [
        {"key": "mlflow/a", "size": 3, "etag": "e1", "version": "v2"}, {"key": "mlflow/b", "size": 4, "etag": "e3", "version": "v3"}]
    store.get_bucket_versioning = lambda Bucket: {}  # noqa: N803
    pages[:] = [{"Contents": [{"Key": "mlflow/a", "Size": 3, "ETag": '"e1"'}]}]
    made = create.create(host.settings)
    assert asked[-2] == "list_objects_v2" and made["notes"] == ["The bucket keeps no versions: what is overwritten or deleted there is in no backup."]


def test_what_does_not_pass_stays_not(host, monkeypatch):
    monkeypatch.setattr(scratch, "content", lambda uri: {"runs": [], "experiments": ["0"], "registered_models": ["a"]})
    with pytest.raises(Damaged, match="MLflow finds in the copy of the database 0 runs instead of 1"):
        create.create({**host.settings, "verify": True})
    assert left(host) == []
    monkeypatch.setattr(scratch, "content", lambda uri: {"runs": ["r"], "experiments": ["0"], "registered_models": ["a"]})
    assert create.create({**host.settings, "verify": True})["verified"].startswith("loaded into a scratch instance")


def test_a_manifest_that_counts_otherwise():
    manifest = {"database": {"revision": "a", "counts": {"runs": 2}}}
    scratch.compare(manifest, {"revision": "a", "counts": {"runs": 2}})
    for found in ({"revision": "b", "counts": {"runs": 2}}, {"revision": "a", "counts": {"runs": 1}}):
        with pytest.raises(Damaged, match="not what the manifest says"):
            scratch.compare(manifest, found)


def test_which_go(host):
    for name in ("mlflow-mlflow1-20261101T000000Z.tar.gz", "mlflow-mlflow1-20261120T000000Z.tar.gz.gpg", "mlflow-mlflow1-20261126T000000Z.tar.gz",
                 "mlflow-mlflow10-20200101T000000Z.tar.gz", "mlflow-mlflow1-20200101T000000Z.tar.gz.part", "notes"):  # fmt: skip
        (host.archives / name).touch()
    strangers = {"mlflow-mlflow10-20200101T000000Z.tar.gz", "mlflow-mlflow1-20200101T000000Z.tar.gz.part", "notes"}
    made = create.create({**host.settings, "keep_count": 3, "keep_days": 0}, NOON)
    assert made["removed"] == ["mlflow-mlflow1-20261101T000000Z.tar.gz"]
    made = create.create({**host.settings, "keep_count": 0, "keep_days": 2}, NOON + 1)
    assert made["removed"] == ["mlflow-mlflow1-20261120T000000Z.tar.gz.gpg"]
    assert strangers < set(left(host)) and len(left(host)) == 6
    assert list(rotation.too_many_or_too_old(["mlflow-mlflow1-20200101T000000Z.tar.gz"], 1, 1, NOON)) == []


def test_one_at_a_time(host, capsys):
    settings = host.settings_file()
    with command.alone(host.settings["lock"]):
        assert command.main(["--settings", settings, "create"]) == 1
    assert f"Another backup or restore is running on this host (process {os.getpid()})" in capsys.readouterr().err
    assert left(host) == []
    assert command.main(["--settings", settings, "create"]) == 0
    assert json.loads(capsys.readouterr().out)["archive"] == str(host.archives / left(host)[0])


def slow(host, handler):
    """The program as it is started, stopped by a signal while it reads an artifact that never ends coming."""
    code = ("import sys, time; sys.path.insert(0, sys.argv[1]); from mlflow_backup import archive, command\n"
            "def add(*_arguments): print('reading', flush=True); time.sleep(600)\n"
            "archive.Writer.add_path = add\nsys.exit(command.main(['--settings', sys.argv[2], 'create']))")  # fmt: skip
    process = subprocess.Popen([sys.executable, "-c", code, str(PROGRAM.parent), host.settings_file()], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "reading\n"
    during = left(host)
    process.send_signal(handler)
    process.wait()
    process.stdout.close()
    return during


def test_what_is_stopped_or_killed_leaves_no_archive(host):
    assert all(name.startswith(create.PART) for name in slow(host, signal.SIGTERM))
    assert left(host) == []
    slow(host, signal.SIGKILL)
    assert [name[:15] for name in left(host)] == [create.PART]
    done = subprocess.run([sys.executable, str(PROGRAM), "--settings", host.settings_file(), "create"], capture_output=True, text=True, check=True)
    assert left(host) == [os.path.basename(json.loads(done.stdout)["archive"])]


def test_encrypted_for_a_public_key(host, key, capsys):
    gpg, path = key
    made = create.create({**host.settings, "recipient": path})
    assert left(host) == [os.path.basename(made["archive"])] and made["archive"].endswith(".tar.gz.gpg")
    assert stat.S_IMODE(os.stat(made["archive"]).st_mode) == 0o600
    assert b"MLFLOW" not in Path(made["archive"]).read_bytes()
    plain = host.folder / "plain.tar.gz"
    subprocess.run([*gpg, "--output", str(plain), "--decrypt", made["archive"]], check=True)
    assert archive.read(str(plain))["host"] == "mlflow1"
    assert command.main(["--settings", host.settings_file(), "verify", made["archive"]]) == 1
    assert "is encrypted: decrypt it" in capsys.readouterr().err
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/none")
        assert command.main(["--settings", host.settings_file(), "inspect", made["archive"]]) == 1
    assert "is encrypted: decrypt it where the private key is, and name the result. Here is no GnuPG." in capsys.readouterr().err


def test_a_key_that_is_none(host, key):
    Path(key[1]).write_text("no key")
    with pytest.raises(Problem, match="backup_public_key_path"):
        create.create({**host.settings, "recipient": key[1]})
    assert left(host) == []
