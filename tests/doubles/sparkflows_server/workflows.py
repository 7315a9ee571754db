"""Workflows that run for real: read a CSV file, compute a column, write a CSV file."""

import csv
import json
import math
import os
import secrets
import shlex
import tempfile
import threading
import time
import uuid

from .logins import Logins
from .refusals import Refused

# The place in the list is the server's number for the status.
# fmt: off
STATUSES = ("RUNNING", "STOPPED", "COMPLETED", "FAILED", "STARTING", "STOP", "KILLED", "STOPPING", "TIMEOUT", "PENDING", "SKIPPED")
# fmt: on
ENDED = ("STOPPED", "COMPLETED", "FAILED", "KILLED", "TIMEOUT", "SKIPPED")
WORKFLOW = {
    "name": "Score",
    "project": 1,
    # prediction = 1 / (1 + exp(-(intercept + sum of weight * column))); logistic=False leaves it at the sum.
    "intercept": 0.0,
    "weights": {},
    "logistic": True,
    "prediction_column": "prediction",
    "input": "",  # $input and $output are what the program parameters say
    "output": "",
    "seconds": 0.0,  # how long it is RUNNING at least
    "result_rows": 10,  # of the scored rows, how many become results
    "parts": 0,  # write a directory with so many part files, as Spark does, instead of one file
    # Faults
    "fails": "",  # ends as FAILED with this in the log
    "ends_as": "",  # ends with this status, once it has done its work
    "hangs": False,  # never ends by itself
    "ignores_stop": False,  # stays STOPPING; a kill helps
    "ignores_kill": False,
    "drop_rows": 0,  # so many rows less in the output
    "reverse_rows": False,
}


def parse_parameters(text):
    """{name: value} of `--var name=value --var name2=value2`."""
    words = shlex.split(text)
    if len(words) % 2 or any(word != "--var" for word in words[::2]) or any("=" not in word for word in words[1::2]):
        raise ValueError(f"cannot understand the parameters: {text}")
    return dict(word.split("=", 1) for word in words[1::2])


