#!/usr/bin/python
# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: sparkflows_workflow_run
short_description: Run a workflow in Sparkflows and wait for its end
version_added: 1.0.0
description:
  - Executes a workflow, follows it to its end and returns its results. Anything but C(COMPLETED) is a failure, with the end
    of the log in the message.
  - An execution that takes too long is stopped, and killed where that does not help.
  - The user needs the permission C(workflows.execute).
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
extends_documentation_fragment:
  - sparkflows.mlops.connection
  - sparkflows.mlops.attributes
attributes:
  check_mode:
    support: full
    details: Runs nothing. It logs in, looks for the workflow, returns RV(workflow), and says that it would be run.
  diff_mode:
    support: full
  idempotent:
    support: none
    details: Each run of the module executes the workflow once.
options:
  workflow_id:
    description: Number of the workflow, as in the address of its page in Sparkflows.
    type: int
    required: true
  execute_call:
    description:
      - Which of the two documented calls executes the workflow.
      - V(execute) is C(POST /api/v1/workflow/execute).
      - V(create_execution) is C(POST /api/v1/create/workflowexecution/{workflowId}), which takes O(user_name) and no
        settings for Spark.
    type: str
    choices: [execute, create_execution]
    default: execute
  parameters:
    description:
      - Parameters for the workflow as one text, sent as C(programParameters) or C(workflowParameters).
      - The vendor documents V(--var name=value --var name2=value2) for a workflow that C(spark-submit) starts, and says nothing
        about the text of the two calls. V($name) in the workflow stands for the value.
      - Set C(no_log=true) on the task if it holds a secret.
    type: str
    default: ""
  spark_config:
    description: Settings for Spark as one text, sent as C(sparkConfig). Only for O(execute_call=execute).
    type: str
    default: ""
  lib_jars:
    description: More jars as one text, sent as C(libJars). Only for O(execute_call=execute).
    type: str
    default: ""
  email_on_success:
    description: Address that gets an e-mail after a success. Only for O(execute_call=execute).
    type: str
    default: ""
  email_on_failure:
    description: Address that gets an e-mail after a failure. Only for O(execute_call=execute).
    type: str
    default: ""
  user_name:
    description:
      - User for whom O(execute_call=create_execution) makes the execution.
      - Without it, O(username), or the user to whom O(token) belongs.
    type: str
  wait_timeout:
    description: Seconds within which the workflow has to end.
    type: int
    default: 3600
  stop_timeout:
    description: Seconds to wait after a stop, and once more after a kill, when O(wait_timeout) is over.
    type: int
    default: 30
  poll_interval:
    description: Seconds before the status is asked for the first time. Each pause is half as long again as the one before.
    type: float
    default: 1
  poll_interval_max:
    description: The longest pause in seconds.
    type: float
    default: 30
  max_results:
    description: How many results to return at most. V(0) does not ask for any.
    type: int
    default: 1000
  log_lines:
    description:
      - How many lines of the log to show in the message when the workflow fails.
      - The log of the execution is a file on the Sparkflows host, so it can be read if the module runs there. Elsewhere the end of
        the log of the server is shown, which may hold lines of other executions.
    type: int
    default: 40
notes:
  - While it waits, the module bears with a server that cannot be reached, for example because it restarts, until O(wait_timeout).
"""

EXAMPLES = r"""
- name: Score the new customers
  sparkflows.mlops.sparkflows_workflow_run:
    url: https://sparkflows.example.com:8443
    token: "{{ sparkflows_token }}"
    workflow_id: 131
    parameters: --var input=/data/new.csv --var output=/data/scored.csv
    wait_timeout: 1800
  register: __scoring

- name: Show the first rows
  ansible.builtin.debug:
    var: __scoring.results[:5]
"""

RETURN = r"""
execution_id:
  description: Number of the execution.
  returned: when the workflow was started, also on failure
  type: int
  sample: 162
status:
  description: How the execution ended, or stands if that is not known; empty in check mode.
  returned: always
  type: str
  sample: COMPLETED
