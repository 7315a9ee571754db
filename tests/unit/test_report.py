# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hosts answer becomes checks, and the checks become a report that programs and people can read."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from ansible_collections.sparkflows.mlops.plugins.plugin_utils import acceptance_report as plugin
from playbook_run import LOCAL, UNSEEN, run_in

acceptance_report = plugin.acceptance_report
HIDDEN = "********"

MLFLOW = {
    "checks": [
        {"name": "Java", "status": "passed", "evidence": "1.8.0_504 in /opt/mlflow/java"},
        {"name": "package mlflow", "status": "passed", "evidence": "1.30.1 is installed"},
        {"name": "store credentials", "status": "skipped", "evidence": "no credentials are set"},
    ],
    "versions": {"Java": "1.8.0_504", "package mlflow": "1.30.1"},
}
SCORES = {
    "checks": [{"name": "score churn", "status": "passed", "evidence": "2 rows, all equal"}],
    "scores": [{
        "model": "churn", "url": "http://10.0.0.1:5001/invocations", "rows": 2, "seconds": 0.2, "different": 0,
        "shown": [{"row": 1, "expected": 0.25, "found": 0.25, "same": True},
                  {"row": 2, "expected": "yes", "found": "yes", "same": True}],
    }],
}
PORTS = [
    {"name": "MLflow port is open", "host": "10.0.0.1", "port": 5000, "wanted": "open"},
    {"name": "serving port of churn on mlflow1 is open", "host": "10.0.0.1", "port": 5001, "wanted": "open"},
    {"name": "port 5021 of mlflow1 is closed", "host": "10.0.0.1", "port": 5021, "wanted": "filtered"},
]
LOGINS = {
    "url": "https://10.0.0.1:5000", "ca": "/etc/ssl/ca.pem",
    "asked": [{"name": "MLflow wants a login", "login": "none", "wanted": [401]},
              {"name": "MLflow refuses a wrong password", "login": "wrong", "wanted": [401, 429]},
              {"name": "MLflow answers Sparkflows", "login": "right", "wanted": [200]}],
    "result": {"results": [{"status": 401, "msg": "Unauthorized"}, {"status": 429}, {"status": 200, "json": {"experiments": [{}]}}]},
}
SETTINGS = {
    "changed": False,
    "settings": {"mlops.port": "8086", "mlops.host": "10.0.0.1", "mlops.aws.s3.secret.key": HIDDEN},
    "changed_keys": [],
    "resolved": {"fire_mlops_host": {"key": "mlops.host", "by": "title"}},
    "unverified_secrets": [],
}


def ran(answer):
    text = "a library greets\n" + json.dumps(answer) + "\n"
    return {"rc": 0, "stdout": text, "stderr": "", "delta": "0:00:01", "failed": False}


def states(*found):
    return {"connect": [
        {"host": asked["host"], "port": asked["port"], "state": state, "milliseconds": 0.4,
         "error": "" if state == "open" else "No route to host"}
        for asked, state in zip(PORTS, found)
    ]}


@pytest.fixture(name="hostvars")
def fixture_hostvars():
    mlflow = {
        "name": "mlflow1", "address": "10.0.0.1", "groups": ["mlflow"],
        "distribution": {"id": "debian", "version": "13", "codename": "trixie", "id_like": []},
        "services": [{"label": "MLflow", "port": 5000, "unit": "mlflow.service"},
                     {"label": "churn", "port": 5001, "unit": "mlflow-model@churn.service"}],
        "programs": {"asked": [{"name": "answers of the MLflow host", "python": "/opt/mlflow/current/bin/python"}],
                     "result": {"results": [ran(MLFLOW)]}},
        "ports": {"asked": [], "result": {"skipped": True}},
        "logins": {"asked": [], "url": LOGINS["url"], "ca": "", "result": {"skipped": True}},
        "settings": {"asked": False, "result": {}},
    }
    fire = {
        "name": "fire1", "address": "10.0.0.2", "groups": ["sparkflows"],
        "distribution": {"id": "rocky", "version": "9.4", "codename": "", "id_like": ["rhel"]},
        "services": [],
        "programs": {"asked": [{"name": "answers of the served models", "python": "/usr/bin/python3"}],
                     "result": {"results": [ran(SCORES)]}},
        "ports": {"asked": PORTS, "result": states("open", "open", "filtered")},
        "logins": copy.deepcopy(LOGINS),
        "settings": {"asked": True, "result": SETTINGS},
    }
    return {
        "fire1": {"__acceptance_answer": copy.deepcopy(fire), "group_names": ["sparkflows"]},
        "mlflow1": {"__acceptance_answer": copy.deepcopy(mlflow), "group_names": ["mlflow"]},
    }


