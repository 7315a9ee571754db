# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import subprocess
import textwrap

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.awx import FilterModule
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

FILTERS = FilterModule().filters()
private_key_problem, censored, credential_type_problems = (
    FILTERS[name] for name in ("private_key_problem", "censored", "credential_type_problems"))  # fmt: skip


def text_of(key, form, cipher=None):
    return key.private_bytes(forms.Encoding.PEM, form, cipher or forms.NoEncryption()).decode()


ED25519, P256 = ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())
SECRET = forms.BestAvailableEncryption(b"open sesame")
OPENSSH = text_of(ED25519, forms.PrivateFormat.OpenSSH)
KEYS = {
    "OpenSSH": OPENSSH,
    "OpenSSH ecdsa": text_of(P256, forms.PrivateFormat.OpenSSH),
    "PKCS#8": text_of(P256, forms.PrivateFormat.PKCS8),
    "traditional": text_of(P256, forms.PrivateFormat.TraditionalOpenSSL),
}
ENCRYPTED = {
    "PKCS#8": text_of(P256, forms.PrivateFormat.PKCS8, SECRET),
    "traditional": text_of(P256, forms.PrivateFormat.TraditionalOpenSSL, SECRET),
}


@pytest.fixture(name="encrypted", scope="module")
def fixture_encrypted(tmp_path_factory):
    """An encrypted OpenSSH key, which the library writes with bcrypt only: by the program that everybody uses."""
    path = tmp_path_factory.mktemp("key") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "open sesame", "-C", "", "-f", path], check=True)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", KEYS)
def test_good_keys(kind):
    assert private_key_problem(KEYS[kind]) == ""
    # A block of YAML may lose the last line end, and gain empty lines.
    assert private_key_problem("\n" + KEYS[kind].strip()) == private_key_problem(KEYS[kind] + "\n\n") == ""


def test_good_keys_with_a_passphrase(encrypted):
    for key in (encrypted, *ENCRYPTED.values()):
        assert private_key_problem(key, "open sesame") == ""
        assert private_key_problem(key) == "has a passphrase, which is not given"
    for key in ENCRYPTED.values():
        assert private_key_problem(key, "wrong") == "is damaged, or the passphrase is a wrong one"


@pytest.mark.parametrize(("key", "words"), [
    (" ".join(OPENSSH.split("\n")), "is on one line: its line ends are lost"),
    (OPENSSH.replace("\n", "\\n"), "is on one line: its line ends are lost"),
    (OPENSSH.replace("\n", "\r\n"), "has the line ends of Windows"),
    (OPENSSH[:150], "is cut off"),
    (OPENSSH.replace("-----END", "----END"), "is cut off or its lines are broken"),
    (OPENSSH.replace("OPENSSH PRIVATE KEY-----\n", "OPENSSH PRIVATE KEY----- ", 1), "is cut off or its lines are broken"),
    ("key: " + OPENSSH, "does not begin with -----BEGIN"),
    ("\n".join(line for number, line in enumerate(OPENSSH.splitlines()) if number != 2), "is damaged"),
    (OPENSSH.replace("b3BlbnNz", "b3Bl*nNz"), "is no base64"),
    ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ operator@example", "is no private key, but a public key"),
    ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "is no private key, but a public key or a certificate"),
    ("/home/me/.ssh/id_ed25519", "is a path"), ("id_rsa.pem", "is a path"),
    ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "PuTTY"),
    ("not a key at all", "does not begin with -----BEGIN"), ("x" * 300, "does not begin with -----BEGIN"),
])  # fmt: skip
def test_bad_keys(key, words):
    problem = private_key_problem(key)
    assert words in problem
    assert censored(problem, [line for line in key.splitlines() if "-----" not in line]) == problem, "the problem repeats the key"


def test_a_passphrase_without_need():
    assert private_key_problem(OPENSSH, "x") == "has no passphrase, but one is given"