status_code:
  description: The server's number for RV(status), or null for a status that is not documented.
  returned: when the workflow was started, also on failure
  type: int
  sample: 2
seconds:
  description: How long it took.
  returned: when the workflow was started, also on failure
  type: float
  sample: 12.4
results:
  description: What the execution has as C(result), each; a text that is JSON is decoded. Its shape depends on the workflow.
  returned: success
  type: list
  elements: raw
  sample: [{age: 41, prediction: 0.93}]
results_left_out:
  description: How many results there are beyond O(max_results).
  returned: success
  type: int
  sample: 0
execution:
  description: What the server says about the execution, as it is.
  returned: when the workflow was started, also on failure
  type: dict
  sample: {id: 162, analysisFlowId: 131, status: 2, name: Score, logs: /tmp/fire/workflowlogs/workflow-3535160145732140945.log}
workflow:
  description: C(name) of the workflow and C(checksum), the SHA-256 of its content, both empty as far as the server does not show them.
  returned: in check mode
  type: dict
  sample: {name: Score, checksum: 0d4a1185b8f0a3d0c4a5d8c2f4f9a7b6e5d4c3b2a19080706050403020100fff}
log:
  description: The lines of the log that the message shows.
  returned: failure of the workflow
  type: list
  elements: str
"""

import hashlib
import json
import os
import re
import stat
import time

from ansible_collections.sparkflows.mlops.plugins.module_utils import jwt
from ansible_collections.sparkflows.mlops.plugins.module_utils.module import Outcome, SparkflowsModule
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError, NotLoggedIn, Unreachable

# The server's numbers are the places in this list.
STATUSES = (
    "RUNNING",
    "STOPPED",
    "COMPLETED",
    "FAILED",
    "STARTING",
    "STOP",
    "KILLED",
    "STOPPING",
    "TIMEOUT",
    "PENDING",
    "SKIPPED",
)
ENDED = ("STOPPED", "COMPLETED", "FAILED", "KILLED", "TIMEOUT", "SKIPPED")
SERVER_LOGS = ("/api/fireLogs", "/api/fireServerLogs")
LOG_BYTES = 1 << 16


def status_name(value):
    """The name of a status, of which the server's calls give the number or the name."""
    text = str(value).strip().strip('"').upper()
    if text.isdigit() and int(text) < len(STATUSES):
        return STATUSES[int(text)]
    return text


