"""Which settings Sparkflows gets in each deploy mode, under which keys, and what is said of variables that cannot be right."""

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from ansible_collections.sparkflows.mlops.plugins.modules import sparkflows_configuration as module
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.sparkflows_configuration import HINTS, SETTINGS
from hypothesis import given
from hypothesis import strategies as st

ROLES = Path(__file__).resolve().parents[4] / "roles"
FILTERS = FilterModule().filters()
MODES = ("fire_mlops_server", "local", "remote")
VALUES = {
    "mlops_deploy_mode": "fire_mlops_server", "mlops_fire_mlops_address": "192.0.2.10", "mlops_fire_mlops_port": "8087",
    "mlops_mlflow_url": "https://192.0.2.10:5000", "mlops_mlflow_username": "u", "mlops_mlflow_password": "canary-password",
    "mlops_s3_access_key": "canary-access", "mlops_s3_secret_key": "canary-secret", "mlops_s3_endpoint_url": "http://s3:9000",
    "mlops_s3_ignore_tls": "no", "mlops_sparkflows_auth_method": "token", "mlops_sparkflows_token": "canary-token",
    "mlops_sparkflows_username": "", "mlops_sparkflows_password": "", "sparkflows_configuration_backend": "api",
    "sparkflows_configuration_extra": {}, "sparkflows_configuration_keys": {}, "sparkflows_configuration_service": "fire",
    "sparkflows_configuration_ssh_key_path": "/etc/key", "sparkflows_configuration_update_secrets": "auto", "sparkflows_configuration_wait": "60",
}  # fmt: skip
NO_S3 = {"mlops_s3_access_key": "", "mlops_s3_secret_key": "", "mlops_s3_endpoint_url": ""}


def given_in(mode, **values):
    """What the role hands over: the variables that are asked for, and no others."""
    values = {**VALUES, "mlops_deploy_mode": mode, **{f"sparkflows_configuration_{name}" if name in ("keys", "extra") else name: value
                                                      for name, value in values.items()}}  # fmt: skip
    return {name: values[name] for name in FILTERS["sparkflows_settings_variables"](mode)}


def needed(mode="fire_mlops_server", **values):
    return {question["name"]: question for question in FILTERS["sparkflows_settings_plan"](given_in(mode, **values))["needed"]}


def unused(mode, **values):
    return {question["name"]: question for question in FILTERS["sparkflows_settings_plan"](given_in(mode, **values))["unused"]}


def problems(mode="fire_mlops_server", service_rc=0, **values):
    return FILTERS["sparkflows_configuration_problems"](given_in(mode, **values), service_rc)


# ---- the table
@pytest.mark.parametrize("meaning", SETTINGS)
def test_a_setting_has_a_key_or_can_be_asked_for(meaning):
    setting = SETTINGS[meaning]
    assert bool(setting.key) != bool(setting.candidates and setting.title_matches)
    assert all(re.compile(pattern) for pattern in setting.title_matches)
    assert setting.mode in ("", *MODES)


