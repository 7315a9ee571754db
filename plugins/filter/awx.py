# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWX would refuse, or repeat. The documentation is beside this file, one YAML file a filter."""

from __future__ import annotations

import base64
import binascii
import re

from ansible.errors import AnsibleFilterError
from ansible.module_utils.compat.version import LooseVersion

try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key
except ImportError as exc:
    MISSING = exc
else:
    MISSING = None

HIDDEN = "********"
# Shorter pieces of a secret are in other words, too: of a host's name, say.
PIECE = 12
KEY = re.compile(r"-----BEGIN ((?:[A-Z]+ )?)PRIVATE KEY-----\n(.+?)\n-----END \1PRIVATE KEY-----", re.DOTALL)
# How an OpenSSH key begins whose cipher is "none".
OPEN = b"openssh-key-v1\x00\x00\x00\x00\x04none"
# What ssh knows and the library does not: keys on hardware, and an old kind.
OTHERS = re.compile(rb"sk-(ssh|ecdsa)-|ssh-dss")
# The collections that have the modules: how one gets them, and since when these take another path than /api. "*" is a collection without a version.
SOURCES = {
    "awx.awx": "ansible-galaxy collection install awx.awx, or with an AAP take ansible.controller from Automation Hub",
    "ansible.controller": "install it from Automation Hub, or take awx.awx (ansible-galaxy collection install awx.awx)",
}
OTHER_PATHS = {"awx.awx": "24.5.0", "ansible.controller": "4.6.0"}
UNKNOWN_VERSION = "*"


def private_key_problem(key, passphrase=""):
    """Nothing of the key is in the text: it is for a log."""
    if MISSING:
        raise AnsibleFilterError(f"private_key_problem needs the Python library cryptography on the controller (requirements.txt): {MISSING}")
    text = key.strip()
    if "PRIVATE KEY-----" not in text:
        if text.startswith("PuTTY-User-Key-File"):
            return "is in PuTTY's format: export it as an OpenSSH key (puttygen -O private-openssh)"
        if re.match("(ssh|ecdsa|sk)-[a-z0-9@.-]+ ", text) or "PUBLIC KEY-----" in text or "CERTIFICATE-----" in text:
            return "is no private key, but a public key or a certificate"
        if re.fullmatch(r"[~./\w-]{1,200}", text) and ("/" in text or "." in text):
            return "is a path: give the file's content, with lookup('ansible.builtin.file', ...) or as a block in the vault"
        return "does not begin with -----BEGIN ... PRIVATE KEY-----"
    if "\r" in text:
        return "has the line ends of Windows, which ssh refuses: convert it with dos2unix"
    if "\n" not in text:
        return "is on one line: its line ends are lost. In YAML it is a block: a | after the name, and all lines below, indented"
    if not text.startswith("-----BEGIN "):
        return "does not begin with -----BEGIN ... PRIVATE KEY-----"
    found = KEY.match(text)
    if not found:
        return "is cut off or its lines are broken: it must have all lines, to -----END ... PRIVATE KEY-----"
    return problem_of_content(found[1].strip(), found[2], text, passphrase)


def problem_of_content(kind, body, text, passphrase):
    encrypted, content = kind == "ENCRYPTED" or "ENCRYPTED" in body, b""
    if kind == "OPENSSH":
        try:
            content = base64.b64decode("".join(body.split()), validate=True)
            encrypted = not content.startswith(OPEN)
        except binascii.Error:
            return "is damaged: what stands between its first and its last line is no base64"
    if encrypted and not passphrase:
        return "has a passphrase, which is not given"
    if passphrase and not encrypted:
        return "has no passphrase, but one is given"
    load = load_ssh_private_key if kind == "OPENSSH" else load_pem_private_key
    try:
        load(text.encode() + b"\n", passphrase.encode() if encrypted else None)
    except UnsupportedAlgorithm:
        # Without bcrypt it opens no encrypted OpenSSH key.
        return "" if encrypted or OTHERS.search(content) else "is damaged, or of a kind that ssh does not know"
    except (ValueError, TypeError):
        return "is damaged, or the passphrase is a wrong one" if encrypted else "is damaged: it cannot be read"
    return ""


