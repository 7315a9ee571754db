# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Users, certificate and port of the proxy in front of MLflow."""

from __future__ import annotations

import hashlib
import re

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.controller_files import controller_file_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.htpasswd import password_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.networks import network_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.strangers import strangers

EVERYWHERE = ("0.0.0.0", "::")
# Whoever has the port otherwise: MLflow has it on loopback, and without the proxy perhaps outside.
UNITS = ("nginx.service", "mlflow.service")
AT_LEAST_1 = ("timeout", "client_timeout", "transfers", "login_transfers", "requests", "logins_per_minute", "login_minutes")
AT_LEAST_0 = ("artifact_max_size", "logins_burst")

NO_LOGIN = "{} is empty: the proxy in front of MLflow wants a login, and Sparkflows is given this one. Set it, or set mlops_mlflow_proxy to false."
NO_USER = (
    "mlflow_proxy_users lacks the login that Sparkflows is given: add {} with the password mlops_mlflow_password and access: write, or set "
    "mlops_mlflow_username and mlops_mlflow_password to a user who is in the list."
)
MLFLOW_S_USERS = (
    "mlflow_proxy_users has other users than mlops_mlflow_username ({}), and with mlops_mlflow_login mlflow MLflow itself knows the users: make them "
    "in MLflow and take them out of the list, or set mlops_mlflow_login to proxy."
)
NO_USER_NAME = 'mlflow_proxy_users: {} is no name of a user: letters, digits, ".", "_", "@" and "-" only, and 128 at the most.'
NO_HOST_NAME = 'mlflow_proxy_names: "{}" is no name or address of a host.'
NO_FILE = "{} is empty: with mlflow_proxy_certificate_method {} it must be set to a PEM file on the controller."
NO_ROOM = "mlflow_proxy_transfers must be less than mlflow_server_threads: artifacts on their way would take all of MLflow."
NO_ADDRESS = (
    "mlflow_proxy_listen_address is {}, which is no IP address of this host alone: set it to the one that nginx listens on (the default is "
    "mlops_address)."
)
TAKEN = "Port {} is taken by another program ({}): stop it, or set mlops_mlflow_port."


def whole(value):
    """As Jinja's filter int."""
    try:
        return int(value)
    except (TypeError, ValueError):
        try:
            return int(float(value))
        except (TypeError, ValueError, OverflowError):
            return 0


def login_problems(settings):
    return [NO_LOGIN.format(name) for name in ("mlops_mlflow_username", "mlops_mlflow_password") if not settings[name]]


def user_problems(settings):
    users, name, password = settings["mlflow_proxy_users"], settings["mlops_mlflow_username"], settings["mlops_mlflow_password"]
    writers = mlflow_proxy_writers(users)
    others = [str(user["name"]) for user in users if user["name"] != name]
    if settings["mlops_mlflow_login"] == "mlflow" and others:
        yield MLFLOW_S_USERS.format(", ".join(others))
    if not any(user["name"] == name and user.get("password") == password and name in writers for user in users):
        yield NO_USER.format(name)
    for user in users:
        if not re.match("[A-Za-z0-9._@-]{1,128}$", str(user["name"])):
            yield NO_USER_NAME.format(user["name"])
    yield from password_problems(users, "mlflow_proxy_users")
    for host in settings["mlflow_proxy_names"]:
        if not re.match("[A-Za-z0-9._:-]{1,253}$", str(host)):
            yield NO_HOST_NAME.format(host)


def file_problems(settings):
    method = settings["mlflow_proxy_certificate_method"]
    for part in ("certificate_path", "key_path") if method == "provided" else ("ca_path", "ca_key_path"):
        variable = f"mlflow_proxy_{part}"
        if settings[variable]:
            yield from controller_file_problems({variable: settings[variable]})
        else:
            yield NO_FILE.format(variable, method)


def number_problems(settings):
    for names, pattern, least in ((AT_LEAST_1, "[1-9][0-9]*$", 1), (AT_LEAST_0, "[0-9]+$", 0)):
        for variable in (f"mlflow_proxy_{name}" for name in names):
            if not re.match(pattern, str(settings[variable])):
                yield f"{variable} must be {least} or more."
    if whole(settings["mlflow_proxy_transfers"]) >= whole(settings["mlflow_server_threads"]):
        yield NO_ROOM


def port_problems(settings, listeners):
    address, port = settings["mlflow_proxy_listen_address"], settings["mlops_mlflow_port"]
    others = (*EVERYWHERE, settings["login_address"], settings["mlops_mlflow_bind_address"])
    if network_problems([address]) or "/" in address or address in others:
        yield NO_ADDRESS.format(address)
    here = [listener for listener in listeners if listener["address"] in (address, *EVERYWHERE)]
    for stranger in strangers(here, [port], UNITS, [settings["mlops_user"]]):
        yield TAKEN.format(port, stranger["process"])


def mlflow_proxy_problems(settings, listeners):
    problems = login_problems(settings)
    return [
        *(problems or user_problems(settings)),
        *file_problems(settings),
        *number_problems(settings),
        *port_problems(settings, listeners),
    ]


def mlflow_proxy_writers(users):
    """In their order: another one would give nginx another file."""
    readers = {user["name"] for user in users if user.get("access") == "read"}
    return [user["name"] for user in users if user["name"] not in readers]


def mlflow_proxy_users_mark(users, content):
    """Becomes another one when a user does."""
    writers = [str(name) if isinstance(name, str) else name for name in mlflow_proxy_writers(users)]
    return hashlib.sha256(f"{content}{writers}".encode()).hexdigest()[:16]
