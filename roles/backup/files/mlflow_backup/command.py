"""What is asked on the command line."""

import argparse
import fcntl
import json
import os
import shutil
import signal
import sys
import tempfile
from contextlib import contextmanager

from .create import create, verify
from .problems import Problem
from .settings import read_settings

LOCK = "/run/mlflow-backup.lock"


@contextmanager
def alone(path=LOCK):
    """Two at a time are excluded. A killed run leaves no lock."""
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise Problem(f"Another backup is running on this host (process {file.read().strip() or '?'}): wait for its end.") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def verify_alone(path, work):
    if path.endswith(".gpg"):
        raise Problem(f"{path} is encrypted: decrypt it where the private key is, and name the result.")
    folder = tempfile.mkdtemp(prefix=".mlflow-verify-", dir=work)
    try:
        return {"archive": path, "verified": verify(path, folder)}
    finally:
        shutil.rmtree(folder)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="mlflow_backup", description="Backs MLflow up.")
    parser.add_argument("--settings", default="/etc/mlflow/backup.json")
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("create", help="make an archive")
    commands.add_parser("verify", help="read an archive and load its database").add_argument("archive")
    order = parser.parse_args(arguments)
    if not order.command:
        parser.error("say create or verify")
    os.umask(0o077)
    # So that what is half written is removed, too, when systemd stops it.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit("The backup was stopped."))
    try:
        settings = read_settings(order.settings)
        with alone(settings.get("lock", LOCK)):
            answer = create(settings) if order.command == "create" else verify_alone(order.archive, settings["directory"])
    except Problem as exc:
        print(exc, file=sys.stderr)
        return 1
    except OSError as exc:
        print("{}: {}".format(exc.filename or "The backup failed", exc.strerror or exc), file=sys.stderr)
        return 1
    print(json.dumps(answer, sort_keys=True))
    return 0
