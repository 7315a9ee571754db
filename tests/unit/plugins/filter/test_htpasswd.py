# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import shutil
import subprocess

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.sparkflows.mlops.plugins.plugin_utils import htpasswd as plugin

htpasswd = plugin.htpasswd


# What the scheme's author publishes as its first example.
KNOWN = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"


def test_known_hash():
    assert plugin.sha512_crypt(b"Hello world!", b"saltstring") == KNOWN


def openssl(password, salt):
    done = subprocess.run(["openssl", "passwd", "-6", "-salt", salt, "-stdin"], input=password, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(not shutil.which("openssl"), reason="compares with openssl")
@pytest.mark.parametrize("password", ["a", "x" * 63, "y" * 64, "z" * 65, "ä€ with spaces", "p" * 200, "$6$:\\'\""])
@pytest.mark.parametrize("salt", ["s", "0123456789abcdef"])
def test_as_another_program_does_it(password, salt):
    assert plugin.sha512_crypt(password.encode(), salt.encode()) == openssl(password, salt)


def test_file_is_the_same_each_time_and_equal_passwords_do_not_look_equal():
    users = [{"name": "dana", "password": "same"}, {"name": "sam", "password": "same", "access": "read"}]
    text = htpasswd(users, seed="mlflow1")
    assert text == htpasswd(users, seed="mlflow1") and text.endswith("\n")
    names, hashes = zip(*(line.split(":") for line in text.splitlines()))
    assert names == ("dana", "sam") and len({hash.split("$")[3] for hash in hashes}) == 2
    assert text != htpasswd(users, seed="mlflow2")
    assert htpasswd([]) == ""


@pytest.mark.parametrize(("user", "words"), [
    ({"name": "a:b", "password": "x"}, "'a:b' is no name of a user"),
    ({"name": "", "password": "x"}, "'' is no name of a user"),
    ({"name": "a", "password": ""}, "the password of a is empty"),
    ({"name": "a", "password": "\u00e4" * 256}, "the password of a has more than the 511 bytes"),
])
def test_user_that_is_none(user, words):
    with pytest.raises(AnsibleFilterError, match=words):
        htpasswd([user])


def test_passwords_are_counted_in_bytes():
    users = [{"name": "a", "password": "\u00e9" * 255 + "x"}, {"name": "b", "password": "\u00e9" * 256}, {"name": "c", "password": ""}, {"name": "d"},
             {"name": "a", "password": "x"}]  # fmt: skip
    assert plugin.password_problems(users, "our_users") == [
        "our_users: the password of b has 512 bytes, and 511 is the most that can be compared with its hash.",
        "our_users: the password of c is empty.", "our_users: the password of d is empty.", "our_users has a twice: each name may be there once."]
    assert htpasswd(users[:1])
