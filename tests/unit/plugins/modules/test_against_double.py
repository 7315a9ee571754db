"""The four modules against the double of the Sparkflows server: create, repeat, change, repeat, and with --check."""

from __future__ import annotations

import os
import stat
import time

import pytest
from ansible_collections.sparkflows.mlops.plugins.modules import (
    sparkflows_access_token,
    sparkflows_configuration,
    sparkflows_configuration_info,
    sparkflows_server_info,
)
from sparkflows_server import SparkflowsServer

CANARY = "canary-S3cr/t+\"'é"
SHAPES = ["wrapped", "flat", "flat_titled", "grouped", "grouped_list"]


@pytest.fixture
def double():
    running = []

    def start(**switches):
        running.append(SparkflowsServer(**switches).start())
        return running[-1]

    yield start
    for server in running:
        server.stop()


def login(server, method="token"):
    if method == "token":
        return dict(url=server.url, token=server.token("admin"))
    return dict(url=server.url, auth_method=method, username="admin", password="admin")


WANTED = {
    "mlops.mlflow.trackingURL": "https://mlflow.example.com:5000",
    "mlops.mlflow.deploy.mode": "fire_mlops_server",
    "mlops.port": 8087,
    "mlops.aws.s3.ignore.tls": True,
    "mlops.aws.s3.access.key": "AKIA-" + CANARY,
    "mlops.aws.s3.secret.key": CANARY,
}
DISCOVER = [
    dict(
        name="mlflow_username",
        description="MLflow login username",
        value="sparky",
        candidates=["mlops.mlflow.username"],
        title_matches=["mlflow.*user"],
        variable="sparkflows_configuration_mlflow_username_key",
    ),
    dict(
        name="mlflow_password",
        description="MLflow login password",
        value=CANARY + "2",
        candidates=["mlops.mlflow.password", "mlops.mlflow.login.password"],
        title_matches=["mlflow.*password"],
        variable="sparkflows_configuration_mlflow_password_key",
    ),
    dict(
        name="fire_mlops_host",
        description="Fire MLOps host",
        value="mlflow.example.com",
        candidates=["mlops.fire.host"],
        title_matches=["fire mlops.*host"],
        variable="sparkflows_configuration_fire_mlops_host_key",
    ),
]
UNTITLED = [
    dict(name="mlflow_username", value="sparky", candidates=["mlops.mlflow.login.username"]),
    dict(name="mlflow_password", value=CANARY + "2", candidates=["mlops.mlflow.login.password"]),
    dict(name="fire_mlops_host", value="mlflow.example.com", candidates=["mlops.host"]),
]


