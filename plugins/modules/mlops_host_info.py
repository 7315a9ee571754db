#!/usr/bin/python
# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mlops_host_info
short_description: What a preflight check needs to know about a host, and which ports it can reach
version_added: 1.0.0
description:
  - Reads the distribution, the file systems behind given paths and the listening TCP ports of the host that it runs on.
  - Tries to connect to given hosts and ports from the host that it runs on, all at the same time, and tells an open
    port from a refused, a filtered (firewalled) and an unresolvable one.
  - Reads C(/proc), C(/etc/os-release) and the file system, and asks systemd, where it runs, for its environment and for O(units).
    It changes nothing, so it works the same way in check mode and on an empty host.
  - Runs the questions of roles (O(commands)), all at the same time.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
options:
  paths:
    description:
      - Paths whose file system is looked at.
      - For a path that does not exist yet, its closest existing parent is looked at, where it would be created.
    type: list
    elements: path
  connect:
    description:
      - Ports to connect to. The connection is closed at once, nothing is sent.
      - If O(connect) is given and O(paths) is not, only they, O(units) and O(commands) are looked at.
    type: list
    elements: dict
    suboptions:
      host:
        description: Name or address.
        type: str
        required: true
      port:
        description: TCP port.
        type: int
        required: true
  units:
    description:
      - Units of systemd that are asked for.
      - If O(units) is given and O(paths) is not, only they, O(connect) and O(commands) are looked at.
    type: list
    elements: str
  commands:
    description:
      - Questions by name, each a program and its arguments. They must change nothing, because they are asked in check mode, too.
      - They run at the same time, without input and with C(LC_ALL=C). That one fails is an answer, too.
      - An empty list is not asked, and answered with code 0 and no text.
    type: dict
  timeout:
    description: Seconds to wait for each address of each entry in O(connect).
    type: float
    default: 3
notes:
  - The owner of a listening port is always known, its process only if the module runs as root or as that owner.
extends_documentation_fragment:
  - sparkflows.mlops.attributes
  - sparkflows.mlops.attributes.info
attributes:
  platform:
    platforms: linux
"""

EXAMPLES = r"""
- name: Look at this host
  sparkflows.mlops.mlops_host_info:
    paths: [/opt/mlflow, /var/lib/mlflow, /tmp]
  register: __look

- name: Stop if there is no room
  ansible.builtin.assert:
    that: __look.host.disks['/opt/mlflow'].free_bytes > 4 * 1024 ** 3

- name: Look at this host, and ask what is there
  sparkflows.mlops.mlops_host_info:
    paths: [/opt/mlflow]
    commands:
      java: [/opt/mlflow/java/bin/java, -version]
      release: [readlink, /opt/mlflow/current]
  register: __look

- name: Can this host reach MLflow and the Fire MLOps server
  sparkflows.mlops.mlops_host_info:
    connect:
      - {host: mlflow1.example.com, port: 5000}
      - {host: mlflow1.example.com, port: 8086}
  register: __reach
  failed_when: __reach.connect | rejectattr('state', 'eq', 'open') | length > 0
"""

RETURN = r"""
host:
  description: What was found. No fact, so that no fact cache keeps what is asked anew in each run.
  returned: if O(paths) is given, or none of O(connect), O(units) and O(commands)
  type: dict
  contains:
    architecture:
      description: Machine type as the kernel names it.
      type: str
      sample: x86_64
    distribution:
      description: Fields of C(os-release), empty where the distribution does not say. Oracle Linux counts as like C(rhel).
      type: dict
      contains:
        id:
          description: Name of the distribution.
          type: str
          sample: debian
        version:
          description: Its version.
          type: str
          sample: "13"
        codename:
          description: Its code name.
          type: str
          sample: trixie
        id_like:
          description: Distributions that it is derived from, closest first.
          type: list
          elements: str
          sample: [rhel, fedora]
    disks:
      description: File system for each of O(paths).
      type: dict
      sample:
        /var/lib/mlflow:
          free_bytes: 84512317440
          mount: /var
          fstype: ext4
          options: [rw, relatime]
    listeners:
      description: Listening TCP sockets, ordered by port.
      type: list
      elements: dict
      contains:
        address:
          description: Address that the socket is bound to.
          type: str
          sample: 127.0.0.1
        port:
          description: Port that the socket is bound to.
          type: int
          sample: 5000
        user:
          description: Owner of the socket, the number if it has no name.
          type: str
          sample: mlflow
        pid:
          description: Lowest process id that holds the socket, V(null) if it may not be seen.
          type: int
          sample: 4711
        process:
          description: Name of that process, empty if it may not be seen.
          type: str
          sample: gunicorn
        unit:
          description:
            - Service of systemd that the process belongs to, empty if it belongs to none or may not be seen. Unlike its name and its owner, no other
              program has that.
          type: str
          sample: mlflow.service
    selinux:
      description: V(enforcing), V(permissive), or V(disabled), also where the kernel has none.
      type: str
      sample: enforcing
    systemd:
      description: Version of systemd, 0 where there is none.
      type: int
      sample: 257
    no_proxy:
      description: C(NO_PROXY) that systemd gives all services (C(DefaultEnvironment)), empty if it gives none.
      type: str
      sample: .example.com
    accounts:
      description: Accounts of C(/etc/passwd) by name. Those of a directory service are not among them.
      type: dict
      contains:
        group:
          description: Name of the primary group, V(null) if C(/etc/group) has none of its number.
          type: str
        home:
          description: Home directory.
          type: str
        shell:
          description: Login shell.
          type: str
        comment:
          description: Comment (GECOS).
          type: str
        locked:
          description: Whether no password lets anybody in, V(null) if that may not be seen.
          type: bool
      sample:
        mlflow:
          group: mlflow
          home: /var/lib/mlflow
          shell: /usr/sbin/nologin
          comment: MLflow
          locked: true
