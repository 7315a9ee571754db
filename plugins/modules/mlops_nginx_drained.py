#!/usr/bin/python
# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mlops_nginx_drained
short_description: Waits until nginx has answered what it had accepted before its last reload
version_added: 1.0.0
description:
  - After a graceful reload new workers of nginx take the new requests, and the workers before finish what they have
    begun. What stood behind the configuration before may be stopped only when they have ended.
  - A worker that is older than the newest change in O(config_dir) works with the configuration before. If there are only
    such workers nginx has not been reloaded, and the module fails.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
options:
  config_dir:
    description: Directory of the changed files. Its own age counts, too, so that a removed file is noticed.
    type: path
    default: /etc/nginx/conf.d
  ports:
    description:
      - Local ports behind the configuration before. When no connection to them has been open for O(quiet) seconds, what
        still keeps an old worker alive is none of theirs.
    type: list
    elements: int
    default: []
  quiet:
    description: See O(ports).
    type: float
    default: 10
  timeout:
    description: Seconds that old workers are given, the longest that an answer may take.
    type: float
    default: 60
  unit:
    description: Unit of nginx.
    type: str
    default: nginx.service
extends_documentation_fragment:
  - sparkflows.mlops.attributes
attributes:
  check_mode:
    support: full
    details: Does nothing then.
  diff_mode:
    support: none
    details: Waits, so there is no difference to show.
  idempotent:
    support: full
  platform:
    platforms: linux
"""

EXAMPLES = r"""
- name: Wait until nobody is served by the instance before
  sparkflows.mlops.mlops_nginx_drained:
    ports: [15001]
    timeout: 300
"""

RETURN = r"""
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 0.4
remaining:
  description:
    - Process ids of old workers that are still at work. They have been given O(timeout) seconds, or are busy with nothing
      that has to do with O(ports).
  returned: success
  type: list
  elements: int
  sample: []
"""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkflows.mlops.plugins.module_utils.proc import ESTABLISHED, children, sockets
from ansible_collections.sparkflows.mlops.plugins.module_utils.systemd import Silent, shown

# The master starts its new workers before it asks the old ones to end; on a machine that is very busy this takes seconds.
TAKEN_WITHIN = 10


def changed_at(folder):
    """When anything in the folder was changed last, removals included."""
    if not os.path.isdir(folder):
        return 0
    return max(os.stat(path).st_ctime for path in [folder, *(entry.path for entry in os.scandir(folder))])


def workers(master):
    """Process id -> time of the start, of the master's children."""
    return {number: child["started"] for number, child in children(master).items() if child["state"] != "Z"}


def connections(ports):
    """How many connections to these local ports are open."""
    return sum(item["port"] in ports for item in sockets(ESTABLISHED))


def drain(module, master):
    """The old workers that are left in the end."""
    params, began, changed = module.params, time.monotonic(), changed_at(module.params["config_dir"])
    quiet_since = None
    while True:
        now = time.monotonic()
        found = workers(master)
        old = sorted(pid for pid, started in found.items() if started <= changed)
        if not old:
            return old
        if len(old) == len(found):
            if now - began > TAKEN_WITHIN:
                module.fail_json(msg=f"nginx has not been reloaded since {params['config_dir']} was changed, so it serves as before the change.")
        elif now - began > params["timeout"]:
            return old
        elif params["ports"]:
            if connections(params["ports"]):
                quiet_since = None
            elif quiet_since is None:
                quiet_since = now
            elif now - quiet_since >= params["quiet"]:
                return old
        time.sleep(0.1)


def main():
    module = AnsibleModule(
        argument_spec={
            "config_dir": {"type": "path", "default": "/etc/nginx/conf.d"},
            "ports": {"type": "list", "elements": "int", "default": []},
            "quiet": {"type": "float", "default": 10},
            "timeout": {"type": "float", "default": 60},
            "unit": {"type": "str", "default": "nginx.service"},
        },
        supports_check_mode=True,
    )
    try:
        master = 0 if module.check_mode else shown(module.run_command, module.params["unit"], ["MainPID"], ["MainPID"])["MainPID"]
    except Silent as exc:
        module.fail_json(msg=str(exc))
    began = time.monotonic()
    # Nobody is served by an nginx that does not run.
    remaining = drain(module, master) if master else []
    module.exit_json(changed=False, seconds=round(time.monotonic() - began, 1), remaining=remaining)


if __name__ == "__main__":
    main()
