# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module of the collection that is to talk to an AWX. A templated name of an action would lose module_defaults on ansible-core 2.16."""

from __future__ import annotations

from ansible.plugins.action import ActionBase

OPTIONS = {
    "collection": {"type": "str", "required": True, "choices": ["awx.awx", "ansible.controller"]},
    "module": {"type": "str", "required": True},
    "connection": {"type": "dict", "required": True},
    "options": {"type": "dict", "default": {}},
}


class ActionModule(ActionBase):
    TRANSFERS_FILES = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        _result, given = self.validate_argument_spec(OPTIONS)
        return self._execute_module(f"{given['collection']}.{given['module']}", {**given["connection"], **given["options"]}, task_vars=task_vars)
