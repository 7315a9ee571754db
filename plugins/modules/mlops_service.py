#!/usr/bin/python
# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: mlops_service
short_description: Has a service run with what is configured now, and proves that it answers
version_added: 1.0.0
description:
  - Enables a systemd service and starts it. Restarts it if one of O(files) is newer than its process, or its unit is
    newer than what systemd has loaded.
  - It is the age that decides and not a handler. A run that was killed between writing a file and restarting, a link
    that was switched to another release, and a file that was edited by hand all lead to the restart that is due.
  - Then waits until the service answers. If it does not in time, or keeps failing, the end of its journal is in the
    error.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
options:
  name:
    description: Unit, with its type.
    type: str
    required: true
  files:
    description:
      - What the process has read when it started. The age of a symbolic link is its own and not that of its target.
      - What does not exist is left out.
    type: list
    elements: path
    default: []
  files_changed:
    description: Whether one of O(files) would have been changed by now, if this were not check mode.
    type: bool
    default: false
  host:
    description: Address that must accept connections, if there is no O(url).
    type: str
    default: 127.0.0.1
  port:
    description: Port that must accept connections, if there is no O(url).
    type: int
  url:
    description: URL that must answer with status 200.
    type: str
  body:
    description: JSON that is posted to O(url). Without it, the request is a GET.
    type: json
  timeout:
    description: Seconds until it must answer.
    type: int
    default: 60
  hint:
    description: Added to the error. Says which variables to look at.
    type: str
    default: ""
  secrets:
    description: What must not be seen in the journal's text.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Can run in check mode and says whether the service would be restarted. Nothing is asked of it.
    support: full
  diff_mode:
    description: Shows why the service is started or restarted.
    support: full
  platform:
    description: Target operating systems.
    platforms: linux
    support: full
"""

EXAMPLES = r"""
- name: Run MLflow
  sparkflows.mlops.mlops_service:
    name: mlflow.service
    files: [/etc/mlflow/mlflow.env, /opt/mlflow/current]
    url: http://127.0.0.1:5000/health
    hint: Compare mlflow_server_backend_store_uri with what it says.
"""

RETURN = r"""
reason:
  description: Why the service was started or restarted, empty if it was not.
  returned: success
  type: str
  sample: /etc/mlflow/mlflow.env is newer than the process
answer:
  description: What the service answered, no more than its first 4000 characters.
  returned: if O(url) is given
  type: str
  sample: OK
journal:
  description: The end of the service's journal.
  returned: if the service does not answer
  type: list
  elements: str
