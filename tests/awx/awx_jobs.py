"""Jobs as AWX 24.6 runs them, from the data in awx/: its project folder, inventory, credentials, variables and command line, run by ansible-runner.

What AWX does is told here in the order in which it does it. Where the lab is not AWX, a comment says so.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import jinja2
import yaml

COLLECTION = Path(__file__).resolve().parents[2]
PREFIX = "Sparkflows MLOps"
SETTINGS = {
    **yaml.safe_load((COLLECTION / "roles/awx/defaults/main.yml").read_text(encoding="utf-8")),
    "awx_name": PREFIX,
    "awx_organization": PREFIX,
}
# AWX's own settings for jobs, as 24.6 ships them.
AWX_ENVIRONMENT = {
    "ANSIBLE_HOST_KEY_CHECKING": "False",
    "ANSIBLE_PARAMIKO_RECORD_HOST_KEYS": "False",
    "ANSIBLE_FORCE_COLOR": "True",
    "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
    "ANSIBLE_RETRY_FILES_ENABLED": "False",
    "MAX_EVENT_RES": "700000",
}
# Where this computer has what the lab's inventory names: the checkout with its tools, and what labs are made of.
OWN_FILES = (f"{COLLECTION}/", os.environ.get("LAB_CACHE_DIR", f"{COLLECTION}/.cache/lab") + "/", str(Path(sys.executable).parent) + "/")
COLORS = re.compile(r"\x1b\[[0-9;]*[mK]")


# ---- the data
class Unsafe(str):
    """Marked as no template of Ansible's: a template of AWX's."""


class Loader(yaml.CSafeLoader):
    """Knows Ansible's mark."""


Loader.add_constructor("!unsafe", lambda loader, node: Unsafe(loader.construct_scalar(node)))


def rendered(node, variables):
    """As Ansible renders the data: templates are names, and what the operator's vault has."""
    if isinstance(node, dict):
        return {key: rendered(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [rendered(value, variables) for value in node]
    if isinstance(node, str) and not isinstance(node, Unsafe):
        return jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True).from_string(node).render(variables)
    return node


@functools.cache
def contents():
    return [yaml.load(path.read_text(encoding="utf-8"), Loader) for path in sorted((COLLECTION / "awx").glob("*.yml"))]


def data(kind, **variables):
    """The list of that name, from the file of awx/ that has it."""
    for content in contents():
        if kind in content:
            return rendered(content[kind], {**SETTINGS, **variables})
    raise KeyError(kind)


def templates():
    """Job templates by their name, without the prefix that all names have."""
    return {template["name"].removeprefix(PREFIX).strip(): template for template in data("awx_job_templates")}


def defaults(template):
    """What AWX hands over where a survey's question is not answered."""
    return {question["variable"]: question["default"] for question in template.get("survey") or [] if "default" in question}


def refused(template, answers):
    """What AWX says to answers, before there is a job: `variables_needed_to_start`. Nothing is converted, and a blank is a character."""
    problems = []
    for question in template.get("survey") or []:
        name, kind = question["variable"], question["type"]
        least, most = question.get("min"), question.get("max")
        if name not in answers:
            problems += [f"'{name}' value missing"] if question["required"] else []
            continue
        value = answers[name]
        if kind == "text" and not isinstance(value, str):
            problems.append(f"Value {value} for '{name}' expected to be a string.")
        elif kind == "text":
            if least is not None and len(value) < least:
                problems.append(f"'{name}' value {value} is too small (length is {len(value)} must be at least {least}).")
            if most is not None and len(value) > most:
                problems.append(f"'{name}' value {value} is too large (must be no more than {most}).")
        elif kind == "integer" and (isinstance(value, bool) or not isinstance(value, int)):
            problems.append(f"Value {value} for '{name}' expected to be an integer.")
        elif kind == "integer":
            if least is not None and value < least:
                problems.append(f"'{name}' value {value} is too small (must be at least {least}).")
            if most is not None and value > most:
                problems.append(f"'{name}' value {value} is too large (must be no more than {most}).")
        elif kind == "multiplechoice" and value not in question["choices"]:
            problems.append(f"Value {value} for '{name}' expected to be one of {question['choices']}.")
    return problems


# ---- the project
class Project:
    """The checkout, as an update of the project leaves it. No collections are installed: AWX does that only where the organization has a Galaxy
    credential, and an organization that is made has none. The execution environment has the ones that are needed."""

    def __init__(self, folder):
        self.checkout = Path(folder) / "project"

    def update(self):
        # What is committed, and what is not yet: a test is for what one has just written.
        listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=COLLECTION, check=True,
                                stdout=subprocess.PIPE, text=True).stdout  # fmt: skip
        for name in filter(None, listed.split("\0")):
            source, target = COLLECTION / name, self.checkout / name
            if os.path.lexists(source):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target, follow_symlinks=False)
        return self

    def copy_to(self, folder):
        shutil.copytree(self.checkout, folder / "project", symlinks=True)


