# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What actions share that render templates and read files on the controller, and hand the contents over to a module."""

from __future__ import annotations

from pathlib import Path

from ansible.errors import AnsibleActionFail, AnsibleFileNotFound
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader

# What says what is in a file; one of them may be given.
CONTENTS = ("template", "source", "content")
# Whose templates are everybody's.
SHARED = [str(Path(__file__).resolve().parents[2] / "roles" / role) for role in ("topology", "nginx")]


class RenderingAction(ActionBase):
    TRANSFERS_FILES = False

    def rendered(self, entry, label, task_vars):
        """The entry with nothing but C(content) of what says its content. What it is about, for messages, is the label.

        Raises AnsibleActionFail where the entry contradicts itself, or a template or file is not there.
        """
        said = [name for name in CONTENTS if name in entry]
        if len(said) > 1:
            raise AnsibleActionFail(f"{label}: {' and '.join(said)} both say what is in it, give one of them")
        if "variables" in entry and "template" not in entry:
            raise AnsibleActionFail(f"{label}: variables are for a template, and none is given")
        plain = {name: value for name, value in entry.items() if name not in (*CONTENTS, "variables")}
        if "template" in entry:
            path = self.found("templates", entry["template"], label)
            plain["content"] = self.read("template", path, task_vars, template_vars=dict(entry.get("variables", {})))
        elif "source" in entry:
            plain["content"] = self.read("file", self.found("files", entry["source"], label), task_vars, rstrip=False)
        elif "content" in entry:
            plain["content"] = entry["content"]
        return plain

    def found(self, folder, name, label):
        """Path of a template or file of the role, of a role whose templates are everybody's, or beside the playbook."""
        places = [*self._task.get_search_path(), *SHARED]
        try:
            return self._loader.path_dwim_relative_stack(places, folder, name)
        except AnsibleFileNotFound as exc:
            raise AnsibleActionFail(f"{label}: there is no {name} in {folder} of {', '.join(places)}") from exc

    def read(self, lookup, path, task_vars, **options):
        """By Ansible's own lookup, so that a file of a vault is read in clear, and a template knows all variables of its task."""
        plugin = lookup_loader.get(f"ansible.builtin.{lookup}", loader=self._loader, templar=self._templar)
        # A template may include others, from the same places.
        variables = {**task_vars, "ansible_search_path": [*self._task.get_search_path(), *SHARED]}
        return plugin.run([path], variables=variables, **options)[0]


def is_list_of_mappings(value):
    """What is none is for the module to refuse."""
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)
