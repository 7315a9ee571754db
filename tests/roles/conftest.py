"""A real nginx for the sites that roles write. All that it writes is in the test's own folder."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time

import pytest

# With lists and packages of its own: the machine's stay as they are.
DOWNLOAD = """
mkdir -p lists/partial archives/partial
apt="apt-get -qq -o Dir::State::Lists=$PWD/lists -o Dir::Cache=$PWD"
$apt update && $apt download nginx && dpkg-deb -x nginx_*.deb .
"""


@pytest.fixture(name="free_port", scope="session")
def fixture_free_port():
    """free_port() -> a port that nobody has at any address."""

    def find():
        with contextlib.closing(socket.create_server(("0.0.0.0", 0))) as found:
            return found.getsockname()[1]

    return find


@pytest.fixture(name="nginx_program", scope="session")
def fixture_nginx_program(tmp_path_factory):
    """nginx of the machine, or else the one of its distribution's package, unpacked and not installed: that would start it."""
    found = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if found:
        return found
    folder = tmp_path_factory.mktemp("nginx")
    subprocess.run(DOWNLOAD, shell=True, cwd=folder, check=True)
    return str(folder / "usr/sbin/nginx")


@pytest.fixture(name="run_nginx", scope="session")
def fixture_run_nginx(nginx_program):
    """with run_nginx(folder, address, port): the folder's site.conf is served, and answers at address and port."""

    @contextlib.contextmanager
    def run(folder, address, port):
        temporary = "".join(f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "nginx.conf").write_text(f"daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 2; user root;\n"
                                           f"events {{}}\nhttp {{ access_log off; {temporary} include {folder}/site.conf; }}\n")  # fmt: skip
        # -e: before it has read where, it would write to the machine's log.
        with subprocess.Popen([nginx_program, "-p", folder, "-e", folder / "error.log", "-c", folder / "nginx.conf"]) as process:
            try:
                for _time in range(200):
                    with contextlib.suppress(OSError), contextlib.closing(socket.create_connection((address, port))):
                        break
                    assert process.poll() is None, (folder / "error.log").read_text()
                    time.sleep(0.05)
                yield
            finally:
                process.terminate()

    return run


@pytest.fixture(name="self_signed", scope="session")
def fixture_self_signed():
    """self_signed(folder, name, address): a certificate and its key there."""

    def make(folder, name, address):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", "/CN=proxy", "-addext", f"subjectAltName=IP:{address}", "-keyout", folder / f"{name}.key",
                        "-out", folder / f"{name}.pem"], check=True, capture_output=True)  # fmt: skip

    return make
