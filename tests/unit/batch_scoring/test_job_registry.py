"""Which version of a model the scoring job takes, and its files."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from score_job import registry
from score_job.csv_files import BadInput


class Registry:
    def __init__(self, *versions):
        self.versions = [SimpleNamespace(version=str(number), current_stage=stage, status=status) for number, stage, status in versions]

    def get_model_version(self, name, version):
        return next(one for one in self.versions if one.version == version)

    def get_latest_versions(self, name, stages):
        return [one for one in self.versions if one.current_stage in stages][-1:]

    def search_model_versions(self, _filter):
        return self.versions


@pytest.fixture(name="no_mlflow")
def fixture_no_mlflow(monkeypatch):
    exceptions = SimpleNamespace(MlflowException=type("MlflowException", (Exception,), {}))
    monkeypatch.setitem(__import__("sys").modules, "mlflow", SimpleNamespace(exceptions=exceptions))
    monkeypatch.setitem(__import__("sys").modules, "mlflow.exceptions", exceptions)


def test_the_checksum_is_of_names_and_contents(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one/a").write_text("1")
    first = registry.checksum(str(tmp_path))
    (tmp_path / "one/a").rename(tmp_path / "one/b")
    second = registry.checksum(str(tmp_path))
    (tmp_path / "one/b").write_text("2")
    assert len({first, second, registry.checksum(str(tmp_path))}) == 3


def test_model_files_are_fetched_once_and_anew_where_they_are_damaged(tmp_path, monkeypatch):
    fetched = []

    def download_artifacts(artifact_uri, dst_path):
        fetched.append(artifact_uri)
        model = Path(dst_path) / "model"
        model.mkdir()
        (model / "MLmodel").write_text(artifact_uri)
        return str(model)

    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "mlflow.artifacts", SimpleNamespace(download_artifacts=download_artifacts))
    first, second = (SimpleNamespace(version=version, creation_timestamp=7) for version in "12")
    path = Path(registry.fetch("churn/eu", first, str(tmp_path)))
    registry.fetch("churn/eu", first, str(tmp_path))
    assert len(fetched) == 1
    (path / "MLmodel").write_text("")
    registry.fetch("churn/eu", first, str(tmp_path))
    assert fetched == ["models:/churn/eu/1"] * 2 and (path / "MLmodel").read_text() == "models:/churn/eu/1"
    (tmp_path / "churn%2Feu@1-7.mojo").mkdir()
    registry.fetch("churn/eu", second, str(tmp_path))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".churn%2Feu@2-7.sha256", "churn%2Feu@2-7"]


@pytest.mark.usefixtures("no_mlflow")
def test_a_stage_is_its_newest_version():
    versions = Registry((1, "Production", "READY"), (2, "Production", "READY"), (3, "Staging", "FAILED_REGISTRATION"))
    assert registry.resolve(versions, "m", "production").version == "2"
    assert registry.resolve(versions, "m", "1").version == "1"
    for wanted, words in [("Prod", "neither a version nor a stage"), ("Archived", r"there are: 1 \(Production\), 2"), ("3", "is not ready")]:
        with pytest.raises(BadInput, match=words):
            registry.resolve(versions, "m", wanted)
