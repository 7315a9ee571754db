"""Shared by the unit tests: modules run as Ansible runs them, and a real HTTP server that answers from a script."""

from __future__ import annotations

import http.server
import json
import os
import threading

import pytest
import sparkflows_server
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import PASS_VARS
from hypothesis import HealthCheck, settings
from module_arguments import patch_module_args

# A busy computer is no fault.
settings.register_profile("any computer", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any computer")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """No test depends on what the caller's shell happens to have set."""
    for name in list(os.environ):
        if name.startswith(("SPARKFLOWS_", "MLFLOW_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def call(capsys, monkeypatch):
    """call(module, check=False, diff=False, **options) -> the module's JSON result, and all it said as `.output`."""
    warnings = []
    # Where Ansible puts warnings depends on what else this process has imported.
    monkeypatch.setattr(AnsibleModule, "warn", lambda self, text, **more: warnings.append(text))

    class Result(dict):
        output = ""

    def run(module, check=False, diff=False, no_log=False, **options):
        internal = dict(_ansible_check_mode=check, _ansible_diff=diff, _ansible_no_log=no_log)
        if "inject_invocation" in PASS_VARS:  # ansible-core 2.21 tells the parameters only where it is asked for them
            internal["_ansible_inject_invocation"] = True
        warnings.clear()
        capsys.readouterr()
        with patch_module_args(dict(options, **internal)), pytest.raises(SystemExit):
            module.main()
        captured = capsys.readouterr()
        result = Result(json.loads(captured.out), warnings=list(warnings))
        assert not result.get("deprecations"), result["deprecations"]
        result.output = captured.out + captured.err + "".join(warnings)
        return result

    return run


class Reply:
    """What the scripted server answers: a JSON value, or a text as it is."""

    def __init__(self, body="", status=200, headers=None, content_type=None, breaks=None):
        text = body if isinstance(body, (str, bytes)) else json.dumps(body)
        self.body = text if isinstance(text, bytes) else text.encode()
        self.status, self.headers, self.breaks = status, headers or {}, breaks
        self.content_type = content_type or ("text/plain" if isinstance(body, str) else "application/json")


class ScriptedServer:
    """Answers (method, path) from `routes`: a Reply, a list of them (the last one stays), or a function."""

    def __init__(self):
        self.routes, self.requests = {}, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length).decode()
                path = self.path.split("?")[0]
                request = dict(method=self.command, path=path, target=self.path, headers=dict(self.headers), body=body)
                outer.requests.append(request)
                reply = outer.routes.get((self.command, path), Reply({"error": "Not Found"}, 404))
                if callable(reply):
                    reply = reply(request)
                if isinstance(reply, list):
                    reply = reply.pop(0) if len(reply) > 1 else reply[0]
                if reply.breaks == "close":
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.content_type)
                self.send_header("Content-Length", str(len(reply.body) + (5 if reply.breaks == "short" else 0)))
                for name, value in reply.headers.items():
                    for one in value if isinstance(value, list) else [value]:
                        self.send_header(name, one)
                self.end_headers()
                self.wfile.write(reply.body)
                self.close_connection = reply.breaks == "short"

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *args: None  # a client that hangs up early is part of the tests
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def on(self, method, path, *replies):
        self.routes[method, path] = list(replies) if len(replies) > 1 else replies[0]

    def sent(self, method=None):
        return [request for request in self.requests if method in (None, request["method"])]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def server():
    scripted = ScriptedServer()
    yield scripted
    scripted.stop()


@pytest.fixture
def sparkflows():
    """sparkflows(switch=value, ...) -> a running double of the Sparkflows server; all are stopped at the end."""
    running = []

    def start(**switches):
        running.append(sparkflows_server.SparkflowsServer(**switches).start())
        return running[-1]

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def reply():
    return Reply


@pytest.fixture
def pauses(monkeypatch):
    """No waiting between retries; the pauses that would have been."""
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept
