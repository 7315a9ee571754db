#!/usr/bin/python
# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: sparkflows_access_token
short_description: Mint an access token for the REST API of Sparkflows
version_added: 1.0.0
description:
  - Makes an access token for the user who logs in, and keeps it in a file that only its owner can read.
  - A token in the file that the server still takes and that does not expire soon is kept.
  - The user needs the permission C(enable.tokenGeneration), and tokens must be enabled on the server.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
extends_documentation_fragment:
  - sparkflows.mlops.connection
  - sparkflows.mlops.attributes
attributes:
  check_mode:
    support: full
    details: Whether the login is accepted is checked, too. No token is made.
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: With O(path). Without it, each run makes a token.
options:
  description:
    description:
      - What the token is for, as shown in the user's list of tokens.
      - Since release 3.3.11 the page that makes tokens wants one. Whether the REST call does is not published, so this module always sends one.
    type: str
    required: true
  valid_days:
    description: For how many days the token is good.
    type: int
    default: 90
  path:
    description:
      - File for the token, on the host on which the module runs. Its directory must exist. A new file has mode 0600.
      - With it, the token is returned only if O(return_token=true).
    type: path
  renew_before_days:
    description: Make a new token if the one in O(path) expires within so many days. Must be less than O(valid_days).
    type: int
    default: 7
  force:
    description: Make a new token even if the one in O(path) is good.
    type: bool
    default: false
  return_token:
    description:
      - Return the token as RV(access_token). The task must have C(no_log=true), or else the module fails before it
        makes one.
    type: bool
    default: false
notes:
  - Since release 3.3.11 a user has one active login token at a time. With O(auth_method=token), the token used for the
    login may end when the new one is made.
"""

EXAMPLES = r"""
- name: Keep a token for the pipeline
  sparkflows.mlops.sparkflows_access_token:
    url: https://sparkflows.example.com:8443
    auth_method: oauth2
    username: automation
    password: "{{ sparkflows_password }}"
    description: model serving set-up
    path: /root/.sparkflows-token

- name: A token for this play only
  sparkflows.mlops.sparkflows_access_token:
    url: https://sparkflows.example.com:8443
    auth_method: oauth2
    username: automation
    password: "{{ sparkflows_password }}"
    description: one play
    valid_days: 1
    return_token: true
  register: __minted
  no_log: true
"""

RETURN = r"""
access_token:
  description: The token.
  returned: if O(return_token=true), not in check mode
  type: str
expires:
  description: When the token expires, or an empty text if it does not say.
  returned: success
  type: str
  sample: "2026-02-22T08:00:00Z"
reason:
  description: Why a new token was made, or would be; empty if the one in the file was kept.
  returned: success
  type: str
  sample: the token in the file expires on 2025-11-25T08:00:00Z
"""

import time

from ansible_collections.sparkflows.mlops.plugins.module_utils import jwt
from ansible_collections.sparkflows.mlops.plugins.module_utils.client import SparkflowsClient
from ansible_collections.sparkflows.mlops.plugins.module_utils.files import (
    read_bytes,
    require_directory,
    write_private,
)
from ansible_collections.sparkflows.mlops.plugins.module_utils.module import Outcome, SparkflowsModule
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError, NotLoggedIn

TOKENS = "/api/v1/tokens"
DAY = 86400


def why_renew(module, token):
    """The reason for a new token, or an empty text."""
    if module.params["force"]:
        return "force is set"
    if not token:
        return "there is no token in the file" if module.params["path"] else "a token was asked for"
    end = jwt.expiry(token)
    if end is not None and end < time.time() + module.params["renew_before_days"] * DAY:
        return f"the token in the file expires on {jwt.readable(end)}"
    # What the token says is one thing; it may have been revoked, or be from another server.
    params = dict(module.params, auth_method="token", token=token)
    try:
        SparkflowsClient(params, lambda text: None).get_or_none("/api/v1/app/release-info")
    except NotLoggedIn:
        return "the server does not take the token in the file"
    return ""


def mint(module):
    params = module.params
    if not params["path"] and not params["return_token"]:
        raise MlopsError("Set path to the file for the token, or return_token=true.")
    if params["return_token"] and not module.no_log:
        raise MlopsError("return_token=true needs no_log: true on the task, or else the token would be shown.")
    if not params["description"].strip():
        raise MlopsError("Set description: the server wants to know what the token is for.")
    if params["renew_before_days"] >= params["valid_days"]:
        raise MlopsError("renew_before_days must be less than valid_days, or else every run would make a token.")
    old = ""
    if params["path"]:
        require_directory(params["path"], "path")
        old = (read_bytes(params["path"]) or b"").decode("ascii", "replace").strip()
    before = describe(old, params)
    reason = why_renew(module, old)
    if not reason:
        result = dict(access_token=old) if params["return_token"] else {}
        return Outcome(before, before, expires=readable_expiry(old), reason="", **result)

    end = time.time() + params["valid_days"] * DAY
    if module.check_mode:
        module.client.get_or_none("/api/v1/app/release-info")
        return Outcome(before, "a new token\n", expires=jwt.readable(end), reason=reason)
    answer = module.client.post(TOKENS, {"expiredDuration": str(int(end * 1000)), "description": params["description"]})
    token = answer.get("accessToken") if isinstance(answer, dict) else None
    if not token:
        raise MlopsError(
            f"Sparkflows at {module.client.url}: POST {TOKENS} answered without an accessToken. "
            "Are access tokens enabled in its configuration?"
        )
    if params["path"]:
        write_private(module, params["path"], token.encode() + b"\n")
    result = dict(access_token=token) if params["return_token"] else {}
    return Outcome(before, "a new token\n", expires=readable_expiry(token), reason=reason, **result)


def readable_expiry(token):
    end = jwt.expiry(token)
    return "" if end is None else jwt.readable(end)


def describe(token, params):
    if not token:
        return "no token\n"
    return f"a token that expires on {readable_expiry(token)}\n" if jwt.expiry(token) else "a token\n"


def main():
    module = SparkflowsModule(
        argument_spec=dict(
            description=dict(type="str", required=True),
            valid_days=dict(type="int", default=90),
            path=dict(type="path"),
            renew_before_days=dict(type="int", default=7),
            force=dict(type="bool", default=False),
            return_token=dict(type="bool", default=False, no_log=False),
        ),
    )
    module.run(mint)


if __name__ == "__main__":
    main()
