"""What any request may be like, of both doubles that speak HTTP: each has an answer, and the next request is the next one."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time

import pytest
from awx_api import AwxApi
from sparkflows_server import SparkflowsServer


@pytest.fixture(name="exchange", params=["sparkflows", "awx"])
def fixture_exchange(request):
    """Sends texts on one connection; gives the status codes that come back. {login} and {path} are those of the double."""
    if request.param == "awx":
        double = AwxApi(token="t0ken").start()
        login, path = "Authorization: Bearer t0ken", "/api/v2/organizations/"
    else:
        double = SparkflowsServer().start()
        login, path = f"token: {double.token('admin')}", "/api/v1/tokens"

    def exchange(*requests):
        host, port = double.url.split("//")[1].split(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            for text in requests:
                text = text.replace("{login}", login).replace("{path}", path)
                connection.sendall(text.replace("\n", "\r\n").encode())
            with contextlib.suppress(OSError):  # the double has closed it
                connection.shutdown(socket.SHUT_WR)
            received = b""
            while piece := connection.recv(65536):
                received += piece
        return re.findall(r"HTTP/1\.1 (\d+)", received.decode())

    yield exchange
    double.stop()


# For a day: this is read when tests are collected, which may be long before.
BODY = json.dumps({"name": "x", "description": "x", "expiredDuration": str(int(time.time() * 1000) + 86_400_000)})
POST = "POST {path} HTTP/1.1\nHost: h\n{login}\nContent-Type: application/json\n"
GET = "GET {path} HTTP/1.1\nHost: h\n{login}\n\n"


def chunked(text, *sizes):
    pieces, at = "", 0
    for size in [*sizes, len(text) - sum(sizes), 0]:
        pieces += f"{size:x};ext=1\n{text[at : at + size]}\n"
        at += size
    return pieces


def test_a_body_in_chunks(exchange):
    created, after = exchange(POST + "Transfer-Encoding: chunked\n\n" + chunked(BODY, 5, 1), GET)
    assert created == "201"
    assert after in ("200", "405")


@pytest.mark.parametrize("header", [
    "Content-Length: abc", "Content-Length: -1", "Content-Length: 2\nContent-Length: 3", "Content-Length: 2\nTransfer-Encoding: chunked",
    "Transfer-Encoding: gzip", "Transfer-Encoding: chunked\n\nxyz"])  # fmt: skip
def test_a_body_without_an_end_is_refused_and_ends_the_connection(exchange, header):
    (status,) = exchange(POST + header + "\n\n{}", GET)
    assert status == "400"


@pytest.mark.parametrize("value", [["x"], {"x": 1}, None, 1.5, True])
@pytest.mark.parametrize("field", ["name", "description", "expiredDuration"])
def test_a_value_of_another_kind_has_an_answer(exchange, field, value):
    body = json.dumps({**json.loads(BODY), field: value})
    assert len(exchange(f"{POST}Content-Length: {len(body)}\n\n{body}")) == 1


@pytest.mark.parametrize("value", [["admin"], {"x": 1}, 5])
def test_a_list_as_the_name_of_a_user(double, value):
    server, client = double(workflows={"7": {}})
    answer = client("POST", "/api/v1/create/workflowexecution/7", headers={"token": server.token("admin")}, json={"userName": value})
    assert answer.status_code == 400


@pytest.mark.parametrize("value", [["mlops.port"], {"x": 1}, None])
def test_a_list_as_the_name_of_a_setting(double, value):
    server, client = double()
    answer = client("POST", "/api/v1/configurations", headers={"token": server.token("admin")}, json=[{"name": value, "value1": "x"}])
    assert answer.status_code == 400


def test_what_a_double_does_not_expect_is_answered(double, monkeypatch):
    server, client = double()
    monkeypatch.setattr(type(server.store), "listing", lambda self: 1 / 0)
    answer = client("GET", "/api/v1/configurations", headers={"token": server.token("admin")})
    assert answer.status_code == 500 and "ZeroDivisionError" in answer.json()["message"]
