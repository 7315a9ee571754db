# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Just enough of PostgreSQL's protocol (version 3) to log in and ask a question.

A check before anything is installed cannot count on a driver on the host. Where there is one, use that.
"""

import base64
import hashlib
import hmac
import os
import socket
import ssl
import struct
import unicodedata

from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError

PROTOCOL = 3 << 16
SSL_REQUEST = 80877103
LONGEST_MESSAGE = 1 << 20


class ServerError(MlopsError):
    """What the server refuses, with its code (SQLSTATE)."""

    def __init__(self, fields):
        super().__init__(fields.get("M", "no reason given"))
        self.code = fields.get("C", "")


def digest(key, message):
    return hmac.new(key, message, "sha256").digest()


class Scram:
    """SCRAM-SHA-256 (RFC 5802, 7677) without channel binding. The server has to know the password, too."""

    def __init__(self, password):
        # What RFC 4013 does to a password, as far as it changes one that a person would choose. ASCII stays as it is.
        self.password = unicodedata.normalize("NFKC", password).encode()
        self.nonce = base64.b64encode(os.urandom(18)).decode()
        self.first = f"n=,r={self.nonce}"
        self.wanted = b""
        self.proven = False

    def opening(self):
        return ("n,," + self.first).encode()

    def proof(self, challenge):
        fields = dict(part.split("=", 1) for part in challenge.split(","))
        if not fields["r"].startswith(self.nonce):
            raise MlopsError("the server's answer belongs to another login")
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(fields["s"]), int(fields["i"]))
        final = f"c=biws,r={fields['r']}"
        message = f"{self.first},{challenge},{final}".encode()
        client_key = digest(salted, b"Client Key")
        signature = digest(hashlib.sha256(client_key).digest(), message)
        proof = bytes(one ^ other for one, other in zip(client_key, signature))
        self.wanted = digest(digest(salted, b"Server Key"), message)
        return f"{final},p={base64.b64encode(proof).decode()}".encode()

    def check(self, answer):
        if not hmac.compare_digest(answer, b"v=" + base64.b64encode(self.wanted)):
            raise MlopsError("the server does not know the password itself: it is not the wanted one")
        self.proven = True


class Connection:
    def __init__(self, host, port, timeout):
        self.host = host
        self.tls = ""
        try:
            self.socket = socket.create_connection((host, port), timeout)
        except OSError as exc:
            raise MlopsError(f"{host}:{port} does not answer: {exc.strerror or exc}") from exc

    # ---- bytes
    def receive(self, length):
        data = b""
        while len(data) < length:
            try:
                piece = self.socket.recv(length - len(data))
            except OSError as exc:
                raise MlopsError(f"{self.host} does not answer: {exc.strerror or exc}") from exc
            if not piece:
                raise MlopsError(f"{self.host} ended the connection: it is no PostgreSQL server, or it admits no one from here")
            data += piece
        return data

    def send(self, kind, payload):
        self.socket.sendall(kind + struct.pack("!I", len(payload) + 4) + payload)

    def message(self):
        """The next message that means something: (kind, payload)."""
        while True:
            kind, length = struct.unpack("!cI", self.receive(5))
            if not 4 <= length <= LONGEST_MESSAGE:
                raise MlopsError(f"{self.host} does not speak as a PostgreSQL server does")
            payload = self.receive(length - 4)
            if kind == b"E":
                raise ServerError({field[:1].decode(): field[1:].decode("utf-8", "replace") for field in payload.split(b"\0") if field})
            if kind not in b"SNK":  # settings, notices, the key to cancel with
                return kind, payload

    # ---- TLS
    def protect(self, mode, ca_path):
        """As libpq's sslmode says."""
        if mode == "disable":
            return
        self.send(b"", struct.pack("!I", SSL_REQUEST))
        answer = self.receive(1)
        if answer != b"S":
            if mode == "prefer" and answer == b"N":
                return
            raise MlopsError(f"{self.host} does not offer TLS: switch it on there, or set another sslmode")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = mode == "verify-full"
        if mode not in ("verify-ca", "verify-full"):
            context.verify_mode = ssl.CERT_NONE
        elif ca_path:
            try:
                context.load_verify_locations(ca_path)
            except (OSError, ssl.SSLError) as exc:
                raise MlopsError(f"ca_path is {ca_path}, which is no readable certificate: {exc.strerror or exc}") from exc
        else:
            context.load_default_certs()
        try:
            self.socket = context.wrap_socket(self.socket, server_hostname=self.host)
        except (ssl.SSLError, ssl.CertificateError) as exc:
            reason = getattr(exc, "verify_message", "") or getattr(exc, "reason", "") or exc
            raise MlopsError(
                f"the certificate of {self.host} is not trusted ({reason}): set ca_path, or host to the name that it was made for") from exc
        except OSError as exc:
            raise MlopsError(f"{self.host} ended the connection: {exc.strerror or exc}") from exc
        self.tls = self.socket.version()

    # ---- login
    def log_in(self, user, database, password):
        words = ["user", user, "database", database, "application_name", "sparkflows.mlops"]
        self.send(b"", struct.pack("!I", PROTOCOL) + b"".join(word.encode() + b"\0" for word in words) + b"\0")
        scram = None
        while True:
            kind, payload = self.message()
            if kind == b"Z":
                return
            if kind != b"R":
                raise MlopsError(f"{self.host} does not speak as a PostgreSQL server does")
            (method,), rest = struct.unpack("!I", payload[:4]), payload[4:]
            if method == 3:
                self.send(b"p", password.encode() + b"\0")
            elif method == 5:
                inner = hashlib.md5(password.encode() + user.encode()).hexdigest().encode()
                self.send(b"p", b"md5" + hashlib.md5(inner + rest).hexdigest().encode() + b"\0")
            elif method == 10 and b"SCRAM-SHA-256" in rest.split(b"\0"):
                scram = Scram(password)
                opening = scram.opening()
                self.send(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(opening)) + opening)
            elif method == 11 and scram:
                self.send(b"p", scram.proof(rest.decode()))
            elif method == 12 and scram:
                scram.check(rest)
            elif method != 0:
                raise MlopsError(f"{self.host} asks for a login of another kind than with a password (its number is {method})")
            elif scram and not scram.proven:
                raise MlopsError(f"{self.host} broke the login off")

    # ---- questions
    def ask(self, question):
        """Rows of texts; None is NULL."""
        self.send(b"Q", question.encode() + b"\0")
        rows = []
        while True:
            kind, payload = self.message()
            if kind == b"Z":
                return rows
            if kind == b"D":
                (count,), place, row = struct.unpack("!H", payload[:2]), 2, []
                for _number in range(count):
                    (length,) = struct.unpack("!i", payload[place:place + 4])
                    place += 4
                    row.append(None if length < 0 else payload[place:place + length].decode())
                    place += max(length, 0)
                rows.append(row)

    def close(self):
        self.socket.close()
