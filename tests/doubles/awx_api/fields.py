"""The rules for single fields: type, length, bounds, choices, and that what an id refers to is there."""

from __future__ import annotations

import copy
import json

import yaml

from .kinds import REFERS, RESOURCES
from .refusals import refuse


def clean(store, kind, data, found):
    """What is to be stored (dict) of a body `data` (dict), of a new object if `found` is None. Unknown keys are dropped; Refusal 400."""
    cleaned = {}
    for name, rules in RESOURCES[kind]["POST"].items():
        if name not in data:
            if rules.get("required") and found is None:
                refuse(name, "This field is required.")
            if found is None:
                default = copy.deepcopy(rules.get("default", None if rules["type"] in ("id", "integer") else ""))
                cleaned[name] = default
            continue
        cleaned[name] = clean_value(store, kind, name, rules, data[name])
    return cleaned


def clean_value(store, kind, name, rules, value):
    if kind == "inventories" and name == "kind" and value is None:
        return ""
    if value is None and (rules["type"] == "id" or rules.get("default", "") is None or None in rules.get("choices", [])):
        if rules.get("required"):
            refuse(name, "This field may not be null.")
        return None
    if value is None:
        refuse(name, "This field may not be null.")
    return CLEAN[rules["type"]](store, name, rules, value)


def clean_string(_store, name, rules, value):
    if isinstance(value, (bool, dict, list)):
        refuse(name, "Not a valid string.")
    value = str(value).strip()
    if not value and rules.get("required"):
        refuse(name, "This field may not be blank.")
    if len(value) > rules.get("max_length", len(value)):
        refuse(name, f"Ensure this field has no more than {rules['max_length']} characters.")
    return value


def clean_id(store, name, rules, value):
    if value == "":
        return None
    try:
        number = None if isinstance(value, bool) else int(value)
    except (TypeError, ValueError):
        number = None
    if number is None:
        refuse(name, f"Incorrect type. Expected pk value, received {type(value).__name__}.")
    if store.find(REFERS[name], number) is None:
        refuse(name, f'Invalid pk "{number}" - object does not exist.')
    return number


def clean_integer(store, name, rules, value):
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
    if name in REFERS and store.find(REFERS[name], number) is None:
        refuse(name, f'Invalid pk "{number}" - object does not exist.')
    return number


def clean_boolean(_store, name, rules, value):
    if value in (True, "true", "True", "1", 1):
        return True
    if value in (False, "false", "False", "0", 0):
        return False
    refuse(name, "Must be a valid boolean.")


def clean_choice(_store, name, rules, value):
    if rules["choices"] == ["net", "cloud"]:  # has words of its own, see credential_types.py
        return value
    for choice in rules["choices"]:
        if choice is not None and str(choice) == str(value):
            return choice
    refuse(name, f'"{value}" is not a valid choice.')


def clean_json(_store, name, rules, value):
    if isinstance(rules["default"], str):  # extra_vars and variables: a text of JSON or YAML
        parse_variables(name, value)
    elif not isinstance(value, dict):
        refuse(name, f"Expected a dictionary, received {type(value).__name__}.")
    return value


CLEAN = {
    "string": clean_string, "id": clean_id, "integer": clean_integer,
    "boolean": clean_boolean, "choice": clean_choice, "json": clean_json,
}  # fmt: skip


def parse_variables(field, value):
    """A text of variables, JSON or YAML, that must be a dictionary: what is in it (dict), or Refusal 400."""
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
