"""Registered models, and what all modules that talk to MLflow have in common."""

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.modules import mlflow_registered_model as module

CANARY = "canary-5e11"
GET = ("GET", "/api/2.0/mlflow/registered-models/get")


@pytest.fixture
def run(call, registry, name):
    def go(check=False, **options):
        result = call(module, check=check, diff=True, url=registry.url, **dict({"name": name}, **options))
        assert not result.get("failed"), result["msg"]
        return result

    return go


@pytest.fixture
def fail(call, registry, name):
    def go(**options):
        result = call(module, url=registry.url, **dict({"name": name}, **options))
        assert result["failed"] and CANARY not in result.output
        return result["msg"]

    return go


def both(run, **options):
    """In check mode and for real: same answer; then once more: nothing left to do."""
    foretold = run(check=True, **options)
    done = run(**options)
    assert done["changed"] == foretold["changed"] and done.get("diff") == foretold.get("diff")
    again = run(**options)
    assert not again["changed"] and "diff" not in again
    return done


def test_from_nothing_to_nothing(run, name):
    text = "How likely a customer leaves – Größe"
    made = both(run, description=text, tags={"owner": "marketing", "size": 3})
    assert made["changed"] and made["diff"]["before"] is None
    model = made["registered_model"]
    assert (model["name"], model["description"], model["latest_versions"]) == (name, text, [])
    assert model["tags"] == {"owner": "marketing", "size": "3"} and model["created"] > 1.5e12
    assert made["diff"]["after"] == {"name": name, "description": text, "tags": {"owner": "marketing", "size": "3"}}

    assert both(run)["registered_model"] == model
    assert both(run, description="new")["registered_model"]["description"] == "new"
    assert both(run, description="")["registered_model"]["description"] == ""
    more = both(run, tags={"owner": "sales", "empty": ""})["registered_model"]["tags"]
    assert more == {"owner": "sales", "size": "3", "empty": ""}
    assert both(run, tags={"a": "b"}, purge_tags=True)["registered_model"]["tags"] == {"a": "b"}
    assert not run(purge_tags=True)["changed"]
    assert both(run, tags={}, purge_tags=True)["registered_model"]["tags"] == {}

    gone = both(run, state="absent")
    assert gone["changed"] and gone["registered_model"] is None and gone["diff"]["after"] is None


@pytest.mark.parametrize("odd", ["with space", "Grüße", "it's", 'say "hi"', "a&b=c#d%20", "10"])
def test_names(run, name, odd):
    name = f"{name} {odd}"
    assert both(run, name=name, tags={"ä b": "c'd"})["registered_model"]["name"] == name
    assert both(run, name=name, state="absent")["changed"]


@pytest.mark.parametrize("bad, why", [("a/b", "slash or a colon"), ("a:b", "slash or a colon"), ("  ", "is empty")])
def test_names_that_cannot_be_used_in_a_uri(fail, bad, why):
    assert why in fail(name=bad)


def test_model_in_use_is_not_deleted_by_mistake(run, fail, registry, name, call):
    from ansible_collections.sparkflows.mlops.plugins.modules import mlflow_model_version

    run()
    version = call(
        mlflow_model_version, url=registry.url, name=name, source=f"runs:/{registry.new_run('model')}/model", stage="Staging"
    )
    assert version["changed"]
    assert "version 1 is in Staging. Set force=true" in fail(state="absent")
    assert run()["registered_model"]["latest_versions"][0]["stage"] == "Staging"
    assert both(run, state="absent", force=True)["changed"]


# ---- connection
def header(request, name):
    return {key.lower(): value for key, value in request["headers"].items()}.get(name)


@pytest.mark.parametrize(
    "login, sent",
    [
        ({}, None),
        ({"username": "me", "password": CANARY}, "Basic bWU6Y2FuYXJ5LTVlMTE="),
        ({"token": CANARY}, "Bearer " + CANARY),
        ({"username": "me", "password": CANARY, "token": "x"}, "Basic bWU6Y2FuYXJ5LTVlMTE="),
    ],
)
@pytest.mark.parametrize("by_environment", [False, True])
def test_login(call, scripted, server, monkeypatch, login, sent, by_environment):
    options = {}
    if by_environment:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", scripted.url)
        for key, value in login.items():
            monkeypatch.setenv("MLFLOW_TRACKING_" + key.upper(), value)
    else:
        options = dict(login, url=scripted.url)
    result = call(module, name="a", **options)
    assert result["changed"] and {header(request, "authorization") for request in server.requests} == {sent}
    assert CANARY not in result.output


@pytest.fixture
def refuse(call, scripted):
    def go(**options):
        result = call(module, **dict({"name": "a", "url": scripted.url}, **options))
        assert result["failed"] and CANARY not in result.output and not scripted.models
        return result["msg"]

    return go


@pytest.mark.parametrize(
    "options, why",
    [
        ({"url": None}, "Set url (environment variable MLFLOW_TRACKING_URI)"),
        ({"username": "me"}, "Set both username"),
        ({"password": CANARY}, "Set both username"),
        ({"token": CANARY + "\nx"}, "token (MLFLOW_TRACKING_TOKEN) holds characters"),
        ({"url": "mlflow:5000"}, "url must look like https://host:port"),
        ({"url": "http://127.0.0.1:1", "retries": 0}, "MLflow at http://127.0.0.1:1 cannot be reached"),
    ],
)
def test_connection_that_cannot_work(refuse, options, why):
    assert why in refuse(**options)


@pytest.mark.parametrize(
    "answer, why",
    [
        (("", 401), "did not accept the login"),
        (({"error_code": "PERMISSION_DENIED", "message": "no"}, 403), "did not accept the login"),
        (("<html><title>Sign in", 200), "did not accept the login"),
        (("", 302), "did not accept the login"),
        (("fine", 200), "answered HTTP 200 with something that is no JSON. Is url the address of MLflow itself?"),
        (('{"registered_model": {"na', 200), "answered HTTP 200 with half an answer: it ends after 25 bytes"),
        (({"error_code": "INTERNAL_ERROR", "message": "database is locked"}, 500), "(INTERNAL_ERROR): database is locked."),
        (("Not Found", 404), "answered HTTP 404"),
        (({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": CANARY}, 400), "RESOURCE_DOES_NOT_EXIST"),
    ],
)
def test_answers_that_are_no_success(refuse, server, reply, answer, why):
    server.on(*GET, reply(*answer))
    if why == "RESOURCE_DOES_NOT_EXIST":  # on the next request: only a model that is not there may be missing
        server.on("POST", "/api/2.0/mlflow/registered-models/create", reply(*answer))
    assert why in refuse(token=CANARY)


def test_busy_server_is_asked_again_and_told(call, scripted, server, reply, pauses):
    answers, there = [reply("", 503)], scripted.route("registered_models_get")
    server.on(*GET, lambda request: answers.pop() if answers else there(request))
    result = call(module, url=scripted.url, name="a")
    assert result["changed"] and "HTTP 503" in result["warnings"][0]