def report_of(hostvars, play_hosts=("fire1", "mlflow1")):
    return acceptance_report(["fire1", "mlflow1"], hostvars, list(play_hosts))


def found(report, name):
    """Status and evidence of the one check with this name."""
    checks = [check for check in report["checks"] if check["name"] == name]
    assert len(checks) == 1, [check["name"] for check in report["checks"]]
    return checks[0]["status"], checks[0]["evidence"]


def test_all_is_well(hostvars):
    report = report_of(hostvars)
    assert report["summary"] == {"checks": 13, "failed": 0, "passed": 12, "skipped": 1, "verdict": "passed", "left_out": []}
    assert len(report["checks"]) == 13
    assert all(list(check) == ["name", "host", "status", "evidence"] for check in report["checks"])
    assert found(report, "MLflow port is open") == ("passed", "10.0.0.1:5000 is open, answered in 0.4 ms")
    assert found(report, "port 5021 of mlflow1 is closed") == ("passed", "10.0.0.1:5021 is filtered (No route to host)")
    assert found(report, "setting mlops.port") == ("passed", 'mlops.port = "8086"')
    assert found(report, "setting fire_mlops_host") == ("passed", 'mlops.host = "10.0.0.1"')
    assert found(report, "setting mlops.aws.s3.secret.key") == ("passed", "mlops.aws.s3.secret.key = set (masked)")
    assert [host["versions"] for host in report["hosts"]] == [{}, MLFLOW["versions"]]
    assert [(score["model"], score["host"]) for score in report["scores"]] == [("churn", "fire1")]


def test_what_failed_as_a_text(hostvars):
    failure = plugin.acceptance_failure
    hostvars["fire1"]["__acceptance_answer"]["ports"]["result"] = states("open", "open", "open")
    assert failure(report_of(hostvars), "/srv/acceptance.html").splitlines() == [
        "1 of 13 checks failed.",
        "fire1: port 5021 of mlflow1 is closed: 10.0.0.1:5021 is open, answered in 0.4 ms, wanted filtered",
        "The whole report: /srv/acceptance.html",
    ]


def test_picture(hostvars):
    hostvars["fire1"]["__acceptance_answer"]["ports"]["result"] = states("open", "refused", "filtered")
    ports = report_of(hostvars)["servers"][0]["ports"]
    assert [(port["label"], port["port"], [link["kind"] for link in port["links"]]) for port in ports] == [
        ("MLflow", 5000, ["passed"]), ("churn", 5001, ["failed"]), ("", 5021, ["closed"])]
    for state in ("open", "refused"):
        hostvars["fire1"]["__acceptance_answer"]["ports"]["result"] = states("open", "open", state)
        assert report_of(hostvars)["servers"][0]["ports"][2]["links"][0]["kind"] == "failed"


@pytest.mark.parametrize(("wanted", "state", "status"), [
    ("open", "open", "passed"),
    ("open", "refused", "failed"),
    ("open", "filtered", "failed"),
    ("open", "unresolved", "failed"),
    ("filtered", "filtered", "passed"),
    ("filtered", "refused", "failed"),  # nothing listens, but the firewall would have let it through
    ("filtered", "open", "failed"),
    ("filtered", "unresolved", "failed"),
    ("closed", "refused", "passed"),
    ("closed", "filtered", "passed"),
    ("closed", "open", "failed"),
    ("closed", "unresolved", "failed"),
])
def test_port(hostvars, wanted, state, status):
    ports = hostvars["fire1"]["__acceptance_answer"]["ports"]
    ports["asked"] = [dict(PORTS[0], wanted=wanted)]
    ports["result"] = states(state)
    got, evidence = found(report_of(hostvars), "MLflow port is open")
    assert got == status
    assert f"10.0.0.1:5000 is {state}" in evidence
    assert (f"wanted {wanted}" in evidence) == (status == "failed")


