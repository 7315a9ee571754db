# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ssh would refuse of a private key."""

from __future__ import annotations

import base64
import binascii
import re

from ansible.errors import AnsibleFilterError

try:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key
except ImportError as exc:
    MISSING = exc
else:
    MISSING = None

KEY = re.compile(r"-----BEGIN ((?:[A-Z]+ )?)PRIVATE KEY-----\n(.+?)\n-----END \1PRIVATE KEY-----", re.DOTALL)
# How an OpenSSH key begins whose cipher is "none".
OPEN = b"openssh-key-v1\x00\x00\x00\x00\x04none"
# What ssh knows and the library does not: keys on hardware, and an old kind.
OTHERS = re.compile(rb"sk-(ssh|ecdsa)-|ssh-dss")


def private_key_problem(key, passphrase=""):
    """Nothing of the key is in the text: it is for a log."""
    if MISSING:
        raise AnsibleFilterError(f"reading a private key needs the Python library cryptography on the controller (requirements.txt): {MISSING}")
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
