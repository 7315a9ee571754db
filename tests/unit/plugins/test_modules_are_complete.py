"""What is easily forgotten when a module is added."""

from __future__ import annotations

import importlib
import pathlib

import pytest
import yaml

ROOT = pathlib.Path(__file__).parents[3]
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
# These work on the host itself, or talk to what is behind or beside MLflow, or to an AWX.
OTHERS = ("artifact_store_", "awx_", "mlops_", "model_endpoint_score", "nginx_sites", "postgresql_", "scored_files", "workflow_files")


def load(name):
    module = importlib.import_module(f"ansible_collections.sparkflows.mlops.plugins.modules.{name}")
    return module, yaml.safe_load(module.DOCUMENTATION)


def test_action_groups_have_every_module_that_talks_to_their_server():
    def using(fragment):
        return [name for name in MODULES if fragment in load(name)[1].get("extends_documentation_fragment", [])]

    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text())
    groups = {"sparkflows": using("sparkflows.mlops.connection"), "mlflow": using("sparkflows.mlops.mlflow")}
    assert runtime["action_groups"] == groups
    # One of the collection's own may talk to MLflow, too.
    assert [name for name in MODULES if not name.startswith(OTHERS) and name not in sum(groups.values(), [])] == []


@pytest.mark.parametrize("name", MODULES)
def test_module_has_tests_examples_and_samples(name):
    module, documentation = load(name)
    assert (ROOT / "tests" / "unit" / "plugins" / "modules" / f"test_{name}.py").exists()
    assert documentation["module"] == name and documentation["version_added"]
    assert any(f"sparkflows.mlops.{name}" in task for task in yaml.safe_load(module.EXAMPLES))
    assert yaml.safe_load(module.RETURN)
