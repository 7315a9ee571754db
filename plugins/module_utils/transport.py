# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""HTTP transport: one request at a time, judged strictly, with errors that an administrator can act on.

It knows nothing of any product: a client for another server gives it a name, an address and advice for the case that
the login is refused.
"""

import html
import http.client
import inspect
import json
import os
import random
import re
import socket
import ssl
import time
from http.cookiejar import CookieJar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, quote_plus, urlencode, urlsplit

from ansible.module_utils.urls import Request, make_context

RETRY_STATUS = (429, 502, 503, 504)
# POST is missing on purpose: a POST whose answer was lost may have done its work.
IDEMPOTENT = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")
LONGEST_PAUSE = 30.0
# What servers of the Sparkflows family say about a bad token, whatever the status code is.
BAD_TOKEN = ("invalid_token", "jwt signature does not match", "access denied")
MESSAGE_LENGTH = 300
PIECE = 1 << 20
# What may stand where JSON ends too early: nothing, or the beginning of a number or a word.
UNFINISHED = re.compile("[-+.0-9eE]*|t[rue]*|f[alse]*|n[ul]*")


class MlopsError(Exception):
    """A failure with a text for the operator; `details` are further result fields for fail_json."""

    def __init__(self, message, **details):
        super().__init__(message)
        self.details = details


class Unreachable(MlopsError):
    """No answer at all. `permanent` means that waiting will not help (certificate, wrong protocol)."""

    def __init__(self, message, permanent=False):
        super().__init__(message)
        self.permanent = permanent


class HttpError(MlopsError):
    """The server answered, and the answer is a refusal."""

    def __init__(self, message, answer):
        super().__init__(message)
        self.status = answer.status


class NotLoggedIn(HttpError):
    """401, 403, a bad token, a redirect, or a web page where data was asked for."""


class Answer:
    """What came back, read completely."""

    def __init__(self, method, path, status, headers, body):
        self.method, self.path, self.status, self.headers, self.body = method, path, status, headers, body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace")

    @property
    def is_redirect(self):
        return 300 <= self.status < 400

    @property
    def is_file(self):
        """Whether the headers announce a file, and neither data nor a page."""
        kind = self.headers.get_content_type()
        attached = self.headers.get_content_disposition() == "attachment"
        return self.status == 200 and (attached or kind not in ("application/json", "text/html", "text/plain"))

    @property
    def is_html(self):
        kind = (self.headers.get("Content-Type") or "").lower()
        return kind.startswith("text/html") or self.text[:200].lstrip().lower().startswith(("<!doctype html", "<html"))

    def data(self):
        """The JSON value, or None where the body is not JSON."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None

    @property
    def means_json(self):
        return self.text.lstrip().startswith(("{", "["))

    @property
    def json_problem(self):
        """Why the body is no JSON, to follow "answered HTTP 200". None of the body is in it: a part of a secret cannot be told from a text."""
        text = self.text.rstrip()
        if not text:
            return "without the data that belongs into the answer"
        if not self.means_json:
            return "with something that is no JSON"
        try:
            json.loads(text)
        except ValueError as error:
            where = getattr(error, "pos", 0)
            if "Unterminated" in str(error) or UNFINISHED.fullmatch(text, where):
                return f"with half an answer: it ends after {len(self.body)} bytes, in the middle of the data"
            return f"with damaged JSON (at character {where + 1} of {len(text)})"
        return "with other JSON than was asked for"

    @property
    def message(self):
        """The server's own words about a failure. Not for the operator as they are: see HttpClient.said."""
        data = self.data()
        if isinstance(data, dict):
            words = [str(data[key]) for key in ("error", "error_description", "message", "detail") if data.get(key)]
            return ": ".join(dict.fromkeys(words))
        if self.is_html:
            title = re.search(r"<title[^>]*>(.*?)</title>", self.text, re.I | re.S)
            return html.unescape(title.group(1)).strip() if title else ""
        return " ".join(self.text.split())

    @property
    def says_bad_token(self):
        data = self.data()
        # A proper answer may well contain such words (in a list of settings, say): only error bodies are searched.
        if self.status < 400 and data is not None and not (isinstance(data, dict) and "error" in data):
            return False
        return any(phrase in self.text[:2000].lower() for phrase in BAD_TOKEN)


