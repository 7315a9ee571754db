#!/usr/bin/python
# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

DOCUMENTATION = r"""
module: artifact_store_info
short_description: Whether an account can work with an S3-compatible artifact store
version_added: 1.0.0
description:
  - Lists a bucket, writes a small object, reads it back and deletes it, and says which of these the account may do.
  - Fails if one of O(required) is not possible, and says which, and why. An address that does not answer, a certificate
    that is not trusted, a refused login and a missing bucket have messages of their own.
  - Runs on the host that has to reach the store.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
requirements:
  - boto3 (C(python3-boto3) in the distributions), on the host that the module runs on
options:
  endpoint_url:
    description: Address of the store, with C(http://) or C(https://). Without it, AWS is meant.
    type: str
  bucket:
    description: Bucket to try.
    type: str
    required: true
  prefix:
    description: Where in the bucket.
    type: str
    default: ""
  access_key:
    description: Access key. Without it, boto3 looks for credentials as it does everywhere, for example in the role of a machine at AWS.
    type: str
  secret_key:
    description: Secret key.
    type: str
  region:
    description: Region of the bucket.
    type: str
    default: us-east-1
  addressing_style:
    description: Whether the bucket is named in the path of a URL or in its host name. V(auto) leaves it to boto3.
    type: str
    choices: [auto, path, virtual]
    default: auto
  validate_certs:
    description: Whether the store's certificate is checked.
    type: bool
    default: true
  ca_path:
    description: CA certificate (PEM) that it is checked against. Without it, the authorities that boto3 brings along.
    type: path
  timeout:
    description: Seconds to wait for a connection, and for an answer.
    type: int
    default: 10
  upload_extra_args:
    description:
      - What MLflow is told in C(MLFLOW_S3_UPLOAD_EXTRA_ARGS), for a bucket that takes an object only with certain headers. Used for writing only, as
        MLflow does.
    type: dict
    default: {}
  required:
    description: What the account must be able to do.
    type: list
    elements: str
    choices: [list, write, read, delete]
    default: [list, write, read, delete]
extends_documentation_fragment:
  - sparkflows.mlops.attributes
attributes:
  check_mode:
    support: partial
    details: Nothing is written in check mode, so only listing is tried, and reading if there is an object.
  diff_mode:
    support: none
    details: What it writes it removes again, so there is no difference to show.
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Prove the artifact store before anything relies on it
  sparkflows.mlops.artifact_store_info:
    endpoint_url: https://s3.example.com
    bucket: registry
    prefix: mlflow
    access_key: "{{ vault_s3_access_key }}"
    secret_key: "{{ vault_s3_secret_key }}"
    ca_path: /etc/ssl/company-ca.pem
    addressing_style: path

- name: A bucket that refuses what is not encrypted
  sparkflows.mlops.artifact_store_info:
    bucket: registry
    upload_extra_args: {ServerSideEncryption: aws:kms}

- name: A host that only fetches models has to list and read
  sparkflows.mlops.artifact_store_info:
    bucket: registry
    required: [list, read]
"""

RETURN = r"""
location:
  description: What was tried.
  returned: always
  type: str
  sample: s3://registry/mlflow
permissions:
  description: What the account may do. V(null) if it could not be tried.
  returned: when the store has answered
  type: dict
  sample: {list: true, write: true, read: true, delete: true}
missing:
  description: Those of O(required) that are not possible.
  returned: when the store has answered
  type: list
  elements: str
errors:
  description: What the store said to what is not possible.
  returned: when the store has answered
  type: dict
  sample: {write: "AccessDenied: Access Denied."}
"""

import io
import os
import traceback
import uuid

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    import boto3
    import botocore.exceptions
    from botocore.config import Config
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        HTTPClientError,
        NoCredentialsError,
        ParamValidationError,
        SSLError,
    )

    BOTO3_ERROR = None
except ImportError:
    BOTO3_ERROR = traceback.format_exc()

ACTIONS = {"list": "s3:ListBucket", "write": "s3:PutObject", "read": "s3:GetObject", "delete": "s3:DeleteObject"}
# What no other operation will change: code of the error -> what to do.
FATAL = {
    "NoSuchBucket": "There is no such bucket: make it, or correct bucket.",
    "InvalidBucketName": "Correct bucket.",
    "InvalidAccessKeyId": "It does not know the access key: correct access_key.",
    "SignatureDoesNotMatch": "It refuses the login: correct access_key and secret_key.",
    "InvalidToken": "It refuses the login: correct access_key and secret_key.",
    "ExpiredToken": "The credentials have expired: renew access_key and secret_key.",
    "RequestTimeTooSkewed": "Set the clock of the host that asked, or that of the store.",
    "AuthorizationHeaderMalformed": "Correct region.",
    "PermanentRedirect": "The bucket is in another region: correct region or endpoint_url.",
    "301": "The bucket is in another region: correct region or endpoint_url.",
}


class Failed(Exception):
    """Nothing can be tried."""


def connect(params):
    if params["ca_path"] and not os.access(params["ca_path"], os.R_OK):
        raise Failed(f"ca_path is {params['ca_path']}, which is no file that can be read.")
    settings = {"connect_timeout": params["timeout"], "read_timeout": params["timeout"], "retries": {"total_max_attempts": 2},
                "signature_version": "s3v4"}
    if params["addressing_style"] != "auto":
        settings["s3"] = {"addressing_style": params["addressing_style"]}
    # Newer releases of botocore send checksums of a kind that many a store beside AWS refuses; the one in MLflow's stack does not.
    for name in ("request_checksum_calculation", "response_checksum_validation"):
        if name in Config.OPTION_DEFAULTS:
            settings[name] = "when_required"
    return boto3.session.Session().client(
        "s3",
        endpoint_url=params["endpoint_url"] or None,
        aws_access_key_id=params["access_key"] or None,
        aws_secret_access_key=params["secret_key"] or None,
        region_name=params["region"],
        verify=(params["ca_path"] or None) if params["validate_certs"] else False,
        config=Config(**settings),
    )


