"""The surveys of templates."""

from __future__ import annotations

import copy

from .kinds import ENCRYPTED
from .refusals import Refusal

SURVEY_TYPES = ("text", "textarea", "password", "multiplechoice", "multiselect", "integer", "float")


def check_survey(spec):
    """Refusal 400 if a body (dict with name, description and the questions as spec) is not a survey."""

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


def shown_survey(store, number):
    """The survey (dict) of a template, by its id, without secrets; {} if it has none."""
    spec = copy.deepcopy(store.surveys.get(number, {}))
    for question in spec.get("spec", []):
        if question["type"] == "password" and question.get("default"):
            question["default"] = ENCRYPTED
    return spec
