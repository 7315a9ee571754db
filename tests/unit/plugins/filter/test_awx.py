# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import textwrap

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.awx import (
    KINDS,
    NEXT,
    awx_collection_problems,
    censored,
    credential_type_problems,
    key_of,
    options_of,
)
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.private_keys import private_key_problem
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

FILTERS = FilterModule().filters()


def text_of(key, form, cipher=None):
    return key.private_bytes(forms.Encoding.PEM, form, cipher or forms.NoEncryption()).decode()


ED25519, P256 = ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
SECRET = forms.BestAvailableEncryption(b"open sesame")
OPENSSH = text_of(ED25519, forms.PrivateFormat.OpenSSH)
KEYS = {
    "OpenSSH": OPENSSH,
    "OpenSSH ecdsa": text_of(P256, forms.PrivateFormat.OpenSSH),
    "PKCS#8": text_of(P256, forms.PrivateFormat.PKCS8),
    "traditional": text_of(P256, forms.PrivateFormat.TraditionalOpenSSL),
}
ENCRYPTED = {
    "PKCS#8": text_of(P256, forms.PrivateFormat.PKCS8, SECRET),
    "traditional": text_of(P256, forms.PrivateFormat.TraditionalOpenSSL, SECRET),
}


@pytest.fixture(name="encrypted", scope="module")
def fixture_encrypted(tmp_path_factory):
    """An encrypted OpenSSH key, which the library writes with bcrypt only: by the program that everybody uses."""
    path = tmp_path_factory.mktemp("key") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "open sesame", "-C", "", "-f", path], check=True)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", KEYS)
def test_good_keys(kind):
    assert private_key_problem(KEYS[kind]) == ""
    # A block of YAML may lose the last line end, and gain empty lines.
    assert private_key_problem("\n" + KEYS[kind].strip()) == private_key_problem(KEYS[kind] + "\n\n") == ""


def test_good_keys_with_a_passphrase(encrypted):
    for key in (encrypted, *ENCRYPTED.values()):
        assert private_key_problem(key, "open sesame") == ""
        assert private_key_problem(key) == "has a passphrase, which is not given"
    for key in ENCRYPTED.values():
        assert private_key_problem(key, "wrong") == "is damaged, or the passphrase is a wrong one"


@pytest.mark.parametrize(("key", "words"), [
    (" ".join(OPENSSH.split("\n")), "is on one line: its line ends are lost"),
    (OPENSSH.replace("\n", "\\n"), "is on one line: its line ends are lost"),
    (OPENSSH.replace("\n", "\r\n"), "has the line ends of Windows"),
    (OPENSSH[:150], "is cut off"),
    (OPENSSH.replace("-----END", "----END"), "is cut off or its lines are broken"),
    (OPENSSH.replace("OPENSSH PRIVATE KEY-----\n", "OPENSSH PRIVATE KEY----- ", 1), "is cut off or its lines are broken"),
    ("key: " + OPENSSH, "does not begin with -----BEGIN"),
    ("\n".join(line for number, line in enumerate(OPENSSH.splitlines()) if number != 2), "is damaged"),
    (OPENSSH.replace("b3BlbnNz", "b3Bl*nNz"), "is no base64"),
    ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ operator@example", "is no private key, but a public key"),
    ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "is no private key, but a public key or a certificate"),
    ("/home/me/.ssh/id_ed25519", "is a path"), ("id_rsa.pem", "is a path"),
    ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "PuTTY"),
    ("not a key at all", "does not begin with -----BEGIN"), ("x" * 300, "does not begin with -----BEGIN"),
])  # fmt: skip
def test_bad_keys(key, words):
    problem = private_key_problem(key)
    assert words in problem
    assert censored(problem, [line for line in key.splitlines() if "-----" not in line]) == problem, "the problem repeats the key"


def test_a_passphrase_without_need():
    assert private_key_problem(OPENSSH, "x") == "has no passphrase, but one is given"