def test_the_role_documents_the_meanings():
    options = yaml.safe_load((ROLES / "sparkflows_configuration/meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert re.findall(r"C\((\w+)\)", options["sparkflows_configuration_keys"]["description"][0]) == list(SETTINGS)


def test_what_is_a_secret_is_said_to_be_one():
    for meaning, question in needed().items():
        assert module.asks_for_secret(question) == ("canary" in str(question["value"])), meaning


# ---- what is written
def test_questions():
    questions = needed()
    assert questions["fire_mlops_host"] == {
        "name": "fire_mlops_host", "description": "Fire MLOps host", "value": "192.0.2.10",
        "candidates": ["mlops.host", "mlops.hostname", "mlops.server.host"], "title_matches": ["mlops.*host(?!.*port)"],
        "variable": "sparkflows_configuration_keys.fire_mlops_host"}  # fmt: skip
    assert questions["s3_secret_key"] == {
        "name": "s3_secret_key", "description": "S3 secret key", "value": "canary-secret", "key": "mlops.aws.s3.secret.key", "secret": True,
        "variable": "sparkflows_configuration_keys.s3_secret_key"}  # fmt: skip
    assert questions["s3_ignore_tls"]["value"] is False and questions["fire_mlops_port"]["value"] == "8087"
    # What one mode alone needs is asked last.
    assert list(questions) == [*(name for name in SETTINGS if not SETTINGS[name].mode), "fire_mlops_host", "fire_mlops_port"]


@pytest.mark.parametrize(("mode", "alone", "left"), [
    ("fire_mlops_server", {"fire_mlops_host", "fire_mlops_port"}, ["ssh_key_path"]), ("remote", {"ssh_key_path"}, ["fire_mlops_host"]),
    ("local", set(), ["fire_mlops_host", "ssh_key_path"])])  # fmt: skip
def test_each_mode_gets_what_it_needs(mode, alone, left):
    assert needed(mode).keys() == {name for name in SETTINGS if not SETTINGS[name].mode} | alone
    assert list(unused(mode)) == left
    assert all((question["value"], question["optional"]) == ("", True) for question in unused(mode).values())
    # Neither asked for, nor looked at.
    assert not ({"mlops_fire_mlops_address", "sparkflows_configuration_ssh_key_path"} - {SETTINGS[name].variable for name in alone}) & set(
        given_in(mode))  # fmt: skip


def test_what_is_empty_is_not_written():
    assert needed("local", mlops_mlflow_username="", mlops_mlflow_password="", **NO_S3).keys() == {"mlflow_url", "deploy_mode"}
    # Whether a certificate counts matters where there is a store.
    for name in ("mlops_s3_access_key", "mlops_s3_endpoint_url"):
        assert needed("local", **{**NO_S3, name: "x"}, mlops_s3_ignore_tls="yes")["s3_ignore_tls"]["value"] is True


def test_an_address_may_have_colons():
    assert needed(mlops_fire_mlops_address="2001:db8::1")["fire_mlops_host"]["value"] == "[2001:db8::1]"


def test_exact_keys():
    assert needed(keys={"mlflow_url": "x.a", "mlflow_username": "x.b"})["mlflow_url"]["key"] == "x.a"
    assert needed(keys={"mlflow_username": "x.b"})["mlflow_username"]["key"] == "x.b"
    for empty in ("", None):
        assert "mlflow_url" not in needed(keys={"mlflow_url": empty}) and "ssh_key_path" not in unused("local", keys={"ssh_key_path": empty})
    # What is set by its key is no question.
    assert "mlflow_url" not in needed(extra={"mlops.mlflow.trackingURL": "y"})
    assert "mlflow_url" not in needed(keys={"mlflow_url": "x.a"}, extra={"x.a": ""})
    assert "ssh_key_path" not in unused("local", keys={"ssh_key_path": "x.a"}, extra={"x.a": None})
    assert unused("local", keys={"ssh_key_path": "x.a"})["ssh_key_path"]["key"] == "x.a"


WORDS = st.sampled_from(["", "a", "b"])


@given(mode=st.sampled_from(MODES), values=st.fixed_dictionaries({setting.variable: WORDS for setting in SETTINGS.values()}),
       keys=st.dictionaries(st.sampled_from(list(SETTINGS)), WORDS), extra=st.dictionaries(WORDS, WORDS))  # fmt: skip
def test_a_question_is_needed_or_unused_and_has_no_key_that_is_set(mode, values, keys, extra):
    settings = {**VALUES, **values, "mlops_deploy_mode": mode, "sparkflows_configuration_keys": keys, "sparkflows_configuration_extra": extra}
    before = repr(settings)
    plan = FILTERS["sparkflows_settings_plan"](settings)
    assert repr(settings) == before
    names = [question["name"] for question in plan["needed"] + plan["unused"]]
    assert len(set(names)) == len(names)
    assert all(question["value"] != "" for question in plan["needed"])
    assert all(question["key"] and question["key"] not in extra for question in plan["needed"] + plan["unused"] if "key" in question)
    assert all(name not in names for name, key in keys.items() if not key)


# ---- problems
@pytest.mark.parametrize(("values", "words"), [
    ({}, []),
    ({"keys": {"mlflow_user": "x", "y": "z"}}, ["has mlflow_user, y, but the meanings that this role knows are mlflow_url, mlflow_username, "]),
    ({"mlops_mlflow_password": ""}, ["MLflow login only one half is set: set both mlops_mlflow_username and mlops_mlflow_password, or neither."]),
    ({"mlops_s3_access_key": ""}, ["S3 credentials only one half is set: set both mlops_s3_access_key and mlops_s3_secret_key"]),
    (NO_S3, []),
    ({"mlops_fire_mlops_address": ""}, ["mlops_fire_mlops_address is empty"]),
    ({"mode": "remote", "sparkflows_configuration_ssh_key_path": ""}, ["set sparkflows_configuration_ssh_key_path."]),
    ({"mode": "local", "sparkflows_configuration_ssh_key_path": "", "mlops_fire_mlops_address": ""}, []),
    ({"sparkflows_configuration_wait": "x"}, ["sparkflows_configuration_wait is x: set it to a whole number from 1 to 3600."]),
    ({"sparkflows_configuration_wait": 3601, "sparkflows_configuration_update_secrets": "auto "}, ["wait is 3601", "remove the space"]),
    ({"mlops_sparkflows_token": ""}, ["mlops_sparkflows_token is empty: to log in to Sparkflows with the method token it must be set."]),
    ({"mlops_sparkflows_auth_method": "session"}, ["mlops_sparkflows_username is empty", "mlops_sparkflows_password is empty: to log in"]),
    # A service is looked at, and a key has to be known, where a file is written; there no login is needed.
    ({"service_rc": 1}, []),
    ({"sparkflows_configuration_backend": "file", "mlops_sparkflows_token": "", "service_rc": 1},
     [f"sparkflows_configuration_keys.{name} is not set" for name in ("mlflow_username", "mlflow_password", "fire_mlops_host")]
     + ["There is no service fire: set"]),
    ({"sparkflows_configuration_backend": "file", "keys": {"mlflow_username": "a", "mlflow_password": "", "fire_mlops_host": "b"}}, []),
])  # fmt: skip
def test_problems(values, words):
    found = problems(**values)
    assert len(found) == len(words), found
    assert all(word in problem for word, problem in zip(words, found)), found
    assert "canary" not in repr(found)


# ---- messages of the modules
def test_hints():
    hint = FILTERS["sparkflows_configuration_hint"]
    assert hint("did not accept the token (url)") == "(In variables: url is mlops_sparkflows_url; token is mlops_sparkflows_token.)"
    assert hint("urls, tokens") == "" and hint("x is not a key") == f"(In variables: {list(HINTS.values())[-1]}.)"


def test_hints_name_options_and_variables():
    """Of both modules; what one of them renames has to be renamed here."""
    specs = [yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text()) for role in ("topology", "sparkflows_configuration")]
    known = {name for spec in specs for name in spec["argument_specs"]["preflight"]["options"]}
    named = {name for hint in HINTS.values() for name in re.findall(r"\b(?:mlops|sparkflows)_\w+", hint)}
    assert named and named <= known
    assert {setting.variable for setting in SETTINGS.values()} <= known
    assert set(FILTERS["sparkflows_settings_variables"]("remote")) <= known
