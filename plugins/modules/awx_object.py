#!/usr/bin/python
# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The documentation of plugins/action/awx_object.py.

DOCUMENTATION = r"""
module: awx_object
short_description: An object of an AWX or an automation controller
version_added: 1.0.0
description:
  - Runs a module of C(awx.awx), or of Red Hat's certified collection C(ansible.controller), which has the same modules with the same options.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
options:
  collection:
    description: The collection that has the module. It has to be installed.
    type: str
    required: true
    choices: [awx.awx, ansible.controller]
  module:
    description: Name of the module, without the collection.
    type: str
    required: true
  connection:
    description: The options of the module that say where the API is and who logs in. Meant for C(module_defaults).
    type: dict
    required: true
  options:
    description: All other options of the module.
    type: dict
    default: {}
attributes:
  check_mode:
    description: As the module.
    support: full
  diff_mode:
    description: As the module, which shows none.
    support: none
  platform:
    description: Target operating systems.
    platforms: posix
    support: full
"""

EXAMPLES = r"""
- name: Have an organization
  sparkflows.mlops.awx_object:
    collection: ansible.controller
    module: organization
    connection:
      controller_host: https://aap.example.com
      controller_oauthtoken: "{{ token }}"
    options:
      name: Data science
"""

RETURN = r"""
id:
  description: Id of the object, and what else the module returns.
  returned: if the object is there afterwards
  type: int
  sample: 42
"""
