# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MLflow's own login app as its unit starts it, in each stack that has it: who gets in, who may do what, and what becomes of the users.

The proxy is not here: what it says for whom it asks stands in the requests (X-Forwarded-For). Needs what the other tests here do, and PostgreSQL.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import sqlite3
import subprocess
import sys

import pytest
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.mlflow_server import mlflow_server_variables
from playbook_run import PROJECT
from test_real_servers import API, ARTIFACTS, FILES, LOCATIONS, SETTINGS, STACKS, Release, ask, free_port, running

sys.path[:0] = [str(PROJECT / "tests/unit/backup"), str(PROJECT / "roles/backup/files")]
from real_postgresql import fixture_postgres  # noqa: E402,F401 - its folder is known only now; pytest finds a fixture by its name here

ADMIN, PASSWORD = "sparkflows", "the password of the settings"
LOGIN = {**SETTINGS, "mlops_mlflow_login": "mlflow", "mlops_mlflow_username": ADMIN, "mlops_mlflow_password": PASSWORD,
         "mlflow_server_default_permission": "READ"}  # fmt: skip
ANA = "ana", "a long word of ana's own"
USERS, EXPERIMENT = API + "users/", API + "experiments/"


@functools.cache
def release_of(name):
    return Release(name)


def environment_of(release, folder, uri, **settings):
    told = mlflow_server_variables(release.data["mlflow_server"]["environment"], {**LOGIN, **settings}, str(FILES / "mlflow_login.py"))
    return release.environment(
        **told, MLFLOW_BACKEND_STORE_URI=uri, MLFLOW_ARTIFACTS_DESTINATION=f"{folder}/artifacts", MLFLOW_HOST="127.0.0.1",
        MLFLOW_PORT=str(free_port()), MLFLOW_WORKERS="2", MLFLOW_GUARD_ROOTS=json.dumps([f"{folder}/artifacts"]),
        MLFLOW_GUARD_SEARCH_TERMS="32")  # fmt: skip


def prepare(release, environment, folder):
    command = [release.home / "bin/python", FILES / "mlflow_schema.py"]
    return subprocess.run(command, env=environment, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)


class Mlflow:
    def __init__(self, url):
        self.url = url

    def as_user(self, login, method, path, body=None):
        """As the proxy asks for somebody, who may have no login."""
        headers = {"Authorization": "Basic " + base64.b64encode(":".join(login).encode()).decode()} if login else {}
        return ask(self.url, method, path, body, **headers, **{"X-Forwarded-For": "192.0.2.7"})

    def as_admin(self, method, path, body=None):
        status, text = self.as_user((ADMIN, PASSWORD), method, path, body)
        assert status == 200, text
        return json.loads(text or "{}")


@contextlib.contextmanager
def mlflow(stack, folder, uri, **settings):
    """The server as its unit starts it."""
    release = release_of(stack)
    environment = environment_of(release, folder, uri, **settings)
    (folder / "artifacts").mkdir(exist_ok=True)
    prepare(release, environment, folder)
    url = f"http://127.0.0.1:{environment['MLFLOW_PORT']}"
    with running([release.home / "bin/mlflow", "server"], environment, folder / f"{stack}.log", url, "/health"):
        yield Mlflow(url)


def new_database(folder, tmp_path):
    name = f"mlflow_{tmp_path.name}".lower()
    subprocess.run(["createdb", "-h", folder, "-U", "admin", name], check=True)
    return f"postgresql+psycopg2://admin@/{name}?host={folder}"


