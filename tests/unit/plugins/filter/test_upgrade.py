# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule

FILTERS = FilterModule().filters()
LIVE = ["/opt/mlflow/current", "/opt/mlflow/java", "/opt/mlflow/python"]
NOW = ["/opt/mlflow/releases/guide-1.30-aaa", "/usr/lib/jvm/java-8-openjdk-amd64", "/opt/mlflow/pythons/source-1"]
NEXT = ["/opt/mlflow/releases/mlflow-3-bbb", "/usr/lib/jvm/java-17-openjdk-amd64", "/usr"]
SETTINGS = {"mlops_database_host": "", "hosts": ["a", "b"], "run": ["a"], "mlops_stack": "mlflow-3", "mlops_mlflow_login": "proxy",
            "upgrade_only_rehearse": "false",
            "upgrade_rollback_to": "", "upgrade_start_timeout": "120", "leader": {"host": "a", "turn": {}}}  # fmt: skip
THERE = [{"item": "/opt/mlflow/current/bin/python", "stat": {"exists": True}}, {"item": "/etc/mlflow/mlflow.env", "stat": {"exists": True}},
         {"item": "/opt/mlflow/libexec/mlflow_login.py", "stat": {"exists": False}}]  # fmt: skip
LAST = {"from": "guide-1.30-aaa", "to": "mlflow-3-bbb", "at": "20261127T120000Z"}
OUTCOME = {"upgraded": True, "from": "guide-1.30-aaa", "to": "mlflow-3-bbb", "schema": {"from": "97", "to": "dc"}, "downtime": 12.3,
           "notes": ["A note."], "kept": ["/var/lib/mlflow/db/mlflow.db.before-20261127T120000Z"], "archive": "/a.tar.gz"}  # fmt: skip


def test_links_that_are_switched():
    assert FILTERS["upgrade_links"](NOW + NEXT, LIVE) == {"links": dict(zip(LIVE, NEXT)), "from": "guide-1.30-aaa", "to": "mlflow-3-bbb"}
    assert FILTERS["upgrade_links"](NOW + NOW, LIVE)["links"] == {}
    # The same Python for both, and a Java that is used where it is, so that there is no link to it.
    found = [*NOW[:1], "-", NOW[2], NEXT[0], "/opt/jdk", NOW[2]]
    assert FILTERS["upgrade_links"](found, [LIVE[0], "/opt/jdk", LIVE[2]])["links"] == {LIVE[0]: NEXT[0]}
    # In check mode nothing is staged.
    assert FILTERS["upgrade_links"]([*NOW, NEXT[0], "-", "-"], LIVE)["links"] == {LIVE[0]: NEXT[0]}
    bare = FILTERS["upgrade_links"](["-", "-", "-", NEXT[0], "-", "-"], LIVE)
    assert bare["links"] == {} and FILTERS["upgrade_announcement"](bare, "", True).startswith("There is no MLflow on this host yet")


@pytest.mark.parametrize(("changed", "words"), [
    ({}, None), ({"upgrade_start_timeout": "0"}, "upgrade_start_timeout is 0: set it to a whole number from 1 to 3600"),
    ({"mlops_database_host": "db1"}, "b is not in this run, with the same database as this host"),
    ({"mlops_database_host": "db1", "hosts": ["a", "b", "c"]}, "b and c are not in this run, with the same database"),
    ({"mlops_database_host": "db1", "run": ["b", "a"]}, None),
])  # fmt: skip
def test_settings(changed, words):
    problems = FILTERS["upgrade_problems"]({**SETTINGS, **changed}, THERE, False)
    assert len(problems) == (words is not None) and all(words in problem for problem in problems)


@pytest.mark.parametrize(("wanted", "has_login"), [("proxy", True), ("mlflow", False)])
def test_an_upgrade_does_not_change_who_knows_the_users(wanted, has_login):
    settings, now = {**SETTINGS, "mlops_mlflow_login": wanted}, "mlflow" if has_login else "proxy"
    found = [*THERE[:2], {**THERE[2], "stat": {"exists": has_login}}]
    (problem,) = FILTERS["upgrade_problems"](settings, found, False)
    assert problem.startswith(f"mlops_mlflow_login is {wanted}, and MLflow runs with {now}") and f"Set it to {now}, run upgrade.yml" in problem
    assert FILTERS["upgrade_problems"]({**settings, "mlops_mlflow_login": now}, found, False) == []
    # A host without MLflow has none of it.
    assert FILTERS["upgrade_problems"](settings, [{**one, "stat": {"exists": False}} for one in THERE], True) == []


