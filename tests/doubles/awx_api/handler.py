"""A request: who sends it, which part of the API it is for, and the answer."""

from __future__ import annotations

import base64
import binascii
import json
import urllib.parse
import uuid

from sparkflows_server.server import HttpHandler

from .kinds import ASSOCIATIONS, DATA, RESOURCES
from .projects import look_at_updates
from .refusals import Refusal
from .shown import select, show, url_of
from .surveys import check_survey, shown_survey
from .templates import create_approval
from .ties import tie


class Handler(HttpHandler):
    """The API. `server.api` is the AwxApi whose objects and switches it answers from."""

    def error_body(self, status, message):
        return {"detail": message}

    def answer(self, status, body=None, headers=()):
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("X-API-Product-Name", self.server.api.settings.product)
        self.send_header("X-API-Product-Version", self.server.api.settings.version)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def handle_request(self, body):
        body = body.decode()
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        api = self.server.api
        with api.count_lock:
            api.at_a_time += 1
            api.most_at_a_time = max(api.most_at_a_time, api.at_a_time)
        try:
            self.answer_request(api, body, url, query)
        finally:
            with api.count_lock:
                api.at_a_time -= 1

    def answer_request(self, api, body, url, query):
        with api.lock:
            try:
                if not url.path.endswith("/"):
                    api.note(self.command, self.path, 301, None)
                    self.answer(301, None, [("Location", url.path + "/" + ("?" + url.query if url.query else ""))])
                    return
                root = api.settings.prefix + "v2/"
                if not url.path.startswith(root):
                    raise Refusal(404, {"detail": "Not found."})
                parts = url.path[len(root) :].strip("/").split("/")
                data = self.parsed(body)
                answer = self.dispatch(parts, query, data)
            except Refusal as refusal:
                answer = (refusal.status, refusal.body)
            api.note(self.command, self.path, answer[0], json.loads(body) if body.startswith("{") else None)
            self.answer(*answer)

    def log_message(self, *args):
        pass

    def parsed(self, body):
        if self.command in ("GET", "DELETE") or not body:
            return {}
        try:
            data = json.loads(body)
        except ValueError as mistake:
            raise Refusal(400, {"detail": f"JSON parse error - {mistake}"}) from mistake
        if not isinstance(data, dict):
            raise Refusal(400, {"non_field_errors": [f"Invalid data. Expected a dictionary, but got {type(data).__name__}."]})
        return data

    def authenticate(self, parts):
        api = self.server.api
        kind, _space, value = (self.headers.get("Authorization") or "").partition(" ")
        if kind == "Basic":
            try:
                name, _colon, password = base64.b64decode(value, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                name = password = ""
            if api.settings.users.get(name) != password or not password:
                raise Refusal(401, {"detail": "Invalid username/password."})
            return
        if kind == "Bearer" and (value in api.store.tokens.values() or (api.settings.token and value == api.settings.token)):
            return
        raise Refusal(401, {"detail": "Authentication credentials were not provided."})

    def dispatch(self, parts, query, data):
        store = self.server.api.store
        kind = parts[0]
        if parts == ["ping"]:
            return 200, {"ha": False, "version": DATA["version"], "active_node": "awx", "instances": [], "instance_groups": []}
        self.authenticate(parts)
        if kind == "tokens":
            return self.tokens(parts, data)
        if kind not in store.objects and kind != "unified_job_templates":
            raise Refusal(404, {"detail": "Not found."})
        if len(parts) == 1:
            return self.list_or_create(kind, query, data)
        if not parts[1].isdigit():
            raise Refusal(404, {"detail": "Not found."})
        if kind in ("projects", "project_updates"):
            look_at_updates(store)
        found = store.need(kind, int(parts[1]))
        if len(parts) == 2:
            return self.one(kind, found, data)
        if len(parts) == 3:
            return self.part_of_one(kind, found, parts[2], query, data)
        raise Refusal(404, {"detail": "Not found."})

    def not_allowed(self):
        raise Refusal(405, {"detail": f'Method "{self.command}" not allowed.'})

    def tokens(self, parts, data):
        store = self.server.api.store
        if len(parts) == 1 and self.command == "POST":
            store.last += 1
            store.tokens[store.last] = uuid.uuid4().hex
            shown = {"id": store.last, "type": "o_auth2_access_token", "url": url_of(store, "tokens", store.last), "token": store.tokens[store.last]}
            return 201, dict(shown, scope=data.get("scope", "write"), description=data.get("description", ""))
        if len(parts) == 2 and self.command == "DELETE" and parts[1].isdigit() and int(parts[1]) in store.tokens:
            store.tokens.pop(int(parts[1]))
            return (204,)
        raise Refusal(404, {"detail": "Not found."})

    def list_or_create(self, kind, query, data):
        store = self.server.api.store
        if self.command == "POST" and kind in RESOURCES:
            return 201, show(store, kind, store.create(kind, data))
        if self.command != "GET":
            self.not_allowed()
        if kind == "projects":
            look_at_updates(store)
        if kind in self.server.api.settings.hidden and self.headers.get("Authorization", "").startswith("Basic "):
            return 200, self.page([], query)
        return 200, self.page(select(store, kind, query), query)

    def page(self, found, query):
        size = min(int(query.get("page_size", 25)), 200)
        number = int(query.get("page", 1))
        following = f"{self.path.split('?')[0]}?{urllib.parse.urlencode(dict(query, page=number + 1))}" if number * size < len(found) else None
        return {"count": len(found), "next": following, "previous": None, "results": found[(number - 1) * size : number * size]}

    def one(self, kind, found, data):
        store = self.server.api.store
        if self.command == "GET":
            return 200, show(store, kind, found)
        if self.command == "PATCH" and kind in RESOURCES:
            return 200, show(store, kind, store.change(kind, found, data))
        if self.command == "PATCH" and kind == "workflow_approval_templates":
            found.update({name: data[name] for name in ("name", "description", "timeout") if name in data})
            return 200, show(store, kind, found)
        if self.command == "DELETE" and kind in RESOURCES:
            return (store.delete(kind, found),)
        return self.not_allowed()

    def part_of_one(self, kind, found, name, query, data):
        store, number = self.server.api.store, found["id"]
        if name == "survey_spec" and kind in ("job_templates", "workflow_job_templates"):
            if self.command == "GET":
                return 200, shown_survey(store, number)
            if self.command == "POST":
                check_survey(data)
                store.surveys[number] = data
                return (200,)
            if self.command == "DELETE":
                store.surveys.pop(number, None)
                return (200,)
            self.not_allowed()
        if name == "create_approval_template" and kind == "workflow_job_template_nodes" and self.command == "POST":
            return 201, show(store, "workflow_approval_templates", create_approval(store, found, data))
        if (kind, name) in ASSOCIATIONS:
            other = ASSOCIATIONS[kind, name]
            if self.command == "GET":
                return 200, self.page([show(store, other, store.objects[other][one]) for one in store.listed(kind, number, name)], query)
            if self.command == "POST":
                tie(store, kind, number, name, data)
                return (204,)
            self.not_allowed()
        raise Refusal(404, {"detail": "Not found."})
