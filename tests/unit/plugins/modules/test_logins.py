"""The three ways to log in, against servers that behave in ways that the double does not."""

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.module_utils.client import SparkflowsClient
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError, NotLoggedIn

COOKIE = {"Set-Cookie": "JSESSIONID=one; Path=/; HttpOnly"}


@pytest.fixture
def client(server):
    def make(auth_method, **more):
        params = dict(url=server.url, auth_method=auth_method, token=None, username="me", password="canary")
        params.update(oauth_client_id="sparkflows", oauth_client_secret=None, ca_path=None, validate_certs=True, use_proxy=True)
        return SparkflowsClient(dict(params, timeout=5, retries=0, **more), lambda text: None)

    return make


def header(request, name):
    return {key.lower(): value for key, value in request["headers"].items()}.get(name)


@pytest.mark.parametrize("secret, basic", [(None, "c3BhcmtmbG93czpzZWNyZXQ="), ("s2", "c3BhcmtmbG93czpzMg==")])
def test_oauth2(server, client, reply, secret, basic):
    server.on("POST", "/oauth/token", reply({"access_token": "bearer-1"}))
    server.on("GET", "/x", reply({"a": 1}))
    one = client("oauth2", oauth_client_secret=secret)
    assert one.get("/x") == {"a": 1} and one.get("/x") == {"a": 1}
    login, first, second = server.requests
    assert header(login, "authorization") == f"Basic {basic}"
    assert login["body"] == "grant_type=password&username=me&password=canary"
    assert header(first, "authorization") == header(second, "authorization") == "Bearer bearer-1"


@pytest.mark.parametrize(
    "body, status, text",
    [
        ({"error": "invalid_grant", "error_description": "Bad credentials"}, 400, "invalid_grant: Bad credentials"),
        ({"error": "invalid_client"}, 401, "invalid_client"),
        ("<html>", 200, "a web page"),
        ("", 302, "a redirect"),
        ({}, 200, "without an access_token"),
        ([], 200, "without an access_token"),
    ],
)
def test_oauth2_refused(server, client, reply, body, status, text):
    server.on("POST", "/oauth/token", reply(body, status))
    with pytest.raises(NotLoggedIn) as error:
        client("oauth2").get("/x")
    assert text in str(error.value) and "canary" not in str(error.value)


def test_oauth2_with_a_token_that_cannot_be_sent(server, client, reply):
    server.on("POST", "/oauth/token", reply({"access_token": "canary\nx"}))
    with pytest.raises(MlopsError, match="cannot be part of a token"):
        client("oauth2").get("/x")


@pytest.mark.parametrize("answer", [("", 302, {"Location": "/"}), ("<html>welcome", 200, {}), ({"ok": 1}, 200, {})])
def test_session(server, client, reply, answer):
    body, status, headers = answer
    server.on("POST", "/login", reply(body, status, headers=dict(COOKIE, **headers)))
    server.on("GET", "/x", reply({"a": 1}))
    assert client("session").get("/x") == {"a": 1}
    assert header(server.requests[-1], "cookie") == "JSESSIONID=one"
    assert server.sent("POST")[0]["body"] == "username=me&password=canary"


@pytest.mark.parametrize(
    "answer, text",
    [
        (("", 302, dict(COOKIE, Location="/login?error")), "POST /login answered HTTP 302"),
        (("", 302, dict(COOKIE, Location="/login")), "POST /login answered HTTP 302"),
        (("", 302, {"Location": "/"}), "POST /login answered HTTP 302"),  # no cookie
        (({"message": "no"}, 401, COOKIE), "(no)"),
        (({"message": "Invalid CSRF Token"}, 403, COOKIE), "(Invalid CSRF Token)"),
    ],
)
def test_session_refused(server, client, reply, answer, text):
    body, status, headers = answer
    server.on("POST", "/login", reply(body, status, headers=headers))
    with pytest.raises(NotLoggedIn) as error:
        client("session").get("/x")
    assert text in str(error.value) and "SPARKFLOWS_PASSWORD" in str(error.value) and "canary" not in str(error.value)