@pytest.mark.parametrize(("number", "result", "status", "words"), [
    (0, {"status": 401}, "passed", "answers 401, certificate verified with /etc/ssl/ca.pem"),
    (0, {"status": 200, "json": {"experiments": []}}, "failed", "answers 200, certificate verified with /etc/ssl/ca.pem, wanted 401"),
    (1, {"status": 429}, "passed", "answers 429"),
    (1, {"status": 200, "json": {"experiments": []}}, "failed", "wanted 401 or 429"),
    (2, {"status": 200, "json": {"experiments": []}}, "passed", "answers 200"),
    (2, {"status": 200, "content": "<html>Log in"}, "failed", "but not as MLflow does"),
    (2, {"status": 401}, "failed", "answers 401"),
    (2, {"status": -1, "msg": "Request failed: certificate verify failed"}, "failed", "gives no answer: Request failed: certificate verify failed"),
])
def test_login(hostvars, number, result, status, words):
    hostvars["fire1"]["__acceptance_answer"]["logins"]["result"]["results"][number] = result
    got, evidence = found(report_of(hostvars), LOGINS["asked"][number]["name"])
    assert (got, words in evidence) == (status, True), evidence


@pytest.mark.parametrize(("change", "status", "evidence"), [
    ({"changed_keys": ["mlops.port"], "diff": {"before": {"mlops.port": "9999"}}}, "failed",
     'mlops.port = "9999", wanted "8086"'),
    ({"changed_keys": ["mlops.port"], "diff": {"before": {"mlops.port": None}}}, "failed",
     'mlops.port = null, wanted "8086"'),
])
def test_setting_that_differs(hostvars, change, status, evidence):
    hostvars["fire1"]["__acceptance_answer"]["settings"]["result"].update(change)
    assert found(report_of(hostvars), "setting mlops.port") == (status, evidence)


def test_secret_that_cannot_be_compared(hostvars):
    hostvars["fire1"]["__acceptance_answer"]["settings"]["result"]["unverified_secrets"] = ["mlops.aws.s3.secret.key"]
    status, evidence = found(report_of(hostvars), "setting mlops.aws.s3.secret.key")
    assert (status, "hidden by Sparkflows" in evidence) == ("passed", True)


def test_secret_that_is_another_one(hostvars):
    hostvars["fire1"]["__acceptance_answer"]["settings"]["result"].update(
        changed_keys=["mlops.aws.s3.secret.key"], diff={"before": {"mlops.aws.s3.secret.key": HIDDEN}})
    status, evidence = found(report_of(hostvars), "setting mlops.aws.s3.secret.key")
    assert (status, evidence) == ("failed", "mlops.aws.s3.secret.key = set (masked), not known to be the wanted one")


UNREACHABLE = {"unreachable": True, "msg": "Failed to connect to the host via ssh: timed out"}
MODULE_FAILED = {"failed": False, "msg": "Sparkflows at https://fire1:8443 cannot be reached", "changed": False}
CRASHED = {"rc": 1, "stdout": "", "stderr": "Traceback\n  File x\nKeyError: 'a'", "delta": "0:0:1", "msg": "non-zero"}
NO_PYTHON = {"rc": 2, "stdout": "", "stderr": "", "msg": "Error executing command."}
NOT_JSON = {"rc": 0, "stdout": "hello", "stderr": "", "delta": "0:0:1"}


@pytest.mark.parametrize(("host", "part", "result", "name", "words"), [
    ("mlflow1", "programs", {"results": [CRASHED]}, "answers of the MLflow host", "KeyError: 'a'; non-zero"),
    ("mlflow1", "programs", {"results": [NO_PYTHON]}, "answers of the MLflow host",
     "/opt/mlflow/current/bin/python cannot be run: Error executing command."),
    ("mlflow1", "programs", {"results": [NOT_JSON]}, "answers of the MLflow host", "not JSON: hello"),
    ("mlflow1", "programs", UNREACHABLE, "answers of the MLflow host", "cannot be reached: Failed to connect"),
    ("mlflow1", "programs", {"results": [UNREACHABLE]}, "answers of the MLflow host", "cannot be reached: Failed"),
    ("fire1", "ports", UNREACHABLE, "reachable ports", "cannot be reached: Failed to connect"),
    ("fire1", "ports", {}, "reachable ports", "nothing was asked"),
    ("fire1", "ports", {"failed": False, "rc": 1, "module_stderr": "killed"}, "reachable ports", "killed"),
    ("fire1", "logins", UNREACHABLE, "logins at MLflow", "cannot be reached: Failed to connect"),
    ("fire1", "logins", {}, "logins at MLflow", "nothing was asked"),
    ("fire1", "settings", MODULE_FAILED, "settings in Sparkflows", "https://fire1:8443 cannot be reached"),
    ("fire1", "settings", {}, "settings in Sparkflows", "nothing was asked"),
    ("fire1", "settings", {"failed": True}, "settings in Sparkflows", "no answer"),
])
def test_silence_is_a_failure(hostvars, host, part, result, name, words):
    hostvars[host]["__acceptance_answer"][part]["result"] = result
    report = report_of(hostvars)
    status, evidence = found(report, name)
    assert status == "failed"
    assert words in evidence
    assert report["summary"]["failed"] == 1