@pytest.mark.parametrize(("then", "wanted"), [("proxy", "mlflow"), ("mlflow", "proxy"), (None, "mlflow")])
def test_a_rollback_goes_back_to_who_knew_the_users(then, wanted):
    record = {**LAST, **({"login": then} if then else {})}
    settings = {**SETTINGS, "mlops_stack": "guide-1.30", "mlops_mlflow_login": wanted}
    plan = FILTERS["rollback_plan"](json.dumps(record), settings)
    (problem,) = FILTERS["rollback_problems"](settings, THERE, plan, False)
    assert problem.startswith(f"mlops_mlflow_login is {wanted}, and MLflow ran with {then or 'proxy'} before the upgrade")
    assert FILTERS["rollback_problems"]({**settings, "mlops_mlflow_login": then or "proxy"}, THERE, plan, False) == []
    # Where nothing is to be undone, nothing is asked of it.
    assert FILTERS["rollback_problems"](settings, THERE, {**plan, "due": False, "wanted": "mlflow-3"}, False) == []


def test_who_makes_the_database_anew():
    leader = FILTERS["upgrade_leader"]

    def found(host="c", is_shared=True, **turns):
        return leader(list("abc"), {name: {"__upgrade_turn": turns[name]} if name in turns else {} for name in "abc"}, host, is_shared)

    due, undone = {"due": True}, {"due": False}
    assert found(a=due, b=due, c=due) == "a" and found(a=undone, b=due, c=due) == "b" and found(a=undone, b=undone, c=undone) == "c"
    # Each has a database of its own.
    assert found(is_shared=False, a=due, b=due, c=due) == "c"
    # Rolled back by the one that has it.
    assert found(a=due, b={"due": True, "migrates": True}, c=due) == "b"
    # Before anybody has looked.
    assert found() == "c"


def test_who_was_left_behind():
    def found(**done):
        return FILTERS["upgrade_left_behind"](list("abc"), {name: {"__upgrade_turn": {"due": True, "done": done[name]} if name in done else
                                                                   {"due": False}} for name in "abc"}, "a")  # fmt: skip

    assert found(a=True, b=True, c=True) == [] and found(a=True, b=False, c=True) == ["b"] and found(a=True, c=False) == ["c"]
    # Who follows a leader that did not come up has done nothing.
    assert found(a=False, b=False, c=False) == []


def test_another_stack_takes_an_upgrade():
    problems = FILTERS["upgrade_wanted_problems"]
    (problem,) = problems("mlflow-3", {"rc": 0, "stdout": NOW[0] + "\n"})
    assert problem.startswith("guide-1.30-aaa is live") and "mlops_stack is mlflow-3: run playbooks/upgrade.yml" in problem
    assert problem.endswith("set mlops_stack to guide-1.30.")
    # The same stack with another lock, a host without database or release, a database of another kind.
    for answer in ({"stdout": NOW[0]}, {"stdout": ""}, {}):
        assert problems("guide-1.30", answer) == []


def test_there_has_to_be_an_mlflow():
    none = [{**one, "stat": {"exists": False}} for one in THERE]
    (problem,) = FILTERS["upgrade_problems"](SETTINGS, none, False)
    assert problem.startswith("/opt/mlflow/current/bin/python and /etc/mlflow/mlflow.env is not there") and "playbooks/mlflow.yml" in problem
    assert FILTERS["upgrade_problems"](SETTINGS, none, True) == []


def test_what_is_about_to_be_done():
    plan = FILTERS["upgrade_links"](NOW + NEXT, LIVE)
    assert FILTERS["upgrade_announcement"](plan, "", False) == "Upgrading from guide-1.30-aaa to mlflow-3-bbb."
    said = FILTERS["upgrade_announcement"](plan, "", True)
    assert "would go to a release of the stack mlflow-3" in said and "is not known before the first rehearsal" in said
    assert said.endswith("Nothing was changed.")
    rehearsal = {"at": "20261127T110000Z", "from": "guide-1.30-aaa", "to": "mlflow-2-c", "seconds": 12.5}
    assert "took 12.5 seconds" in FILTERS["upgrade_announcement"](plan, json.dumps(rehearsal), True)
    assert "took 4 minutes" in FILTERS["upgrade_announcement"](plan, json.dumps({**rehearsal, "seconds": 230.1}), True)
    assert FILTERS["upgrade_announcement"]({**plan, "links": {}}, "", False).startswith("mlflow-3-bbb is live already: nothing is to be upgraded")


def test_what_a_rehearsal_has_shown():
    prepared = {"to": "mlflow-3-bbb", "schema": {"from": "97", "to": "dc"}, "rehearsed": 12.5}
    said = FILTERS["upgrade_rehearsed"](prepared)
    assert "from the schema 97 to dc in 12.5 seconds, with every row that it had" in said and said.endswith("MLflow was not stopped.")
    assert "nothing of the database would be changed" in FILTERS["upgrade_rehearsed"]({**prepared, "rehearsed": None})


