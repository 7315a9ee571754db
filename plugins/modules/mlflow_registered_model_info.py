#!/usr/bin/python
# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: mlflow_registered_model_info
short_description: The models in MLflow's registry
version_added: 1.0.0
description:
  - Lists the registered models, or says whether there is one.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
extends_documentation_fragment:
  - sparkflows.mlops.mlflow
  - sparkflows.mlops.attributes
  - sparkflows.mlops.attributes.info
options:
  name:
    description: Name of the model. Without it, all models are returned.
    type: str
"""

EXAMPLES = r"""
- name: What is there
  sparkflows.mlops.mlflow_registered_model_info:
    url: https://mlflow.example.com
  register: __registry
"""

RETURN = r"""
registered_models:
  description: The models, ordered by name. Empty if there is none, or none called O(name).
  returned: success
  type: list
  elements: dict
  sample:
    - name: churn
      description: How likely a customer leaves
      tags: {owner: marketing}
      created: 1760000000000
      updated: 1760000000000
      latest_versions:
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

from ansible_collections.sparkflows.mlops.plugins.module_utils.mlflow import MlflowModule, show_model
from ansible_collections.sparkflows.mlops.plugins.module_utils.module import Outcome


def look(module):
    name = module.params["name"]
    if name is None:
        found = module.client.registered_models()
    else:
        model = module.client.registered_model(name)
        found = [model] if model else []
    return Outcome(registered_models=sorted(map(show_model, found), key=lambda model: model["name"]))


def main():
    module = MlflowModule(argument_spec=dict(name=dict(type="str")))
    module.run(look)


if __name__ == "__main__":
    main()
