"""playbooks/awx.yml against a double of AWX's API in this process: create, repeat, change, rotate, remove, and every refusal. Without a lab."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import ansible_collections
import pytest
import yaml
from awx_api import AwxApi
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from generations import environment as environment_of
from playbook_run import PROGRAMS, PROJECT, run

PLAYBOOKS = sorted(f"playbooks/{path.name}" for path in (PROJECT / "playbooks").glob("*.yml"))
TEMPLATES = yaml.safe_load((PROJECT / "awx/70_job_templates.yml").read_text(encoding="utf-8"))["awx_job_templates"]
WITH_S3 = [template for template in TEMPLATES if "s3" in template["credentials"]]
KEY = ed25519.Ed25519PrivateKey.generate().private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()).decode()  # fmt: skip
CANARIES = {
    "awx_machine_key": KEY,
    "mlops_sparkflows_token": "canary-sparkflows-token-3b7e",
    "mlops_mlflow_password": "canary-mlflow-password-3b7e",
    "mlops_s3_access_key": "CANARYACCESSKEY3B7E",
    "mlops_s3_secret_key": "canary/s3+secret=key-3b7e",
}
SETTINGS = {
    "awx_execution_environment_image": "registry.example.com/ee/mlops:1.0",
    "awx_credentials_in_use": ["machine", "sparkflows", "mlflow", "s3"],
    "awx_galaxy_credentials": ["Ansible Galaxy"],
    "mlops_mlflow_username": "sparkflows",
}
TOKEN = "canary-awx-token-3b7e"
PASSWORD = "canary-awx-password-3b7e"
# What PyPI's `ansible` brings. Up to 13 (ansible-core 2.20), awx.awx is in it.
INSTALLED = next(Path(path) for path in ansible_collections.__path__ if (Path(path) / "community/general").is_dir())


@pytest.fixture(name="modules", scope="session")
def fixture_modules(tmp_path_factory):
    """A place of collections in which awx.awx is."""
    own = INSTALLED / "awx/awx"
    source = own if own.is_dir() else next(environment_of("2.20").glob("lib/python*/site-packages/ansible_collections/awx/awx"))
    folder = tmp_path_factory.mktemp("awx")
    (folder / "ansible_collections/awx").mkdir(parents=True)
    (folder / "ansible_collections/awx/awx").symlink_to(source)
    return folder


class Awx:
    """Runs the playbook, as often as one likes, against one double."""

    def __init__(self, modules, **switches):
        self.modules = modules
        self.api = AwxApi(**{"users": {"admin": PASSWORD}, "token": TOKEN, "playbooks": PLAYBOOKS, **switches}).start()
        self.requests = []

    def run(self, *arguments, environment=None, **variables):
        """The number of changes, None for a run that failed. What was said is in `output`, what was asked for in `requests`."""
        before = len(self.api.requests)
        variables = {**SETTINGS, **CANARIES, **variables}
        environment = {"CONTROLLER_OAUTH_TOKEN": TOKEN} if environment is None else environment
        done = run(PROGRAMS / "ansible-playbook", "-i", "localhost,", "playbooks/awx.yml", "-e", json.dumps(variables), *arguments,
                   CONTROLLER_HOST=self.api.url, **{"ANSIBLE_COLLECTIONS_PATH": f"{PROJECT}/collections:{self.modules}", **environment})  # fmt: skip
        self.output, self.text = done.output, done.text
        self.requests = self.api.requests[before:]
        warnings = re.findall(r"\[(?:WARNING|DEPRECATION WARNING)\]:? (.*)", self.output)
        # Of a credential whose secrets are written the module says so.
        assert all("has encrypted data" in warning and variables.get("awx_rotate_credentials") for warning in warnings), self.output
        for secret in [*CANARIES.values(), *(line[:20] for line in KEY.splitlines()[1:-1]), TOKEN, PASSWORD]:
            assert secret not in self.output
        if done.returncode:
            return None
        items = [line for line in self.output.splitlines() if line.startswith("changed: ")]
        return len(items)

    @property
    def written(self):
        """What was sent to be kept: method and path, without the tokens of the modules."""
        return [f"{request['method']} {request['path'].partition('/v2/')[2]}" for request in self.requests
                if request["method"] != "GET" and "/tokens/" not in request["path"]]  # fmt: skip

    def only(self, *kinds, **variables):
        """A run for some kinds: the others are known to stay as they are."""
        return self.run("-e", json.dumps({"_awx_order": kinds}), **variables)

    def stored(self, kind, name):
        return self.api.named(kind, "Sparkflows MLOps" + (" " + name if name else ""))

    def tied(self, kind, found, name):
        return list(self.api.store.listed(kind, found["id"], name))


@pytest.fixture(name="awx", scope="module")
def fixture_awx(modules):
    awx = Awx(modules, update_looks=2)
    yield awx
    awx.api.stop()


@pytest.fixture(name="fresh")
def fixture_fresh(modules):
    awx = Awx(modules)
    yield awx
    awx.api.stop()


@pytest.fixture(name="data")
def fixture_data(tmp_path):
    """A copy of awx/, to be changed."""
    return Path(shutil.copytree(PROJECT / "awx", tmp_path / "awx"))


def replace(path, *pairs):
    text = path.read_text(encoding="utf-8")
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")


# ---- from an empty AWX to a finished one, in this order
def test_check_mode_on_an_empty_awx_names_what_would_be_made(awx):
    assert awx.run("--check", "--diff") == 1, awx.output
    assert awx.written == []
    for made in ("organizations: Sparkflows MLOps", "job_templates: Sparkflows MLOps site", "nodes: Sparkflows MLOps roll out/approve"):
        assert made in awx.text


def test_the_first_run_makes_everything(awx):
    """With user name and password: each module call makes a token, and gives it back."""
    login = {"CONTROLLER_USERNAME": "admin", "CONTROLLER_PASSWORD": PASSWORD}
    assert awx.run("-vvv", "--diff", environment=login) > 20, awx.output
    assert not [request for request in awx.requests if request["status"] >= 400]
    assert awx.api.store.tokens == {}
    # A refused or reordered request would have stopped the run; this is about not asking for two things at once.
    assert awx.api.most_at_a_time == 1
    api = awx.api
    assert api.names("organizations") == api.names("projects") == api.names("inventories") == ["Sparkflows MLOps"]
    assert len(api.names("job_templates")) == len(TEMPLATES)
    assert awx.tied("organizations", awx.stored("organizations", ""), "galaxy_credentials") == [api.named("credentials", "Ansible Galaxy")["id"]]
    assert awx.stored("credentials", "Sparkflows token")["inputs"] == {"token": CANARIES["mlops_sparkflows_token"]}
    assert awx.stored("credentials", "MLflow login")["inputs"] == {"username": "sparkflows", "password": CANARIES["mlops_mlflow_password"]}
    assert "Sparkflows MLOps scorer registry" not in api.names("credentials")
    assert awx.stored("credentials", "machine")["inputs"] == {"username": "ansible", "ssh_key_data": KEY}
    injectors = awx.stored("credential_types", "MLflow login")["injectors"]
    assert injectors == {"extra_vars": {"mlops_mlflow_username": "{{ username }}", "mlops_mlflow_password": "{{ password }}"}}
    assert awx.stored("inventories", "")["kind"] == ""
    assert awx.stored("projects", "")["status"] == "successful"


def test_job_templates_have_survey_and_credentials(awx):
    template = awx.stored("job_templates", "score offline with a registered model")
    assert json.loads(template["extra_vars"]) == {"score_offline_method": "registered_model"}
    assert template["ask_job_type_on_launch"] and template["survey_enabled"]
    spec = awx.api.store.surveys[template["id"]]["spec"]
    assert [question["variable"] for question in spec if question["required"]] == [
        "score_offline_model_name", "score_offline_input", "score_offline_output",
    ]  # fmt: skip
    names = {one["id"]: one["name"] for one in awx.api.store.objects["credentials"].values()}
    assert [names[one] for one in awx.tied("job_templates", template, "credentials")] == [
        "Sparkflows MLOps machine", "Sparkflows MLOps MLflow login", "Sparkflows MLOps S3 keys",
    ]  # fmt: skip


def test_workflows_have_their_steps_and_their_order(awx):
    nodes = {node["identifier"]: node for node in awx.api.store.objects["workflow_job_template_nodes"].values()}
    names = {node["id"]: name for name, node in nodes.items()}

    def following(edge):
        tied = {name: awx.tied("workflow_job_template_nodes", node, edge) for name, node in nodes.items()}
        return {name: [names[one] for one in after] for name, after in tied.items() if after}

    assert following("success_nodes") == {
        "check": ["approve"], "approve": ["site"], "site": ["verify"],
        "rehearse": ["approve_upgrade"], "approve_upgrade": ["upgrade"], "upgrade": ["prove"],
    }  # fmt: skip
    assert following("failure_nodes") == {"prove": ["roll_back"]}
    site = awx.stored("job_templates", "site")["id"]
    assert (nodes["check"]["unified_job_template"], nodes["check"]["job_type"], nodes["check"]["diff_mode"]) == (site, "check", True)
    assert (nodes["site"]["unified_job_template"], nodes["site"]["job_type"]) == (site, None)
    assert (nodes["rehearse"]["extra_data"], nodes["upgrade"]["extra_data"]) == ({"upgrade_only_rehearse": "true"}, {})
    for name in ("approve", "approve_upgrade"):
        approval = awx.api.store.objects["workflow_approval_templates"][nodes[name]["unified_job_template"]]
        assert approval["timeout"] == 86400


def test_the_second_run_changes_nothing(awx):
    assert awx.run() == 0, awx.output
    assert awx.written == []


def test_check_mode_on_a_finished_awx_changes_nothing(awx):
    assert awx.run("--check", "--diff") == 0, awx.output
    assert awx.written == []


def test_secrets_need_not_be_given_again(awx):
    """Neither an empty secret nor a new one is written, also where the input that is no secret differs."""
    gone = dict.fromkeys(CANARIES, "")
    assert awx.only("credentials", **gone, mlops_mlflow_username="other") == 0, awx.output
    assert awx.only("credentials", mlops_sparkflows_token="renewed") == 0, awx.output
    assert awx.stored("credentials", "Sparkflows token")["inputs"] == {"token": CANARIES["mlops_sparkflows_token"]}
    assert awx.stored("credentials", "MLflow login")["inputs"]["password"] == CANARIES["mlops_mlflow_password"]


def test_what_is_no_secret_is_changed_with_all_inputs(awx):
    assert awx.only("credentials", mlops_mlflow_username="other") == 1, awx.output
    assert awx.stored("credentials", "MLflow login")["inputs"] == {"username": "other", "password": CANARIES["mlops_mlflow_password"]}
    assert awx.only("credentials") == 1


def test_changes_are_made_and_only_these(awx, data):
    replace(data / "70_job_templates.yml", ("max: 60\n", "max: 90\n"), ("Proves that all of it works, and changes nothing", "Another text"))
    replace(data / "90_workflow_job_template_nodes.yml", ("success_nodes: [verify]", "success_nodes: []"))
    replace(data / "50_projects.yml", ("scm_clean: true", "scm_clean: false"))
    settings = {"awx_data_dir": str(data), "awx_scm_branch": "stable", "awx_credentials_in_use": ["machine", "sparkflows", "mlflow"]}
    # The project, the templates that had the S3 keys, one step.
    assert awx.run(**settings) == 1 + len(WITH_S3) + 1, awx.output
    verify = awx.stored("job_templates", "verify")
    assert awx.api.store.surveys[verify["id"]]["spec"][1]["max"] == 90
    assert verify["description"] == "Another text"
    assert awx.stored("projects", "")["scm_branch"] == "stable"
    methods = {written.split()[0] for written in awx.written}
    assert methods == {"PATCH", "POST"}
    assert [written for written in awx.written if "survey" in written] == [f"POST job_templates/{verify['id']}/survey_spec/"]
    assert awx.only("projects", "job_templates", "workflow_job_template_nodes", **settings) == 0, awx.output
    assert awx.written == []


def test_a_secret_is_rotated_when_asked_to(awx):
    assert awx.only("credentials", mlops_sparkflows_token="renewed", awx_rotate_credentials=["sparkflows"]) == 1, awx.output
    assert awx.stored("credentials", "Sparkflows token")["inputs"] == {"token": "renewed"}
    assert len(awx.written) == 1


def test_rotation_wants_the_new_secret(awx):
    assert awx.run(mlops_sparkflows_token="", awx_rotate_credentials=["sparkflows"]) is None
    assert "Sparkflows MLOps Sparkflows token (sparkflows) needs token" in awx.text
    assert awx.stored("credentials", "Sparkflows token")["inputs"] == {"token": "renewed"}


def test_an_entry_with_state_absent_is_removed(awx, data):
    """And the template that was changed before is as it was again."""
    text = "playbook: playbooks/serve_models.yml"
    replace(data / "70_job_templates.yml", (text, text + "\n    state: absent"))
    for changes in (2, 0):
        assert awx.only("job_templates", awx_data_dir=str(data), awx_credentials_in_use=["machine", "sparkflows", "mlflow"]) == changes, awx.output
    assert "Sparkflows MLOps serve models" not in awx.api.names("job_templates")


def test_a_template_is_added_by_adding_data(awx, data):
    with (data / "70_job_templates.yml").open("a", encoding="utf-8") as handle:
        handle.write('\n  - name: "{{ awx_name }} preflight"\n    playbook: playbooks/preflight.yml\n    credentials: [machine]\n')
    # The new one, the one that was removed, and the others that have the S3 keys again.
    for changes in (1 + len(WITH_S3), 0):
        assert awx.only("job_templates", awx_data_dir=str(data)) == changes, awx.output
    added = awx.stored("job_templates", "preflight")
    assert not added["survey_enabled"]
    assert awx.api.store.surveys.get(added["id"]) is None


def test_everything_is_removed_but_what_may_be_others(awx):
    """The template of the test before is no longer described, and stays."""
    awx.api.store.remove("job_templates", awx.stored("job_templates", "preflight")["id"])
    assert awx.run(awx_state="absent") > 8, awx.output
    for kind in ("credentials", "execution_environments", "projects", "inventories", "inventory_sources", "job_templates", "workflow_job_templates",
                 "workflow_job_template_nodes"):  # fmt: skip
        assert awx.api.names(kind) == [], kind
    assert awx.api.names("organizations") == ["Sparkflows MLOps"]
    assert "Sparkflows MLOps MLflow login" in awx.api.names("credential_types")
    assert awx.run(awx_state="absent") == 0, awx.output
    assert awx.written == []


# ---- refusals, each before anything is changed
@pytest.mark.parametrize(("variables", "words"), [
    ({"awx_execution_environment_image": ""}, "awx_execution_environment_image is empty"),
    ({"awx_host": ""}, "awx_host is empty"),
    ({"awx_token": ""}, "There is no login for AWX: set awx_token, or awx_username and awx_password"),
    ({"awx_token": "wrong"}, "Authentication credentials were not provided. (Address and login are set by awx_host"),
    ({"awx_host": "http://127.0.0.1:9"}, "http://127.0.0.1:9/api does not give what is asked for"),
    ({"awx_api_path": "api/v2/"}, "awx_api_path is api/v2/: set it to /api, or behind the gateway of AAP to /api/controller"),
    ({"awx_project_timeout": "0"}, "awx_project_timeout is 0: set it to a number from 1 to 7200"),
    ({"awx_state": "gone"}, "value of awx_state must be one of: present, absent"),
    ({"awx_credentials_in_use": ["machine", "s4"]}, "awx_credentials_in_use names s4: there are machine, vault, sparkflows, mlflow, s3, "),
    ({"mlops_s3_secret_key": ""}, "Sparkflows MLOps S3 keys (s3) needs secret_key. Set the variables that awx/30_credentials.yml reads"),
    ({"awx_machine_key": ""}, "Sparkflows MLOps machine (machine) needs ssh_key_data"),
    ({"awx_machine_key": KEY.replace("\n", " ")}, "MLOps machine (awx_machine_key, awx_machine_key_passphrase) is on one line"),
    ({"awx_machine_key_passphrase": "x"}, "has no passphrase, but one is given"),
])  # fmt: skip
def test_refusals(fresh, variables, words):
    assert fresh.run(**variables) is None
    assert words in fresh.text
    assert fresh.written == []


def test_a_misspelt_key_is_refused(fresh, data):
    replace(data / "40_execution_environments.yml", ("pull: missing", "pulls: missing"))
    assert fresh.run(awx_data_dir=str(data)) is None
    assert "awx_execution_environments: Sparkflows MLOps has pulls: there are name, description, organization, image, pull" in fresh.text


# ---- which collection's modules are used
# What ansible.controller 4.6 to 4.8 have otherwise than awx.awx 24.6.1, as far as it concerns what is used of them.
CERTIFIED = {
    "awx.awx": "ansible.controller",
    '_COLLECTION_VERSION = "24.6.1"': '_COLLECTION_VERSION = "4.6.20"',
    '_COLLECTION_TYPE = "awx"': '_COLLECTION_TYPE = "controller"',
    "controller_oauthtoken=dict(": "aap_token=dict(",
    "aliases=['tower_oauthtoken']": "aliases=['controller_oauthtoken']",
    "self.params.get('controller_oauthtoken')": "self.params.get('aap_token')",
}


@pytest.fixture(name="collections")
def fixture_collections(tmp_path):
    """All collections of the environment but awx.awx, for runs that find these only."""
    for source in [PROJECT, *INSTALLED.glob("*/*")]:
        name = "sparkflows/mlops" if source == PROJECT else source.relative_to(INSTALLED)
        if str(name) != "awx/awx" and source.is_dir():
            target = tmp_path / "ansible_collections" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source)
    return tmp_path / "ansible_collections"


@pytest.fixture(name="certified")
def fixture_certified(collections, modules):
    """With them a look-alike of Red Hat's ansible.controller, which cannot be had here: the files of awx.awx under that name."""
    look_alike = collections / "ansible/controller"
    shutil.copytree(modules / "ansible_collections/awx/awx", look_alike, ignore=shutil.ignore_patterns("test", "images"))
    for path in [*look_alike.rglob("*.py"), look_alike / "meta/runtime.yml"]:
        text = path.read_text(encoding="utf-8")
        for old, new in CERTIFIED.items():
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
    manifest = json.loads((look_alike / "MANIFEST.json").read_text(encoding="utf-8"))
    manifest["collection_info"].update(namespace="ansible", name="controller", version="4.6.20")
    (look_alike / "MANIFEST.json").write_text(json.dumps(manifest), encoding="utf-8")
    return collections


