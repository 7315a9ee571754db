"""What every double that speaks HTTP needs, whatever it stands for."""

import http.server
import re
import signal
import socket
import ssl
import sys
import threading
import traceback


def log(text):
    """To standard error, which is the journal where systemd runs it."""
    print(text, file=sys.stderr, flush=True)


class BadRequest(Exception):
    """A request of which nobody can tell where it ends. The text is for the answer."""


class HttpHandler(http.server.BaseHTTPRequestHandler):
    """What a server does for any request, for the doubles: the body is read however it is sent, and every request has an answer.

    A double has `handle_request(body)` and `answer(status, body)`, and says in `error_body(status, message)` what its refusals look like.
    """

    protocol_version = "HTTP/1.1"
    sys_version = ""
    timeout = 30

    def do_GET(self):
        self.answered = False
        try:
            body = self.read_body()
        except BadRequest as error:
            # What follows cannot be told from a request.
            self.close_connection = True
            self.answer(400, self.error_body(400, str(error)))
            # What was sent and is not read would become a reset, and take the answer with it.
            self.connection.shutdown(socket.SHUT_WR)
            while self.rfile.read1(65536):
                pass
            return
        try:
            self.handle_request(body)
        except (ConnectionError, ssl.SSLError, TimeoutError):
            raise
        except Exception as error:
            log(traceback.format_exc())
            self.close_connection = True
            if not self.answered:
                self.answer(500, self.error_body(500, f"{type(error).__name__}: {error}"))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET

    def send_response(self, *arguments):
        self.answered = True
        super().send_response(*arguments)

    def read_body(self):
        coding = self.headers.get("Transfer-Encoding")
        lengths = set(self.headers.get_all("Content-Length", []))
        if coding is None:
            if not lengths:
                return b""
            length = lengths.pop()
            if lengths or not re.fullmatch("[0-9]+", length):
                raise BadRequest("Invalid Content-Length")
            return self.read_exactly(int(length))
        if lengths or coding.lower() != "chunked":
            raise BadRequest("Unsupported Transfer-Encoding")
        body = b""
        while True:
            size = self.rfile.readline(1000).split(b";")[0].strip()
            if not re.fullmatch(b"[0-9a-fA-F]+", size):
                raise BadRequest("Invalid chunk")
            chunk = self.read_exactly(int(size, 16))
            if not chunk:
                break
            body += chunk
            if self.rfile.readline(3).strip():
                raise BadRequest("Invalid chunk")
        while self.rfile.readline(65537).strip():  # the fields after the last chunk
            pass
        return body

    def read_exactly(self, length):
        content = self.rfile.read(length)
        if len(content) < length:
            raise ConnectionError("the body broke off")
        return content


def until_told_to_stop():
    """Wait for SIGTERM or SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
