from __future__ import annotations

import base64
import json
import time

import pytest
from ansible_collections.sparkflows.mlops.plugins.modules import sparkflows_access_token as module

TOKENS = "/api/v1/tokens"


def jwt(days, marker="canary"):
    claims = {"sub": marker, "exp": int((time.time() + days * 86400) * 1000)}
    return f"aaa.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.sig-{marker}"


@pytest.fixture
def options(server, tmp_path):
    return dict(url=server.url, token="login-token", description="test", path=str(tmp_path / "token"))


@pytest.mark.parametrize("status", [200, 201])
def test_what_is_asked_for(call, server, reply, options, status):
    server.on("POST", TOKENS, reply({"accessToken": jwt(10)}, status))
    assert call(module, **options, valid_days=10)["changed"]
    body = json.loads(server.sent("POST")[0]["body"])
    assert body["description"] == "test" and isinstance(body["expiredDuration"], str)
    assert abs(int(body["expiredDuration"]) / 1000 - time.time() - 10 * 86400) < 60


def test_token_that_is_no_jwt_is_kept_while_the_server_takes_it(call, server, reply, options, tmp_path):
    (tmp_path / "token").write_text("opaque-canary\n")
    server.on("GET", "/api/v1/app/release-info", reply({}))
    result = call(module, **options)
    assert not result["changed"] and result["expires"] == "" and "canary" not in result.output
    server.on("GET", "/api/v1/app/release-info", reply({}, 401))
    server.on("POST", TOKENS, reply({"accessToken": jwt(90)}))
    result = call(module, diff=True, **options)
    assert result["changed"] and result["diff"] == {"before": "a token\n", "after": "a new token\n"}


def test_kept_token_is_returned_on_request(call, server, options, tmp_path):
    token = jwt(30)
    (tmp_path / "token").write_text(token)
    result = call(module, no_log=True, return_token=True, **options)
    assert not result["changed"] and result["access_token"] == token


@pytest.mark.parametrize(
    "more, text",
    [
        (dict(path=None), "Set path to the file for the token, or return_token=true"),
        (dict(return_token=True), "return_token=true needs no_log: true"),
        (dict(description=" "), "Set description"),
        (dict(renew_before_days=90), "renew_before_days must be less than valid_days"),
        (dict(path="/no/such/directory/token"), "path: there is no directory /no/such/directory"),
    ],
)
def test_options_that_make_no_sense(call, server, options, more, text):
    result = call(module, **dict(options, **more))
    assert result["failed"] and text in result["msg"] and not server.requests


@pytest.mark.parametrize(
    "body, status, text",
    [
        ({"error": "Bad Request", "message": "Token description is mandatory"}, 400, "Token description is mandatory"),
        ({"message": "Access Denied"}, 403, "did not accept the login"),
        ({}, 200, "answered without an accessToken"),
        ([1], 200, "answered without an accessToken"),
        ("", 200, "answered without an accessToken"),
        ("<html>", 200, "did not accept the login"),
    ],
)
def test_server_that_makes_none(call, server, reply, options, tmp_path, body, status, text):
    server.on("POST", TOKENS, reply(body, status))
    result = call(module, **options)
    assert result["failed"] and text in result["msg"] and "login-token" not in result.output
    assert not (tmp_path / "token").exists()


def test_check_mode_tries_the_login(call, server, reply, options):
    server.on("GET", "/api/v1/app/release-info", reply({}, 401))
    assert "did not accept the login" in call(module, check=True, **options)["msg"] and not server.sent("POST")
