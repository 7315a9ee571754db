from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.modules import mlflow_model_version as module
from ansible_collections.sparkflows.mlops.plugins.modules import mlflow_registered_model


@pytest.fixture
def run(call, registry, name):
    """run(...) of the version of a model that exists."""
    call(mlflow_registered_model, url=registry.url, name=name)

    def go(check=False, **options):
        result = call(module, check=check, diff=True, url=registry.url, **dict({"name": name}, **options))
        assert not result.get("failed"), result["msg"]
        return result

    return go


@pytest.fixture
def fail(call, registry, name):
    def go(check=False, **options):
        return call(module, check=check, url=registry.url, **dict({"name": name}, **options))["msg"]

    return go


def both(run, **options):
    """In check mode and for real: same answer, but for the number that MLflow chooses; then once more: nothing to do."""
    foretold = run(check=True, **options)
    done = run(**options)
    assert done["changed"] == foretold["changed"]
    diff, told = done.get("diff"), foretold.get("diff")
    if diff and diff["before"] is None:
        assert told["after"].pop("version") is None
        told["after"]["version"] = diff["after"]["version"]
    assert diff == told and done["archived_versions"] == foretold["archived_versions"]
    again = run(**options)
    assert not again["changed"] and "diff" not in again and again["archived_versions"] == []
    return done


def test_from_a_run_to_production_and_back(run, registry, name):
    first = f"runs:/{registry.new_run('model')}/model"
    made = both(run, source=first, description="first", tags={"ticket": 1}, stage="Production")
    version = made["model_version"]
    assert (version["version"], version["stage"], version["status"]) == ("1", "Production", "READY")
    assert (version["description"], version["tags"]) == ("first", {"ticket": "1"})
    assert version["source"].endswith("/artifacts/model") and version["run_id"] == first.split("/")[1]
    assert made["diff"]["before"] is None and made["archived_versions"] == []

    second = f"runs:/{registry.new_run('deep/er/model')}/deep/er/model"
    staged = both(run, source=second)["model_version"]
    assert (staged["version"], staged["stage"]) == ("2", "None")
    promoted = both(run, version="2", stage="Production")
    assert promoted["archived_versions"] == ["1"] and promoted["diff"]["after"]["archived_versions"] == ["1"]
    assert run(version="1")["model_version"]["stage"] == "Archived"

    back = both(run, source=first, stage="Production")
    assert back["archived_versions"] == ["2"] and back["model_version"]["version"] == "1"
    assert both(run, version="1", stage="None")["model_version"]["stage"] == "None"


def test_several_versions_in_a_stage_if_wanted(run, registry):
    for _number in range(2):
        source = f"runs:/{registry.new_run('model')}/model"
        assert both(run, source=source, stage="Staging", archive_existing_versions=False)["archived_versions"] == []
    # Already there, but not alone.
    assert both(run, version="1", stage="Staging")["archived_versions"] == ["2"]


def test_text_and_tags(run, registry):
    run(source=f"runs:/{registry.new_run('model')}/model", tags={"a": "1", "b": "2"})
    assert both(run, version="1", description="Größe")["model_version"]["description"] == "Größe"
    assert both(run, version="1", tags={"b": 3})["model_version"]["tags"] == {"a": "1", "b": "3"}
    assert both(run, version="1", tags={"b": 3}, purge_tags=True)["model_version"]["tags"] == {"b": "3"}


def test_deleting(run, fail, registry):
    source = f"runs:/{registry.new_run('model')}/model"
    run(source=source, stage="Production")
    assert "it is in Production. Set force=true" in fail(version="1", state="absent")
    gone = both(run, version="1", state="absent", force=True)
    assert gone["changed"] and gone["model_version"] is None and gone["diff"]["before"]["stage"] == "Production"
    # The number is used up, and what is deleted is not found again.
    assert run(source=source)["model_version"]["version"] == "2"


