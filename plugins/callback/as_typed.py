# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Extra variables as they were written, for ansible-core that reads them otherwise."""

from __future__ import annotations

DOCUMENTATION = """
  name: as_typed
  type: aggregate
  short_description: Texts of AWX's surveys and credentials arrive as they were typed
  version_added: 1.0.0
  author: Sparkflows MLOps collection contributors (@sparkflows)
  description:
    - AWX marks answers and what credentials hand over with C(!unsafe), so that they are no templates. From 2.19 on ansible-core takes such a text as
      if it had no quotes. A password C(0123) would be the number 83, C(yes) would be true, an empty answer null.
    - This plugin puts the texts back that stand in the files and texts given as C(--extra-vars), before the first play. They are no templates, as
      before. It says nothing, and does nothing where ansible-core reads texts as texts.
    - It is too late for C(=), C(<<), and what looks like a date and is none (C(2024-13-01)). With such a text ansible-core does not start.
  requirements:
    - To be named in C(callbacks_enabled) of C(ansible.cfg), as in that of the collection.
"""

import os
from collections.abc import Mapping

import yaml
from ansible import context
from ansible.parsing.splitter import parse_kv
from ansible.plugins.callback import CallbackBase
from ansible.utils.path import unfrackpath
from ansible.utils.vars import combine_vars


class Text(str):
    """A text that is marked with !unsafe."""


class Loader(yaml.SafeLoader):
    """Reads what is marked as it stands there; what other marks mean is not asked for."""

    def marked(self, _suffix, node):
        if isinstance(node, yaml.ScalarNode):
            return Text(node.value) if node.tag == "!unsafe" else node.value
        return self.construct_sequence(node, deep=True) if isinstance(node, yaml.SequenceNode) else self.construct_mapping(node, deep=True)


Loader.add_multi_constructor("!", Loader.marked)


def as_typed(value, written):
    """A value as ansible-core has read it, with the marked texts as they are written."""
    if isinstance(written, Text):
        return value if isinstance(value, str) else str(written)
    if isinstance(written, dict) and isinstance(value, Mapping) and len(written) == len(value):
        pairs = zip(value.items(), written.items())
        return {as_typed(key, name): as_typed(item, text) for (key, item), (name, text) in pairs}
    if isinstance(written, list) and isinstance(value, list) and len(written) == len(value):
        return [as_typed(item, text) for item, text in zip(value, written)]
    return value


def given(options, read):
    """What the options --extra-vars say together, with marks; nothing if one is a pipe, which cannot be read once more. AWX writes files."""
    variables = {}
    options = [option for option in options if option]
    if not all(os.path.isfile(unfrackpath(option[1:])) for option in options if option.startswith("@")):
        return variables
    for option in options:
        if option.startswith(("@", "[", "{")):
            variables = combine_vars(variables, yaml.load(read(unfrackpath(option[1:])) if option.startswith("@") else option, Loader) or {})
        else:
            variables = combine_vars(variables, parse_kv(option))
    return variables


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "sparkflows.mlops.as_typed"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook):
        play = next(iter(playbook.get_plays()), None)
        if not play or play.get_loader().load("!unsafe '0123'") == "0123":
            return
        options = context.CLIARGS.get("extra_vars") or ()
        variables = play.get_variable_manager().extra_vars
        for name, written in given(options, lambda path: play.get_loader().get_text_file_contents(path)).items():
            typed = as_typed(variables.get(name), written)
            if typed != variables.get(name):
                variables[name] = typed
