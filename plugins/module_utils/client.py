# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sparkflows on top of the HTTP transport: the three ways to log in, and verbs that speak JSON."""

import html
import re
import time
from urllib.parse import unquote

from ansible.module_utils.urls import basic_auth_header
from ansible_collections.sparkflows.mlops.plugins.module_utils import jwt
from ansible_collections.sparkflows.mlops.plugins.module_utils.arguments import environment_variable
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import (
    HttpClient,
    HttpError,
    MlopsError,
    NotLoggedIn,
)

CREDENTIALS = {"token": ("token",), "oauth2": ("username", "password"), "session": ("username", "password")}
# Published by the vendor for every installation, hence no secret.
OAUTH_CLIENT_SECRET = "secret"


class SparkflowsClient:
    def __init__(self, params, warn):
        self.params = params
        self.method = params["auth_method"]
        self._require("url")
        self.http = HttpClient(
            url=params["url"],
            product="Sparkflows",
            timeout=params["timeout"],
            retries=params["retries"],
            validate_certs=params["validate_certs"],
            ca_path=params["ca_path"],
            use_proxy=params["use_proxy"],
            warn=warn,
            login_advice=self._login_advice(),
        )
        self.http.hide(params[name] and params[name].strip() for name in ("token", "password"))
        self.url = self.http.url
        self._ready = False
        self._csrf = {}

    # ---- verbs
    def get(self, path):
        return self._call("GET", path)

    def post(self, path, body):
        return self._call("POST", path, json_body=body)

    def ask(self, method, path, accept="*/*", **options):
        """The answer as it is, for the calls that do not speak JSON; a refusal is raised."""
        self.login()

        def send():
            headers = dict(self._csrf_headers(method), Accept=accept)
            return self.http.send(method, path, headers=headers, **options)

        answer = send()
        if answer.status == 403 and "csrf" in answer.text.lower() and self.method == "session":
            # Refused before anything was done: fetch the token that the server wants now, and try once more.
            self._find_csrf("/", "/login")
            answer = send()
        return self.http.judge(answer)

    def get_or_none(self, path):
        return self.or_none(self.get, path)

    def or_none(self, call, *arguments, **options):
        """None where the server has no such path."""
        try:
            return call(*arguments, **options)
        except HttpError as error:
            if error.status == 404:
                return None
            raise

    def _call(self, method, path, **body):
        answer = self.ask(method, path, accept="application/json", **body)
        if not answer.body.strip():
            return None
        data = answer.data()
        if data is None and (method == "GET" or answer.means_json):
            raise self.http.not_json(answer)
        return data

    # ---- login
    def has_credentials(self):
        return all(self.params[name] for name in CREDENTIALS[self.method])

    def login(self):
        if self._ready:
            return
        self._require(*CREDENTIALS[self.method])
        getattr(self, "_login_" + self.method)()
        self._ready = True

    def forget_login(self):
        """The next call logs in again, and if that fails, too, the advice is about now: a token may have expired since."""
        self.http.login_advice = self._login_advice()
        self._ready = False
        self.http.headers.pop("Authorization", None)
        self.http.cookies.clear()

    def _login_token(self):
        self.http.headers["token"] = header_value("token (SPARKFLOWS_TOKEN)", self.params["token"])

    def _login_oauth2(self):
        client_secret = self.params["oauth_client_secret"] or OAUTH_CLIENT_SECRET
        if client_secret != OAUTH_CLIENT_SECRET:
            self.http.hide([client_secret])
        answer = self.http.send(
            "POST",
            "/oauth/token",
            form={"grant_type": "password", "username": self.params["username"], "password": self.params["password"]},
            headers={"Authorization": basic_auth_header(self.params["oauth_client_id"], client_secret)},
        )
        if answer.status == 400:  # the standard's status for a wrong password, which is nothing but a refused login
            raise self.http.refused(answer)
        data = self.http.judge(answer).data()
        if data is None:
            raise self.http.not_json(answer)
        token = data.get("access_token") if isinstance(data, dict) else None
        if not token:
            raise NotLoggedIn(f"Sparkflows at {self.url}: POST /oauth/token answered without an access_token.", answer)
        self.http.hide([token])
        self.http.headers["Authorization"] = "Bearer " + header_value("the server's access_token", token)

    def _login_session(self):
        self._find_csrf("/login")
        form = {"username": self.params["username"], "password": self.params["password"]}
        if "_csrf" in self._csrf:
            form["_csrf"] = self._csrf["_csrf"]
        answer = self.http.send("POST", "/login", form=form, headers=self._csrf_headers("POST"))
        location = answer.headers.get("Location") or ""
        # A form login answers a good password with a redirect, so here, and only here, a redirect is no failure in
        # itself. Whether the session is worth anything shows with the first real call.
        if answer.status >= 400:
            self.http.judge(answer)
        if location.split("?")[0].endswith("/login") or not len(self.http.cookies):
            raise self.http.refused(answer)

    def _find_csrf(self, *pages):
        """Spring Security offers its CSRF token as a cookie, in <meta> tags or in a hidden field of a page."""
        self._csrf = {}
        for path in pages:
            text = self.http.send("GET", path).text
            field = re.search(r'name="_csrf"\s+(?:value|content)="([^"]+)"', text)
            if field:
                name = re.search(r'name="_csrf_header"\s+content="([^"]+)"', text)
                self._csrf["_csrf"] = html.unescape(field.group(1))
                self._csrf["header"] = html.unescape(name.group(1)) if name else "X-CSRF-TOKEN"
                return

    def _csrf_headers(self, method):
        if self.method != "session" or method == "GET":
            return {}
        for cookie in self.http.cookies:
            if cookie.name == "XSRF-TOKEN":
                return {"X-XSRF-TOKEN": unquote(cookie.value or "")}
        return {self._csrf["header"]: self._csrf["_csrf"]} if self._csrf else {}

    # ---- texts
    def _require(self, *names):
        missing = [name for name in names if not self.params[name]]
        if missing:
            reason = "" if names == ("url",) else f", which auth_method={self.method} needs"
            names = " and ".join(f"{name} (environment variable {environment_variable(name)})" for name in missing)
            raise MlopsError(f"Set {names}{reason}.")

    def _login_advice(self):
        if self.method == "token":
            end = jwt.expiry(self.params["token"])
            if end and end < time.time():
                return f"The token expired on {jwt.readable(end)}: set token (SPARKFLOWS_TOKEN) to a new one."
            return (
                "Check token (SPARKFLOWS_TOKEN): it may be wrong, revoked, or of a user without the permission for "
                "this. The server takes tokens only with fire.cors.enable=true and fire.security.csrf.enable=false in "
                "conf/application.properties."
            )
        return (
            f"Check username (SPARKFLOWS_USERNAME) and password (SPARKFLOWS_PASSWORD), which auth_method={self.method} "
            "uses, and that this user has the permission for this."
        )


def header_value(name, value):
    """http.client would refuse a line break in a header, too, but it would show the value."""
    value = value.strip()
    if not re.fullmatch(r"[\x21-\x7e]+", value):
        raise MlopsError(f"{name} holds characters that cannot be part of a token.")
    return value
