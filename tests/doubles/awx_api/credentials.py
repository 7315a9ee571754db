"""Credentials: inputs as their type wants them, secrets, keys; and of which kind a credential must be that something uses."""

from __future__ import annotations

import re

from .credential_types import secret_fields
from .kinds import ENCRYPTED
from .refusals import Refusal, refuse


def check_credentials(store, new, data, found):
    if found and new["credential_type"] != found["credential_type"]:
        refuse(
            "credential_type",
            "You cannot change the credential type of the credential, as it may break the functionality of the resources using it.",
        )
    owners = sorted(name for name in ("organization", "team", "user") if data.get(name))
    if not found and not owners:
        refuse("detail", "Missing 'user', 'team', or 'organization'.")
    if not found and len(owners) > 1:
        refuse("detail", f"Only one of 'user', 'team', or 'organization' should be provided, received {', '.join(owners)} fields.")
    fields = {field["id"]: field for field in store.objects["credential_types"][new["credential_type"]]["inputs"].get("fields", [])}
    inputs = dict(new["inputs"])
    unknown = [name for name in inputs if name not in fields]
    if unknown:
        listed = ", ".join(map(repr, unknown))
        refuse("inputs", f"Additional properties are not allowed ({listed} {'was' if len(unknown) == 1 else 'were'} unexpected)")
    secret = secret_fields(store, new["credential_type"])
    for name, value in inputs.items():
        wanted = fields[name].get("type", "string")
        if not isinstance(value, bool if wanted == "boolean" else str):
            raise Refusal(400, {"inputs": {name: [f"{value!r} is not of type {wanted!r}"]}})
        if "choices" in fields[name] and value not in fields[name]["choices"]:
            raise Refusal(400, {"inputs": {name: [f"{value!r} is not one of {fields[name]['choices']!r}"]}})
        if value == ENCRYPTED and name in secret:
            if not found or name not in found["inputs"]:
                refuse("inputs", f"{ENCRYPTED} is a reserved keyword, and cannot be used for {name}.")
            inputs[name] = found["inputs"][name]
        elif value and fields[name].get("format") == "ssh_private_key":
            check_private_key(name, value)
    key, passphrase = inputs.get("ssh_key_data"), inputs.get("ssh_key_unlock")
    if key and "ssh_key_unlock" in fields:
        # Of an OpenSSH key, the name of the cipher is in what follows a fixed beginning.
        body = "".join(line for line in key.splitlines() if "-----" not in line)
        encrypted = not body.startswith("b3BlbnNzaC1rZXktdjEAAAAABG5vbmUA") if "BEGIN OPENSSH" in key else "ENCRYPTED" in key
        if encrypted and not passphrase:
            raise Refusal(400, {"inputs": {"ssh_key_unlock": ["must be set when SSH key is encrypted."]}})
        if passphrase and not encrypted:
            raise Refusal(400, {"inputs": {"ssh_key_unlock": ["should not be set when SSH key is not encrypted."]}})
    # What is empty and secret is not kept.
    new["inputs"] = {name: value for name, value in inputs.items() if value != "" or name not in secret}


def check_private_key(name, value):
    """The form of it. The refusal has the beginning of what was sent."""
    if not re.match(r"\s*-{4,} *BEGIN ([A-Z ]*PRIVATE KEY) *-{4,}\s*.+?\s*-{4,} *END \1 *-{4,}", value, re.DOTALL):
        raise Refusal(400, {"inputs": {name: [f"Invalid certificate or key: {value.lstrip()[:100]}..."]}})


def check_kind(store, field, new, kind):
    """Refusal 400 if the credential in this field of `new` (dict) is of another kind (str) of credential types."""
    if new.get(field) is not None:
        used = store.objects["credential_types"][store.objects["credentials"][new[field]]["credential_type"]]
        if used["kind"] != kind:
            refuse(field, f"Credential kind must be '{kind}'.")