def test_what_came_of_it():
    outcome = FILTERS["upgrade_outcome"](json.dumps(OUTCOME), "", "mlflow-upgrade")
    assert outcome["done"] and outcome["why"] == "" and outcome["rollback_to"] == "guide-1.30"
    said = FILTERS["upgrade_message"](outcome)
    assert said.startswith("MLflow runs mlflow-3-bbb instead of guide-1.30-aaa. Its database has the schema dc instead of 97, with every row that it")
    assert "away for 12.3 seconds. A note. What served before is kept as /var/lib" in said and "archive from before is /a.tar.gz" in said
    same = {**outcome, "schema": {"from": "dc", "to": "dc"}, "kept": [], "archive": ""}
    assert "Its database is as it was." in FILTERS["upgrade_message"](same) and "is kept as" not in FILTERS["upgrade_message"](same)
    failed = {"from": "guide-1.30-aaa", "upgraded": False, "doing": "Starting MLflow",
              "why": "It does not start. What served before is in its place again, and serves."}  # fmt: skip
    outcome = FILTERS["upgrade_outcome"](json.dumps(failed), "", "mlflow-upgrade")
    assert not outcome["done"] and outcome["why"].startswith("Starting MLflow: It does not start. What served")
    for done in (True, False):
        back = {"rolled_back": done, "upgraded": "20261127T120000Z", "from": "mlflow-3-bbb", "to": "guide-1.30-aaa", "why": "It does not start."}
        assert FILTERS["upgrade_outcome"](json.dumps(back), "", "mlflow-upgrade")["done"] is done
    outcome = FILTERS["upgrade_outcome"]("", "Unit not found.", "mlflow-upgrade")
    assert not outcome["done"] and "did not begin: Unit not found" in outcome["why"] and "journalctl -u mlflow-upgrade" in outcome["why"]


@pytest.mark.parametrize(("stack", "record", "due", "words", "problem"), [
    ("guide-1.30", LAST, True, "Going back from mlflow-3-bbb to guide-1.30-aaa", None),
    # The inventory says that the new one is wanted: a second run, or one that was not meant.
    ("mlflow-3", LAST, False, "is live, as mlops_stack says: nothing is to be done. To go back to guide-1.30-aaa, set mlops_stack to", None),
    ("mlflow-2", LAST, False, None, "mlflow-2 is asked for (upgrade_rollback_to, or mlops_stack): rollback.yml goes back to guide-1.30 only"),
    ("mlflow-3", None, False, "There is no upgrade of this host that could be rolled back: nothing is to be done", None),
    # Another lock of the same stack.
    ("mlflow-3", {**LAST, "from": "mlflow-3-aaa"}, True, "Going back from mlflow-3-bbb to mlflow-3-aaa", None),
])  # fmt: skip
def test_what_is_rolled_back(stack, record, due, words, problem):
    settings = {**SETTINGS, "mlops_stack": stack}
    plan = FILTERS["rollback_plan"](json.dumps(record) if record else "", settings)
    assert plan == {"last": record, "wanted": stack, "due": due, "migrates": False}
    # In a workflow of AWX, the inventory of which wants the new one.
    other = {**settings, "mlops_stack": "mlflow-9", "upgrade_rollback_to": stack}
    assert FILTERS["rollback_plan"](json.dumps(record) if record else "", other) == plan
    problems = FILTERS["rollback_problems"](settings, THERE, plan, False)
    assert len(problems) == (problem is not None) and all(problem in one for one in problems)
    if record:
        for kind, migrates in (("schema", True), ("sqlite", True), ("entries", False)):
            assert FILTERS["rollback_plan"](json.dumps({**record, "parts": [{"kind": kind}, {"kind": "entries"}]}), settings)["migrates"] is migrates
    leading = {"due": True, "migrates": True}
    for turn in ({**leading, "due": False}, {**leading, "migrates": False}, leading):
        alone = FILTERS["rollback_problems"]({**settings, "leader": {"host": "a", "turn": turn}}, THERE, plan, False)[len(problems):]
        if turn != leading or due:
            assert alone == []
        else:
            assert alone[0].startswith("a goes back with the database that this host uses, too, and there is no upgrade of this host")
    if words:
        assert words in FILTERS["rollback_announcement"](plan, False)
    assert ("Nothing was changed" in FILTERS["rollback_announcement"](plan, True)) == due


def test_what_was_rolled_back():
    back = {"rolled_back": True, "from": "mlflow-3-bbb", "to": "guide-1.30-aaa", "downtime": 3, "notes": [], "kept": ["/db.before-2"],
            "upgraded": "T1", "since": {"rows": {"runs": 1, "metrics": 20, "traces": 3}, "gone": {}}, "file": "/s.jsonl"}  # fmt: skip
    said = FILTERS["rollback_message"](back)
    assert "Since then were logged or changed: 1 run, 20 metrics, 3 other rows. It is saved as /s.jsonl" in said and "/db.before-2" in said
    assert "with the database of T1" in said
    assert "Nothing was logged since." in FILTERS["rollback_message"]({**back, "file": "", "since": {"rows": {}, "gone": {}}})
    assert "with the database as it is" in FILTERS["rollback_message"]({**back, "file": "", "since": {}})