connect:
  description: One answer for each of O(connect), in the same order.
  returned: if O(connect) is given
  type: list
  elements: dict
  contains:
    host:
      description: As given.
      type: str
    port:
      description: As given.
      type: int
    state:
      description:
        - V(open) means that the connection was accepted.
        - V(refused) means that the host was reached and nothing listens there.
        - V(filtered) means that no answer came, or that a router or firewall answered that the way is closed.
        - V(unresolved) means that the name has no address.
      type: str
      sample: open
    milliseconds:
      description: Time until the answer.
      type: float
      sample: 0.4
    error:
      description: What the system said, empty for an open port.
      type: str
      sample: ""
units:
  description: What systemd says of each of O(units). What it does not say even when it is asked again is left out.
  returned: if O(units) is given
  type: dict
  sample:
    mlflow.service:
      LoadState: loaded
      ActiveState: active
      SubState: running
      UnitFileState: enabled
      MainPID: 4711
      NRestarts: 0
      ActiveEnterTimestamp: Mon 2026-11-23 04:00:00 UTC
commands:
  description: What came of each of O(commands), by its name.
  returned: if O(commands) is given
  type: dict
  contains:
    cmd:
      description: Program and arguments, as given.
      type: list
      elements: str
      sample: [readlink, /opt/mlflow/current]
    rc:
      description: Exit code, 127 if there is no such program or it may not be run.
      type: int
    stdout:
      description: What it wrote to its output.
      type: str
    stdout_lines:
      description: RV(commands.stdout) as lines.
      type: list
      elements: str
    stderr:
      description: What it wrote to its error output, or why it could not be run.
      type: str
    stderr_lines:
      description: RV(commands.stderr) as lines.
      type: list
      elements: str