class Execution:
    """One execution of the workflow, from its start to its end."""

    def __init__(self, module):
        self.module, self.client, self.params = module, module.client, module.params
        self.id, self.status, self.began = None, "", time.monotonic()
        self.workflow = f"workflow {self.params['workflow_id']}"
        self.silent = False

    # ---- start
    def start(self):
        params = self.params
        if params["execute_call"] == "execute":
            path = "/api/v1/workflow/execute"
            body = dict(
                workflowId=params["workflow_id"],
                programParameters=params["parameters"],
                sparkConfig=params["spark_config"],
                libJars=params["lib_jars"],
                emailOnSuccess=params["email_on_success"],
                emailOnFailure=params["email_on_failure"],
            )
        else:
            path = f"/api/v1/create/workflowexecution/{params['workflow_id']}"
            body = dict(userName=self.user_name(), workflowParameters=params["parameters"])
        try:
            answer = self.client.ask("POST", path, json_body=body)
        except Unreachable as error:
            if error.permanent:
                raise
            raise MlopsError(
                f"{error} Whether {self.workflow} was started is not known: look at its executions in Sparkflows before "
                "you start it again."
            ) from error
        number = re.fullmatch(r'\s*"?(\d+)"?\s*', answer.text)
        if not number:
            said = self.client.http.said(answer) or "nothing"
            raise MlopsError(
                f"Sparkflows at {self.client.url}: POST {path} answered {said!r} instead of the number of an execution. "
                f"Does {self.workflow} exist?"
            )
        self.id = int(number.group(1))

    def user_name(self):
        params = self.params
        name = params["user_name"] or params["username"] or jwt.claims(params["token"]).get("sub")
        if not name:
            raise MlopsError("Set user_name: execute_call=create_execution needs it, and the token does not tell it.")
        return name

    # ---- follow
    def follow(self, seconds):
        """Ask for the status until the execution has ended or the time is over; True if it has ended."""
        end = time.monotonic() + seconds
        pause = self.params["poll_interval"]
        while True:
            time.sleep(max(min(pause, end - time.monotonic()), 0))
            pause = min(pause * 1.5, max(self.params["poll_interval_max"], self.params["poll_interval"]))
            try:
                self.status = self.ask_status()
                self.silent = False
            except Unreachable as error:
                if error.permanent:
                    raise
                if not self.silent:
                    self.module.warn(f"{error} Execution {self.id} of {self.workflow} goes on, so it is asked again.")
                self.silent = True
            if self.status in ENDED or time.monotonic() >= end:
                return self.status in ENDED

    def ask_status(self):
        try:
            return self.ask_status_once()
        except NotLoggedIn:
            # A workflow may well take longer than a login lasts.
            self.client.forget_login()
            return self.ask_status_once()

    def ask_status_once(self):
        path = f"/api/v1/workflow-executions/{self.id}/status"
        answer = self.client.or_none(self.client.ask, "GET", path, accept="text/plain")
        if answer is None:
            said = self.client.get(f"/api/v1/update-status-workflow-execution/{self.id}")
        else:
            said = answer.data() if isinstance(answer.data(), dict) else answer.text
        name = status_name(said.get("status") if isinstance(said, dict) else said)
        if name not in STATUSES and name != self.status:
            self.module.warn(f"Sparkflows says {name[:40]!r}, which is no documented status; the execution counts as running.")
        return name

    def stop(self):
        """Stop, and kill what does not stop; in words, what came of it."""
        problems = []
        for verb in ("stop", "kill"):
            try:
                self.client.ask("POST", f"/api/v1/workflow-execution/{self.id}/{verb}")
                if self.follow(self.params["stop_timeout"]):
                    done = {"stop": "stopped", "kill": "killed"}[verb]
                    return f"Execution {self.id} was {done} and ended as {self.status}."
            except MlopsError as error:
                problems.append(f" ({error})")
        return f"Execution {self.id} could neither be stopped nor killed: end it in Sparkflows.{''.join(problems)}"

    # ---- afterwards
    def facts(self):
        try:
            answer = self.client.get_or_none(f"/api/v1/workflowExecution/{self.id}")
        except MlopsError:
            answer = None
        return answer if isinstance(answer, dict) else {}

    def results(self):
        found = self.client.get_or_none(f"/viewExecutionResult/{self.id}/0")
        if found is None:
            found = self.client.get(f"/api/v1/execution-results/workflow-executions/{self.id}/resultType/2")
        if not isinstance(found, list):
            found = [found]
        return [decoded(one["result"] if isinstance(one, dict) and "result" in one else one) for one in found]

    def log(self, facts):
        """(where it is from, its last lines)"""
        lines = self.params["log_lines"]
        place = str(facts.get("logs") or "")
        if lines <= 0:
            return "", []
        text = place if "\n" in place else read_log(place)
        if text:
            return f" The end of its log{'' if text is place else ' ' + place}:", text.splitlines()[-lines:]
        for path in SERVER_LOGS:
            try:
                answer = self.client.ask("GET", path)
            except MlopsError:
                continue
            data = answer.data()
            text = "\n".join(map(str, data)) if isinstance(data, list) else data if isinstance(data, str) else answer.text
            if text.strip():
                where = f" (its own is {place} on the Sparkflows host)" if place else ""
                return f" The end of the log of the server{where}:", text.splitlines()[-lines:]
        return f" Its log is {place} on the Sparkflows host." if place else "", []

    def report(self):
        code = STATUSES.index(self.status) if self.status in STATUSES else None
        seconds = round(time.monotonic() - self.began, 1)
        return dict(execution_id=self.id, status=self.status, status_code=code, seconds=seconds)

    def failure(self, text):
        facts = self.facts()
        heading, lines = self.log(facts)
        lines = [self.client.http.scrub(line) for line in lines]
        message = "\n".join([text + heading] + lines)
        return MlopsError(message, changed=True, execution=facts, log=lines, **self.report())


