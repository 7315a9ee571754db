"""Surveys that cannot lie: every question of awx/ says what the argument spec of its variable says, and asks for no secret."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.awx import KINDS

COLLECTION = Path(__file__).resolve().parents[2]


class Loader(yaml.CSafeLoader):
    """Ansible's !unsafe is a text."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


def load(path):
    return yaml.load((COLLECTION / path).read_text(encoding="utf-8"), Loader)


def described(kind):
    (path,) = (COLLECTION / "awx").glob(f"[0-9][0-9]_{kind}.yml")
    return load(path.relative_to(COLLECTION))["awx_" + kind]


SPECS = {
    name: (path.parent.parent.name, option)
    for path in COLLECTION.glob("roles/*/meta/argument_specs.yml")
    for name, option in load(path.relative_to(COLLECTION))["argument_specs"]["preflight"]["options"].items()
}
PLANS = "ansible_collections.sparkflows.mlops.plugins.plugin_utils"
# What the filters that judge settings are told of answers, and do check.
CHECKED = {
    name: rule
    for path in (COLLECTION / "plugins/plugin_utils").glob("*.py")
    if "answer_problems(settings, ANSWERS)" in path.read_text(encoding="utf-8")
    for name, rule in importlib.import_module(f"{PLANS}.{path.stem}").ANSWERS.items()
}
TEMPLATES = described("job_templates")
QUESTIONS = [pytest.param(template, question, id=f"{template['name'][15:]}: {question['variable']}")
             for template in TEMPLATES for question in template.get("survey", [])]  # fmt: skip
every_question = pytest.mark.parametrize(("template", "question"), QUESTIONS)
# What a survey's default is in an argument spec. AWX's answers are texts, a number's among them where a playbook is run by hand.
AS_TEXT = {True: "true", False: "false"}
TYPES = {"str": ("text", "multiplechoice"), "path": ("text",), "int": ("integer",), "bool": ("multiplechoice",), "float": ("float",)}


def words(option):
    return " ".join(option["description"]) if isinstance(option["description"], list) else option["description"]


def needed(option, template):
    """Whether the role refuses an empty value in what this template starts, as the argument spec says."""
    if option.get("required"):
        return True
    case = re.search(r"Needed for [OC]\((\w+)=(\w+)\)", words(option))
    return bool(case) and template.get("extra_vars", {}).get(case[1]) == case[2]


def bounds(option):
    found = re.search(r"\b(\d+) to (\d+)\b", words(option))
    return {"min": int(found[1]), "max": int(found[2])} if found else {}


@every_question
def test_a_question_has_what_its_argument_spec_has(template, question):
    _role, option = SPECS[question["variable"]]
    assert question["type"] in TYPES[option["type"]]
    choices = option.get("choices", ["false", "true"] if option["type"] == "bool" else None)
    assert (question["type"] == "multiplechoice") == (choices is not None)
    assert question.get("choices") == choices
    if question["type"] == "integer":
        assert bounds(option), "the argument spec says no bounds"
        assert {limit: question.get(limit) for limit in ("min", "max")} == bounds(option)


@every_question
def test_a_question_is_required_if_it_has_no_default(template, question):
    _role, option = SPECS[question["variable"]]
    assert question["required"] == needed(option, template)
    assert question["required"] == ("default" not in question)
    if question["type"] == "text":
        # An empty text is an answer for AWX, unless the question has a least length.
        assert question.get("min") == (1 if question["required"] else None)
    if not question["required"]:
        default = option["default"]
        assert question["default"] == AS_TEXT.get(default if isinstance(default, bool) else None, default)


@every_question
def test_a_role_checks_what_is_asked(template, question):
    """The bounds of the question are those of the role's own check, which no launch gets around."""
    limits = ("min", "max") if question["type"] == "integer" else ()
    assert CHECKED[question["variable"]] == {limit: question[limit] for limit in limits}