def test_a_secret_of_which_a_part_is_repeated():
    answer = f"{{'inputs': {{'ssh_key_data': ['Invalid certificate or key: {OPENSSH[:100]!r}...']}}}}"
    shown = censored(answer, [OPENSSH])
    assert "Invalid certificate or key" in shown and "ssh_key_data" in shown
    assert all(OPENSSH[at : at + 12].replace("\n", "") not in shown for at in range(40, 88))
    assert censored("a secret, and: secret", ["secret"]) == "a ********, and: ********"
    assert censored("nothing of it", ["another secret", ""]) == "nothing of it"
    # A word that a password begins with is no secret.
    assert censored("https://sparkflows.example.com", ["sparkflows!2024"]) == "https://sparkflows.example.com"
    assert censored("refused: sparkflows!2...", ["sparkflows!2024"]) == "refused: ********..."


FIELDS = [{"id": "key", "type": "string", "label": "Key", "secret": True}, {"id": "b", "label": "B"}]
KIND = {"name": "S3 keys", "kind": "cloud", "description": "d", "injectors": {"extra_vars": {"k": "{{ key }}"}},
        "inputs": {"fields": FIELDS, "required": ["key", "b"]}}  # fmt: skip


@pytest.mark.parametrize(("difference", "words"), [
    ({}, None), ({"name": "other", "injectors": {}}, None), ({"description": "another"}, None),
    ({"inputs": {"fields": [{"id": "b", "label": "B", "type": "string"}, KIND["inputs"]["fields"][0]], "required": ["b", "key"]}}, None),
    ({"inputs": {"fields": KIND["inputs"]["fields"][:1], "required": ["key", "b"]}}, "S3 keys (other fields)"),
    ({"inputs": dict(KIND["inputs"], required=["key"])}, "S3 keys (other required)"),
    ({"injectors": {"env": {"K": "{{ key }}"}}}, "S3 keys (other injectors)"), ({"kind": "net"}, "S3 keys (other kind)"),
    ({"inputs": {}, "injectors": {}}, "S3 keys (other fields, required, injectors)"),
])  # fmt: skip
def test_types_of_the_same_name(difference, words):
    assert credential_type_problems([KIND], [dict(KIND, **difference)]) == ([words] if words else [])


def test_a_block_of_yaml_is_a_good_key():
    """What docs/awx.md shows: the key as a block in the secrets file."""
    yaml = pytest.importorskip("yaml")
    block = "awx_machine_key: |\n" + textwrap.indent(OPENSSH, "  ")
    assert private_key_problem(yaml.safe_load(block)["awx_machine_key"]) == ""
    folded = block.replace("|", ">")
    assert "is on one line" in private_key_problem(yaml.safe_load(folded)["awx_machine_key"])


AWX, CERTIFIED = "awx.awx", "ansible.controller"


@pytest.mark.parametrize(("collection", "versions", "path", "words"), [
    (AWX, {AWX: "23.9.0", CERTIFIED: None}, "/api", ()),
    (AWX, {AWX: "24.5.0", CERTIFIED: None}, "/api/controller", ()),
    (AWX, {AWX: "*", CERTIFIED: None}, "/api/controller", ()),
    (CERTIFIED, {AWX: "24.6.1", CERTIFIED: "4.10.0"}, "/api/controller", ()),
    (AWX, {AWX: None, CERTIFIED: None}, "/api", ("awx.awx (awx_collection) is not installed", "install awx.awx", "ansible.controller from")),
    (CERTIFIED, {AWX: None, CERTIFIED: None}, "/api", ("ansible.controller (awx_collection) is not installed", "from Automation Hub")),
    (CERTIFIED, {AWX: "24.6.1", CERTIFIED: None}, "/api", ("from Automation Hub", "; or set awx_collection to what is installed, awx.awx 24.6.1.")),
    (AWX, {AWX: None, CERTIFIED: "4.6.20"}, "/api", ("; or set awx_collection to what is installed, ansible.controller 4.6.20.",)),
    (AWX, {AWX: "23.9.0", CERTIFIED: None}, "/api/controller", ("awx.awx 23.9.0", "awx_api_path /api/controller needs 24.5.0 or newer")),
    (CERTIFIED, {AWX: None, CERTIFIED: "4.5.5"}, "/api/controller", ("ansible.controller 4.5.5", "needs 4.6.0 or newer")),
])  # fmt: skip
def test_the_collection_is_there_and_can(collection, versions, path, words):
    problems = awx_collection_problems(collection, versions, path)
    assert len(problems) == bool(words)
    assert all(word in problems[0] for word in words), problems