@pytest.fixture(name="uri", params=["sqlite", "postgresql"])
def fixture_uri(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/mlflow.db"
    return new_database(request.getfixturevalue("postgres"), tmp_path)


@pytest.mark.parametrize("stack", STACKS)
def test_who_gets_in(stack, tmp_path):
    with mlflow(stack, tmp_path, f"sqlite:///{tmp_path}/mlflow.db") as server:
        for path in ("/mlops-login", EXPERIMENT + "search?max_results=1", "/", "/signup"):
            for login in (None, (ADMIN, "another word"), ("nobody", PASSWORD)):
                assert server.as_user(login, "GET", path)[0] == 401, (path, login)
        assert server.as_user((ADMIN, PASSWORD), "GET", "/mlops-login")[0] == 204
        # Also from this host itself: this one has to prove a login.
        assert ask(server.url, "GET", "/mlops-login")[0] == 401
        assert server.as_user((ADMIN, PASSWORD), "GET", EXPERIMENT + "search?max_results=1")[0] == 200
        assert server.as_user(None, "GET", "/health")[0] == 200
        # MLflow's own services on this host.
        assert ask(server.url, "POST", EXPERIMENT + "create", {"name": "of a service"})[0] == 200
        # The guard is behind it.
        body = {"name": "elsewhere", "artifact_location": LOCATIONS[0]}
        assert server.as_user((ADMIN, PASSWORD), "POST", EXPERIMENT + "create", body)[0] == 400


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize(("default", "reads"), [("READ", 200), ("NO_PERMISSIONS", 403)])
def test_who_may_do_what(stack, default, reads, tmp_path):
    with mlflow(stack, tmp_path, f"sqlite:///{tmp_path}/mlflow.db", mlflow_server_default_permission=default) as server:
        server.as_admin("POST", USERS + "create", {"username": ANA[0], "password": ANA[1]})
        number = server.as_admin("POST", EXPERIMENT + "create", {"name": "of the administrator"})["experiment_id"]
        assert server.as_user(ANA, "GET", "/mlops-login")[0] == 204
        assert server.as_user(ANA, "GET", f"{EXPERIMENT}get?experiment_id={number}")[0] == reads
        assert server.as_user(ANA, "POST", EXPERIMENT + "update", {"experiment_id": number, "new_name": "taken"})[0] == 403
        assert server.as_user(ANA, "POST", USERS + "create", {"username": "ben", "password": "a long word of ben's"})[0] == 403
        assert server.as_user(ANA, "PATCH", USERS + "update-admin", {"username": ANA[0], "is_admin": True})[0] == 403
        mine = json.loads(server.as_user(ANA, "POST", EXPERIMENT + "create", {"name": "of ana"})[1])["experiment_id"]
        assert server.as_user(ANA, "POST", EXPERIMENT + "update", {"experiment_id": mine, "new_name": "still of ana"})[0] == 200


# What is asked by somebody who has no permission for anything: a request, and whether MLflow 2 answers it all the same. MLflow 3 answers
# none of them. docs/mlflow-proxy.md tells it.
WITHOUT_PERMISSION = {
    "get the experiment": (("GET", EXPERIMENT + "get?experiment_id={experiment}"), False),
    "change the experiment": (("POST", EXPERIMENT + "update", {"experiment_id": "{experiment}", "new_name": "taken"}), False),
    "get the run": (("GET", API + "runs/get?run_id={run}"), False),
    "search its runs": (("POST", API + "runs/search", {"experiment_ids": ["{experiment}"]}), True),
    "search its runs as the pages do": (("POST", "/ajax-" + API[1:] + "runs/search", {"experiment_ids": ["{experiment}"]}), True),
    "log a metric": (("POST", API + "runs/log-metric", {"run_id": "{run}", "key": "m", "value": 1, "timestamp": 1}), False),
    "list the run's artifacts": (("GET", API + "artifacts/list?run_id={run}"), False),
    "get an artifact as clients do": (("GET", ARTIFACTS + "{place}/a.txt"), False),
    "get an artifact as the pages do": (("GET", "/get-artifact?path=a.txt&run_uuid={run}"), True),
    "get an artifact by the other address": (("GET", "/ajax-" + ARTIFACTS[1:] + "{place}/a.txt"), True),
    "put an artifact": (("PUT", ARTIFACTS + "{place}/a.txt", b"another"), False),
    "put an artifact by the other address": (("PUT", "/ajax-" + ARTIFACTS[1:] + "{place}/a.txt", b"another"), True),
    "delete an artifact": (("DELETE", ARTIFACTS + "{place}/b.txt"), False),
    "get the model": (("GET", API + "registered-models/get?name=m"), False),
    "get a version of it": (("GET", API + "model-versions/get?name=m&version=1"), False),
    "search its versions": (("GET", API + "model-versions/search?filter=name%3D%27m%27"), True),
    "get a file of a version": (("GET", "/model-versions/get-artifact?path=a.txt&name=m&version=1"), True),
    "give a version a stage": (("POST", API + "model-versions/transition-stage", {"name": "m", "version": "1", "stage": "Production",
                                                                               "archive_existing_versions": False}), False),
    "delete the model": (("DELETE", API + "registered-models/delete", {"name": "m"}), False),
}  # fmt: skip


def filled(value, **words):
    if isinstance(value, dict):
        return {key: filled(one, **words) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, **words) for one in value]
    return value.format(**words) if isinstance(value, str) else value


@pytest.mark.parametrize("stack", STACKS)
def test_what_permissions_are_worth(stack, tmp_path):
    with mlflow(stack, tmp_path, f"sqlite:///{tmp_path}/mlflow.db", mlflow_server_default_permission="NO_PERMISSIONS") as server:
        server.as_admin("POST", USERS + "create", {"username": ANA[0], "password": ANA[1]})
        experiment = server.as_admin("POST", EXPERIMENT + "create", {"name": "of the administrator"})["experiment_id"]
        run = server.as_admin("POST", API + "runs/create", {"experiment_id": experiment})["run"]["info"]
        place = run["artifact_uri"].partition(":/")[2].lstrip("/")
        for name in ("a.txt", "b.txt"):
            server.as_admin("PUT", f"{ARTIFACTS}{place}/{name}", b"text")
        server.as_admin("POST", API + "registered-models/create", {"name": "m"})
        server.as_admin("POST", API + "model-versions/create", {"name": "m", "source": run["artifact_uri"], "run_id": run["run_id"]})
        words, found = {"experiment": experiment, "run": run["run_id"], "place": place}, {}
        for what, (asked, _answered) in WITHOUT_PERMISSION.items():
            status, text = server.as_user(ANA, *(filled(part, **words) for part in asked))
            # What there is for him to see: a search may be answered with nothing.
            found[what] = status == 200 and ("search" not in what or run["run_id"] in text)
        assert found == {what: answered and stack == "mlflow-2" for what, (_asked, answered) in WITHOUT_PERMISSION.items()}