@pytest.fixture(name="aap")
def fixture_aap(modules):
    """A controller behind AAP's gateway. A module of awx.awx would warn of it, and a warning fails a run."""
    awx = Awx(modules, prefix="/api/controller/", product="Red Hat Ansible Automation Platform", version="4.6.20")
    yield awx
    awx.api.stop()


def only_there(collections):
    return {"CONTROLLER_OAUTH_TOKEN": TOKEN, "ANSIBLE_COLLECTIONS_PATH": str(collections.parent), "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false"}


def test_without_the_modules_it_says_what_to_install(fresh, collections):
    assert fresh.run(environment=only_there(collections)) is None
    assert "The collection awx.awx (awx_collection) is not installed: ansible-galaxy collection install awx.awx, or with" in fresh.text
    assert fresh.requests == []


def test_with_ansible_controller_alone_everything_is_made(aap, certified):
    """All kinds; nothing of awx.awx can be used, because it is not there."""
    assert aap.run("-vvv", environment=only_there(certified), awx_api_path="/api/controller") > 20, aap.output
    used = set(re.findall(r"Using module file (\S+)/ansible_collections/(?:ansible/controller|awx/awx)/plugins/modules/(\w+).py", aap.output))
    assert {name for _folder, name in used} == {
        "organization", "credential_type", "credential", "execution_environment", "project", "inventory", "inventory_source", "job_template",
        "workflow_job_template", "workflow_job_template_node"}  # fmt: skip
    assert {folder for folder, _name in used} == {str(certified.parent)}
    assert len(aap.api.names("job_templates")) == len(TEMPLATES)
    assert not [request for request in aap.requests if request["status"] >= 400]


