"""What settings are called, how servers present them, and which ones must be written."""

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.module_utils.settings import (
    ApiStore,
    FileStore,
    Setting,
    as_text,
    is_secret,
    masked,
    must_write,
    near_mlops,
    resolve,
    undecided,
    unknown_key,
)
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError


class Client:
    url = "http://server"

    def __init__(self, answer):
        self.answer, self.posted = answer, []

    def get(self, path):
        return self.answer

    def post(self, path, body):
        self.posted.append((path, body))


FLAT = {"id": 7, "name": "a.b", "value1": "1", "value2": "keep"}
WRAPPED = {"confProperty": FLAT, "title": "Title", "description": "Text", "other": [1]}


@pytest.mark.parametrize(
    "answer, element, title, group",
    [
        ([WRAPPED], WRAPPED, "Title", ""),
        ([FLAT], FLAT, "", ""),
        ([dict(FLAT, title="Title")], dict(FLAT, title="Title"), "Title", ""),
        ({"MLOps": [WRAPPED], "Empty": []}, WRAPPED, "Title", "MLOps"),
        ([{"name": "MLOps", "properties": [WRAPPED]}], WRAPPED, "Title", "MLOps"),
        ([{"tab": "MLOps", "id": 1, "confProperties": [FLAT]}], FLAT, "", "MLOps"),
        ({"status": "ok", "data": {"MLOps": [FLAT]}}, FLAT, "", "MLOps"),
        ([dict(FLAT, options=["x", "y"])], dict(FLAT, options=["x", "y"]), "", ""),
        ([{"id": 7, "name": "a.b", "value": "1"}], {"id": 7, "name": "a.b", "value": "1"}, "", ""),
    ],
)
def test_shapes(answer, element, title, group):
    client = Client(answer)
    store = ApiStore(client)
    settings = store.read()
    assert list(settings) == ["a.b"]
    setting = settings["a.b"]
    assert (setting.value, setting.title, setting.group) == ("1", title, group)
    store.write(settings, {"a.b": "2"})
    ((path, body),) = client.posted
    expected = dict(element)
    if "confProperty" in element:
        expected["confProperty"] = dict(FLAT, value1="2")
    else:
        expected["value1" if "value1" in element else "value"] = "2"
    assert path == "/api/v1/configurations" and body == [expected]
    assert client.answer == answer and FLAT["value1"] == "1"


@pytest.mark.parametrize(
    "value, text", [(None, ""), (True, "true"), (False, "false"), (5000, "5000"), ("True", "True")]
)
def test_values_become_text(value, text):
    assert as_text(value) == text
    client = Client([{"id": 1, "name": "a", "value1": value}])
    assert ApiStore(client).read()["a"].value == text


def test_missing_value_is_empty():
    assert ApiStore(Client([{"confProperty": {"id": 1, "name": "a"}}, {"id": 2, "name": "b"}])).read()["a"].value == ""


@pytest.mark.parametrize("answer", [[], {}, None, "text", 7, [{"id": 1}], {"status": "ok"}])
def test_answer_without_settings_is_a_failure(answer):
    with pytest.raises(MlopsError, match="without any setting in a known form"):
        ApiStore(Client(answer)).read()


@pytest.mark.parametrize(
    "key, title, secret",
    [
        ("mlops.aws.s3.access.key", "", True),
        ("mlops.aws.s3.secret.key", "", True),
        ("mlops.kubeflow.password", "", True),
        ("mlops.aws_id", "", True),
        ("x.passwd", "", True),
        ("x", "API key of it", True),
        ("x", "Private-Key", True),
        ("x.y", "Login Password", True),
        ("mine", "", True),
        ("mlops.port", "Fire MLOps Port", False),
        ("mlops.kubeflow.config.path", "", False),
        ("mlops.mlflow.trackingURL", "MLflow Server URL", False),
        ("mlops.mlflow.ssh.key.path", "MLflow SSH Key Path", False),
    ],
)
def test_secret_by_name(key, title, secret):
    assert is_secret(key, title, ["mine"]) is secret


@pytest.mark.parametrize(
    "value, secret, shown",
    [
        ("x", True, "********"),
        ("", True, ""),
        (None, True, None),
        (5, True, "********"),
        ("x", False, "x"),
        (5, False, 5),
        ("https://me:pw@host/x", False, "https://me:********@host/x"),
        ("https://:pw@host", False, "https://:********@host"),
        ("https://host/a:b@c", False, "https://host/a:b@c"),
    ],
)
def test_masked(value, secret, shown):
    assert masked(value, secret) == shown


def question(**more):
    return dict(
        dict(name="q", description=None, key=None, candidates=[], title_matches=[], variable=None, value="v", optional=False), **more
    )


OFFERED = {
    key: Setting(key, "", title)
    for key, title in [
        ("mlops.user", "MLflow Login Username"),
        ("mlops.pass", "MLflow Login Password"),
        ("email.user", "Email Login Username"),
        ("untitled", ""),
    ]
}


