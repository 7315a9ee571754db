"""Running workflows: against the double, which executes them for real, and against scripted answers."""

from __future__ import annotations

import csv
import json
import threading

import pytest
from ansible_collections.sparkflows.mlops.plugins.modules import sparkflows_workflow_run as module

WORKFLOW = dict(name="Score", intercept=-1.0, weights={"age": 0.1})
FAST = dict(poll_interval=0.01, poll_interval_max=0.1)


@pytest.fixture
def options(sparkflows, tmp_path):
    """options(**workflow) -> options of the module for a double that has this workflow as number 7"""

    def make(switches=None, **workflow):
        server = sparkflows(workflows={"7": dict(WORKFLOW, **workflow)}, workflow_log_dir=str(tmp_path / "logs"), **(switches or {}))
        return server, dict(url=server.url, token=server.token("test"), workflow_id=7, **FAST)

    return make


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("age,name\n10,x\n20,\"y, z\"\n30,\n")
    return path


@pytest.mark.parametrize("execute_call", ["execute", "create_execution"])
@pytest.mark.parametrize("switches", [{}, dict(status_calls="json", result_calls="typed")])
def test_scores_rows(call, options, data, tmp_path, execute_call, switches):
    server, login = options(switches)
    output = tmp_path / "out.csv"
    parameters = f"--var input={data} --var output={output}"
    result = call(module, diff=True, execute_call=execute_call, parameters=parameters, max_results=2, **login)
    assert result["changed"] and result["status"] == "COMPLETED" and result["status_code"] == 2, result
    assert "one more execution of workflow 7" in result["diff"]["after"]
    rows = list(csv.DictReader(output.open()))
    assert [row["age"] for row in rows] == ["10", "20", "30"] and rows[0]["prediction"] == "0.5" and rows[1]["name"] == "y, z"
    assert result["results"] == rows[:2] and result["results_left_out"] == 1
    assert result["execution"]["analysisFlowId"] == 7 and result["execution"]["id"] == result["execution_id"] == 162
    posts = [(request["path"], json.loads(request["body"])) for request in server.requests if request["method"] == "POST"]
    sent = dict(programParameters=parameters, sparkConfig="", libJars="", emailOnSuccess="", emailOnFailure="", workflowId=7)
    if execute_call == "execute":
        assert posts == [("/api/v1/workflow/execute", sent)]
    else:  # the user is the one of the token
        assert posts == [("/api/v1/create/workflowexecution/7", dict(userName="test", workflowParameters=parameters))]


def test_each_run_is_an_execution_and_check_mode_is_none(call, options):
    server, login = options()
    assert call(module, **login)["execution_id"] == 162
    assert call(module, **login)["execution_id"] == 163
    planned = call(module, check=True, **login)
    assert planned["changed"] and planned["status"] == "" and len(server.executions) == 2 and not planned["warnings"]
    assert planned["workflow"]["name"] == "Score" and len(planned["workflow"]["checksum"]) == 64
    server.settings.workflows["7"]["intercept"] = -2.0
    edited = call(module, check=True, **login)["workflow"]
    assert edited["name"] == "Score" and edited["checksum"] != planned["workflow"]["checksum"]
    login["workflow_id"] = 8
    assert "shows no workflow 8" in call(module, check=True, **login)["warnings"][0]
    wrong = call(module, check=True, **dict(login, token="wrong"))
    assert wrong["failed"] and "did not accept the login" in wrong["msg"] and len(server.executions) == 2


def test_failed_workflow_shows_its_log(call, options, data):
    _server, login = options(weights={"height": 1.0})
    result = call(module, parameters=f"--var input={data}", **login)
    assert result["failed"] and result["changed"] and result["status"] == "FAILED" and result["execution_id"] == 162
    assert result["msg"].startswith("Workflow 7 ended as FAILED (execution 162 on Sparkflows at http://")
    assert "The end of its log /" in result["msg"] and "ValueError: Column height does not exist" in result["msg"]
    assert "Column height does not exist" in "".join(result["log"])


@pytest.mark.parametrize("lines", [0, 1])
def test_so_many_lines_of_the_log(call, options, lines):
    _server, login = options(fails="not today")
    result = call(module, log_lines=lines, **login)
    assert len(result["log"]) == lines and "not today" not in result["msg"] and "ended as FAILED" in result["msg"]


@pytest.mark.parametrize("status", ["STOPPED", "FAILED", "KILLED", "TIMEOUT", "SKIPPED"])
def test_every_bad_end_is_a_failure(call, options, status):
    _server, login = options(ends_as=status)
    result = call(module, **login)
    assert result["failed"] and result["status"] == status and result["status_code"] == module.STATUSES.index(status)