# ---- the inventory
def script_inventory(groups, hosts):
    """A program that prints the inventory, with the ids that AWX adds."""
    variables = {
        host: {**values, **{f"remote_{who}_{what}": value for who in ("host", "tower") for what, value in (("enabled", "true"), ("id", number))}}
        for number, (host, values) in enumerate(sorted(hosts.items()), 1)
    }
    # An empty group is in the list of all groups, and nowhere else.
    listed = {"all": {"hosts": [], "children": sorted({*groups, "spark"})}, "_meta": {"hostvars": variables}}
    listed.update({group: {"hosts": members} for group, members in groups.items() if members})
    return f"#! /usr/bin/env python3\n# -*- coding: utf-8 -*-\nprint({json.dumps(listed)!r})\n"


# ---- variables and credentials
class UnsafeDumper(yaml.SafeDumper):
    """Answers and credentials are no templates, whatever they contain. Names are marked, too."""


UnsafeDumper.add_representer(str, lambda dumper, value: dumper.represent_scalar("!unsafe", value))


def variables_file(variables, trusted=None):
    """Variables of the job template itself may be templates, as long as they have the values that it says; nothing else may."""
    trusted = trusted or {}
    parts = [
        yaml.dump({name: value}, Dumper=yaml.SafeDumper if name in trusted and trusted[name] == value else UnsafeDumper)
        for name, value in variables.items()
    ]
    return "".join(parts)


class Files:
    """The folder env of a job, and how its files are called where the job runs."""

    def __init__(self, folder, root):
        self.folder, self.root = folder, root

    def write(self, content, mode=0o600):
        handle, path = tempfile.mkstemp(dir=self.folder / "env")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(content)
        os.chmod(path, mode)
        return f"{self.root}/env/{Path(path).name}"


def inject(kind, inputs, environment, arguments, files):
    """Hand a credential's inputs to the job as the injectors of its type say. A field that is empty is not there for them."""
    namespace = {name: value for name, value in inputs.items() if value != ""}
    for field in kind["inputs"]["fields"]:
        if field["type"] == "boolean":
            namespace.setdefault(field["id"], False)
    render = jinja2.Environment().from_string
    injectors = kind["injectors"]

    class Tower:
        pass

    tower = namespace["tower"] = Tower()
    for label, template in injectors.get("file", {}).items():
        path = files.write(render(template).render(namespace))
        if "." in label:
            tower.filename = getattr(tower, "filename", Tower())
            setattr(tower.filename, label.split(".")[1], path)
        else:
            tower.filename = path
    for name, template in injectors.get("env", {}).items():
        environment[name] = render(template).render(namespace)

    def render_all(node):
        if isinstance(node, dict):
            return {render_all(key): render_all(value) for key, value in node.items()}
        return [render_all(value) for value in node] if isinstance(node, list) else render(node).render(namespace)

    if injectors.get("extra_vars"):
        arguments += ["-e", "@" + files.write(variables_file(render_all(injectors["extra_vars"])), 0o400)]