"""

import errno
import os
import platform
import re
import shlex
import socket
import time
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.sparkflows.mlops.plugins.module_utils.proc import listeners, mounts, read
from ansible_collections.sparkflows.mlops.plugins.module_utils.questions import answer
from ansible_collections.sparkflows.mlops.plugins.module_utils.systemd import shown

PROPERTIES = ("LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "NRestarts", "ActiveEnterTimestamp")


# Those that do not say so themselves: Oracle Linux names Fedora alone.
REBUILDS_OF_RHEL = ("ol",)


def distribution(root="/"):
    text = read(os.path.join(root, "etc/os-release")) or read(os.path.join(root, "usr/lib/os-release"))
    fields = {}
    for word in shlex.split(text, comments=True):  # the file is shell assignments by definition
        name, found, value = word.partition("=")
        if found:
            fields[name] = value
    name, like = fields.get("ID", "linux"), fields.get("ID_LIKE", "").split()  # os-release(5): the default of ID
    if name in REBUILDS_OF_RHEL and "rhel" not in like:
        like.insert(0, "rhel")
    return {"id": name, "version": fields.get("VERSION_ID", ""), "codename": fields.get("VERSION_CODENAME", ""), "id_like": like}


def disk(path, points):
    while not os.path.exists(path):
        path = os.path.dirname(path)
    point = path = os.path.realpath(path)
    stat = os.statvfs(path)
    while point not in points and point != "/":
        point = os.path.dirname(point)
    fstype, options = points.get(point, ("", []))
    return {"free_bytes": stat.f_bavail * stat.f_frsize, "mount": point, "fstype": fstype, "options": options}


def selinux(root="/"):
    return {"1": "enforcing", "0": "permissive"}.get(read(os.path.join(root, "sys/fs/selinux/enforce")).strip(), "disabled")


def table(path):
    """Rows of a file such as /etc/passwd."""
    return [line.split(":") for line in read(path).splitlines() if ":" in line]


def accounts(root="/"):
    etc = os.path.join(root, "etc")
    groups = {row[2]: row[0] for row in table(os.path.join(etc, "group")) if len(row) > 2}
    passwords = {row[0]: row[1] for row in table(os.path.join(etc, "shadow"))}
    return {
        row[0]: {
            "group": groups.get(row[3]),
            "comment": row[4],
            "home": row[5],
            "shell": row[6],
            "locked": passwords[row[0]].startswith(("!", "*")) if row[0] in passwords else None,
        }
        for row in table(os.path.join(etc, "passwd"))
        if len(row) > 6
    }


def systemd(module):
    systemctl = module.get_bin_path("systemctl")
    text = module.run_command([systemctl, "--version"])[1] if systemctl else ""
    found = re.match(r"systemd (\d+)", text)
    return int(found.group(1)) if found else 0


def no_proxy(module):
    systemctl = module.get_bin_path("systemctl")
    _code, text, _error = module.run_command([systemctl, "show-environment"]) if systemctl else (1, "", "")
    # Each value as a shell would want it.
    found = dict(re.findall(r"^(no_proxy|NO_PROXY)=(?:\$?')?(.*?)'?$", text, re.MULTILINE))
    return ",".join(value for _name, value in sorted(found.items()))


def attempt(family, target, timeout):
    """State and error of one connection to one address."""
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect(target)
            return "open", ""
        except socket.timeout:
            return "filtered", f"no answer in {timeout:g} s"
        except OSError as exc:
            # A firewall that rejects answers "administratively prohibited", which arrives here as EHOSTUNREACH.
            return "refused" if exc.errno == errno.ECONNREFUSED else "filtered", exc.strerror or str(exc)


def probe(host, port, timeout):
    start = time.monotonic()
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as exc:
        state, error = "unresolved", getattr(exc, "strerror", None) or str(exc)
    else:
        answers = []
        for family, _type, _proto, _name, target in found:
            answers.append(attempt(family, target, timeout))
            if answers[-1][0] == "open":
                break
        # A name may have several addresses: the best answer is the answer.
        state, error = min(answers, key=lambda answer: ["open", "refused", "filtered"].index(answer[0]))
    milliseconds = round((time.monotonic() - start) * 1000, 1)
    return {"host": host, "port": port, "state": state, "milliseconds": milliseconds, "error": error}


def main():
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path"},
            "connect": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "host": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                },
            },
            "units": {"type": "list", "elements": "str"},
            "commands": {"type": "dict"},
            "timeout": {"type": "float", "default": 3},
        },
        supports_check_mode=True,
    )
    paths, connect, units, commands, timeout = (module.params[name] for name in ("paths", "connect", "units", "commands", "timeout"))
    if timeout <= 0:
        module.fail_json(msg=f"timeout must be more than 0 seconds, not {timeout:g}")
    relative = [path for path in paths or [] if not os.path.isabs(path)]
    if relative:
        module.fail_json(msg="paths must be absolute: " + ", ".join(relative))
    wrong = [f"{item['host']}:{item['port']}" for item in connect or [] if not 0 < item["port"] < 65536]
    if wrong:
        module.fail_json(msg="connect: port must be 1 to 65535: " + ", ".join(wrong))
    wrong = [name for name, argv in (commands or {}).items() if not isinstance(argv, list)]
    if wrong:
        module.fail_json(msg="commands must be lists, a program and its arguments: " + ", ".join(wrong))

    result = {"changed": False}
    if paths is not None or (connect is None and units is None and commands is None):
        points = mounts()
        result["host"] = {
            "architecture": platform.machine(),
            "distribution": distribution(),
            "disks": {path: disk(path, points) for path in paths or []},
            "listeners": listeners(),
            "selinux": selinux(),
            "systemd": systemd(module),
            "no_proxy": no_proxy(module),
            "accounts": accounts(),
        }
    if connect is not None:
        with ThreadPoolExecutor(max_workers=32) as pool:
            result["connect"] = list(pool.map(lambda item: probe(item["host"], item["port"], timeout), connect))
    if commands is not None:
        with ThreadPoolExecutor(max_workers=32) as pool:
            result["commands"] = dict(zip(commands, pool.map(lambda argv: answer([str(word) for word in argv]), commands.values())))
    if units is not None:
        result["units"] = {unit: shown(module.run_command, unit, PROPERTIES) for unit in units}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
