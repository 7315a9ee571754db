"""The double of the Sparkflows server, over real HTTP."""

import base64
import hashlib
import hmac
import json
import os
import re
import shlex
import shutil
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from sparkflows_server.server import parse_properties

DOUBLES = Path(__file__).resolve().parents[2] / "doubles"
CONFIGURATIONS = "/api/v1/configurations"
TRACKING = "mlops.mlflow.trackingURL"
SECRET = "mlops.aws.s3.secret.key"


def auth(server, user="admin"):
    return {"token": server.token(user)}


def by_name(listing):
    """{name: flat element} of any shape."""
    if isinstance(listing, dict):
        listing = [element for group in listing.values() for element in group]
    flat = []
    for element in listing:
        flat += element.get("properties", [element])
    return {e["name"]: e for e in (element.get("confProperty", element) for element in flat)}


def read(server, client):
    answer = client("GET", CONFIGURATIONS, headers=auth(server))
    assert answer.status_code == 200
    return by_name(answer.json())


def save(server, client, *elements, user="admin"):
    return client("POST", CONFIGURATIONS, headers=auth(server, user), json=list(elements))


def element(server, name, value):
    return {"id": server.store.rows[name]["id"], "name": name, "value1": value, "value2": ""}


# ---- who is it
def test_token_is_the_documented_kind_of_jwt(double):
    server, client = double(token_secret="s3cret")
    header, claims, signature = server.token("admin", seconds=60).split(".")

    def decode(part):
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))

    assert json.loads(decode(header))["alg"] == "HS512"
    claims_read = json.loads(decode(claims))
    assert claims_read["sub"] == "admin"
    assert claims_read["exp"] > 1e12 > claims_read["iat"]  # milliseconds and seconds
    assert decode(signature) == hmac.new(b"s3cret", f"{header}.{claims}".encode(), hashlib.sha512).digest()


def forged(server):
    signature = server.token().rsplit(".", 1)[1]
    body = server.token(user="test").rsplit(".", 1)[0]
    return f"{body}.{signature}"


