# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.mlflow_proxy import AT_LEAST_0, AT_LEAST_1, whole
from hypothesis import given
from hypothesis import strategies as st

FILTERS = FilterModule().filters()
CANARY = "canary-4c1f"
USER = {"name": "sparkflows", "password": CANARY, "access": "write"}
SETTINGS = {
    **{f"mlflow_proxy_{name}": 1 for name in (*AT_LEAST_1, *AT_LEAST_0)},
    "login_address": "127.0.0.2", "mlflow_proxy_certificate_method": "provided", "mlflow_proxy_certificate_path": __file__,
    "mlflow_proxy_key_path": __file__, "mlflow_proxy_ca_path": "", "mlflow_proxy_ca_key_path": "", "mlflow_proxy_listen_address": "192.0.2.11",
    "mlflow_proxy_names": ["mlflow.example.com", "2001:db8::11"], "mlflow_proxy_users": [USER], "mlflow_server_threads": 32,
    "mlops_mlflow_bind_address": "127.0.0.1", "mlops_mlflow_login": "proxy",
    "mlops_mlflow_password": CANARY, "mlops_mlflow_port": 5000, "mlops_mlflow_username": "sparkflows",
    "mlops_user": "mlflow",
}  # fmt: skip
LISTENER = {"address": "0.0.0.0", "port": 5000, "user": "dana", "pid": 7, "process": "python3", "unit": ""}
NO_ADDRESS = ("which is no IP address of this host alone",)


def problems(listeners=(), **settings):
    found = FILTERS["mlflow_proxy_problems"]({**SETTINGS, **settings}, listeners)
    assert CANARY not in "".join(found)
    return found


@pytest.mark.parametrize(("settings", "words"), [
    ({}, ()), ({"mlops_mlflow_port": "5000", "mlflow_proxy_timeout": "60"}, ()),
    # Users are looked at where there is a login.
    ({"mlops_mlflow_username": "", "mlops_mlflow_password": "", "mlflow_proxy_users": []}, (
        "mlops_mlflow_username is empty", "mlops_mlflow_password is empty")),
    ({"mlflow_proxy_users": []}, ("add sparkflows with the password mlops_mlflow_password",)),
    ({"mlflow_proxy_users": [dict(USER, password="x")]}, ("mlflow_proxy_users lacks the login",)),
    ({"mlflow_proxy_users": [USER, dict(USER, access="read")]}, ("lacks the login", "has sparkflows twice")),
    ({"mlflow_proxy_users": [USER, {"name": "a:b", "password": ""}]}, ("users: a:b is no name of a user", "the password of a:b is empty")),
    ({"mlflow_proxy_users": [USER, {"name": "a" * 128, "password": "x"}, {"name": "b" * 129, "password": "x"}]}, ("b is no name of a user",)),
    ({"mlops_mlflow_login": "mlflow"}, ()),
    ({"mlops_mlflow_login": "mlflow", "mlflow_proxy_users": [USER, {"name": "dana", "password": "x"}]}, (
        "mlflow_proxy_users has other users than mlops_mlflow_username (dana)",)),
    ({"mlflow_proxy_names": ["https://mlflow", "", "*.example.com"]}, ('"https://mlflow" is no name', '"" is no name', '"*.example.com" is no name')),
    ({"mlflow_proxy_certificate_path": "", "mlflow_proxy_key_path": "/nowhere.key"}, (
        "mlflow_proxy_certificate_path is empty: with mlflow_proxy_certificate_method provided it must be set", "/nowhere.key, which is no file")),
    ({"mlflow_proxy_certificate_method": "ca"}, ("mlflow_proxy_ca_path is empty: with mlflow_proxy_certificate_method ca", "ca_key_path is empty")),
    ({"mlflow_proxy_transfers": "16", "mlflow_server_threads": "16"}, ("mlflow_proxy_transfers must be less than mlflow_server_threads",)),
    ({"mlflow_proxy_transfers": 15, "mlflow_server_threads": "16"}, ()),
    *[({"mlflow_proxy_listen_address": address}, NO_ADDRESS) for address in ("mlflow1", "", "0.0.0.0", "::", "127.0.0.1", "127.0.0.2", "::1/128")],
])  # fmt: skip
def test_problems(settings, words):
    found = problems(**settings)
    assert len(found) == len(words), found
    assert all(word in problem for word, problem in zip(words, found)), found


@pytest.mark.parametrize("name", [*AT_LEAST_1, *AT_LEAST_0])
@pytest.mark.parametrize("value", [0, "0", -1, "x", "", "1.5", None, True])
def test_numbers(name, value):
    good = name in AT_LEAST_0 and str(value) == "0"
    least = int(name in AT_LEAST_1)
    assert problems(**{f"mlflow_proxy_{name}": value}) == ([] if good else [f"mlflow_proxy_{name} must be {least} or more."])


@pytest.mark.parametrize(("difference", "taken"), [
    ({}, True), ({"address": "::"}, True), ({"address": "192.0.2.11"}, True), ({"port": 5001}, False), ({"address": "127.0.0.1"}, False),
    ({"unit": "nginx.service"}, False), ({"unit": "mlflow.service"}, False), ({"pid": None}, True), ({"pid": None, "user": "mlflow"}, False),
])  # fmt: skip
def test_a_port_that_another_program_has(difference, taken):
    found = problems([{**LISTENER, **difference}])
    assert found == (["Port 5000 is taken by another program (python3): stop it, or set mlops_mlflow_port."] if taken else [])


ACCESS = st.fixed_dictionaries({"name": st.sampled_from("abcdef"), "password": st.just("x")}, optional={"access": st.sampled_from(["read", "write"])})


@given(st.lists(ACCESS))
def test_whoever_is_a_reader_is_no_writer_and_the_order_stays(users):
    found = FILTERS["mlflow_proxy_writers"](users)
    read = {user["name"] for user in users if user.get("access") == "read"}
    assert not read & set(found) and {*found, *read} == {user["name"] for user in users}
    assert found == [user["name"] for user in users if user["name"] in found]


def test_the_mark_is_another_one_after_a_change_and_the_same_after_an_update():
    users = [USER, {"name": "dana", "password": "x", "access": "read"}]
    mark = FILTERS["mlflow_proxy_users_mark"](users, "sparkflows:$6$\n")
    # As hosts have it: another one would end all logins that are known.
    assert mark == "d0d6177ea7278d8c"
    assert mark != FILTERS["mlflow_proxy_users_mark"](users, "sparkflows:$6$x\n")
    assert mark != FILTERS["mlflow_proxy_users_mark"]([USER, dict(users[1], access="write")], "sparkflows:$6$\n")


@pytest.mark.parametrize(("value", "number"), [(5, 5), ("5", 5), ("5.7", 5), (True, 1), (None, 0), ("rubbish", 0), ("inf", 0)])
def test_what_is_no_number_counts_as_0(value, number):
    assert whole(value) == number
