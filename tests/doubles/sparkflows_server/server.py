#!/usr/bin/env python
"""A double of the Sparkflows (Fire Insights) server: logins, tokens, Administration > Configuration, executing workflows,
and the model repository.

Standard library only, one file, so that the lab can copy it to a bare machine. What is documented and what is
assumed about the real server is in README.md; the switches are the fields of `Settings`.
"""

import argparse
import base64
import csv
import dataclasses
import hashlib
import hmac
import html
import http.server
import io
import json
import math
import os
import re
import secrets
import shlex
import signal
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time
import traceback
import urllib.parse
import uuid
import zipfile
from http.cookies import CookieError, SimpleCookie

# --------------------------------------------------------------------------------------------------------------------
# The property table: (name, title, description, default, group, secret).
# Names of the group MLOps are attested, except those in MEANINGS; titles and descriptions are plausible inventions.
# fmt: off
PROPERTIES = [
    # Seen on screens of the product.
    ("app.runOnCluster", "Run On Cluster", "Submit the jobs to the Spark cluster", "false", "App", False),
    ("app.sparkSubmitJar", "Spark Submit Jar", "Jar for Spark", "fire-core-3.1.0.jar", "App", False),
    ("app.postMessageURL", "Post Message URL", "Results", "http://localhost:8080/messageFromSparkJob", "App", False),
    ("app.fireHostPort", "Fire Host Port", "Java helpers", "http://localhost:8081", "App", False),
    ("app.firePySparkHostPort", "Fire PySpark Host Port", "PySpark helpers", "http://localhost:8085", "App", False),
    ("module.workflowTypes", "Workflow Types", "Engines that the editor offers", "spark,pyspark", "App", False),
    # Unrelated ones whose titles could mislead a search for a login.
    ("email.smtp.host", "Email SMTP Host", "Host that sends the e-mails", "", "Email", False),
    ("email.smtp.port", "Email SMTP Port", "Port of the SMTP host", "25", "Email", False),
    ("email.login.username", "Email Login Username", "Username for the SMTP host", "", "Email", False),
    ("email.login.password", "Email Login Password", "Password for the SMTP host", "", "Email", True),
    ("kafka.brokers", "Kafka Brokers", "Comma separated list of brokers", "", "Kafka", False),
    ("ui.pageSize", "Page Size", "Rows per page in lists", "10", "UI", False),
    # The 26 attested keys.
    ("mlops.mlflow.trackingURL", "MLflow Server URL", "URL of the MLflow tracking server", "", "MLOps", False),
    ("mlops.mlflow.deploy.mode", "MLflow Deploy Mode", "local, remote or fire_mlops_server", "local", "MLOps", False),
    ("mlops.port", "Fire MLOps Port", "Port of the Fire MLOps server", "8086", "MLOps", False),
    ("mlops.aws.s3.access.key", "AWS S3 Access Key", "Access key of the registry store", "", "MLOps", True),
    ("mlops.aws.s3.secret.key", "AWS S3 Secret Key", "Secret key of the registry store", "", "MLOps", True),
    ("mlops.aws.s3.endpoint.url", "AWS S3 Endpoint URL", "End point of an S3 compatible store", "", "MLOps", False),
    ("mlops.aws.s3.ignore.tls", "AWS S3 Ignore TLS", "Do not verify the certificate", "false", "MLOps", False),
    ("mlops.models.state.values", "Model State Values", "States of a model", "Dev,QA,Production", "MLOps", False),
    ("mlops.target.deployment", "Target Deployment", "Where models are deployed", "", "MLOps", False),
    ("mlops.timeout", "MLOps Timeout", "Seconds to wait for a deployment", "", "MLOps", False),
    ("mlops.docker.registry.sparkflows", "Docker Registry", "Registry for the images of models", "", "MLOps", False),
    ("mlops.docker.context.path", "Docker Context Path", "Directory from which images are built", "", "MLOps", False),
    ("mlops.fire.server.jar.name", "Fire Server Jar Name", "Jar that goes into the images", "", "MLOps", False),
    ("mlops.deployment.container.port", "Deployment Container Port", "Port in the container", "5000", "MLOps", False),
    ("mlops.service.port", "Service Port", "Port of the Kubernetes service", "80", "MLOps", False),
    ("mlops.service.target.port", "Service Target Port", "Target port of the service", "5000", "MLOps", False),
    ("mlops.kubeflow.namespace", "Kubeflow Namespace", "Namespace of Kubeflow", "", "MLOps", False),
    ("mlops.kubernetes.images.namespace", "Kubernetes Images Namespace", "Namespace of the images", "", "MLOps", False),
    ("mlops.kubeflow.username", "Kubeflow Username", "Login at Kubeflow", "", "MLOps", False),
    ("mlops.kubeflow.password", "Kubeflow Password", "Password at Kubeflow", "", "MLOps", True),
    ("mlops.kubeflow.config.path", "Kubeflow Config Path", "Configuration file of Kubeflow", "", "MLOps", False),
    ("mlops.kubeflow.hostport", "Kubeflow Host Port", "Host and port of Kubeflow", "", "MLOps", False),
    ("mlops.kubernetes.config.path", "Kubernetes Config Path", "Configuration file of Kubernetes", "", "MLOps", False),
    ("mlops.region", "Region", "AWS region for SageMaker", "", "MLOps", False),
    ("mlops.aws_id", "AWS Id", "AWS account for SageMaker", "", "MLOps", False),
    ("mlops.arn", "ARN", "Role for SageMaker", "", "MLOps", False),
    # The guide names these by title only; their real keys are not published. `Settings.names` renames or removes them.
    ("mlops.mlflow.login.username", "MLflow Login Username", "Username, if any", "", "MLOps", False),
    ("mlops.mlflow.login.password", "MLflow Login Password", "Password, if any", "", "MLOps", True),
    ("mlops.host", "Fire MLOps Host", "Host of the Fire MLOps server", "", "MLOps", False),
    ("mlops.mlflow.ssh.key.path", "MLflow SSH Key Path", "Path of the SSH key for MLflow", "", "MLOps", False),
]
# fmt: on
MEANINGS = {
    "mlflow_username": "mlops.mlflow.login.username",
    "mlflow_password": "mlops.mlflow.login.password",
    "fire_mlops_host": "mlops.host",
    "ssh_key_path": "mlops.mlflow.ssh.key.path",
}
PROPERTY_FIELDS = ("name", "title", "description", "default", "group", "secret")
PERMISSIONS = [
    "configurations.manage",
    "enable.tokenGeneration",
    "connections.manage",
    "diagnostics.manage",
    "workflows.execute",
]


