# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from hypothesis import given
from hypothesis import strategies as st

FILTERS = FilterModule().filters()
COMMENT = "sparkflows-mlops@"
KEY, FORMER = "ssh-ed25519 AAAAone", "ssh-ed25519 AAAAformer"
IN_FORCE = "port 22\nhostkey /etc/ssh/ssh_host_ed25519_key\npubkeyauthentication yes\nauthorizedkeysfile .ssh/authorized_keys .ssh/authorized_keys2"
SETTINGS = {
    "is_mlflow": True, "user": "sf", "mlops_address": "192.0.2.1", "mlops_ssh_key_path": "/etc/keys/id", "mlops_ssh_port": "22",
    "mlops_ssh_sources": ["192.0.2.1"], "mlops_user": "mlflow", "ssh_access_key_format": "auto", "ssh_access_key_type": "ed25519",
    "ssh_access_mlflow_command": "", "ssh_access_mlflow_options": ["restrict"], "ssh_access_sparkflows_command": "/bin/other",
    "ssh_access_sparkflows_options": ["pty"]}  # fmt: skip
PEER = {"host": "fire1", "address": "192.0.2.2", "names": ["192.0.2.2", "fire.example"], "port": 22, "user": "sf", "sources": ["192.0.2.2"]}
SAID = {"fire1": {"__ssh_access": {"public_key": KEY, "host_keys": ["ssh-ed25519 HOST"]}}}
BASH, NOLOGIN = (["x", "1", "1", "", "/home/sf", shell] for shell in ("/bin/bash", "/usr/sbin/nologin"))


def answer(text=IN_FORCE, **more):
    return {"rc": 0, "delta": "0:00:00", "stdout": text, "stderr": "", **more}


def found(server=None, account=BASH, listeners=(22,), **files):
    end = FILTERS["ssh_access_end"](server or answer(), "sf", "/home/sf")
    return {"account": account, "home": "/home/sf", "end": end, "listeners": [{"port": port} for port in listeners],
            "files": {"/etc/keys": files.get("folder", {"exists": False}), "/home/sf/.ssh": files.get("ssh", {"exists": False})}}  # fmt: skip


def problems(what=None, peers=(PEER,), hosts=("fire1",), **settings):
    return FILTERS["ssh_access_problems"]({**SETTINGS, **settings}, list(peers), what or found(), list(hosts))


def plan(peers=(PEER,), hostvars=None, lines=(), **settings):
    return FILTERS["ssh_access_plan"](list(peers), SAID if hostvars is None else hostvars, {**SETTINGS, **settings}, list(lines), COMMENT)


# ---- the SSH server --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("text", "path"), [
    (IN_FORCE, "/home/sf/.ssh/authorized_keys"),
    ("", "/home/sf/.ssh/authorized_keys"),
    ("authorizedkeysfile /etc/ssh/keys/%u/%%k .ssh/authorized_keys", "/etc/ssh/keys/sf/%k"),
    ("authorizedkeysfile %h/keys", "/home/sf/keys"),
])  # fmt: skip
def test_file_of_authorized_keys(text, path):
    assert FILTERS["ssh_access_end"](answer(text), "sf", "/home/sf")["authorized_keys"] == path


def test_host_keys_are_the_public_ones():
    assert FILTERS["ssh_access_end"](answer(IN_FORCE + "\nhostkey /k/rsa"), "sf", "/h")["host_key_files"] == [
        "/etc/ssh/ssh_host_ed25519_key.pub", "/k/rsa.pub"]  # fmt: skip


# ---- problems --------------------------------------------------------------------------------------------------------
def test_no_problem():
    assert problems() == []
    assert problems(is_mlflow=False, user="sf", mlops_user="sf") == []
    assert problems(found(account=None)) == []  # the MLflow host gets one


@pytest.mark.parametrize(("what", "settings", "words"), [
    (found(account=None), {"is_mlflow": False}, "There is no account sf: set mlops_ssh_sparkflows_user"),
    (found(account=NOLOGIN), {}, "or set mlops_ssh_mlflow_user to another account"),
    (found(account=NOLOGIN), {"is_mlflow": False}, "or set mlops_ssh_sparkflows_user to another account"),
    # Of the account of the service, that is all there is to say.
    (found(account=NOLOGIN), {"mlops_user": "sf"}, "mlops_ssh_mlflow_user is sf, the account that MLflow runs as"),
    (found(ssh={"exists": True, "islnk": True}), {}, "/home/sf/.ssh is a link"),
    (found({"rc": 2, "msg": "no such file"}), {}, "No SSH server is installed here"),
    (found(answer("out", rc=2, stderr="err ")), {}, "what is in force (sshd -T): err out Correct"),
    (found({"rc": 1, "msg": "no Python"}), {}, "The SSH server cannot say what is in force"),
    (found(listeners=()), {}, "Nothing listens on port 22"),
    (found(), {"mlops_ssh_port": "ssh"}, "Nothing listens on port ssh"),
    (found(answer("pubkeyauthentication no")), {}, "accepts no keys from sf"),
    (found(answer("authorizedkeysfile none")), {}, "AuthorizedKeysFile none"),
    (found(folder={"exists": True, "pw_name": "root"}), {}, "/etc/keys belongs to root"),
    (found(folder={"exists": True}), {}, "/etc/keys belongs to another account"),
    (found(), {"ssh_access_key_format": "pkcs1"}, "set ssh_access_key_type to rsa"),
    (found(), {"ssh_access_mlflow_command": 'say "x"'}, 'The command say "x" has a double quote'),
    (found(), {"ssh_access_mlflow_options": ["From=a=b"]}, "The option From is not for"),
    (found(), {"mlops_ssh_sources": []}, "mlops_ssh_sources is empty"),
    (found(), {"mlops_ssh_sources": ["a.example"]}, "mlops_ssh_sources: 'a.example' is neither"),
])  # fmt: skip
def test_problem(what, settings, words):
    said = problems(what, **settings)
    assert len(said) == 1 and words in said[0]