def test_where_both_are_ansible_controller_is_used_or_the_one_that_is_named(fresh, aap, certified, modules):
    (certified / "awx").mkdir()
    (certified / "awx/awx").symlink_to(modules / "ansible_collections/awx/awx")
    assert aap.only("organizations", environment=only_there(certified), awx_api_path="/api/controller") == 1, aap.output
    assert fresh.only("organizations", environment=only_there(certified), awx_collection="awx.awx") == 1, fresh.output


def test_names_that_somebody_else_has_are_refused(fresh):
    other = fresh.api.store.create("organizations", {"name": "other"})
    fresh.api.store.create("inventories", {"name": "Sparkflows MLOps", "organization": other["id"]})
    assert fresh.run() is None
    assert "AWX has the same names elsewhere: inventories Sparkflows MLOps (other). It finds many things by name alone" in fresh.text
    assert fresh.written == []


@pytest.mark.parametrize(("switches", "words"), [
    ({"update_result": "failed"}, "The update of the project Sparkflows MLOps ended as failed."),
    ({"update_looks": 1000}, "is running after 1 seconds (awx_project_timeout)"),
])  # fmt: skip
def test_a_project_without_files_is_waited_for_with_a_bound(modules, switches, words):
    awx = Awx(modules, **switches)
    try:
        order = ("organizations", "execution_environments", "projects")
        assert awx.only(*order, awx_project_timeout=1, **{"_awx_project_interval": 1}) is None
        assert words in awx.text
        assert len([request for request in awx.requests if "projects/?name=" in request["path"]]) < 5
    finally:
        awx.api.stop()


