#!/usr/bin/python
# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mlops_served_models_info
short_description: Which models a host serves, by which of their instances
version_added: 1.0.0
description:
  - Role C(model_serving) runs a model as an instance of C(mlflow-model@.service) on a private port, and nginx hands the
    requests of the public port to it. While a model is replaced it has two instances. The one that nginx names is the
    live one.
  - What counts is on the disk of the host, so a run that was killed leaves nothing that the next one does not see.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
options:
  unit_dir:
    description: Directory of the instances' units.
    type: path
    default: /etc/systemd/system
  site_dir:
    description: Directory of nginx' sites.
    type: path
    default: /etc/nginx/conf.d
  links:
    description: Symbolic links whose target is wanted.
    type: list
    elements: path
    default: []
  names:
    description: Symbolic links of which the name is wanted that they were given.
    type: list
    elements: path
    default: []
extends_documentation_fragment:
  - sparkflows.mlops.attributes
  - sparkflows.mlops.attributes.info
attributes:
  platform:
    platforms: linux
"""

EXAMPLES = r"""
- name: Find what is served
  sparkflows.mlops.mlops_served_models_info:
  register: served
"""

RETURN = r"""
slots:
  description: The instances that the host has, live or not.
  returned: success
  type: list
  elements: str
  sample: [churn, churn@2]
sites:
  description: For each model with a site of nginx, the instance that the site names and its private port.
  returned: success
  type: dict
  sample: {churn: {slot: churn@2, port: 15002}}
ports:
  description: TCP ports on which something listens.
  returned: success
  type: list
  elements: int
  sample: [22, 5001, 15002]
links:
  description: Where each of O(links) leads to in the end.
  returned: success
  type: dict
  sample: {/opt/mlflow/current: /opt/mlflow/releases/guide-1.30-9970472a1295}
names:
  description:
    - The name that each of O(names) was given. A package's JDK has a name that stays when it is updated and is a link itself;
      the directory at its end goes with the update.
  returned: success
  type: dict
  sample: {/opt/mlflow/java: /usr/lib/jvm/java-1.8.0-openjdk}
"""

import glob
import json
import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkflows.mlops.plugins.module_utils.proc import LISTEN, sockets

PREFIX = "mlflow-model@"
SITE = "mlops-model-*.conf"
# The line that role model_serving writes into a site.
MARK = re.compile(r"^# live: (\{.*\})$", re.M)


def slots(folder):
    names = [os.path.basename(path) for path in glob.glob(os.path.join(folder, PREFIX + "?*.service"))]
    return sorted(name[len(PREFIX):-len(".service")] for name in names)


def sites(folder):
    found = {}
    for path in sorted(glob.glob(os.path.join(folder, SITE))):
        with open(path, encoding="utf-8") as file:
            mark = MARK.search(file.read())
        if not mark:
            raise ValueError(f"{path} is not as role model_serving has written it: remove it, or put it back.")
        live = json.loads(mark.group(1))
        found[live["instance"]] = {"slot": live["slot"], "port": live["port"]}
    return found


def name(link):
    """One step: what the link says, and not where that leads to."""
    return os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(link))) if os.path.islink(link) else link


def main():
    module = AnsibleModule(
        argument_spec={
            "unit_dir": {"type": "path", "default": "/etc/systemd/system"},
            "site_dir": {"type": "path", "default": "/etc/nginx/conf.d"},
            "links": {"type": "list", "elements": "path", "default": []},
            "names": {"type": "list", "elements": "path", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        found = sites(params["site_dir"])
    except (OSError, ValueError, KeyError) as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(
        changed=False,
        slots=slots(params["unit_dir"]),
        sites=found,
        ports=sorted({item["port"] for item in sockets(LISTEN)}),
        links={path: os.path.realpath(path) for path in params["links"]},
        names={path: name(path) for path in params["names"]},
    )


if __name__ == "__main__":
    main()
