#!/usr/bin/python
# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mlops_installed_info
short_description: What of given paths and units a host has
version_added: 1.0.0
description:
  - Finds paths and units by patterns, for the decision what of a service is to be removed.
  - Says of each folder what lies in it and what is mounted on the host, so that nothing of somebody else is removed with it.
  - Follows no link. Changes nothing.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
options:
  paths:
    description: Absolute paths. In their last parts they may have the patterns of a shell.
    type: list
    elements: str
    default: []
  units:
    description: Names of units of systemd with their type, with the patterns of a shell.
    type: list
    elements: str
    default: []
  unit_dir:
    description: Directory of the units.
    type: path
    default: /etc/systemd/system
extends_documentation_fragment:
  - sparkflows.mlops.attributes
  - sparkflows.mlops.attributes.info
attributes:
  platform:
    platforms: linux
"""

EXAMPLES = r"""
- name: Look for what is installed
  sparkflows.mlops.mlops_installed_info:
    paths: [/etc/mlflow, /etc/nginx/conf.d/mlops-*.conf]
    units: [mlflow.service, mlflow-model@*.service]
  register: installed
"""

RETURN = r"""
paths:
  description: What there is, by its path.
  returned: success
  type: dict
  contains:
    kind:
      description: V(file), V(directory) or V(link).
      type: str
    entries:
      description: Names of what lies in a directory, or in the directory that a link leads to.
      type: list
      elements: str
    leads_to:
      description: Where a link leads to in the end, empty for others.
      type: str
  sample:
    /etc/mlflow: {kind: directory, entries: [mlflow.env], leads_to: ""}
units:
  description: Units by their name, with what they run. Also those that run without a file, as jobs do.
  returned: success
  type: dict
  contains:
    active:
      description: V(active), V(inactive) or V(failed), as systemd says it.
      type: str
    enabled:
      description: Whether it starts with the machine.
      type: bool
    text:
      description: What the unit's file says, empty if it has none.
      type: str
  sample:
    mlflow.service: {active: active, enabled: true, text: "[Service]\n..."}
mounts:
  description: Mount points of the host.
  returned: success
  type: list
  elements: str
  sample: [/, /var/lib/mlflow]
"""

import glob
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkflows.mlops.plugins.module_utils.proc import mounts
from ansible_collections.sparkflows.mlops.plugins.module_utils.systemd import Silent, shown

# Where systemd runs, see sd_booted(3).
BOOTED = "/run/systemd/system"
STATES = ("ActiveState", "UnitFileState")


def described(path):
    leads_to = os.path.realpath(path) if os.path.islink(path) else ""
    kind = "link" if leads_to else "directory" if os.path.isdir(path) else "file"
    return {"kind": kind, "entries": sorted(os.listdir(path)) if os.path.isdir(path) else [], "leads_to": leads_to}


def matching(pattern):
    """A pattern of a shell takes no name that begins with a dot, and no link to nowhere; a path without one is what it says."""
    return sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern] if os.path.lexists(pattern) else []


def units(module, patterns, folder):
    """Those that have a file, and those that systemd has loaded."""
    found = {os.path.basename(path): read(path) for pattern in patterns for path in matching(os.path.join(folder, pattern)) if os.path.isfile(path)}
    systemctl = module.get_bin_path("systemctl")
    if not patterns or not systemctl or not os.path.isdir(BOOTED):
        return {name: {"active": "inactive", "enabled": False, "text": text} for name, text in found.items()}
    listed = module.run_command([systemctl, "list-units", "--all", "--no-legend", "--no-pager", "--plain"] + patterns)[1]
    for line in listed.splitlines():
        fields = line.split()
        # What is only asked for by others, and not there, is none.
        if len(fields) > 3 and (fields[1] != "not-found" or fields[2] == "failed"):
            found.setdefault(fields[0], "")
    said = {name: shown(module.run_command, name, STATES, needed=STATES) for name in found}
    return {
        name: {"active": said[name]["ActiveState"], "enabled": said[name]["UnitFileState"] == "enabled", "text": text}
        for name, text in sorted(found.items())
    }


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def main():
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "str", "default": []},
            "units": {"type": "list", "elements": "str", "default": []},
            "unit_dir": {"type": "path", "default": "/etc/systemd/system"},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        paths = {path: described(path) for pattern in params["paths"] for path in matching(pattern)}
        found = units(module, params["units"], params["unit_dir"])
        points = sorted(mounts())
    except OSError as exc:
        module.fail_json(msg=f"{exc.filename}: {exc.strerror or exc}")
    except Silent as exc:
        module.fail_json(msg=str(exc))
    module.exit_json(changed=False, paths=paths, units=found, mounts=points)


if __name__ == "__main__":
    main()