# ---- what others have, and what is only seen in part
OTHER_TYPE = {"name": "Sparkflows MLOps S3 keys", "kind": "cloud", "injectors": {"env": {"KEY": "{{ access_key }}"}},
              "inputs": {"fields": [{"id": "access_key", "label": "Key", "type": "string", "secret": True}]}}  # fmt: skip


def test_a_credential_type_of_somebody_else_is_left_alone(fresh):
    """Whether it is in use or not: neither is it overwritten, nor does the run fail in the middle."""
    before = dict(fresh.api.store.create("credential_types", OTHER_TYPE))
    assert fresh.run() is None
    assert "that are not what awx/20_credential_types.yml describes: Sparkflows MLOps S3 keys (other fields, required, injectors)" in fresh.text
    assert fresh.written == []
    assert fresh.api.named("credential_types", OTHER_TYPE["name"]) == before


def test_an_organization_that_is_there_keeps_its_description(fresh):
    fresh.api.store.create("organizations", {"name": "Data science", "description": "Of the data scientists"})
    assert fresh.only("organizations", awx_organization="Data science") == 1, fresh.output
    assert fresh.api.named("organizations", "Data science")["description"] == "Of the data scientists"
    assert fresh.only("organizations") == 1, fresh.output
    assert fresh.stored("organizations", "")["description"] == "Model serving with Sparkflows and MLflow"


