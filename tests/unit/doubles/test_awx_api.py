"""The double of AWX's API gives the answers that AWX was seen to give (recorded_answers.json)."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from pathlib import Path

import awx_api
import pytest

RECORDED = json.loads(Path(awx_api.__file__).with_name("recorded_answers.json").read_text(encoding="utf-8"))
QUESTION = {"question_name": "Q", "variable": "v", "type": "text", "required": True, "default": "x"}


class Client:
    def __init__(self, api, token="long-lived"):
        self.api, self.token = api, token

    def __call__(self, request, body=None, headers=None):
        """(status, JSON of the answer); redirects are not followed."""
        method, path = request.split(" ", 1)
        headers = {"Authorization": "Bearer " + self.token, "Content-Type": "application/json"} if headers is None else headers
        call = urllib.request.Request(
            self.api.url + "/api/v2/" + path, method=method, headers=headers, data=None if body is None else json.dumps(body).encode()
        )

        class Stay(urllib.request.HTTPRedirectHandler):
            def redirect_request(self, *_):
                return None

        try:
            with urllib.request.build_opener(Stay).open(call, timeout=10) as answer:
                text, status = answer.read(), answer.status
        except urllib.error.HTTPError as error:
            text, status = error.read(), error.code
        return status, json.loads(text) if text else None


@pytest.fixture(name="api")
def fixture_api():
    api = awx_api.AwxApi(token="long-lived", playbooks=["site.yml"], folders={"dir": ["site.yml"], "dir2": [], "dir3": []}).start()
    yield api
    api.stop()


@pytest.fixture(name="client")
def fixture_client(api):
    return Client(api)


@pytest.fixture(name="recorded")
def fixture_recorded(api, client):
    """The objects that the recorded requests were made among, with their ids."""

    def make(number, path, /, **body):
        api.store.last = number - 1
        status, answer = client(f"POST {path}/", body)
        assert status == 201, answer
        assert answer["id"] == number
        return answer

    make(1, "organizations", name="Default")
    make(3, "organizations", name="org")
    make(2, "inventories", name="inv", organization=3)
    fields = [{"id": "api_url", "type": "string", "label": "API URL"}, {"id": "api_token", "type": "string", "label": "API token", "secret": True}]
    make(31, "credential_types", name="ctype", kind="cloud", inputs={"fields": fields, "required": ["api_url"]},
         injectors={"env": {"LAB_API_TOKEN": "{{ api_token }}"}})  # fmt: skip
    make(3, "credentials", name="cred", organization=3, credential_type=31, inputs={})
    make(4, "credentials", name="cred2", organization=3, credential_type=31, inputs={"api_url": "u", "api_token": "t"})
    make(10, "projects", name="manual", organization=3, scm_type="", local_path="dir")
    for number, name, override in ((11, "git", True), (36, "never", False)):
        api.settings.update_looks = 1000
        make(number, "projects", name=name, organization=3, scm_type="git", scm_url="https://git.example.com/x.git", allow_override=override)
    make(13, "job_templates", name="jt", inventory=2, project=10, playbook="site.yml", ask_limit_on_launch=True, survey_enabled=True)
    make(14, "job_templates", name="jt2", inventory=2, project=10, playbook="site.yml")
    questions = [
        dict(QUESTION, variable="release", default="1"),
        dict(QUESTION, variable="ring", type="multiplechoice", choices=["a", "b"], default="a"),
    ]
    assert client("POST job_templates/13/survey_spec/", {"name": "", "description": "", "spec": questions})[0] == 200
    assert client("POST job_templates/13/credentials/", {"id": 3})[0] == 204
    make(15, "workflow_job_templates", name="wf", organization=3)
    make(1, "workflow_job_template_nodes", workflow_job_template=15, unified_job_template=14, identifier="second")
    make(2, "workflow_job_template_nodes", workflow_job_template=15, unified_job_template=13, identifier="first")
    assert client("POST workflow_job_template_nodes/2/success_nodes/", {"id": 1})[0] == 204
    api.store.last = 1000
    return client


@pytest.mark.parametrize("row", RECORDED, ids=lambda row: row["request"])
def test_answers_as_recorded(recorded, row):
    status, answer = recorded(row["request"], row.get("body"))
    assert status == row["status"], answer
    if "answer" in row:
        assert answer == row["answer"]
    for name, value in row.get("stored", {}).items():
        assert answer.get(name) == value
    if status == 201 and "stored" not in row:
        for name, value in row["body"].items():
            assert answer.get(name) == value or name == "inputs", name  # secrets among them are not shown


def test_every_kind_has_recorded_answers():
    assert {row["request"].split(" ")[1].split("/")[0] for row in RECORDED} == set(awx_api.server.RESOURCES)


def test_who_is_let_in(api, client):
    def basic(password):
        return {"Authorization": "Basic " + base64.b64encode(b"admin:" + password).decode(), "Content-Type": "application/json"}

    assert client("GET organizations/", headers={}) == (401, {"detail": "Authentication credentials were not provided."})
    assert client("GET organizations/", headers=basic(b"wrong")) == (401, {"detail": "Invalid username/password."})
    assert client("GET ping/", headers={})[0] == 200
    assert client("GET organizations")[0] == 301
    status, made = client("POST tokens/", {"scope": "write"}, headers=basic(b"password"))
    assert status == 201
    bearer = Client(api, made["token"])
    assert bearer("GET organizations/")[0] == 200
    assert client(f"DELETE tokens/{made['id']}/", headers=basic(b"password"))[0] == 204
    assert bearer("GET organizations/")[0] == 401


def test_secrets_are_not_shown_and_stay(api, recorded):
    assert recorded("GET credentials/4/")[1]["inputs"] == {"api_url": "u", "api_token": "$encrypted$"}
    assert recorded("PATCH credentials/4/", {"inputs": {"api_url": "v", "api_token": "$encrypted$"}})[0] == 200
    assert api.named("credentials", "cred2")["inputs"] == {"api_url": "v", "api_token": "t"}
    question = dict(QUESTION, type="password")
    assert recorded("POST job_templates/14/survey_spec/", {"name": "", "description": "", "spec": [question]})[0] == 200
    assert recorded("GET job_templates/14/survey_spec/")[1]["spec"][0]["default"] == "$encrypted$"


def test_a_project_has_its_playbooks_after_an_update(api, recorded):
    api.settings.update_looks = 2
    status, project = recorded("POST projects/", {"name": "p", "organization": 3, "scm_type": "git", "scm_url": "https://git.example.com/y.git"})
    template = {"name": "x", "inventory": 2, "project": project["id"], "playbook": "site.yml"}
    assert project["summary_fields"]["current_update"]["status"] == "pending"
    assert recorded(f"DELETE projects/{project['id']}/")[0] == 409
    assert recorded("POST job_templates/", template) == (400, {"playbook": ["Playbook not found for project."]})
    assert recorded("GET projects/?name=p")[1]["results"][0]["status"] == "successful"
    assert recorded("POST job_templates/", template)[0] == 201
    # The update starts anew with what it depends on, and with nothing else.
    assert recorded(f"PATCH projects/{project['id']}/", {"description": "d"})[1]["status"] == "successful"
    assert recorded(f"PATCH projects/{project['id']}/", {"scm_branch": "b"})[1]["status"] == "pending"


def test_what_is_removed_with_an_object(api, recorded):
    assert recorded("DELETE inventories/2/")[0] == 202
    assert api.named("job_templates", "jt")["inventory"] is None
    assert recorded("DELETE workflow_job_templates/15/")[0] == 204
    assert api.names("workflow_job_template_nodes") == []
    assert recorded("DELETE credentials/3/")[0] == 204
    assert recorded("GET job_templates/13/credentials/")[1]["count"] == 0
    assert recorded("DELETE organizations/3/")[0] == 204
    assert api.names("projects") == []


def test_filters_and_pages(recorded):
    assert recorded("GET job_templates/?name__in=jt,jt2&page_size=1")[1]["count"] == 2
    assert recorded("GET job_templates/?name__in=jt,jt2&page_size=1&page=2")[1]["results"][0]["name"] == "jt2"
    assert recorded("GET unified_job_templates/?name=wf")[1]["results"][0]["type"] == "workflow_job_template"
    assert recorded("GET workflow_job_template_nodes/?identifier=first&workflow_job_template=15")[1]["count"] == 1
