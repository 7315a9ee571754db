# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action plugin of that name: which module it runs, and with what."""

from __future__ import annotations

from unittest import mock

import pytest
import yaml
from ansible.errors import AnsibleError
from ansible_collections.sparkflows.mlops.plugins.action import awx_object as plugin
from ansible_collections.sparkflows.mlops.plugins.modules import awx_object as documentation

CONNECTION = {"controller_host": "https://awx.example.com", "request_timeout": 30.0}


def ran(**given):
    """The name of the module that was run, and its options."""
    task = mock.MagicMock(args=given, async_val=0, check_mode=False)
    action = plugin.ActionModule(task, mock.MagicMock(), mock.MagicMock(), mock.MagicMock(), mock.MagicMock(), mock.MagicMock())
    with mock.patch.object(action, "_execute_module") as execute:
        assert action.run(task_vars={"some": "variables"}) is execute.return_value
    assert execute.call_args.kwargs == {"task_vars": {"some": "variables"}}
    return execute.call_args.args


@pytest.mark.parametrize("collection", ["awx.awx", "ansible.controller"])
def test_module_of_the_collection_is_run_with_all_options(collection):
    options = {"name": "Data science", "galaxy_credentials": []}
    name, sent = ran(collection=collection, module="organization", connection=CONNECTION, options=options)
    assert (name, sent) == (f"{collection}.organization", {**CONNECTION, **options})


@pytest.mark.parametrize(("given", "words"), [
    ({"collection": "ansible.tower"}, "value of collection must be one of: awx.awx, ansible.controller"),
    ({"connection": "https://awx.example.com"}, "connection"),
    ({"name": "Data science"}, "name"),
])  # fmt: skip
def test_what_it_does_not_know_is_refused(given, words):
    with pytest.raises(AnsibleError, match=words):
        ran(**{"collection": "awx.awx", "module": "organization", "connection": CONNECTION, **given})


def test_documentation_says_what_it_takes():
    told = yaml.safe_load(documentation.DOCUMENTATION)["options"]
    assert {name: {key: value for key, value in option.items() if key != "description"} for name, option in told.items()} == plugin.OPTIONS
