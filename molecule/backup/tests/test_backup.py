"""Archives made while runs are logged, compared, verified, refused, encrypted, made by the timer. The tests build on each other, in this order."""

import json
import subprocess

import pytest
from conftest import LAB, PYTHON, content, play, with_mlflow

PROGRAM = f"{PYTHON} -B /opt/mlflow/libexec/mlflow_backup --settings /etc/mlflow/backup.json"
TRACKING = "http://127.0.0.1:5000"
SCRATCH = "http://127.0.0.1:5999"
HOLD = """import sqlite3, time
connection = sqlite3.connect("/var/lib/mlflow/db/mlflow.db")
connection.execute("BEGIN EXCLUSIVE")
open("/tmp/held", "w")
time.sleep(60)
"""


@pytest.fixture(name="back_up", scope="module")
def fixture_back_up(tmp_path_factory):
    """A run with these variables of the group mlflow."""
    path = tmp_path_factory.mktemp("inventory") / "backup.yml"

    def run(*arguments, **variables):
        path.write_text(json.dumps({"mlflow": {"vars": variables}}), encoding="utf-8")
        return play(f"--inventory={path}", "playbooks/backup.yml", "--diff", *arguments)

    return run


def archives(mlflow):
    return sorted(mlflow.check_output("ls -A /var/backups/mlflow").split())


def manifest_of(mlflow, path):
    return json.loads(mlflow.check_output("tar -xzOf %s manifest.json", path))


@pytest.fixture(name="first", scope="module")
def fixture_first(mlflow, back_up):
    """The archive that was made while runs were logged, and how many had been logged before and after it."""
    mlflow.run_expect([0], "rm -rf /tmp/logged-enough /tmp/held /var/backups/mlflow")
    count = with_mlflow("log_runs.py", TRACKING, "20", "-")
    assert count.communicate()[0].split() == ["20"]
    before = content(TRACKING)
    logging = with_mlflow("log_runs.py", TRACKING, "1", "/tmp/logged-enough")
    try:
        run = back_up(backup_verify=True)
    finally:
        mlflow.run_expect([0], "touch /tmp/logged-enough")
        logging.communicate(timeout=300)
    assert run.returncode == 0, run.text
    (name,) = archives(mlflow)
    return {"path": f"/var/backups/mlflow/{name}", "before": before, "after": content(TRACKING), "said": run.text}


def test_check_mode_changes_nothing(mlflow, back_up):
    mlflow.run_expect([0], "rm -rf /var/backups/mlflow")
    run = back_up("--check", backup_schedule="daily")
    assert run.returncode == 0, run.text
    assert not mlflow.file("/var/backups/mlflow").exists and not mlflow.file("/etc/systemd/system/mlflow-backup.timer").exists


def test_archive_is_root_s_and_says_what_it_has(mlflow, first):
    file = mlflow.file(first["path"])
    assert (file.user, file.group, oct(file.mode)) == ("root", "root", "0o600")
    assert oct(mlflow.file("/var/backups/mlflow").mode) == "0o700"
    manifest = manifest_of(mlflow, first["path"])
    counts = manifest["database"]["counts"]
    assert len(first["before"]["runs"]) <= counts["runs"] <= len(first["after"]["runs"])
    assert (manifest["host"], manifest["form"], manifest["artifacts"]["kept"]) == ("mlflow1", 1, "copied")
    assert manifest["release"]["name"] == mlflow.check_output("basename $(readlink /opt/mlflow/current)")
    assert f"{counts['runs']} runs" in first["said"] and "loaded into a scratch instance of MLflow and counted there" in first["said"]
    for path in ("/etc/mlflow/mlflow.env", "/etc/systemd/system/mlflow.service", "/etc/nginx/conf.d/mlops-mlflow.conf",
                 "/etc/nginx/mlops/mlflow.key"):  # fmt: skip
        assert manifest["members"][f"configuration{path}"]["sha256"] == mlflow.check_output("sha256sum < %s", path).split()[0]


def test_everything_is_in_it(mlflow, first):
    """Another MLflow on what was unpacked has all runs that were logged before, and none that were not: item by item, every artifact."""
    mlflow.run_expect([0], f"rm -rf /tmp/unpacked && mkdir -m 0700 /tmp/unpacked && tar -xzf {first['path']} -C /tmp/unpacked")
    mlflow.run_expect([0], "systemd-run --collect --unit=scratch -E PATH=/opt/mlflow/current/bin:/usr/bin:/bin /opt/mlflow/current/bin/mlflow server "
                           "--backend-store-uri sqlite:////tmp/unpacked/database/mlflow.db --serve-artifacts --artifacts-destination "
                           "/tmp/unpacked/artifacts --host 127.0.0.1 --port 5999")
    try:
        mlflow.run_expect([0], "timeout 120 bash -c 'until (echo > /dev/tcp/127.0.0.1/5999) 2>&-; do sleep 0.5; done'")
        found = content(SCRATCH)
    finally:
        mlflow.run_expect([0], "systemctl stop scratch")
    before, after = first["before"], first["after"]
    assert len(before["runs"]) >= 40
    for identity, run in before["runs"].items():
        assert found["runs"][identity] == run
    assert before["experiments"] == found["experiments"]
    assert before["models"]["kept"]["versions"].items() <= found["models"]["kept"]["versions"].items()
    # What was on its way has values that it kept.
    for identity, run in found["runs"].items():
        assert run["params"].items() <= after["runs"][identity]["params"].items()
        assert run["artifacts"].items() <= after["runs"][identity]["artifacts"].items()
    assert len(after["runs"]) > len(found["runs"])