@dataclasses.dataclass
class Settings:
    """Every switch. A configuration file is a JSON object with some of these names; tests set attributes."""

    # Where it listens: {"address", "port", "cert", "key"}; with cert it speaks https. Port 0 = any free port.
    listen: list = dataclasses.field(default_factory=lambda: [{"address": "127.0.0.1", "port": 0}])
    release: str = "3.3.41"
    # {name: {"password", "permissions"}}; the vendor's default accounts.
    users: dict = dataclasses.field(
        default_factory=lambda: {
            "admin": {"password": "admin", "permissions": list(PERMISSIONS)},
            "test": {"password": "test", "permissions": ["workflows.execute"]},
        }
    )
    token_secret: str = ""  # signs access tokens; empty = a random one per process
    cors_enabled: bool = True  # fire.cors.enable
    csrf_enabled: bool = False  # fire.security.csrf.enable
    csrf_cookie: bool = True  # offers the CSRF token as the cookie XSRF-TOKEN too, not only in the pages
    oauth_client: str = "sparkflows"
    oauth_secret: str = "secret"
    oauth_token_seconds: float = 28800
    session_seconds: float = 1800
    one_login_per_user: object = None  # a new OAuth2 login ends the former one; None = by release (3.3.11 and later)
    token_description_required: object = None  # assumed, so it can be chosen; None = by release (3.3.11 and later)

    # Configuration
    shape: str = "wrapped"  # of GET /configurations: wrapped | flat | flat_titled | grouped | grouped_list
    mask_secrets: bool = True  # in answers
    mask: object = "********"  # what stands for a set secret; may be "" or null
    unknown_keys: str = "refuse"  # refuse | ignore | create
    names: dict = dataclasses.field(default_factory=dict)  # meaning (see MEANINGS) -> key name, null = not there
    extra_properties: list = dataclasses.field(default_factory=list)  # more rows for the table, as objects
    remove_properties: list = dataclasses.field(default_factory=list)  # names that this release does not have
    state_file: str = ""  # the "database"; empty = in memory only
    properties_file: str = ""  # conf/configuration.properties, read at start

    # Workflows: {id: {...}}, see WORKFLOW for what each may have.
    workflows: dict = dataclasses.field(default_factory=dict)
    workflow_log_dir: str = ""  # where each execution has its log; empty = /tmp/fire/workflowlogs
    status_calls: str = "both"  # both | text | json: which of the two calls for the status this release has
    result_calls: str = "both"  # both | view | typed: which of the two calls for results

    # The model repository: a list of objects, see MODEL for what each may have.
    models: list = dataclasses.field(default_factory=list)
    model_shape: str = "list"  # of the answers about models: list | page (an object with the list in it)
    model_file_types: list = dataclasses.field(default_factory=lambda: ["zip"])
    pack_time: object = None  # time stamp in the archives in seconds; None = now, so that each download has another checksum
    truncate_download: bool = False  # the connection breaks off half-way through a model

    # Faults. "First" counts requests below fault_path since the start or since the test set it.
    fault_path: str = "/"  # the counted and the permanent faults touch only paths that start so
    fail_first: int = 0  # answer fail_status to that many requests
    fail_status: int = 503
    reset_first: int = 0  # reset the connection instead of an answer, that many times
    reset_after_save: bool = False  # a save is done, but its answer never arrives
    delay_seconds: float = 0  # wait before each answer
    html_instead_of_json: bool = False  # the login page with status 200
    redirect_api: bool = False  # 302 to /login whatever the credentials
    truncate_json: bool = False  # half of the body, with a matching Content-Length
    tokens_expired: bool = False  # every token and session is too old
    read_only: bool = False  # saves are refused
    drop_saves: bool = False  # saves are answered as done, and forgotten
    ready_after_seconds: float = 0  # 503 until then
    unauthenticated: str = "redirect"  # redirect | html | 401: what a call without credentials gets

    CHOICES = {
        "shape": ("wrapped", "flat", "flat_titled", "grouped", "grouped_list"),
        "unknown_keys": ("refuse", "ignore", "create"),
        "unauthenticated": ("redirect", "html", "401"),
        "status_calls": ("both", "text", "json"),
        "result_calls": ("both", "view", "typed"),
        "model_shape": ("list", "page"),
    }

    @classmethod
    def from_dict(cls, values):
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError("unknown switch: {}; there are: {}".format(", ".join(unknown), ", ".join(sorted(known))))
        for name, choices in cls.CHOICES.items():
            if name in values and values[name] not in choices:
                raise ValueError("{} is {!r}; it can be: {}".format(name, values[name], ", ".join(choices)))
        return cls(**values)

    def since_3_3_11(self):
        return [int(part) for part in re.findall(r"\d+", self.release)[:3]] >= [3, 3, 11]


# --------------------------------------------------------------------------------------------------------------------
# Access tokens: HS512 JWT with exp in milliseconds and iat in seconds, as the published sample has them.
class BadToken(Exception):
    """The text is what the server says in error_description."""


def _b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _signature(secret, signed):
    return _b64(hmac.new(secret.encode(), signed.encode(), hashlib.sha512).digest())


