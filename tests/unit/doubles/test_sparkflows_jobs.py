"""Workflows and models of the double of the Sparkflows server, over real HTTP and as the vendor's own clients ask."""

import csv
import io
import time
import zipfile
from pathlib import Path

import pytest
import requests

WORKFLOWS = {"7": {"name": "Score", "intercept": 1.0, "weights": {"x": 2.0}, "logistic": False, "seconds": 0.1}, "9": {"hangs": True}}
MODELS = [{"id": 12, "name": "churn", "uuid": "7f1c", "files": {"a/b": "1"}}]


@pytest.fixture
def started(double, tmp_path):
    server, client = double(workflows=WORKFLOWS, models=MODELS, workflow_log_dir=str(tmp_path / "logs"))
    headers = {"token": server.token("test")}

    def ask(method, path, **more):
        return client(method, path, headers=dict(headers, **more.pop("headers", {})), **more)

    return server, ask


def wait(ask, number):
    seen = []
    while not seen or seen[-1] in ("PENDING", "STARTING", "RUNNING"):
        seen.append(ask("GET", f"/api/v1/workflow-executions/{number}/status").text)
        time.sleep(0.02)
    return seen


def test_workflow_from_start_to_results(started, tmp_path):
    _server, ask = started
    (tmp_path / "in.csv").write_text("x,y\n1,a\n2.5,b\n")
    parameters = f"--var input={tmp_path}/in.csv --var output={tmp_path}/out.csv"
    answer = ask("POST", "/api/v1/workflow/execute", json={"workflowId": 7, "programParameters": parameters})
    assert (answer.status_code, answer.text) == (200, "162")
    assert wait(ask, 162)[-1] == "COMPLETED"
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [row["prediction"] for row in rows] == ["3.0", "6.0"] and rows[0]["y"] == "a"
    facts = ask("GET", "/api/v1/workflowExecution/162").json()
    assert set(facts) == {
        "id", "analysisFlowId", "projectId", "status", "name", "logs", "fireJobId", "applicationId", "startTime", "endTime"
    }  # fmt: skip
    assert facts["status"] == 2 and facts["endTime"] >= facts["startTime"] and "Scored 2 rows" in Path(facts["logs"]).read_text()
    assert ask("GET", "/api/v1/last/workflow-execution/7").json() == facts
    assert ask("GET", "/api/v1/update-status-workflow-execution/162").json()["status"] == 2
    for path in ("/viewExecutionResult/162/0", "/api/v1/execution-results/workflow-executions/162/resultType/2"):
        assert [one["result"] for one in ask("GET", path).json()] == [
            '{"x": "1", "y": "a", "prediction": "3.0"}',
            '{"x": "2.5", "y": "b", "prediction": "6.0"}',
        ]


def test_other_call_and_bad_parameters(started):
    _server, ask = started
    path = "/api/v1/create/workflowexecution/7"
    assert ask("POST", path, json={"userName": "nobody", "workflowParameters": ""}).status_code == 400
    assert ask("POST", path, json={"userName": "admin", "workflowParameters": "input=/x"}).text == "162"
    assert wait(ask, 162)[-1] == "FAILED"
    log = Path(ask("GET", "/api/v1/workflowExecution/162").json()["logs"]).read_text()
    assert "cannot understand the parameters: input=/x" in log


@pytest.mark.parametrize("verb, end", [("stop", "STOPPED"), ("kill", "KILLED")])
def test_what_never_ends_can_be_ended(started, verb, end):
    _server, ask = started
    ask("POST", "/api/v1/workflow/execute", json={"workflowId": 9})
    answer = ask("POST", f"/api/v1/workflow-execution/162/{verb}")
    assert answer.status_code == 200 and (verb == "kill" or answer.json()["status"] == "ok")
    assert wait(ask, 162)[-1] == end


def test_strangers_and_users_without_the_permission(started):
    server, ask = started
    assert requests.get(server.url + "/api/v1/workflowExecution/1", allow_redirects=False, timeout=5).status_code == 302
    server.settings.users["test"]["permissions"] = []
    assert ask("POST", "/api/v1/workflow/execute", json={"workflowId": 7}).status_code == 403
    assert ask("POST", "/api/v1/workflow-execution/162/stop").status_code == 403 and not server.executions
    for path in ("/api/v1/workflow-executions/162/status", "/api/v1/workflows/id/5", "/api/v1/mlmodel/OutputModelsById/5"):
        assert ask("GET", path).status_code == 404


def test_models(started):
    server, ask = started
    shown = ask("GET", "/api/v1/mlmodel/outputModel").json()
    assert shown == ask("GET", "/api/v1/mlmodel/OutputModels").json() == ask("GET", "/api/v1/mlmodel/OutputModelsById/12").json()
    assert shown[0] == ask("GET", "/api/v1/mlmodel/outputModelByModelUuid/7f1c").json() and "files" not in shown[0]
    path = "/api/v1/mlmodel/outputModel/12/download/"
    answer = ask("GET", path + "zip")
    assert zipfile.ZipFile(io.BytesIO(answer.content)).read("a/b") == b"1" and "attachment" in answer.headers["Content-Disposition"]
    assert ask("GET", path + "rar").status_code == 400
    assert ask("GET", path + "zip", headers={"Accept": "application/json"}).status_code == 406
    server.settings.truncate_download = True
    with pytest.raises(requests.RequestException):
        ask("GET", path + "zip")
