# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""boto3 against a local HTTP server that answers as S3 does. Signatures are checked by a real store, in the Molecule scenario `stores`."""

from __future__ import annotations

import re
import socket

import pytest
from ansible_collections.sparkflows.mlops.plugins.modules import artifact_store_info as module

CANARY = "canary-secret-77e1"
LISTED = "<ListBucketResult><KeyCount>{count}</KeyCount>{entries}</ListBucketResult>"
ERROR = "<Error><Code>{0}</Code><Message>{1}</Message></Error>"


class Store(dict):
    """Routes of the scripted server, by what is asked of the bucket. refused: method or 'list' -> (status, code)."""

    def __init__(self, reply, objects=(), refused=None, spoils=False, wants=None):
        super().__init__()
        self.wants = wants  # a header of what is put
        self.reply, self.objects, self.refused, self.spoils = reply, dict.fromkeys(objects, "old"), refused or {}, spoils

    def get(self, route, default=None):
        return self.answer

    def answer(self, request):
        method, key = request["method"], request["path"].partition("/registry/")[2]
        what = "list" if method == "GET" and not key else method
        if what in self.refused:
            status, code = self.refused[what]
            return self.reply(ERROR.format(code, "Because."), status, content_type="application/xml")
        if what == "list":
            entries = "".join(f"<Contents><Key>{name}</Key></Contents>" for name in self.objects)
            return self.reply(LISTED.format(count=len(self.objects), entries=entries), content_type="application/xml")
        if method == "PUT" and self.wants and not any(name.lower() == self.wants for name in request["headers"]):
            return self.reply(ERROR.format("AccessDenied", "Because."), 403, content_type="application/xml")
        if method == "PUT":
            self.objects[key] = "spoilt" if self.spoils else request["body"]
            return self.reply("")
        if method == "GET":
            return self.reply(self.objects[key])
        del self.objects[key]
        return self.reply("", 204)