def test_host_that_was_not_heard(hostvars):
    del hostvars["mlflow1"]["__acceptance_answer"]
    hostvars["mlflow1"]["mlops_address"] = "10.0.0.1"
    report = report_of(hostvars)
    assert found(report, "answers of the host") == ("failed", "nothing was heard of the host in this run")
    assert [(host["name"], host["groups"]) for host in report["servers"]] == [("mlflow1", ["mlflow"])]
    limited = report_of(hostvars, play_hosts=["fire1"])
    assert found(limited, "answers of the host") == ("skipped", "not part of this run (--limit), so not proven: its runtimes and services")
    summary = limited["summary"]
    assert (summary["failed"], summary["verdict"], summary["left_out"]) == (0, "partial", ["mlflow1"])


def test_a_failure_counts_more_than_what_was_left_out(hostvars):
    del hostvars["mlflow1"]["__acceptance_answer"]
    hostvars["fire1"]["__acceptance_answer"]["ports"]["result"] = states("open", "refused", "filtered")
    assert report_of(hostvars, play_hosts=["fire1"])["summary"]["verdict"] == "failed"


def test_evidence_is_one_clean_line():
    assert plugin.clean("a\x1b[31mred\x1b[0m\n\n  b\t\0c\ud800") == "a[31mred[0m b c"
    assert len(plugin.clean("x" * 10000)) == 600


@pytest.mark.parametrize(("distribution", "expected"), [
    ({"id": "debian", "version": "13", "codename": "trixie"}, "Debian 13 (trixie)"),
    ({"id": "rocky", "version": "9.4", "codename": ""}, "Rocky 9.4"),
    ({}, ""),
])
def test_system(distribution, expected):
    assert plugin.system(distribution) == expected


# ---- the files, made by the role itself ------------------------------------------------------------------------------
class Page(HTMLParser):
    """The text of a page; fails on what the page would have to fetch, and on tags that do not fit together."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words = [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag not in ("script", "link", "img", "iframe")
        assert not {"src", "href"} & dict(attrs).keys()
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: sparkflows.mlops.acceptance, tasks_from: report}
"""


@pytest.fixture(name="write")
def fixture_write(tmp_path):
    """Run the role's report on given answers, as on a controller, and return (exit code, output)."""

    def write(hostvars, *arguments):
        inventory = {"all": {"children": {
            "sparkflows": {"hosts": {"fire1": dict(hostvars["fire1"])}},
            "mlflow": {"hosts": {"mlflow1": dict(hostvars["mlflow1"])}},
        }, "vars": {
            **LOCAL,
            **UNSEEN,
            "mlops_reports_dir": str(tmp_path / "reports"),
            "mlops_mlflow_url": "http://10.0.0.1:5000",
            "mlops_sparkflows_url": "https://10.0.0.2:8443",
            "mlops_deploy_mode": "fire_mlops_server",
            "mlops_stack_data": {"name": "guide-1.30"},
        }}}
        for host in inventory["all"]["children"].values():
            for variables in host["hosts"].values():
                variables.pop("group_names", None)
        done = run_in(tmp_path, inventory, PLAYBOOK, *arguments, ANSIBLE_LOCALHOST_WARNING="false", ANSIBLE_INVENTORY_UNPARSED_WARNING="false",
                      ANSIBLE_SHOW_CUSTOM_STATS="true")  # fmt: skip
        return done.returncode, done.output

    return write


def read(tmp_path, name):
    return (tmp_path / "reports" / name).read_text(encoding="utf-8")