# ---- the plan
NAME = "Sparkflows MLOps"
SETTINGS = {
    "awx_api_path": "/api", "awx_collection": AWX, "awx_credential_keys": ["machine", "mlflow"], "awx_credentials_in_use": ["machine", "mlflow"],
    "awx_execution_environment_image": "ee:1", "awx_host": "https://awx", "awx_inventory_path": "hosts.yml", "awx_machine_username": "ansible",
    "awx_name": NAME, "awx_organization": NAME, "awx_password": "", "awx_project_timeout": 600, "awx_request_timeout": "30",
    "awx_rotate_credentials": [], "awx_scm_url": "https://git", "awx_state": "present", "awx_token": "t", "awx_username": "",
}  # fmt: skip
DESCRIBED = {
    "organizations": [{"name": NAME, "description": "d", "galaxy_credentials": []}],
    "credential_types": [KIND],
    "credentials": [
        {"key": "machine", "name": "machine", "credential_type": "Machine", "inputs": {"username": "a", "vault_id": ""}, "optional": ["vault_id"]},
        {"key": "mlflow", "name": "login", "credential_type": "MLflow", "inputs": {"username": "a", "password": "b"}},
    ],
    "execution_environments": [{"name": NAME, "image": "ee:1"}],
    "projects": [{"name": NAME, "scm_url": "https://git"}],
    "inventories": [{"name": NAME}],
    "inventory_sources": [{"name": "hosts", "inventory": NAME, "source_project": NAME, "source_path": "hosts.yml"}],
    "job_templates": [{"name": "site", "playbook": "site.yml", "credentials": ["machine", "s3"], "survey": [{"variable": "x"}]}],
    "workflow_job_templates": [{"name": "roll out"}],
    "workflow_job_template_nodes": [
        {"identifier": "site", "workflow_job_template": "roll out", "unified_job_template": "site"},
        {"identifier": "approve", "workflow_job_template": "roll out", "approval_node": {"name": "go on?"}, "success_nodes": ["site"]},
    ],
}  # fmt: skip
NOTHING = dict.fromkeys(KINDS, ())


def planned(answers=(), check_mode=False, described=(), **settings):
    return FILTERS["awx_plan"]({**DESCRIBED, **dict(described)}, {**NOTHING, **dict(answers)}, {**SETTINGS, **settings}, check_mode)


def problems(described=(), **settings):
    return FILTERS["awx_problems"]({**SETTINGS, **settings}, {**DESCRIBED, **dict(described)}, {AWX: "24.6.1", CERTIFIED: None})


def there(name, organization=NAME, **more):
    return {"id": 7, "name": name, "summary_fields": {"organization": {"name": organization}, **more}}


def test_an_empty_awx_gets_everything_in_order():
    plan = planned()
    assert plan["problems"] == [] and plan["replaced"] == []
    assert plan["new"][0] == f"organizations: {NAME}" and "workflow_job_template_nodes: roll out/approve" in plan["new"] and len(plan["new"]) == 12
    assert list(plan["objects"]) == FILTERS["awx_kinds"]("present") == list(KINDS)
    steps = plan["objects"]["workflow_job_template_nodes"]
    # All steps, then what follows each.
    assert [("success_nodes" in step["options"], step["label"]) for step in steps] == [
        (False, "roll out/site"), (False, "roll out/approve"), (True, "roll out/site"), (True, "roll out/approve")]  # fmt: skip
    template = plan["objects"]["job_templates"][0]["options"]
    # Of its credentials those that are in use, by their names.
    assert template["credentials"] == ["machine"] and template["survey_enabled"] and template["survey_spec"]["spec"] == [{"variable": "x"}]
    assert template["organization"] == template["project"] == NAME
    assert all(one["options"]["state"] == "present" for kind in plan["objects"].values() for one in kind if "success_nodes" not in one["options"])