def unsigned(server):
    parts = [
        base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode()
        for p in ({"alg": "none"}, {"sub": "admin", "exp": 9e15, "iat": 1})
    ]
    return ".".join(parts) + "."


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda s: "nonsense", "Invalid access token"),
        (lambda s: "a.b.c", "Invalid access token"),
        (unsigned, "Invalid access token"),
        (forged, "JWT signature does not match locally computed signature"),
        (lambda s: s.token(seconds=-1), "Access token expired"),
        (lambda s: s.token(user="nobody"), "Invalid access token"),
    ],
)
def test_bad_tokens_are_refused(double, make, message):
    server, client = double()
    for headers in ({"token": make(server)},):
        answer = client("GET", CONFIGURATIONS, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"] == "invalid_token"
        assert message in answer.json()["error_description"]


@pytest.mark.parametrize("switches", [{"cors_enabled": False}, {"csrf_enabled": True}])
def test_tokens_need_cors_on_and_csrf_off(double, switches):
    server, client = double(**switches)
    answer = client("GET", CONFIGURATIONS, headers=auth(server))
    assert answer.json() == {"error": "invalid_token", "error_description": "Invalid access token"}
    bearer = oauth(client).json()["access_token"]
    answer = client("GET", CONFIGURATIONS, headers={"Authorization": f"Bearer {bearer}"})
    assert answer.json() == {"error": "invalid_token", "error_description": "Invalid access token"}


def oauth(client, basic=("sparkflows", "secret"), **form):
    return client(
        "POST",
        "/oauth/token",
        auth=basic,
        data={"grant_type": "password", "username": "admin", "password": "admin", **form},
    )


def test_oauth2_login(double):
    server, client = double()
    answer = oauth(client)
    assert answer.status_code == 200
    assert set(answer.json()) == {"access_token", "token_type", "refresh_token", "expires_in", "scope"}
    assert answer.json()["expires_in"] == 28800
    bearer = {"Authorization": "Bearer " + answer.json()["access_token"]}
    assert client("GET", CONFIGURATIONS, headers=bearer).status_code == 200
    # One active login per user since 3.3.11: a second login ends the first.
    assert oauth(client).status_code == 200
    assert client("GET", CONFIGURATIONS, headers=bearer).status_code == 401


def test_oauth2_older_release_keeps_both_logins(double):
    server, client = double(release="3.2.94")
    first, second = (oauth(client).json()["access_token"] for _attempt in range(2))
    for token in (first, second):
        assert client("GET", CONFIGURATIONS, headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_oauth2_token_expires(double):
    server, client = double(oauth_token_seconds=0.1)
    token = oauth(client).json()["access_token"]
    time.sleep(0.15)
    answer = client("GET", CONFIGURATIONS, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert "expired" in answer.json()["error_description"]


@pytest.mark.parametrize(
    "arguments, status, error",
    [
        ({"basic": None}, 401, "unauthorized"),
        ({"basic": ("sparkflows", "wrong")}, 401, "invalid_client"),
        ({"password": "wrong"}, 400, "invalid_grant"),
        ({"username": "nobody"}, 400, "invalid_grant"),
        ({"grant_type": "client_credentials"}, 400, "unsupported_grant_type"),
    ],
)
def test_oauth2_refusals(double, arguments, status, error):
    server, client = double()
    answer = oauth(client, **arguments)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_session_login(double):
    server, client = double()
    answer = client("POST", "/login", data={"username": "admin", "password": "admin"})
    assert answer.status_code == 302
    assert answer.headers["Location"] == server.url + "/"
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert client("GET", CONFIGURATIONS).status_code == 200
    assert "Welcome, admin" in client("GET", "/").text
    client("POST", "/logout")
    assert client("GET", CONFIGURATIONS).status_code == 302


def test_session_login_fails_with_a_redirect(double):
    server, client = double()
    answer = client("POST", "/login", data={"username": "admin", "password": "wrong"})
    assert (answer.status_code, answer.headers["Location"]) == (302, server.url + "/login?error")
    assert client("GET", CONFIGURATIONS).status_code == 302


def test_session_expires(double):
    server, client = double(session_seconds=0.1)
    client("POST", "/login", data={"username": "admin", "password": "admin"})
    time.sleep(0.15)
    assert client("GET", CONFIGURATIONS).status_code == 302


def test_login_changes_the_session_id(double):
    server, client = double()
    client("GET", "/login")
    before = client.session.cookies["JSESSIONID"]
    client("POST", "/login", data={"username": "admin", "password": "admin"})
    assert client.session.cookies["JSESSIONID"] != before


def test_csrf_protects_login_and_writes(double):
    server, client = double(csrf_enabled=True)
    form = {"username": "admin", "password": "admin"}
    assert client("POST", "/login", data=form).status_code == 403
    page = client("GET", "/login").text
    csrf = re.search(r'name="_csrf" value="([^"]+)"', page)[1]
    assert client.session.cookies["XSRF-TOKEN"] == csrf
    assert client("POST", "/login", data=dict(form, _csrf=csrf)).headers["Location"] == server.url + "/"
    assert client("GET", CONFIGURATIONS).status_code == 200  # reading needs none
    change = [element(server, TRACKING, "http://m:5000")]
    assert client("POST", CONFIGURATIONS, json=change).status_code == 403
    assert (
        client("POST", CONFIGURATIONS, json=change, headers={"X-XSRF-TOKEN": csrf}).status_code == 403
    )  # the one of before the login
    new = {"X-XSRF-TOKEN": client.session.cookies["XSRF-TOKEN"]}
    assert client("POST", CONFIGURATIONS, json=change, headers=new).status_code == 200
    assert server.value(TRACKING) == "http://m:5000"


def test_csrf_token_in_pages_only(double):
    server, client = double(csrf_enabled=True, csrf_cookie=False)
    csrf = re.search(r'name="_csrf" value="([^"]+)"', client("GET", "/login").text)[1]
    client("POST", "/login", data={"username": "admin", "password": "admin", "_csrf": csrf})
    assert "XSRF-TOKEN" not in client.session.cookies
    meta = dict(re.findall(r'<meta name="(\w+)" content="([^"]+)">', client("GET", "/").text))
    change = [element(server, TRACKING, "http://m:5000")]
    headers = {meta["_csrf_header"]: meta["_csrf"]}
    assert client("POST", CONFIGURATIONS, json=change, headers=headers).status_code == 200


@pytest.mark.parametrize("how, status", [("redirect", 302), ("html", 200), ("401", 401)])
def test_without_credentials(double, how, status):
    server, client = double(unauthenticated=how)
    for path in (CONFIGURATIONS, "/", "/no/such/page"):
        answer = client("GET", path)
        assert answer.status_code == status
        if how == "redirect":
            assert answer.headers["Location"].endswith("/login")
        if how == "html":
            assert answer.headers["Content-Type"].startswith("text/html")


def test_permissions(double):
    server, client = double()
    assert client("GET", CONFIGURATIONS, headers=auth(server, "test")).status_code == 403
    assert save(server, client, element(server, TRACKING, "http://m:5000"), user="test").status_code == 403
    answer = client("POST", "/api/v1/tokens", headers=auth(server, "test"), json={})
    assert (answer.status_code, answer.json()["message"]) == (403, "Access Denied")
    assert server.value(TRACKING) == ""


# ---- tokens
def test_mint_by_api(double):
    server, client = double()
    expires = int(time.time() * 1000) + 60_000
    answer = client(
        "POST", "/api/v1/tokens", headers=auth(server), json={"expiredDuration": str(expires), "description": "test"}
    )
    assert answer.status_code == 201
    assert client("GET", CONFIGURATIONS, headers={"token": answer.json()["accessToken"]}).status_code == 200


@pytest.mark.parametrize("release, status", [("3.3.7", 201), ("3.3.11", 400), ("3.4.0", 400)])
def test_description_is_mandatory_since_3_3_11(double, release, status):
    server, client = double(release=release)
    answer = client(
        "POST", "/api/v1/tokens", headers=auth(server), json={"expiredDuration": str(int(time.time() * 1000) + 60_000)}
    )
    assert answer.status_code == status


@pytest.mark.parametrize("required, status", [(True, 400), (False, 201)])
@pytest.mark.parametrize("release", ["3.3.7", "3.4.0"])
def test_whether_a_description_is_mandatory_may_be_chosen(double, release, required, status):
    server, client = double(release=release, token_description_required=required)
    body = {"expiredDuration": str(int(time.time() * 1000) + 60_000)}
    assert client("POST", "/api/v1/tokens", headers=auth(server), json=body).status_code == status


@pytest.mark.parametrize("body", [{}, {"expiredDuration": "60"}, {"expiredDuration": "soon"}, []])
def test_mint_refuses(double, body):
    server, client = double(release="3.2.90")
    assert client("POST", "/api/v1/tokens", headers=auth(server), json=body).status_code == 400


# ---- health and release
def test_health_needs_no_login(double):
    server, client = double()
    for path in ("/healthcheck", "/actuator/health"):
        assert client("GET", path).json() == {"status": "UP"}


def test_release(double):
    server, client = double(release="3.2.90")
    assert client("GET", "/api/v1/app/release-info").status_code == 302
    assert client("GET", "/api/v1/app/release-info", headers=auth(server)).json()["releaseVersion"] == "3.2.90"
    assert client("GET", "/api/v1/main/about", headers=auth(server)).json()["version"] == "3.2.90"


def test_unknown_path_and_method(double):
    server, client = double()
    assert client("GET", "/api/v1/nothing", headers=auth(server)).status_code == 404
    assert client("DELETE", CONFIGURATIONS, headers=auth(server)).status_code == 405


# ---- configuration
def test_the_26_attested_keys_are_there(double):
    server, client = double()
    names = read(server, client)
    attested = [  # spelled out: the table must not lose one by an edit
        "mlops.mlflow.trackingURL",
        "mlops.mlflow.deploy.mode",
        "mlops.port",
        "mlops.aws.s3.access.key",
        "mlops.aws.s3.secret.key",
        "mlops.aws.s3.endpoint.url",
        "mlops.aws.s3.ignore.tls",
        "mlops.models.state.values",
        "mlops.target.deployment",
        "mlops.timeout",
        "mlops.docker.registry.sparkflows",
        "mlops.docker.context.path",
        "mlops.fire.server.jar.name",
        "mlops.deployment.container.port",
        "mlops.service.port",
        "mlops.service.target.port",
        "mlops.kubeflow.namespace",
        "mlops.kubernetes.images.namespace",
        "mlops.kubeflow.username",
        "mlops.kubeflow.password",
        "mlops.kubeflow.config.path",
        "mlops.kubeflow.hostport",
        "mlops.kubernetes.config.path",
        "mlops.region",
        "mlops.aws_id",
        "mlops.arn",
    ]
    assert len(attested) == 26
    assert set(attested) <= set(names)


@pytest.mark.parametrize("shape", ["wrapped", "flat", "flat_titled", "grouped", "grouped_list"])
def test_shapes(double, shape):
    server, client = double(shape=shape)
    listing = client("GET", CONFIGURATIONS, headers=auth(server)).json()
    assert set(by_name(listing)) == set(server.values())
    first = listing if isinstance(listing, list) else listing["App"]
    keys = {
        "wrapped": {"confProperty", "title", "description"},
        "grouped": {"confProperty", "title", "description"},
        "flat": {"id", "name", "value1", "value2"},
        "flat_titled": {"id", "name", "value1", "value2", "title", "description"},
        "grouped_list": {"name", "properties"},
    }
    assert set(first[0]) == keys[shape]


@pytest.mark.parametrize("wrap", [False, True])
def test_partial_save_answers_the_flat_list(double, wrap):
    server, client = double()
    before = server.values()
    sent = element(server, TRACKING, "http://m:5000")
    answer = save(server, client, {"confProperty": sent, "title": "x", "description": ""} if wrap else sent)
    assert answer.json() == [sent]
    assert server.values() == dict(before, **{TRACKING: "http://m:5000"})
    assert read(server, client)[TRACKING]["value1"] == "http://m:5000"


@pytest.mark.parametrize(
    "change",
    [
        {"id": 1},
        {"id": None},
        {"name": "mlops.no.such.key"},
        {"name": None},
        {"value1": {"a": 1}},
        {"value1": ["a"]},
    ],
)
def test_a_save_with_one_bad_element_changes_nothing(double, change):
    server, client = double()
    before = server.values()
    answer = save(
        server, client, element(server, "mlops.port", "9999"), {**element(server, TRACKING, "http://m:5000"), **change}
    )
    assert answer.status_code == 400
    assert server.values() == before


def test_bad_bodies(double):
    server, client = double()
    for options in ({"json": {"a": 1}}, {"json": [1]}, {"data": "[", "headers": {"Content-Type": "application/json"}}):
        options = dict(options, headers={**options.get("headers", {}), **auth(server)})
        assert client("POST", CONFIGURATIONS, **options).status_code == 400
    assert client("POST", CONFIGURATIONS, data="[]", headers=auth(server)).status_code == 415
    twice = element(server, "mlops.port", "1")
    assert save(server, client, twice, twice).status_code == 400


@pytest.mark.parametrize(
    "switch, status, there", [("refuse", 400, False), ("ignore", 200, False), ("create", 200, True)]
)
def test_unknown_keys(double, switch, status, there):
    server, client = double(unknown_keys=switch)
    assert save(server, client, {"name": "mlops.new", "value1": "v"}).status_code == status
    assert ("mlops.new" in read(server, client)) == there


@pytest.mark.parametrize("mask", ["********", "", None])
def test_secrets_are_masked(double, mask):
    server, client = double(mask=mask)
    assert read(server, client)[SECRET]["value1"] == ""  # not set
    answer = save(server, client, element(server, SECRET, "CANARY"))
    assert "CANARY" not in answer.text
    assert read(server, client)[SECRET]["value1"] == mask
    assert server.value(SECRET) == "CANARY"


def test_secrets_unmasked(double):
    server, client = double(mask_secrets=False)
    save(server, client, element(server, SECRET, "CANARY"))
    assert read(server, client)[SECRET]["value1"] == "CANARY"


def test_names_can_vary(double):
    server, client = double(
        names={"mlflow_username": "mlops.mlflow.user", "ssh_key_path": None},
        extra_properties=[{"name": "mlops.mlflow.user2", "title": "MLflow Login Username"}],
        remove_properties=["mlops.arn"],
    )
    names = read(server, client)
    assert {"mlops.mlflow.user", "mlops.mlflow.user2"} <= set(names)
    assert not {"mlops.mlflow.login.username", "mlops.mlflow.ssh.key.path", "mlops.arn"} & set(names)


def test_subsets_and_infer(double):
    server, client = double()
    inferred = client("GET", CONFIGURATIONS + "/infer", headers=auth(server)).json()
    assert inferred[0]["confProperty"]["name"] == "app.runOnCluster"
    assert (
        client("POST", CONFIGURATIONS, headers=auth(server), json=inferred).status_code == 200
    )  # as the published sample does
    for path in (CONFIGURATIONS + "/kafka", CONFIGURATIONS + "/uiSettings", "/api/v1/configs/app"):
        assert client("GET", path, headers=auth(server)).json()


# ---- what is kept
def test_state_file(double, tmp_path):
    state = tmp_path / "state.json"
    server, client = double(state_file=str(state))
    save(server, client, element(server, SECRET, "CANARY"))
    assert stat.S_IMODE(os.stat(state).st_mode) == 0o600
    other, client = double(state_file=str(state))
    assert other.value(SECRET) == "CANARY"


def test_properties_file_wins_until_it_is_removed(double, tmp_path):
    path = tmp_path / "configuration.properties"
    server, client = double(properties_file=str(path), state_file=str(tmp_path / "state.json"))
    assert path.read_bytes() == b""  # the product comes with an empty one
    path.write_text(f"# by hand\n{TRACKING}=http\\://file\\:5000\nmlops.no.such.key=x\n")
    assert server.value(TRACKING) == ""  # read at start only
    server.restart()
    assert read(server, client)[TRACKING]["value1"] == "http://file:5000"
    assert save(server, client, element(server, TRACKING, "http://db:5000")).status_code == 200
    assert read(server, client)[TRACKING]["value1"] == "http://file:5000"
    path.write_text(f"#{TRACKING}=http://file:5000\n")
    server.restart()
    assert read(server, client)[TRACKING]["value1"] == "http://db:5000"  # saved values stay in the database


def test_restart_forgets_logins(double):
    server, client = double()
    client("POST", "/login", data={"username": "admin", "password": "admin"})
    bearer = {"Authorization": "Bearer " + oauth(client).json()["access_token"]}
    save(server, client, element(server, TRACKING, "http://m:5000"))
    server.restart()
    assert client("GET", CONFIGURATIONS).status_code == 302
    assert client("GET", CONFIGURATIONS, headers=bearer).status_code == 401
    assert read(server, client)[TRACKING]["value1"] == "http://m:5000"


@pytest.mark.parametrize(
    "text, expected",
    [
        (b"a=b", {"a": "b"}),
        (b"a = b ", {"a": "b "}),
        (b"a:b", {"a": "b"}),
        (b"a b", {"a": "b"}),
        (b"a", {"a": ""}),
        (b"a=", {"a": ""}),
        (b"# c\n! d\n\n  a=b", {"a": "b"}),
        (b"a=b\\\n   c", {"a": "bc"}),
        (b"a=x\\\\\nb=y", {"a": "x\\", "b": "y"}),
        (b"a\\=b=c\\:\\n\\u00e9", {"a=b": "c:\n\u00e9"}),
        (b"a=\xe9", {"a": "\u00e9"}),
        (b"a=1\r\na=2", {"a": "2"}),
        (b"a=b=c", {"a": "b=c"}),
        (b"a=\\uD83D\\uDE00", {"a": "\U0001f600"}),
    ],
)
def test_properties_syntax(text, expected):
    assert parse_properties(text) == expected


def test_malformed_properties_file_is_refused():
    with pytest.raises(ValueError, match="Malformed"):
        parse_properties(b"a=C:\\users")


# ---- faults
def test_fails_first(double):
    server, client = double(fail_first=2, fail_status=502)
    assert [client("GET", "/healthcheck").status_code for _attempt in range(3)] == [502, 502, 200]
    server.settings.fail_first, server.settings.fault_path = 1, CONFIGURATIONS
    assert client("GET", "/healthcheck").status_code == 200
    assert client("GET", CONFIGURATIONS, headers=auth(server)).status_code == 502
    assert client("GET", CONFIGURATIONS, headers=auth(server)).status_code == 200


def test_resets(double):
    server, client = double(reset_first=1)
    with pytest.raises(requests.ConnectionError):
        client("GET", "/healthcheck")
    assert client("GET", "/healthcheck").status_code == 200


def test_reset_after_save(double):
    server, client = double(reset_after_save=True)
    with pytest.raises(requests.ConnectionError):
        save(server, client, element(server, TRACKING, "http://m:5000"))
    assert server.value(TRACKING) == "http://m:5000"


def test_slow(double):
    server, client = double(delay_seconds=0.5)
    with pytest.raises(requests.Timeout):
        client("GET", "/healthcheck", timeout=0.1)


def test_html_redirect_truncated(double):
    server, client = double(html_instead_of_json=True)
    answer = client("GET", CONFIGURATIONS, headers=auth(server))
    assert answer.status_code == 200
    assert "<form" in answer.text
    server.settings.html_instead_of_json, server.settings.redirect_api = False, True
    assert client("GET", CONFIGURATIONS, headers=auth(server)).status_code == 302
    server.settings.redirect_api, server.settings.truncate_json = False, True
    with pytest.raises(ValueError):
        client("GET", CONFIGURATIONS, headers=auth(server)).json()


def test_expired_read_only_dropped(double):
    server, client = double(tokens_expired=True)
    assert client("GET", CONFIGURATIONS, headers=auth(server)).status_code == 401
    server.settings.tokens_expired, server.settings.read_only = False, True
    assert save(server, client, element(server, TRACKING, "http://m:5000")).status_code == 403
    server.settings.read_only, server.settings.drop_saves = False, True
    answer = save(server, client, element(server, TRACKING, "http://m:5000"))
    assert answer.json()[0]["value1"] == "http://m:5000"
    assert read(server, client)[TRACKING]["value1"] == ""


def test_starts_up_slowly(double):
    server, client = double(ready_after_seconds=3600)
    assert client("GET", "/healthcheck").status_code == 503
    server.settings.ready_after_seconds = time.time() - server.started
    assert client("GET", "/healthcheck").status_code == 200


@pytest.mark.parametrize("switches", [{"no_such_switch": 1}, {"shape": "round"}])
def test_bad_switches(double, switches):
    with pytest.raises(ValueError):
        double(**switches)


def test_requests_are_kept_for_tests(double):
    server, client = double()
    save(server, client, element(server, TRACKING, "http://m:5000"))
    assert server.saves() == [[element(server, TRACKING, "http://m:5000")]]


# ---- https, and as a program
@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "double")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(True, 0), True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "double.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return str(path)


def test_https(double, certificate):
    server, client = double(listen=[{"port": 0, "cert": certificate}, {"port": 0}])
    assert server.url.startswith("https://")
    assert client("GET", "/healthcheck", verify=certificate).json() == {"status": "UP"}
    with pytest.raises(requests.exceptions.SSLError):
        client("GET", "/healthcheck")
    assert ssl.get_server_certificate(server.listeners[0].server_address)
    plain = server.listeners[1].url + "/healthcheck"
    assert requests.get(plain, timeout=5).json() == {"status": "UP"}


def test_as_a_program(tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"token_secret": "s", "state_file": str(tmp_path / "state.json")}))
    token = tmp_path / "token"
    mint = [
        sys.executable,
        str(DOUBLES / "sparkflows_server" / "__main__.py"),
        "--config",
        str(config),
        "--mint-token",
        "admin",
        "--token-file",
        str(token),
    ]
    assert subprocess.run(mint, capture_output=True, text=True, check=True).stdout == "minted\n"
    assert stat.S_IMODE(os.stat(token).st_mode) == 0o600
    assert subprocess.run(mint, capture_output=True, text=True, check=True).stdout == "unchanged\n"
    process = subprocess.Popen(
        [sys.executable, "-m", "sparkflows_server", "--config", str(config)],
        cwd=DOUBLES,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url = re.search(r"listening on (\S+)", process.stderr.readline())[1]
        answer = requests.get(url + CONFIGURATIONS, headers={"token": token.read_text()}, timeout=5)
        assert answer.status_code == 200
        assert token.read_text() not in process.stderr.readline()
    finally:
        process.terminate()
    assert process.wait(5) == 0


def test_as_the_lab_installs_it(tmp_path):
    """Its Python files alone, started as the unit says; a file next to them or in the working directory is not taken for one of Python's own."""
    unit = (DOUBLES / "sparkflows_server" / "fire.service").read_text(encoding="utf-8")
    _python, isolated, program, *arguments = shlex.split(re.search("^ExecStart=(.*)$", unit, re.M)[1])
    assert isolated == "-I"
    installed, config = tmp_path / Path(program).relative_to("/"), tmp_path / Path(arguments[1]).relative_to("/")
    installed.mkdir(parents=True)
    config.parent.mkdir()
    for path in (DOUBLES / "sparkflows_server").glob("*.py"):
        shutil.copy(path, installed)
    for folder in (installed, tmp_path):
        (folder / "json.py").write_text("raise SystemExit('not the json of Python')")
    config.write_text("{}")
    process = subprocess.Popen([sys.executable, isolated, installed, arguments[0], config], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        url = re.search(r"listening on (\S+)", process.stderr.readline())[1]
        assert requests.get(url + "/healthcheck", timeout=5).json() == {"status": "UP"}
    finally:
        process.terminate()
    assert process.wait(5) == 0


def test_as_a_program_names_a_bad_switch(tmp_path):
    config = tmp_path / "config.json"
    config.write_text('{"no_such_switch": 1}')
    run = subprocess.run(
        [sys.executable, "-m", "sparkflows_server", "--config", str(config)],
        cwd=DOUBLES,
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert run.returncode == 2
    assert "no_such_switch" in run.stderr
