"""What is asked on the command line."""

import argparse
import fcntl
import json
import os
import shutil
import signal
import sys
import tempfile
from contextlib import contextmanager, nullcontext

from . import archive, judge
from .create import create, verify
from .encryption import is_encrypted, plain
from .journal import Journal
from .move import Move
from .problems import Problem
from .restore import Restore
from .settings import Instance, read_settings
from .switch import DONE, OUTCOME, Switch
from .upgrade import REHEARSAL, UPGRADED, Rollback, Upgrade

LOCK = "/run/mlflow-backup.lock"
RESTORE_LOCK = "/run/mlflow-restore.lock"
WANTED = ("other_site", "again", "accept_missing")
SWITCHES = {one.kind: one for one in (Restore, Upgrade, Rollback, Move)}


@contextmanager
def alone(path, what="backup or restore", wait=False):
    """Two at a time are excluded. A killed run leaves no lock."""
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            file.seek(0)
            raise Running(f"Another {what} is running on this host (process {file.read().strip() or '?'}): wait for its end.") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


class Running(Problem):
    """Somebody else does it."""


@contextmanager
def work_folder(where):
    folder = tempfile.mkdtemp(prefix=".mlflow-verify-", dir=where)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def command_create(settings, _order):
    with alone(settings.get("lock", LOCK)):
        return create(settings)


def command_verify(settings, order):
    with alone(settings.get("lock", LOCK)), work_folder(settings["directory"]) as folder:
        return {"archive": order.archive, "verified": verify(plain(order.archive, folder), folder, Instance(settings))}


def inspected(path, where):
    """where: for what is decrypted. Of one that is not, nothing is touched."""
    with work_folder(where) if is_encrypted(path) else nullcontext() as folder:
        manifest = archive.read(plain(path, folder))
    return judge.inspect(manifest, archive.identity(manifest))


def command_inspect(_settings, order):
    return inspected(order.archive, order.work)


def command_decrypt(_settings, order):
    return {"plain": plain(order.archive, order.work)}


def command_judge(settings, _order):
    told = json.load(sys.stdin)
    return Restore(settings).judged(told["found"], told["wanted"])


def command_prepare(settings, order):
    told = json.load(sys.stdin)
    with alone(settings.get("lock", LOCK)), alone(settings.get("restore_lock", RESTORE_LOCK)):
        return Restore(settings).prepare(order.archive, told["found"], told["wanted"])


def command_switch(settings, _order):
    journal = Journal(settings)
    kind = (journal.read() or {}).get("kind", Restore.kind)
    try:
        with alone(settings.get("lock", LOCK)), alone(settings.get("restore_lock", RESTORE_LOCK)):
            return SWITCHES[kind](settings).switch()
    except Problem as exc:
        # Whoever had systemd run this reads it there.
        if journal.read(OUTCOME) is None:
            journal.write({DONE[kind]: False, "why": str(exc)}, OUTCOME)
        raise


def command_hold(settings, _order):
    with alone(settings.get("restore_lock", RESTORE_LOCK)):
        return SWITCHES[(Journal(settings).read() or {}).get("kind", Upgrade.kind)](settings).hold()


def ready_for(settings, kind):
    """What makes an upgrade or a rollback ready is told on standard input."""
    told = json.load(sys.stdin)
    with alone(settings.get("lock", LOCK)), alone(settings.get("restore_lock", RESTORE_LOCK)):
        return kind(settings).prepare(told)


def command_prepare_upgrade(settings, _order):
    return ready_for(settings, Upgrade)


def command_prepare_rollback(settings, _order):
    return ready_for(settings, Rollback)


def command_look_at_move(settings, _order):
    """What prepare-move would find, without changing anything, also in check mode."""
    return Move(settings).look(json.load(sys.stdin))


def command_prepare_move(settings, _order):
    return ready_for(settings, Move)