def decoded(result):
    if isinstance(result, str):
        try:
            return json.loads(result)
        except ValueError:
            pass
    return result


def read_log(path):
    """The end of a log on this host. The server names the file, so only what is plainly a log is read."""
    if not re.fullmatch(r"/.+\.log", path) or os.path.realpath(path) != path:
        return ""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                return ""
            stream.seek(max(0, status.st_size - LOG_BYTES))
            return stream.read(LOG_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def check(module):
    params = module.params
    for name in ("wait_timeout", "poll_interval"):
        if params[name] <= 0:
            raise MlopsError(f"{name} must be more than 0.")
    unused = [name for name in ("spark_config", "lib_jars", "email_on_success", "email_on_failure") if params[name]]
    if params["execute_call"] != "execute" and unused:
        raise MlopsError(f"{' and '.join(unused)} can only be sent with execute_call=execute.")


def identity(workflow):
    """What of a workflow stays the same until somebody edits it."""
    workflow = workflow if isinstance(workflow, dict) else {}
    content = workflow.get("content")
    checksum = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest() if isinstance(content, str) else ""
    return dict(name=str(workflow.get("name") or ""), checksum=checksum)


def run(module):
    check(module)
    params = module.params
    after = f"one more execution of workflow {params['workflow_id']}\n"
    if module.check_mode:
        workflow = module.client.get_or_none(f"/api/v1/workflows/id/{params['workflow_id']}")
        if workflow is None:
            module.warn(f"Sparkflows at {module.client.url} shows no workflow {params['workflow_id']}.")
        return Outcome("", after, status="", results=[], results_left_out=0, workflow=identity(workflow))

    execution = Execution(module)
    execution.start()
    try:
        ended = execution.follow(params["wait_timeout"])
    except MlopsError as error:
        raise MlopsError(
            f"{error} Execution {execution.id} of {execution.workflow} was started and may still be running.",
            changed=True,
            **execution.report(),
        ) from error
    if not ended:
        last = execution.status or "not known"
        stopped = execution.stop()
        if execution.status != "COMPLETED":  # it may have come to its good end in the meantime
            raise execution.failure(
                f"{execution.workflow.capitalize()} did not end within {params['wait_timeout']} s (wait_timeout); its "
                f"status was {last}. {stopped}"
            )
    if execution.status != "COMPLETED":
        raise execution.failure(
            f"{execution.workflow.capitalize()} ended as {execution.status} (execution {execution.id} on Sparkflows at "
            f"{module.client.url})."
        )
    results = []
    if params["max_results"] > 0:
        try:
            results = execution.results()
        except MlopsError as error:  # the work is done: a failure would make somebody do it once more
            module.warn(f"The workflow ended well, but its results cannot be read: {error}")
    return Outcome(
        "",
        after,
        results=results[: params["max_results"]],
        results_left_out=max(0, len(results) - params["max_results"]),
        execution=execution.facts(),
        **execution.report(),
    )


def main():
    module = SparkflowsModule(
        argument_spec=dict(
            workflow_id=dict(type="int", required=True),
            execute_call=dict(type="str", choices=["execute", "create_execution"], default="execute"),
            parameters=dict(type="str", default=""),
            spark_config=dict(type="str", default=""),
            lib_jars=dict(type="str", default=""),
            email_on_success=dict(type="str", default=""),
            email_on_failure=dict(type="str", default=""),
            user_name=dict(type="str"),
            wait_timeout=dict(type="int", default=3600),
            stop_timeout=dict(type="int", default=30),
            poll_interval=dict(type="float", default=1),
            poll_interval_max=dict(type="float", default=30),
            max_results=dict(type="int", default=1000),
            log_lines=dict(type="int", default=40),
        ),
    )
    module.run(run)


if __name__ == "__main__":
    main()