def test_a_refusal_of_awx_does_not_repeat_the_key(fresh, data):
    """The check before looks at the inputs that are keys. A type may have one of another name."""
    machine = fresh.api.store.objects["credential_types"][1]
    fields = [dict(field, format="ssh_private_key") if field["id"] == "password" else field for field in machine["inputs"]["fields"]]
    machine["inputs"] = dict(machine["inputs"], fields=fields)
    replace(data / "30_credentials.yml", ("ssh_key_data:", "password:"))
    assert fresh.only("organizations", "credential_types", "credentials", awx_data_dir=str(data), awx_machine_key=KEY[:150]) is None
    assert "AWX did not take the credential Sparkflows MLOps machine: Unable to create credential" in fresh.text
    assert "Invalid certificate or key: ********" in fresh.text


def test_a_new_version_of_a_credential_type(fresh, data):
    """Fields of a type in use cannot be changed; the way that the messages tell leads to a new one."""
    order = ("organizations", "execution_environments", "projects", "inventories", "credential_types", "credentials", "job_templates")
    assert fresh.only(*order) is not None, fresh.output
    before, after = "      required: [username, password", "]\n    injectors:\n      extra_vars:\n        mlops_mlflow"
    replace(data / "20_credential_types.yml", (before + after, "        - {id: realm, type: string, label: Realm}\n" + before + ", realm" + after))
    replace(data / "30_credentials.yml", ("mlops_mlflow_password | default('') }}\"", "mlops_mlflow_password | default('') }}\"\n      realm: here"))
    settings = {"awx_data_dir": str(data)}
    assert fresh.run(**settings) is None
    assert "Sparkflows MLOps MLflow login (other fields, required)" in fresh.text and fresh.written == []
    replace(data / "20_credential_types.yml", ('"{{ awx_name }} MLflow login"', '"{{ awx_name }} MLflow login 2"'))
    replace(data / "30_credentials.yml", ('credential_type: "{{ awx_name }} MLflow login"', 'credential_type: "{{ awx_name }} MLflow login 2"'))
    assert fresh.run(**settings) is None
    assert "(mlflow) is of the type Sparkflows MLOps MLflow login, not Sparkflows MLOps MLflow login 2. Name them in awx_rotate" in fresh.text
    assert fresh.written == []
    settings["awx_rotate_credentials"] = ["mlflow"]
    assert fresh.run("--check", **settings) is not None, fresh.output
    assert fresh.written == [] and "credentials: Sparkflows MLOps MLflow login" in fresh.text
    assert fresh.only(*order, **settings) is not None, fresh.output
    assert fresh.stored("credentials", "MLflow login")["inputs"]["realm"] == "here"
    # The templates that had the former one have the new one.
    credential = fresh.stored("credentials", "MLflow login")
    assert credential["credential_type"] == fresh.stored("credential_types", "MLflow login 2")["id"]
    assert credential["id"] in fresh.tied("job_templates", fresh.stored("job_templates", "site"), "credentials")
    del settings["awx_rotate_credentials"]
    assert fresh.only(*order, **settings) == 0, fresh.output
    assert fresh.written == []


