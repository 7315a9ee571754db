"""Credential types: the fields of their credentials, and the templates that hand them on."""

from __future__ import annotations

import re

import jinja2
import jinja2.sandbox
import jsonschema

from .refusals import Refusal, refuse

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


def schema_problems(schema, value):
    """What is wrong with a value by a JSON schema (dict): list of str, in AWX's words."""
    problems = []
    for error in sorted(jsonschema.Draft4Validator(schema).iter_errors(value), key=lambda e: list(map(str, e.path))):
        message = error.message
        if error.validator == "type" and error.path:
            message = f"{type(error.instance).__name__} provided in relative path {list(error.path)}, expected {error.validator_value}"
        elif error.validator == "additionalProperties":
            message = f"Schema validation error in relative path {list(error.path)} ({error.message})"
        problems.append(message)
    return problems


def check_credential_types(store, new, data, found):
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
    problems = schema_problems(INJECTORS_SCHEMA, new["injectors"]) or injector_problems(new)
    if problems:
        raise Refusal(400, {"injectors": problems})
    if found and new["inputs"] != found["inputs"] and users_of_type(store, found):
        raise Refusal(403, {"detail": "Modifications to inputs are not allowed for credential types that are in use"})


def injector_problems(new):
    """What is wrong with the injectors (list of str). Every template of them is rendered with something in each field."""

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


def users_of_type(store, found):
    """The credentials (list of dict) of a credential type (dict)."""
    return [credential for credential in store.objects["credentials"].values() if credential["credential_type"] == found["id"]]


def secret_fields(store, number):
    """The names (set of str) of the inputs that a credential type, by its id, keeps secret."""
    return {field["id"] for field in store.objects["credential_types"][number]["inputs"].get("fields", []) if field.get("secret")}
