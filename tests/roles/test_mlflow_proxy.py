"""The site that the role mlflow_proxy writes, in a real nginx on loopback, before a small program that notes what reaches it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import json
import shutil
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playbook_run import LOCAL, run_in

USERS = [
    {"name": "sparkflows", "password": "p-spark", "access": "write"},
    {"name": "dana", "password": "p-dana", "access": "write"},
    {"name": "Dana", "password": "p-Dana", "access": "read"},
    {"name": "d.na", "password": "p-dot", "access": "read"},
    *[{"name": f"writer{number}", "password": f"p-{number}"} for number in range(40)],
]
VARIABLES = {
    "mlops_address": "127.0.0.3",
    "mlops_mlflow_username": "sparkflows",
    "mlops_mlflow_password": "p-spark",
    "mlflow_proxy_users": USERS,
    "mlflow_proxy_transfers": 5,
    "mlflow_proxy_login_transfers": 3,
    "mlflow_proxy_requests": 6,
}
PLAY = """
- hosts: mlflow
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: sparkflows.mlops.mlflow_proxy, tasks_from: preflight, public: true}
    - ansible.builtin.copy:
        content: "{{ dict(site=lookup('ansible.builtin.template', site), users=_mlflow_proxy_users_content) | to_json }}"
        dest: site.json
        mode: "0600"
      vars: {site: "{{ role_path }}/templates/mlflow.conf.j2"}
"""
API = "/api/2.0/mlflow/"
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/model.bin"
SEARCH = API + "experiments/search?max_results=5"
PIECES = 20000


class Upstream(http.server.BaseHTTPRequestHandler):
    """Sends artifacts in small pieces, as MLflow does, and holds a request back until it is let go where its path says so."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen.append((self.command, self.path))
        length = int(self.headers.get("Content-Length") or 0)
        try:
            while length > 0:
                length -= len(self.rfile.read1(min(length, 65536))) or length
            if "held" in self.path:
                self.server.gate.wait(60)
            self.send_response(200)
            if "artifacts/" in self.path and self.command == "GET":
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for _time in range(PIECES * (500 if "endless" in self.path else 1)):
                    self.wfile.write(b"64\r\n" + b"x" * 100 + b"\r\n")
                self.wfile.write(b"0\r\n\r\n")
            else:
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"OK")
        except OSError:
            self.close_connection = True

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET

    def log_message(self, *_arguments):
        pass


