#!/usr/bin/python
# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: mlops_service
short_description: Has a service run with what is configured now, and proves that it answers
version_added: 1.0.0
description:
  - Starts a systemd service. Restarts it if one of O(files) is not what its process has loaded, or its unit is newer
    than what systemd has loaded. Then waits until the service answers, and enables it.
  - It is the content that decides, and neither an age nor a handler. A run that was killed between writing a file and
    restarting, a link that was switched to another release, and a file that was edited by hand or put back with its
    old time all lead to the restart that is due.
  - What answered is kept, in C(/var/lib/mlops-service). If the service does not answer in time, or keeps failing, the
    O(files) that it answered with before are put back and run. The error begins with what the service itself gives as
    the reason, and has the end of its journal. A service that never answered is stopped.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
options:
  name:
    description: Unit, with its type.
    type: str
    required: true
  files:
    description:
      - What the process has read when it started, and what is the service's own. Of a symbolic link it is where it
        leads that counts, and not what is there.
      - What does not exist is left out.
      - The unit writes down at each start what these are, with a line that role C(topology) has as
        C(templates/loaded.conf.j2). Without that it is not known what the process has loaded, and it is restarted.
    type: list
    elements: path
    default: []
  shared_files:
    description: What the process has read as well, but others too. It is not put back.
    type: list
    elements: path
    default: []
  files_changed:
    description: Whether one of O(files) or O(shared_files) would have been changed by now, if this were not check mode.
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
  sample: /etc/mlflow/mlflow.env is not what mlflow.service has loaded
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

import base64
import hashlib
import json
import os
import re
import socket
import tempfile
import time
from urllib.error import HTTPError

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.converters import to_text
from ansible.module_utils.urls import open_url
from ansible_collections.sparkflows.mlops.plugins.module_utils.systemd import Silent, shown

# A service that has been restarted this often in one run is not starting slowly, it cannot start.
FAILURES = 3
JOURNAL_LINES = 60
TRACE_LINES = 1000
PROPERTIES = ("ActiveState", "InvocationID", "NeedDaemonReload", "NRestarts", "UnitFileState")
# Written by the unit at each start: what that start loads. It is gone when the processes are.
LOADED = "/run/mlops-service"
# Written here when the service has answered: the files that it has answered with, and what it was asked.
PROVEN = "/var/lib/mlops-service"
# The line of a program's last words that has the reason.
REASON = re.compile(r"(Caused by: |Exception in thread |[A-Za-z_][\w.]*(Error|Exception)\b|ERROR\b|FATAL\b|([\w.-]+: )?(fatal|error): )", re.ASCII)


class NoAnswer(Exception):
    """The service did not answer as it should. final: asking again will not help."""

    def __init__(self, text, final=False):
        super().__init__(text)
        self.final = final


class Failure(Exception):
    """The service does not do what it should. ended: it does not run any more."""

    def __init__(self, text, ended=False):
        super().__init__(text)
        self.ended = ended


def fingerprint(path):
    """What loaded.conf.j2 writes down of a path."""
    if os.path.islink(path):
        return os.readlink(path)
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest() + "  -"
    except OSError:
        return ""


def capture(path):
    """All that it takes to put a file or a link back, None if there is neither."""
    if os.path.islink(path):
        return {"link": os.readlink(path)}
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            content = base64.b64encode(file.read()).decode("ascii")
    except OSError:
        return None
    return {"content": content, "mode": status.st_mode & 0o7777, "owner": status.st_uid, "group": status.st_gid}


def reason_in(lines, ended):
    """The line that says what is wrong: the end of the last stack trace, or the last error; of a program that has ended, else its last words."""
    found = ""
    for number, line in enumerate(lines):
        if line.startswith("Traceback (most recent call last)"):
            found = next((text for text in lines[number + 1:] if text and not text[0].isspace()), found)
        elif REASON.match(line):
            found = line
    last = next((line for line in reversed(lines) if line.strip()), "") if ended else ""
    return (found or last).strip()


