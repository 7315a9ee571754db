# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether MLflow can run with its settings on a host."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.database_drivers import database_driver_problems, locked_packages
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.sandbox import sandbox_certificate_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.stacks import stack_environment
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.strangers import strangers
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.systemd_versions import calendar_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.url_host import url_host
from jinja2.filters import do_int

LEAST = {"mlflow_server_workers": 1, "mlflow_server_threads": 2, "mlflow_server_search_terms": 1, "mlflow_server_request_timeout": 1}
MEGABYTE = 1024**2
# Of MLflow's administrator (mlflow.utils.validation of 2.22 and 3.17).
SHORTEST_PASSWORD = 12
# As MLflow reads it. It takes nothing at all for 0.
AGE = re.compile(r"(?=.)(\d+d)?(\d+h)?(\d+m)?(\d+s)?")


def is_loopback(address):
    return re.match(r"127\.|::1$|localhost$", address) is not None


def login_variables(settings):
    """What MLflow's own login app is told, if that is wanted: names of MLflow 3, read by mlflow_login.py."""
    if settings["mlops_mlflow_login"] != "mlflow":
        return {}
    return {
        "MLFLOW_AUTH_ADMIN_USERNAME": settings["mlops_mlflow_username"],
        "MLFLOW_AUTH_ADMIN_PASSWORD": settings["mlops_mlflow_password"],
        "MLFLOW_AUTH_DEFAULT_PERMISSION": settings["mlflow_server_default_permission"],
    }


def mlflow_server_variables(variables, settings, guard):
    """What a stack has MLflow told. Newer ones look at Host and Origin themselves, and an unknown one gets no answer. guard: what each of its
    processes loads."""
    url = urlsplit(settings["mlops_mlflow_url"])
    names = {name: None for name in (url.hostname, settings["mlops_mlflow_address"], settings["mlops_address"]) if name}
    hosts = [f"{url_host(name)}{port}" for name in [*names, "localhost", "127.0.0.1", "::1"] for port in ("", f":{settings['mlops_mlflow_port']}")]
    origins = [f"{url.scheme}://{url.netloc.rpartition('@')[2]}"]
    origins += [f"{settings['mlops_mlflow_scheme']}://{url_host(name)}:{settings['mlops_mlflow_port']}" for name in names]
    told = stack_environment(
        variables,
        guard=guard,
        # The proxy knows its names, and compares them as names are compared.
        hosts="*" if settings["mlops_mlflow_proxy"] else ",".join(hosts),
        origins=",".join(dict.fromkeys(origins)),
        threads=settings["mlflow_server_threads"],
        timeout=settings["mlflow_server_request_timeout"],
    )
    return {**told, **login_variables(settings)}


def lock_of(settings):
    return Path(settings["mlops_stack_dir"], "requirements.txt").read_text(encoding="utf-8")


def login_problems(settings):
    """Whether MLflow's own login app can be had, if that is wanted."""
    if settings["mlops_mlflow_login"] != "mlflow":
        return
    if "flask-wtf" not in locked_packages(lock_of(settings)):
        yield (f"mlops_mlflow_login is mlflow, and the stack {settings['mlops_stack']} has no login app of MLflow (its requirements.txt lacks "
               "Flask-WTF): set mlops_stack to mlflow-2 or mlflow-3, or mlops_mlflow_login to proxy.")  # fmt: skip
    if not settings["mlops_mlflow_proxy"]:
        yield ("mlops_mlflow_login is mlflow and mlops_mlflow_proxy is false: passwords would go over the network as they are, and nobody would stop "
               "who guesses. Set mlops_mlflow_proxy to true, or mlops_mlflow_login to proxy.")  # fmt: skip
    if len(settings["mlops_mlflow_password"]) < SHORTEST_PASSWORD:
        yield f"mlops_mlflow_password is too short: with mlops_mlflow_login mlflow, MLflow asks for {SHORTEST_PASSWORD} characters or more."


