"""The program that makes backups, as it lies on a host."""

import grp
import json
import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "roles/backup/files"))

# pytest finds fixtures by their import; and these need the path above.
from real_postgresql import fixture_postgres, fixture_uri  # noqa: E402, F401

TABLES = ("experiments", "runs", "metrics", "params", "tags", "registered_models", "model_versions")


class Host:
    """An MLflow host in a folder: SQLite, artifacts, settings of a served model."""

    def __init__(self, folder):
        self.folder, self.database, self.artifacts, self.archives = folder, folder / "mlflow.db", folder / "artifacts", folder / "archives"
        for path in (self.artifacts / "1/run", self.archives, folder / "etc/models", folder / "releases/guide-1.30-abc"):
            path.mkdir(parents=True)
        (folder / "current").symlink_to(folder / "releases/guide-1.30-abc")
        (folder / "etc/mlflow.env").write_text(
            f'# Written\nMLFLOW_BACKEND_STORE_URI="sqlite:///{self.database}"\nMLFLOW_ARTIFACTS_DESTINATION="{self.artifacts}"\nA="\\"\\$\\\\"\n')
        (folder / "etc/models/churn.env").write_text('SERVED_MODEL_URI="models:/churn/3"\nMLFLOW_PORT="15001"\n')
        (self.artifacts / "1/run/model.bin").write_bytes(b"model" * 1000)
        with closing(sqlite3.connect(self.database)) as connection:
            for table in TABLES:
                connection.execute(f"CREATE TABLE {table} (a TEXT)")
                connection.execute(f"INSERT INTO {table} VALUES ('x')")
            connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
            connection.execute("INSERT INTO alembic_version VALUES ('97727af70f4d')")
            connection.commit()
        self.settings = {
            "site": "https://mlflow.example.com:5000", "host": "mlflow1", "venv": str(folder / "current"), "config_dir": str(folder / "etc"),
            "directory": str(self.archives), "artifacts": "auto", "verify": False, "recipient": "", "keep_count": 0, "keep_days": 0,
            "minimum_free_mb": 0, "configuration": [str(folder / "etc/**"), str(folder / "none/**")], "lock": str(folder / "lock"),
            "restore_lock": str(folder / "restore.lock"), "state_directory": str(folder / "state"), "user": pwd.getpwuid(os.getuid()).pw_name,
            "group": grp.getgrgid(os.getgid()).gr_name, "url": "",
        }  # fmt: skip

    def settings_file(self, **changed):
        path = self.folder / "backup.json"
        path.write_text(json.dumps({**self.settings, **changed}))
        return str(path)


@pytest.fixture(name="open_host")
def fixture_open_host():
    """One where other accounts may enter, too."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Host(Path(folder))


@pytest.fixture(name="server", scope="module")
def fixture_server():
    """MLflow's server for all hosts of a file of tests."""
    with subprocess.Popen([sys.executable, Path(__file__).with_name("host_stand_in.py")], stdout=subprocess.PIPE, text=True) as process:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


@pytest.fixture(name="host")
def fixture_host(tmp_path):
    return Host(tmp_path)


@pytest.fixture(name="key")
def fixture_key(tmp_path):
    """gpg with a private key, and the file with the public one."""
    if not shutil.which("gpg"):
        pytest.skip("there is no gpg here")
    home = tmp_path / "keys"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]
    subprocess.run([*gpg, "--quick-generate-key", "backup@example.com", "default", "default"], check=True)
    (tmp_path / "key.asc").write_bytes(subprocess.run([*gpg, "--armor", "--export"], check=True, stdout=subprocess.PIPE).stdout)
    yield gpg, str(tmp_path / "key.asc")
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)
