#!/usr/bin/python
# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mlops_files
short_description: The files and directories of a service, written in one go
version_added: 1.0.0
description:
  - Writes the files and makes the directories that belong together (unit, settings, secrets), in the given order.
  - A site serves tens of models, each with files of its own. One task for each file takes most of a second each time,
    also when nothing has changed; this module looks at all of them at once.
  - A file appears under its name only when it is complete and has its owner and mode, so a secret is never readable by
    others, not for a moment, and a service never reads half a file.
  - A new file or directory gets the SELinux context that the policy has for its path; a file that is replaced hands its own on.
  - Templates are rendered, and files of the role read, on the controller by the action plugin of the same name.
  - The difference shows every file but those with secrets.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
options:
  files:
    description: The files and directories. A directory comes before what lies in it.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Absolute path.
        type: path
        required: true
      state:
        description:
          - V(file) has the given content.
          - V(directory) exists. Those above it that are missing are made with mode V(0755), whatever the umask.
          - V(absent) does not exist, a directory with all that is in it.
        type: str
        choices: [file, directory, absent]
        default: file
      content:
        description:
          - Content of the file.
          - Without it, O(files[].template) or O(files[].source), the content is in O(secret_contents).
        type: str
      template:
        description:
          - Name of a template in C(templates) of the role or beside the playbook, or a path.
          - Templates of the roles C(topology) and C(nginx) are found from all roles.
          - It is rendered as the lookup P(ansible.builtin.template#lookup) does.
        type: str
      variables:
        description: Variables for O(files[].template), besides those of the task.
        type: dict
      source:
        description:
          - Name of a file in C(files) of the role or beside the playbook, or a path on the controller.
          - A file that is encrypted with Ansible Vault is read in clear.
        type: str
      secret:
        description: Whether the content is never shown.
        type: bool
        default: false
      owner:
        description: Owner.
        type: str
        default: root
      group:
        description: Group.
        type: str
        default: root
      mode:
        description:
          - Mode, four octal digits.
          - The default is V(0644) for a file and V(0755) for a directory.
        type: str
  below:
    description:
      - Folder below which everything is written, as if it were the root, for whoever puts it in its place later. What is
        missing of the folders above a file is made.
      - Not below a folder by default.
    type: str
    default: ""
  secret_contents:
    description:
      - Contents of files by their path, never shown. With O(files[].secret) the action plugin puts them here.
      - They have a place of their own because Ansible's record of a call in the system log hides whole options only,
        not what lies inside of one.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Can run in check mode and says the same as without.
    support: full
  diff_mode:
    description: Shows what would change, but no secret content.
    support: full
  platform:
    description: Target operating systems.
    platforms: posix
    support: full
"""

EXAMPLES = r"""
- name: Write the unit and its settings
  sparkflows.mlops.mlops_files:
    files:
      - path: /etc/mlflow
        state: directory
        group: mlflow
        mode: "0750"
      - path: /etc/mlflow/mlflow.env
        template: environment.j2
        variables:
          environment_variables:
            MLFLOW_TRACKING_PASSWORD: "{{ mlops_mlflow_password }}"
        secret: true
        group: mlflow
        mode: "0640"
      - path: /etc/systemd/system/mlflow.service
        template: mlflow.service.j2
"""

RETURN = r"""
changed_paths:
  description: What was changed, in the given order.
  returned: success
  type: list
  elements: str
  sample: [/etc/mlflow/mlflow.env]
"""

import os
import shutil
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkflows.mlops.plugins.module_utils.places import make_directories, relabel

MODES = {"file": "0644", "directory": "0755"}


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def text(content):
    return "" if content is None else content.decode("utf-8", "replace")


def attributes(module, entry, path):
    """What set_fs_attributes_if_different wants, for path."""
    wanted = {"owner": entry["owner"], "group": entry["group"], "mode": entry["mode"] or MODES[entry["state"]]}
    return dict(module.load_file_common_arguments(wanted, path=entry["path"]), path=path)


def same_attributes(module, entry):
    """Owner, group and mode of what exists. True if something was changed (or would be, in check mode)."""
    return module.set_fs_attributes_if_different(attributes(module, entry, entry["path"]), False)


def absent(module, entry):
    path = entry["path"]
    if not os.path.lexists(path):
        return False, None
    if not module.check_mode:
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    return True, {"prepared": f"{path}: removed\n"}


def directory(module, entry):
    path = entry["path"]
    if os.path.isdir(path):
        return same_attributes(module, entry), {"prepared": f"{path}: owner or mode\n"}
    if not module.check_mode:
        make_directories(module, path)
        same_attributes(module, entry)
    return True, {"prepared": f"{path}: new directory\n"}


def regular(module, entry):
    path = entry["path"]
    secret = entry["content"] is None
    if secret and path not in module.params["secret_contents"]:
        module.fail_json(msg=f"{path}: neither content nor secret_contents says what is in it")
    wanted = (module.params["secret_contents"][path] if secret else entry["content"]).encode("utf-8")
    found = read(path)
    if found == wanted:
        return same_attributes(module, entry), {"prepared": f"{path}: owner or mode\n"}
    if not module.check_mode:
        handle, temporary = tempfile.mkstemp(prefix=".ansible_", dir=os.path.dirname(path))
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(wanted)
                file.flush()
                os.fsync(file.fileno())
            module.set_fs_attributes_if_different(attributes(module, entry, temporary), False)
            relabel(module, temporary, path)
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    if secret:
        return True, {"prepared": f"{path}: the content has changed; it has secrets and is not shown\n"}
    return True, {"before_header": path, "before": text(found), "after_header": path, "after": text(wanted)}


def move_below(module, entry, folder):
    secrets, path = module.params["secret_contents"], entry["path"]
    entry["path"] = folder + path
    if path in secrets:
        secrets[entry["path"]] = secrets.pop(path)
    if not module.check_mode:
        make_directories(module, os.path.dirname(entry["path"]))


def main():
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "state": {"type": "str", "choices": ["file", "directory", "absent"], "default": "file"},
                    "content": {"type": "str"},
                    # Of the action plugin, which takes them out.
                    "template": {"type": "str"},
                    "variables": {"type": "dict"},
                    "source": {"type": "str"},
                    "secret": {"type": "bool", "default": False},
                    "owner": {"type": "str", "default": "root"},
                    "group": {"type": "str", "default": "root"},
                    "mode": {"type": "str"},
                },
            },
            "below": {"type": "str", "default": ""},
            "secret_contents": {"type": "dict", "default": {}, "no_log": True},
        },
        supports_check_mode=True,
    )
    kinds = {"file": regular, "directory": directory, "absent": absent}
    changed_paths, diff = [], []
    below = module.params["below"].rstrip("/")
    for entry in module.params["files"]:
        try:
            if below:
                move_below(module, entry, below)
            changed, difference = kinds[entry["state"]](module, entry)
        except OSError as exc:
            module.fail_json(msg=f"{entry['path']}: {exc.strerror or exc}", changed_paths=changed_paths)
        if changed:
            changed_paths.append(entry["path"])
            diff.append(difference)
    module.exit_json(changed=bool(changed_paths), changed_paths=changed_paths, diff=diff)


if __name__ == "__main__":
    main()
