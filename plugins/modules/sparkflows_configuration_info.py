#!/usr/bin/python
# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: sparkflows_configuration_info
short_description: Read Administration > Configuration of Sparkflows
version_added: 1.0.0
description:
  - Returns settings of Sparkflows with their titles. Secrets are masked; whether they are set is told.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
extends_documentation_fragment:
  - sparkflows.mlops.connection
  - sparkflows.mlops.attributes
  - sparkflows.mlops.attributes.info
options:
  keys:
    description:
      - Exact keys to return. Those that do not exist are listed in RV(missing).
      - With neither O(keys) nor O(patterns), all settings are returned.
    type: list
    elements: str
    default: []
  patterns:
    description: Regular expressions, regardless of case. Settings in whose key or title one of them is found are
      returned, too.
    type: list
    elements: str
    default: []
  backend:
    description:
      - V(api) asks the server.
      - V(file) reads C(conf/configuration.properties) on the host on which the module runs.
    type: str
    choices: [api, file]
    default: api
  path:
    description: The properties file, for O(backend=file).
    type: path
  secret_keys:
    description:
      - Further keys whose values are secrets.
      - Keys and titles with words such as password, secret, token or access key are secrets anyway.
    type: list
    elements: str
    default: []
seealso:
  - module: sparkflows.mlops.sparkflows_configuration
"""

EXAMPLES = r"""
- name: What does Sparkflows know about MLflow
  sparkflows.mlops.sparkflows_configuration_info:
    url: https://sparkflows.example.com:8443
    token: "{{ sparkflows_token }}"
    patterns: [mlflow, mlops]
  register: __configuration

- name: Is the deploy mode right
  ansible.builtin.assert:
    that: __configuration.by_key['mlops.mlflow.deploy.mode'] == 'fire_mlops_server'
"""

RETURN = r"""
settings:
  description: The settings in the order of the server.
  returned: success
  type: list
  elements: dict
  contains:
    key:
      description: The exact key.
      type: str
    value:
      description: The value; a mask if it is a secret.
      type: str
    title:
      description: The title that the administration page shows; empty if the server does not tell.
      type: str
    description:
      description: The description that the administration page shows.
      type: str
    group:
      description: The tab of the administration page, where the server tells.
      type: str
    secret:
      description: Whether the value is masked because it is a secret.
      type: bool
    is_set:
      description: Whether the server shows a value, or a mask.
      type: bool
  sample:
    - key: mlops.port
      value: "8086"
      title: Fire MLOps Port
      description: Port of the Fire MLOps server
      group: MLOps
      secret: false
      is_set: true
by_key:
  description: The same values by key.
  returned: success
  type: dict
  sample: {mlops.port: "8086"}
missing:
  description: Those of O(keys) that do not exist.
  returned: success
  type: list
  elements: str
  sample: []
"""

import re

from ansible_collections.sparkflows.mlops.plugins.module_utils.module import Outcome, SparkflowsModule
from ansible_collections.sparkflows.mlops.plugins.module_utils.settings import is_secret, masked, open_store
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError


def read(module):
    keys, patterns = module.params["keys"], module.params["patterns"]
    try:
        patterns = [re.compile(pattern, re.I) for pattern in patterns]
    except re.error as error:
        raise MlopsError(f"patterns: {error.pattern!r} is not a regular expression ({error}).") from error
    settings = {key: setting for key, setting in open_store(module).read().items() if setting.value is not None}
    chosen = [
        setting
        for setting in settings.values()
        if not (keys or patterns)
        or setting.key in keys
        or any(pattern.search(setting.key) or pattern.search(setting.title) for pattern in patterns)
    ]
    found = []
    for setting in chosen:
        secret = is_secret(setting.key, setting.title, module.params["secret_keys"])
        found.append(
            dict(
                key=setting.key,
                value=masked(setting.value, secret),
                title=setting.title,
                description=setting.description,
                group=setting.group,
                secret=secret,
                is_set=bool(setting.value),
            )
        )
    return Outcome(
        settings=found,
        by_key={one["key"]: one["value"] for one in found},
        missing=[key for key in keys if key not in settings],
    )


def main():
    module = SparkflowsModule(
        argument_spec=dict(
            keys=dict(type="list", elements="str", default=[], no_log=False),
            patterns=dict(type="list", elements="str", default=[]),
            backend=dict(type="str", choices=["api", "file"], default="api"),
            path=dict(type="path"),
            secret_keys=dict(type="list", elements="str", default=[], no_log=False),
        ),
        required_if=[("backend", "file", ("path",))],
    )
    module.run(read)


if __name__ == "__main__":
    main()