class Execution:
    """One execution of a workflow, in a thread of its own."""

    def __init__(self, number, workflow_id, workflow, user, parameters, log_dir):
        self.id, self.workflow_id, self.user, self.parameters = number, workflow_id, user, parameters
        self.workflow = dict(WORKFLOW, **workflow)
        self.status, self.results, self.lock = "PENDING", [], threading.Lock()
        self.asked_to = threading.Event()  # stop or be killed
        self.started, self.ended = int(time.time() * 1000), None
        self.job = str(uuid.uuid4())
        log_dir = log_dir or os.path.join(tempfile.gettempdir(), "fire", "workflowlogs")
        os.makedirs(log_dir, exist_ok=True)
        self.log_path = os.path.join(log_dir, f"workflow-{secrets.randbits(62)}.log")
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def say(self, text):
        with open(self.log_path, "a", encoding="utf-8") as stream:
            stream.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def enter(self, status):
        """False if it has ended; nothing leads back from there."""
        with self.lock:
            if self.status in ENDED:
                return False
            self.status = status
            if status in ENDED:
                self.ended = int(time.time() * 1000)
            return True

    def run(self):
        self.enter("STARTING")
        self.say(f"INFO Executing workflow {self.workflow['name']} for {self.user} with {self.parameters!r}")
        try:
            self.enter("RUNNING")
            if self.asked_to.wait(self.workflow["seconds"]):
                return
            if self.workflow["hangs"]:
                self.asked_to.wait()
                return
            if self.workflow["fails"]:
                raise ValueError(self.workflow["fails"])
            self.score()
            status = self.workflow["ends_as"] or "COMPLETED"
        except (ValueError, OSError, KeyError, csv.Error) as error:
            self.say(f"ERROR {type(error).__name__}: {error}")
            status = "FAILED"
        self.say(f"INFO Ended as {status}")
        self.enter(status)

    def score(self):
        workflow = self.workflow
        variables = parse_parameters(self.parameters)
        place = {name: variables.get(name) or workflow[name] for name in ("input", "output")}
        if not place["input"]:
            self.say("INFO There is no input, so nothing is scored")
            return
        with open(place["input"], newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            columns = list(reader.fieldnames or []) + [workflow["prediction_column"]]
            missing = sorted(set(workflow["weights"]) - set(columns))
            if missing:
                raise ValueError(f"Column {', '.join(missing)} does not exist")
            rows = list(reader)
        for row in rows:
            value = workflow["intercept"] + sum(weight * float(row[name]) for name, weight in workflow["weights"].items())
            if workflow["logistic"]:
                value = 1 / (1 + math.exp(-value)) if value > -700 else 0.0
            row[workflow["prediction_column"]] = repr(value)
        rows = rows[: len(rows) - workflow["drop_rows"]]
        if workflow["reverse_rows"]:
            rows.reverse()
        if place["output"]:
            self.write(place["output"], columns, rows)
        self.say(f"INFO Scored {len(rows)} rows")
        self.results = [json.dumps(row) for row in rows[: workflow["result_rows"]]]

    def write(self, path, columns, rows):
        parts = int(self.workflow["parts"])
        names = [path]
        if parts:
            os.mkdir(path)
            names = [os.path.join(path, f"part-{number:05d}-{self.job}-c000.csv") for number in range(parts)]
            open(os.path.join(path, "_SUCCESS"), "w").close()
        size = -(-len(rows) // len(names)) or 1
        for number, name in enumerate(names):
            with open(name, "w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, columns, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows[number * size : (number + 1) * size])

    def stop(self, verb):
        if self.status in ENDED:
            return
        if self.workflow["ignores_" + verb]:
            self.enter("STOPPING")
            return
        self.asked_to.set()
        self.enter({"stop": "STOPPED", "kill": "KILLED"}[verb])
        self.say(f"INFO {verb}")

    def facts(self):
        return {
            "id": self.id,
            "analysisFlowId": self.workflow_id,
            "projectId": self.workflow["project"],
            "status": STATUSES.index(self.status),
            "name": self.workflow["name"],
            "logs": self.log_path,
            "fireJobId": self.job,
            "applicationId": f"local-{self.started}",
            "startTime": self.started,
            "endTime": self.ended,
        }


class Workflows(Logins):
    """The end points about workflows and their executions."""

    def post_execute(self):
        user = self.need("workflows.execute")
        body = self.json_object()
        self.execute(body.get("workflowId"), user, body.get("programParameters"))

    def post_create_execution(self, workflow_id):
        self.need("workflows.execute")
        body = self.json_object()
        if str(body.get("userName")) not in self.settings.users:
            raise Refused(400, f"User {body.get('userName')} does not exist")
        self.execute(int(workflow_id), body["userName"], body.get("workflowParameters"))

    def execute(self, workflow_id, user, parameters):
        workflow = self.workflow(workflow_id)
        if parameters is not None and not isinstance(parameters, str):
            raise Refused(400, "JSON parse error: Cannot deserialize value of type `java.lang.String` from Object value")
        self.answer(200, str(self.app.execute(workflow_id, workflow, user, parameters or "").id))

    def workflow(self, workflow_id):
        workflow = self.settings.workflows.get(str(workflow_id))
        if workflow is None:
            raise Refused(404, f"Workflow {workflow_id} does not exist")
        return workflow

    def execution(self, number):
        self.user()
        execution = self.app.executions.get(int(number))
        if execution is None:
            raise Refused(404, f"Workflow execution {number} does not exist")
        return execution

    def there(self, setting, call):
        """As if the path did not exist, in a release that has only the other call."""
        self.user()
        if getattr(self.settings, setting) not in ("both", call):
            raise Refused(404, "No message available")

    def get_workflow(self, workflow_id):
        self.user()
        workflow = dict(WORKFLOW, **self.workflow(workflow_id))
        content = {name: workflow[name] for name in ("name", "intercept", "weights", "logistic", "prediction_column")}
        self.answer(200, {"id": int(workflow_id), "name": workflow["name"], "content": json.dumps(content)})

    def get_status_text(self, number):
        self.there("status_calls", "text")
        self.answer(200, self.execution(number).status)

    def get_status_json(self, number):
        self.there("status_calls", "json")
        self.answer(200, self.execution(number).facts())

    def get_execution(self, number):
        self.answer(200, self.execution(number).facts())

    def get_last_execution(self, workflow_id):
        self.user()
        numbers = [number for number, one in self.app.executions.items() if one.workflow_id == int(workflow_id)]
        if not numbers:
            raise Refused(404, f"Workflow {workflow_id} has no executions")
        self.get_execution(max(numbers))

    def get_typed_results(self, number, kind):
        self.there("result_calls", "typed")
        self.answer(200, [{"resultType": int(kind), "result": result} for result in self.execution(number).results])

    def get_results(self, number):
        self.there("result_calls", "view")
        self.answer(200, [{"id": index, "result": result} for index, result in enumerate(self.execution(number).results)])

    def post_stop(self, number):
        self.need("workflows.execute")
        self.execution(number).stop("stop")
        self.answer(200, {"status": "ok", "message": "Stopping Analysis Flow Execution"})

    def post_kill(self, number):
        self.need("workflows.execute")
        self.execution(number).stop("kill")
        self.answer(200, f"Killed application : {self.execution(number).facts()['applicationId']},Exit Value : 0")

    def get_logs(self):
        self.user()
        lines = [f"INFO {execution.id} {execution.status}" for execution in self.app.executions.values()]
        self.answer(200, "\n".join(["INFO Started oejs.Server"] + lines) + "\n")
