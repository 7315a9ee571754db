"""How the server reads a request and answers it, and its faults."""

import http.server
import json
import os
import socket
import ssl
import struct
import time
import urllib.parse

from .http_server import HttpHandler, log
from .refusals import Refused

LOGIN_PAGE = """<!DOCTYPE html>
<html><head><title>Fire Insights - Login</title></head><body>
<form action="/login" method="post">
<input name="username"><input name="password" type="password"><input type="hidden" name="_csrf" value="%(csrf)s">
<button>Login</button></form></body></html>
"""


class Answers(HttpHandler):
    """The plumbing of a request; the classes that build on it have its end points."""

    server_version = "Fire"

    @property
    def app(self):
        return self.server.app

    @property
    def settings(self):
        return self.app.settings

    def log_message(self, format, *args):
        if self.app.log_requests:
            log(f"{self.address_string()} {format % args}")

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, ssl.SSLError, TimeoutError):
            self.close_connection = True

    def injected_fault(self):
        settings = self.settings
        if settings.delay_seconds:
            time.sleep(settings.delay_seconds)
        if time.time() < self.app.started + settings.ready_after_seconds:
            self.answer(503, "<html><body><h1>503 Service Unavailable</h1></body></html>")
            return True
        if not self.path_only.startswith(settings.fault_path):
            return False
        if self.app.countdown("reset_first"):
            self.reset()
            return True
        if self.app.countdown("fail_first"):
            self.answer(settings.fail_status, self.spring_error(settings.fail_status, "injected"))
            return True
        if self.path_only.startswith(("/api/", "/oauth/")):
            if settings.redirect_api:
                self.redirect("/login")
                return True
            if settings.html_instead_of_json:
                self.answer(200, LOGIN_PAGE % {"csrf": ""})
                return True
        return False

    def reset(self):
        """End the connection with a TCP reset, without an answer."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.wfile = open(os.devnull, "wb")  # noqa: SIM115 - nothing may be flushed to the closed socket
        self.connection.close()

    def error_body(self, status, message):
        self.path_only = self.path.partition("?")[0]
        self.new_cookies = []
        return self.spring_error(status, message)

    def spring_error(self, status, message):
        reason = http.server.BaseHTTPRequestHandler.responses.get(status, ("",))[0]
        return {
            "timestamp": int(time.time() * 1000),
            "status": status,
            "error": reason,
            "message": message,
            "path": self.path_only,
        }

    def answer(self, status, body, headers=()):
        """A dict or list goes out as JSON, a text that starts with < as HTML, any other text and bytes as they are."""
        if isinstance(body, bytes):
            content, kind = body, "application/octet-stream"
        elif isinstance(body, str):
            content, kind = body.encode(), "text/html" if body.lstrip().startswith("<") else "text/plain"
        else:
            content, kind = json.dumps(body).encode(), "application/json"
            if self.settings.truncate_json and self.path_only.startswith(self.settings.fault_path):
                content = content[: len(content) // 2]
        self.send_response(status)
        self.send_header("Content-Type", kind + ("" if isinstance(body, bytes) else ";charset=UTF-8"))
        self.send_header("Content-Length", str(len(content)))
        for cookie in self.new_cookies:
            self.send_header("Set-Cookie", cookie)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if isinstance(body, bytes) and self.settings.truncate_download:
            content = content[: len(content) // 2]
            self.close_connection = True
        if self.command != "HEAD":
            self.wfile.write(content)

    def redirect(self, path):
        scheme = "https" if self.server.tls else "http"
        host = self.headers.get("Host") or "localhost"
        self.answer(302, "", [("Location", f"{scheme}://{host}{path}")])

    def json_body(self):
        if self.headers.get_content_type() != "application/json":
            raise Refused(415, f"Content type '{self.headers.get_content_type()}' not supported")
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Refused(400, f"JSON parse error: {error}") from error

    def form(self):
        if self.headers.get_content_type() != "application/x-www-form-urlencoded":
            return {}
        return {
            name: values[0]
            for name, values in urllib.parse.parse_qs(self.body.decode(), keep_blank_values=True).items()
        }

    def json_object(self):
        body = self.json_body()
        if not isinstance(body, dict):
            raise Refused(400, "JSON parse error: an object is expected")
        return body