@every_question
def test_a_question_asks_for_no_secret(template, question):
    _role, option = SPECS[question["variable"]]
    assert question["type"] != "password"
    assert "A secret" not in words(option)
    assert not re.search("(password|token|secret|_key)$", question["variable"])


@every_question
def test_a_question_is_one_that_an_operator_understands(template, question):
    assert set(question) <= {"question_name", "question_description", "variable", "type", "choices", "default", "min", "max", "required"}
    assert question["question_name"].strip() and question["question_description"].strip()


def test_the_same_variable_is_asked_for_in_the_same_way():
    seen = {}
    for template in TEMPLATES:
        asked = [question["variable"] for question in template["survey"]]
        assert len(asked) == len(set(asked))
        assert not set(asked) & set(template.get("extra_vars", {}))
        for question in template["survey"]:
            # Whether it is needed may depend on the method, and with that what is said of it.
            limits = (question.get("min"), question.get("max")) if question["type"] == "integer" else ()
            seen.setdefault(question["variable"], []).append((question["type"], question.get("choices"), limits))
    assert all(len(set(map(str, ways))) == 1 for ways in seen.values()), seen


def test_extra_vars_are_variables_of_roles():
    for template in TEMPLATES:
        for name, value in template.get("extra_vars", {}).items():
            assert value in SPECS[name][1].get("choices", [value])


def test_secrets_come_from_credentials():
    """Each credential type hands over variables of roles, and the secret fields become the secret variables."""
    for kind in described("credential_types"):
        fields = {field["id"]: field for field in kind["inputs"]["fields"]}
        assert sorted(kind["inputs"]["required"]) == sorted(fields), "an empty answer would go before the inventory"
        assert set(kind["injectors"]) == {"extra_vars"}
        handed_over = {}
        for variable, template in kind["injectors"]["extra_vars"].items():
            field = re.fullmatch(r"{{ (\w+) }}", template)[1]
            handed_over[field] = variable
            assert ("A secret" in words(SPECS[variable][1])) == bool(fields[field].get("secret")), variable
        assert set(handed_over) == set(fields)


def test_every_secret_of_a_site_comes_from_a_credential():
    """Those that are set for a site; others have these as their defaults, or are said at each login of a list, which the vault has."""
    secrets = {name for name, (role, option) in SPECS.items() if role in ("topology", "scorer") and "A secret" in words(option)}
    handed_over = {variable: kind["name"] for kind in described("credential_types") for variable in kind["injectors"]["extra_vars"]}
    assert secrets <= set(handed_over)
    # Each is of use in a job: a credential of the type is tied to a template.
    tied = {key for template in TEMPLATES for key in template["credentials"]}
    assert {credential["key"] for credential in described("credentials")} == tied


# A type that is in use cannot be changed: whoever changes fields or injectors gives the type a new name (awx/20_credential_types.yml), also here.
DIGESTS = {
    "{{ awx_name }} MLflow login": "1cdd656c61ea01c7",
    "{{ awx_name }} S3 keys": "3bb78ef331c666ce",
    "{{ awx_name }} Spark secret": "8af6e2400a8ea3d4",
    "{{ awx_name }} Sparkflows login": "4f2302f555e9cc9b",
    "{{ awx_name }} Sparkflows token": "a3ab2b0f0b9acccb",
    "{{ awx_name }} database password": "f52b1f65e60c9d32",
    "{{ awx_name }} scorer registry": "62e4818b88248ce7",
    "{{ awx_name }} served models login": "df532082e418cff7",
}


def test_a_credential_type_is_changed_under_a_new_name_only():
    for kind in described("credential_types"):
        content = json.dumps([kind["kind"], kind["inputs"], kind["injectors"]], sort_keys=True)
        assert hashlib.sha256(content.encode()).hexdigest()[:16] == DIGESTS.get(kind["name"]), f"{kind['name']} has changed: it needs a new name"


