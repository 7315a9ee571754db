# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the computer that Ansible runs on. Their documentation is beside this file, one YAML file a filter."""

from __future__ import annotations

import os


def controller_path(path):
    """Ansible itself would search a relative one in the folders of the role and of the playbook."""
    return os.path.abspath(os.path.expanduser(path)) if path else ""


def controller_file_problems(files):
    problems = []
    for variable, path in files.items():
        found = controller_path(path)
        if found and not os.path.isfile(found):
            # Said where it was looked for, if that is not what was written.
            problems.append(f"{variable} is {path}, which is no file on the controller{'' if found == path else ' (' + found + ')'}: correct it.")
        elif found and not os.access(found, os.R_OK):
            problems.append(f"{variable} is {path}, which cannot be read on the controller: let the account that runs Ansible read it.")
    return problems


class FilterModule:
    """Filters of the collection."""

    def filters(self):
        return {"controller_path": controller_path, "controller_file_problems": controller_file_problems}