def test_no_secret_is_in_a_plan():
    plan = planned(described={"credentials": [dict(DESCRIBED["credentials"][1], inputs={"username": "a", "password": "canary-11"})]})
    assert plan["objects"]["credentials"][0]["inputs"] == "mlflow" and "canary-11" not in repr(plan)


def test_in_check_mode_only_what_is_there_is_compared():
    plan = planned({"organizations": [there(NAME)]}, check_mode=True)
    assert [kind for kind, calls in plan["objects"].items() if calls] == ["organizations"]
    # What it is, others have said.
    assert "description" not in plan["objects"]["organizations"][0]["options"] and len(plan["new"]) == 11


def shown(kind, item):
    """As AWX shows it once it is made."""
    above = {name: {"name": item[name]} for name in ("inventory", "workflow_job_template", "credential_type") if name in item}
    return {**item, "id": 7, "summary_fields": {"organization": {"name": NAME}, **above}}


EVERY = [(kind, item) for kind, items in DESCRIBED.items() for item in items]


@given(st.sets(st.integers(0, len(EVERY) - 1)), st.booleans(), st.sampled_from(["present", "absent"]))
def test_whatever_awx_has_a_plan_makes_the_rest(there_already, check_mode, state):
    answers = {kind: [shown(kind, item) for number, (of, item) in enumerate(EVERY) if of == kind and number in there_already] for kind in KINDS}
    plan = planned(answers, check_mode, awx_state=state)
    calls = [(kind, call["label"]) for kind, kind_calls in plan["objects"].items() for call in kind_calls if "success_nodes" not in call["options"]]
    known = [(kind, key_of(kind, item)) for number, (kind, item) in enumerate(EVERY) if number in there_already]
    assert plan["problems"] == []
    assert len(plan["new"]) + len(known) == len(EVERY) and not {f"{kind}: {key}" for kind, key in known} & set(plan["new"])
    assert calls == (known if check_mode or state == "absent" else [(kind, key_of(kind, item)) for kind, item in EVERY])
    ties = [call["label"] for call in plan["objects"]["workflow_job_template_nodes"] if "success_nodes" in call["options"]]
    assert ties == ([key for kind, key in calls if kind == "workflow_job_template_nodes"] if state == "present" else [])


def test_what_is_removed_may_be_gone():
    source = there("hosts", inventory={"name": NAME})
    plan = planned({"job_templates": [there("site")], "inventory_sources": [source]}, awx_state="absent")
    assert {kind: [(one["label"], one["options"]["state"]) for one in calls] for kind, calls in plan["objects"].items() if calls} == {
        "job_templates": [("site", "absent")], "inventory_sources": [(f"{NAME}/hosts", "absent")]}  # fmt: skip
    assert FILTERS["awx_kinds"]("absent") == [
        "workflow_job_templates", "job_templates", "inventories", "projects", "execution_environments", "credentials"]  # fmt: skip
    one = planned({"projects": [there(NAME)]}, described={"projects": [dict(DESCRIBED["projects"][0], state="absent")]})
    assert one["objects"]["projects"][0]["options"]["state"] == "absent" and f"projects: {NAME}" not in one["new"]


def test_names_of_another_organization_stand_in_the_way():
    plan = planned({"projects": [there(NAME, "other")], "inventories": [{"name": NAME, "id": 1, "summary_fields": {}}]})
    assert len(plan["problems"]) == 1
    assert f"projects {NAME} (other), inventories {NAME} (no organization). It finds many things by name alone" in plan["problems"][0]


def test_credentials_of_another_type_are_replaced_on_request():
    found = {"credentials": [there("login", credential_type={"name": "Old"})]}
    assert "login (mlflow) is of the type Old, not MLflow" in planned(found)["problems"][0]
    plan = planned(found, awx_rotate_credentials=["mlflow"])
    assert plan["problems"] == [] and [(one["name"], one["type"]) for one in plan["replaced"]] == [("login", "Old")]
    assert "credentials: login" in plan["new"] and plan["objects"]["credentials"][1]["options"]["update_secrets"]