def mint_token(secret, user, expires, now=None):
    """A token for `user` that expires at `expires` (seconds since the epoch)."""
    claims = {"sub": user, "exp": int(expires * 1000), "iat": int(time.time() if now is None else now)}
    signed = ".".join(_b64(json.dumps(part, separators=(",", ":")).encode()) for part in ({"alg": "HS512"}, claims))
    return signed + "." + _signature(secret, signed)


def token_claims(secret, token):
    """The claims of a good token; BadToken for any other."""
    try:
        signed, signature = token.rsplit(".", 1)
        header, claims = (json.loads(_unb64(part)) for part in signed.split("."))
        if header.get("alg") != "HS512":  # above all not "none"
            raise ValueError("algorithm")
        expires = float(claims["exp"]) / 1000
        claims["sub"]  # noqa: B018 - a token without a user is none
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadToken("Invalid access token") from error
    if not hmac.compare_digest(signature.encode(), _signature(secret, signed).encode()):
        raise BadToken(
            "JWT signature does not match locally computed signature. "
            "JWT validity cannot be asserted and should not be trusted."
        )
    if expires <= time.time():
        raise BadToken("Access token expired: " + token)  # the framework does echo it: callers must mask it
    return claims


# --------------------------------------------------------------------------------------------------------------------
# conf/configuration.properties, as java.util.Properties reads it.
def parse_properties(data):
    """{key: value} of a Java properties file (bytes: the format is Latin-1 with \\uXXXX escapes)."""
    lines, pending = [], None
    for line in re.split(r"\r\n|\r|\n", data.decode("latin-1")):
        line = line.lstrip(" \t\f")
        if pending is None and (not line or line[0] in "#!"):
            continue
        line = (pending or "") + line
        if (len(line) - len(line.rstrip("\\"))) % 2:
            pending = line[:-1]
            continue
        lines.append(line)
        pending = None
    if pending:
        lines.append(pending)

    def one(match):
        what = match[1]
        if what == "u":  # Java does not start with such a file either
            raise ValueError("Malformed \\uxxxx encoding.")
        return (
            chr(int(what[1:], 16)) if len(what) == 5 else {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}.get(what, what)
        )

    def unescape(text):
        text = re.sub(r"\\(u[0-9a-fA-F]{4}|.)", one, text, flags=re.S)
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # beyond the basic plane: two escapes

    result = {}
    for line in lines:
        match = re.match(r"((?:\\.|[^\\=: \t\f])*)[ \t\f]*[=:]?[ \t\f]*(.*)", line, re.S)
        result[unescape(match[1])] = unescape(match[2])
    return result


class Refused(Exception):
    """A request that the server answers with an error."""

    def __init__(self, status, body):
        super().__init__(status, body)
        self.status = status
        self.body = body


class Store:
    """The property table, its database (a JSON file) and the file that overrides it at start-up."""

    def __init__(self, settings):
        self.settings = settings
        self.lock = threading.RLock()
        self.rows = {}  # name -> row with id, title, ..., value
        self.load()

    def load(self):
        """What the server does at start: table, database, properties file."""
        settings = self.settings
        rows = [dict(zip(PROPERTY_FIELDS, row)) for row in PROPERTIES]
        for meaning, name in settings.names.items():
            index = next(i for i, row in enumerate(rows) if row["name"] == MEANINGS[meaning])
            rows[index] = dict(rows[index], name=name)
        for row in settings.extra_properties:
            rows.append(dict({"title": "", "description": "", "default": "", "group": "MLOps", "secret": False}, **row))
        with self.lock:
            memory = {name: row["value"] for name, row in self.rows.items()}
            self.rows = {}
            for index, row in enumerate(rows):
                if row["name"] is None or row["name"] in settings.remove_properties:
                    continue
                # Gaps and an offset: an id is neither the position nor guessable.
                self.rows[row["name"]] = dict(row, id=101 + 3 * index, value=row["default"], value2="")
            saved = memory
            if settings.state_file and os.path.exists(settings.state_file):
                with open(settings.state_file, encoding="utf-8") as handle:
                    saved = json.load(handle)
            for name, value in saved.items():
                if name in self.rows:
                    self.rows[name]["value"] = value
                elif settings.unknown_keys == "create":
                    self._create(name)["value"] = value
            self.overrides = {}
            if settings.properties_file:
                if not os.path.exists(settings.properties_file):  # the product comes with an empty one
                    os.makedirs(os.path.dirname(os.path.abspath(settings.properties_file)), exist_ok=True)
                    open(settings.properties_file, "ab").close()
                with open(settings.properties_file, "rb") as handle:
                    listed = parse_properties(handle.read())
                self.overrides = {name: value for name, value in listed.items() if name in self.rows}
                for name in sorted(set(listed) - set(self.overrides)):
                    log(f"configuration.properties: no property has the name {name}")

    def _create(self, name):
        top = max(row["id"] for row in self.rows.values())
        self.rows[name] = {
            "name": name,
            "id": top + 3,
            "title": "",
            "description": "",
            "group": "Other",
            "secret": False,
            "value": "",
            "value2": "",
        }
        return self.rows[name]

    def save(self):
        path = self.settings.state_file
        if not path:
            return
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)), prefix=".state-")  # mode 0600
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump({name: row["value"] for name, row in self.rows.items()}, stream, indent=1)
        os.replace(temporary, path)

    def value(self, name):
        """The value in force: the file wins over the database."""
        with self.lock:
            return self.overrides.get(name, self.rows[name]["value"])

    def flat(self, row, **more):
        value = self.value(row["name"])
        if row["secret"] and self.settings.mask_secrets and value:
            value = self.settings.mask
        return dict({"id": row["id"], "name": row["name"], "value1": value, "value2": row["value2"]}, **more)

    def wrapped(self, row):
        return {"confProperty": self.flat(row), "title": row["title"], "description": row["description"]}

    def listing(self):
        with self.lock:
            rows = list(self.rows.values())
            shape = self.settings.shape
            if shape == "flat":
                return [self.flat(row) for row in rows]
            if shape == "flat_titled":
                return [self.flat(row, title=row["title"], description=row["description"]) for row in rows]
            if shape == "wrapped":
                return [self.wrapped(row) for row in rows]
            groups = {}
            for row in rows:
                groups.setdefault(row["group"], []).append(self.wrapped(row))
            if shape == "grouped":
                return groups
            return [{"name": name, "properties": members} for name, members in groups.items()]

    def update(self, elements):
        """Save all or nothing; the answer is the flat list of what was saved."""
        if not isinstance(elements, list):
            raise Refused(
                400, "JSON parse error: Cannot deserialize value of type `java.util.ArrayList` from Object value"
            )
        with self.lock:
            wanted, created = {}, []
            for element in elements:
                if isinstance(element, dict) and "confProperty" in element:
                    element = element["confProperty"]
                if not isinstance(element, dict) or not isinstance(element.get("name"), str):
                    raise Refused(400, "JSON parse error: an element has no name")
                name, value = element["name"], element.get("value1")
                if isinstance(value, (dict, list)):
                    raise Refused(
                        400, "JSON parse error: Cannot deserialize value of type `java.lang.String` from Object value"
                    )
                if isinstance(value, bool):
                    value = str(value).lower()
                if name in wanted or name in created:
                    raise Refused(400, f"Property {name} is there twice")
                row = self.rows.get(name)
                if row is None:
                    if self.settings.unknown_keys == "refuse":
                        raise Refused(400, f"Property {name} does not exist")
                    if self.settings.unknown_keys == "ignore":
                        continue
                    created.append(name)
                elif element.get("id") != row["id"]:
                    raise Refused(400, "Id {} is not the id of property {}".format(element.get("id"), name))
                wanted[name] = "" if value is None else str(value)
            answer = []
            for name, value in wanted.items():
                row = self.rows.get(name) or self._create(name)
                if self.settings.drop_saves:
                    masked = row["secret"] and self.settings.mask_secrets and value
                    answer.append(dict(self.flat(row), value1=self.settings.mask if masked else value))
                else:
                    row["value"] = value
                    answer.append(self.flat(row))
            if not self.settings.drop_saves:
                self.save()
            return answer