def published(output):
    assert "[WARNING]" not in output
    return json.loads(output.split("RUN: ", 1)[1])["acceptance"]


def test_what_awx_is_told(hostvars, write):
    models = [{"name": "churn", "version": "1", "port": "5001"}, {"name": "gone", "state": "absent"}]
    hostvars["mlflow1"].update(mlops_address="10.0.0.1", model_serving_models=models)
    scored = sum(score["rows"] for score in report_of(hostvars)["scores"])
    told = published(write(hostvars)[1])
    assert told == {
        "verdict": "passed", "checks": 13, "passed": 12, "failed": 0, "skipped": 1, "left_out": [], "scored_rows": scored,
        "endpoints": {"mlflow": "http://10.0.0.1:5000", "sparkflows": "https://10.0.0.2:8443",
                      "models": [{"model": "churn", "host": "mlflow1", "url": "http://10.0.0.1:5001/invocations"}]}}  # fmt: skip
    assert scored > 0


def test_awx_is_told_of_a_failure_too(hostvars, write):
    del hostvars["mlflow1"]["__acceptance_answer"]
    code, output = write(hostvars)
    told = published(output)
    assert code != 0 and told["verdict"] == "failed" and told["failed"] > 0


def test_a_limit_makes_the_verdict_partial(hostvars, write, tmp_path):
    del hostvars["mlflow1"]["__acceptance_answer"]
    code, output = write(hostvars, "--limit=fire1")
    assert code == 0, output
    told = published(output)
    assert (told["verdict"], told["left_out"], told["failed"]) == ("partial", ["mlflow1"], 0)
    line = "PARTIAL: nothing is known of mlflow1. 10 checks passed, 1 skipped."
    assert line in output and read(tmp_path, "summary.txt").startswith(line + "\n  mlflow1: answers of the host: not part of this run")
    words = " ".join(Page(read(tmp_path, "acceptance.html")).words)
    assert "Partial: mlflow1 left out" in words and "served and scored" not in words


def test_files_of_a_good_report(hostvars, write, tmp_path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "acceptance.json").write_text("x" * 100000)  # the former one is longer
    code, output = write(hostvars)
    assert code == 0, output
    assert "changed=0" in output and "All 12 checks passed, 1 skipped." in output
    report = json.loads(read(tmp_path, "acceptance.json"))
    assert set(report) == {"summary", "checks"}
    assert report["checks"] == report_of(hostvars)["checks"]

    root = ElementTree.fromstring(read(tmp_path, "acceptance.xml"))
    assert (root.get("tests"), root.get("failures"), root.get("skipped")) == ("13", "0", "1")
    assert [suite.get("name") for suite in root] == ["fire1", "mlflow1"]
    assert len(root.findall(".//testcase")) == 13
    assert len(root.findall(".//skipped")) == 1

    words = " ".join(Page(read(tmp_path, "acceptance.html")).words)
    for word in ["Models are served and scored", "10.0.0.1", "Rocky 9.4", "1.8.0_504", "must stay closed", "5021"]:
        assert word in words

    summary = read(tmp_path, "summary.txt")
    assert re.search(r"^\s+1\s+0\.25\s+0\.25$", summary, re.M)
    assert summary.splitlines()[-1].endswith("/reports/acceptance.html")


def test_files_of_a_bad_report(hostvars, write, tmp_path):
    evil = "<script>alert('x')</script> & \"]]>\" \x1b[31m \u00e9"
    hostvars["mlflow1"]["__acceptance_answer"]["programs"]["result"] = {
        "results": [{"rc": 1, "stdout": "", "stderr": evil, "delta": "0:0:1"}]}
    code, output = write(hostvars)
    assert code == 2, output
    assert "1 of 11 checks failed." in output
    assert "mlflow1: answers of the MLflow host: <script>" in output
    told = "<script>alert('x')</script> & \"]]>\" [31m \u00e9"
    assert json.loads(read(tmp_path, "acceptance.json"))["checks"][-1]["evidence"] == told
    root = ElementTree.fromstring(read(tmp_path, "acceptance.xml"))
    assert [failure.get("message") for failure in root.findall(".//failure")] == [told]
    page = Page(read(tmp_path, "acceptance.html"))
    assert told in "".join(page.words)
    assert "1 of 11 checks failed" in "".join(page.words)