class Trial:
    """Tries one thing after the other, and keeps what the store said."""

    def __init__(self, client, bucket, prefix, upload_extra_args):
        self.client, self.bucket, self.prefix, self.upload_extra_args = client, bucket, prefix.strip("/"), upload_extra_args
        self.permissions = dict.fromkeys(ACTIONS)
        self.errors = {}

    def key(self, name):
        return "/".join(filter(None, [self.prefix, name]))

    def attempt(self, action, call, **arguments):
        """The answer, or None if the store refuses this one thing."""
        try:
            answer = call(Bucket=self.bucket, **arguments)
        except ClientError as exc:
            error = exc.response.get("Error", {})
            code = str(error.get("Code", ""))
            text = ": ".join(filter(None, [code, error.get("Message", "")])) or str(exc)
            if code in FATAL:
                raise Failed(f"{FATAL[code]} It said {text}") from exc
            self.permissions[action], self.errors[action] = False, text
            return None
        self.permissions[action] = True
        return answer

    def upload(self, Bucket, Key, Body):  # in boto3's words, as the other calls
        """As MLflow does: the arguments are those of uploads of files, and others are refused."""
        try:
            self.client.upload_fileobj(io.BytesIO(Body), Bucket, Key, ExtraArgs=dict(self.upload_extra_args))
        except ValueError as exc:
            raise Failed(f"Correct upload_extra_args. {exc}") from exc
        return True

    def read(self, key, expected=None):
        answer = self.attempt("read", self.client.get_object, Key=key)
        if answer and expected is not None and answer["Body"].read() != expected:
            self.permissions["read"], self.errors["read"] = False, "what was read is not what was written"

    def run(self, write):
        listed = self.attempt("list", self.client.list_objects_v2, Prefix=self.key("") and self.key("") + "/", MaxKeys=1)
        probe = self.key("mlops-probe-" + uuid.uuid4().hex)
        body = probe.encode()
        if write and self.attempt("write", self.upload, Key=probe, Body=body):
            self.read(probe, body)
            if not self.attempt("delete", self.client.delete_object, Key=probe):
                self.errors["delete"] += f" (The object {probe} is left.)"
        elif listed and listed.get("Contents"):
            self.read(listed["Contents"][0]["Key"])


def explain(exc, params):
    """What was wrong before the store could say anything."""
    if isinstance(exc, SSLError):
        return f"Its certificate is not trusted: set ca_path to the authority's certificate. {exc}"
    if isinstance(exc, NoCredentialsError):
        return "There are no credentials: set access_key and secret_key."
    if isinstance(exc, ParamValidationError):
        return f"Correct bucket. {exc}"
    if isinstance(exc, (botocore.exceptions.ConnectionError, HTTPClientError)):
        return f"It does not answer this host: correct endpoint_url, or open the way to it. {exc}"
    return f"Compare endpoint_url, region and ca_path with what boto3 says: {exc}"


def main():
    module = AnsibleModule(
        argument_spec={
            "endpoint_url": {"type": "str"},
            "bucket": {"type": "str", "required": True},
            "prefix": {"type": "str", "default": ""},
            "access_key": {"type": "str", "no_log": True},
            "secret_key": {"type": "str", "no_log": True},
            "region": {"type": "str", "default": "us-east-1"},
            "addressing_style": {"type": "str", "choices": ["auto", "path", "virtual"], "default": "auto"},
            "validate_certs": {"type": "bool", "default": True},
            "ca_path": {"type": "path"},
            "timeout": {"type": "int", "default": 10},
            "upload_extra_args": {"type": "dict", "default": {}},
            "required": {"type": "list", "elements": "str", "choices": list(ACTIONS), "default": list(ACTIONS)},
        },
        required_together=[["access_key", "secret_key"]],
        supports_check_mode=True,
    )
    if BOTO3_ERROR:
        module.fail_json(msg=missing_required_lib("boto3"), exception=BOTO3_ERROR)
    params = module.params
    location = "s3://" + "/".join(filter(None, [params["bucket"], params["prefix"].strip("/")]))
    store = f"the artifact store {params['endpoint_url'] or 'AWS S3'} ({location})"
    result = {"changed": False, "location": location}
    try:
        trial = Trial(connect(params), params["bucket"], params["prefix"], params["upload_extra_args"])
        trial.run(write=not module.check_mode)
    except Failed as exc:
        module.fail_json(msg=f"{store[0].upper()}{store[1:]} cannot be used. {exc}", **result)
    except (BotoCoreError, ValueError, OSError) as exc:  # botocore says ValueError to an address, OSError to a file
        module.fail_json(msg=f"{store[0].upper()}{store[1:]} cannot be used. {explain(exc, params)}", **result)

    tried = [action for action in params["required"] if trial.permissions[action] is not None or not module.check_mode]
    missing = [action for action in tried if not trial.permissions[action]]
    result.update(permissions=trial.permissions, missing=missing, errors=trial.errors)
    if missing:
        able = [action for action in ACTIONS if trial.permissions[action]]
        lacks = [f"{action} ({ACTIONS[action]}; {trial.errors.get(action, 'could not be tried')})" for action in missing]
        module.fail_json(
            msg=f"In {store} this account may {' and '.join(able) or 'do nothing'}, but it must also be able to {', '.join(lacks)}. "
                "Give it the permission, or set another access_key and secret_key. A bucket that takes encrypted objects only wants "
                "upload_extra_args.",
            **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