# --------------------------------------------------------------------------------------------------------------------
# Workflows that run for real: read a CSV file, compute a column, write a CSV file.
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
MODEL = {
    "id": 0,
    "name": "",
    "uuid": "",
    "analysisFlowId": 1,
    "projectId": 1,
    "createdTime": 0,
    # What is in it: a file that is sent as it is, a directory, or {name: text}; the latter two are packed.
    "archive": "",
    "directory": "",
    "files": {},
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


def packed(model, pack_time):
    """The zip archive of a model."""
    if model["archive"]:
        with open(model["archive"], "rb") as stream:
            return stream.read()
    files = {name: text.encode() for name, text in model["files"].items()}
    for folder, _folders, names in os.walk(model["directory"] or os.devnull):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as stream:
                files[os.path.relpath(path, model["directory"])] = stream.read()
    buffer = io.BytesIO()
    stamp = time.gmtime(time.time() if pack_time is None else pack_time)[:6]
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, stamp), files[name], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


# --------------------------------------------------------------------------------------------------------------------
def log(text):
    print(text, file=sys.stderr, flush=True)


HOME_PAGE = """<!DOCTYPE html>
<html><head><title>Fire Insights</title>
<meta name="_csrf" content="%(csrf)s"><meta name="_csrf_header" content="X-CSRF-TOKEN"></head>
<body>Welcome, %(user)s</body></html>
"""
LOGIN_PAGE = """<!DOCTYPE html>
<html><head><title>Fire Insights - Login</title></head><body>
<form action="/login" method="post">
<input name="username"><input name="password" type="password"><input type="hidden" name="_csrf" value="%(csrf)s">
<button>Login</button></form></body></html>
"""


class BadRequest(Exception):
    """A request of which nobody can tell where it ends. The text is for the answer."""


class HttpHandler(http.server.BaseHTTPRequestHandler):
    """What a server does for any request, for the doubles: the body is read however it is sent, and every request has an answer.

    A double has `handle_request(body)` and `answer(status, body)`, and says in `error_body(status, message)` what its refusals look like.
    """

    protocol_version = "HTTP/1.1"
    sys_version = ""
    timeout = 30

    def do_GET(self):
        self.answered = False
        try:
            body = self.read_body()
        except BadRequest as error:
            # What follows cannot be told from a request.
            self.close_connection = True
            self.answer(400, self.error_body(400, str(error)))
            # What was sent and is not read would become a reset, and take the answer with it.
            self.connection.shutdown(socket.SHUT_WR)
            while self.rfile.read1(65536):
                pass
            return
        try:
            self.handle_request(body)
        except (ConnectionError, ssl.SSLError, TimeoutError):
            raise
        except Exception as error:
            log(traceback.format_exc())
            self.close_connection = True
            if not self.answered:
                self.answer(500, self.error_body(500, f"{type(error).__name__}: {error}"))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET

    def send_response(self, *arguments):
        self.answered = True
        super().send_response(*arguments)

    def read_body(self):
        coding = self.headers.get("Transfer-Encoding")
        lengths = set(self.headers.get_all("Content-Length", []))
        if coding is None:
            if not lengths:
                return b""
            length = lengths.pop()
            if lengths or not re.fullmatch("[0-9]+", length):
                raise BadRequest("Invalid Content-Length")
            return self.read_exactly(int(length))
        if lengths or coding.lower() != "chunked":
            raise BadRequest("Unsupported Transfer-Encoding")
        body = b""
        while True:
            size = self.rfile.readline(1000).split(b";")[0].strip()
            if not re.fullmatch(b"[0-9a-fA-F]+", size):
                raise BadRequest("Invalid chunk")
            chunk = self.read_exactly(int(size, 16))
            if not chunk:
                break
            body += chunk
            if self.rfile.readline(3).strip():
                raise BadRequest("Invalid chunk")
        while self.rfile.readline(65537).strip():  # the fields after the last chunk
            pass
        return body

    def read_exactly(self, length):
        content = self.rfile.read(length)
        if len(content) < length:
            raise ConnectionError("the body broke off")
        return content