class Service:
    def __init__(self, module):
        self.module = module
        self.name = module.params["name"]
        self.began = int(time.time())
        self.restarted = None

    def systemctl(self, *arguments, **options):
        return self.module.run_command(["systemctl", *arguments], **options)

    def state(self, needed=()):
        return shown(self.module.run_command, self.name, PROPERTIES, needed)

    def enabled(self, state):
        # For an instance of a template some releases of systemd show the state of the template's file.
        return state.get("UnitFileState") == "enabled" or self.systemctl("is-enabled", "--quiet", self.name)[0] == 0

    def loaded(self, state):
        """Path -> what the process has loaded, None if that is not known."""
        try:
            with open(os.path.join(LOADED, self.name), encoding="utf-8", errors="surrogateescape") as file:
                lines = file.read().splitlines()
        except OSError:
            return None
        # An earlier process has written it.
        if not lines or lines[0] != state.get("InvocationID"):
            return None
        return dict(line.split(" ", 1) for line in lines[1:] if " " in line)

    def reason(self, state):
        """Why the service has to be started or restarted."""
        if state["ActiveState"] != "active":
            return f"{self.name} is not running"
        if state.get("NeedDaemonReload") == "yes":
            return f"the unit of {self.name} is newer than what systemd has loaded"
        if self.module.params["files_changed"]:
            return f"a file of {self.name} would not be what it has loaded"
        paths = self.module.params["files"] + self.module.params["shared_files"]
        loaded = self.loaded(state) if paths else {}
        if loaded is None:
            return f"it is not known what {self.name} has loaded"
        for path in paths:
            if fingerprint(path) != loaded.get(path):
                return f"{path} is not what {self.name} has loaded"
        return ""

    def start(self):
        self.systemctl("daemon-reload", check_rc=True)
        self.systemctl("reset-failed", self.name)  # earlier failures do not count
        self.restarted = int(time.time())
        code, _out, error = self.systemctl("restart", self.name)
        if code != 0:
            raise Failure(f"{self.name} does not start: " + to_text(error).strip().partition("\n")[0], ended=True)

    def journal(self, match, lines, since):
        command = ["journalctl", "--no-pager", "--output=cat", f"--lines={lines}", match]
        if since:  # what an earlier start said is of no interest
            command.append(f"--since=@{since}")
        return to_text(self.module.run_command(command)[1]).splitlines()

    def why(self, failure):
        """What the service itself gives as the reason, without what systemd says of it."""
        self.module.run_command(["journalctl", "--sync"])
        return reason_in(self.journal(f"_SYSTEMD_UNIT={self.name}", TRACE_LINES, self.restarted or self.began), failure.ended)

    @property
    def record(self):
        return os.path.join(PROVEN, f"{self.name}.json")

    def proven(self):
        """What the service has answered with last: `files` by their path, and `asked`."""
        try:
            with open(self.record, encoding="utf-8") as file:
                return json.load(file)
        except (OSError, ValueError):
            return {}

    def keep(self):
        """The service has answered: keep what it has answered with."""
        params = self.module.params
        found = {
            "files": {path: capture(path) for path in params["files"]},
            "asked": {key: params[key] for key in ("host", "port", "url", "body", "timeout")},
        }
        if found["files"] and found != self.proven():
            os.makedirs(PROVEN, mode=0o700, exist_ok=True)
            self.replace(self.record, lambda file: file.write(json.dumps(found).encode("ascii")))

    def replace(self, path, write):
        handle, temporary = tempfile.mkstemp(prefix=".ansible_", dir=os.path.dirname(path))
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            self.module.set_context_if_different(temporary, self.module.selinux_default_context(path), False)
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    def put_back(self, path, former):
        if not former:
            os.unlink(path)
            return
        if "link" in former:
            temporary = f"{path}.{os.getpid()}"
            os.symlink(former["link"], temporary)
            os.rename(temporary, path)
            return

        def write(file):
            file.write(base64.b64decode(former["content"]))
            os.fchown(file.fileno(), former["owner"], former["group"])
            os.fchmod(file.fileno(), former["mode"])

        self.replace(path, write)

    def former(self, state):
        """Have what ran before run again. Says what was done."""
        proven = self.proven()
        files = proven.get("files", {})
        # What was not there before goes again.
        differing = [path for path in self.module.params["files"] if path in files and files[path] != capture(path)]
        if not differing:
            if proven or self.enabled(state):
                return ""
            self.systemctl("stop", self.name)
            return f"{self.name} has never answered before, so it has been stopped."
        try:
            for path in differing:
                self.put_back(path, files[path])
        except OSError as exc:
            return f"What it ran with before could not be put back: {path}: {exc.strerror or exc}."
        back = f"What it ran with before has been put back ({', '.join(differing)})"
        try:
            self.start()
            wait(self, proven["asked"])
        except Failure as exc:
            return f"{back}, but does not run either: " + " ".join(filter(None, [self.why(exc), str(exc)])).rstrip(".") + "."
        return f"{back}, and runs."

    def fail(self, failure, state):
        why = self.why(failure)
        journal = self.journal(f"--unit={self.name}", JOURNAL_LINES, self.restarted)
        sentences = [f"{sentence.rstrip('.')}." for sentence in (why, str(failure)) if sentence]
        parts = [*sentences, self.former(state), self.module.params["hint"], "The end of its journal:"]
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


def wait(service, params):
    """Ask until the service answers, cannot start, or the time is up."""
    deadline, failures = time.monotonic() + params["timeout"], None
    while True:
        left = deadline - time.monotonic()
        try:
            return ask(params, max(1, min(30, left)))
        except NoAnswer as exc:
            if exc.final:
                raise Failure(f"{service.name} refuses the request: {exc}") from exc
            state = service.state()
            restarts = state.get("NRestarts", failures)
            failures = restarts if failures is None else failures
            if (restarts is not None and restarts - failures >= FAILURES) or state.get("ActiveState") == "failed":
                raise Failure(f"{service.name} ends again and again: {exc}", ended=True) from exc
            if left <= 0:
                raise Failure(f"{service.name} does not answer after {params['timeout']} seconds: {exc}") from exc
            time.sleep(0.5)


def main():
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "path", "default": []},
            "shared_files": {"type": "list", "elements": "path", "default": []},
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
    try:
        state = service.state(["ActiveState"])
    except Silent as exc:
        module.fail_json(msg=f"Nothing was changed; run this again. {exc}")
    enable, reason = not service.enabled(state), service.reason(state)
    result = {"changed": enable or bool(reason), "reason": reason}
    if reason:
        result["diff"] = {"prepared": f"restart: {reason}\n"}
    if module.check_mode:
        module.exit_json(**result)

    try:
        if reason:
            service.start()
        result["answer"] = wait(service, params)
    except Failure as exc:
        service.fail(exc, state)
    # What has never answered is not started with the host.
    if enable:
        service.systemctl("daemon-reload", check_rc=True)
        service.systemctl("enable", "--quiet", service.name, check_rc=True)
    service.keep()
    module.exit_json(**result)


if __name__ == "__main__":
    main()
