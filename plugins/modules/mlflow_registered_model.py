#!/usr/bin/python
# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: mlflow_registered_model
short_description: A model in MLflow's registry
version_added: 1.0.0
description:
  - Creates a registered model, describes and tags it, or deletes it with all its versions.
  - Its versions are made by M(sparkflows.mlops.mlflow_model_version).
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
extends_documentation_fragment:
  - sparkflows.mlops.mlflow
  - sparkflows.mlops.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  name:
    description: Name of the model.
    type: str
    required: true
  state:
    description: Whether there is such a model.
    type: str
    choices: [present, absent]
    default: present
  description:
    description: Text about the model. Without it, the text stays as it is.
    type: str
  tags:
    description: Tags, as texts. Others stay, unless O(purge_tags=true).
    type: dict
  purge_tags:
    description: Remove the tags that are not in O(tags).
    type: bool
    default: false
  force:
    description: Delete the model although a version of it is in the stage C(Staging) or C(Production).
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: A model for the versions to come
  sparkflows.mlops.mlflow_registered_model:
    url: https://mlflow.example.com
    username: deployer
    password: "{{ mlflow_password }}"
    name: churn
    description: How likely a customer leaves
    tags:
      owner: marketing
"""

RETURN = r"""
registered_model:
  description: The model, or null where there is none.
  returned: success
  type: dict
  sample:
    name: churn
    description: How likely a customer leaves
    tags: {owner: marketing}
    created: 1760000000000
    updated: 1760000000000
    latest_versions: []
"""

from ansible_collections.sparkflows.mlops.plugins.module_utils.mlflow import (
    IN_USE,
    MlflowModule,
    as_tags,
    checked_name,
    show_model,
    tags_of,
    wanted_tags,
    write_tags,
)
from ansible_collections.sparkflows.mlops.plugins.module_utils.module import Outcome
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError


def view(model):
    """What can be set: before and after of the difference."""
    return model and {"name": model["name"], "description": model.get("description", ""), "tags": tags_of(model)}


def delete(module, model):
    used = [one for one in model.get("latest_versions", []) if one.get("current_stage") in IN_USE]
    if used and not module.params["force"]:
        stages = ", ".join(f"version {one['version']} is in {one['current_stage']}" for one in used)
        raise MlopsError(f"{model['name']} may be in use: {stages}. Set force=true to delete it with all its versions.")
    if not module.check_mode:
        module.client.delete("registered-models/delete", name=model["name"])


def write(module, before, after):
    client, keys = module.client, {"name": after["name"]}
    if not before:
        described = {"description": after["description"]} if after["description"] else {}
        client.post("registered-models/create", tags=as_tags(after["tags"]), **described, **keys)
        return
    if before["description"] != after["description"]:
        client.patch("registered-models/update", description=after["description"], **keys)
    write_tags(client, "registered-models", keys, before["tags"], after["tags"])


def sync(module):
    params = module.params
    name = params["name"]
    model = module.client.registered_model(name)
    before = view(model)
    if params["state"] == "absent":
        if model:
            delete(module, model)
        return Outcome(before, None, header=name, registered_model=None)
    after = dict(before or {"name": checked_name(name), "description": "", "tags": {}})
    if params["description"] is not None:
        after["description"] = params["description"]
    after["tags"] = wanted_tags(params, after["tags"])
    if after != before and not module.check_mode:
        write(module, before, after)
        model = module.client.registered_model(name)
        after = view(model)
    return Outcome(before, after, header=name, registered_model=dict(show_model(model or {"name": name}), **after))


def main():
    module = MlflowModule(
        argument_spec=dict(
            name=dict(type="str", required=True),
            state=dict(type="str", choices=["present", "absent"], default="present"),
            description=dict(type="str"),
            tags=dict(type="dict"),
            purge_tags=dict(type="bool", default=False),
            force=dict(type="bool", default=False),
        ),
    )
    module.run(sync)


if __name__ == "__main__":
    main()
