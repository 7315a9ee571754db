# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of Sphinx for the documentation site: `make docs`."""

import re

from docutils import nodes

project = "sparkflows.mlops"
author = "Sparkflows MLOps collection contributors"
copyright = author
extensions = ["myst_parser", "sphinx_antsibull_ext"]
html_theme = "sphinx_ansible_theme"
html_show_sphinx = False
html_copy_source = False
pygments_style = "ansible"
highlight_language = "text"
default_role = "any"
# Whatever cannot be found is a warning, and `make docs` makes an error of it.
nitpicky = True
myst_heading_anchors = 4

# Ansible's own pages, which pages of antsibull refer to. antsibull-docs has looked up whether there is such a plugin.
ANSIBLE = "https://docs.ansible.com/projects/ansible/latest/"
PAGES = {
    "common_return_values": "reference_appendices/common_return_values.html",
    "ansible_configuration_settings": "reference_appendices/config.html",
    "ANSIBLE_CALLBACKS_ENABLED": "reference_appendices/config.html#envvar-ANSIBLE_CALLBACKS_ENABLED",
    "action_plugins": "plugins/action.html",
    "callback_plugins": "plugins/callback.html",
}


def elsewhere(_app, _env, node, text):
    target = node["reftarget"]
    plugin = re.fullmatch(r"ansible_collections\.(?!sparkflows\.)(\w+)\.(\w+)\.(\w+)", target)
    page = "collections/{}/{}/{}.html".format(*plugin.groups()) if plugin else PAGES.get(target)
    return page and nodes.reference("", "", text, internal=False, refuri=ANSIBLE + page)


def roles(_app, _name, source):
    """README of a role -> its page. Both are made from the argument spec."""
    source[0] = re.sub(r"\]\((\.\./)*roles/(\w+)/README\.md", r"](/reference/\2_role.rst", source[0])


def setup(app):
    app.connect("missing-reference", elsewhere)
    app.connect("source-read", roles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