def test_a_secret_of_which_a_part_is_repeated():
    answer = f"{{'inputs': {{'ssh_key_data': ['Invalid certificate or key: {OPENSSH[:100]!r}...']}}}}"
    shown = censored(answer, [OPENSSH])
    assert "Invalid certificate or key" in shown and "ssh_key_data" in shown
    assert all(OPENSSH[at : at + 12].replace("\n", "") not in shown for at in range(40, 88))
    assert censored("a secret, and: secret", ["secret"]) == "a ********, and: ********"
    assert censored("nothing of it", ["another secret", ""]) == "nothing of it"
    # A word that a password begins with is no secret.
    assert censored("https://sparkflows.example.com", ["sparkflows!2024"]) == "https://sparkflows.example.com"
    assert censored("refused: sparkflows!2...", ["sparkflows!2024"]) == "refused: ********..."


FIELDS = [{"id": "key", "type": "string", "label": "Key", "secret": True}, {"id": "b", "label": "B"}]
KIND = {"name": "S3 keys", "kind": "cloud", "description": "d", "injectors": {"extra_vars": {"k": "{{ key }}"}},
        "inputs": {"fields": FIELDS, "required": ["key", "b"]}}  # fmt: skip


@pytest.mark.parametrize(("difference", "words"), [
    ({}, None), ({"name": "other", "injectors": {}}, None), ({"description": "another"}, None),
    ({"inputs": {"fields": [{"id": "b", "label": "B", "type": "string"}, KIND["inputs"]["fields"][0]], "required": ["b", "key"]}}, None),
    ({"inputs": {"fields": KIND["inputs"]["fields"][:1], "required": ["key", "b"]}}, "S3 keys (other fields)"),
    ({"inputs": dict(KIND["inputs"], required=["key"])}, "S3 keys (other required)"),
    ({"injectors": {"env": {"K": "{{ key }}"}}}, "S3 keys (other injectors)"), ({"kind": "net"}, "S3 keys (other kind)"),
    ({"inputs": {}, "injectors": {}}, "S3 keys (other fields, required, injectors)"),
])  # fmt: skip
def test_types_of_the_same_name(difference, words):
    assert credential_type_problems([KIND], [dict(KIND, **difference)]) == ([words] if words else [])


def test_a_block_of_yaml_is_a_good_key():
    """What docs/awx.md shows: the key as a block in the secrets file."""
    yaml = pytest.importorskip("yaml")
    block = "awx_machine_key: |\n" + textwrap.indent(OPENSSH, "  ")
    assert private_key_problem(yaml.safe_load(block)["awx_machine_key"]) == ""
    folded = block.replace("|", ">")
    assert "is on one line" in private_key_problem(yaml.safe_load(folded)["awx_machine_key"])


AWX, CERTIFIED = "awx.awx", "ansible.controller"


@pytest.mark.parametrize(("collection", "versions", "path", "words"), [
    (AWX, {AWX: "23.9.0", CERTIFIED: None}, "/api", ()),
    (AWX, {AWX: "24.5.0", CERTIFIED: None}, "/api/controller", ()),
    (AWX, {AWX: "*", CERTIFIED: None}, "/api/controller", ()),
    (CERTIFIED, {AWX: "24.6.1", CERTIFIED: "4.10.0"}, "/api/controller", ()),
    (AWX, {AWX: None, CERTIFIED: None}, "/api", ("awx.awx (awx_collection) is not installed", "install awx.awx", "ansible.controller from")),
    (CERTIFIED, {AWX: None, CERTIFIED: None}, "/api", ("ansible.controller (awx_collection) is not installed", "from Automation Hub")),
    (CERTIFIED, {AWX: "24.6.1", CERTIFIED: None}, "/api", ("from Automation Hub", "; or set awx_collection to what is installed, awx.awx 24.6.1.")),
    (AWX, {AWX: None, CERTIFIED: "4.6.20"}, "/api", ("; or set awx_collection to what is installed, ansible.controller 4.6.20.",)),
    (AWX, {AWX: "23.9.0", CERTIFIED: None}, "/api/controller", ("awx.awx 23.9.0", "awx_api_path /api/controller needs 24.5.0 or newer")),
    (CERTIFIED, {AWX: None, CERTIFIED: "4.5.5"}, "/api/controller", ("ansible.controller 4.5.5", "needs 4.6.0 or newer")),
])  # fmt: skip
def test_the_collection_is_there_and_can(collection, versions, path, words):
    problems = FILTERS["awx_collection_problems"](collection, versions, path)
    assert len(problems) == bool(words)
    assert all(word in problems[0] for word in words), problems
