# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Against a local server that speaks PostgreSQL's protocol from a script. A real one is logged in to in the Molecule scenario `stores`."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import hmac
import ipaddress
import socketserver
import ssl
import struct
import threading

import pytest
from ansible_collections.sparkflows.mlops.plugins.module_utils.postgresql import Scram
from ansible_collections.sparkflows.mlops.plugins.modules import postgresql_login_info as module
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

PASSWORD = "canary@:/ %-52c1"
FINE = {"privileges": ["17.2 (Debian)", "f", "t", "t"], "revision": ["cfd24bdc0731"]}


def message(kind, payload):
    return kind + struct.pack("!I", len(payload) + 4) + payload


def refusal(code, text):
    return message(b"E", b"SFATAL\0C" + code.encode() + b"\0M" + text.encode() + b"\0\0")


def row(values):
    return message(b"D", struct.pack("!H", len(values)) + b"".join(
        struct.pack("!i", -1) if value is None else struct.pack("!I", len(value)) + value.encode() for value in values))


class Handler(socketserver.BaseRequestHandler):
    def read(self):
        kind, length = struct.unpack("!cI", self.take(5))
        return kind, self.take(length - 4)

    def take(self, length):
        data = b""
        while len(data) < length:
            piece = self.request.recv(length - len(data))
            if not piece:
                raise ConnectionError
            data += piece
        return data

    def handle(self):
        with contextlib.suppress(OSError):  # the client has had enough
            self.serve(self.server.script)

    def serve(self, script):
        first = self.take(struct.unpack("!I", self.take(4))[0] - 4)
        if first == struct.pack("!I", 80877103):
            self.request.sendall(b"S" if script.get("tls") else b"N")
            if not script.get("tls"):
                first = self.take(struct.unpack("!I", self.take(4))[0] - 4)
            else:
                self.request = script["tls"].wrap_socket(self.request, server_side=True)
                first = self.take(struct.unpack("!I", self.take(4))[0] - 4)
        self.server.startups.append(first[4:].split(b"\0"))
        if "says" in script:
            self.request.sendall(script["says"])
            return
        if not self.scram(script) if script.get("login", "scram") == "scram" else not self.plain(script):
            self.request.sendall(refusal("28P01", 'password authentication failed for user "mlflow"'))
            return
        self.request.sendall(message(b"S", b"server_version\x0017.2\0") + message(b"Z", b"I"))
        while True:
            _kind, question = self.read()
            answer = script["revision"] if b"version_num" in question else script["privileges"]
            self.request.sendall(row(answer) + message(b"C", b"SELECT 1\0") + message(b"Z", b"I"))

    def plain(self, script):
        salt = b"salt"
        if script["login"] == "md5":
            self.request.sendall(message(b"R", struct.pack("!I", 5) + salt))
            inner = hashlib.md5((PASSWORD + "mlflow").encode()).hexdigest().encode()
            wanted = b"md5" + hashlib.md5(inner + salt).hexdigest().encode()
        else:
            self.request.sendall(message(b"R", struct.pack("!I", 3)))
            wanted = PASSWORD.encode()
        fine = self.read()[1] == wanted + b"\0"
        if fine:
            self.request.sendall(message(b"R", struct.pack("!I", 0)))
        return fine

    def scram(self, script):
        self.request.sendall(message(b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"))
        payload = self.read()[1]
        client_first = payload.partition(b"\0")[2][4:].decode().removeprefix("n,,")
        salt = b"0123456789abcdef"
        nonce = client_first.partition("r=")[2] + "server"
        challenge = f"r={nonce},s={base64.b64encode(salt).decode()},i=4096"
        self.request.sendall(message(b"R", struct.pack("!I", 11) + challenge.encode()))
        answer, _comma, proof = self.read()[1].decode().rpartition(",p=")
        salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), salt, 4096)
        text = f"{client_first},{challenge},{answer}".encode()
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client_key).digest(), text, "sha256")
        if bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature)) != client_key:
            return False
        key = hmac.digest(salted, b"Server Key", "sha256") if not script.get("impostor") else b"x"
        last = b"v=" + base64.b64encode(hmac.digest(key, text, "sha256"))
        self.request.sendall((b"" if script.get("silent") else message(b"R", struct.pack("!I", 12) + last)) + message(b"R", struct.pack("!I", 0)))
        return True


@pytest.fixture(name="tls", scope="module")
def fixture_tls(tmp_path_factory):
    """(server's context, path of the certificate): for 127.0.0.1 and no other name."""
    folder = tmp_path_factory.mktemp("tls")
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "db")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True).sign(key, hashes.SHA256()))
    path = folder / "db.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(certificate.public_bytes(pem))
    (folder / "db.key").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, folder / "db.key")
    return context, str(path)