def test_credentials_of_each_type_have_what_was_typed(fresh):
    """Texts that YAML would take for something else, as an operator's file has them."""
    keys = ["vault", "sparkflows_login", "database", "spark", "serving", "scorer_registry"]
    typed = {
        "awx_vault_password": "007", "awx_vault_id": "dev", "mlops_sparkflows_username": "yes", "mlops_sparkflows_password": "0123",
        "mlops_database_password": "null", "mlops_spark_secret": "1e3", "mlops_serving_username": "2024-01-01", "mlops_serving_password": "a: b",
        "scorer_registry_username": "on", "scorer_registry_password": "~"}  # fmt: skip
    kinds = ("organizations", "credential_types", "credentials")
    assert fresh.only(*kinds, awx_credentials_in_use=keys, **typed) == 1 + 8 + 6, fresh.output
    names = ("vault", "Sparkflows login", "database password", "Spark secret", "served models login", "scorer registry")
    stored = [value for name in names for value in fresh.stored("credentials", name)["inputs"].values()]
    assert sorted(stored) == sorted(typed.values())


def test_logins_from_elsewhere_do_not_count(fresh, tmp_path):
    """Not those of the environment, of tower_cli.cfg and of .netrc."""
    (tmp_path / ".tower_cli.cfg").write_text("[general]\noauth_token = of-somebody-else\nusername = somebody\n")
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password of-somebody-else\n")
    elsewhere = {"HOME": str(tmp_path), "TOWER_OAUTH_TOKEN": "of-somebody-else", "CONTROLLER_OPTIONAL_API_URLPATTERN_PREFIX": "/api/other/"}
    by_name = {"CONTROLLER_USERNAME": "admin", "CONTROLLER_PASSWORD": PASSWORD, "CONTROLLER_OAUTH_TOKEN": "of-somebody-else"}
    for login in ({"CONTROLLER_OAUTH_TOKEN": TOKEN}, by_name):
        variables = {"awx_token": ""} if "CONTROLLER_USERNAME" in login else {}
        assert fresh.only("organizations", environment={**elsewhere, **login}, **variables) is not None, fresh.output
        assert not [request for request in fresh.requests if request["status"] >= 400]