def test_credentials_fit_their_types_and_templates():
    types = {kind["name"]: kind for kind in described("credential_types")}
    credentials = {credential["key"]: credential for credential in described("credentials")}
    for credential in credentials.values():
        if credential["credential_type"] in types:
            kind = types[credential["credential_type"]]
            assert set(credential["inputs"]) == {field["id"] for field in kind["inputs"]["fields"]} and "optional" not in credential
            # The same variable on the command line as in AWX.
            for variable, template in kind["injectors"]["extra_vars"].items():
                assert credential["inputs"][template.strip("{} ")] == "{{ " + variable + " | default('') }}"
    for template in TEMPLATES:
        assert set(template["credentials"]) <= set(credentials)
        assert "machine" in template["credentials"]
        used = [credentials[key]["credential_type"] for key in template["credentials"]]
        assert len(used) == len(set(used)), "AWX takes one of a type"


def test_every_description_can_be_applied():
    """References name what is described, names are there once, playbooks exist."""
    allowed = {kind: one.fields for kind, one in KINDS.items()}
    assert list(allowed) == [path.stem.split("_", 1)[1] for path in sorted((COLLECTION / "awx").glob("*.yml"))]
    kinds = {kind: described(kind) for kind in allowed}
    names = {kind: [item.get("name", item.get("identifier")) for item in items] for kind, items in kinds.items()}
    for kind, items in kinds.items():
        assert len(names[kind]) == len(set(names[kind])), kind
        assert all(set(item) <= {*allowed[kind], "state"} for item in items), kind
        # Two installations on one AWX differ in awx_name and awx_organization only.
        if kind != "workflow_job_template_nodes":
            assert all(re.match(r"{{ awx_(name|organization) }}", name) for name in names[kind])
    for template in TEMPLATES:
        assert (COLLECTION / template["playbook"]).exists()
    # What a step starts is looked up among all that can be started.
    startable = [name for kind in ("projects", "inventory_sources", "job_templates", "workflow_job_templates") for name in names[kind]]
    steps = {(node["workflow_job_template"], node["identifier"]) for node in kinds["workflow_job_template_nodes"]}
    for node in kinds["workflow_job_template_nodes"]:
        assert node["workflow_job_template"] in names["workflow_job_templates"]
        assert ("unified_job_template" in node) != ("approval_node" in node)
        if "unified_job_template" in node:
            assert startable.count(node["unified_job_template"]) == 1
            (template,) = (template for template in TEMPLATES if template["name"] == node["unified_job_template"])
            assert not [question for question in template["survey"] if question["required"]], "nobody would answer it in a workflow"
        for edge in ("success_nodes", "failure_nodes", "always_nodes"):
            assert all((node["workflow_job_template"], after) in steps for after in node.get(edge, []))


@pytest.mark.parametrize(("workflow", "order", "unless"), [
    ("roll out", [("site", {"job_type": "check"}), None, ("site", {}), ("verify", {})], {}),
    ("upgrade and prove", [("upgrade", {"extra_data": {"upgrade_only_rehearse": "true"}}), None, ("upgrade", {}), ("verify", {})], {3: "roll back"}),
])  # fmt: skip
def test_a_workflow_asks_before_it_changes_anything(workflow, order, unless):
    nodes = {node["identifier"]: node for node in described("workflow_job_template_nodes") if node["workflow_job_template"].endswith(f" {workflow}")}
    after = [name for node in nodes.values() for edge in ("success_nodes", "failure_nodes") for name in node.get(edge, [])]
    (name,) = set(nodes) - set(after)
    for number, step in enumerate(order):
        node = nodes.pop(name)
        if step:
            assert node["unified_job_template"] == f"{{{{ awx_name }}}} {step[0]}"
            assert {key: node[key] for key in ("job_type", "extra_data") if key in node} == step[1]
        else:
            assert "approval_node" in node
        failed = [nodes.pop(failure)["unified_job_template"] for failure in node.get("failure_nodes", [])]
        assert failed == [f"{{{{ awx_name }}}} {unless[number]}"] if number in unless else not failed
        (name,) = node.get("success_nodes", [None])
    assert name is None and not nodes
