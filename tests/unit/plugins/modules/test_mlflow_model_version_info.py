from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.modules import (
    mlflow_model_version,
    mlflow_model_version_info,
    mlflow_registered_model,
)


@pytest.mark.parametrize("suffix", ["", " it's", ' "quoted"', """ both ' and " """])
def test_newest_first_and_by_stage(call, registry, name, suffix):
    name += suffix

    def look(**options):
        result = call(mlflow_model_version_info, url=registry.url, name=name, **options)
        assert not result["changed"]
        return [version["version"] for version in result["model_versions"]]

    assert look() == []
    call(mlflow_registered_model, url=registry.url, name=name)
    for stage in ("Production", None, "Production"):
        made = call(
            mlflow_model_version,
            url=registry.url,
            name=name,
            source=f"runs:/{registry.new_run('model')}/model",
            archive_existing_versions=False,
            **({"stage": stage} if stage else {}),
        )
        assert made["changed"], made
    assert look() == ["3", "2", "1"] and look(stage="Production") == ["3", "1"] and look(stage="None") == ["2"]
    assert look(version="2") == ["2"] and look(version="7") == [] and look(version="2", stage="Staging") == []


def test_unknown_stage(call, scripted):
    result = call(mlflow_model_version_info, url=scripted.url, name="a", stage="Dev")
    assert "None, Staging, Production, Archived" in result["msg"]
