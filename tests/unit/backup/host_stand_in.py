"""What the program that makes backups finds on a host, as stand-ins: MLflow's classes and server, which know the names in the tables, and systemd.

    host_stand_in.py    answers as MLflow's server for all hosts, whose folder is the first part of the path. Says its port.
"""

import io
import json
import os
import re
import signal
import sqlite3
import sys
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

NEWEST, OLDER = "97727af70f4d", "cc1f77228345"
KINDS = {"experiments/search": ("experiments", lambda name: {"experiment_id": name}),
         "runs/search": ("runs", lambda name: {"info": {"run_id": name}}),
         "registered-models/search": ("registered_models", lambda name: {"name": name})}  # fmt: skip


def fails_once(monkeypatch, where, name, problem):
    """The first call of a function ends with that, and all others are as ever."""
    real, calls = getattr(where, name), []

    def first_not(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise problem
        return real(*arguments)

    monkeypatch.setattr(where, name, first_not)


def content(uri):
    if not uri.startswith("sqlite:"):
        return content_of_schema(uri)
    with closing(sqlite3.connect(uri[len("sqlite:///"):])) as connection:
        return {kind: [row[0] for row in connection.execute(f"SELECT a FROM {kind}")] for kind, _make in KINDS.values()}


def content_of_schema(uri):
    """What MLflow's classes find with the search path that they are told."""
    from mlflow_backup import postgresql

    schema = re.search("search_path=([a-z0-9_]+)", uri).group(1)
    return {kind: [json.loads(line) for line in postgresql.ask(uri, f"SELECT to_json(a) FROM {schema}.{kind};").splitlines()]
            for kind, _make in KINDS.values()}  # fmt: skip


def upgrade(uri):
    if not uri.startswith("sqlite:"):
        upgrade_schema(uri)
        return
    with closing(sqlite3.connect(uri[len("sqlite:///"):])) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [NEWEST])
        connection.commit()


def upgrade_schema(uri):
    """With what MLflow's own upgrades do: more columns and tables, fewer columns."""
    from mlflow_backup import postgresql

    schema = re.search("search_path=([a-z0-9_]+)", uri).group(1)
    postgresql.ask(uri, f"""
        SET search_path = {schema};
        ALTER TABLE runs ADD workspace text NOT NULL DEFAULT 'default';
        CREATE TABLE workspaces (name text PRIMARY KEY, about json);
        INSERT INTO workspaces VALUES ('default', '{{"a": 1}}');
        UPDATE alembic_version SET version_num = '{NEWEST}';
    """, transaction=True)


class Systemd:
    """Units and their states, in a file. A unit that is to fail says so there."""

    def __init__(self, folder):
        self.path = Path(folder) / "units.json"

    def __call__(self, *arguments, check=True):
        from mlflow_backup.problems import Problem

        verb, *units = [one for one in arguments if not one.startswith("--")]
        states = json.loads(self.path.read_text())
        if verb == "show":
            return "".join(states.get(unit, "inactive") + "\n" for unit in units)
        for unit in units if verb in ("start", "stop") else []:
            if verb == "start" and states.get(unit) == "broken":
                raise Problem(f"{unit} does not start.")
            if unit in states and states[unit] != "broken":
                states[unit] = "active" if verb == "start" else "inactive"
        self.path.write_text(json.dumps(states))
        return ""


class Effects:
    """Kills this process before the effect with this number: what changes files or the journal, stops or starts."""

    def __init__(self, kill_at):
        self.count, self.kill_at = 0, kill_at

    def counted(self, function):
        def call(*arguments, **named):
            if self.count == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            self.count += 1
            return function(*arguments, **named)

        return call


def changes_of_files(effects, set_attribute):
    """What changes them is counted, and what stops and starts."""
    from mlflow_backup import services

    for where, name in ((os, "rename"), (os, "link"), (os, "unlink"), (os, "mkdir"), (services, "systemctl")):
        set_attribute(where, name, effects.counted(getattr(where, name)))


def changes_of_schemas(effects, set_attribute):
    """What changes a database of PostgreSQL."""
    from mlflow_backup import database, postgresql

    for where, name in ((postgresql, "load"), (database.Postgresql, "copy")):
        set_attribute(where, name, effects.counted(getattr(where, name)))
    ask = postgresql.ask
    changing = effects.counted(ask)
    set_attribute(postgresql, "ask", lambda uri, script, transaction=False: (
        changing if re.search("DROP|ALTER", script) else ask)(uri, script, transaction))  # fmt: skip


def stand_in(set_attribute, folder):
    """set_attribute: setattr, or that of monkeypatch."""
    from mlflow_backup import release, scratch, services

    set_attribute(scratch, "content", content)
    set_attribute(release, "schemas", lambda: (NEWEST, {NEWEST, OLDER}))
    set_attribute(release, "upgrade", upgrade)
    set_attribute(release, "load", lambda: None)
    set_attribute(release, "version", lambda: "1.30.1")
    set_attribute(services, "systemctl", Systemd(folder))


def run(folder, kill_at, *arguments, told=None, changes=changes_of_files):
    """A command in a process of its own, which is killed before that effect. How many there were, or -1 if it was killed; and its status.
    told: on its standard input."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        from mlflow_backup import command

        effects = Effects(kill_at)
        stand_in(setattr, folder)
        changes(effects, setattr)
        sys.stdin = io.StringIO(json.dumps(told))
        status = 99
        try:
            status = command.main(["--settings", str(Path(folder) / "backup.json"), *arguments])
        finally:
            os.write(writing, str(effects.count).encode())
            os._exit(status)
    os.close(writing)
    _process, status = os.waitpid(process, 0)
    with os.fdopen(reading) as file:
        said = file.read()
    return int(said) if os.WIFEXITED(status) else -1, os.waitstatus_to_exitcode(status)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_arguments):
        pass

    def do_GET(self):
        folder, _slash, rest = urlsplit(self.path).path.lstrip("/").partition("/")
        folder = Path(unquote(folder))
        settings = json.loads((folder / "serving.json").read_text())
        if json.loads((folder / "units.json").read_text()).get("mlflow.service") != "active" or not self.knows(folder, settings):
            self.close_connection = True
            return
        found = next((kind for kind in KINDS if rest.endswith(kind)), "")
        if found:
            table, make = KINDS[found]
            names = [name for name in content("sqlite:///" + settings["database"])[table] if name not in settings["hidden"]]
            self.answer(json.dumps({table: [make(name) for name in names]}).encode())
        else:
            self.answer((Path(settings["artifacts"]) / unquote(rest.partition("/artifacts/")[2])).read_bytes())

    do_POST = do_GET

    @staticmethod
    def knows(folder, settings):
        """As a release of MLflow knows its own schema only."""
        if "schemas" not in settings:
            return True
        with closing(sqlite3.connect(settings["database"])) as connection:
            revision = connection.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        return settings["schemas"].get(os.path.basename(os.readlink(folder / "current"))) == revision

    def answer(self, data):
        # The body of the request.
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        sys.stdin.close()
        server.serve_forever()