def censored(text, secrets):
    """Also a secret of which only a part is there."""
    lines = [line for secret in secrets for line in str(secret).splitlines() if line]
    hide = [False] * len(text)
    for line in lines:
        size = min(PIECE, len(line))
        pieces = {line[at : at + size] for at in range(len(line) - size + 1)}
        for at in range(len(text) - size + 1):
            if text[at : at + size] in pieces:
                hide[at : at + size] = [True] * size
    shown = "".join("\0" if hidden else char for char, hidden in zip(text, hide))
    return re.sub("\0+", HIDDEN, shown)


def comparable(kind):
    """What makes jobs get what they get; AWX adds the type of a field where none is given."""
    inputs = kind.get("inputs") or {}
    fields = {field["id"]: dict({"type": "string"}, **field) for field in inputs.get("fields", [])}
    required = sorted(inputs.get("required", []))
    return {"fields": fields, "required": required, "injectors": kind.get("injectors") or {}, "kind": kind.get("kind", "cloud")}


def credential_type_problems(described, found):
    problems = []
    for kind in described:
        for other in (other for other in found if other["name"] == kind["name"]):
            ours, theirs = comparable(kind), comparable(other)
            parts = [part for part in ours if ours[part] != theirs[part]]
            if parts and kind.get("state", "present") == "present":
                problems.append(f"{kind['name']} (other {', '.join(parts)})")
    return problems


def credential_inputs(credentials):
    """What there is to send, by key. An optional input that is empty is left out: AWX would not keep it, and it would differ in each run."""
    return {
        one["key"]: {name: value for name, value in one["inputs"].items() if value != "" or name not in one.get("optional", [])}
        for one in credentials
    }


def private_key_problems(credentials):
    problems = []
    for one in credentials:
        key = str(one["inputs"].get("ssh_key_data") or "")
        problem = private_key_problem(key, str(one["inputs"].get("ssh_key_unlock") or "")) if key else ""
        if problem:
            variables = " (awx_machine_key, awx_machine_key_passphrase)" if one["key"] == "machine" else ""
            problems.append(f"The private key of {one['name']}{variables} {problem}.")
    return problems


def credentials_of_other_types(credentials, found, organization):
    """Those that AWX has by our names in our organization, and that are something else."""
    others = []
    for one in credentials:
        for other in found:
            summary = other["summary_fields"]
            kind = summary["credential_type"]
            ours = other["name"] == one["name"] and summary.get("organization", {}).get("name") == organization
            if ours and kind["name"] != one["credential_type"]:
                told = f"{one['name']} ({one['key']}) is of the type {kind['name']}, not {one['credential_type']}"
                others.append({"id": other["id"], "key": one["key"], "name": one["name"], "type": kind["name"], "told": told})
    return others


def credential_results(results, inputs):
    """What came of each credential, as it may be shown."""
    secrets = [value for one in inputs.values() for value in one.values()]
    told = []
    for result in results:
        refusal = result.get("msg", "")
        answer = (result.get("response") or {}).get("json")
        if answer:
            refusal += f": {answer}"
        told.append({"name": result["item"]["name"], "changed": result.get("changed", False), "refusal": censored(refusal, secrets)})
    return told


def project_state(answer):
    """The state of the project that was asked for, or why there is none."""
    if "results" in answer.get("json", {}):
        return next((project["status"] for project in answer["json"]["results"]), "hidden")
    return "hidden" if answer.get("status") in (401, 403, 404) else "unknown"


def awx_collection_problems(collection, versions, api_path="/api"):
    """Of the collection whose modules are to be used, of which a module would only say "not found"."""
    version = versions.get(collection)
    if not version:
        installed = [f"{name} {version}" for name, version in versions.items() if version]
        other = f"; or set awx_collection to what is installed, {installed[0]}" if installed else ""
        return [f"The collection {collection} (awx_collection) is not installed: {SOURCES[collection]}{other}."]
    if api_path != "/api" and version != UNKNOWN_VERSION and LooseVersion(version) < LooseVersion(OTHER_PATHS[collection]):
        return [f"{collection} {version} asks below /api only: awx_api_path {api_path} needs {OTHER_PATHS[collection]} or newer."]
    return []


class FilterModule:
    """Filters of the collection."""

    def filters(self):
        return {
            "awx_collection_problems": awx_collection_problems,
            "censored": censored,
            "credential_inputs": credential_inputs,
            "credential_results": credential_results,
            "credentials_of_other_types": credentials_of_other_types,
            "credential_type_problems": credential_type_problems,
            "private_key_problem": private_key_problem,
            "private_key_problems": private_key_problems,
            "project_state": project_state,
        }
