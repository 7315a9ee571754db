# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings that Sparkflows gets: where each has its value and its key from."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from ansible.plugins.filter.core import to_bool
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.answers import answer_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.url_host import url_host


class Setting(NamedTuple):
    """What one setting means. It has either a key, or candidates and title_matches by which the server is asked for it."""

    description: str
    # Variable that has the value. What is empty is not set by the operator, and not written.
    variable: str
    # Shown on the vendor's public pages (docs/mlops/admin-guide/online-model-serving.rst, docs/hpe/admin-guide/kubeflow_integration.rst).
    key: str = ""
    # The pages give a title only: keys that were seen or are likely, then patterns of the title. What the server does not have is never written.
    candidates: tuple = ()
    title_matches: tuple = ()
    secret: bool = False
    # The deploy mode that alone needs it.
    mode: str = ""
    # Stays in other modes, too.
    stays: bool = False
    # Written only if one of these variables is set.
    beside: tuple = ()
    # What is written for the variable's value.
    form: Callable | None = None


# A new setting is one entry here, under its meaning (and a word in meta/argument_specs.yml of the role, whose test says so).
SETTINGS = {
    "mlflow_url": Setting("MLflow server URL (tracking URL)", "mlops_mlflow_url", key="mlops.mlflow.trackingURL"),
    "mlflow_username": Setting(
        "MLflow login username", "mlops_mlflow_username",
        candidates=("mlops.mlflow.username", "mlops.mlflow.login.username", "mlops.mlflow.user"), title_matches=("mlflow.*user",)),
    "mlflow_password": Setting(
        "MLflow login password", "mlops_mlflow_password", secret=True,
        candidates=("mlops.mlflow.password", "mlops.mlflow.login.password"), title_matches=("mlflow.*password",)),
    "deploy_mode": Setting("MLflow deploy mode", "mlops_deploy_mode", key="mlops.mlflow.deploy.mode"),
    "fire_mlops_host": Setting(
        "Fire MLOps host", "mlops_fire_mlops_address", mode="fire_mlops_server", form=url_host,
        candidates=("mlops.host", "mlops.hostname", "mlops.server.host"), title_matches=("mlops.*host(?!.*port)",)),
    # No page says whose port mlops.port is, and one shows 5000 beside an MLflow on 5000. The guide asks for one port only, the Fire MLOps server's.
    "fire_mlops_port": Setting("Fire MLOps port", "mlops_fire_mlops_port", mode="fire_mlops_server", stays=True, key="mlops.port"),
    "ssh_key_path": Setting(
        "path of the SSH key for MLflow", "sparkflows_configuration_ssh_key_path", mode="remote",
        candidates=("mlops.mlflow.ssh.key.path", "mlops.ssh.key.path"), title_matches=("ssh.*key",)),
    "s3_access_key": Setting("S3 access key", "mlops_s3_access_key", secret=True, key="mlops.aws.s3.access.key"),
    "s3_secret_key": Setting("S3 secret key", "mlops_s3_secret_key", secret=True, key="mlops.aws.s3.secret.key"),
    "s3_endpoint_url": Setting("S3 endpoint URL", "mlops_s3_endpoint_url", key="mlops.aws.s3.endpoint.url"),
    "s3_ignore_tls": Setting(
        "S3 ignore TLS", "mlops_s3_ignore_tls", form=to_bool, beside=("mlops_s3_access_key", "mlops_s3_endpoint_url"),
        key="mlops.aws.s3.ignore.tls"),
}  # fmt: skip

# What is asked and checked beside the values.
OTHERS = (
    "mlops_deploy_mode", "mlops_sparkflows_auth_method", "mlops_sparkflows_token", "mlops_sparkflows_username", "mlops_sparkflows_password",
    "sparkflows_configuration_backend", "sparkflows_configuration_extra", "sparkflows_configuration_keys", "sparkflows_configuration_service",
    "sparkflows_configuration_update_secrets", "sparkflows_configuration_wait",
)  # fmt: skip
# Of what a survey may ask: the bounds of numbers (those of the argument spec), and texts.
ANSWERS = {"sparkflows_configuration_wait": {"min": 1, "max": 3600}, "sparkflows_configuration_update_secrets": {}}
# Set both or neither.
PAIRS = {
    "MLflow login": ("mlops_mlflow_username", "mlops_mlflow_password"),
    "S3 credentials": ("mlops_s3_access_key", "mlops_s3_secret_key"),
}

