#!/usr/bin/python
# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: mlflow_model_version_info
short_description: The versions of a model in MLflow's registry
version_added: 1.0.0
description:
  - Lists the versions of a registered model, the newest first.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
extends_documentation_fragment:
  - sparkflows.mlops.mlflow
  - sparkflows.mlops.attributes
  - sparkflows.mlops.attributes.info
options:
  name:
    description: Name of the registered model.
    type: str
    required: true
  version:
    description: Only this version.
    type: str
  stage:
    description: Only the versions in this stage.
    type: str
    choices: [None, Staging, Production, Archived]
"""

EXAMPLES = r"""
- name: Which version is in production
  sparkflows.mlops.mlflow_model_version_info:
    url: https://mlflow.example.com
    name: churn
    stage: Production
  register: __production

- name: Say it
  ansible.builtin.debug:
    msg: "{{ (__production.model_versions | first).version }}"
"""

RETURN = r"""
model_versions:
  description: The versions, the newest first. Empty if there is none, or no such model.
  returned: success
  type: list
  elements: dict
  sample:
    - name: churn
      version: "3"
      stage: Production
      status: READY
      source: /var/lib/mlflow/artifacts/1/0cc1/artifacts/model
      run_id: 0cc1
      description: ""
      tags: {}
      created: 1760000000000
      updated: 1760000000000
"""

from ansible_collections.sparkflows.mlops.plugins.module_utils.mlflow import STAGES, MlflowModule, show_version
from ansible_collections.sparkflows.mlops.plugins.module_utils.module import Outcome


def look(module):
    wanted = {key: module.params[key] for key in ("version", "stage") if module.params[key] is not None}
    found = map(show_version, module.client.versions(module.params["name"]))
    return Outcome(model_versions=[one for one in found if all(one[key] == wanted[key] for key in wanted)])


def main():
    module = MlflowModule(
        argument_spec=dict(
            name=dict(type="str", required=True),
            version=dict(type="str"),
            stage=dict(type="str", choices=list(STAGES)),
        ),
    )
    module.run(look)


if __name__ == "__main__":
    main()