"""

import os
import socket
import time
from urllib.error import HTTPError

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_text
from ansible.module_utils.urls import open_url

# A service that has been restarted this often in one run is not starting slowly, it cannot start.
FAILURES = 3
JOURNAL_LINES = 60


class NoAnswer(Exception):
    """The service did not answer as it should. final: asking again will not help."""

    def __init__(self, text, final=False):
        super().__init__(text)
        self.final = final


class Service:
    def __init__(self, module):
        self.module = module
        self.name = module.params["name"]
        self.restarted = None

    def systemctl(self, *arguments, **options):
        return self.module.run_command(["systemctl", *arguments], **options)

    def state(self):
        names = "ActiveState,ExecMainStartTimestampMonotonic,NeedDaemonReload,NRestarts,UnitFileState"
        out = self.systemctl("show", "--property", names, self.name, check_rc=True)[1]
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def enabled(self, state):
        # For an instance of a template some releases of systemd show the state of the template's file.
        return state["UnitFileState"] == "enabled" or self.systemctl("is-enabled", "--quiet", self.name)[0] == 0

    def reason(self, state):
        """Why the service has to be started or restarted."""
        if state["ActiveState"] != "active":
            return f"{self.name} is not running"
        if state["NeedDaemonReload"] == "yes":
            return f"the unit of {self.name} is newer than what systemd has loaded"
        if self.module.params["files_changed"]:
            return f"a file of {self.name} would be newer than the process"
        started = time.time() - time.monotonic() + int(state["ExecMainStartTimestampMonotonic"]) / 1e6
        for path in self.module.params["files"]:
            if os.path.lexists(path) and os.lstat(path).st_mtime > started:
                return f"{path} is newer than the process"
        return ""

    def journal(self):
        command = ["journalctl", "--no-pager", "--output=cat", f"--lines={JOURNAL_LINES}", f"--unit={self.name}"]
        if self.restarted:  # what an earlier start said is of no interest
            command.append(f"--since=@{self.restarted}")
        return to_text(self.module.run_command(command)[1]).splitlines()

    def fail(self, text):
        journal = self.journal()
        parts = [f"{text.rstrip('.')}.", self.module.params["hint"], "The end of its journal:"]
        self.module.fail_json(msg="\n".join([" ".join(filter(None, parts)), *journal]), journal=journal)


def ask(params, timeout):
    """The service's answer, or NoAnswer."""
    if not params["url"]:
        try:
            socket.create_connection((params["host"], params["port"]), timeout).close()
        except OSError as exc:
            raise NoAnswer(f"{params['host']}:{params['port']}: {exc.strerror or exc}") from exc
        return ""
    body = params["body"]
    try:
        response = open_url(
            params["url"],
            method="POST" if body else "GET",
            data=body,
            headers={"Content-Type": "application/json"} if body else None,
            timeout=timeout,
            use_proxy=False,
            follow_redirects="none",
        )
        return to_text(response.read(), errors="surrogate_or_replace")[:4000]
    except HTTPError as exc:
        text = " ".join(to_text(exc.read(), errors="surrogate_or_replace").split())
        if len(text) > 1000:  # the end of a stack trace has the cause
            text = f"{text[:300]} [...] {text[-700:]}"
        # The service has understood the request and will not think better of it.
        raise NoAnswer(f"{params['url']}: HTTP status {exc.code} {text}", final=400 <= exc.code < 500) from exc
    except Exception as exc:  # refused, reset, timed out: urllib, http.client and socket each have their own
        raise NoAnswer(f"{params['url']}: {getattr(exc, 'reason', None) or exc}") from exc


def wait(service, params, failures):
    """Ask until the service answers, cannot start, or the time is up."""
    deadline = time.monotonic() + params["timeout"]
    while True:
        left = deadline - time.monotonic()
        try:
            return ask(params, max(1, min(30, left)))
        except NoAnswer as exc:
            state = service.state()
            if exc.final:
                service.fail(f"{service.name} refuses the request: {exc}")
            if int(state["NRestarts"] or 0) - failures >= FAILURES or state["ActiveState"] == "failed":
                service.fail(f"{service.name} ends again and again: {exc}")
            if left <= 0:
                service.fail(f"{service.name} does not answer after {params['timeout']} seconds: {exc}")
            time.sleep(0.5)


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "path", "default": []},
            "files_changed": {"type": "bool", "default": False},
            "host": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int"},
            "url": {"type": "str"},
            "body": {"type": "json"},
            "timeout": {"type": "int", "default": 60},
            "hint": {"type": "str", "default": ""},
            "secrets": {"type": "list", "elements": "str", "default": [], "no_log": True},
        },
        required_one_of=[["port", "url"]],
        supports_check_mode=True,
    )
    params = module.params
    service = Service(module)
    state = service.state()
    enable, reason = not service.enabled(state), service.reason(state)
    result = {"changed": enable or bool(reason), "reason": reason}
    if reason:
        result["diff"] = {"prepared": f"restart: {reason}\n"}
    if module.check_mode:
        module.exit_json(**result)

    if enable or reason:
        service.systemctl("daemon-reload", check_rc=True)
    if enable:
        service.systemctl("enable", "--quiet", service.name, check_rc=True)
    if reason:
        service.restarted = int(time.time())
        code, _out, error = service.systemctl("restart", service.name)
        if code != 0:
            service.fail(f"{service.name} does not start: {to_text(error).strip().splitlines()[0]}")
        state = service.state()
    result["answer"] = wait(service, params, int(state["NRestarts"] or 0))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