def test_a_slash_at_the_end_of_the_host(fresh):
    assert fresh.only("organizations", awx_host=fresh.api.url + "/") == 1, fresh.output


def test_behind_the_gateway_of_aap(modules):
    """Nothing is asked for elsewhere, neither by the role's own requests nor by the modules, which get and give back a token there."""
    awx = Awx(modules, prefix="/api/controller/")
    try:
        kinds = ("organizations", "execution_environments", "projects")
        login = {"CONTROLLER_USERNAME": "admin", "CONTROLLER_PASSWORD": PASSWORD}
        assert awx.only("organizations", environment=login) is None
        assert f"{awx.api.url}/api does not give what is asked for" in awx.text and "awx_api_path" in awx.text
        for changes in (3, 0):
            assert awx.only(*kinds, environment=login, awx_api_path="/api/controller") == changes, awx.output
            assert {request["path"][:19] for request in awx.requests} == {"/api/controller/v2/"}
        assert awx.api.store.tokens == {}
    finally:
        awx.api.stop()


def test_a_project_that_cannot_be_seen_is_not_waited_for(modules):
    awx = Awx(modules, hidden=["projects"])
    try:
        login = {"CONTROLLER_USERNAME": "admin", "CONTROLLER_PASSWORD": PASSWORD}
        assert awx.only("organizations", "execution_environments", "projects", environment=login) is None
        assert "AWX does not show the project to the user of awx_username" in awx.text
        assert len([request for request in awx.requests if "projects/?name=" in request["path"]]) <= 3
    finally:
        awx.api.stop()