@pytest.fixture(name="ask")
def fixture_ask(call, server, reply, monkeypatch):
    """ask(store options, **module options) -> (result, store)"""
    for name in ("AWS_CONFIG_FILE", "AWS_CA_BUNDLE", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    def run(script=None, check=False, **options):
        server.routes = Store(reply, **script or {})
        options = dict({"endpoint_url": server.url, "bucket": "registry", "prefix": "mlflow", "access_key": "AKIACANARY", "secret_key": CANARY,
                        "timeout": 2}, **options)
        result = call(module, check=check, **{name: value for name, value in options.items() if value is not None})
        assert CANARY not in result.output
        return result, server.routes

    return run


def test_all_is_possible_and_nothing_is_left(ask, server):
    result, store = ask()
    assert not result.get("failed") and not result["changed"]
    assert result["permissions"] == {"list": True, "write": True, "read": True, "delete": True} and result["missing"] == []
    assert result["location"] == "s3://registry/mlflow" and not store.objects
    assert [request["method"] for request in server.requests] == ["GET", "PUT", "GET", "DELETE"]
    assert re.fullmatch(r"/registry/mlflow/mlops-probe-[0-9a-f]{32}", server.requests[1]["path"])
    # What newer clients add is refused by older stores.
    assert not any("checksum" in name.lower() or "chunked" in value for name, value in server.requests[1]["headers"].items())


def test_check_mode_writes_nothing(ask, server):
    result, _store = ask({"objects": ["mlflow/a"]}, check=True)
    assert result["permissions"] == {"list": True, "write": None, "read": True, "delete": None}
    assert not result.get("failed") and [request["method"] for request in server.requests] == ["GET", "GET"]


@pytest.mark.parametrize("method, action, permission", [
    ("list", "list", "s3:ListBucket"), ("PUT", "write", "s3:PutObject"), ("GET", "read", "s3:GetObject"), ("DELETE", "delete", "s3:DeleteObject")])
def test_missing_permission_is_named(ask, method, action, permission):
    result, store = ask({"refused": {method: (403, "AccessDenied")}, "objects": ["mlflow/a"]})
    assert result["failed"] and action in result["missing"]
    assert f"{action} ({permission}; AccessDenied: Because." in result["msg"]
    left = [name for name in store.objects if "probe" in name]
    assert len(left) == (1 if action == "delete" else 0)
    assert all(name in result["msg"] for name in left)


def test_account_that_may_only_read(ask):
    result, _store = ask({"refused": {"PUT": (403, "AccessDenied")}, "objects": ["mlflow/a"]})
    assert result["permissions"] == {"list": True, "write": False, "read": True, "delete": None}
    assert result["missing"] == ["write", "delete"] and "may list and read" in result["msg"] and "could not be tried" in result["msg"]
    allowed, _store = ask({"refused": {"PUT": (403, "AccessDenied")}, "objects": ["mlflow/a"]}, required=["list", "read"])
    assert not allowed.get("failed")


def test_a_bucket_that_wants_encryption(ask, server):
    script = {"wants": "x-amz-server-side-encryption"}
    result, _store = ask(script)
    assert result["failed"] and "write (s3:PutObject; AccessDenied" in result["msg"] and "upload_extra_args" in result["msg"]
    result, store = ask(script, upload_extra_args={"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/registry"})
    assert not result.get("failed") and all(result["permissions"].values()) and not store.objects, result
    put = next(request for request in reversed(server.requests) if request["method"] == "PUT")
    headers = {name.lower(): value for name, value in put["headers"].items()}
    assert headers["x-amz-server-side-encryption"] == "aws:kms" and headers["x-amz-server-side-encryption-aws-kms-key-id"] == "alias/registry"
    result, _store = ask(script, upload_extra_args={"Encryption": "aws:kms"})
    assert result["failed"] and "Correct upload_extra_args. Invalid extra_args key 'Encryption'" in result["msg"]


def test_other_refusals_are_told_too(ask):
    result, _store = ask({"refused": {"PUT": (400, "QuotaExceeded")}})
    assert result["failed"] and "QuotaExceeded" in result["msg"]


def test_what_comes_back_is_compared(ask):
    result, _store = ask({"spoils": True})
    assert result["failed"] and result["missing"] == ["read"] and "not what was written" in result["msg"]


@pytest.mark.parametrize("status, code, words", [
    (404, "NoSuchBucket", "no such bucket"), (403, "SignatureDoesNotMatch", "access_key and secret_key"),
    (403, "InvalidAccessKeyId", "access_key"), (403, "RequestTimeTooSkewed", "clock"), (400, "AuthorizationHeaderMalformed", "region")])
def test_store_that_cannot_be_used(ask, server, status, code, words):
    result, _store = ask({"refused": {"list": (status, code)}})
    assert result["failed"] and words in result["msg"] and code in result["msg"] and "s3://registry/mlflow" in result["msg"]
    assert {request["method"] for request in server.requests} == {"GET"}


def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize("options, words", [
    ({"endpoint_url": f"http://127.0.0.1:{closed_port()}"}, ["does not answer", "endpoint_url"]),
    ({"endpoint_url": "s3.example.com"}, ["endpoint_url", "Invalid endpoint"]),
    ({"bucket": "no bucket"}, ["Correct bucket"]),
    ({"endpoint_url": "https://127.0.0.1:1", "ca_path": "/nonexistent.pem"}, ["ca_path"]),
    ({"secret_key": None}, ["access_key", "secret_key"]),
])
def test_wrong_options(ask, options, words):
    result, _store = ask(**options)
    assert result["failed"] and all(word in result["msg"] for word in words), result["msg"]


def test_path_style(ask, server):
    result, _store = ask(addressing_style="path")
    assert not result.get("failed") and server.requests[0]["path"] == "/registry"


def test_without_boto3(call, monkeypatch):
    monkeypatch.setattr(module, "BOTO3_ERROR", "ImportError: no boto3")
    result = call(module, bucket="registry")
    assert result["failed"] and "boto3" in result["msg"]
