#!/usr/bin/python
# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mlops_model_versions_info
short_description: What MLflow's registry has, and what declared models were made with
version_added: 1.0.0
description:
  - Lists the versions of all registered models.
  - Reads the file C(MLmodel) of those versions that declared models mean. It says with which MLflow, Python, Spark and H2O they
    were made.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
extends_documentation_fragment:
  - sparkflows.mlops.mlflow
  - sparkflows.mlops.attributes
  - sparkflows.mlops.attributes.info
options:
  models:
    description: The declared models.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the registered model.
        type: str
        required: true
      version:
        description: Its version. Either this or O(models[].stage).
        type: str
        default: ""
      stage:
        description: Its stage, of which the newest version is meant.
        type: str
        default: ""
  use_proxy:
    description: Whether proxy variables of the environment are respected.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Ask the registry
  sparkflows.mlops.mlops_model_versions_info:
    url: http://127.0.0.1:5000
    models:
      - {name: churn, stage: Production}
  register: registry
"""

RETURN = r"""
model_versions:
  description: All versions of all models.
  returned: success
  type: list
  elements: dict
  sample: [{name: churn, version: "3", current_stage: Production, status: READY, creation_timestamp: 1760000000000}]
made_with:
  description:
    - For each version that is meant, what its C(MLmodel) says. C(loader) is what loads it in Python.
    - Where that could not be read, C(problem) says why.
  returned: success
  type: list
  elements: dict
  sample: [{name: churn, version: "3", mlflow: 1.30.1, python: 3.7.16, loader: mlflow.spark, spark: 3.2.1}]
"""

from ansible_collections.sparkflows.mlops.plugins.module_utils.mlflow import MlflowModule
from ansible_collections.sparkflows.mlops.plugins.module_utils.module import Outcome
from ansible_collections.sparkflows.mlops.plugins.module_utils.registered_versions import find_version, made_with
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError

FIELDS = ("name", "version", "current_stage", "status", "creation_timestamp")


def read(client, meant):
    try:
        return made_with(client.artifact(meant["name"], meant["version"], "MLmodel"))
    except MlopsError as error:
        return {"problem": str(error)}


def look(module):
    found = module.client.get("model-versions/search").get("model_versions", [])
    meant = [find_version(model, found) for model in module.params["models"]]
    return Outcome(
        model_versions=[{field: version[field] for field in FIELDS} for version in found],
        made_with=[dict(read(module.client, version), name=version["name"], version=version["version"])
                   for version in meant if isinstance(version, dict)],
    )  # fmt: skip


def main():
    module = MlflowModule(
        argument_spec=dict(
            models=dict(
                type="list",
                elements="dict",
                required=True,
                options=dict(
                    name=dict(type="str", required=True),
                    version=dict(type="str", default=""),
                    stage=dict(type="str", default=""),
                ),
            ),
            use_proxy=dict(type="bool", default=True),
        ),
    )
    module.run(look)


if __name__ == "__main__":
    main()