def store_problems(settings):
    uri = settings["mlflow_server_backend_store_uri"]
    if not re.match(r"(sqlite|postgresql|mysql|mssql)(\+\w+)?://", uri):
        yield ("mlflow_server_backend_store_uri is not the URI of a database (for example sqlite:////var/lib/mlflow/db/mlflow.db): a directory of "
               "files has no model registry. Set mlops_database_host, or set it to a SQLAlchemy URI.")  # fmt: skip
    if re.match("postgresql|mysql|mssql", uri):
        yield from database_driver_problems(uri, lock_of(settings), "mlflow_server_backend_store_uri")
    yield from sandbox_certificate_problems(settings["mlflow_server_environment"], [settings["mlops_config_dir"]], "mlflow_server_environment")
    if not settings["mlflow_server_artifacts_destination"]:
        yield "mlflow_server_artifacts_destination is empty: set it to a directory or a URI."
    for root in settings["mlflow_server_artifact_roots"]:
        if not re.match("([a-z][a-z0-9+.-]*:/|/)/?[^/]", root):
            yield f"{root} in mlflow_server_artifact_roots is no URI and no absolute path."


def reaches_nobody(settings, listeners):
    """Nobody outside comes to loopback: it takes the proxy, or one of the user's own at that address and port."""
    address, port = settings["mlops_mlflow_address"], settings["mlops_mlflow_port"]
    others = [one for one in listeners if one["port"] == do_int(port) and one["address"] in (settings["mlops_address"], "0.0.0.0", "::")]
    is_meant = settings["mlops_mlflow_url"].startswith(f"{settings['mlops_mlflow_scheme']}://{url_host(address)}:{port}")
    return is_loopback(settings["mlops_mlflow_bind_address"]) and is_meant and not is_loopback(address) and not others


def address_problems(settings, listeners):
    bind, url = settings["mlops_mlflow_bind_address"], settings["mlops_mlflow_url"]
    if settings["mlops_mlflow_proxy"]:
        if not is_loopback(bind):
            yield (f"mlops_mlflow_bind_address is {bind}: behind the proxy MLflow listens on loopback. Set it to 127.0.0.1, or mlops_mlflow_proxy to "
                   "false.")  # fmt: skip
    elif reaches_nobody(settings, listeners):
        yield (f"mlops_mlflow_proxy is false and MLflow listens on {bind}: nobody reaches {url}. Set mlops_mlflow_bind_address to "
               f"{settings['mlops_address']}, or mlops_mlflow_url to the address of a proxy of your own.")  # fmt: skip


def host_problems(settings, host):
    folder, port = settings["mlops_data_dir"], settings["mlops_mlflow_port"]
    disk, wanted = host["disks"][folder], settings["mlflow_server_minimum_free_mb"]
    if disk["free_bytes"] < do_int(wanted) * MEGABYTE:
        free = f"{disk['free_bytes'] // MEGABYTE} MB are free on {disk['mount']}"
        yield (f"There is not enough room for the data of MLflow in {folder}: {free}, {wanted} MB are asked for. "
               "Make room, set mlops_data_dir to another place, or lower mlflow_server_minimum_free_mb.")  # fmt: skip
    for one in strangers(host["listeners"], [port], ["mlflow.service", "nginx.service"], [settings["mlops_user"]]):
        yield f"Port {port} is taken by another program ({one['process']}): stop it, or set mlops_mlflow_port."


def gc_problems(settings, calendar):
    yield from calendar_problems("mlflow_server_gc_schedule", calendar)
    age = settings["mlflow_server_gc_older_than"]
    if not AGE.fullmatch(str(age)):
        yield f"mlflow_server_gc_older_than is '{age}': set it to days, hours, minutes and seconds, for example 30d or 1d12h."


def mlflow_server_problems(settings, host, calendar):
    """calendar: what systemd said of mlflow_server_gc_schedule, if there is one."""
    return [
        *login_problems(settings),
        *store_problems(settings),
        *address_problems(settings, host["listeners"]),
        *(f"{name} must be {least} or more." for name, least in LEAST.items() if do_int(settings[name]) < least),
        *gc_problems(settings, calendar),
        *host_problems(settings, host),
    ]
