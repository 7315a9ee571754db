from __future__ import annotations

import json

import pytest
from ansible_collections.sparkflows.mlops.plugins.modules import sparkflows_server_info as module

UP = {"status": "UP"}


def test_older_path(call, server, reply):
    server.on("GET", "/actuator/health", reply(UP))
    result = call(module, url=server.url)
    assert result["health_path"] == "/actuator/health" and result["release"] == {} and not result["changed"]
    assert all("token" not in {name.lower() for name in request["headers"]} for request in server.requests)


@pytest.mark.parametrize(
    "answers, text",
    [
        (("{}", 200), "/healthcheck answered HTTP 200"),
        (({"status": "DOWN"}, 503), "/healthcheck says DOWN"),
        (({"status": "OUT_OF_SERVICE"}, 200), "/healthcheck says OUT_OF_SERVICE"),
        (("<html>", 200), "/healthcheck answered HTTP 200 with a web page"),
        (("", 302), "/healthcheck answered HTTP 302"),
        (([UP], 200), "/healthcheck answered HTTP 200"),
    ],
)
def test_not_up(call, server, reply, answers, text):
    server.on("GET", "/healthcheck", reply(*answers))
    result = call(module, url=server.url, retries=0)
    assert result["failed"] and text in result["msg"] and "/actuator/health answered HTTP 404" in result["msg"]


def test_waits_until_up(call, server, reply, pauses):
    server.on("GET", "/healthcheck", reply({}, 503), reply({"status": "STARTING"}), reply(UP))
    assert call(module, url=server.url, wait_timeout=60, wait_interval=7)["status"] == "UP"
    assert pauses == [7, 7]


def test_wait_ends(call, server):
    server.stop()
    result = call(module, url=server.url, wait_timeout=1)
    assert result["failed"] and "the connection was refused" in result["msg"] and "Waited 1 s for it." in result["msg"]


def test_no_wait_for_what_waiting_cannot_cure(call, server, pauses):
    result = call(module, url=server.url.replace("http:", "https:"), wait_timeout=60)
    assert result["failed"] and "TLS failed" in result["msg"] and not pauses and "Waited" not in result["msg"]


@pytest.mark.parametrize(
    "body, version",
    [
        ({"releaseVersion": "3.3.41", "sparkVersion": "3.5.2"}, "3.3.41"),
        ({"sparkVersion": "3.5.2", "version": "3.3.41-rc2"}, "3.3.41-rc2"),
        ({"version": "1.0", "release": "fire-3.2.81"}, "3.2.81"),
        ({"something": "3.3.41"}, None),
        ({"version": None}, None),
        ("3.3.41", "3.3.41"),
        ([1], None),
    ],
)
def test_release(call, server, reply, body, version):
    server.on("GET", "/healthcheck", reply(UP))
    server.on("GET", "/api/v1/main/about", reply(json.dumps(body)))
    result = call(module, url=server.url, token="t")
    assert result["version"] == version and result["release"] == body and result["logged_in"]


def test_release_that_no_path_tells(call, server, reply):
    server.on("GET", "/healthcheck", reply(UP))
    result = call(module, url=server.url, token="t")
    assert result["version"] is None and result["release"] == {} and result["logged_in"] is False
