# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renders the templates of a role and reads its files on the controller, then hands all of them over to the module of that name at once."""

from __future__ import annotations

from ansible.errors import AnsibleActionFail
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.rendering import RenderingAction, is_list_of_mappings


class ActionModule(RenderingAction):
    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        options = dict(self._task.args)
        if is_list_of_mappings(options.get("files")):
            files, secrets = [], dict(options.get("secret_contents") or {})
            for entry in options["files"]:
                file = self.rendered(entry, entry.get("path", "an entry without a path"), task_vars)
                if "content" in file and file.get("state") == "directory":
                    raise AnsibleActionFail(f"{file['path']}: a directory has no content")
                if file.pop("secret", False) and "content" in file:
                    secrets[file["path"]] = file.pop("content")
                files.append(file)
            options.update(files=files, secret_contents=secrets)
        return self._execute_module("sparkflows.mlops.mlops_files", options, task_vars=task_vars)
