"""Archives brought back: to the host that they are of, to a bare one, refused, with the switch killed at each step. The tests build on each other."""

import json
import shutil
import subprocess

import pytest
from conftest import LAB, PYTHON, content, play, with_mlflow
from test_backup import PROGRAM, TRACKING, archives

HOST = f"{LAB}-mlflow1"
# The program, which is killed when it says that.
KILLED = """import os, sys
sys.path.insert(0, "/opt/mlflow/libexec")
from mlflow_backup import command, switch
def tell(text):
    if text.startswith(sys.argv[1]):
        os.kill(os.getpid(), 9)
switch.tell = tell
sys.exit(command.main(["--settings", "/etc/mlflow/backup.json", "switch"]))
"""
POST = """import sys, urllib.request
urllib.request.urlopen(urllib.request.Request(sys.argv[1], sys.argv[2].encode(), {"Content-Type": "application/json"}))
"""
STEPS = ["Stopping", "Changing SqliteFile", "Changing Folder", "Starting", "Asking", "Proven"]
# An archive with another manifest.
CHANGED = """import io, json, sys, tarfile
source, target, revision = sys.argv[1:]
with tarfile.open(source) as old, tarfile.open(target, "w:gz") as new:
    for member in old:
        content = old.extractfile(member).read()
        if member.name == "manifest.json":
            manifest = json.loads(content)
            manifest["database"]["revision"] = revision
            content = json.dumps(manifest).encode()
        member.size = len(content)
        new.addfile(member, io.BytesIO(content))
"""


@pytest.fixture(name="run", scope="module")
def fixture_run(tmp_path_factory):
    """A run of a playbook with these variables of the group mlflow."""
    path = tmp_path_factory.mktemp("inventory") / "restore.yml"

    def run(*arguments, playbook="restore", **variables):
        path.write_text(json.dumps({"mlflow": {"vars": variables}}), encoding="utf-8")
        return play(f"--inventory={path}", f"playbooks/{playbook}.yml", "--diff", *arguments)

    return run


def log(number):
    assert with_mlflow("log_runs.py", TRACKING, str(number), "-").communicate(timeout=600)[0].split() == [str(number)]


def post(mlflow, what, **data):
    mlflow.run_expect([0], f"{PYTHON} -c %s {TRACKING}/api/2.0/mlflow/runs/%s %s", POST, what, json.dumps(data))


@pytest.fixture(name="archive", scope="module")
def fixture_archive(mlflow, run, tmp_path_factory):
    """An archive, on the host and on the controller; all that MLflow had then, and all that it has now."""
    mlflow.run_expect([0], "rm -rf /var/backups/mlflow /var/lib/mlflow-restore")
    log(10)
    then = content(TRACKING)
    made = run(playbook="backup", backup_verify=True)
    assert made.returncode == 0, made.text
    (name,) = archives(mlflow)
    path = f"/var/backups/mlflow/{name}"
    copy = tmp_path_factory.mktemp("archive") / name
    with copy.open("wb") as file:
        subprocess.run(["docker", "exec", HOST, "cat", path], check=True, stdout=file)
    log(2)
    # One of those that are in the archive is changed, and one is deleted.
    first, second = sorted(then["runs"])[:2]
    post(mlflow, "set-tag", run_id=first, key="odd", value="changed")
    post(mlflow, "delete", run_id=second)
    now = content(TRACKING)
    assert now["runs"][first] != then["runs"][first] and len(now["runs"]) > len(then["runs"])
    return {"path": path, "copy": copy, "then": then, "now": now}


def process(mlflow):
    return mlflow.check_output("systemctl show --property=MainPID,ExecMainStartTimestamp mlflow.service")


def test_check_mode_changes_nothing(mlflow, run, archive):
    before = process(mlflow)
    done = run("--check", restore_archive=archive["path"])
    assert done.returncode == 0, done.text
    assert f"with {len(archive['then']['experiments'])} experiments, {len(archive['then']['runs'])} runs" in done.text
    assert "Nothing was changed" in done.text
    assert process(mlflow) == before and not mlflow.file("/var/lib/mlflow-restore").exists
    assert not mlflow.file("/etc/systemd/system/mlflow-restore.service").exists and mlflow.run("ls -d /tmp/mlflow-restore-*").rc != 0