UNKNOWN = "sparkflows_configuration_keys has {}, but the meanings that this role knows are {}. Other settings go into sparkflows_configuration_extra."
HALF = "Of the {0} only one half is set: set both {1} and {2}, or neither."
NO_ADDRESS = (
    "mlops_fire_mlops_address is empty: the deploy mode fire_mlops_server needs the address of the Fire MLOps server; "
    "set it, or put a host into the inventory group mlflow."
)
NO_SSH_KEY = "The deploy mode remote needs the path of an SSH key on the Sparkflows host: set sparkflows_configuration_ssh_key_path."
NO_LOGIN = "{} is empty: to log in to Sparkflows with the method {} it must be set."
NO_KEY = (
    "{} is not set: a file cannot be asked which key is meant. Read the key off Administration > Configuration in the browser,"
    " or set it to an empty text to leave that setting out."
)
NO_SERVICE = (
    "There is no service {}: set sparkflows_configuration_service to the one that runs Sparkflows, "
    "or to an empty text if you restart Sparkflows yourself."
)
# The modules speak of their options; an operator sets variables. What a message says -> what to add to it.
HINTS = {
    r"\burl\b": "url is mlops_sparkflows_url",
    r"\btoken\b": "token is mlops_sparkflows_token",
    r"\busername\b": "username and password are mlops_sparkflows_username and mlops_sparkflows_password",
    r"\bauth_method\b": "auth_method is mlops_sparkflows_auth_method",
    r"\bca_path\b": "ca_path is mlops_sparkflows_ca_path",
    r"\bpath\b": "path is sparkflows_configuration_file",
    r"\bextra_keys\b": "extra_keys is sparkflows_configuration_file_keys",
    "is not a (setting|key)|single value|mask": "other keys and values come from sparkflows_configuration_extra and sparkflows_configuration_keys",
}


def needed_in(mode):
    """What this mode alone needs comes last."""
    return [meaning for wanted in ("", mode) for meaning, setting in SETTINGS.items() if setting.mode == wanted]


def value_of(setting, settings):
    value = settings[setting.variable]
    if setting.beside and not "".join(str(settings[name]) for name in setting.beside):
        return ""
    return setting.form(value) if setting.form else value


def questions(meanings, settings):
    """What the module is to find the keys of. What the operator wrote by exact key, or left out with an empty key, is no question any more."""
    keys, extra = settings["sparkflows_configuration_keys"], settings["sparkflows_configuration_extra"]
    for meaning in meanings:
        setting = SETTINGS[meaning]
        question = {"name": meaning, "description": setting.description}
        for name in ("candidates", "title_matches"):
            if getattr(setting, name):
                question[name] = list(getattr(setting, name))
        if setting.secret:
            question["secret"] = True
        if setting.key or meaning in keys:
            question["key"] = keys.get(meaning, setting.key)
        key = question.get("key", meaning)
        if key and key not in extra:
            yield question


def needed_questions(settings):
    values = {meaning: value_of(SETTINGS[meaning], settings) for meaning in needed_in(settings["mlops_deploy_mode"])}
    return [
        {**question, "value": values[question["name"]], "variable": f"sparkflows_configuration_keys.{question['name']}"}
        for question in questions([meaning for meaning, value in values.items() if value != ""], settings)
    ]


def unused_questions(settings):
    """What another deploy mode alone needs. Nothing is known of it where the key cannot be told: then this role cannot have written it."""
    mode = settings["mlops_deploy_mode"]
    unused = [meaning for meaning, setting in SETTINGS.items() if setting.mode not in ("", mode) and not setting.stays]
    return [{**question, "value": "", "optional": True} for question in questions(unused, settings)]


def sparkflows_settings_variables(mode):
    # In one mode, nothing has to be set for another.
    return list(dict.fromkeys([*(SETTINGS[meaning].variable for meaning in needed_in(mode)), *OTHERS]))


def sparkflows_settings_plan(settings):
    return {"needed": needed_questions(settings), "unused": unused_questions(settings)}


def login_problems(settings):
    method = settings["mlops_sparkflows_auth_method"]
    for name in ("token",) if method == "token" else ("username", "password"):
        if not settings[f"mlops_sparkflows_{name}"]:
            yield NO_LOGIN.format(f"mlops_sparkflows_{name}", method)


def file_problems(settings, service_rc):
    for question in needed_questions(settings):
        if "key" not in question:
            yield NO_KEY.format(question["variable"])
    if service_rc != 0:
        yield NO_SERVICE.format(settings["sparkflows_configuration_service"])


def value_problems(settings):
    unknown = [meaning for meaning, _key in settings["sparkflows_configuration_keys"].items() if meaning not in SETTINGS]
    if unknown:
        yield UNKNOWN.format(", ".join(map(str, unknown)), ", ".join(SETTINGS))
    for what, (one, other) in PAIRS.items():
        if (len(settings[one]) > 0) != (len(settings[other]) > 0):
            yield HALF.format(what, one, other)
    if settings["mlops_deploy_mode"] == "fire_mlops_server" and not settings["mlops_fire_mlops_address"]:
        yield NO_ADDRESS
    if settings["mlops_deploy_mode"] == "remote" and not settings["sparkflows_configuration_ssh_key_path"]:
        yield NO_SSH_KEY


def sparkflows_configuration_problems(settings, service_rc=0):
    return [
        *value_problems(settings),
        *answer_problems(settings, ANSWERS),
        *(login_problems(settings) if settings["sparkflows_configuration_backend"] == "api" else file_problems(settings, service_rc)),
    ]


def sparkflows_configuration_hint(message):
    hints = [hint for words, hint in HINTS.items() if re.search(words, str(message))]
    return f"(In variables: {'; '.join(hints)}.)" if hints else ""
