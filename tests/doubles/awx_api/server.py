"""A double of the API of AWX 24.6.1, as far as the modules of awx.awx use it for the objects of this collection.

Field rules are those that AWX publishes (fields.json), rules across fields those that it was seen to apply. README.md says which is which.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import copy
import dataclasses
import http.server
import json
import re
import threading
import urllib.parse
import uuid
from pathlib import Path

import jinja2
import jinja2.sandbox
import jsonschema
import yaml
from sparkflows_server.server import HttpHandler, until_told_to_stop

DATA = json.loads(Path(__file__).with_name("fields.json").read_text(encoding="utf-8"))
RESOURCES = DATA["resources"]
ENCRYPTED = "$encrypted$"
TIME = "2024-10-23T12:00:00.000000Z"

# What a field of type id refers to.
REFERS = {
    "organization": "organizations",
    "inventory": "inventories",
    "project": "projects",
    "source_project": "projects",
    "credential_type": "credential_types",
    "credential": "credentials",
    "webhook_credential": "credentials",
    "signature_validation_credential": "credentials",
    "execution_environment": "execution_environments",
    "default_environment": "execution_environments",
    "workflow_job_template": "workflow_job_templates",
    "unified_job_template": "unified_job_templates",
    "user": "users",
    "team": "teams",
}
UNIFIED = ("projects", "inventory_sources", "job_templates", "workflow_job_templates", "workflow_approval_templates")
# What must be unique, and how AWX says that it is not.
UNIQUE = {
    "organizations": (("name",), "Organization with this Name already exists."),
    "credential_types": (("name", "kind"), "Credential type with this Name and Kind already exists."),
    "credentials": (("organization", "name", "credential_type"), "Credential with this Organization, Name and Credential type already exists."),
    "execution_environments": (("name",), "Execution environment with this Name already exists."),
    "projects": (("organization", "name"), "Project with this (organization, name) combination already exists."),
    "inventories": (("name", "organization"), "Inventory with this Name and Organization already exists."),
    "inventory_sources": (("inventory", "name"), "InventorySource with this (inventory, name) combination already exists."),
    "job_templates": (("organization", "name"), "JobTemplate with this (organization, name) combination already exists."),
    "workflow_job_templates": (("organization", "name"), "WorkflowJobTemplate with this (organization, name) combination already exists."),
    "workflow_job_template_nodes": (
        ("identifier", "workflow_job_template"),
        "Workflow job template node with this Identifier and Workflow job template already exists.",
    ),
}
# The lists that may be tied to an object, and of what.
ASSOCIATIONS = {
    ("organizations", "galaxy_credentials"): "credentials",
    ("job_templates", "credentials"): "credentials",
    ("workflow_job_template_nodes", "success_nodes"): "workflow_job_template_nodes",
    ("workflow_job_template_nodes", "failure_nodes"): "workflow_job_template_nodes",
    ("workflow_job_template_nodes", "always_nodes"): "workflow_job_template_nodes",
}
EDGES = ("success_nodes", "failure_nodes", "always_nodes")
# What goes when an object goes: the field that refers to it.
GOES_WITH = {
    "organizations": [
        ("projects", "organization"), ("inventories", "organization"), ("credentials", "organization"),
        ("workflow_job_templates", "organization"), ("job_templates", "organization"),
    ],
    "inventories": [("inventory_sources", "inventory")],
    "workflow_job_templates": [("workflow_job_template_nodes", "workflow_job_template")],
}  # fmt: skip
SURVEY_TYPES = ("text", "textarea", "password", "multiplechoice", "multiselect", "integer", "float")
NODE_PROMPTS = ("limit", "job_type", "diff_mode", "verbosity", "scm_branch", "job_tags", "skip_tags", "forks", "job_slice_count", "timeout")

INPUTS_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "required": {"type": "array", "items": {"type": "string"}},
        "fields": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["id", "label"],
                "properties": {
                    "id": {"type": "string"},
                    "label": {"type": "string"},
                    "type": {"enum": ["string", "boolean"]},
                    "format": {"enum": ["ssh_private_key", "url"]},
                    "help_text": {"type": "string"},
                    "choices": {"type": "array", "items": {"type": "string"}, "minItems": 1},
                    "default": {"type": ["string", "boolean"]},
                    "multiline": {"type": "boolean"},
                    "secret": {"type": "boolean"},
                    "ask_at_runtime": {"type": "boolean"},
                },
            },
        },
    },
}
INJECTORS_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "file": {
            "type": "object",
            "additionalProperties": False,
            "patternProperties": {r"^template(\.[a-zA-Z_]+[a-zA-Z0-9_]*)?$": {"type": "string"}},
        },
        "env": {"type": "object", "additionalProperties": False, "patternProperties": {r"^[a-zA-Z_]+[a-zA-Z0-9_]*$": {"type": "string"}}},
        "extra_vars": {"type": "object"},
    },
}
ENV_REFUSED = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "HOME", "LD_LIBRARY_PATH", "LD_PRELOAD", "CALLBACK_QUEUE")


@dataclasses.dataclass
class Settings:
    """Every switch. A configuration file is a JSON object with some of these names; tests set attributes."""

    address: str = "127.0.0.1"
    port: int = 0
    # Where the API is: that of a controller behind the gateway of AAP 2.5 and newer is at /api/controller/, and nowhere else.
    prefix: str = "/api/"
    # What each answer says that it is of. AAP calls itself "Red Hat Ansible Automation Platform", and has the version of its controller.
    product: str = "AWX"
    version: str = DATA["version"]
    # User name: password. They may do everything.
    users: dict = dataclasses.field(default_factory=lambda: {"admin": "password"})
    # A token that does not end, as one makes it in the UI.
    token: str = ""
    # The playbooks of every git project after a good update, how that update ends, and how many looks at the project it takes.
    playbooks: list = dataclasses.field(default_factory=list)
    update_result: str = "successful"
    update_looks: int = 1
    # Kinds whose lists are empty for who logs in with a user name: nobody may see everything.
    hidden: list = dataclasses.field(default_factory=list)
    # Folders for manual projects on the server, and the playbooks in each.
    folders: dict = dataclasses.field(default_factory=dict)


class Refusal(Exception):
    """An answer that is not what was asked for."""

    def __init__(self, status, body):
        super().__init__(status, body)
        self.status, self.body = status, body


def refuse(field, message):
    raise Refusal(400, {field: [message]})


def parse_variables(field, value):
    """A text of variables, JSON or YAML, that must be a dictionary."""
    if not isinstance(value, str):
        refuse(field, "Not a valid string.")
    if not value.strip():
        return {}
    problems = []
    for parse, mistakes in ((json.loads, ValueError), (yaml.safe_load, yaml.YAMLError)):
        try:
            parsed = parse(value)
        except mistakes as mistake:
            problems.append(str(mistake))
            continue
        if parsed is None:
            return {}
        if isinstance(parsed, dict):
            return parsed
        problems.append(f"Input type `{type(parsed).__name__}` is not a dictionary")
    refuse(field, "Cannot parse as JSON (error: {}) or YAML (error: {}).".format(*problems))


def schema_problems(schema, value):
    problems = []
    for error in sorted(jsonschema.Draft4Validator(schema).iter_errors(value), key=lambda e: list(map(str, e.path))):
        message = error.message
        if error.validator == "type" and error.path:
            message = f"{type(error.instance).__name__} provided in relative path {list(error.path)}, expected {error.validator_value}"
        elif error.validator == "additionalProperties":
            message = f"Schema validation error in relative path {list(error.path)} ({error.message})"
        problems.append(message)
    return [re.sub(r"expected string$", "expected string", message) for message in problems]


class Store:
    """The objects. A method for each rule across fields."""

    def __init__(self, settings):
        self.settings = settings
        self.objects = {kind: {} for kind in [*RESOURCES, "workflow_approval_templates", "project_updates", "users", "teams"]}
        self.lists = {}  # (kind, id, list): ids
        self.surveys = {}
        self.tokens = {}
        self.last = 100
        for managed in DATA["managed_credential_types"]:
            self.objects["credential_types"][managed["id"]] = dict(managed, managed=True)
        # AWX comes with it, outside of any organization.
        galaxy = next(kind["id"] for kind in DATA["managed_credential_types"] if kind["kind"] == "galaxy")
        self.objects["credentials"][2] = {"id": 2, "name": "Ansible Galaxy", "description": "", "organization": None, "credential_type": galaxy,
                                          "inputs": {"url": "https://galaxy.ansible.com/"}, "managed": True}  # fmt: skip
        for number, name in enumerate(settings.users, 1):
            self.objects["users"][number] = {"id": number, "username": name}

    # ---- finding
    def find(self, kind, number):
        kinds = UNIFIED if kind == "unified_job_templates" else (kind,)
        for one in kinds:
            if number in self.objects[one]:
                return self.objects[one][number]
        return None

    def kind_of(self, number):
        return next((kind for kind in UNIFIED if number in self.objects[kind]), None)

    def need(self, kind, number):
        found = self.find(kind, number)
        if found is None:
            raise Refusal(404, {"detail": "Not found."})
        return found

    def listed(self, kind, number, name):
        return self.lists.setdefault((kind, number, name), [])

    # ---- showing
    def url(self, kind, number):
        return f"{self.settings.prefix}v2/{kind}/{number}/"

    def show(self, kind, found):
        number = found["id"]
        shown = {name: None for name in RESOURCES.get(kind, {"GET": []})["GET"]}
        shown.update(copy.deepcopy(found))
        related, summary = {}, {}
        for field, of in REFERS.items():
            other = self.find(of, found.get(field)) if found.get(field) is not None else None
            if other is not None:
                related[field] = self.url(self.kind_of(other["id"]) if of == "unified_job_templates" else of, other["id"])
                summary[field] = {"id": other["id"], "name": other.get("name", ""), "description": other.get("description", "")}
        if kind in ("job_templates", "workflow_job_templates"):
            related["survey_spec"] = self.url(kind, number) + "survey_spec/"
        if kind == "projects":
            for update in self.objects["project_updates"].values():
                if update["project"] == number and update["status"] in ("pending", "running"):
                    summary["current_update"] = {"id": update["id"], "status": update["status"], "failed": False}
        if kind == "inventory_sources" and found.get("inventory"):
            organization = self.find("organizations", self.find("inventories", found["inventory"])["organization"])
            summary["organization"] = {"id": organization["id"], "name": organization["name"], "description": ""}
        for of, name in ASSOCIATIONS:
            if of == kind:
                related[name] = f"{self.url(kind, number)}{name}/"
                if of == "workflow_job_template_nodes":
                    shown[name] = list(self.listed(kind, number, name))
        if kind == "credentials":
            secret = self.secret_fields(found["credential_type"])
            shown["inputs"] = {name: ENCRYPTED if name in secret and value else value for name, value in found["inputs"].items()}
        shown.update(
            id=number,
            type="workflow_approval_template" if kind == "workflow_approval_templates" else RESOURCES.get(kind, {"type": kind[:-1]})["type"],
            url=self.url(kind, number),
            related=related,
            summary_fields=summary,
            created=TIME,
            modified=TIME,
        )
        return shown

    # ---- the rules for single fields
    def clean(self, kind, data, found):
        """What is to be stored of a body. Unknown keys are dropped."""
        cleaned = {}
        for name, rules in RESOURCES[kind]["POST"].items():
            if name not in data:
                if rules.get("required") and found is None:
                    refuse(name, "This field is required.")
                if found is None:
                    default = copy.deepcopy(rules.get("default", None if rules["type"] in ("id", "integer") else ""))
                    cleaned[name] = default
                continue
            cleaned[name] = self.clean_value(kind, name, rules, data[name])
        return cleaned

    def clean_value(self, kind, name, rules, value):
        check = {
            "string": self.clean_string, "id": self.clean_id, "integer": self.clean_integer,
            "boolean": self.clean_boolean, "choice": self.clean_choice, "json": self.clean_json,
        }[rules["type"]]  # fmt: skip
        if kind == "inventories" and name == "kind" and value is None:
            return ""
        if value is None and (rules["type"] == "id" or rules.get("default", "") is None or None in rules.get("choices", [])):
            if rules.get("required"):
                refuse(name, "This field may not be null.")
            return None
        if value is None:
            refuse(name, "This field may not be null.")
        return check(name, rules, value)

    def clean_string(self, name, rules, value):
        if isinstance(value, (bool, dict, list)):
            refuse(name, "Not a valid string.")
        value = str(value).strip()
        if not value and rules.get("required"):
            refuse(name, "This field may not be blank.")
        if len(value) > rules.get("max_length", len(value)):
            refuse(name, f"Ensure this field has no more than {rules['max_length']} characters.")
        return value

    def clean_id(self, name, rules, value):
        if value == "":
            return None
        try:
            number = None if isinstance(value, bool) else int(value)
        except (TypeError, ValueError):
            number = None
        if number is None:
            refuse(name, f"Incorrect type. Expected pk value, received {type(value).__name__}.")
        if self.find(REFERS[name], number) is None:
            refuse(name, f'Invalid pk "{number}" - object does not exist.')
        return number

    def clean_integer(self, name, rules, value):
        try:
            number = None if isinstance(value, (bool, float, dict, list)) else int(value)
        except (TypeError, ValueError):
            number = None
        if number is None:
            refuse(name, "A valid integer is required.")
        if number < rules.get("min_value", number):
            refuse(name, f"Ensure this value is greater than or equal to {rules['min_value']}.")
        if number > rules.get("max_value", number):
            refuse(name, f"Ensure this value is less than or equal to {rules['max_value']}.")
        if name in REFERS and self.find(REFERS[name], number) is None:
            refuse(name, f'Invalid pk "{number}" - object does not exist.')
        return number

    def clean_boolean(self, name, rules, value):
        if value in (True, "true", "True", "1", 1):
            return True
        if value in (False, "false", "False", "0", 0):
            return False
        refuse(name, "Must be a valid boolean.")

    def clean_choice(self, name, rules, value):
        if rules["choices"] == ["net", "cloud"]:  # has words of its own, see check_credential_types
            return value
        for choice in rules["choices"]:
            if choice is not None and str(choice) == str(value):
                return choice
        refuse(name, f'"{value}" is not a valid choice.')

    def clean_json(self, name, rules, value):
        if isinstance(rules["default"], str):  # extra_vars and variables: a text of JSON or YAML
            parse_variables(name, value)
        elif not isinstance(value, dict):
            refuse(name, f"Expected a dictionary, received {type(value).__name__}.")
        return value

    # ---- writing
    def create(self, kind, data):
        cleaned = self.clean(kind, data, None)
        new = dict(cleaned, id=self.last + 1)
        for name in [name for name, rules in RESOURCES[kind]["POST"].items() if rules.get("write_only")]:
            new.pop(name)
        self.check(kind, new, data, None)
        self.last += 1
        self.objects[kind][new["id"]] = new
        if kind == "projects" and new["scm_type"]:
            self.start_update(new)
        return new

    def change(self, kind, found, data):
        if kind == "credential_types" and found.get("managed"):
            raise Refusal(403, {"detail": "Modifications not allowed for managed credential types"})
        cleaned = self.clean(kind, data, found)
        changed = dict(found, **cleaned)
        self.check(kind, changed, data, found)
        before = {name: found.get(name) for name in ("scm_type", "scm_url", "scm_branch", "scm_refspec")}
        found.update(changed)
        if kind == "projects" and found["scm_type"] and before != {name: found.get(name) for name in before}:
            self.start_update(found)
        return found

    def check(self, kind, new, data, found):
        if kind == "workflow_job_template_nodes" and not new["identifier"]:
            new["identifier"] = str(uuid.uuid4())
        getattr(self, "check_" + kind, lambda *_: None)(new, data, found)
        fields, message = UNIQUE[kind]
        for other in self.objects[kind].values():
            if other["id"] != new["id"] and all(other.get(field) == new.get(field) for field in fields):
                refuse(fields[0] if len(fields) == 1 else "__all__", message)

    def check_credential_types(self, new, data, found):
        if new["kind"] not in ("cloud", "net"):
            refuse("kind", f"Must be 'cloud' or 'net', not {new['kind']}")
        new["managed"] = False
        new["namespace"] = None
        problems = schema_problems(INPUTS_SCHEMA, new["inputs"])
        for field in new["inputs"].get("fields", []) if not problems else []:
            if field["id"] == "tower":
                problems.append('"tower" is a reserved field name')
            elif not re.match(r"^[a-zA-Z_][a-zA-Z0-9_]*$", field["id"]):
                problems.append(f"{field['id']} is an invalid variable name")
            if field.setdefault("type", "string") == "boolean" and field.get("secret"):
                problems.append(f"secret not allowed for boolean type ({field['id']})")
        if problems:
            raise Refusal(400, {"inputs": problems})
        problems = schema_problems(INJECTORS_SCHEMA, new["injectors"]) or self.injector_problems(new)
        if problems:
            raise Refusal(400, {"injectors": problems})
        if found and new["inputs"] != found["inputs"] and self.users_of_type(found):
            raise Refusal(403, {"detail": "Modifications to inputs are not allowed for credential types that are in use"})

    def injector_problems(self, new):
        """Every template of the injectors is rendered with something in each field."""

        class ExplodingNamespace:
            def __str__(self):
                raise jinja2.UndefinedError("Must define unnamed file injector in order to reference `tower.filename`.")

        class Files:
            filename = ExplodingNamespace()

        injectors, problems = new["injectors"], []
        values = {field["id"]: True if field["type"] == "boolean" else "EXAMPLE" for field in new["inputs"].get("fields", [])}
        values["tower"] = Files()
        names = injectors.get("file", {})
        if "template" in names:
            if len(names) > 1:
                return ["Must use multi-file syntax when injecting multiple files"]
            values["tower"].filename = "EXAMPLE_FILENAME"
        elif names:
            values["tower"].filename = type("Names", (), {name.split(".", 1)[1]: "EXAMPLE_FILENAME" for name in names})()
        for name in injectors.get("env", {}):
            if name.startswith("ANSIBLE_"):
                problems.append(f"Environment variable {name} may affect Ansible configuration so its use is not allowed in credentials.")
            elif name in ENV_REFUSED:
                problems.append(f"Environment variable {name} is not allowed to be used in credentials.")
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)

        def render(key, template):
            if isinstance(template, dict):
                for name, inner in template.items():
                    render(name, inner)
            elif isinstance(template, list):
                for inner in template:
                    render(key, inner)
            elif isinstance(template, str):
                try:
                    environment.from_string(template).render(**values)
                except jinja2.UndefinedError as mistake:
                    problems.append(f"{key} uses an undefined field ({mistake})")
                except jinja2.TemplateSyntaxError as mistake:
                    problems.append(f"Syntax error rendering template for {key} inside of {key} ({mistake})")

        for templates in injectors.values():
            render("", templates)
        return problems

    def users_of_type(self, found):
        return [credential for credential in self.objects["credentials"].values() if credential["credential_type"] == found["id"]]

    def secret_fields(self, number):
        return {field["id"] for field in self.objects["credential_types"][number]["inputs"].get("fields", []) if field.get("secret")}

    def check_credentials(self, new, data, found):
        if found and new["credential_type"] != found["credential_type"]:
            refuse(
                "credential_type",
                "You cannot change the credential type of the credential, as it may break the functionality of the resources using it.",
            )
        owners = sorted(name for name in ("organization", "team", "user") if data.get(name))
        if not found and not owners:
            refuse("detail", "Missing 'user', 'team', or 'organization'.")
        if not found and len(owners) > 1:
            refuse("detail", f"Only one of 'user', 'team', or 'organization' should be provided, received {', '.join(owners)} fields.")
        fields = {field["id"]: field for field in self.objects["credential_types"][new["credential_type"]]["inputs"].get("fields", [])}
        inputs = dict(new["inputs"])
        unknown = [name for name in inputs if name not in fields]
        if unknown:
            listed = ", ".join(map(repr, unknown))
            refuse("inputs", f"Additional properties are not allowed ({listed} {'was' if len(unknown) == 1 else 'were'} unexpected)")
        secret = self.secret_fields(new["credential_type"])
        for name, value in inputs.items():
            wanted = fields[name].get("type", "string")
            if not isinstance(value, bool if wanted == "boolean" else str):
                raise Refusal(400, {"inputs": {name: [f"{value!r} is not of type {wanted!r}"]}})
            if "choices" in fields[name] and value not in fields[name]["choices"]:
                raise Refusal(400, {"inputs": {name: [f"{value!r} is not one of {fields[name]['choices']!r}"]}})
            if value == ENCRYPTED and name in secret:
                if not found or name not in found["inputs"]:
                    refuse("inputs", f"{ENCRYPTED} is a reserved keyword, and cannot be used for {name}.")
                inputs[name] = found["inputs"][name]
            elif value and fields[name].get("format") == "ssh_private_key":
                self.check_private_key(name, value)
        key, passphrase = inputs.get("ssh_key_data"), inputs.get("ssh_key_unlock")
        if key and "ssh_key_unlock" in fields:
            # Of an OpenSSH key, the name of the cipher is in what follows a fixed beginning.
            body = "".join(line for line in key.splitlines() if "-----" not in line)
            encrypted = not body.startswith("b3BlbnNzaC1rZXktdjEAAAAABG5vbmUA") if "BEGIN OPENSSH" in key else "ENCRYPTED" in key
            if encrypted and not passphrase:
                raise Refusal(400, {"inputs": {"ssh_key_unlock": ["must be set when SSH key is encrypted."]}})
            if passphrase and not encrypted:
                raise Refusal(400, {"inputs": {"ssh_key_unlock": ["should not be set when SSH key is not encrypted."]}})
        # What is empty and secret is not kept.
        new["inputs"] = {name: value for name, value in inputs.items() if value != "" or name not in secret}

    def check_private_key(self, name, value):
        """The form of it. The refusal has the beginning of what was sent."""
        if not re.match(r"\s*-{4,} *BEGIN ([A-Z ]*PRIVATE KEY) *-{4,}\s*.+?\s*-{4,} *END \1 *-{4,}", value, re.DOTALL):
            raise Refusal(400, {"inputs": {name: [f"Invalid certificate or key: {value.lstrip()[:100]}..."]}})

    def check_execution_environments(self, new, data, found):
        if not re.match(r"^[a-zA-Z0-9][\w.-]*(:\d+)?(/[\w.-]+)*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?$", new["image"]):
            refuse("image", f"The container image name {new['image']} is not valid")
        self.check_kind("credential", new, "registry")

    def check_kind(self, field, new, kind):
        if new.get(field) is not None:
            used = self.objects["credential_types"][self.objects["credentials"][new[field]]["credential_type"]]
            if used["kind"] != kind:
                refuse(field, f"Credential kind must be '{kind}'.")

    def check_inventories(self, new, data, found):
        if new["kind"] == "smart" and not new["host_filter"]:
            refuse("host_filter", "Smart inventories must specify host_filter")

    def check_projects(self, new, data, found):
        if new["scm_type"]:
            if not new["scm_url"]:
                refuse("scm_url", "SCM URL is required.")
            new["local_path"] = f"_{new['id']}__{re.sub('[^a-z0-9]+', '_', new['name'].lower())}"
        else:
            if new["scm_update_on_launch"] or new["scm_delete_on_update"] or new["scm_clean"]:
                name = next(name for name in ("scm_update_on_launch", "scm_delete_on_update", "scm_clean") if new[name])
                refuse(name, "Update options must be set to false for manual projects.")
            taken = [project["local_path"] for project in self.objects["projects"].values() if project["id"] != new["id"]]
            # Said of a folder that is not there, too.
            if new["local_path"] and (new["local_path"] in taken or new["local_path"] not in self.settings.folders):
                refuse("local_path", "This path is already being used by another manual project.")
        self.check_kind("credential", new, "scm")
        new.setdefault("status", "ok" if not new["scm_type"] else "never updated")
        new.setdefault("scm_revision", "")

    def start_update(self, project):
        number = len(self.objects["project_updates"]) + 1
        self.objects["project_updates"][number] = {
            "id": number, "project": project["id"], "name": project["name"], "status": "pending",
            "looks": self.settings.update_looks, "finished": None, "failed": False,
        }  # fmt: skip
        project["status"] = "pending"

    def look_at_updates(self):
        """Time passes only when somebody looks."""
        for update in self.objects["project_updates"].values():
            if update["status"] not in ("pending", "running"):
                continue
            update["looks"] -= 1
            update["status"] = "running" if update["looks"] > 0 else self.settings.update_result
            project = self.objects["projects"].get(update["project"])
            if update["looks"] <= 0:
                update.update(finished=TIME, failed=update["status"] != "successful")
            if project is not None:
                project["status"] = update["status"]
                if update["status"] == "successful":
                    project["scm_revision"] = "0123456789abcdef0123456789abcdef01234567"

    def playbooks(self, project):
        if not project["scm_type"]:
            return self.settings.folders.get(project["local_path"], [])
        return self.settings.playbooks if project["scm_revision"] else []

    def check_inventory_sources(self, new, data, found):
        if not new["source"] and not found:
            refuse("source", '"" is not a valid choice.')
        parse_variables("source_vars", new["source_vars"])
        if new["source"] == "scm":
            if new["source_project"] is None:
                refuse("source_project", "Project required for scm type sources.")
            if not self.objects["projects"][new["source_project"]]["scm_type"]:
                refuse("source_project", "Cannot use manual project for SCM-based inventory.")

    def check_job_templates(self, new, data, found):
        project = self.objects["projects"].get(new["project"])
        if project is None:
            refuse("project", "Job Templates must have a project assigned.")
        if not new["playbook"]:
            refuse("playbook", "Must select playbook for project.")
        if not (project["scm_type"] and project["allow_override"]) and new["playbook"] not in self.playbooks(project):
            refuse("playbook", "Playbook not found for project.")
        if new["scm_branch"] and not project["allow_override"]:
            refuse("scm_branch", "Project does not allow overriding branch.")
        if new["inventory"] is None and not new["ask_inventory_on_launch"]:
            refuse("inventory", "You must either set a default value or ask to prompt on launch.")
        new["organization"] = project["organization"]

    def check_workflow_job_template_nodes(self, new, data, found):
        template = self.find("unified_job_templates", new["unified_job_template"])
        if template is None:
            return
        for name in NODE_PROMPTS:
            prompts = template.get("ask_tags_on_launch" if name == "job_tags" else f"ask_{name}_on_launch")
            if new.get(name) not in (None, "") and name in data and not prompts:
                refuse(name, "Field is not configured to prompt on launch.")
        if new["extra_data"]:
            survey = self.surveys.get(template["id"], {}).get("spec", []) if template.get("survey_enabled") else []
            asked = {question["variable"]: question for question in survey}
            unknown = [name for name in new["extra_data"] if name not in asked]
            if unknown and not template.get("ask_variables_on_launch"):
                raise Refusal(400, {"extra_data": [
                    f"Variables {', '.join(unknown)} are not allowed on launch. Check the Prompt on Launch setting on the Job Template "
                    "to include Extra Variables."
                ]})  # fmt: skip
            problems = []
            for name, answer in new["extra_data"].items():
                choices = asked.get(name, {}).get("choices")
                choices = choices.split("\n") if isinstance(choices, str) else choices
                if asked.get(name, {}).get("type") == "multiplechoice" and answer not in choices:
                    problems.append(f"Value {answer} for '{name}' expected to be one of {choices}.")
            if problems:
                raise Refusal(400, {"variables_needed_to_start": problems})

    # ---- surveys
    def check_survey(self, spec):
        def wrong(message):
            raise Refusal(400, {"error": message})

        for name, kind in (("name", str), ("description", str), ("spec", list)):
            if name not in spec:
                wrong(f"Field '{name}' is missing from survey spec.")
            if not isinstance(spec[name], kind):
                wrong(f"Expected {'string' if kind is str else 'list'} for field '{name}', received {type(spec[name]).__name__} type.")
        if not spec["spec"]:
            wrong("'spec' doesn't contain any items.")
        seen = set()
        for number, question in enumerate(spec["spec"]):
            if not isinstance(question, dict):
                wrong(f"Survey question {number} is not a json object.")
            for name in ("type", "question_name", "variable", "required"):
                if name not in question:
                    wrong(f"'{name}' missing from survey question {number}")
            kind, default = question["type"], question.get("default")
            if kind not in SURVEY_TYPES:
                wrong(f"'{kind}' in survey question {number} is not one of '{', '.join(SURVEY_TYPES)}' allowed question types.")
            if question["variable"] in seen:
                wrong(f"'variable' '{question['variable']}' duplicated in survey question {number}.")
            seen.add(question["variable"])
            for limit in ("min", "max"):
                if limit in question and question[limit] is not None and not isinstance(question[limit], int):
                    wrong(f"The {limit} limit in survey question {number} expected to be integer.")
            wanted = {"integer": int, "float": (int, float)}.get(kind, str)
            if default not in (None, "") and (not isinstance(default, wanted) or isinstance(default, bool)):
                names = {"integer": "integer", "float": "numeric (float)"}
                wrong(f"Default value {default} in survey question {number} expected to be {names.get(kind, 'string')}.")
            if kind in ("multiplechoice", "multiselect"):
                choices = question.get("choices")
                if not choices:
                    wrong(f"Survey question {number} of type {kind} must specify choices.")
                choices = choices.split("\n") if isinstance(choices, str) else choices
                if default and not set(default.split("\n") if kind == "multiselect" else [default]) <= set(choices):
                    wrong("Default choice must be answered from the choices listed.")
            if kind == "password" and default == ENCRYPTED:
                wrong(f"{ENCRYPTED} is a reserved keyword, may not be used for new default in position {number}.")

    def shown_survey(self, number):
        spec = copy.deepcopy(self.surveys.get(number, {}))
        for question in spec.get("spec", []):
            if question["type"] == "password" and question.get("default"):
                question["default"] = ENCRYPTED
        return spec

    # ---- lists of objects that are tied to one
    def tie(self, kind, number, name, data):
        other = data.get("id")
        listed = self.listed(kind, number, name)
        if not isinstance(other, int):
            raise Refusal(400, {"msg": '"id" is required to disassociate' if data.get("disassociate") else '"id" field must be an integer.'})
        found = self.need(ASSOCIATIONS[kind, name], other)
        if data.get("disassociate"):
            if other in listed:
                listed.remove(other)
            return
        if name == "credentials":
            same = [one for one in listed if self.objects["credentials"][one]["credential_type"] == found["credential_type"] and one != other]
            if same:
                of = self.objects["credential_types"][found["credential_type"]]["name"]
                raise Refusal(400, {"error": f"Cannot assign multiple {of} credentials."})
        elif name == "galaxy_credentials":
            of = self.objects["credential_types"][found["credential_type"]]
            if of["kind"] != "galaxy":
                raise Refusal(400, {"msg": f"Credential must be a Galaxy credential, not {of['name']}."})
        elif name in EDGES:
            # By the same way once more changes nothing; by another one is refused.
            if any(other in self.listed(kind, number, edge) for edge in EDGES if edge != name):
                raise Refusal(400, {"Error": "Relationship not allowed."})
            if other == number or number in self.following(other):
                raise Refusal(400, {"Error": "Cycle detected."})
        if other not in listed:
            listed.append(other)

    def following(self, number):
        seen, ahead = set(), [number]
        while ahead:
            one = ahead.pop()
            for edge in EDGES:
                for after in self.listed("workflow_job_template_nodes", one, edge):
                    if after not in seen:
                        seen.add(after)
                        ahead.append(after)
        return seen

    def create_approval(self, node, data):
        name = data.get("name") or ""
        if not name:
            refuse("name", "This field may not be blank." if "name" in data else "This field is required.")
        self.last += 1
        template = {"id": self.last, "name": name, "description": data.get("description", ""), "timeout": int(data.get("timeout") or 0)}
        self.objects["workflow_approval_templates"][self.last] = template
        node["unified_job_template"] = self.last
        return template

    # ---- removing
    def delete(self, kind, found):
        if kind == "credential_types":
            if found.get("managed"):
                raise Refusal(403, {"detail": "Deletion not allowed for managed credential types"})
            if self.users_of_type(found):
                raise Refusal(403, {"detail": "Credential types that are in use cannot be deleted"})
        if kind == "projects":
            running = [u for u in self.objects["project_updates"].values() if u["project"] == found["id"] and u["status"] in ("pending", "running")]
            if running:
                jobs = [{"id": update["id"], "type": "project_update"} for update in running]
                raise Refusal(409, {"error": "Resource is being used by running jobs.", "active_jobs": jobs})
        self.remove(kind, found["id"])
        # An inventory is removed in the background.
        return 202 if kind == "inventories" else 204

    def remove(self, kind, number):
        for other, field in GOES_WITH.get(kind, []):
            for one in [one["id"] for one in self.objects[other].values() if one.get(field) == number]:
                self.remove(other, one)
        self.objects[kind].pop(number)
        self.surveys.pop(number, None)
        self.lists = {key: value for key, value in self.lists.items() if key[:2] != (kind, number)}
        for (of, _number, name), listed in self.lists.items():
            if ASSOCIATIONS[of, name] == kind and number in listed:
                listed.remove(number)
        for other, objects in self.objects.items():
            for one in objects.values():
                for field in RESOURCES.get(other, {"POST": {}})["POST"]:
                    refers = REFERS.get(field)
                    if one.get(field) == number and (refers == kind or (refers == "unified_job_templates" and kind in UNIFIED)):
                        one[field] = None

    # ---- lists
    def select(self, kind, query):
        kinds = [name for name in UNIFIED if name != "workflow_approval_templates"] if kind == "unified_job_templates" else [kind]
        shown = [self.show(one, found) for one in kinds for found in self.objects[one].values()]
        known = {"id", "type", "name"} if kind == "unified_job_templates" else set(RESOURCES.get(kind, {"GET": ["id", "username", "name"]})["GET"])
        known |= {"organization"} if kind == "unified_job_templates" else set()
        for key, value in query.items():
            if key in ("page", "page_size", "order_by"):
                continue
            field, _mark, how = key.partition("__")
            if field not in known or how not in ("", "in", "exact"):
                model = "".join(word.capitalize() for word in RESOURCES.get(kind, {"type": "unified_job_template"})["type"].split("_"))
                raise Refusal(400, {"detail": f"{model} has no field named '{field}'"})
            wanted = value.split(",") if how == "in" else [value]
            shown = [one for one in shown if str(one.get(field)) in wanted]
        return shown


class Handler(HttpHandler):
    def error_body(self, status, message):
        return {"detail": message}

    def answer(self, status, body=None, headers=()):
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("X-API-Product-Name", self.server.api.settings.product)
        self.send_header("X-API-Product-Version", self.server.api.settings.version)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def handle_request(self, body):
        body = body.decode()
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        api = self.server.api
        with api.count_lock:
            api.at_a_time += 1
            api.most_at_a_time = max(api.most_at_a_time, api.at_a_time)
        try:
            self.answer_request(api, body, url, query)
        finally:
            with api.count_lock:
                api.at_a_time -= 1

    def answer_request(self, api, body, url, query):
        with api.lock:
            try:
                if not url.path.endswith("/"):
                    api.note(self.command, self.path, 301, None)
                    self.answer(301, None, [("Location", url.path + "/" + ("?" + url.query if url.query else ""))])
                    return
                root = api.settings.prefix + "v2/"
                if not url.path.startswith(root):
                    raise Refusal(404, {"detail": "Not found."})
                parts = url.path[len(root) :].strip("/").split("/")
                data = self.parsed(body)
                answer = self.dispatch(parts, query, data)
            except Refusal as refusal:
                answer = (refusal.status, refusal.body)
            api.note(self.command, self.path, answer[0], json.loads(body) if body.startswith("{") else None)
            self.answer(*answer)

    def log_message(self, *args):
        pass

    def parsed(self, body):
        if self.command in ("GET", "DELETE") or not body:
            return {}
        try:
            data = json.loads(body)
        except ValueError as mistake:
            raise Refusal(400, {"detail": f"JSON parse error - {mistake}"}) from mistake
        if not isinstance(data, dict):
            raise Refusal(400, {"non_field_errors": [f"Invalid data. Expected a dictionary, but got {type(data).__name__}."]})
        return data

    def authenticate(self, parts):
        api = self.server.api
        kind, _space, value = (self.headers.get("Authorization") or "").partition(" ")
        if kind == "Basic":
            try:
                name, _colon, password = base64.b64decode(value, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                name = password = ""
            if api.settings.users.get(name) != password or not password:
                raise Refusal(401, {"detail": "Invalid username/password."})
            return
        if kind == "Bearer" and (value in api.store.tokens.values() or (api.settings.token and value == api.settings.token)):
            return
        raise Refusal(401, {"detail": "Authentication credentials were not provided."})

    def dispatch(self, parts, query, data):
        store = self.server.api.store
        kind = parts[0]
        if parts == ["ping"]:
            return 200, {"ha": False, "version": DATA["version"], "active_node": "awx", "instances": [], "instance_groups": []}
        self.authenticate(parts)
        if kind == "tokens":
            return self.tokens(parts, data)
        if kind not in store.objects and kind != "unified_job_templates":
            raise Refusal(404, {"detail": "Not found."})
        if len(parts) == 1:
            return self.list_or_create(kind, query, data)
        if not parts[1].isdigit():
            raise Refusal(404, {"detail": "Not found."})
        if kind in ("projects", "project_updates"):
            store.look_at_updates()
        found = store.need(kind, int(parts[1]))
        if len(parts) == 2:
            return self.one(kind, found, data)
        if len(parts) == 3:
            return self.part_of_one(kind, found, parts[2], query, data)
        raise Refusal(404, {"detail": "Not found."})

    def not_allowed(self):
        raise Refusal(405, {"detail": f'Method "{self.command}" not allowed.'})

    def tokens(self, parts, data):
        store = self.server.api.store
        if len(parts) == 1 and self.command == "POST":
            store.last += 1
            store.tokens[store.last] = uuid.uuid4().hex
            shown = {"id": store.last, "type": "o_auth2_access_token", "url": store.url("tokens", store.last), "token": store.tokens[store.last]}
            return 201, dict(shown, scope=data.get("scope", "write"), description=data.get("description", ""))
        if len(parts) == 2 and self.command == "DELETE" and parts[1].isdigit() and int(parts[1]) in store.tokens:
            store.tokens.pop(int(parts[1]))
            return (204,)
        raise Refusal(404, {"detail": "Not found."})

    def list_or_create(self, kind, query, data):
        store = self.server.api.store
        if self.command == "POST" and kind in RESOURCES:
            return 201, store.show(kind, store.create(kind, data))
        if self.command != "GET":
            self.not_allowed()
        if kind == "projects":
            store.look_at_updates()
        if kind in self.server.api.settings.hidden and self.headers.get("Authorization", "").startswith("Basic "):
            return 200, self.page([], query)
        return 200, self.page(store.select(kind, query), query)

    def page(self, found, query):
        size = min(int(query.get("page_size", 25)), 200)
        number = int(query.get("page", 1))
        following = f"{self.path.split('?')[0]}?{urllib.parse.urlencode(dict(query, page=number + 1))}" if number * size < len(found) else None
        return {"count": len(found), "next": following, "previous": None, "results": found[(number - 1) * size : number * size]}

    def one(self, kind, found, data):
        store = self.server.api.store
        if self.command == "GET":
            return 200, store.show(kind, found)
        if self.command == "PATCH" and kind in RESOURCES:
            return 200, store.show(kind, store.change(kind, found, data))
        if self.command == "PATCH" and kind == "workflow_approval_templates":
            found.update({name: data[name] for name in ("name", "description", "timeout") if name in data})
            return 200, store.show(kind, found)
        if self.command == "DELETE" and kind in RESOURCES:
            return (store.delete(kind, found),)
        return self.not_allowed()

    def part_of_one(self, kind, found, name, query, data):
        store, number = self.server.api.store, found["id"]
        if name == "survey_spec" and kind in ("job_templates", "workflow_job_templates"):
            if self.command == "GET":
                return 200, store.shown_survey(number)
            if self.command == "POST":
                store.check_survey(data)
                store.surveys[number] = data
                return (200,)
            if self.command == "DELETE":
                store.surveys.pop(number, None)
                return (200,)
            self.not_allowed()
        if name == "create_approval_template" and kind == "workflow_job_template_nodes" and self.command == "POST":
            return 201, store.show("workflow_approval_templates", store.create_approval(found, data))
        if (kind, name) in ASSOCIATIONS:
            other = ASSOCIATIONS[kind, name]
            if self.command == "GET":
                return 200, self.page([store.show(other, store.objects[other][one]) for one in store.listed(kind, number, name)], query)
            if self.command == "POST":
                store.tie(kind, number, name, data)
                return (204,)
            self.not_allowed()
        raise Refusal(404, {"detail": "Not found."})


class AwxApi:
    """AwxApi(switch=value, ...).start(): the double, in this process. `requests` has what was asked for."""

    def __init__(self, settings=None, **switches):
        self.settings = dataclasses.replace(settings or Settings(), **switches)
        self.store = Store(self.settings)
        self.lock = threading.Lock()
        self.requests = []
        self.count_lock = threading.Lock()
        self.at_a_time = self.most_at_a_time = 0
        self.http = http.server.ThreadingHTTPServer((self.settings.address, self.settings.port), Handler)
        self.http.daemon_threads = True
        self.http.api = self
        self.url = f"http://{self.settings.address}:{self.http.server_address[1]}"

    def note(self, method, path, status, body):
        self.requests.append({"method": method, "path": path, "status": status, "body": body})

    def start(self):
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self):
        self.http.shutdown()
        self.http.server_close()

    # ---- for tests
    def named(self, kind, name):
        """The stored object, secrets included."""
        return next(one for one in self.store.objects[kind].values() if one.get("name", one.get("identifier")) == name)

    def names(self, kind):
        return sorted(one.get("name") or one.get("identifier") for one in self.store.objects[kind].values() if not one.get("managed"))


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="awx_api", description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="JSON file with switches")
    options = parser.parse_args(arguments)
    api = AwxApi(Settings(**json.loads(Path(options.config).read_text(encoding="utf-8")))).start()
    print(f"listening on {api.url}", flush=True)
    until_told_to_stop()
    api.stop()


if __name__ == "__main__":
    main()