@pytest.mark.parametrize(
    "asked, key, how",
    [
        (question(candidates=["nope", "mlops.user"]), "mlops.user", "candidate"),
        (question(candidates=["mlops.user"], title_matches=["password"]), "mlops.user", "candidate"),
        (question(candidates=["nope"], title_matches=["mlflow.*USER"]), "mlops.user", "title"),
        (question(title_matches=["nope", "mlflow.*user"]), "mlops.user", "title"),
        (question(key="whatever", candidates=["mlops.user"]), "whatever", "key"),
        (question(key="", candidates=["mlops.user"]), "mlops.user", "candidate"),
    ],
)
def test_meaning_found(asked, key, how):
    assert resolve([asked], OFFERED, ()) == ({"q": (key, how)}, [])


@pytest.mark.parametrize(
    "asked, reason, listed",
    [
        (
            question(),
            "no candidate key exists and no title matches",
            ["mlops.user (MLflow Login Username)", "mlops.pass"],
        ),
        (question(title_matches=["nope"]), "no candidate key exists and no title matches", ["mlops.user"]),
        (question(title_matches=["user"]), "several titles match", ["mlops.user", "email.user"]),
        (question(candidates=["mlops.user", "mlops.pass"]), "several of its candidate keys exist", ["mlops.pass"]),
    ],
)
def test_meaning_not_found(asked, reason, listed):
    asked.update(description="The thing", variable="role_variable")
    answers, (problem,) = resolve([asked], OFFERED, ())
    assert not answers and reason in problem and "'The thing'" in problem and "Set role_variable" in problem
    assert all(one in problem for one in listed)
    assert resolve([dict(asked, optional=True)], OFFERED, ()) == ({}, [])


def test_what_has_a_meaning_already_is_no_answer():
    first, second = question(name="1", candidates=["mlops.user"]), question(name="2", title_matches=["user"])
    assert resolve([second, first], OFFERED, ())[0] == {"1": ("mlops.user", "candidate"), "2": ("email.user", "title")}
    assert resolve([second], OFFERED, ["email.user"])[0] == {"2": ("mlops.user", "title")}


def test_bad_expression():
    with pytest.raises(MlopsError, match=r"title_matches of q: '\(' is not a regular expression"):
        resolve([question(title_matches=["("])], OFFERED, ())


def test_list_of_what_is_on_offer():
    many = {f"k{n}": Setting(f"k{n}", "") for n in range(100)}
    assert "k59, and 40 more." in undecided(question(), "x", near_mlops(many))
    assert list(near_mlops(dict(many, **OFFERED))) == ["mlops.user", "mlops.pass"]
    assert "On offer: nothing." in undecided(question(), "x", {})


@pytest.mark.parametrize(
    "key, hint",
    [
        ("MLOPS.USER", "did you mean mlops.user?"),
        ("mlops.usr", "did you mean mlops.user?"),
        ("something.else", "this server."),
    ],
)
def test_unknown_key(key, hint):
    assert unknown_key(key, OFFERED, ApiStore).endswith(hint)


def yes():
    return True


def no():
    return False


MASK = "********"
API = ApiStore(Client(None))
FILE = FileStore(None, "x", [])


@pytest.mark.parametrize(
    "store, shown, value, secret, policy, known, expected",
    [
        (API, "a", "a", False, "auto", None, False),
        (API, "a", "b", False, "on_create", None, True),
        (API, "", "", True, "always", None, False),
        # a secret that can be read
        (API, "a", "a", True, "always", None, False),
        (API, "a", "b", True, "auto", None, True),
        (API, "a", "b", True, "on_create", None, False),
        # one behind a mask
        (API, MASK, "b", True, "auto", None, None),
        (API, MASK, "b", True, "auto", yes, False),
        (API, MASK, "b", True, "auto", no, True),
        (API, MASK, "b", True, "always", yes, True),
        (API, MASK, "b", True, "on_create", no, False),
        (API, MASK, "", True, "auto", no, True),
        (API, "\u2022\u2022\u2022\u2022", "b", True, "auto", None, None),
        (API, "AKIA****", "b", True, "auto", None, None),
        # one that is not shown at all, or is not there
        (API, "", "b", True, "auto", None, True),
        (API, "", "b", True, "auto", yes, False),
        (API, "", "b", True, "auto", no, True),
        (API, "", "b", True, "always", yes, True),
        (API, "", "b", True, "on_create", None, True),
        (API, "", "b", True, "on_create", yes, False),
        # a mask in a setting that is no secret is just a value
        (API, MASK, "b", False, "auto", None, True),
        # files hide nothing, and a missing line is not an empty one
        (FILE, MASK, "b", True, "auto", None, True),
        (FILE, "a", "b", True, "on_create", None, False),
        (FILE, None, "", False, "auto", None, True),
        (FILE, None, "b", True, "on_create", None, True),
        (FILE, "", "", False, "auto", None, False),
    ],
)
def test_must_write(store, shown, value, secret, policy, known, expected):
    assert must_write(store, shown, value, secret, policy, known) is expected