class HttpClient:
    """A server at one address. `product` and `login_advice` are words for the error texts."""

    def __init__(self, url, product, login_advice, warn, timeout=30, retries=3, validate_certs=True, ca_path=None, use_proxy=True):
        self.url = checked_url(url)
        self.product = product
        self.login_advice = login_advice
        self.warn = warn
        if timeout <= 0 or retries < 0:
            raise MlopsError("timeout must be more than 0, and retries 0 or more.")
        self.retries = retries
        self.headers = {"Accept": "application/json"}
        self.cookies = CookieJar()
        self._secrets = set()
        host = urlsplit(self.url).hostname
        loopback = host in ("localhost", "::1") or host.startswith("127.")
        self._request = Request(
            use_proxy=use_proxy and not loopback,  # whatever http_proxy says: a proxy has a loopback of its own
            http_agent="ansible-sparkflows.mlops",
            follow_redirects="none",
            use_netrc=False,  # only the options decide who logs in
            timeout=timeout,
            cookies=self.cookies,
            **self._tls(validate_certs, ca_path)
        )
        if self.url.startswith("http:") and not loopback:
            self.warn(f"{self.url} is plain http: the login and all data cross the network unencrypted. Prefer https.")

    def _tls(self, validate_certs, ca_path):
        context = self._tls_context(validate_certs, ca_path)
        if "context" in inspect.signature(Request).parameters:
            return {"context": context}
        # ansible-core 2.16 makes its own, for each request.
        return {"validate_certs": validate_certs, "ca_path": ca_path or None}

    def _tls_context(self, validate_certs, ca_path):
        if self.url.startswith("http:"):
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used; spares reading the system's certificates
        if ca_path and not os.path.isfile(ca_path):
            raise MlopsError(f"ca_path: there is no file {ca_path} on this host.")
        try:
            return make_context(cafile=ca_path or None, validate_certs=validate_certs)
        except (OSError, ssl.SSLError) as error:
            raise MlopsError(f"ca_path: {ca_path} is not a readable PEM file with certificates ({error}).") from error

    def hide(self, values):
        """Never repeat these values, should the server echo one in a message."""
        self._secrets.update(str(value) for value in values if value)

    def scrub(self, text):
        shapes = set()
        for value in self._secrets:
            shapes.update((value, quote(value), quote(value, safe=""), quote_plus(value)))
            shapes.update((html.escape(value), json.dumps(value)[1:-1]))
        for shape in sorted(shapes, key=len, reverse=True):
            text = text.replace(shape, "********")
        return text

    def said(self, answer):
        """The server's own words about a failure, short, and without secrets. What was shortened before would keep half of a secret."""
        return self.scrub(answer.message)[:MESSAGE_LENGTH]

    def not_json(self, answer):
        """The one text for an answer that should have been data."""
        what = f"{answer.method} {answer.path} answered HTTP {answer.status} {answer.json_problem}"
        if answer.means_json:
            advice = "Something between here and there, or the server itself, cut it short: look into their logs, and run this again."
        else:
            advice = f"Is url the address of {self.product} itself?"
        return HttpError(f"{self.product} at {self.url}: {what}. {advice}", answer)

    def request(self, method, path, json_body=None, form=None, query=None, headers=None):
        """Send, and raise unless the answer is a success that is neither a redirect nor a web page."""
        return self.judge(self.send(method, path, json_body, form, query, headers))

    def send(self, method, path, json_body=None, form=None, query=None, headers=None, retries=None, sink=None, data=None, repeatable=None):
        """Send and return the answer, whatever it is. Idempotent verbs are tried again where that can help.

        A file that comes goes piece by piece to `sink`, a function, and is not part of the answer; see is_file.
        `data` are bytes as they are, with their Content-Type in `headers`. `repeatable` is for a caller who knows better than the verb.
        """
        headers = dict(self.headers, **(headers or {}))
        if json_body is not None:
            data = json.dumps(json_body).encode()
            headers["Content-Type"] = "application/json"
        elif form is not None:
            data = urlencode(form).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        target = path + ("?" + urlencode(query) if query else "")
        retries = self.retries if retries is None else retries
        if not (method in IDEMPOTENT if repeatable is None else repeatable):
            retries = 0
        for attempt in range(1, retries + 2):
            answer = self._send_once(method, path, target, data, headers, sink)
            if answer.status not in RETRY_STATUS or attempt > retries:
                break
            pause = self._pause(attempt, answer.headers.get("Retry-After"))
            again = f"trying again in {pause:.1f} s ({attempt} of {retries})"
            self.warn(f"{self.product} answered {method} {path} with HTTP {answer.status}; {again}.")
            time.sleep(pause)
        return answer

    @staticmethod
    def _pause(attempt, retry_after):
        if retry_after and retry_after.isdigit():
            return min(float(retry_after), LONGEST_PAUSE)
        # Jitter keeps many hosts that were refused together from coming back together.
        return min(2.0 ** (attempt - 1), LONGEST_PAUSE) * random.uniform(0.5, 1.0)

    def _send_once(self, method, path, target, data, headers, sink=None):
        try:
            response = self._request.open(method, self.url + target, data=data, headers=headers)
        except HTTPError as error:
            response = error
        except (OSError, http.client.HTTPException, ssl.CertificateError) as error:  # URLError is an OSError
            raise self._unreachable(method, path, error) from error
        try:
            with response:
                answer = Answer(method, path, response.getcode(), response.headers, b"")
                if sink and answer.is_file:
                    pour(response, sink)
                else:
                    answer.body = response.read() or b""
                return answer
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(method, path, error) from error

    def _unreachable(self, method, path, error):
        reason = error.reason if isinstance(error, URLError) and isinstance(error.reason, Exception) else error
        permanent = False
        # Python 3.6 has one error for a name that does not fit, and no class of its own for the rest.
        if isinstance(reason, ssl.CertificateError) or getattr(reason, "reason", "") == "CERTIFICATE_VERIFY_FAILED":
            permanent = True
            why = f"its certificate is not accepted ({getattr(reason, 'verify_message', reason)})"
            advice = "Set ca_path to the file with the CA certificate (PEM), or correct the host name in url."
        elif isinstance(reason, ssl.SSLError):
            permanent = True
            why = f"TLS failed ({reason.reason or reason})"
            advice = "Is it really https that the port in url speaks?"
        elif isinstance(reason, (socket.timeout, TimeoutError)):
            why = f"no answer within the time-out of {self._request.timeout} s"
            advice = "Check url and the firewalls in between, or raise timeout."
        elif isinstance(reason, socket.gaierror):
            why = "the host name is not known here"
            advice = "Check url and the name resolution of this host."
        elif isinstance(reason, ConnectionRefusedError):
            why = "the connection was refused"
            advice = f"Is {self.product} running, and are host and port in url right?"
        elif isinstance(reason, http.client.IncompleteRead):
            got, missing = len(reason.partial), reason.expected
            why = f"the connection broke off in the middle of the answer ({got} bytes came" + (f", {missing} are missing)" if missing else ")")
            advice = f"Did {self.product} or something in between restart, or end requests that take long? Look into their logs, and run this again."
        elif isinstance(reason, (http.client.HTTPException, ConnectionError)):
            why = f"the connection broke off ({type(reason).__name__})"
            advice = "Does the port in url speak https rather than http, or did the server restart?"
        else:
            why = str(reason)
            advice = "Check url and the network between this host and the server."
        text = f"{self.product} at {self.url} cannot be reached for {method} {path}: {why}. {advice}"
        return Unreachable(self.scrub(text), permanent)

    def judge(self, answer):
        """Return the answer if it is a success, raise otherwise."""
        said = self.said(answer)
        what = f"{answer.method} {answer.path} answered HTTP {answer.status}"
        if answer.is_redirect:
            target = (answer.headers.get("Location") or "").split("?")[0].split(";")[0]
            moved = self._moved(answer.path, target)
            if moved:
                raise NotLoggedIn(
                    f"{self.product} is not served at {self.url}: {what}, a redirect to {self.scrub(target)}. "
                    f"Set url to {moved}.",
                    answer,
                )
            raise self.refused(answer, f", a redirect to {self.scrub(target) or 'nowhere'}")
        if answer.status in (401, 403) or answer.says_bad_token:
            raise self.refused(answer)
        if answer.status >= 400:
            raise HttpError(f"{self.product} at {self.url}: {what}" + (f": {said}" if said else "") + ".", answer)
        if answer.is_html:
            raise self.refused(answer, " with a web page" + (f' titled "{said}"' if said else "") + " instead of data")
        data = answer.data()
        if isinstance(data, dict) and data.get("error"):
            raise HttpError(f"{self.product} at {self.url}: {what}, but reports an error: {said}.", answer)
        return answer

    def refused(self, answer, how=None):
        """The one text for a login that was not accepted."""
        if how is None:
            said = self.said(answer)
            how = f" ({said})" if said else ""
        what = f"{answer.method} {answer.path} answered HTTP {answer.status}{how}"
        text = f"{self.product} at {self.url} did not accept the login: {what}. {self.login_advice}"
        return NotLoggedIn(text, answer)

    def _moved(self, path, target):
        """The url to use instead, if the redirect leads to the same path at another scheme, host or port."""
        parts = urlsplit(target)
        base = urlsplit(self.url)
        here = (parts.scheme, parts.netloc) == (base.scheme, base.netloc)
        if here or not parts.netloc or not parts.path.endswith(path):
            return None
        return f"{parts.scheme}://{parts.netloc}{parts.path[: -len(path)]}"


class BrokenOff(http.client.IncompleteRead):
    """A file that was handed on piece by piece, and is not kept here."""

    def __init__(self, received, missing):
        super().__init__(range(received), missing)


def pour(response, sink):
    expected = response.headers.get("Content-Length")
    received = 0
    while True:
        piece = response.read(PIECE)
        if not piece:
            break
        received += len(piece)
        sink(piece)
    # http.client notices a body that is too short only where it is read in one go.
    if expected and not response.headers.get("Content-Encoding") and received != int(expected):
        raise BrokenOff(received, int(expected) - received)


def checked_url(url):
    """The base address without a trailing slash; a clear error where it cannot be one."""
    parts = urlsplit(url)
    try:
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        port_is_fine = False
    if parts.username or parts.password:
        raise MlopsError("url must not contain a user name or a password: use the options for the login.")
    odd = not parts.hostname or not port_is_fine or parts.query or parts.fragment or re.search(r"[\s\x00-\x20]", url)
    if parts.scheme not in ("http", "https") or odd:
        raise MlopsError(f"url must look like https://host:port, not {url!r}.")
    return url.rstrip("/")