# ---- the job
class Result:
    """What AWX keeps of a job: its status, its events, and the artifacts of set_stats."""

    def __init__(self, status, events, folder):
        self.status, self.events, self.folder = status, events, folder
        self.output = COLORS.sub("", "\n".join(event.get("stdout", "") for event in events))
        self.text = " ".join(self.output.split())
        stats = [event["event_data"] for event in events if event["event"] == "playbook_on_stats"]
        self.stats = stats[-1] if stats else {}
        self.artifacts = self.stats.get("artifact_data", {})

    @property
    def changed(self):
        return {host: number for host, number in self.stats.get("changed", {}).items() if number}

    def warnings(self):
        """Everything that AWX would show as a warning, and what modules say besides."""
        found = re.findall(r"\[(?:DEPRECATION )?WARNING\][^\n]*", self.output)
        for event in self.events:
            result = event.get("event_data", {}).get("res")
            if isinstance(result, dict):
                found += [str(said) for key in ("warnings", "deprecations") for said in result.get(key) or []]
        return found

    def kept(self):
        """Every byte that stays of the job: events, output, artifacts."""
        return {path: path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file() and "/callback/" not in str(path)}


class Launcher:
    """Launches job templates. `groups` and `hosts` are the inventory, `secrets` what the operator's vault has, `image` the execution environment, and
    `network` where its containers are."""

    def __init__(self, folder, project, groups, hosts, secrets, username, key, image, network):
        self.folder, self.project, self.groups, self.hosts = Path(folder), project, groups, hosts
        self.username, self.key = username, key
        self.image, self.network = image, network
        operator = {**secrets, "awx_machine_username": username, "awx_machine_key": key}
        # Those in use: what the lab has no secret for would be left out of awx_credentials_in_use.
        self.credentials = {
            credential["key"]: credential
            for credential in data("awx_credentials", **operator)
            if all(value for name, value in credential["inputs"].items() if name not in credential.get("optional", []))
        }
        self.types = {kind["name"]: kind for kind in data("awx_credential_types")}
        self.number, self.lock = 0, threading.Lock()

    def launch(self, template, answers=None, job_type="run", limit="", contained=False):
        """Run a job to its end. `answers` are those of the survey. It runs here, or in a container of the execution environment."""
        given = {**defaults(template), **(answers or {})}
        problems = refused(template, given)
        assert not problems, f"AWX would not make a job of this: {problems}"
        with self.lock:
            self.number += 1
            number = self.number
        folder = self.folder / f"awx_{number}"
        for name in ("inventory", "env", "cp"):
            (folder / name).mkdir(parents=True, mode=0o700)
        self.project.copy_to(folder)
        root = "/runner" if contained else str(folder)
        exposed = folder.with_suffix(".exposed")
        hosts = self.exposed(self.hosts, exposed, root) if contained else self.hosts
        files = Files(folder, root)

        inventory = folder / "inventory/hosts"
        inventory.write_text(script_inventory(self.groups, hosts), encoding="utf-8")
        inventory.chmod(0o700)

        own = template.get("extra_vars") or {}
        variables = {**own, **given}
        variables.update({f"{who}_{what}": value for who in ("awx", "tower") for what, value in (
            ("job_id", number), ("job_launch_type", "manual"), ("job_template_name", template["name"]), ("user_name", "operator"))})  # fmt: skip
        (folder / "env/extravars").write_text(variables_file(variables, own), encoding="utf-8")

        arguments = ["--check"] if job_type == "check" else []
        arguments += ["-u", self.username]
        arguments += ["-l", limit] if limit else []
        environment = {
            **AWX_ENVIRONMENT,
            "AWX_PRIVATE_DATA_DIR": root,
            "JOB_ID": str(number),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{root}/cp",
            "ANSIBLE_COLLECTIONS_PATH": self.collections_path(root),
            "ANSIBLE_ROLES_PATH": f"{root}/requirements_roles:~/.ansible/roles:/usr/share/ansible/roles:/etc/ansible/roles",
        }
        for credential in (self.credentials[name] for name in template["credentials"] if name in self.credentials):
            if credential["credential_type"] != "Machine":
                inject(self.types[credential["credential_type"]], credential["inputs"], environment, arguments, files)
        (folder / "env/cmdline").write_text(subprocess.list2cmdline(arguments), encoding="utf-8")
        settings = {"suppress_ansible_output": True, "suppress_output_file": True}
        (folder / "env/settings").write_text(json.dumps(settings), encoding="utf-8")

        job = {
            "ident": str(number),
            "private_data_dir": str(folder),
            "playbook": template["playbook"],
            "inventory": "hosts",
            "envvars": environment,
            "ssh_key": self.key,
            "suppress_env_files": True,
            "fact_cache_type": "",
        }
        if contained:
            self.run_in_container(job, exposed)
        else:
            self.run_here(job)
        return self.result(folder, number)

    def collections_path(self, root):
        """The project's collections, then what the project's ansible.cfg says, then the usual places."""
        configured = re.search(r"^collections_path *= *(\S+)", (self.project.checkout / "ansible.cfg").read_text(encoding="utf-8"), re.M)
        places = [f"{root}/requirements_collections", *configured.groups(), "~/.ansible/collections", "/usr/share/ansible/collections"]
        return os.pathsep.join(places)

    @staticmethod
    def run_here(job):
        """ansible-runner in a process of its own: what it sets up is for one job at a time."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "LAB_", "MOLECULE_"))}
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        program = "import json, sys, ansible_runner; ansible_runner.run(**json.load(sys.stdin))"
        done = subprocess.run([sys.executable, "-c", program], input=json.dumps(job), env=environment, cwd="/", check=False,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def exposed(self, value, place, root):
        """A variable as the container is given it: files of the project are there, and others of this computer are exposed to jobs, in a folder that
        everybody may read."""
        if isinstance(value, dict):
            return {key: self.exposed(each, place, root) for key, each in value.items()}
        if isinstance(value, list):
            return [self.exposed(each, place, root) for each in value]
        if not isinstance(value, str) or not value.startswith(OWN_FILES) or not Path(value).is_file():
            return value
        if Path(value).is_relative_to(COLLECTION):
            name = Path(value).relative_to(COLLECTION)
            if (self.project.checkout / name).is_file():
                return f"{root}/project/{name}"
        place.mkdir(mode=0o755, exist_ok=True)
        copy = place / Path(value).name
        shutil.copy(value, copy)
        copy.chmod(copy.stat().st_mode | 0o444)
        return str(copy)

    def run_in_container(self, job, exposed):
        """The job's folder goes to the container on its standard input, and what it did comes back on its standard output."""
        import ansible_runner

        sent, back = (Path(job["private_data_dir"]).with_suffix(suffix) for suffix in (".sent", ".back"))
        with sent.open("wb") as stream:
            ansible_runner.interface.run(streamer="transmit", _output=stream, **job)
        command = ["docker", "run", "--rm", "--interactive", f"--network={self.network}", f"--volume={exposed}:{exposed}:ro", self.image,
                   "ansible-runner", "worker", "--private-data-dir=/runner"]  # fmt: skip
        with sent.open("rb") as standard_input, back.open("wb") as standard_output:
            done = subprocess.run(command, stdin=standard_input, stdout=standard_output, stderr=subprocess.PIPE, check=False)
        assert done.returncode == 0, done.stderr.decode()
        with back.open("rb") as stream, contextlib.redirect_stdout(io.StringIO()):
            ansible_runner.interface.run(streamer="process", _input=stream, private_data_dir=job["private_data_dir"], ident=job["ident"], quiet=True)

    @staticmethod
    def result(folder, number):
        kept = folder / "artifacts" / str(number)
        # A job may end before ansible-runner has an event, and then its output is all there is.
        events = [json.loads(path.read_text(encoding="utf-8")) for path in (kept / "job_events").glob("[0-9]*.json")]
        events.sort(key=lambda event: event["counter"])
        return Result((kept / "status").read_text(encoding="utf-8").strip() if (kept / "status").exists() else "error", events, kept)
