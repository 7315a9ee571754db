"""Files that hold secrets, and the memory of secrets that a server hides."""

from __future__ import annotations

import json
import os
import stat

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkflows.mlops.plugins.module_utils import files, fingerprints, jwt
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError
from module_arguments import patch_module_args


@pytest.fixture
def module():
    with patch_module_args({}):
        return AnsibleModule(argument_spec={})


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_new_file_is_private_from_the_first_moment(tmp_path, module, monkeypatch):
    seen, move = [], module.atomic_move

    def atomic_move(source, target):
        seen.append(mode(target))
        move(source, target)
        seen.append(mode(target))

    monkeypatch.setattr(module, "atomic_move", atomic_move)
    files.write_private(module, str(tmp_path / "new"), b"x")
    assert (tmp_path / "new").read_bytes() == b"x" and mode(tmp_path / "new") == 0o600 and seen == [0o600, 0o600]


def test_link_stays_a_link(tmp_path, module):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    files.write_private(module, str(tmp_path / "link"), b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_new_file_belongs_to_the_owner_of_the_directory_on_request(tmp_path, module):
    os.chown(tmp_path, 12345, 54321)
    files.write_private(module, str(tmp_path / "a"), b"x", owner_of_directory=True)
    files.write_private(module, str(tmp_path / "b"), b"x")
    assert (os.stat(tmp_path / "a").st_uid, os.stat(tmp_path / "a").st_gid) == (12345, 54321)
    assert os.stat(tmp_path / "b").st_uid == 0


def test_missing_directory_and_directory_instead_of_a_file(tmp_path, module):
    with pytest.raises(MlopsError, match="thing: there is no directory"):
        files.require_directory(str(tmp_path / "no" / "file"), "thing")
    with pytest.raises(MlopsError, match="Cannot read"):
        files.read_bytes(str(tmp_path))
    with pytest.raises(MlopsError, match="Cannot write .*no/file: No such file"):
        files.write_private(module, str(tmp_path / "no" / "file"), b"")
    assert files.read_bytes(str(tmp_path / "none")) is None


def test_directory_that_is_not_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, how: False)
    with pytest.raises(MlopsError, match="not writable for this user; is become missing"):
        files.require_directory(str(tmp_path / "file"), "thing")
    files.require_directory(str(tmp_path / "file"), "thing", writable=False)


def test_memory_of_a_secret(tmp_path, module):
    path, warnings = str(tmp_path / "sub" / "state"), []

    def memory(scope="https://one"):
        return fingerprints.Fingerprints(path, scope, warnings.append)

    first = memory()
    assert not first.matches("key", "canary", "****")
    first.prepare()
    first.remember("key", "canary", "****")
    first.remember("other", "canary", "")
    first.save(module)
    text = (tmp_path / "sub" / "state").read_text()
    assert "canary" not in text and mode(path) == 0o600 and mode(tmp_path / "sub") == 0o700
    entries = json.loads(text)["https://one"]
    assert entries["key"]["hash"] != entries["other"]["hash"]  # salted
    again = memory()
    assert again.matches("key", "canary", "****") and again.matches("other", "canary", "")
    assert not again.matches("key", "canary2", "****")  # another value is wanted
    assert not again.matches("key", "canary", "")  # somebody emptied it
    assert not memory("https://two").matches("key", "canary", "****")
    two = memory("https://two")
    two.remember("key", "x", "****")
    two.save(module)
    assert memory().matches("key", "canary", "****") and not warnings


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '{"https://one": 5}', '"x"', "\xff"])
def test_memory_that_makes_no_sense_is_made_anew(tmp_path, text):
    warnings = []
    (tmp_path / "state").write_bytes(text.encode("latin-1"))
    memory = fingerprints.Fingerprints(str(tmp_path / "state"), "https://one", warnings.append)
    assert not memory.matches("key", "x", "") and len(warnings) == 1


@pytest.mark.parametrize(
    "entry", [{}, 5, {"hash": "x", "salt": "zz", "rounds": 1, "shown": ""}, {"hash": 1, "salt": "00", "rounds": 1}]
)
def test_entry_that_makes_no_sense_matches_nothing(tmp_path, entry):
    (tmp_path / "state").write_text(json.dumps({"https://one": {"key": entry}}))
    assert not fingerprints.Fingerprints(str(tmp_path / "state"), "https://one", print).matches("key", "x", "")


def test_memory_needs_a_place(tmp_path):
    memory = fingerprints.Fingerprints(str(tmp_path / "a" / "b" / "state"), "x", print)
    with pytest.raises(MlopsError, match="secrets_state_path: there is no directory"):
        memory.prepare()


@pytest.mark.parametrize(
    "token, expected",
    [
        ("h.eyJleHAiOiAxNzAwMDAwMDAwMDAwfQ.s", 1700000000),  # milliseconds
        ("h.eyJleHAiOiAxNzAwMDAwMDAwfQ==.s", 1700000000),  # seconds
        ("h.e30.s", None),
        ("h.bm9qc29u.s", None),
        ("h.eyJleHAiOiAieCJ9.s", None),
        ("h.!.s", None),
        ("opaque", None),
        ("", None),
        (None, None),
    ],
)
def test_expiry_of_a_token(token, expected):
    assert jwt.expiry(token) == expected
    assert jwt.readable(1700000000) == "2023-11-14T22:13:20Z"