class WithUsers(Upstream):
    """As mlflow_login.py answers: MLflow knows the users, and what each of them may do. Who has not come through the proxy has no login."""

    KNOWN = {"Basic " + base64.b64encode(login).decode() for login in (b"sparkflows:a long password", b"ana:a word of ana's")}

    def do_GET(self):
        login = self.headers.get("Authorization")
        if not self.headers.get("X-Forwarded-For") or (login not in self.KNOWN and self.path != "/health"):
            self.send_response(401 if self.headers.get("X-Forwarded-For") else 500)
            self.send_header("WWW-Authenticate", 'Basic realm="mlflow"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            self.server.seen.append(("refused", self.path))
        elif self.path == "/mlops-login":
            self.server.seen.append(("asked", self.path))
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET


@contextlib.contextmanager
def answering(port, handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    server.seen, server.gate = [], threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def written_site(folder, port, self_signed, **variables):
    """The files of the role, for an nginx in this folder."""
    self_signed(folder, "mlflow", "127.0.0.3")
    role = Path(__file__).parents[2] / "roles/mlflow_proxy"
    common = {**LOCAL, **VARIABLES, "mlops_mlflow_port": port, "role_path": str(role), "mlflow_proxy_certificate_path": str(folder / "mlflow.pem"),
              "mlflow_proxy_key_path": str(folder / "mlflow.key"), **variables}  # fmt: skip
    done = run_in(folder, {"all": {"vars": common, "children": {"mlflow": {"hosts": {"m1": {}}}, "sparkflows": {"hosts": {"fire1": {}}}}}}, PLAY)
    assert done.returncode == 0, done.output[-3000:]
    found = json.loads((folder / "site.json").read_text())
    (folder / "mlflow.htpasswd").write_text(found["users"])
    text = found["site"].replace("/etc/nginx/mlops", str(folder)).replace("/run/nginx-mlflow-logins", str(folder / "logins"))
    (folder / "site.conf").write_text(text)


@pytest.fixture(name="site", scope="module")
def fixture_site(tmp_path_factory, free_port, self_signed):
    """The port and the folder of a site that any number of nginx may run one after the other."""
    folder, port = tmp_path_factory.mktemp("proxy"), free_port()
    written_site(folder, port, self_signed)
    return port, folder


@pytest.fixture(name="upstream", scope="module")
def fixture_upstream(site):
    with answering(site[0], Upstream) as server:
        yield server


@pytest.fixture(name="proxy")
def fixture_proxy(site, upstream, run_nginx):
    """proxy(user, password, path, ...) -> status and headers of the answer. Each test has an nginx that knows no login yet."""
    port, folder = site
    shutil.rmtree(folder / "logins", ignore_errors=True)
    with run_nginx(folder, "127.0.0.3", port):
        try:
            upstream.seen.clear()
            upstream.gate.clear()
            yield Client(port, folder / "mlflow.pem")
        finally:
            upstream.gate.set()


class Client:
    def __init__(self, port, authority):
        self.port, self.context = port, ssl.create_default_context(cafile=str(authority))
        self.opened = []

    def send(self, user, path, method="GET", body=None, headers=None, source="127.0.0.1"):
        """Send a request and leave the answer to be read."""
        connection = http.client.HTTPSConnection("127.0.0.3", self.port, timeout=60, context=self.context, source_address=(source, 0))
        login = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()} if user else {}
        connection.request(method, path, body, {**login, **(headers or {})}, encode_chunked="Transfer-Encoding" in (headers or {}))
        return connection

    def answer(self, connection):
        with contextlib.closing(connection):
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), answer.headers

    def __call__(self, *arguments, **options):
        return self.answer(self.send(*arguments, **options))

    def status(self, *arguments, **options):
        return self(*arguments, **options)[0]


def wait_for(condition):
    for _time in range(400):
        if condition():
            return True
        time.sleep(0.05)
    return False


DANA, READER, WRITER = "dana:p-dana", "Dana:p-Dana", "sparkflows:p-spark"
WRITE = {"method": "POST", "body": "{}"}


def test_users_whose_names_differ_in_case_are_two(proxy, upstream):
    assert [proxy.status(user, API + "runs/set-tag", **WRITE) for user in (DANA, READER, "d.na:p-dot")] == [200, 403, 403]
    assert [proxy.status(user, SEARCH) for user in (DANA, READER, "DANA:p-dana", "Dana:p-dana")] == [200, 200, 401, 401]
    assert upstream.seen.count(("POST", API + "runs/set-tag")) == 1


def test_a_right_password_is_no_guess(proxy):
    """Forty users from one address, and a reader who tries to write: nobody of them guesses."""
    refused = [proxy.status(READER, API + "runs/create", **WRITE) for _time in range(30)]
    connections = [proxy.send(f"writer{number}:p-{number}", path, **options) for number in range(40)
                   for path, options in ((SEARCH, {}), (API + "runs/create", WRITE))]  # fmt: skip
    first = [proxy.answer(connection)[0] for connection in connections]
    assert (set(refused), set(first)) == ({403}, {200})
    assert proxy.status(DANA, SEARCH) == 200


def test_who_guesses_is_stopped_and_who_is_known_is_not(proxy):
    assert proxy.status(WRITER, SEARCH) == 200
    assert [proxy.status("", SEARCH) for _time in range(40)] == [401] * 40
    guesses = [proxy(f"dana:guess-{number}", SEARCH) for number in range(16)]
    assert [status for status, _text, _headers in guesses] == [401] * 11 + [429] * 5
    assert guesses[0][2].get_all("WWW-Authenticate") == ['Basic realm="MLflow"'] and guesses[-1][2]["Retry-After"]
    # Not even tried, so that an answer says nothing about it ...
    assert proxy.status(DANA, SEARCH) == 429
    # ... while normal work goes on.
    assert [proxy.status(WRITER, SEARCH) for _time in range(20)] == [200] * 20