@pytest.mark.parametrize("mask", ["********", "", None, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_create_repeat_change_repeat(call, double, tmp_path, shape, mask):
    switches = dict(mask_secrets=False) if mask is False else dict(mask=mask)
    server = double(shape=shape, **switches)
    server.set("mlops.kubeflow.password", "kept")  # a masked one that must never be sent back
    state = tmp_path / "state" / "secrets.json"
    options = dict(
        login(server),
        settings=WANTED,
        discover=UNTITLED if shape == "flat" else DISCOVER,
        secrets_state_path=str(state),
    )
    untouched = server.values()

    planned = call(sparkflows_configuration, check=True, diff=True, **options)
    assert planned["changed"] and server.values() == untouched and not server.saves() and not state.exists()

    done = call(sparkflows_configuration, diff=True, **options)
    assert done["changed"] and done["restart_required"] is False and done["unverified_secrets"] == []
    assert {name: planned[name] for name in ("diff", "settings", "changed_keys", "resolved")} == {
        name: done[name] for name in ("diff", "settings", "changed_keys", "resolved")
    }
    assert done["resolved"]["fire_mlops_host"]["key"] == "mlops.host"
    assert done["diff"]["before"]["mlops.port"] == "8086" and done["diff"]["after"]["mlops.port"] == "8087"
    assert server.value("mlops.aws.s3.secret.key") == CANARY
    assert server.value("mlops.mlflow.login.password") == CANARY + "2"
    assert server.value("mlops.aws.s3.ignore.tls") == "true"
    changed = {name for name, value in server.values().items() if untouched[name] != value}
    assert changed == set(done["changed_keys"]) and len(changed) == 9
    assert len(server.saves()) == 1 and len(server.saves()[0]) == 9

    for check in (True, False):
        again = call(sparkflows_configuration, check=check, diff=True, **options)
        assert not again["changed"] and again["changed_keys"] == [] and "diff" not in again
    assert len(server.saves()) == 1

    # A new password is pushed, and only that.
    options["settings"] = dict(WANTED, **{"mlops.aws.s3.secret.key": CANARY + "-new"})
    assert call(sparkflows_configuration, check=True, **options)["changed_keys"] == ["mlops.aws.s3.secret.key"]
    changed = call(sparkflows_configuration, diff=True, **options)
    assert changed["changed_keys"] == ["mlops.aws.s3.secret.key"]
    assert changed["diff"]["before"] != changed["diff"]["after"]
    assert server.value("mlops.aws.s3.secret.key") == CANARY + "-new"
    assert not call(sparkflows_configuration, **options)["changed"]
    assert server.value("mlops.kubeflow.password") == "kept"

    warnings = [warning for result in (planned, done, again, changed) for warning in result["warnings"]]
    # Where the server shows nothing for a secret, that is said; otherwise there is nothing to warn about.
    assert all("cannot be verified" in warning for warning in warnings) and bool(warnings) == (mask in ("", None))
    for result in (planned, done, again, changed):
        assert CANARY not in result.output and "canary" not in result.output
    if state.exists():
        assert "canary" not in state.read_text() and stat.S_IMODE(state.stat().st_mode) == 0o600
        assert stat.S_IMODE(state.parent.stat().st_mode) == 0o700


def test_secret_emptied_or_changed_by_hand_is_written_again(call, double, tmp_path):
    server = double()
    options = dict(login(server), settings={"mlops.aws.s3.secret.key": CANARY}, secrets_state_path=str(tmp_path / "s"))
    call(sparkflows_configuration, **options)
    server.set("mlops.aws.s3.secret.key", "")
    assert call(sparkflows_configuration, **options)["changed"]
    assert server.value("mlops.aws.s3.secret.key") == CANARY


def test_masked_secret_without_memory_is_left_alone_and_that_is_said(call, double):
    server = double()
    options = dict(login(server), settings={"mlops.aws.s3.secret.key": CANARY})
    assert call(sparkflows_configuration, **options)["changed"]  # there was none
    options["settings"] = {"mlops.aws.s3.secret.key": CANARY + "-new"}
    result = call(sparkflows_configuration, **options)
    assert not result["changed"] and result["unverified_secrets"] == ["mlops.aws.s3.secret.key"]
    assert "secrets_state_path" in result["warnings"][0] and CANARY not in result.output
    assert server.value("mlops.aws.s3.secret.key") == CANARY


def test_always_and_on_create(call, double):
    server = double()
    options = dict(login(server), settings={"mlops.aws.s3.secret.key": CANARY})
    assert call(sparkflows_configuration, update_secrets="on_create", **options)["changed"]
    options["settings"] = {"mlops.aws.s3.secret.key": CANARY + "-new"}
    kept = call(sparkflows_configuration, update_secrets="on_create", **options)
    assert not kept["changed"] and not kept["warnings"] and server.value("mlops.aws.s3.secret.key") == CANARY
    for check in (True, False, False):
        assert call(sparkflows_configuration, update_secrets="always", check=check, **options)["changed"]
    assert server.value("mlops.aws.s3.secret.key") == CANARY + "-new"


@pytest.mark.parametrize(
    "method, switches",
    [
        ("oauth2", {}),
        ("session", {}),
        ("session", dict(csrf_enabled=True)),
        ("session", dict(csrf_enabled=True, csrf_cookie=False)),
    ],
)
def test_other_logins(call, double, method, switches):
    server = double(**switches)
    options = dict(login(server, method), settings={"mlops.port": 8090})
    assert call(sparkflows_configuration, **options)["changed"]
    assert not call(sparkflows_configuration, **options)["changed"]
    assert server.value("mlops.port") == "8090"
    # Without the cookie, the new session's CSRF token is learnt from a first save that is refused.
    assert len(server.saves()) == (2 if switches.get("csrf_cookie") is False else 1)


@pytest.mark.parametrize("method", ["oauth2", "session"])
def test_wrong_password(call, double, method):
    server = double()
    options = dict(login(server, method), password=CANARY, settings={"mlops.port": 8090})
    result = call(sparkflows_configuration, **options)
    assert result["failed"] and "did not accept the login" in result["msg"] and "SPARKFLOWS_PASSWORD" in result["msg"]
    assert CANARY not in result.output and not server.saves()


FAULTS = [
    (dict(redirect_api=True), "did not accept the login", "a redirect to"),
    (dict(html_instead_of_json=True), "did not accept the login", 'a web page titled "Fire Insights - Login"'),
    (dict(tokens_expired=True), "did not accept the login", "HTTP 401"),
    (dict(csrf_enabled=True), "did not accept the login", "fire.security.csrf.enable=false"),
    (dict(cors_enabled=False), "did not accept the login", "fire.cors.enable=true"),
    (dict(truncate_json=True), "with half an answer: it ends after", "HTTP 200"),
    (dict(reset_first=1), "cannot be reached", "broke off"),
]


@pytest.mark.parametrize("switches, text, more", FAULTS)
@pytest.mark.parametrize("module", [sparkflows_configuration, sparkflows_configuration_info])
def test_faults_are_failures_with_a_clear_text(call, double, module, switches, text, more):
    server = double(**switches)
    options = dict(settings={"mlops.port": 1}) if module is sparkflows_configuration else {}
    token = server.token("admin")
    result = call(module, url=server.url, token=token, **options)
    assert result["failed"] and text in result["msg"] and more in result["msg"], result["msg"]
    assert token not in result.output and not server.saves()


def test_expired_token_says_when(call, double):
    server = double()
    token = server.token("admin", seconds=-3600)
    result = call(sparkflows_configuration_info, url=server.url, token=token)
    assert "The token expired on " in result["msg"] and token not in result.output


def test_user_without_the_permission(call, double):
    server = double()
    result = call(sparkflows_configuration_info, url=server.url, token=server.token("test"))
    assert "HTTP 403" in result["msg"] and "permission" in result["msg"]


def test_save_that_is_refused_or_forgotten_or_lost(call, double):
    options = dict(settings={"mlops.port": 1, "mlops.kubeflow.password": CANARY})
    server = double(read_only=True)
    result = call(sparkflows_configuration, **login(server), **options)
    assert "read-only" in result["msg"] and CANARY not in result.output
    server = double(drop_saves=True)
    result = call(sparkflows_configuration, **login(server), **options)
    assert "did not keep it: mlops.port ('8086' instead of '1')" in result["msg"] and CANARY not in result.output
    server = double(reset_after_save=True)
    result = call(sparkflows_configuration, **login(server), **options)
    assert "Whether the settings were saved is not known" in result["msg"]
    server.settings.reset_after_save = False
    assert server.value("mlops.port") == "1"


def test_nothing_is_written_if_one_key_is_unknown(call, double):
    server = double()
    options = dict(settings={"mlops.mlflow.trackingUrl": "http://x", "mlops.port": 1, "nonsense": "x"})
    result = call(sparkflows_configuration, **login(server), **options)
    assert result["failed"] and len(result["problems"]) == 2 and not server.saves()
    hint = "mlops.mlflow.trackingUrl is not a setting of this server; did you mean mlops.mlflow.trackingURL?"
    assert hint in result["msg"]


def test_meaning_that_nothing_or_too_much_fits(call, double):
    server = double(
        names={"mlflow_username": None},
        extra_properties=[dict(name="mlops.host.fire", title="Fire MLOps server host")],
    )
    result = call(sparkflows_configuration, **login(server), settings={"mlops.port": 1}, discover=DISCOVER)
    assert result["failed"] and len(result["problems"]) == 2 and not server.saves()
    none, several = sorted(result["problems"], key=lambda text: "several" in text)
    assert "MLflow login username" in none and "sparkflows_configuration_mlflow_username_key" in none
    assert "mlops.mlflow.trackingURL (MLflow Server URL)" in none and "email.login.username" not in none
    assert "mlops.host (Fire MLOps Host), mlops.host.fire (Fire MLOps server host)" in several
    assert "sparkflows_configuration_fire_mlops_host_key" in several and CANARY not in result.output
    # and the variable it names settles it
    settled = [dict(DISCOVER[1]), dict(DISCOVER[2], key="mlops.host.fire")]
    result = call(sparkflows_configuration, **login(server), discover=settled)
    assert result["changed"] and server.value("mlops.host.fire") == "mlflow.example.com"
    assert result["resolved"] == {
        "fire_mlops_host": {"key": "mlops.host.fire", "by": "key"},
        "mlflow_password": {"key": "mlops.mlflow.login.password", "by": "candidate"},
    }


def test_info(call, double):
    server = double()
    server.set("mlops.aws.s3.secret.key", CANARY)
    everything = call(sparkflows_configuration_info, **login(server))
    assert len(everything["settings"]) == 42 and not everything["changed"] and CANARY not in everything.output
    some = call(
        sparkflows_configuration_info, **login(server), keys=["mlops.port", "nope"], patterns=["s3.secret", "^ui"]
    )
    assert some["by_key"] == {"ui.pageSize": "10", "mlops.port": "8086", "mlops.aws.s3.secret.key": "********"}
    assert some["missing"] == ["nope"]
    secret = next(one for one in some["settings"] if one["secret"])
    assert secret["is_set"] and secret["title"] == "AWS S3 Secret Key"
    server.settings.mask_secrets = False
    assert CANARY not in call(sparkflows_configuration_info, **login(server)).output


def test_server_info(call, double):
    server = double(ready_after_seconds=3600)
    result = call(sparkflows_server_info, url=server.url, retries=0)
    assert result["failed"] and "is not up: /healthcheck answered HTTP 503" in result["msg"]
    server.settings.ready_after_seconds = time.time() - server.started + 0.5
    result = call(sparkflows_server_info, url=server.url, wait_timeout=20, wait_interval=1)
    assert result["status"] == "UP" and result["logged_in"] is False and result["version"] is None
    result = call(sparkflows_server_info, **login(server))
    assert result["logged_in"] and result["version"] == "3.3.41" and result["health_path"] == "/healthcheck"
    result = call(sparkflows_server_info, url=server.url, token="wrong-canary-token")
    assert "did not accept the login" in result["msg"] and "canary" not in result.output


def test_not_through_a_proxy(call, double, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    url = double().url.replace("127.0.0.1", "0.0.0.0")  # this computer under an address that is none of loopback
    assert "cannot be reached" in call(sparkflows_server_info, url=url, retries=0).get("msg", "")
    assert call(sparkflows_server_info, url=url, retries=0, use_proxy=False)["status"] == "UP"


def test_access_token(call, double, tmp_path):
    server = double(token_secret="x" * 64)
    path = tmp_path / "token"
    options = dict(login(server, "oauth2"), description="unit test", path=str(path))
    planned = call(sparkflows_access_token, check=True, diff=True, **options)
    assert planned["changed"] and planned["reason"] and not path.exists()
    made = call(sparkflows_access_token, diff=True, **options)
    token = path.read_text().strip()
    assert made["changed"] and stat.S_IMODE(path.stat().st_mode) == 0o600 and token not in made.output
    assert made["expires"].startswith(time.strftime("%Y-", time.gmtime(time.time() + 90 * 86400)))
    assert call(sparkflows_configuration_info, url=server.url, token=token)["settings"]
    for check in (True, False):
        again = call(sparkflows_access_token, check=check, **options)
        assert not again["changed"] and again["reason"] == "" and path.read_text().strip() == token
    assert call(sparkflows_access_token, renew_before_days=89, **options)["changed"] is False
    path.write_text(server.token("admin", seconds=86400))
    soon = call(sparkflows_access_token, diff=True, **options)
    assert soon["changed"] and "expires on" in soon["reason"] and "expires on" in soon["diff"]["before"]
    server.token_secret = "y" * 64  # all former tokens are worth nothing now
    revoked = call(sparkflows_access_token, **options)
    assert revoked["changed"] and revoked["reason"] == "the server does not take the token in the file"
    assert call(sparkflows_access_token, force=True, **options)["changed"]
    assert os.listdir(tmp_path) == ["token"]


def test_access_token_is_returned_only_where_it_stays_unseen(call, double):
    server = double()
    options = dict(login(server, "session"), description="unit test", return_token=True)
    result = call(sparkflows_access_token, **options)
    assert result["failed"] and "no_log" in result["msg"]
    assert not any(request["path"] == "/api/v1/tokens" for request in server.requests)
    token = call(sparkflows_access_token, no_log=True, **options)["access_token"]
    assert call(sparkflows_configuration_info, url=server.url, token=token)["settings"]
