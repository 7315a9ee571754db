from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.module_utils import mlflow
from ansible_collections.sparkflows.mlops.plugins.modules import mlflow_registered_model, mlflow_registered_model_info


@pytest.fixture
def look(call, registry):
    return lambda **options: call(mlflow_registered_model_info, url=registry.url, **options)


def test_all_of_several_pages_in_order(call, registry, look, name, monkeypatch):
    monkeypatch.setattr(mlflow, "PAGE", 2)
    names = [f"{name}-{letter}" for letter in "cabed"]
    for one in names:
        call(mlflow_registered_model, url=registry.url, name=one, tags={"letter": one[-1]})
    result = look()
    found = [model for model in result["registered_models"] if model["name"] in names]
    assert [model["tags"]["letter"] for model in found] == list("abcde") and not result["changed"]


def test_one_or_none(call, registry, look, name):
    assert look(name=name)["registered_models"] == []
    call(mlflow_registered_model, url=registry.url, name=name, description="one")
    assert [model["description"] for model in look(name=name)["registered_models"]] == ["one"]


def test_empty_registry(call, scripted):
    assert call(mlflow_registered_model_info, url=scripted.url)["registered_models"] == []