def test_guesses_that_come_at_once_are_counted_too(proxy):
    connections = [proxy.send(f"dana:guess-{number}", SEARCH) for number in range(60)]
    found = [proxy.answer(connection)[0] for connection in connections]
    assert set(found) == {401, 429} and found.count(401) <= 15, found


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_nobody_takes_all_of_mlflow(proxy, upstream, method):
    """Readers that do not read, senders that do not send: a login or an address has 3, all together have 5, and others go on."""
    path = ARTIFACT.replace("model", "endless")
    options = {"method": method, "headers": {"Content-Length": "1000000"} if method == "PUT" else {}}
    held = []
    for users, source, number in (([WRITER], "127.0.0.5", 3), ([WRITER], "127.0.0.6", 3), ([DANA, WRITER], "127.0.0.5", 3), ([DANA], "127.0.0.7", 5)):
        held += [proxy.send(user, path, source=source, **options) for user in users * 4]
        assert wait_for(lambda number=number: upstream.seen.count((method, path)) == number)
    assert proxy.status(DANA, path, source="127.0.0.8", **options) == 503
    assert upstream.seen.count((method, path)) == 5
    assert proxy.status("", "/health") == 200
    assert [proxy.status(user, SEARCH) for user in (WRITER, DANA, READER)] == [200] * 3
    assert proxy.status(WRITER, API + "runs/create", **WRITE) == 200
    for connection in held:
        connection.close()
    # Who went away holds nothing.
    assert wait_for(lambda: proxy.status(WRITER, ARTIFACT) == 200)


def test_requests_at_once_have_a_limit_and_it_is_the_login_s_own(proxy, upstream):
    # Who does not know the password takes nothing away from who does.
    strangers = [proxy.send("sparkflows:wrong", SEARCH + "&held") for _time in range(8)]
    held = [proxy.send(WRITER, SEARCH + "&held") for _time in range(10)]
    with ThreadPoolExecutor(len(held)) as pool:
        waiting = [pool.submit(proxy.answer, connection) for connection in held]
        assert wait_for(lambda: len(upstream.seen) == 6 and sum(future.done() for future in waiting) == 4)
        upstream.gate.set()
        answers = [future.result() for future in waiting]
    assert sorted(status for status, _text, _headers in answers) == [200] * 6 + [503] * 4
    assert [json.loads(text)["error_code"] for status, text, _headers in answers if status == 503] == ["TEMPORARILY_UNAVAILABLE"] * 4
    assert {proxy.answer(connection)[0] for connection in strangers} <= {401, 429}


@pytest.mark.parametrize(("name", "status"), [
    ("127.0.0.3:{port}", 200), ("[2001:db8::1]:{port}", 200), ("localhost", 200), ("m1", 200), ("M1.", 200),
    ("evil.example.com:{port}", 421), ("xm1", 421)])
def test_only_names_of_its_own_are_answered(proxy, name, status):
    assert proxy.status(WRITER, SEARCH, headers={"Host": name.format(port=proxy.port)}) == status


@pytest.mark.parametrize(("origin", "status"), [
    ("https://127.0.0.3:{port}", 200), ("", 200), ("http://127.0.0.3:{port}", 403), ("https://127.0.0.3", 403),
    ("https://evil.example.com", 403), ("null", 403)])
def test_a_foreign_origin_is_refused(proxy, origin, status):
    assert proxy.status(WRITER, SEARCH, headers={"Origin": origin.format(port=proxy.port)}) == status


LARGE = json.dumps({"filter": "x" * 5_000_000})


