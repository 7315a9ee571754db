#!/usr/bin/python
# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: nginx_sites
short_description: Sites of nginx, proven before they go live
version_added: 1.0.0
description:
  - Writes sites and the files that belong to them. nginx itself checks the new whole in a copy of its configuration
    first, so what it refuses never stands where a reboot would find it.
  - Then has nginx load it without closing a connection, and proves that it has. nginx answers a reload with success
    also where it goes on with its old configuration, because a port is taken for example. Then the former files come
    back, and the module fails with what nginx has said.
  - It is the age of the files that decides about a reload. What an earlier, interrupted run has written is loaded by
    the next one, and so is a certificate that was exchanged.
  - A service that does not run is started.
  - Whether anything changes or not, nginx judges all of its configuration, also what others have written. What it refuses
    would keep it from starting again.
  - What a run that was cut off by a power failure has left beside the configuration, secrets among it, is removed.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
options:
  sites:
    description: The sites, each a file C(mlops-<name>.conf) in C(conf.d).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the site, of letters, digits, C(.), C(_) and C(-).
        type: str
        required: true
      content:
        description: What nginx reads, in the context C(http). Shown in the difference, so it takes no secret.
        type: str
        default: ""
      template:
        description:
          - Name of a template in C(templates) of the role or beside the playbook, or a path. It makes O(sites[].content).
          - It is rendered on the controller, by the action plugin of this name, as the lookup P(ansible.builtin.template#lookup) does.
        type: str
      variables:
        description: Variables for O(sites[].template), besides those of the task.
        type: dict
      ports:
        description:
          - Ports that O(sites[].template) has nginx listen on, for what has to know them before it is rendered.
          - The action plugin compares them with what is rendered, and fails where they are others.
        type: list
        elements: int
      state:
        description: V(absent) removes the site.
        type: str
        choices: [present, absent]
        default: present
  files:
    description: Files that the sites name, below O(root), password files for example.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path below O(root). Its directory must exist.
        type: path
        required: true
      owner:
        description: Owner.
        type: str
        default: root
      group:
        description: Group.
        type: str
        default: root
      mode:
        description: Mode, four octal digits.
        type: str
        default: "0640"
      state:
        description: V(absent) removes the file.
        type: str
        choices: [present, absent]
        default: present
  secret_contents:
    description: Contents of O(files) by their path, never shown.
    type: dict
    default: {}
  unit:
    description: Unit of systemd that runs nginx.
    type: str
    default: nginx.service
  root:
    description: Directory of nginx's configuration.
    type: path
    default: /etc/nginx
  error_log:
    description: Where nginx says why it goes on with its old configuration.
    type: path
    default: /var/log/nginx/error.log
  timeout:
    description: Seconds until nginx must have loaded the new configuration.
    type: int
    default: 15
attributes:
  check_mode:
    description: Can run in check mode and says the same as without, but for what nginx says of the new whole.
    support: full
  diff_mode:
    description: Shows what would change, but no content of O(files).
    support: full
  platform:
    description: Target operating systems.
    platforms: linux
    support: full
"""

EXAMPLES = r"""
- name: Answer on port 8080
  sparkflows.mlops.nginx_sites:
    sites:
      - name: hello
        content: |
          server {
            listen 8080;
            auth_basic hello;
            auth_basic_user_file /etc/nginx/mlops/hello.htpasswd;
          }
    files:
      - path: /etc/nginx/mlops/hello.htpasswd
        group: www-data
    secret_contents:
      /etc/nginx/mlops/hello.htpasswd: "{{ hello_users }}"
"""

RETURN = r"""
changed_paths:
  description: What was written or removed.
  returned: success
  type: list
  elements: str
  sample: [/etc/nginx/conf.d/mlops-hello.conf]
reason:
  description: Why nginx was reloaded or started, empty if it was not.
  returned: success
  type: str
  sample: /etc/nginx/conf.d/mlops-hello.conf is newer than what nginx has loaded
"""

import fcntl
import glob
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_text
from ansible_collections.sparkflows.mlops.plugins.module_utils.places import relabel
from ansible_collections.sparkflows.mlops.plugins.module_utils.proc import TICK, children
from ansible_collections.sparkflows.mlops.plugins.module_utils.systemd import Silent, shown

PREFIX = "mlops"
# Folders of runs, beside the configuration.
WORK = ".mlops-nginx-"
# The kernel counts a process's start in ticks.
WORKER = "nginx: worker process"
# Runs the check where nginx finds the copy under the names of the live configuration, for itself alone.
OVERLAY = 'mount --bind "$0" "$1" && exec "$2" -t -q'


class Refused(Exception):
    """nginx does not take it."""


class Entry:
    """A file as it is to be."""

    def __init__(self, module, path, content, state, secret, owner="root", group="root", mode="0644"):
        self.module, self.path, self.content, self.secret = module, path, content, secret
        self.present = state == "present"
        self.attributes = {"owner": owner, "group": group, "mode": mode}
        self.found = read(path)

    def arguments(self, path):
        return dict(self.module.load_file_common_arguments(dict(self.attributes), path=self.path), path=path)

    def differs(self):
        if not self.present:
            return self.found is not None
        if self.found != self.content:
            return True
        check, self.module.check_mode = self.module.check_mode, True
        try:
            return self.module.set_fs_attributes_if_different(self.arguments(self.path), False)
        finally:
            self.module.check_mode = check

    def write(self, path, work):
        """By way of a file in the folder of this run: what is left after a power failure lies in one place."""
        if not self.present:
            os.unlink(path)
            return
        handle, temporary = tempfile.mkstemp(dir=work)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self.content)
                file.flush()
                os.fsync(file.fileno())
            self.module.set_fs_attributes_if_different(self.arguments(temporary), False)
            relabel(self.module, temporary, path)
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    def difference(self):
        if self.secret:
            what = "the content or its owner has changed; it has secrets and is not shown" if self.present else "removed"
            return {"prepared": f"{self.path}: {what}\n"}
        return {"before_header": self.path, "before": text(self.found), "after_header": self.path,
                "after": text(self.content if self.present else None)}


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def text(content):
    return "" if content is None else content.decode("utf-8", "replace")


def entries(module):
    params, found = module.params, []
    for site in params["sites"]:
        if not re.match(r"[A-Za-z0-9._-]+\Z", site["name"]):
            module.fail_json(msg=f"sites: {site['name']!r} is no name of a site: letters, digits, '.', '_' and '-' only")
        path = os.path.join(params["root"], "conf.d", f"{PREFIX}-{site['name']}.conf")
        found.append(Entry(module, path, site["content"].encode("utf-8"), site["state"], secret=False))
    for file in params["files"]:
        path = os.path.normpath(file["path"])
        if not path.startswith(params["root"].rstrip("/") + "/"):
            module.fail_json(msg=f"files: {path} does not lie below {params['root']}")
        content = params["secret_contents"].get(file["path"])
        if content is None and file["state"] == "present":
            module.fail_json(msg=f"{path}: secret_contents does not say what is in it")
        found.append(Entry(module, path, (content or "").encode("utf-8"), file["state"], True, file["owner"], file["group"], file["mode"]))
    return found


def processes(master):
    """Processes of the master that answer requests with what it has loaded last: number -> when it was started."""
    return {number: child["started"] for number, child in children(master).items() if child["title"] == WORKER}


class Nginx:
    def __init__(self, module):
        self.module = module
        self.unit = module.params["unit"]
        self.root = module.params["root"]
        self.program = module.get_bin_path("nginx", opt_dirs=["/usr/sbin"])

    def state(self):
        wanted = ("ActiveState", "MainPID")
        return shown(self.module.run_command, self.unit, wanted, needed=wanted)

    def ours(self):
        """What this collection has written, and the directories: removing a file leaves its mark there."""
        sites = os.path.join(self.root, "conf.d")
        yield sites
        for name in sorted(os.listdir(sites)):
            if name.startswith(PREFIX + "-"):
                yield os.path.join(sites, name)
        for folder, _folders, names in os.walk(os.path.join(self.root, PREFIX)):
            yield folder
            for name in names:
                yield os.path.join(folder, name)

    def reason(self):
        """Why nginx has to be started or reloaded."""
        state = self.state()
        if state["ActiveState"] != "active":
            return f"{self.unit} is not running"
        workers = processes(state["MainPID"])
        if not workers:
            return f"{self.unit} has no process that answers"
        for path in self.ours():
            # Not the time of the content: a file that is put back brings its own, and anybody can set it.
            if os.lstat(path).st_ctime > max(workers.values()) + 2 * TICK:
                return f"{path} is newer than what nginx has loaded"
        return ""

    def check(self, folder=None):
        """Let nginx judge the configuration in the folder as if it were the live one, or the live one."""
        command = [self.program, "-t", "-q"]
        if folder:
            command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", OVERLAY, folder, self.root, self.program]
        code, _out, error = self.module.run_command(command)
        if code:
            raise Refused(to_text(error).strip())

    def log_since(self, position):
        try:
            with open(self.module.params["error_log"], "rb") as file:
                file.seek(position)
                # It tries five times to get a port, and says so five times.
                said = re.findall(r"\[(?:emerg|alert|crit|error)\] (?:[\d#]+: )?(.+)", text(file.read()))
                return "; ".join(dict.fromkeys(said))
        except OSError as exc:
            return f"{self.module.params['error_log']}: {exc.strerror}"

    def load(self):
        """Have nginx load what is there. Returns when new processes answer with it."""
        params = self.module.params
        before = self.state()
        running = before["ActiveState"] == "active"
        workers = processes(before["MainPID"]) if running else {}
        position = os.path.getsize(params["error_log"]) if os.path.exists(params["error_log"]) else 0
        code, _out, error = self.module.run_command(["systemctl", "reload" if running else "restart", self.unit])
        end = time.monotonic() + params["timeout"]
        while code == 0:
            state = self.state()
            if state["ActiveState"] == "active" and set(processes(state["MainPID"])) - set(workers):
                return
            if time.monotonic() > end:
                break
            time.sleep(0.1)
        said = [to_text(error).strip(), self.log_since(position)]
        if not running:
            journal = self.module.run_command(["journalctl", "--no-pager", "--output=cat", "--lines=20", f"--unit={self.unit}"])[1]
            said.append(to_text(journal).strip())
        why = "\n".join(filter(None, said)) or f"it says nothing for {params['timeout']} seconds"
        # nginx's master is root: only SELinux and the like keep it from a port.
        if "(13: Permission denied)" in why and "bind()" in why:
            why += ": SELinux keeps it from this port: leave mlops_selinux at auto, or label the port yourself (semanage port -a -t http_port_t)"
        raise Refused(f"nginx has not loaded the new configuration: {why}")


def hold(folder):
    """Lock a folder until the handle is closed, with the process at the latest."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def left_behind(nginx):
    """Folders of runs that were cut off. Nobody holds them any more."""
    found = []
    for folder in glob.glob(os.path.join(os.path.dirname(nginx.root), WORK + "*")):
        if os.path.islink(folder) or not os.path.isdir(folder):
            continue
        try:
            os.close(hold(folder))
        except OSError:  # another run is at work
            continue
        found.append(folder)
    return found


def replace(nginx, differing):
    """Prove, write, load; the former files come back if nginx does not take the new ones."""
    # Beside the configuration: the former files are kept by a link, and a link does not leave its file system.
    work = tempfile.mkdtemp(prefix=WORK, dir=os.path.dirname(nginx.root))
    former = []
    held = hold(work)
    try:
        copy = os.path.join(work, "new")
        shutil.copytree(nginx.root, copy, symlinks=True)
        for entry in differing:
            entry.write(os.path.join(copy, os.path.relpath(entry.path, nginx.root)), work)
        nginx.check(copy)
        try:
            for number, entry in enumerate(differing):
                kept = os.path.join(work, str(number)) if os.path.lexists(entry.path) else None
                if kept:
                    os.link(entry.path, kept)
                former.append((entry.path, kept))
                entry.write(entry.path, work)
            nginx.load()
        except BaseException:
            for path, kept in reversed(former):
                if kept:
                    os.rename(kept, path)
                elif os.path.lexists(path):
                    os.unlink(path)
            # It may have loaded a part of the new ones, or have ended; and the next run is to find nothing that is newer than what it has loaded.
            with suppress(Refused, Silent):
                nginx.load()
            raise
    finally:
        shutil.rmtree(work)
        os.close(held)


def main():
    module = AnsibleModule(
        argument_spec={
            "sites": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "content": {"type": "str", "default": ""},
                    # Of the action plugin, which takes them out.
                    "template": {"type": "str"},
                    "variables": {"type": "dict"},
                    "ports": {"type": "list", "elements": "int"},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
            },
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "owner": {"type": "str", "default": "root"},
                    "group": {"type": "str", "default": "root"},
                    "mode": {"type": "str", "default": "0640"},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
            },
            "secret_contents": {"type": "dict", "default": {}, "no_log": True},
            "unit": {"type": "str", "default": "nginx.service"},
            "root": {"type": "path", "default": "/etc/nginx"},
            "error_log": {"type": "path", "default": "/var/log/nginx/error.log"},
            "timeout": {"type": "int", "default": 15},
        },
        supports_check_mode=True,
    )
    nginx = Nginx(module)
    differing = [entry for entry in entries(module) if entry.differs()]
    result = {
        "changed": bool(differing),
        "changed_paths": [entry.path for entry in differing],
        "diff": [entry.difference() for entry in differing],
        "reason": f"{differing[0].path} has changed" if differing else "",
    }
    # On a fresh host in check mode there is no nginx yet.
    if not nginx.program:
        if not module.check_mode:
            module.fail_json(msg="nginx is not installed on this host: run role nginx first")
        module.exit_json(**result)
    left = left_behind(nginx)
    try:
        if not differing:
            # Also where nothing is to be done: somebody else's file may keep nginx from starting again.
            nginx.check()
            result["reason"] = nginx.reason()
            if result["reason"]:
                result.update(changed=True, diff=[{"prepared": f"reload: {result['reason']}\n"}])
        if left:
            what = "removed, an interrupted run has left it"
            result.update(changed=True, diff=result["diff"] + [{"prepared": f"{folder}: {what}\n"} for folder in left])
            result["changed_paths"] += left
        if module.check_mode:
            module.exit_json(**result)
        for folder in left:
            shutil.rmtree(folder)
        if differing:
            replace(nginx, differing)
        elif result["reason"]:
            nginx.load()
    except Refused as exc:
        module.fail_json(msg=f"nginx refuses the configuration, and goes on with the one that it has: {exc}", changed_paths=[])
    except Silent as exc:
        module.fail_json(msg=f"Nothing was changed; run this again. {exc}", changed_paths=[])
    except OSError as exc:
        module.fail_json(msg=f"{exc.filename}: {exc.strerror or exc}", changed_paths=[])
    module.exit_json(**result)


if __name__ == "__main__":
    main()