@pytest.fixture(name="ask")
def fixture_ask(call):
    """ask(script, **options) -> the module's result, against a server that follows the script"""
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    server.startups = []
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def run(script, **options):
        server.script = dict(FINE, **script)
        options = dict({"host": "127.0.0.1", "port": server.server_address[1], "database": "mlflow", "user": "mlflow",
                        "password": PASSWORD, "sslmode": "disable", "timeout": 3}, **options)
        result = call(module, **options)
        assert PASSWORD not in result.output
        return result

    run.server = server
    yield run
    server.shutdown()
    server.server_close()


def test_proof_is_that_of_the_standard():
    """The example of RFC 7677."""
    scram = Scram("pencil")
    scram.nonce, scram.first = "rOprNGfwEbeRWgbNEkqO", "n=user,r=rOprNGfwEbeRWgbNEkqO"
    answer = scram.proof("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
    assert answer.endswith(b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    scram.check(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


@pytest.mark.parametrize("login", ["scram", "md5", "cleartext"])
def test_login(ask, login):
    result = ask({"login": login})
    assert not result.get("failed"), result
    assert (result["version"], result["tls"], result["schema_revision"], result["changed"]) == ("17.2", "", "cfd24bdc0731", False)
    assert ask.server.startups[0][:4] == [b"user", b"mlflow", b"database", b"mlflow"]


@pytest.mark.parametrize("login", ["scram", "md5", "cleartext"])
def test_wrong_password(ask, login):
    result = ask({"login": login}, password="wrong")
    assert result["failed"] and "password authentication failed" in result["msg"] and "correct user and password" in result["msg"]


def test_new_database(ask):
    assert ask({"privileges": ["17.2", "f", "t", "f"]})["schema_revision"] == ""


@pytest.mark.parametrize("script, words", [
    ({"privileges": ["17.2", "f", "f", "f"]}, ["may not make tables", "CREATE on the schema public"]),
    ({"privileges": ["17.2", "f", None, "f"]}, ["may not make tables"]),
    ({"privileges": ["17.2", "t", "t", "f"]}, ["read only"]),
    ({"says": refusal("3D000", 'database "mlflow" does not exist')}, ["does not exist", "make the database"]),
    ({"says": refusal("28000", "no pg_hba.conf entry for host")}, ["no pg_hba.conf entry", "admit this host"]),
    ({"says": refusal("XX000", "internal")}, ["internal (XX000)"]),
    ({"says": message(b"R", struct.pack("!I", 7))}, ["another kind than with a password"]),
    ({"says": b"HTTP/1.1 400 Bad Request\r\n"}, ["does not speak as a PostgreSQL server does"]),
    ({"says": b""}, ["no PostgreSQL server"]),
    ({"impostor": True}, ["does not know the password itself"]),
    ({"silent": True}, ["broke the login off"]),
])
def test_what_the_server_says(ask, script, words):
    result = ask(script)
    assert result["failed"] and all(word in result["msg"] for word in words), result["msg"]
    assert "mlflow on 127.0.0.1:" in result["msg"]


@pytest.mark.parametrize("sslmode, ca, host, words", [
    ("verify-full", True, "127.0.0.1", []),
    ("verify-ca", True, "localhost", []),
    ("require", False, "127.0.0.1", []),
    ("prefer", False, "127.0.0.1", []),
    ("verify-full", True, "localhost", ["is not trusted", "the name that it was made for"]),
    ("verify-full", False, "127.0.0.1", ["is not trusted", "ca_path"]),
    ("verify-ca", False, "127.0.0.1", ["is not trusted", "ca_path"]),
])
def test_tls(ask, tls, sslmode, ca, host, words):
    result = ask({"tls": tls[0]}, sslmode=sslmode, host=host, **({"ca_path": tls[1]} if ca else {}))
    assert bool(result.get("failed")) == bool(words), result
    assert all(word in result["msg"] for word in words) if words else result["tls"].startswith("TLSv1.")


@pytest.mark.parametrize("sslmode", ["require", "verify-ca", "verify-full"])
def test_server_without_tls(ask, sslmode):
    assert "does not offer TLS" in ask({}, sslmode=sslmode)["msg"]
    assert not ask.server.startups  # the password was not sent


def test_server_without_tls_is_taken_if_that_is_wanted(ask):
    assert ask({}, sslmode="prefer")["tls"] == ""


def test_ca_that_is_no_file(ask, tls):
    assert "ca_path is /nonexistent.pem" in ask({"tls": tls[0]}, sslmode="verify-full", ca_path="/nonexistent.pem")["msg"]


def test_nothing_listens(ask):
    assert "does not answer" in ask({}, port=1)["msg"]