def test_session_without_a_login_page_or_that_is_worth_nothing(server, client, reply):
    with pytest.raises(MlopsError, match="POST /login answered HTTP 404"):
        client("session").get("/x")
    server.on("POST", "/login", reply("<title>Login</title>", headers=COOKIE, content_type="text/html"))
    server.on("GET", "/x", reply("", 302, headers={"Location": "/login"}))
    with pytest.raises(NotLoggedIn, match="GET /x answered HTTP 302, a redirect to /login"):
        client("session").get("/x")


def test_session_with_a_csrf_token_that_changes_at_login(server, client, reply):
    """As Spring Security does with a cookie: each unsafe request sends back what the cookie says by then."""
    server.on(
        "GET", "/login", reply("", headers={"Set-Cookie": ["JSESSIONID=one; Path=/", "XSRF-TOKEN=first%2B; Path=/"]})
    )
    moved = {"Location": "/", "Set-Cookie": ["JSESSIONID=two; Path=/", "XSRF-TOKEN=second; Path=/"]}
    server.on("POST", "/login", reply("", 302, headers=moved))
    server.on("POST", "/x", reply({}))
    server.on("GET", "/x", reply({}))
    one = client("session")
    one.post("/x", {})
    one.get("/x")
    assert [header(request, "x-xsrf-token") for request in server.requests] == [None, "first+", "second", None]


def test_session_with_a_csrf_token_that_only_pages_offer(server, client, reply):
    page = '<meta name="_csrf" content="a&amp;%s"/><meta name="_csrf_header" content="X-MINE"/>'
    server.on("GET", "/login", reply(page % 1))
    server.on("GET", "/", reply(page % 2))
    server.on("POST", "/login", reply("", 302, headers=dict(COOKIE, Location="/")))

    def save(request):
        if header(request, "x-mine") == "a&2":
            return reply({"saved": True})
        return reply({"message": "Invalid CSRF Token 'null' was found"}, 403)

    server.routes["POST", "/x"] = save
    assert client("session").post("/x", {}) == {"saved": True}
    login = server.sent("POST")[0]
    assert header(login, "x-mine") == "a&1" and login["body"].endswith("&_csrf=a%261")


def test_csrf_refusal_that_does_not_end(server, client, reply):
    server.on("POST", "/login", reply("", 302, headers=dict(COOKIE, Location="/")))
    server.on("POST", "/x", reply({"message": "Invalid CSRF Token"}, 403))
    with pytest.raises(NotLoggedIn, match="Invalid CSRF Token"):
        client("session").post("/x", {})
    assert len([request for request in server.sent("POST") if request["path"] == "/x"]) == 2


def test_answers_without_data(server, client, reply):
    server.on("POST", "/x", reply(""))
    server.on("POST", "/y", reply("saved"))
    server.on("GET", "/z", reply("no json"))
    one = client("token", token="t")
    assert one.post("/x", {}) is None and one.post("/y", {}) is None and one.get_or_none("/none") is None
    with pytest.raises(MlopsError, match="GET /z answered HTTP 200 with something that is no JSON. Is url the address of Sparkflows itself"):
        one.get("/z")
    # Half of the answer to a POST is none: whether it was done is not known, and nobody may go on as if it was.
    server.on("POST", "/half", reply('{"accessToken": "ey'))
    with pytest.raises(MlopsError, match="POST /half answered HTTP 200 with half an answer: it ends after 19 bytes"):
        one.post("/half", {})
    server.on("POST", "/oauth/token", reply('{"access_token": "ey'))
    with pytest.raises(MlopsError, match="POST /oauth/token answered HTTP 200 with half an answer"):
        client("oauth2", username="u", password="p").get("/z")
    server.on("GET", "/w", reply({}, 500))
    with pytest.raises(MlopsError, match="HTTP 500"):
        one.get_or_none("/w")
