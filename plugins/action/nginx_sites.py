# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the templates of sites on the controller, then hands all sites over to the module of that name at once."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.listen_ports import ports_of
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.rendering import RenderingAction, is_list_of_mappings


class ActionModule(RenderingAction):
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        options = dict(self._task.args)
        if is_list_of_mappings(options.get("sites")):
            options["sites"] = [self.site(entry, task_vars) for entry in options["sites"]]
        return self._execute_module("sparkflows.mlops.nginx_sites", options, task_vars=task_vars)

    def site(self, entry, task_vars):
        label = f"site {entry.get('name', 'without a name')}"
        site = self.rendered(entry, label, task_vars)
        told = site.pop("ports", None)
        if told is not None and ports_of(site.get("content", "")) != {int(port) for port in told}:
            listens = ", ".join(map(str, sorted(ports_of(site.get("content", ""))))) or "no port"
            raise AnsibleActionFail(f"{label} listens on {listens}, but its ports say {', '.join(map(str, told)) or 'none'}: correct one of them")
        return site