@pytest.mark.parametrize("user", [READER, WRITER])
def test_a_search_is_small(proxy, upstream, user):
    runs = API + "runs/search"
    chunks = {"body": iter([LARGE.encode()]), "headers": {"Transfer-Encoding": "chunked"}}

    def status(path, **options):
        # nginx does not wait for all of it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, ssl.SSLError):
            return proxy.status(user, path, **options)
        return "cut"

    assert status(runs, method="POST", body=LARGE) in (413, "cut")
    assert status(runs, method="GET", body=LARGE) in (413, "cut")
    assert status(runs, method="POST", **chunks) in (413, "cut")
    assert status(API + "registered-models/search?filter=" + "x" * 5_000_000) in (414, 400, "cut")
    assert upstream.seen == []
    assert status(runs, method="POST", body=json.dumps({"experiment_ids": ["7"] * 9000})) == 200
    assert proxy.status(WRITER, API + "runs/log-batch", method="POST", body=LARGE) == 200


def test_small_pieces_are_put_together(proxy):
    """Each as a record of its own made a download four times as slow as without the proxy."""
    with contextlib.closing(proxy.send(READER, ARTIFACT)) as connection:
        records, found = 0, b""
        while not found.endswith(b"\r\n0\r\n\r\n"):
            # One record at a time.
            found += connection.sock.recv(65536)
            records += 1
    assert found.count(b"x") >= PIECES * 100 and records < PIECES / 50


@pytest.fixture(name="login_site", scope="module")
def fixture_login_site(tmp_path_factory, free_port, self_signed):
    folder, port = tmp_path_factory.mktemp("login"), free_port()
    written_site(folder, port, self_signed, mlops_mlflow_login="mlflow", mlops_mlflow_password="a long password",
                 mlflow_proxy_users=[{"name": "sparkflows", "password": "a long password"}])  # fmt: skip
    return port, folder


@pytest.fixture(name="mlflow_s_users")
def fixture_mlflow_s_users(login_site, run_nginx):
    port, folder = login_site
    shutil.rmtree(folder / "logins", ignore_errors=True)
    (folder / "mlflow.htpasswd").unlink(missing_ok=True)
    with answering(port, WithUsers) as server, run_nginx(folder, "127.0.0.3", port):
        yield Client(port, folder / "mlflow.pem"), server


def test_mlflow_s_own_users_are_asked_for(mlflow_s_users):
    proxy, server = mlflow_s_users
    ana = "ana:a word of ana's"
    for user in ("", "ana:another word", "sparkflows:a word of ana's"):
        assert proxy.status(user, SEARCH) == 401, user
    # Nothing of these has come further than to the question whether they are known, and one without a login not even there.
    assert set(server.seen) == {("refused", "/mlops-login")} and proxy("", SEARCH)[2]["WWW-Authenticate"].startswith("Basic realm=")
    assert proxy.status(ana, SEARCH) == proxy.status(ana, API + "runs/create", **WRITE) == proxy.status(ana, ARTIFACT) == 200
    assert ("POST", API + "runs/create") in server.seen
    # Asked once for reading and once for writing, and known from then on.
    assert [proxy.status(ana, SEARCH) for _time in range(20)] == [200] * 20
    assert server.seen.count(("asked", "/mlops-login")) == 2
    assert proxy.status("", "/health") == 200


def test_who_guesses_at_mlflow_s_own_users_is_stopped(mlflow_s_users):
    proxy, server = mlflow_s_users
    assert proxy.status("sparkflows:a long password", SEARCH) == 200
    assert [proxy.status(f"ana:guess-{number}", SEARCH) for number in range(16)] == [401] * 11 + [429] * 5
    # The twelfth shows that it is one too many; those after it are not even tried.
    assert server.seen.count(("refused", "/mlops-login")) == 12
    assert [proxy.status("sparkflows:a long password", SEARCH) for _time in range(20)] == [200] * 20


def test_who_is_not_known_to_mlflow_any_more_is_refused_at_once(mlflow_s_users):
    proxy, server = mlflow_s_users
    assert proxy.status("sparkflows:a long password", SEARCH) == 200
    known, WithUsers.KNOWN = WithUsers.KNOWN, set()
    try:
        assert proxy.status("sparkflows:a long password", SEARCH) == 401
    finally:
        WithUsers.KNOWN = known