class Handler(HttpHandler):
    server_version = "Fire"

    @property
    def app(self):
        return self.server.app

    @property
    def settings(self):
        return self.app.settings

    def log_message(self, format, *args):
        if self.app.log_requests:
            log(f"{self.address_string()} {format % args}")

    # ---- plumbing
    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, ssl.SSLError, TimeoutError):
            self.close_connection = True

    def handle_request(self, body):
        self.new_cookies = []
        self.path_only, _question, query = self.path.partition("?")
        self.query = urllib.parse.parse_qs(query)
        self.body = body
        self.app.record(self.command, self.path, self.headers, self.body)
        if self.injected_fault():
            return
        try:
            route, arguments = find_route(self.path_only)
            if route is None or self.command not in route:
                self.user()  # a stranger learns nothing about what exists
                known = route is not None
                raise Refused(
                    405 if known else 404,
                    f"Request method '{self.command}' not supported" if known else "No message available",
                )
            route[self.command](self, *arguments)
        except Refused as error:
            body = error.body
            if isinstance(body, str):
                body = self.spring_error(error.status, body)
            self.answer(error.status, body)
        except Redirect as error:
            self.redirect(str(error))
        except LoginPage:
            self.answer(200, LOGIN_PAGE % {"csrf": ""})

    def injected_fault(self):
        settings = self.settings
        if settings.delay_seconds:
            time.sleep(settings.delay_seconds)
        if time.time() < self.app.started + settings.ready_after_seconds:
            self.answer(503, "<html><body><h1>503 Service Unavailable</h1></body></html>")
            return True
        if not self.path_only.startswith(settings.fault_path):
            return False
        if self.app.countdown("reset_first"):
            self.reset()
            return True
        if self.app.countdown("fail_first"):
            self.answer(settings.fail_status, self.spring_error(settings.fail_status, "injected"))
            return True
        if self.path_only.startswith(("/api/", "/oauth/")):
            if settings.redirect_api:
                self.redirect("/login")
                return True
            if settings.html_instead_of_json:
                self.answer(200, LOGIN_PAGE % {"csrf": ""})
                return True
        return False

    def reset(self):
        """End the connection with a TCP reset, without an answer."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.wfile = open(os.devnull, "wb")  # noqa: SIM115 - nothing may be flushed to the closed socket
        self.connection.close()

    def error_body(self, status, message):
        self.path_only = self.path.partition("?")[0]
        self.new_cookies = []
        return self.spring_error(status, message)

    def spring_error(self, status, message):
        reason = http.server.BaseHTTPRequestHandler.responses.get(status, ("",))[0]
        return {
            "timestamp": int(time.time() * 1000),
            "status": status,
            "error": reason,
            "message": message,
            "path": self.path_only,
        }

    def answer(self, status, body, headers=()):
        """A dict or list goes out as JSON, a text that starts with < as HTML, any other text and bytes as they are."""
        if isinstance(body, bytes):
            content, kind = body, "application/octet-stream"
        elif isinstance(body, str):
            content, kind = body.encode(), "text/html" if body.lstrip().startswith("<") else "text/plain"
        else:
            content, kind = json.dumps(body).encode(), "application/json"
            if self.settings.truncate_json and self.path_only.startswith(self.settings.fault_path):
                content = content[: len(content) // 2]
        self.send_response(status)
        self.send_header("Content-Type", kind + ("" if isinstance(body, bytes) else ";charset=UTF-8"))
        self.send_header("Content-Length", str(len(content)))
        for cookie in self.new_cookies:
            self.send_header("Set-Cookie", cookie)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if isinstance(body, bytes) and self.settings.truncate_download:
            content = content[: len(content) // 2]
            self.close_connection = True
        if self.command != "HEAD":
            self.wfile.write(content)

    def redirect(self, path):
        scheme = "https" if self.server.tls else "http"
        host = self.headers.get("Host") or "localhost"
        self.answer(302, "", [("Location", f"{scheme}://{host}{path}")])

    def json_body(self):
        if self.headers.get_content_type() != "application/json":
            raise Refused(415, f"Content type '{self.headers.get_content_type()}' not supported")
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Refused(400, f"JSON parse error: {error}") from error

    def form(self):
        if self.headers.get_content_type() != "application/x-www-form-urlencoded":
            return {}
        return {
            name: values[0]
            for name, values in urllib.parse.parse_qs(self.body.decode(), keep_blank_values=True).items()
        }

    # ---- who is it
    def cookies(self):
        try:
            return {name: morsel.value for name, morsel in SimpleCookie(self.headers.get("Cookie", "")).items()}
        except CookieError:
            return {}

    def user(self):
        """The name of the user behind the request."""
        token = self.headers.get("token")
        authorization = self.headers.get("Authorization", "")
        bearer = authorization[7:].strip() if authorization.lower().startswith("bearer ") else None
        if token or bearer:
            settings = self.settings
            try:
                if not settings.cors_enabled or settings.csrf_enabled:
                    raise BadToken("Invalid access token")
                if settings.tokens_expired:
                    raise BadToken("Access token expired: " + (token or bearer))
                name = token_claims(self.app.token_secret, token)["sub"] if token else self.app.bearer_user(bearer)
                if name not in settings.users:
                    raise BadToken("Invalid access token")
                return name
            except BadToken as error:
                raise Refused(401, {"error": "invalid_token", "error_description": str(error)}) from error
        session = self.app.session(self.cookies().get("JSESSIONID"))
        if session and session["user"]:
            if self.command not in ("GET", "HEAD"):
                self.check_csrf(session)
            return session["user"]
        if self.settings.unauthenticated == "401":
            raise Refused(
                401,
                {
                    "error": "unauthorized",
                    "error_description": "Full authentication is required to access this resource",
                },
            )
        if self.settings.unauthenticated == "html":
            raise LoginPage
        raise Redirect("/login")

    def check_csrf(self, session):
        if not self.settings.csrf_enabled:
            return
        given = self.headers.get("X-XSRF-TOKEN") or self.headers.get("X-CSRF-TOKEN") or self.form().get("_csrf") or ""
        expected = session["csrf"] if session else ""
        if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
            raise Refused(
                403,
                "Invalid CSRF Token '%s' was found on the request parameter '_csrf' or header 'X-XSRF-TOKEN'."
                % ("null" if not given else "..."),
            )

    def need(self, permission):
        name = self.user()
        if permission not in self.settings.users[name].get("permissions", []):
            raise Refused(403, "Access Denied")
        return name

    def start_session(self, user):
        """A fresh session (also on login: the old id is worth nothing afterwards); its cookies go into the answer."""
        self.app.end_session(self.cookies().get("JSESSIONID"))
        identifier, csrf = self.app.new_session(user)
        secure = "; Secure" if self.server.tls else ""
        self.new_cookies.append(f"JSESSIONID={identifier}; Path=/; HttpOnly{secure}")
        if self.settings.csrf_enabled and self.settings.csrf_cookie:
            self.new_cookies.append(f"XSRF-TOKEN={csrf}; Path=/{secure}")
        return csrf

    # ---- end points
    def get_root(self):
        user = self.user()
        session = self.app.session(self.cookies().get("JSESSIONID"))
        csrf = session["csrf"] if session and self.settings.csrf_enabled else ""
        self.answer(200, HOME_PAGE % {"user": html.escape(user), "csrf": csrf})

    def get_login(self):
        session = self.app.session(self.cookies().get("JSESSIONID"))
        csrf = session["csrf"] if session else self.start_session(None)
        self.answer(200, LOGIN_PAGE % {"csrf": csrf if self.settings.csrf_enabled else ""})

    def post_login(self):
        self.check_csrf(self.app.session(self.cookies().get("JSESSIONID")))
        form = self.form()
        if not self.app.good_password(form.get("username"), form.get("password")):
            raise Redirect("/login?error")
        self.start_session(form["username"])
        raise Redirect("/")

    def logout(self):
        self.app.end_session(self.cookies().get("JSESSIONID"))
        raise Redirect("/login?logout")

    def get_health(self):
        self.answer(200, {"status": "UP"})

    def post_oauth_token(self):
        settings = self.settings
        kind, _blank, given = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "basic":
            raise Refused(
                401,
                {
                    "error": "unauthorized",
                    "error_description": "Full authentication is required to access this resource",
                },
            )
        expected = base64.b64encode((f"{settings.oauth_client}:{settings.oauth_secret}").encode()).decode()
        if not hmac.compare_digest(given.strip().encode(), expected.encode()):
            raise Refused(401, {"error": "invalid_client", "error_description": "Bad client credentials"})
        form = self.form()
        if "grant_type" not in form:
            raise Refused(400, {"error": "invalid_request", "error_description": "Missing grant type"})
        if form["grant_type"] != "password":
            raise Refused(
                400,
                {
                    "error": "unsupported_grant_type",
                    "error_description": "Unsupported grant type: {}".format(form["grant_type"]),
                },
            )
        if not self.app.good_password(form.get("username"), form.get("password")):
            raise Refused(400, {"error": "invalid_grant", "error_description": "Bad credentials"})
        token = self.app.new_bearer(form["username"])
        self.answer(
            200,
            {
                "access_token": token,
                "token_type": "bearer",
                "refresh_token": secrets.token_urlsafe(24),
                "expires_in": int(settings.oauth_token_seconds),
                "scope": "read write trust",
            },
        )

    def post_tokens(self):
        name = self.need("enable.tokenGeneration")
        body = self.json_body()
        if not isinstance(body, dict):
            raise Refused(400, "JSON parse error: an object is expected")
        required = self.settings.token_description_required
        if required is None:
            required = self.settings.since_3_3_11()
        if required and not str(body.get("description") or "").strip():
            raise Refused(400, "Token description is mandatory")
        try:
            expires = int(str(body["expiredDuration"])) / 1000
        except (KeyError, ValueError) as error:
            raise Refused(400, "expiredDuration must be the expiry time in milliseconds since the epoch") from error
        if expires <= time.time():
            raise Refused(400, "expiredDuration lies in the past")
        self.answer(201, {"accessToken": mint_token(self.app.token_secret, name, expires)})

    def get_release_info(self):
        self.user()
        self.answer(200, {"releaseVersion": self.settings.release, "buildNumber": "1", "sparkVersion": "3.5.2"})

    def get_about(self):
        self.user()
        self.answer(200, {"name": "Fire Insights", "version": self.settings.release, "sparkVersion": "3.5.2"})

    def get_configurations(self):
        self.need("configurations.manage")
        self.answer(200, self.app.store.listing())

    def post_configurations(self):
        self.need("configurations.manage")
        if self.settings.read_only:
            raise Refused(403, "The configuration is read-only")
        saved = self.app.store.update(self.json_body())
        if self.settings.reset_after_save:
            self.reset()
        else:
            self.answer(200, saved)

    def get_infer(self):
        self.need("configurations.manage")
        store = self.app.store
        with store.lock:
            self.answer(
                200,
                [
                    store.wrapped(store.rows[name])
                    for name in ("app.runOnCluster", "app.sparkSubmitJar", "app.postMessageURL")
                    if name in store.rows
                ],
            )

    def get_subset(self):
        self.user()
        group = {
            "/api/v1/configurations/kafka": "Kafka",
            "/api/v1/configurations/uiSettings": "UI",
            "/api/v1/configs/app": "App",
        }[self.path_only]
        store = self.app.store
        with store.lock:
            self.answer(200, [store.flat(row) for row in store.rows.values() if row["group"] == group])

    # ---- workflows

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

    # ---- the model repository
    def model(self, **wanted):
        self.user()
        for model in self.app.models():
            if all(str(model[name]) == value for name, value in wanted.items()):
                return model
        raise Refused(404, f"Model {' '.join(wanted.values())} does not exist")

    def shown_model(self, model):
        return {name: value for name, value in model.items() if name not in ("archive", "directory", "files")}

    def get_models(self):
        self.user()
        shown = [self.shown_model(model) for model in self.app.models()]
        self.answer(200, {"content": shown, "totalElements": len(shown)} if self.settings.model_shape == "page" else shown)

    def get_model(self, number):
        shown = self.shown_model(self.model(id=number))
        self.answer(200, shown if self.settings.model_shape == "page" else [shown])

    def get_model_by_uuid(self, number):
        self.answer(200, self.shown_model(self.model(uuid=number)))

    def get_model_download(self, number, file_type):
        model = self.model(id=number)
        if file_type not in self.settings.model_file_types:
            raise Refused(400, f"File type {file_type} is not supported")
        # A framework that is asked for JSON alone cannot answer with an archive.
        if "*/*" not in self.headers.get("Accept", "*/*") and "octet-stream" not in self.headers["Accept"]:
            raise Refused(406, "Could not find acceptable representation")
        name = f"{model['name'] or model['id']}.{file_type}"
        disposition = [("Content-Disposition", f"attachment; filename*=UTF-8''{urllib.parse.quote(name)}")]
        self.answer(200, packed(model, self.settings.pack_time), disposition)

    def json_object(self):
        body = self.json_body()
        if not isinstance(body, dict):
            raise Refused(400, "JSON parse error: an object is expected")
        return body


class Redirect(Exception):
    """To this path."""


class LoginPage(Exception):
    """The login page with status 200."""


ROUTES = {
    "/": {"GET": Handler.get_root, "HEAD": Handler.get_root},
    "/login": {"GET": Handler.get_login, "POST": Handler.post_login},
    "/logout": {"GET": Handler.logout, "POST": Handler.logout},
    "/healthcheck": {"GET": Handler.get_health},
    "/actuator/health": {"GET": Handler.get_health},
    "/oauth/token": {"POST": Handler.post_oauth_token},
    "/api/v1/tokens": {"POST": Handler.post_tokens},
    "/api/v1/app/release-info": {"GET": Handler.get_release_info},
    "/api/v1/main/about": {"GET": Handler.get_about},
    "/api/v1/configurations": {"GET": Handler.get_configurations, "POST": Handler.post_configurations},
    "/api/v1/configurations/infer": {"GET": Handler.get_infer},
    "/api/v1/configurations/kafka": {"GET": Handler.get_subset},
    "/api/v1/configurations/uiSettings": {"GET": Handler.get_subset},
    "/api/v1/configs/app": {"GET": Handler.get_subset},
    "/api/v1/workflow/execute": {"POST": Handler.post_execute},
    "/api/v1/create/workflowexecution/(\\d+)": {"POST": Handler.post_create_execution},
    "/api/v1/workflows/id/(\\d+)": {"GET": Handler.get_workflow},
    "/api/v1/workflow-executions/(\\d+)/status": {"GET": Handler.get_status_text},
    "/api/v1/update-status-workflow-execution/(\\d+)": {"GET": Handler.get_status_json},
    "/api/v1/workflowExecution/(\\d+)": {"GET": Handler.get_execution},
    "/api/v1/last/workflow-execution/(\\d+)": {"GET": Handler.get_last_execution},
    "/api/v1/execution-results/workflow-executions/(\\d+)/resultType/(\\d+)": {"GET": Handler.get_typed_results},
    "/viewExecutionResult/(\\d+)/0": {"GET": Handler.get_results},
    "/api/v1/workflow-execution/(\\d+)/stop": {"POST": Handler.post_stop},
    "/api/v1/workflow-execution/(\\d+)/kill": {"POST": Handler.post_kill},
    "/api/fireLogs": {"GET": Handler.get_logs},
    "/api/fireServerLogs": {"GET": Handler.get_logs},
    "/api/v1/mlmodel/outputModel": {"GET": Handler.get_models},
    "/api/v1/mlmodel/OutputModels": {"GET": Handler.get_models},
    "/api/v1/mlmodel/OutputModelsById/(\\d+)": {"GET": Handler.get_model},
    "/api/v1/mlmodel/outputModelByModelUuid/([^/]+)": {"GET": Handler.get_model_by_uuid},
    "/api/v1/mlmodel/outputModel/(\\d+)/download/(\\w+)": {"GET": Handler.get_model_download},
}
ROUTES = [(re.compile(path), methods) for path, methods in ROUTES.items()]


def find_route(path):
    for pattern, methods in ROUTES:
        match = pattern.fullmatch(path)
        if match:
            return methods, [urllib.parse.unquote(group) for group in match.groups()]
    return None, []


class _Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    app = None
    tls = False

    @property
    def url(self):
        address, port = self.server_address[:2]
        return f"{'https' if self.tls else 'http'}://{address}:{port}"

    def handle_error(self, request, client_address):
        log(f"{client_address}: {sys.exc_info()[1]!r}")


class SparkflowsServer:
    """The double; in tests: `with SparkflowsServer(release="3.2.90") as server: ... server.url ...`."""

    def __init__(self, settings=None, log_requests=False, **switches):
        self.settings = settings or Settings.from_dict(switches)
        self.log_requests = log_requests
        self.token_secret = self.settings.token_secret or secrets.token_urlsafe(48)
        self.lock = threading.Lock()
        self.requests = []  # what came in: {"method", "path", "headers", "body"}
        self.sessions = {}
        self.bearers = {}
        self.store = Store(self.settings)
        self.executions = {}  # number -> Execution
        self.listeners = []
        self.started = 0.0

    # ---- life
    def start(self):
        self.started = time.time()
        for where in self.settings.listen:
            listener = _Listener((where.get("address", "127.0.0.1"), int(where.get("port", 0))), Handler)
            listener.app = self
            if where.get("cert"):
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(where["cert"], where.get("key") or None)
                # The handshake is left to the request's thread: a silent client must not block the others.
                listener.socket = context.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
                listener.tls = True
            self.listeners.append(listener)
            threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self):
        for listener in self.listeners:
            listener.shutdown()
            listener.server_close()
        self.listeners = []

    def restart(self):
        """What a restart of the service does, without a new port: logins are forgotten, the properties file is read."""
        with self.lock:
            self.sessions.clear()
            self.bearers.clear()
        self.store.load()
        self.started = time.time()

    __enter__ = start

    def __exit__(self, *args):
        self.stop()

    @property
    def url(self):
        return self.listeners[0].url

    # ---- for tests
    def token(self, user="admin", seconds=3600):
        return mint_token(self.token_secret, user, time.time() + seconds)

    def value(self, name):
        return self.store.value(name)

    def values(self):
        """{name: value in force}, unmasked."""
        with self.store.lock:
            return {name: self.store.value(name) for name in self.store.rows}

    def set(self, name, value):
        with self.store.lock:
            self.store.rows[name]["value"] = value
            self.store.save()

    def saves(self):
        """The bodies of the saves that came in."""
        return [
            json.loads(r["body"])
            for r in self.requests
            if r["method"] == "POST" and r["path"] == "/api/v1/configurations"
        ]

    # ---- for the handlers
    def execute(self, workflow_id, workflow, user, parameters):
        with self.lock:
            number = 162 + len(self.executions)
            execution = Execution(number, workflow_id, workflow, user, parameters, self.settings.workflow_log_dir)
            self.executions[number] = execution
        return execution

    def models(self):
        return [dict(MODEL, **model) for model in self.settings.models]

    def record(self, method, path, headers, body):
        with self.lock:
            self.requests.append({"method": method, "path": path, "headers": dict(headers.items()), "body": body})
            del self.requests[:-1000]

    def countdown(self, fault):
        with self.lock:
            left = getattr(self.settings, fault)
            if left > 0:
                setattr(self.settings, fault, left - 1)
            return left > 0

    def good_password(self, name, password):
        user = self.settings.users.get(name or "")
        return user is not None and hmac.compare_digest(user["password"].encode(), (password or "").encode())

    def new_session(self, user):
        identifier, csrf = secrets.token_hex(16).upper(), secrets.token_urlsafe(24)
        with self.lock:
            self.sessions[identifier] = {
                "user": user,
                "csrf": csrf,
                "expires": time.time() + self.settings.session_seconds,
            }
        return identifier, csrf

    def session(self, identifier):
        with self.lock:
            session = self.sessions.get(identifier)
        if session is None or self.settings.tokens_expired or session["expires"] <= time.time():
            return None
        return session

    def end_session(self, identifier):
        with self.lock:
            self.sessions.pop(identifier, None)

    def new_bearer(self, user):
        single = self.settings.one_login_per_user
        token = secrets.token_urlsafe(32)
        with self.lock:
            if single or (single is None and self.settings.since_3_3_11()):
                self.bearers = {t: b for t, b in self.bearers.items() if b["user"] != user}
            self.bearers[token] = {"user": user, "expires": time.time() + self.settings.oauth_token_seconds}
        return token

    def bearer_user(self, token):
        with self.lock:
            bearer = self.bearers.get(token)
        if bearer is None:
            raise BadToken("Invalid access token")
        if bearer["expires"] <= time.time():
            raise BadToken("Access token expired: " + token)
        return bearer["user"]


# --------------------------------------------------------------------------------------------------------------------
def keep_token(secret, user, days, path):
    """Keep in `path` (0600) a token of `user` that stays good for half of `days` or more; True = made a new one."""
    try:
        with open(path, encoding="ascii") as handle:
            claims = token_claims(secret, handle.read().strip())
        if claims["sub"] == user and claims["exp"] / 1000 > time.time() + days * 43200:
            return False
    except (OSError, BadToken):
        pass
    handle, temporary = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)), prefix=".token-")  # mode 0600
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(mint_token(secret, user, time.time() + days * 86400))
    os.replace(temporary, path)
    return True


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="sparkflows_server", description=__doc__.splitlines()[0])
    parser.add_argument("--config", help="JSON file with switches; - reads it from standard input")
    parser.add_argument(
        "--mint-token", metavar="USER", help="do not serve: keep a valid token of this user in --token-file"
    )
    parser.add_argument("--token-file", help="where to keep it; says 'minted' or 'unchanged'")
    parser.add_argument("--days", type=float, default=30, help="how long a new token is valid")
    options = parser.parse_args(arguments)
    values = {}
    if options.config == "-":
        values = json.load(sys.stdin)
    elif options.config:
        with open(options.config, encoding="utf-8") as handle:
            values = json.load(handle)
    try:
        settings = Settings.from_dict(values)
    except (ValueError, TypeError) as error:
        parser.error(f"{options.config}: {error}")
    if options.mint_token:
        if not settings.token_secret or not options.token_file:
            parser.error("--mint-token needs token_secret in the configuration and --token-file")
        print(
            "minted"
            if keep_token(settings.token_secret, options.mint_token, options.days, options.token_file)
            else "unchanged"
        )
        return
    server = SparkflowsServer(settings, log_requests=True).start()
    for listener in server.listeners:
        log(f"listening on {listener.url}")
    until_told_to_stop()
    server.stop()


def until_told_to_stop():
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()


if __name__ == "__main__":
    main()