def test_damaged_archive_is_refused(mlflow, first):
    size = mlflow.file(first["path"]).size
    mlflow.run_expect([0], f"cp {first['path']} /tmp/damaged.tar.gz && printf 'x' | dd of=/tmp/damaged.tar.gz bs=1 seek={size // 2} conv=notrunc")
    run = mlflow.run(f"{PROGRAM} verify /tmp/damaged.tar.gz")
    assert run.rc == 1 and "is damaged" in run.stderr and "Traceback" not in run.stderr
    mlflow.run_expect([0], f"head -c {size // 2} {first['path']} > /tmp/damaged.tar.gz")
    run = mlflow.run(f"{PROGRAM} verify /tmp/damaged.tar.gz")
    assert run.rc == 1 and "is damaged" in run.stderr and "Traceback" not in run.stderr
    assert "counted there" in mlflow.check_output(f"{PROGRAM} verify {first['path']}")


def test_timer_makes_them_without_ansible(mlflow, back_up, first):
    run = back_up(backup_schedule="*-*-* 02:30:00", backup_keep_count=2, backup_verify=True)
    assert run.returncode == 0, run.text
    timer = mlflow.service("mlflow-backup.timer")
    assert timer.is_running and timer.is_enabled
    made = archives(mlflow)
    assert len(made) == 2
    mlflow.run_expect([0], "systemctl start mlflow-backup.service")
    now = archives(mlflow)
    assert len(now) == 2 and now[0] == made[1] and now[1] > made[1]
    assert manifest_of(mlflow, f"/var/backups/mlflow/{now[1]}")["database"]["counts"]["runs"] == len(first["after"]["runs"])


def test_killed_one_leaves_no_archive(mlflow):
    made = archives(mlflow)
    # It waits for the database, and has its folder by then.
    mlflow.run_expect([0], f"systemd-run --collect --unit=holder {PYTHON} -c '{HOLD}'")
    mlflow.run_expect([0], "timeout 20 bash -c 'until [ -e /tmp/held ]; do sleep 0.1; done'")
    mlflow.run_expect([0], "systemctl start --no-block mlflow-backup.service")
    mlflow.run_expect([0], "timeout 20 bash -c 'until ls -d /var/backups/mlflow/.mlflow-backup-*; do sleep 0.1; done'")
    second = mlflow.run(f"{PROGRAM} create")
    assert second.rc == 1 and "Another backup or restore is running on this host" in second.stderr
    mlflow.run_expect([0], "systemctl kill --signal=KILL mlflow-backup.service; systemctl stop holder; systemctl reset-failed mlflow-backup.service")
    assert [name for name in archives(mlflow) if not name.startswith(".")] == made
    mlflow.run_expect([0], f"{PROGRAM} create")
    now = archives(mlflow)
    assert len(now) == 2 and not any(name.startswith(".") for name in now) and now != made


def test_encrypted(mlflow, back_up, tmp_path):
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]
    subprocess.run([*gpg, "--quick-generate-key", "backup@example.com", "default", "default"], check=True)
    subprocess.run([*gpg, "--armor", "--output", str(tmp_path / "key.asc"), "--export"], check=True)
    run = back_up(backup_public_key_path=str(tmp_path / "key.asc"), backup_verify=True, backup_keep_count=1)
    assert run.returncode == 0, run.text
    (name,) = archives(mlflow)
    assert name.endswith(".tar.gz.gpg")
    encrypted = subprocess.run(["docker", "exec", f"{LAB}-mlflow1", "cat", f"/var/backups/mlflow/{name}"], check=True, stdout=subprocess.PIPE).stdout
    plain = subprocess.run([*gpg, "--decrypt"], input=encrypted, check=True, stdout=subprocess.PIPE).stdout
    listed = subprocess.run(["tar", "-tz"], input=plain, check=True, stdout=subprocess.PIPE).stdout.decode().split()
    assert listed[0] == "database/mlflow.db" and listed[-1] == "manifest.json"
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)


def test_without_a_schedule_there_is_no_timer(mlflow, back_up):
    run = back_up()
    assert run.returncode == 0, run.text
    assert not mlflow.file("/etc/systemd/system/mlflow-backup.timer").exists
    assert not mlflow.file("/etc/mlflow/backup.asc").exists
    assert "mlflow-backup" not in mlflow.check_output("systemctl list-timers --all --no-legend")


def test_no_room_changes_nothing(mlflow, back_up):
    made = archives(mlflow)
    run = back_up(backup_minimum_free_mb=99999999)
    assert run.returncode != 0 and "There is not enough room for a backup in /var/backups/mlflow" in run.text, run.text
    assert archives(mlflow) == made