def test_uri_of_a_directory(run, fail, registry, name):
    run_id = registry.new_run("model")
    uri = run(source=f"runs:/{run_id}/model")["model_version"]["source"]
    assert not run(source=uri, run_id=run_id)["changed"]
    assert "INVALID_PARAMETER_VALUE" in fail(source="/etc")
    remote = both(run, source="s3://bucket/model")["model_version"]
    assert (remote["source"], remote["run_id"], remote["version"]) == ("s3://bucket/model", "", "2")


@pytest.mark.parametrize(
    "options, why",
    [
        ({}, "one of the following is required: version, source"),
        ({"state": "absent", "source": "s3://x"}, "state is absent but all of the following are missing: version"),
        ({"version": "4"}, "has no version 4, but none"),
        ({"source": "runs:/abc"}, "write the model of a run as runs:/<run id>/<path>"),
        ({"source": "runs:/" + "0" * 32 + "/model"}, "MLflow has no run 000"),
        ({"source": "s3://x", "stage": "Dev"}, "None, Staging, Production, Archived"),
        ({"source": "s3://x"}, "make it first with mlflow_registered_model"),
    ],
)
def test_what_cannot_be(fail, options, why):
    assert why in fail(**options)


def test_run_without_that_model(fail, registry):
    run_id = registry.new_run("model")
    assert "has logged no model as other; there is no other/MLmodel" in fail(source=f"runs:/{run_id}/other")
    assert "leave run_id out" in fail(source=f"runs:/{run_id}/model", run_id="other")


def test_version_from_elsewhere(run, fail, registry):
    run(source="s3://bucket/one")
    assert "comes from s3://bucket/one, not from s3://bucket/two" in fail(version="1", source="s3://bucket/two")
    assert "has no version 3, but 1" in fail(version="3")


def test_check_mode_before_the_model_exists(call, registry, name):
    result = call(module, check=True, url=registry.url, name=name, source="s3://bucket/model", stage="Staging")
    assert result["changed"] and result["model_version"]["version"] is None and name in result["warnings"][0]


# ---- what a real server does only on bad days
@pytest.fixture
def slow(call, scripted, name, pauses):
    scripted.pending = 3
    call(mlflow_registered_model, url=scripted.url, name=name)

    def go(**options):
        return call(module, url=scripted.url, name=name, source="s3://bucket/model", **options)

    return go


def test_waits_until_ready_and_only_then_moves(slow, pauses):
    result = slow(stage="Production")
    assert result["model_version"]["status"] == "READY" and result["model_version"]["stage"] == "Production"
    assert pauses == [0.25, 0.5, 1.0]


def test_waits_for_a_version_that_somebody_else_registers(slow, scripted):
    assert slow(wait_timeout=0)["model_version"]["status"] == "PENDING_REGISTRATION"
    result = slow()
    assert not result["changed"] and not scripted.pending


def test_registration_that_fails(slow, scripted, name):
    scripted.status_at_end = "FAILED_REGISTRATION"
    assert "MLflow could not register version 1" in slow(stage="Production")["msg"]
    # It is not taken for the version that is wanted.
    scripted.status_at_end = "READY"
    assert slow()["model_version"]["version"] == "2"


def test_registration_that_never_ends(slow, scripted, monkeypatch):
    scripted.pending = 10**6
    clock = iter(range(0, 10**6, 100))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    message = slow(stage="Production")["msg"]
    assert "is not ready after 300 s, but PENDING_REGISTRATION" in message and "Raise wait_timeout" in message


def test_server_that_may_not_read_its_own_store(call, scripted, server, reply, name):
    call(mlflow_registered_model, url=scripted.url, name=name)
    run_id = scripted.new_run("model")
    denied = reply({"error_code": "INTERNAL_ERROR", "message": "Unable to locate credentials"}, 500)
    server.on("GET", "/api/2.0/mlflow/artifacts/list", denied)
    result = call(module, url=scripted.url, name=name, source=f"runs:/{run_id}/model")
    assert result["changed"] and "Unable to locate credentials" in result["warnings"][0]