REFUSED = {
    "nothing": ({}, ["There is no archive to restore"]),
    "not-here": ({"restore_archive": "/var/backups/mlflow/none.tar.gz"}, ["is no file on this host"]),
    "not-there": ({"restore_archive_path": "none.tar.gz"}, ["is no file on the controller"]),
    "both": ({"restore_archive": "{path}", "restore_archive_path": "{copy}"}, ["set one of them"]),
    "cut": ({"restore_archive": "/tmp/cut.tar.gz"}, ["/tmp/cut.tar.gz is damaged"]),
    "newer": ({"restore_archive": "/tmp/newer.tar.gz"}, ["has the schema ffffffffffff", "does not know", "mlops_stack"]),
    "other-site": ({"restore_archive": "{path}", "backup_site": "https://other.example.com"}, ["is of the site", "restore_other_site"]),
    "encrypted": ({"restore_archive": "/tmp/x.tar.gz.gpg"}, ["is encrypted: decrypt it"]),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_nothing_changed(mlflow, run, archive, name):
    mlflow.run_expect([0], "head -c 5000 %s > /tmp/cut.tar.gz; cp /tmp/cut.tar.gz /tmp/x.tar.gz.gpg", archive["path"])
    mlflow.run_expect([0], f"{PYTHON} -c %s %s /tmp/newer.tar.gz ffffffffffff", CHANGED, archive["path"])
    variables, words = REFUSED[name]
    before = process(mlflow)
    done = run(**{key: value.format(**archive) for key, value in variables.items()})
    assert done.returncode != 0 and all(word in done.text for word in words) and "mlflow1: " in done.text, done.text
    assert set(done.changed.values()) == {0} and process(mlflow) == before
    assert not mlflow.file("/var/lib/mlflow-restore").exists and mlflow.run("ls -d /tmp/mlflow-restore-*").rc != 0


def test_all_is_as_it_was_then(mlflow, run, archive):
    done = run(restore_archive=archive["path"])
    assert done.returncode == 0, done.text
    assert content(TRACKING) == archive["then"]
    assert "It was away for" in done.text and "What served before is kept as /var/lib/mlflow/db/mlflow.db.before-" in done.text
    kept = mlflow.check_output("ls -d /var/lib/mlflow/db/mlflow.db.before-* /var/lib/mlflow/artifacts.before-*").split()
    assert len(kept) == 2 and all(path in done.text for path in kept)
    assert mlflow.check_output("ls -A /var/lib/mlflow-restore").split() == ["last.json", "outcome.json"]
    assert mlflow.check_output("find /var/lib/mlflow/db /var/lib/mlflow/artifacts ! -user mlflow -o -name '.mlflow-restore*'") == ""
    # It is served by the service as it was, and takes what is logged.
    log(1)
    assert len(content(TRACKING)["runs"]) == len(archive["then"]["runs"]) + 2


def test_the_same_archive_again_changes_nothing(mlflow, run, archive):
    before, process_before = content(TRACKING), process(mlflow)
    done = run(restore_archive=archive["path"])
    assert done.returncode == 0 and set(done.changed.values()) == {0}, done.text
    assert "is left alone" in done.text and "restore_again" in done.text
    assert process(mlflow) == process_before and content(TRACKING) == before


def prepare(mlflow, path):
    """As the playbook does it."""
    wanted = {"other_site": False, "again": True, "accept_missing": False, "keep_previous": False, "start_timeout": 120}
    found = json.loads(mlflow.check_output(f"{PROGRAM} inspect %s", path))
    mlflow.run_expect([0], f"echo %s | {PROGRAM} prepare %s", json.dumps({"found": found, "wanted": wanted}), path)


@pytest.fixture(name="killed_at")
def fixture_killed_at(mlflow):
    """The switch, killed at a step. Whether anything comes after it can be chosen."""
    folder = "/etc/systemd/system/mlflow-restore.service.d"

    def switch(step, recovered=True):
        mlflow.run_expect([0], f"mkdir -p {folder} && echo %s > /opt/killed.py", KILLED)
        unit = f'[Service]\nExecStart=\nExecStart={PYTHON} -B /opt/killed.py "{step}"\n' + ("" if recovered else "ExecStopPost=\n")
        mlflow.run_expect([0], "echo %s > %s/kill.conf && systemctl daemon-reload", unit, folder)
        try:
            mlflow.run_expect([1], "systemctl start mlflow-restore.service")
        finally:
            mlflow.run_expect([0], f"rm -r {folder}; systemctl daemon-reload; systemctl reset-failed mlflow-restore.service")

    return switch


@pytest.mark.parametrize("step", STEPS)
def test_killed_while_it_switches(mlflow, archive, killed_at, step):
    before = content(TRACKING)
    prepare(mlflow, archive["path"])
    killed_at(step)
    outcome = json.loads(mlflow.check_output("cat /var/lib/mlflow-restore/outcome.json"))
    assert "The restore was cut off" in outcome["why"] and outcome["why"].endswith("is in its place again, and serves.")
    assert content(TRACKING) == before and mlflow.service("fire-mlops-server").is_running
    assert mlflow.check_output("ls -A /var/lib/mlflow-restore").split() == ["last.json", "outcome.json"]
    assert mlflow.check_output("find /var/lib/mlflow -maxdepth 2 -name '.mlflow-restore*'") == ""


def test_a_host_that_goes_down_while_it_switches(mlflow, archive, killed_at):
    before = content(TRACKING)
    prepare(mlflow, archive["path"])
    # What was restored lies in its place, MLflow is stopped, and nobody has proven it.
    killed_at("Starting", recovered=False)
    assert not mlflow.service("mlflow").is_running
    assert "The last restore on this host was cut off" in mlflow.run(f"{PROGRAM} create").stderr
    subprocess.run(["docker", "restart", "--time", "5", HOST], check=True, stdout=subprocess.DEVNULL)
    mlflow.run_expect([0], "timeout 120 bash -c 'until (echo > /dev/tcp/127.0.0.1/5000) 2>&-; do sleep 0.5; done'")
    assert content(TRACKING) == before
    assert "state.json" not in mlflow.check_output("ls -A /var/lib/mlflow-restore")


def test_the_next_run_finishes(mlflow, run, archive):
    done = run(restore_archive=archive["path"], restore_again=True, restore_keep_previous=False)
    assert done.returncode == 0, done.text
    assert content(TRACKING) == archive["then"]


def test_bare_host_and_encrypted_archive(mlflow, run, archive, tmp_path, monkeypatch):
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    gpg = ["gpg", "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback", "--trust-model", "always"]
    subprocess.run([*gpg, "--quick-generate-key", "backup@example.com", "default", "default"], check=True)
    encrypted = tmp_path / "archive.tar.gz.gpg"
    subprocess.run([*gpg, "--recipient", "backup@example.com", "--output", encrypted, "--encrypt", archive["copy"]], check=True)
    # Of MLflow nothing is left but packages and the release.
    mlflow.run_expect([0], "systemctl disable --now mlflow fire-mlops-server mlflow-restore-recover; rm -rf /var/lib/mlflow /var/lib/mlflow-restore "
                           "/etc/mlflow /var/backups/mlflow /opt/mlflow/libexec /var/lib/mlops-service/mlflow* /etc/systemd/system/mlflow* "
                           "&& systemctl daemon-reload")  # fmt: skip
    done = run(playbook="mlflow")
    assert done.returncode == 0, done.text
    assert content(TRACKING)["runs"] == {}
    done = run(restore_archive_path=str(encrypted))
    assert done.returncode == 0, done.text
    assert content(TRACKING) == archive["then"]
    assert mlflow.check_output("ls -A /var/lib/mlflow-restore").split() == ["last.json", "outcome.json"]
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)
    shutil.rmtree(home)
    # The same archive unencrypted, and with no key any more, is known.
    done = run(restore_archive_path=str(archive["copy"]))
    assert done.returncode == 0 and set(done.changed.values()) == {0} and "is left alone" in done.text, done.text


def test_what_was_deleted_is_removed_for_good(mlflow, run, archive):
    gone = sorted(archive["then"]["runs"])[0]
    post(mlflow, "delete", run_id=gone)
    done = run(playbook="mlflow", mlflow_server_gc_schedule="Sun *-*-* 03:30:00", mlflow_server_gc_older_than="30d")
    assert done.returncode == 0, done.text
    timer = mlflow.service("mlflow-gc.timer")
    assert timer.is_running and timer.is_enabled
    again = run(playbook="mlflow", mlflow_server_gc_schedule="Sun *-*-* 03:30:00", mlflow_server_gc_older_than="30d")
    assert set(again.changed.values()) == {0}, again.text
    mlflow.run_expect([0], "systemctl start mlflow-gc.service")
    assert gone in content(TRACKING)["runs"]
    done = run(playbook="mlflow", mlflow_server_gc_schedule="Sun *-*-* 03:30:00", mlflow_server_gc_older_than="1s")
    assert done.returncode == 0, done.text
    mlflow.run_expect([0], "sleep 1; systemctl start mlflow-gc.service")
    left = content(TRACKING)["runs"]
    assert left == {name: one for name, one in archive["then"]["runs"].items() if name != gone}
    assert mlflow.check_output("find /var/lib/mlflow/artifacts -path '*%s*' -type f", gone) == ""
    done = run(playbook="mlflow")
    assert done.returncode == 0, done.text
    assert not mlflow.file("/etc/systemd/system/mlflow-gc.timer").exists
    assert "mlflow-gc" not in mlflow.check_output("systemctl list-timers --all --no-legend")
