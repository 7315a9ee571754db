"""A double of the Sparkflows (Fire Insights) server: logins, tokens, Administration > Configuration, executing workflows,
and the model repository.

Standard library only, so that the lab can copy the files to a bare machine. What is documented and what is assumed about
the real server is in README.md; the switches are the fields of `Settings`.
"""

import hmac
import http.server
import json
import secrets
import ssl
import sys
import threading
import time

from .http_server import HttpHandler, log, until_told_to_stop
from .models import MODEL
from .properties import PROPERTIES, parse_properties
from .routes import Handler
from .settings import Settings
from .store import Store
from .tokens import BadToken, mint_token
from .workflows import Execution

# Other doubles and the tests take what they need of this one from here.
__all__ = ["PROPERTIES", "HttpHandler", "Settings", "SparkflowsServer", "mint_token", "parse_properties", "until_told_to_stop"]


class _Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    app = None
    tls = False

    @property
    def url(self):
        address, port = self.server_address[:2]
        return f"{'https' if self.tls else 'http'}://{address}:{port}"

    def handle_error(self, request, client_address):
        log(f"{client_address}: {sys.exc_info()[1]!r}")


class SparkflowsServer:
    """The double; in tests: `with SparkflowsServer(release="3.2.90") as server: ... server.url ...`."""

    def __init__(self, settings=None, log_requests=False, **switches):
        self.settings = settings or Settings.from_dict(switches)
        self.log_requests = log_requests
        self.token_secret = self.settings.token_secret or secrets.token_urlsafe(48)
        self.lock = threading.Lock()
        self.requests = []  # what came in: {"method", "path", "headers", "body"}
        self.sessions = {}
        self.bearers = {}
        self.store = Store(self.settings)
        self.executions = {}  # number -> Execution
        self.listeners = []
        self.started = 0.0

    # ---- life
    def start(self):
        self.started = time.time()
        for where in self.settings.listen:
            listener = _Listener((where.get("address", "127.0.0.1"), int(where.get("port", 0))), Handler)
            listener.app = self
            if where.get("cert"):
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(where["cert"], where.get("key") or None)
                # The handshake is left to the request's thread: a silent client must not block the others.
                listener.socket = context.wrap_socket(listener.socket, server_side=True, do_handshake_on_connect=False)
                listener.tls = True
            self.listeners.append(listener)
            threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self):
        for listener in self.listeners:
            listener.shutdown()
            listener.server_close()
        self.listeners = []

    def restart(self):
        """What a restart of the service does, without a new port: logins are forgotten, the properties file is read."""
        with self.lock:
            self.sessions.clear()
            self.bearers.clear()
        self.store.load()
        self.started = time.time()

    __enter__ = start

    def __exit__(self, *args):
        self.stop()

    @property
    def url(self):
        return self.listeners[0].url

    # ---- for tests
    def token(self, user="admin", seconds=3600):
        return mint_token(self.token_secret, user, time.time() + seconds)

    def value(self, name):
        return self.store.value(name)

    def values(self):
        """{name: value in force}, unmasked."""
        with self.store.lock:
            return {name: self.store.value(name) for name in self.store.rows}

    def set(self, name, value):
        with self.store.lock:
            self.store.rows[name]["value"] = value
            self.store.save()

    def saves(self):
        """The bodies of the saves that came in."""
        return [
            json.loads(r["body"])
            for r in self.requests
            if r["method"] == "POST" and r["path"] == "/api/v1/configurations"
        ]

    # ---- for the handlers
    def execute(self, workflow_id, workflow, user, parameters):
        with self.lock:
            number = 162 + len(self.executions)
            execution = Execution(number, workflow_id, workflow, user, parameters, self.settings.workflow_log_dir)
            self.executions[number] = execution
        return execution

    def models(self):
        return [dict(MODEL, **model) for model in self.settings.models]

    def record(self, method, path, headers, body):
        with self.lock:
            self.requests.append({"method": method, "path": path, "headers": dict(headers.items()), "body": body})
            del self.requests[:-1000]

    def countdown(self, fault):
        with self.lock:
            left = getattr(self.settings, fault)
            if left > 0:
                setattr(self.settings, fault, left - 1)
            return left > 0

    def good_password(self, name, password):
        user = self.settings.users.get(name or "")
        return user is not None and hmac.compare_digest(user["password"].encode(), (password or "").encode())

    def new_session(self, user):
        identifier, csrf = secrets.token_hex(16).upper(), secrets.token_urlsafe(24)
        with self.lock:
            self.sessions[identifier] = {
                "user": user,
                "csrf": csrf,
                "expires": time.time() + self.settings.session_seconds,
            }
        return identifier, csrf

    def session(self, identifier):
        with self.lock:
            session = self.sessions.get(identifier)
        if session is None or self.settings.tokens_expired or session["expires"] <= time.time():
            return None
        return session

    def end_session(self, identifier):
        with self.lock:
            self.sessions.pop(identifier, None)

    def new_bearer(self, user):
        single = self.settings.one_login_per_user
        token = secrets.token_urlsafe(32)
        with self.lock:
            if single or (single is None and self.settings.since_3_3_11()):
                self.bearers = {t: b for t, b in self.bearers.items() if b["user"] != user}
            self.bearers[token] = {"user": user, "expires": time.time() + self.settings.oauth_token_seconds}
        return token

    def bearer_user(self, token):
        with self.lock:
            bearer = self.bearers.get(token)
        if bearer is None:
            raise BadToken("Invalid access token")
        if bearer["expires"] <= time.time():
            raise BadToken("Access token expired: " + token)
        return bearer["user"]
