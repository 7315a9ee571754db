# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import getpass
import grp
import json
import os

import pytest
from ansible_collections.sparkflows.mlops.plugins.modules import mlops_files
from module_arguments import patch_module_args

OWN = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}
CANARY = "canary-4c1f"


@pytest.fixture(name="run")
def fixture_run(capsys):
    """Run the module, as Ansible does, and return its JSON and its raw output."""

    def run(*files, check=False, below=""):
        files = [dict(OWN, **entry) for entry in files]
        secrets = {entry["path"]: entry.pop("secret") for entry in files if "secret" in entry}
        params = {"files": files, "secret_contents": secrets, "_ansible_check_mode": check, "_ansible_diff": True}
        params["below"] = below
        params["_ansible_no_log"] = False  # as the controller sends it
        with patch_module_args(params), pytest.raises(SystemExit):
            mlops_files.main()
        output = capsys.readouterr().out
        return json.loads(output), output

    return run


def mode(path):
    return oct(path.stat().st_mode & 0o7777)


def test_first_run_writes_all_in_order_and_second_run_changes_nothing(run, tmp_path):
    files = [
        {"path": str(tmp_path / "conf"), "state": "directory", "mode": "0750"},
        {"path": str(tmp_path / "conf/a.env"), "secret": CANARY, "mode": "0640"},
        {"path": str(tmp_path / "a.service"), "content": "[Unit]\nDescription=ä\n"},
    ]
    first, output = run(*files)
    assert first["changed"] and first["changed_paths"] == [entry["path"] for entry in files]
    assert CANARY not in output
    assert (tmp_path / "conf/a.env").read_text() == CANARY
    assert (tmp_path / "a.service").read_text(encoding="utf-8") == "[Unit]\nDescription=ä\n"
    assert [mode(tmp_path / name) for name in ("conf", "conf/a.env", "a.service")] == ["0o750", "0o640", "0o644"]
    assert sorted(os.listdir(tmp_path / "conf")) == ["a.env"]

    second = run(*files)[0]
    assert not second["changed"] and second["diff"] == []


def test_default_mode_of_a_directory_lets_it_be_entered(run, tmp_path):
    run({"path": str(tmp_path / "d"), "state": "directory"})
    assert mode(tmp_path / "d") == "0o755"


def test_changed_content_is_shown_and_a_secret_is_not(run, tmp_path):
    unit, secret = tmp_path / "unit", tmp_path / "secret"
    unit.write_text("old\n")
    secret.write_text(CANARY)
    result, output = run({"path": str(unit), "content": "new\n"}, {"path": str(secret), "secret": CANARY + "2"})
    assert result["diff"][0]["before"] == "old\n" and result["diff"][0]["after"] == "new\n"
    assert str(secret) in result["diff"][1]["prepared"]
    assert CANARY not in output
    assert secret.read_text() == CANARY + "2"


def test_below_a_folder_all_is_as_below_the_root(run, tmp_path):
    files = [
        {"path": "/none-of-this/etc", "state": "directory", "mode": "0750"},
        {"path": "/none-of-this/etc/a.env", "secret": CANARY, "mode": "0640"},
        {"path": "/none-of-this/lib/systemd/a.service", "content": "[Unit]\n"},
        {"path": "/none-of-this/old", "state": "absent"},
    ]
    checked = run(*files, check=True, below=f"{tmp_path}/")[0]
    assert list(tmp_path.iterdir()) == []
    result, output = run(*files, below=f"{tmp_path}/")
    assert CANARY not in output and result["changed_paths"] == checked["changed_paths"] == [f"{tmp_path}{one['path']}" for one in files[:3]]
    folder = tmp_path / "none-of-this"
    assert (folder / "etc/a.env").read_text() == CANARY and (folder / "lib/systemd/a.service").read_text() == "[Unit]\n"
    assert [mode(folder / name) for name in ("etc", "etc/a.env")] == ["0o750", "0o640"] and not os.path.exists("/none-of-this")
    assert not run(*files, below=str(tmp_path))[0]["changed"]