def command_upgraded(settings, _order):
    """The last upgrade that can be rolled back, and the last rehearsal: without anything of MLflow, and in check mode."""
    journal = Journal(settings)
    return {"upgraded": journal.read(UPGRADED), "rehearsal": journal.read(REHEARSAL), "open": (journal.read() or {}).get("kind", "")}


def command_restore(settings, order):
    """All of it, by hand."""
    wanted = {name: getattr(order, name) for name in WANTED}
    wanted.update(keep_previous=not order.remove_previous, start_timeout=order.start_timeout)
    with alone(settings.get("lock", LOCK)), alone(settings.get("restore_lock", RESTORE_LOCK)):
        restore = Restore(settings)
        restore.recover()
        found = inspected(order.archive, settings["directory"])
        judged = restore.judged(found, wanted)
        if judged["restored"]:
            return judged
        restore.prepare(order.archive, found, wanted)
        return restore.switch()


def command_recover(settings, order):
    try:
        with alone(settings.get("restore_lock", RESTORE_LOCK), wait=not order.boot):
            return Switch(settings).recover(start=not order.boot)
    except Running:
        # It is the restore that starts MLflow, and whose service asks for this.
        return {"recovered": ""}


def parser():
    top = argparse.ArgumentParser(prog="mlflow_backup", description="Backs MLflow up, and brings a backup back.")
    top.add_argument("--settings", default="/etc/mlflow/backup.json")
    commands = top.add_subparsers(dest="command")
    commands.add_parser("create", help="make an archive")
    commands.add_parser("verify", help="read an archive and load its database").add_argument("archive")
    for name, what in (("inspect", "read an archive and say what it has"), ("decrypt", "decrypt an archive into a folder")):
        anywhere = commands.add_parser(name, help=what + ", on any computer")
        anywhere.add_argument("archive")
        anywhere.add_argument("--work", help="folder for what is decrypted")
    commands.add_parser("judge", help="say whether what was inspected can be restored here; on standard input: found, wanted")
    commands.add_parser("prepare", help="load an archive beside what serves; on standard input as for judge").add_argument("archive")
    commands.add_parser("prepare-upgrade", help="rehearse an upgrade; on standard input: links, staged, absent, archive, wanted, leads")
    commands.add_parser("prepare-rollback", help="make ready what was there before the last upgrade; on standard input: wanted")
    commands.add_parser("hold", help="stop who writes, while another host switches the database that they share")
    commands.add_parser("look-at-move", help="say what of this host would go to other stores; on standard input: environment, style, revision")
    commands.add_parser("prepare-move", help="copy it all to other stores, and compare; on standard input: staged, absent, archive, wanted")
    commands.add_parser("upgraded", help="say what was upgraded and rehearsed last")
    commands.add_parser("switch", help="put what was prepared in its place")
    restore = commands.add_parser("restore", help="inspect, judge, prepare and switch")
    restore.add_argument("archive")
    restore.add_argument("--start-timeout", type=int, default=120)
    for name in (*WANTED, "remove_previous"):
        restore.add_argument("--" + name.replace("_", "-"), action="store_true")
    recover = commands.add_parser("recover", help="finish or put back what a restore that was cut off has left")
    recover.add_argument("--boot", action="store_true", help="before MLflow is started: start nothing")
    return top


def main(arguments=None):
    top = parser()
    order = top.parse_args(arguments)
    if not order.command:
        top.error("say create, verify or restore")
    os.umask(0o077)
    # So that what is half done is removed or put back, too, when systemd stops it or a terminal is closed.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda _number, _frame: sys.exit(f"{order.command} was stopped."))
    try:
        settings = {} if order.command in ("inspect", "decrypt") else read_settings(order.settings)
        answer = globals()["command_" + order.command.replace("-", "_")](settings, order)
    except Problem as exc:
        print(exc, file=sys.stderr)
        return 1
    except OSError as exc:
        print("{}: {}".format(exc.filename or f"{order.command} failed", exc.strerror or exc), file=sys.stderr)
        return 1
    print(json.dumps(answer, sort_keys=True))
    return 0