def test_problems_of_the_inventory():
    assert "the group sparkflows is empty" in problems(peers=())[0]
    assert "the group mlflow is empty" in problems(peers=(), is_mlflow=False)[0]
    assert problems(hosts=()) == ["fire1 is the other end and is not part of this run: the deploy mode remote needs both ends in the limit."]
    said = problems(mlops_address="a.example", mlops_ssh_sources=["a.example"])
    assert len(said) == 2 and "is by default mlops_address" in said[1]


def test_relative_path_of_the_key():
    what = found()
    what["files"][""] = {"exists": False}
    assert problems(what, mlops_ssh_key_path="id") == ["mlops_ssh_key_path is id: set it to an absolute path of a file."]


# ---- keys ------------------------------------------------------------------------------------------------------------
def test_plan():
    assert plan(ssh_access_mlflow_command="/bin/x y") == {
        "authorized": [{"host": "fire1", "key": f"{KEY} {COMMENT}fire1", "options": 'from="192.0.2.2",restrict,command="/bin/x y"'}],
        "withdrawn": [],
        "known_hosts": [{"name": name, "line": f"{name} ssh-ed25519 HOST {COMMENT}fire1"} for name in PEER["names"]],
    }


def test_each_end_has_options_of_its_own():
    assert plan(is_mlflow=False)["authorized"][0]["options"] == 'from="192.0.2.2",pty,command="/bin/other"'


def test_other_ports_are_part_of_a_name():
    assert [one["name"] for one in plan([{**PEER, "port": 2222}])["known_hosts"]] == ["[192.0.2.2]:2222", "[fire.example]:2222"]


def test_who_has_said_nothing_is_left_out():
    assert plan(hostvars={"fire1": {}}) == {"authorized": [], "withdrawn": [], "known_hosts": []}


def test_former_keys_are_withdrawn():
    current = f'from="192.0.2.9",restrict {KEY} {COMMENT}fire1'
    lines = [current, f'from="192.0.2.2",command="/bin/ssh-x y" {FORMER} {COMMENT}fire1', f"{FORMER} {COMMENT}gone", f"{FORMER} admin"]
    assert plan(lines=lines)["withdrawn"] == [f"{FORMER} {COMMENT}fire1", f"{FORMER} {COMMENT}gone"]
    assert plan([], lines=[current])["withdrawn"] == [f"{KEY} {COMMENT}fire1"]


@given(st.lists(st.text(alphabet=f'ssh-e {COMMENT}"=,AB')))
def test_only_what_is_marked_as_ours_is_withdrawn(lines):
    for key in plan(lines=lines)["withdrawn"]:
        assert key.split(" ")[-1].startswith(COMMENT) and len(key.split(" ")) == 3
        assert any(line.endswith(key) for line in lines)


# ---- packages and logins ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("there", "distribution", "key_format", "packages"), [
    ([True, True], {"id": "debian", "id_like": []}, "auto", []),
    ([True, False], {"id": "debian", "id_like": []}, "auto", ["openssh-client"]),
    ([False, True], {"id": "ubuntu", "id_like": ["debian"]}, "pkcs8", ["openssh-client", "python3-cryptography"]),
    ([False, True], {"id": "rocky", "id_like": ["rhel"]}, "auto", ["openssh-clients"]),
])  # fmt: skip
def test_packages(there, distribution, key_format, packages):
    assert FILTERS["ssh_access_packages"](({"exists": one} for one in there), distribution, key_format) == packages


def test_logins_that_did_not_come_about():
    results = [{"item": PEER, "failed": True, "stderr": " Permission denied \n"}, {"item": PEER, "failed": True, "stderr": ""},
               {"item": PEER, "failed": True, "msg": "no runuser"}, {"item": PEER, "failed": False, "stderr": ""}]  # fmt: skip
    said = FILTERS["ssh_login_problems"](results, "mlflow1", "sf", 20)
    assert [text.split("): ")[1] for text in said] == ["Permission denied", "no end after 20 seconds", "no runuser"]
    assert said[0].startswith("mlflow1: sf cannot log in to sf@fire1\n(192.0.2.2, port 22): ")