def test_only_the_mode_differs(run, tmp_path):
    path = tmp_path / "secret"
    path.write_text(CANARY)
    path.chmod(0o644)
    before = path.stat().st_mtime_ns
    result = run({"path": str(path), "secret": CANARY, "mode": "0640"})[0]
    assert result["changed"] and mode(path) == "0o640"
    # The age of a file tells whether a service has read it.
    assert path.stat().st_mtime_ns == before


def test_check_mode_says_the_same_and_touches_nothing(run, tmp_path):
    old = tmp_path / "old"
    old.write_text("old\n")
    gone = tmp_path / "gone"
    gone.mkdir()
    files = [
        {"path": str(tmp_path / "new"), "state": "directory", "group": "no-such-group"},
        {"path": str(tmp_path / "new/file"), "content": "x", "group": "no-such-group"},
        {"path": str(old), "content": "new\n"},
        {"path": str(gone), "state": "absent"},
    ]
    result = run(*files, check=True)[0]
    assert result["changed_paths"] == [entry["path"] for entry in files]
    assert old.read_text() == "old\n" and gone.is_dir() and not (tmp_path / "new").exists()


def test_absent(run, tmp_path):
    directory, file, link = tmp_path / "d", tmp_path / "f", tmp_path / "l"
    directory.mkdir()
    (directory / "inner").write_text("x")
    file.write_text("x")
    link.symlink_to(directory)
    files = [{"path": str(path), "state": "absent"} for path in (link, file, directory)]
    assert run(*files)[0]["changed"]
    assert os.listdir(tmp_path) == []
    assert not run(*files)[0]["changed"]


@pytest.mark.parametrize(
    "entry, message",
    [
        ({"path": "missing/file", "content": "x"}, "No such file or directory"),
        ({"path": "file/below", "content": "x"}, "Not a directory"),
        ({"path": "directory", "content": "x"}, "Is a directory"),
    ],
)
def test_what_the_system_refuses_is_named(run, tmp_path, entry, message):
    (tmp_path / "file").write_text("x")
    (tmp_path / "directory").mkdir()
    path = str(tmp_path / entry["path"])
    result = run(dict(entry, path=path))[0]
    assert result["failed"] and result["msg"] == f"{path}: {message}"
    assert sorted(os.listdir(tmp_path)) == ["directory", "file"]


def test_wrong_owner_leaves_no_half_written_file(run, tmp_path):
    result, output = run({"path": str(tmp_path / "f"), "secret": CANARY, "group": "no-such-group"})
    assert result["failed"] and "no-such-group" in result["msg"]
    assert CANARY not in output and os.listdir(tmp_path) == []


def test_the_system_log_gets_no_secret(run, tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr(mlops_files.AnsibleModule, "_log_to_syslog", lambda _self, message: logged.append(message))
    monkeypatch.setattr("ansible.module_utils.basic.has_journal", False)
    run({"path": str(tmp_path / "f"), "secret": f"A={CANARY}\nB='{CANARY}'\n"})
    assert CANARY not in "".join(logged)


def test_a_file_has_a_content(run, tmp_path):
    result = run({"path": str(tmp_path / "f")})[0]
    assert result["failed"] and "neither content nor secret_contents" in result["msg"]


@pytest.fixture(name="strict_umask")
def fixture_strict_umask():
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("strict_umask")
def test_folders_above_can_be_entered_whatever_the_umask(run, tmp_path):
    run({"path": str(tmp_path / "srv/a/mlflow"), "state": "directory", "mode": "0750"})
    assert [mode(tmp_path / name) for name in ("srv", "srv/a", "srv/a/mlflow")] == ["0o755", "0o755", "0o750"]


def test_selinux_s_context_is_that_of_the_place(run, tmp_path, labels):
    kept = tmp_path / "kept"
    kept.write_text("old")
    labels(kept, "chosen_by_somebody_t")
    files = [{"path": str(tmp_path / "a/b"), "state": "directory"}, {"path": str(tmp_path / "a/b/new"), "content": "x"},
             {"path": str(kept), "content": "new"}]
    run(*files)
    assert [labels(tmp_path / name) for name in ("a", "a/b", "a/b/new")] == [f"type of {tmp_path}/{name}" for name in ("a", "a/b", "a/b/new")]
    assert labels(kept) == "chosen_by_somebody_t"
    assert not run(*files)[0]["changed"]
