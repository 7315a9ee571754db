# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import urllib.parse

import pytest
from ansible_collections.sparkflows.mlops.plugins.module_utils.registered_versions import made_with
from ansible_collections.sparkflows.mlops.plugins.modules import mlops_model_versions_info

# As MLflow writes it.
SPARK = """artifact_path: model
flavors:
  python_function:
    data: sparkml
    env:
      conda: conda.yaml
      python_version: of nothing
    loader_module: mlflow.spark
    python_version: 3.7.16
  spark:
    code: null
    model_data: sparkml
    pyspark_version: 3.2.1
mlflow_version: 1.30.1
model_uuid: 893f786c82504fc19eeb63750c9dca17
signature:
  inputs: '[{"name": "account", "type": "string"}, {"name":
    mlflow_version: 9.9.9
    "months", "type": "long"}]'
  outputs: '[{"type": "string"}]'
utc_time_created: '2026-11-27 06:28:15.412611'
"""
H2O = """flavors:
  h2o:
    data: model.h2o
    h2o_version: '3.36'
  python_function:
    loader_module: mlflow.h2o
mlflow_version: "2.22.5"
metadata:
  python_version: 2.7
"""


@pytest.fixture(name="answered")
def fixture_answered(server, reply):
    versions = [{"name": "churn", "version": str(number), "current_stage": stage, "status": "READY", "creation_timestamp": number, "source": "s3://b/x"}
                for number, stage in ((1, "Production"), (2, "Production"), (3, "None"))]  # fmt: skip

    def artifact(request):
        asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(request["target"]).query))
        if asked["version"] == "3":
            return reply({"error_code": "INTERNAL_ERROR", "message": "no such store"}, status=500)
        assert asked == {"name": "churn", "version": "2", "path": "MLmodel"}
        return reply(SPARK, content_type="application/octet-stream")

    server.on("GET", "/api/2.0/mlflow/model-versions/search", reply({"model_versions": versions}))
    server.on("GET", "/model-versions/get-artifact", artifact)
    return server


def test_what_the_versions_that_are_meant_were_made_with(call, answered):
    models = [{"name": "churn", "stage": "Production"}, {"name": "churn", "version": "3"}, {"name": "churn", "version": "9"},
              {"name": "gone", "version": "1"}]
    result = call(mlops_model_versions_info, url=answered.url, models=models, use_proxy=False)
    assert [version["version"] for version in result["model_versions"]] == ["1", "2", "3"] and "source" not in result["model_versions"][0]
    spark, unread = result["made_with"]
    assert spark == {"name": "churn", "version": "2", "mlflow": "1.30.1", "python": "3.7.16", "loader": "mlflow.spark", "spark": "3.2.1"}
    assert (unread["name"], unread["version"]) == ("churn", "3") and "no such store" in unread["problem"]
    assert not result["changed"]


def test_nothing_is_read_where_nothing_is_meant(call, answered):
    assert call(mlops_model_versions_info, url=answered.url, models=[])["made_with"] == []
    assert [request["target"] for request in answered.sent("GET")] == ["/api/2.0/mlflow/model-versions/search"]


def test_without_a_registry_it_says_why(call, server):
    server.stop()
    result = call(mlops_model_versions_info, url=server.url, models=[])
    assert result["failed"] and "the connection was refused" in result["msg"] and "model_versions" not in result


@pytest.mark.parametrize(("text", "found"), [
    (H2O, {"mlflow": "2.22.5", "loader": "mlflow.h2o", "h2o": "3.36"}), ("", {}), ("<html>\nsomething: else\n", {}),
    ("flavors:\nmlflow_version:\n", {}),
])  # fmt: skip
def test_what_a_file_says(text, found):
    assert made_with(text) == found