def test_a_new_credential_needs_its_secrets():
    empty = {"credentials": [dict(DESCRIBED["credentials"][1], inputs={"username": "a", "password": ""})]}
    (problem,) = planned(described=empty)["problems"]
    assert problem.startswith("login (mlflow) needs password. Set the variables") and problem.endswith("leave its key out of awx_credentials_in_use.")
    kept = planned({"credentials": [there("login", credential_type={"name": "MLflow"})]}, described=empty)
    assert kept["problems"] == [] and kept["objects"]["credentials"][0]["inputs"] == ""
    assert planned(described=empty, awx_state="absent")["problems"] == []


@pytest.mark.parametrize(("settings", "words"), [
    ({}, None), ({"awx_host": ""}, "awx_host is empty"), ({"awx_api_path": "/api/"}, "awx_api_path is /api/: set it to /api"),
    ({"awx_token": ""}, "There is no login for AWX"), ({"awx_token": "", "awx_username": "a", "awx_password": "b"}, None),
    ({"awx_name": " "}, "awx_name is empty"), ({"awx_execution_environment_image": ""}, "awx_execution_environment_image is empty"),
    ({"awx_execution_environment_image": "", "awx_state": "absent"}, None), ({"awx_state": "gone"}, "awx_state is gone"),
    ({"awx_request_timeout": 0}, "awx_request_timeout is 0: set it to a number from 1 to 3600."),
    ({"awx_project_timeout": "7201"}, "awx_project_timeout is 7201: set it to a number from 1 to 7200."),
    ({"awx_credentials_in_use": "machine"}, "awx_credentials_in_use is a text"),
    ({"awx_request_timeout": "soon"}, "awx_request_timeout is soon: set it to a number from 1 to 3600."),
    ({"awx_rotate_credentials": ["s4"]}, "awx_rotate_credentials names s4: there are machine, mlflow."),
    ({"awx_credentials_in_use": ["machine", 5]}, "awx_credentials_in_use names 5: there are machine, mlflow."),
])  # fmt: skip
def test_settings(settings, words):
    found = problems(**settings)
    assert [words in problem for problem in found] == ([True] if words else [])


@pytest.mark.parametrize(("described", "words"), [
    ({"projects": [{"name": "a", "scm_url": "u", "pull": 1}]}, "awx_projects: a has pull: there are name, description"),
    ({"inventories": [{"name": "a"}, {"name": "a"}]}, "awx_inventories has a name twice: a, a."),
    ({"inventory_sources": [dict(DESCRIBED["inventory_sources"][0], inventory=name) for name in ("a", "b")]}, None),
    ({"credentials": [dict(DESCRIBED["credentials"][0], inputs={"ssh_key_data": "ssh-ed25519 AAAA"})]}, "is no private key, but a public key"),
    ({"execution_environments": [{"name": "a"}]}, "awx_execution_environments: a has no image."),
    ({"workflow_job_template_nodes": [{"identifier": "a"}]}, "awx_workflow_job_template_nodes: an entry has no workflow_job_template."),
    ({"credentials": [{"key": "machine", "credential_type": "Machine"}]}, "awx_credentials: an entry has no name, inputs."),
    ({"job_templates": [{"name": 5, "playbook": "p"}, {"name": 5, "playbook": "q"}]}, "awx_job_templates has a name twice: 5, 5."),
])  # fmt: skip
def test_descriptions(described, words):
    found = problems(described)
    assert [words in problem for problem in found] == ([True] if words else [])


# Every object has these; which credential it is, and its secrets, are no options; what follows a step is said in a call of its own.
OTHERWISE = {"name", "identifier", "description", "organization", "key", "optional", *NEXT}


@pytest.mark.parametrize(("kind", "field"), [
    (kind, field) for kind, (_module, fields, *_more) in KINDS.items() for field in fields
    if field not in OTHERWISE and (kind, field) != ("credentials", "inputs")])  # fmt: skip
def test_whatever_may_be_said_is_handed_over(kind, field):
    (item, *_others) = DESCRIBED[kind]
    value = ["mlflow"] if field == "credentials" else f"canary-{field}"
    site = {**SETTINGS, "credential_names": {"mlflow": "canary-credentials"}}
    assert f"canary-{field}" in repr(options_of(kind, {**item, field: value}, site))
