# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An MLflow of the guide's stack with all sorts of things in it, upgraded by the program of role backup to the MLflow of 2 and of 3, at once and by
way of 2, and back again: with the real releases and their servers, compared item by item and row by row. Only systemd is stood in for.

Needs what the other tests here do, and Python 3.7 for the stack of the guide.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.mlflow_server import mlflow_server_variables
from playbook_run import PROJECT
from test_real_logins import ANA, EXPERIMENT, LOGIN, USERS, Mlflow
from test_real_servers import API, FILES, GUARD, SETTINGS, Release, free_port

sys.path.insert(0, str(PROJECT / "roles/backup/files"))
# Where there are several Pythons.
os.environ["PATH"] += "".join(f":{path}" for path in sorted(Path.home().glob(".pyenv/versions/3.7.*/bin")))
from mlflow_backup import rows, services  # noqa: E402 - its folder is known only now

HERE = Path(__file__).parent
STACKS = ["guide-1.30", "mlflow-2", "mlflow-3"]


@pytest.fixture(name="releases", scope="module")
def fixture_releases():
    return {name: Release(name) for name in STACKS}


class Site:
    """An MLflow host in a folder, with a server that runs."""

    def __init__(self, folder, releases, stack, settings=SETTINGS, config=GUARD):
        self.folder, self.releases, self.port = folder, releases, free_port()
        self.settings, self.config = settings, config
        self.url, self.live = f"http://127.0.0.1:{self.port}", stack
        for name in ("etc", "artifacts", "db", "archives", "bin", "releases"):
            (folder / name).mkdir()
        (folder / "bin/systemctl").symlink_to(HERE / "systemctl")
        for name in ("mlflow_schema.py", "mlflow_login.py", "mlflow_guard.py"):
            shutil.copy(FILES / name, folder)
        for name, release in releases.items():
            # As a release is called.
            (folder / "releases" / f"{name}-0").symlink_to(release.home)
        (folder / "current").symlink_to(folder / f"releases/{stack}-0")
        (folder / "etc/mlflow.env").write_text(self.env(stack))
        settings = {"site": self.url, "host": "mlflow1", "venv": f"{folder}/current", "config_dir": f"{folder}/etc", "user": "root", "group": "root",
                    "url": self.url, "directory": f"{folder}/archives", "artifacts": "auto", "verify": True, "recipient": "", "keep_count": 0,
                    "keep_days": 0, "minimum_free_mb": 0, "configuration": [], "lock": f"{folder}/lock", "restore_lock": f"{folder}/restore.lock",
                    "state_directory": f"{folder}/state"}  # fmt: skip
        (folder / "backup.json").write_text(json.dumps(settings))
        self.systemctl("start")

    def env(self, stack):
        told = mlflow_server_variables(self.releases[stack].data["mlflow_server"]["environment"], self.settings, str(self.config))
        told.update(MLFLOW_BACKEND_STORE_URI=f"sqlite:///{self.folder}/db/mlflow.db", MLFLOW_ARTIFACTS_DESTINATION=f"{self.folder}/artifacts",
                    MLFLOW_HOST="127.0.0.1", MLFLOW_PORT=str(self.port), MLFLOW_WORKERS="1", MLFLOW_GUARD_SEARCH_TERMS="32",
                    MLFLOW_GUARD_ROOTS=json.dumps([f"{self.folder}/artifacts"]))  # fmt: skip
        return "".join('{}="{}"\n'.format(name, str(value).replace("\\", "\\\\").replace('"', '\\"')) for name, value in told.items())

    def environment(self):
        return {"PATH": f"{self.folder}/bin:/usr/bin:/bin", "SITE": str(self.folder), "HOME": str(self.folder)}

    def systemctl(self, verb):
        subprocess.run([self.folder / "bin/systemctl", verb, "mlflow.service"], env=self.environment(), check=True)

    def program(self, stack, *arguments, told=None):
        command = [self.releases[stack].home / "bin/python", "-B", PROJECT / "roles/backup/files/mlflow_backup", "--settings",
                   self.folder / "backup.json", *arguments]  # fmt: skip
        done = subprocess.run(command, env=self.environment(), input=json.dumps(told), text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    def client(self, stack, path, *arguments):
        """A program, with the client of a stack."""
        release = self.releases[stack]
        return subprocess.run([release.home / "bin/python", "-B", path, self.url, *arguments], env=release.environment(), cwd=self.folder, check=True,
                              stdout=subprocess.PIPE, text=True).stdout  # fmt: skip

    def content(self, stack):
        return json.loads(self.client(stack, PROJECT / "tests/lab/mlflow_content.py"))

    def fill(self, stack, number, *what):
        self.client(stack, HERE / "fill_mlflow.py", str(number), *what)

    def upgrade(self, stack):
        staged = self.folder / "staged"
        target = staged / (self.folder / "etc/mlflow.env").relative_to("/")
        target.parent.mkdir(parents=True)
        target.write_text(self.env(stack))
        live = (self.folder / "current").readlink().name.rpartition("-")[0]
        told = {"links": {f"{self.folder}/current": f"{self.folder}/releases/{stack}-0"}, "staged": str(staged), "absent": [],
                "archive": self.program(live, "create")["archive"], "leads": True, "wanted": {"start_timeout": 120}}  # fmt: skip
        assert self.program(stack, "prepare-upgrade", told=told)["due"]
        shutil.rmtree(staged)
        return self.program(stack, "switch")

    def roll_back(self, stack):
        self.program(stack, "prepare-rollback", told={"wanted": {"start_timeout": 120}})
        return self.program(stack, "switch")


@contextmanager
def serving(*arguments):
    one = Site(*arguments)
    try:
        services.Server(one.url).wait(120)
        yield one
    finally:
        one.systemctl("stop")


@pytest.fixture(name="site")
def fixture_site(tmp_path, releases):
    with serving(tmp_path, releases, "guide-1.30") as one:
        yield one


def same(then, now):
    """What MLflow's clients say, of what both generations know."""
    assert then["experiments"] == now["experiments"] and then["models"] == now["models"] and set(then["runs"]) == set(now["runs"])
    for name, run in then["runs"].items():
        other = now["runs"][name]
        assert {key: run[key] for key in ("params", "tags", "metrics", "artifacts")} == {key: other[key] for key in (
            "params", "tags", "metrics", "artifacts")}, name  # fmt: skip
        common = set(run["info"]) & set(other["info"])
        assert {"status", "start_time", "end_time", "lifecycle_stage"} <= common
        assert {key: run["info"][key] for key in common} == {key: other["info"][key] for key in common}, name


@pytest.mark.parametrize("ways", [["mlflow-2", "mlflow-3"], ["mlflow-3"]])
def test_all_is_kept_on_the_way_and_back(site, ways):
    site.fill("guide-1.30", 6)
    # At once, and somebody makes room before it goes back: the archive has it, too.
    kept, is_removed = [], len(ways) == 1
    contents, stacks = [site.content("guide-1.30")], ["guide-1.30", *ways]
    for number, stack in enumerate(ways, 7):
        outcome = site.upgrade(stack)
        assert outcome["upgraded"] and os.path.basename((site.folder / "current").readlink()) == f"{stack}-0"
        kept.append(outcome["kept"][0])
        with rows.files(kept[-1], f"{site.folder}/db/mlflow.db") as both:
            assert list(rows.lost(both)) == [] and list(rows.gone_columns(both)) == []
            assert rows.since(both, rows.seeded(both))["rows"] == {}
        same(contents[-1], site.content(stack))
        print(f"to {stack}: rehearsed {outcome['rehearsed']} s, away {outcome['downtime']} s")
        # With the client of before, as those who use it have one, and then with its own.
        if stack == ways[-1]:
            site.fill(stacks[stacks.index(stack) - 1], 10 + number, "runs")
        site.fill(stack, number)
        contents.append(site.content(stack))
    for stack in reversed(stacks[:-1]):
        contents.pop()
        if is_removed:
            os.unlink(kept[0])
        outcome = site.roll_back(stack)
        assert len(outcome["notes"]) == is_removed
        print(f"back to {stack}: away {outcome['downtime']} s, since {outcome['since']['rows']}")
        assert outcome["since"]["rows"]["runs"] > 10 and os.path.exists(outcome["file"])
        same(contents[-1], site.content(stack))


def test_users_go_along_and_back(releases, tmp_path):
    settings = {**LOGIN, "mlflow_server_default_permission": "NO_PERMISSIONS"}
    with serving(tmp_path, releases, "mlflow-2", settings, FILES / "mlflow_login.py") as site:
        server, ben = Mlflow(site.url), ("ben", "a long word of ben's")
        server.as_admin("POST", USERS + "create", {"username": ANA[0], "password": ANA[1]})
        number, other = (server.as_admin("POST", EXPERIMENT + "create", {"name": name})["experiment_id"] for name in ("hers", "another"))
        server.as_admin("POST", EXPERIMENT + "permissions/create", {"experiment_id": number, "username": ANA[0], "permission": "EDIT"})

        def is_as_it_was():
            allowed = server.as_user(ANA, "POST", API + "experiments/set-experiment-tag", {"experiment_id": number, "key": "k", "value": "v"})
            return allowed[0] == 200 and server.as_user(ANA, "GET", f"{EXPERIMENT}get?experiment_id={other}")[0] == 403

        assert is_as_it_was()
        assert site.upgrade("mlflow-3")["upgraded"] and is_as_it_was()
        server.as_admin("POST", USERS + "create", {"username": ben[0], "password": ben[1]})
        outcome = site.roll_back("mlflow-2")
        assert outcome["rolled_back"] and is_as_it_was() and server.as_user(ben, "GET", "/mlops-login")[0] == 401
        assert outcome["since"]["rows"]["users"] == 1 and '"ben"' in Path(outcome["file"]).read_text(encoding="utf-8")
