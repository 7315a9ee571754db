"""The transport, against a real server on this machine."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import ssl
import threading

import pytest
from ansible_collections.sparkflows.mlops.plugins.module_utils import transport
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import (
    HttpClient,
    HttpError,
    MlopsError,
    NotLoggedIn,
    Unreachable,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SECRET = 'canary s3cret/+"é'


@pytest.fixture
def warnings():
    return []


@pytest.fixture
def client(server, warnings):
    return HttpClient(server.url + "/", "Product", "Check the login.", warnings.append, timeout=5)


def test_no_proxy_is_asked_for_what_is_on_this_host(server, client, reply, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server.on("GET", "/x", reply({"fine": True}))
    assert client.request("GET", "/x").data() == {"fine": True}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_idempotent_verbs_are_tried_again_and_that_is_announced(
    server, client, reply, warnings, pauses, method, status
):
    server.on(method, "/x", reply({}, status), reply({}, status), reply({"fine": True}))
    assert client.request(method, "/x").data() == {"fine": True}
    assert [f"HTTP {status}" in text and f"({n} of 3)" in text for n, text in enumerate(warnings, 1)] == [True, True]
    assert 0.5 <= pauses[0] <= 1 <= pauses[1] <= 2


def test_patience_ends(server, client, reply, warnings, pauses):
    server.on("GET", "/x", reply({"message": "too busy"}, 503))
    with pytest.raises(HttpError, match="GET /x answered HTTP 503: too busy"):
        client.request("GET", "/x")
    assert len(server.requests) == 4 and len(warnings) == 3
    with pytest.raises(HttpError):
        client.judge(client.send("GET", "/x", retries=0))
    assert len(server.requests) == 5


def test_the_server_may_say_how_long_to_wait_within_limits(server, client, reply, pauses):
    later = [
        reply({}, 429, headers={"Retry-After": value}) for value in ("7", "86400", "Wed, 21 Oct 2015 07:28:00 GMT")
    ]
    server.on("GET", "/x", *later, reply({}))
    client.request("GET", "/x")
    assert pauses[:2] == [7, transport.LONGEST_PAUSE] and pauses[2] <= 4


@pytest.mark.parametrize("status", [500, 503, 404])
def test_post_is_never_sent_twice(server, client, reply, warnings, status):
    server.on("POST", "/x", reply({}, status))
    with pytest.raises(HttpError):
        client.request("POST", "/x", json_body={})
    assert len(server.requests) == 1 and not warnings


def test_other_failures_are_not_tried_again(server, client, reply):
    server.on("GET", "/x", reply({}, 500))
    with pytest.raises(HttpError):
        client.request("GET", "/x")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_redirect_is_not_followed(server, client, reply, status, method):
    server.on(method, "/x", reply("", status, headers={"Location": f"{server.url}/login;jsessionid={SECRET[:6]}?a=b"}))
    server.on("GET", "/login", reply({"fine": True}))
    with pytest.raises(
        NotLoggedIn, match=f"HTTP {status}, a redirect to {server.url}/login. Check the login."
    ) as error:
        client.request(method, "/x")
    assert len(server.requests) == 1 and SECRET[:6] not in str(error.value)


def test_redirect_to_another_address_of_the_same_thing_names_the_url(server, client, reply):
    server.on("GET", "/x", reply("", 302, headers={"Location": "https://secure.example.com:8443/base/x"}))
    with pytest.raises(NotLoggedIn, match="Set url to https://secure.example.com:8443/base."):
        client.request("GET", "/x")


def test_redirect_without_target(server, client, reply):
    server.on("GET", "/x", reply("", 302))
    with pytest.raises(NotLoggedIn, match="a redirect to nowhere"):
        client.request("GET", "/x")


@pytest.mark.parametrize(
    "body, content_type",
    [
        ("<html><title>Sign &amp; go</title></html>", "text/html;charset=UTF-8"),
        ("\n <!DOCTYPE html><title>Sign &amp; go</title>", "application/json"),
        ("<HTML><title>Sign &amp; go</title>", None),
    ],
)
def test_web_page_is_not_logged_in(server, client, reply, body, content_type):
    server.on("GET", "/x", reply(body, content_type=content_type))
    with pytest.raises(NotLoggedIn, match='web page titled "Sign & go" instead of data. Check the login.'):
        client.request("GET", "/x")


@pytest.mark.parametrize(
    "status, body, text",
    [
        (401, {"error": "invalid_token", "error_description": "Invalid access token"}, "invalid_token: Invalid access"),
        (403, {"error": "Forbidden", "message": "Access Denied"}, "Forbidden: Access Denied"),
        (403, "", "HTTP 403. Check the login."),
        (400, {"error": "invalid_token"}, "invalid_token"),
        (500, "JWT signature does not match locally computed signature.", "JWT signature"),
        (200, {"error": "invalid_token"}, "invalid_token"),
        (200, "Access Denied", "Access Denied"),
    ],
)
def test_refused_login_has_one_text(server, client, reply, status, body, text):
    server.on("GET", "/x", reply(body, status))
    with pytest.raises(NotLoggedIn, match="did not accept the login: GET /x answered HTTP") as error:
        client.request("GET", "/x")
    assert text in str(error.value) and str(error.value).endswith("Check the login.")


def test_data_about_tokens_is_no_refusal(server, client, reply):
    server.on("GET", "/x", reply([{"title": "Access Denied page", "name": "invalid_token"}]))
    assert client.request("GET", "/x").status == 200


@pytest.mark.parametrize(
    "status, body, text",
    [
        (404, {"error": "Not Found", "message": "No message available"}, ": Not Found: No message available."),
        (500, "plain\n words", ": plain words."),
        (500, "<html><title>Oops</title>" + "x" * 5000, ": Oops."),
        (500, "<html>no title", "HTTP 500."),
        (400, {"message": "y" * 5000}, "y" * 300 + "."),
        (418, [1, 2], ": [1, 2]."),
        (200, {"error": "it broke"}, "reports an error: it broke."),
    ],
)
def test_other_refusals_repeat_what_the_server_says_in_short(server, client, reply, status, body, text):
    server.on("GET", "/x", reply(body, status))
    with pytest.raises(HttpError) as error:
        client.request("GET", "/x")
    assert not isinstance(error.value, NotLoggedIn) and text in str(error.value) and len(str(error.value)) < 450
    assert error.value.status == status


def test_secret_that_the_server_echoes_is_not_repeated(server, client, reply):
    client.hide([SECRET, "short", None, ""])
    for body in (
        {"error": "x", "message": f"bad password {SECRET} or short"},
        f"bad {SECRET}",
        f"<title>{SECRET.replace(chr(34), '&quot;')}</title>",
        "canary%20s3cret/%2B%22%C3%A9 canary%20s3cret%2F%2B%22%C3%A9 canary+s3cret%2F%2B%22%C3%A9",
        'canary s3cret/+\\"\\u00e9',
    ):
        server.on("GET", "/x", reply(body, 400))
        with pytest.raises(HttpError) as error:
            client.request("GET", "/x")
        assert "canary" not in str(error.value) and "short" not in str(error.value) and "********" in str(error.value)


def test_what_is_sent(server, client, reply):
    server.on("POST", "/x", reply({}))
    client.headers["token"] = "t"
    client.request("POST", "/x", json_body=[{"a": "é"}], query={"q": "a b"}, headers={"X-More": "1"})
    client.request("POST", "/x", form={"a": "b&c"})
    first, second = server.requests
    assert first["target"] == "/x?q=a+b" and first["body"] == '[{"a": "\\u00e9"}]'
    headers = {name.lower(): value for name, value in first["headers"].items()}
    assert headers["token"] == "t" and headers["x-more"] == "1" and headers["content-type"] == "application/json"
    assert second["body"] == "a=b%26c"


def test_netrc_does_not_log_in_for_us(server, client, reply, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    server.on("GET", "/x", reply({}))
    client.request("GET", "/x")
    assert "Authorization" not in server.requests[0]["headers"]


# ---- no answer at all
def unreachable(url, **options):
    with pytest.raises(Unreachable) as error:
        HttpClient(url, "Product", "", lambda text: None, **options).request("GET", "/x")
    assert f"Product at {url} cannot be reached for GET /x: " in str(error.value)
    return error.value


def test_refused_connection(server):
    server.stop()
    error = unreachable(server.url)
    assert "the connection was refused. Is Product running" in str(error) and not error.permanent


def test_unknown_host():
    assert "the host name is not known here" in str(unreachable("http://nowhere.invalid"))


def test_timeout(server, reply):
    stop = threading.Event()
    server.routes["GET", "/x"] = lambda request: stop.wait(5) and reply({})
    error = unreachable(server.url, timeout=0.2)
    stop.set()
    assert "no answer within the time-out of 0.2 s" in str(error) and not error.permanent


@pytest.mark.parametrize(("how", "words"), [("close", "broke off ("), ("short", "broke off in the middle of the answer (")])
def test_connection_that_breaks_off(server, reply, how, words):
    server.on("GET", "/x", reply("{}", breaks=how))
    assert words in str(unreachable(server.url))


WHOLE = '[{"name": "a\\u00e9b", "value": -1.5e3, "more": [true, null, {}]}, {"x": "y"}]'


@pytest.mark.parametrize("length", range(1, len(WHOLE)))
def test_half_an_answer_is_called_one(client, server, reply, length):
    server.on("GET", "/x", reply(WHOLE[:length]))
    text = str(client.not_json(client.request("GET", "/x")))
    # In the middle of an escape it cannot be told from damage.
    assert f"GET /x answered HTTP 200 with half an answer: it ends after {length} bytes" in text or "\\" in WHOLE[length - 6 : length]
    assert "Is url the address" not in text


@pytest.mark.parametrize(("body", "words"), [
    ("", "without the data that belongs into the answer. Is url the address of Product itself?"), ("<xml/>", "with something that is no JSON."),
    ('{"a": 1} trailing', "with damaged JSON (at character 10 of 17)"), ('{"a" 1, "b": 2}', "with damaged JSON"), ("[1]", "with other JSON"),
])  # fmt: skip
def test_other_answers_that_are_no_data(client, server, reply, body, words):
    server.on("GET", "/x", reply(body))
    assert words in str(client.not_json(client.request("GET", "/x")))


def test_a_message_is_shortened_after_its_secrets_are_hidden(client, server, reply):
    """The other way round, the beginning of a secret at the end of the text would be shown."""
    client.hide(["a-long-and-secret-password"])
    server.on("GET", "/x", reply({"message": "x" * 290 + " a-long-and-secret-password"}, 500))
    with pytest.raises(HttpError) as caught:
        client.request("GET", "/x")
    assert "a-long" not in str(caught.value) and "x" * 290 + " ****" in str(caught.value)


# ---- TLS
@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """An https server with a certificate of its own CA, for 127.0.0.1 only; (url, path of the CA)."""
    directory = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "unit test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    ca, secret = directory / "ca.pem", directory / "key.pem"
    ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args):
            pass

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.handle_error = lambda *args: None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, secret)
    listener.socket = context.wrap_socket(listener.socket, server_side=True)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield listener.server_address[1], str(ca)
    listener.shutdown()
    listener.server_close()


def test_tls(tls):
    port, ca = tls
    url = f"https://127.0.0.1:{port}"
    assert HttpClient(url, "Product", "", None, ca_path=ca).request("GET", "/x").data() == {}
    assert HttpClient(url, "Product", "", None, validate_certs=False).request("GET", "/x").data() == {}
    error = unreachable(url)
    assert "its certificate is not accepted" in str(error) and "Set ca_path" in str(error) and error.permanent
    error = unreachable(f"https://localhost:{port}", ca_path=ca)
    assert "certificate is not accepted" in str(error) and "correct the host name" in str(error)


def test_wrong_protocol(tls, server):
    error = unreachable(server.url.replace("http:", "https:"), timeout=5)
    assert "TLS failed" in str(error) and "Is it really https" in str(error) and error.permanent
    assert "speak https rather than http" in str(unreachable(f"http://127.0.0.1:{tls[0]}"))


def test_bad_ca_path(tmp_path):
    (tmp_path / "bad").write_text("no certificate")
    for path, text in (("missing", "there is no file"), ("bad", "is not a readable PEM file")):
        with pytest.raises(MlopsError, match=text):
            HttpClient("https://127.0.0.1", "Product", "", None, ca_path=str(tmp_path / path))


# ---- options
@pytest.mark.parametrize(
    "url, warned", [("http://host", 1), ("http://localhost:1", 0), ("http://127.0.0.1", 0), ("https://host", 0)]
)
def test_plain_http_is_warned_about(url, warned, warnings):
    HttpClient(url, "Product", "", warnings.append)
    assert len(warnings) == warned and all("plain http" in text for text in warnings)


@pytest.mark.parametrize(
    "url",
    [
        "host:8443",
        "ftp://host",
        "https://",
        "https://host:0",
        "https://host:x",
        "https://h/?a=b",
        "https://a b",
        "https://h\n",
    ],
)
def test_url_that_is_none(url):
    with pytest.raises(MlopsError, match="url must look like https://host:port"):
        HttpClient(url, "Product", "", None)


def test_url_with_credentials_is_refused_without_showing_them():
    with pytest.raises(MlopsError) as error:
        HttpClient("https://user:canary@host", "Product", "", None)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("options", [dict(timeout=0), dict(retries=-1)])
def test_numbers_that_make_no_sense(options):
    with pytest.raises(MlopsError, match="timeout must be more than 0"):
        HttpClient("https://host", "Product", "", None, **options)