def test_takes_its_time(call, options):
    server, login = options(seconds=0.5)
    result = call(module, **login)
    assert result["status"] == "COMPLETED" and result["seconds"] >= 0.5
    asked = [request for request in server.requests if request["path"].endswith("/status")]
    assert 0 < len(asked) < 15  # the pauses grow


@pytest.mark.parametrize(
    "workflow, text, end",
    [
        (dict(), "Execution 162 was stopped and ended as STOPPED.", "STOPPED"),
        (dict(ignores_stop=True), "Execution 162 was killed and ended as KILLED.", "KILLED"),
        (dict(ignores_stop=True, ignores_kill=True), "Execution 162 could neither be stopped nor killed", "STOPPING"),
    ],
)
def test_workflow_that_never_ends_is_stopped(call, options, workflow, text, end):
    server, login = options(hangs=True, **workflow)
    result = call(module, wait_timeout=1, stop_timeout=1, **login)
    assert result["failed"] and "did not end within 1 s (wait_timeout); its status was RUNNING." in result["msg"]
    assert text in result["msg"] and result["status"] == end == server.executions[162].status
    assert "Executing workflow Score" in result["msg"]


def test_what_ends_well_while_it_is_stopped_is_a_success(call, options):
    _server, login = options(seconds=1.2, ignores_stop=True)
    assert call(module, wait_timeout=1, stop_timeout=5, **login)["status"] == "COMPLETED"


def test_stop_that_is_refused(call, server, reply):
    server.on("POST", "/api/v1/workflow/execute", reply("162"))
    server.on("GET", "/api/v1/workflow-executions/162/status", reply("RUNNING"))
    server.on("POST", "/api/v1/workflow-execution/162/stop", reply({"message": "no way"}, 500))
    server.on("POST", "/api/v1/workflow-execution/162/kill", reply({"message": "never"}, 500))
    result = call(module, url=server.url, token="some-token", workflow_id=7, wait_timeout=1, stop_timeout=1, **FAST)
    assert "neither be stopped nor killed: end it in Sparkflows. (" in result["msg"] and "no way" in result["msg"] and "never" in result["msg"]


def test_user_without_the_permission(call, options):
    server, login = options()
    server.settings.users["test"]["permissions"] = []
    result = call(module, **login)
    assert result["failed"] and "did not accept the login" in result["msg"] and not server.executions


def test_unknown_workflow(call, options):
    _server, login = options()
    result = call(module, **dict(login, workflow_id=99))
    assert result["failed"] and "HTTP 404: Not Found: Workflow 99 does not exist" in result["msg"] and "execution_id" not in result


@pytest.mark.parametrize("body", ["", "no such workflow", {"id": 5}, "12 13"])
def test_answer_that_is_no_number(call, server, reply, body):
    server.on("POST", "/api/v1/workflow/execute", reply(body))
    result = call(module, url=server.url, token="some-token", workflow_id=7)
    assert result["failed"] and "instead of the number of an execution" in result["msg"]


def test_lost_answer_does_not_start_it_twice(call, server, reply):
    server.on("POST", "/api/v1/workflow/execute", reply(breaks="close"))
    result = call(module, url=server.url, token="some-token", workflow_id=7)
    assert "Whether workflow 7 was started is not known" in result["msg"] and len(server.requests) == 1
    server.requests.clear()
    server.on("POST", "/api/v1/workflow/execute", reply({"message": "busy"}, 503))
    assert "busy" in call(module, url=server.url, token="some-token", workflow_id=7)["msg"] and len(server.requests) == 1


@pytest.mark.parametrize("text, status", [("2", "COMPLETED"), ('"completed"', "COMPLETED"), ({"status": 3}, "FAILED"), (" 10\n", "SKIPPED")])
def test_status_in_any_shape(call, server, reply, text, status):
    server.on("POST", "/api/v1/workflow/execute", reply('"162"'))
    server.on("GET", "/api/v1/workflow-executions/162/status", reply(text))
    server.on("GET", "/viewExecutionResult/162/0", reply([{"result": '{"a": 1}'}, {"result": "plain"}, {"other": 1}, 5]))
    result = call(module, url=server.url, token="some-token", workflow_id=7, **FAST)
    assert result["status"] == status
    if status == "COMPLETED":
        assert result["results"] == [{"a": 1}, "plain", {"other": 1}, 5]


def test_unknown_status_counts_as_running_and_is_said_once(call, server, reply):
    server.on("POST", "/api/v1/workflow/execute", reply("162"))
    server.on("GET", "/api/v1/workflow-executions/162/status", *[reply(text) for text in ("QUEUED", "QUEUED", "STOP", "STOPPING", "COMPLETED")])
    result = call(module, url=server.url, token="some-token", workflow_id=7, max_results=0, **FAST)
    assert result["status"] == "COMPLETED" and result["results"] == [] and result["execution"] == {}
    assert len(result["warnings"]) == 1 and "'QUEUED', which is no documented status" in result["warnings"][0]