@pytest.mark.parametrize("stack", STACKS)
def test_the_administrator_has_the_password_of_the_settings_from_each_start_on(stack, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with mlflow(stack, tmp_path, uri) as server:
        server.as_admin("PATCH", USERS + "update-password", {"username": ADMIN, "password": "changed by somebody", "current_password": PASSWORD})
        assert server.as_user((ADMIN, PASSWORD), "GET", "/mlops-login")[0] == 401
    with mlflow(stack, tmp_path, uri) as server:
        assert server.as_user((ADMIN, PASSWORD), "GET", "/mlops-login")[0] == 204
        server.as_admin("POST", USERS + "create", {"username": ANA[0], "password": ANA[1]})
    with mlflow(stack, tmp_path, uri, mlops_mlflow_username="another", mlops_mlflow_password="another password") as server:
        assert server.as_user(("another", "another password"), "GET", USERS + f"get?username={ANA[0]}")[0] == 200
        # Who was one stays one until somebody says otherwise.
        assert server.as_user((ADMIN, PASSWORD), "GET", USERS + f"get?username={ANA[0]}")[0] == 200


def test_users_and_permissions_go_along_to_the_next_generation(uri, tmp_path):
    with mlflow("mlflow-2", tmp_path, uri, mlflow_server_default_permission="NO_PERMISSIONS") as server:
        server.as_admin("POST", USERS + "create", {"username": ANA[0], "password": ANA[1]})
        number, other = (server.as_admin("POST", EXPERIMENT + "create", {"name": name})["experiment_id"] for name in ("hers", "another"))
        server.as_admin("POST", EXPERIMENT + "permissions/create", {"experiment_id": number, "username": ANA[0], "permission": "EDIT"})
    with mlflow("mlflow-3", tmp_path, uri, mlflow_server_default_permission="NO_PERMISSIONS") as server:
        assert server.as_user(ANA, "POST", EXPERIMENT + "update", {"experiment_id": number, "new_name": "edited"})[0] == 200
        assert server.as_user(ANA, "GET", f"{EXPERIMENT}get?experiment_id={other}")[0] == 403
        assert server.as_user((ANA[0], "another word"), "GET", "/mlops-login")[0] == 401


MOVE = """
import sys
from mlflow_backup import release, rows, tables, postgresql
path, uri = sys.argv[1:]
schema = postgresql.live_schema(uri)
release.make_tables(uri, tables.has_users(path))
tables.fill(uri, schema, path)
tables.read_back(uri, schema, path, path + ".back")
with rows.files(path, path + ".back") as both:
    assert not list(rows.lost(both)), list(rows.lost(both))
assert tables.counts(path)["users"] == tables.counts(path + ".back")["users"] == 2
"""


@pytest.mark.parametrize("stack", STACKS)
def test_users_are_moved_to_postgresql(stack, postgres, tmp_path):
    """What move_store.yml does with the rows, with the real MLflow's tables."""
    there = f"sqlite:///{tmp_path}/mlflow.db", new_database(postgres, tmp_path)
    with mlflow(stack, tmp_path, there[0]) as server:
        server.as_admin("POST", USERS + "create", {"username": ANA[0], "password": ANA[1]})
    release = release_of(stack)
    environment = release.environment(PYTHONPATH=f"{PROJECT}/roles/backup/files:{FILES}", PGHOST=postgres)
    subprocess.run([release.home / "bin/python", "-c", MOVE, tmp_path / "mlflow.db", there[1]], env=environment, cwd=tmp_path, check=True)
    with mlflow(stack, tmp_path, there[1]) as server:
        assert server.as_user(ANA, "GET", "/mlops-login")[0] == server.as_user((ADMIN, PASSWORD), "GET", "/mlops-login")[0] == 204
        server.as_admin("POST", USERS + "create", {"username": "ben", "password": "a long word of ben's"})


@pytest.mark.parametrize("stack", STACKS)
def test_an_older_database_and_several_hosts(stack, uri, tmp_path):
    """A database that had no users, prepared by several at once as hosts that share it do; and once more, when nothing is to be done."""
    release = release_of(stack)
    without = {name: value for name, value in environment_of(release, tmp_path, uri).items() if not name.startswith("MLFLOW_AUTH_")}
    prepare(release, without, tmp_path)
    number = 1 if uri.startswith("sqlite") else 3
    command = [release.home / "bin/python", FILES / "mlflow_schema.py"]
    started = [subprocess.Popen(command, env=environment_of(release, tmp_path, uri), cwd=tmp_path, stdout=subprocess.PIPE, text=True)
               for _one in range(number)]  # fmt: skip
    assert [one.communicate(timeout=300) and one.returncode for one in started] == [0] * number
    assert "password" not in prepare(release, environment_of(release, tmp_path, uri), tmp_path).stdout
    if uri.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
            assert connection.execute("SELECT username, is_admin FROM users").fetchall() == [(ADMIN, 1)]
