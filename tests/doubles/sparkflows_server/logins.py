"""Who is asking: passwords, sessions, OAuth2 and access tokens, permissions; and the end points to get in and out."""

import base64
import hmac
import html
import secrets
import time
from http.cookies import CookieError, SimpleCookie

from .answers import LOGIN_PAGE, Answers
from .refusals import LoginPage, Redirect, Refused
from .tokens import BadToken, mint_token, token_claims

HOME_PAGE = """<!DOCTYPE html>
<html><head><title>Fire Insights</title>
<meta name="_csrf" content="%(csrf)s"><meta name="_csrf_header" content="X-CSRF-TOKEN"></head>
<body>Welcome, %(user)s</body></html>
"""


class Logins(Answers):
    """The user behind a request, and the end points that make or end a login."""

    def cookies(self):
        try:
            return {name: morsel.value for name, morsel in SimpleCookie(self.headers.get("Cookie", "")).items()}
        except CookieError:
            return {}

    def user(self):
        """The name of the user behind the request."""
        token = self.headers.get("token")
        authorization = self.headers.get("Authorization", "")
        bearer = authorization[7:].strip() if authorization.lower().startswith("bearer ") else None
        if token or bearer:
            settings = self.settings
            try:
                if not settings.cors_enabled or settings.csrf_enabled:
                    raise BadToken("Invalid access token")
                if settings.tokens_expired:
                    raise BadToken("Access token expired: " + (token or bearer))
                name = token_claims(self.app.token_secret, token)["sub"] if token else self.app.bearer_user(bearer)
                if name not in settings.users:
                    raise BadToken("Invalid access token")
                return name
            except BadToken as error:
                raise Refused(401, {"error": "invalid_token", "error_description": str(error)}) from error
        session = self.app.session(self.cookies().get("JSESSIONID"))
        if session and session["user"]:
            if self.command not in ("GET", "HEAD"):
                self.check_csrf(session)
            return session["user"]
        if self.settings.unauthenticated == "401":
            raise Refused(
                401,
                {
                    "error": "unauthorized",
                    "error_description": "Full authentication is required to access this resource",
                },
            )
        if self.settings.unauthenticated == "html":
            raise LoginPage
        raise Redirect("/login")

    def check_csrf(self, session):
        if not self.settings.csrf_enabled:
            return
        given = self.headers.get("X-XSRF-TOKEN") or self.headers.get("X-CSRF-TOKEN") or self.form().get("_csrf") or ""
        expected = session["csrf"] if session else ""
        if not expected or not hmac.compare_digest(given.encode(), expected.encode()):
            raise Refused(
                403,
                "Invalid CSRF Token '%s' was found on the request parameter '_csrf' or header 'X-XSRF-TOKEN'."
                % ("null" if not given else "..."),
            )

    def need(self, permission):
        name = self.user()
        if permission not in self.settings.users[name].get("permissions", []):
            raise Refused(403, "Access Denied")
        return name

    def start_session(self, user):
        """A fresh session (also on login: the old id is worth nothing afterwards); its cookies go into the answer."""
        self.app.end_session(self.cookies().get("JSESSIONID"))
        identifier, csrf = self.app.new_session(user)
        secure = "; Secure" if self.server.tls else ""
        self.new_cookies.append(f"JSESSIONID={identifier}; Path=/; HttpOnly{secure}")
        if self.settings.csrf_enabled and self.settings.csrf_cookie:
            self.new_cookies.append(f"XSRF-TOKEN={csrf}; Path=/{secure}")
        return csrf

    # ---- end points
    def get_root(self):
        user = self.user()
        session = self.app.session(self.cookies().get("JSESSIONID"))
        csrf = session["csrf"] if session and self.settings.csrf_enabled else ""
        self.answer(200, HOME_PAGE % {"user": html.escape(user), "csrf": csrf})

    def get_login(self):
        session = self.app.session(self.cookies().get("JSESSIONID"))
        csrf = session["csrf"] if session else self.start_session(None)
        self.answer(200, LOGIN_PAGE % {"csrf": csrf if self.settings.csrf_enabled else ""})

    def post_login(self):
        self.check_csrf(self.app.session(self.cookies().get("JSESSIONID")))
        form = self.form()
        if not self.app.good_password(form.get("username"), form.get("password")):
            raise Redirect("/login?error")
        self.start_session(form["username"])
        raise Redirect("/")

    def logout(self):
        self.app.end_session(self.cookies().get("JSESSIONID"))
        raise Redirect("/login?logout")

    def post_oauth_token(self):
        settings = self.settings
        kind, _blank, given = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "basic":
            raise Refused(
                401,
                {
                    "error": "unauthorized",
                    "error_description": "Full authentication is required to access this resource",
                },
            )
        expected = base64.b64encode((f"{settings.oauth_client}:{settings.oauth_secret}").encode()).decode()
        if not hmac.compare_digest(given.strip().encode(), expected.encode()):
            raise Refused(401, {"error": "invalid_client", "error_description": "Bad client credentials"})
        form = self.form()
        if "grant_type" not in form:
            raise Refused(400, {"error": "invalid_request", "error_description": "Missing grant type"})
        if form["grant_type"] != "password":
            raise Refused(
                400,
                {
                    "error": "unsupported_grant_type",
                    "error_description": "Unsupported grant type: {}".format(form["grant_type"]),
                },
            )
        if not self.app.good_password(form.get("username"), form.get("password")):
            raise Refused(400, {"error": "invalid_grant", "error_description": "Bad credentials"})
        token = self.app.new_bearer(form["username"])
        self.answer(
            200,
            {
                "access_token": token,
                "token_type": "bearer",
                "refresh_token": secrets.token_urlsafe(24),
                "expires_in": int(settings.oauth_token_seconds),
                "scope": "read write trust",
            },
        )

    def post_tokens(self):
        name = self.need("enable.tokenGeneration")
        body = self.json_body()
        if not isinstance(body, dict):
            raise Refused(400, "JSON parse error: an object is expected")
        required = self.settings.token_description_required
        if required is None:
            required = self.settings.since_3_3_11()
        if required and not str(body.get("description") or "").strip():
            raise Refused(400, "Token description is mandatory")
        try:
            expires = int(str(body["expiredDuration"])) / 1000
        except (KeyError, ValueError) as error:
            raise Refused(400, "expiredDuration must be the expiry time in milliseconds since the epoch") from error
        if expires <= time.time():
            raise Refused(400, "expiredDuration lies in the past")
        self.answer(201, {"accessToken": mint_token(self.app.token_secret, name, expires)})