def test_results_that_cannot_be_read_are_a_warning(call, options):
    server, login = options()
    server.settings.result_calls = "neither"
    result = call(module, **login)
    assert result["status"] == "COMPLETED" and result["results"] == [] and "its results cannot be read" in result["warnings"][0]


def test_bears_with_a_server_that_restarts(call, server, reply):
    server.on("POST", "/api/v1/workflow/execute", reply("162"))
    gone = reply(breaks="close")
    server.on("GET", "/api/v1/workflow-executions/162/status", reply("RUNNING"), gone, gone, reply("RUNNING"), reply("COMPLETED"))
    result = call(module, url=server.url, token="some-token", workflow_id=7, max_results=0, **FAST)
    assert result["status"] == "COMPLETED" and len(result["warnings"]) == 1 and "goes on, so it is asked again" in result["warnings"][0]


def test_login_that_ends_is_made_again(call, options):
    server, login = options(seconds=0.6)
    login.update(auth_method="oauth2", username="test", password="test")
    timer = threading.Timer(0.3, server.bearers.clear)
    timer.start()
    assert call(module, **login)["status"] == "COMPLETED"
    timer.join()


def test_token_that_ends_says_that_it_still_runs(call, options):
    server, login = options(hangs=True)
    login["token"] = server.token("test", seconds=0.5)
    result = call(module, **login)
    assert result["failed"] and "The token expired on" in result["msg"] and result["execution_id"] == 162 and result["changed"]
    assert "Execution 162 of workflow 7 was started and may still be running." in result["msg"]


def failing(server, reply, logs):
    server.on("POST", "/api/v1/workflow/execute", reply("162"))
    server.on("GET", "/api/v1/workflow-executions/162/status", reply("FAILED"))
    server.on("GET", "/api/v1/workflowExecution/162", reply({"id": 162, "logs": logs}))
    return dict(url=server.url, token="s3cret-canary", workflow_id=7, **FAST)


def test_log_of_the_server_where_its_own_is_out_of_reach(call, server, reply):
    options = failing(server, reply, "/tmp/fire/workflowlogs/workflow-1.log")
    result = call(module, **options)
    assert result["msg"].endswith("Its log is /tmp/fire/workflowlogs/workflow-1.log on the Sparkflows host.")
    server.on("GET", "/api/fireServerLogs", reply("one\ntwo s3cret-canary\nthree\n"))
    result = call(module, log_lines=2, **options)
    assert result["log"] == ["two ********", "three"] and "s3cret" not in result.output
    assert "The end of the log of the server (its own is /tmp/fire/workflowlogs/workflow-1.log on the Sparkflows host):" in result["msg"]
    server.on("GET", "/api/fireLogs", reply(["a", "b"]))
    assert call(module, **options)["log"] == ["a", "b"]


def test_log_in_the_answer_itself(call, server, reply):
    assert call(module, **failing(server, reply, "first\nlast"))["log"] == ["first", "last"]


def test_only_a_log_is_read(call, server, reply, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("canary")
    link = tmp_path / "link.log"
    link.symlink_to(secret)
    (tmp_path / "folder.log").mkdir()
    for path in (secret, link, tmp_path / "folder.log", tmp_path / "x" / ".." / "link.log"):
        assert "canary" not in call(module, **failing(server, reply, str(path))).output


def test_long_log_is_read_from_its_end(call, server, reply, tmp_path):
    path = tmp_path / "long.log"
    path.write_text("line\n" * 100000 + "the end\n")
    assert call(module, **failing(server, reply, str(path)))["log"][-1] == "the end"


@pytest.mark.parametrize(
    "wrong, text",
    [
        (dict(wait_timeout=0), "wait_timeout must be more than 0"),
        (dict(poll_interval=0), "poll_interval must be more than 0"),
        (dict(execute_call="create_execution", lib_jars="a", spark_config="b"), "spark_config and lib_jars can only be sent with"),
        (dict(execute_call="create_execution"), "Set user_name"),
    ],
)
def test_wrong_options(call, server, wrong, text):
    result = call(module, url=server.url, token="some-token", workflow_id=7, **wrong)
    assert result["failed"] and text in result["msg"] and not server.requests


def test_pauses_grow(call, server, reply, pauses):
    server.on("POST", "/api/v1/workflow/execute", reply("162"))
    server.on("GET", "/api/v1/workflow-executions/162/status", *[reply("RUNNING")] * 5, reply("COMPLETED"))
    call(module, url=server.url, token="some-token", workflow_id=7, poll_interval=2, poll_interval_max=5, max_results=0)
    assert pauses == [2, 3, 4.5, 5, 5, 5]
