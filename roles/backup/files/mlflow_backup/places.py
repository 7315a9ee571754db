"""What is switched: the file of SQLite, the folder of artifacts, the tables of PostgreSQL, objects of S3; and what stands in entries.py.

Each is made beside what serves (staged), takes its place (apply), and is taken back (revert) by whoever comes after, who looks at what is there: each
can be cut off anywhere, and taken back again. What served before is kept under a name with the date (before).
"""

import os
import shutil
import sys
from contextlib import contextmanager

from . import artifacts, postgresql
from .account import beside
from .database import Postgresql
from .disk import sync_folder
from .entries import Entries
from .problems import Problem

# Of SQLite: what belongs to the file that was there.
COMPANIONS = ("-journal", "-wal", "-shm")
STAGED = {"sqlite": ".mlflow-restore-db", "artifacts": ".mlflow-restore-artifacts"}


def staged_folder(kind, live):
    return os.path.join(os.path.dirname(live), STAGED[kind])


def make_staged(kind, live, account):
    """An empty folder of MLflow's account beside what serves."""
    folder = staged_folder(kind, live)
    with beside(live, account):
        # Left by a run of before.
        remove(folder)
        os.mkdir(folder, 0o750)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.geteuid() == 0:
            os.fchown(handle, *account)
    finally:
        os.close(handle)


def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


class Place:
    """Of the journal: part has kind, live, staged, before, and whether there was one before (had)."""

    def __init__(self, part, account):
        self.account, self.had = account, part["had"]
        self.live, self.staged, self.before = part["live"], part["staged"], part["before"]

    def still(self):
        """Nobody uses it any more."""

    def apply(self):
        with beside(self.live, self.account):
            self.put_aside()
            os.rename(self.staged, self.live)
            sync_folder(os.path.dirname(self.live))

    def put_aside(self):
        if self.had:
            os.rename(self.live, self.before)

    def revert(self):
        with beside(self.live, self.account):
            if os.path.lexists(self.before):
                self.put_back()
            elif not self.had and os.path.lexists(self.live) and not os.path.lexists(self.staged):
                os.rename(self.live, self.staged)
            sync_folder(os.path.dirname(self.live))

    def put_back(self):
        if os.path.lexists(self.live):
            os.rename(self.live, self.staged)
        os.rename(self.before, self.live)

    def discard(self):
        """What was staged and did not come to serve, or came to."""
        with beside(self.live, self.account):
            remove(self.folder)

    @property
    def kept(self):
        """Where what served before is kept."""
        return self.before if os.path.lexists(self.before) else ""

    def forget(self):
        with beside(self.live, self.account):
            remove(self.before)


class Folder(Place):
    @property
    def folder(self):
        return self.staged


class SqliteFile(Place):
    @property
    def folder(self):
        return os.path.dirname(self.staged)

    def put_aside(self):
        if self.had:
            # The file is never away: MLflow would make an empty one.
            os.link(self.live, self.before, follow_symlinks=False)
        self.move_companions(self.live, self.before)

    def revert(self):
        super().revert()
        with beside(self.live, self.account):
            self.move_companions(self.before, self.live)

    def put_back(self):
        if os.path.lexists(self.live) and os.path.samefile(self.before, self.live):
            os.unlink(self.before)
            return
        for name in COMPANIONS:
            remove(self.live + name)
        os.rename(self.before, self.live)

    def forget(self):
        super().forget()
        with beside(self.live, self.account):
            for name in COMPANIONS:
                remove(self.before + name)

    @staticmethod
    def move_companions(source, target):
        for name in COMPANIONS:
            if os.path.lexists(source + name):
                os.rename(source + name, target + name)


class Schema(Place):
    """Tables of PostgreSQL: in one transaction from one schema of the database to the other."""

    def __init__(self, part, uri):
        super().__init__(part, None)
        self.uri = uri
        # Loads what reads it. It is not to be found any more when the link to the release has been put back by which this Python was started.
        Postgresql.told(uri)

    def still(self):
        postgresql.check_alone(self.uri)

    def apply(self):
        postgresql.switch(self.uri, self.live, self.staged, self.before)

    def revert(self):
        if postgresql.has_schema(self.uri, self.before):
            postgresql.drop(self.uri, self.staged)
            postgresql.switch(self.uri, self.live, self.before, self.staged)

    def discard(self):
        postgresql.drop(self.uri, self.staged, postgresql.beside(self.staged))

    @property
    def kept(self):
        return f"schema {self.before} of the database" if postgresql.has_schema(self.uri, self.before) else ""

    def forget(self):
        postgresql.drop(self.uri, self.before)


class Emptied:
    """Tables of an empty PostgreSQL that a SQLite file is moved to. The schema in which they were made stays, empty, until all is proven or put back:
    it says whose the tables are. MLflow goes back by its settings, also where this database cannot be reached."""

    kept = ""

    def __init__(self, part):
        self.uri, self.live, self.staged, self.files = part["uri"], part["live"], part["staged"], part["files"]

    def still(self):
        """There was nothing that anybody could use."""

    def apply(self):
        postgresql.move_tables(self.uri, self.staged, self.live)

    def revert(self):
        with said_only():
            if postgresql.is_empty_schema(self.uri, self.staged) and postgresql.has_tables(self.uri, self.live):
                postgresql.move_tables(self.uri, self.live, self.staged)

    def discard(self):
        self.remove_files(self.files)
        with said_only():
            postgresql.drop(self.uri, self.staged)

    @staticmethod
    def remove_files(files):
        for path in files:
            for name in ("", *COMPANIONS):
                remove(path + name)

    def forget(self):
        """There was nothing before."""


@contextmanager
def said_only():
    """What cannot be cleared up is no reason for MLflow not to serve: the next run does it."""
    try:
        yield
    except Problem as exc:
        print(f"This is left to the next run: {exc}", file=sys.stderr, flush=True)


class Objects:
    """Objects of S3 that were changed or deleted since: the version of then is made the latest once more. Each earlier one stays in the bucket."""

    def __init__(self, part, environment):
        self.path, self.bucket, self.environment = part["path"], part["bucket"], environment

    def still(self):
        """Of objects there is nothing to wait for."""

    def apply(self):
        artifacts.bring_back(self.environment, self.bucket, self.path, "version")

    def revert(self):
        artifacts.bring_back(self.environment, self.bucket, self.path, "before")

    def discard(self):
        remove(self.path)

    kept = ""

    def forget(self):
        """Versions are the bucket's to keep."""


def place_of(part, account, instance):
    if part["kind"] == "entries":
        return Entries(part)
    if part["kind"] == "objects":
        return Objects(part, instance.environment)
    if part["kind"] == "emptied":
        return Emptied(part)
    if part["kind"] == "schema":
        return Schema(part, instance.database_uri)
    return {"sqlite": SqliteFile, "artifacts": Folder}[part["kind"]](part, account)
