"""The role sparkflows_configuration against a double in this process: every shape and every refusal, without a lab."""

from __future__ import annotations

import json

import pytest
from playbook_run import LOCAL, UNSEEN, run_with
from sparkflows_server import SparkflowsServer

CANARIES = {
    "mlops_mlflow_password": "canary-mlflow-password-51c3",
    "mlops_s3_access_key": "CANARYACCESSKEY51C3",
    "mlops_s3_secret_key": "canary/s3+secret=key-51c3",
}
WRITTEN = {
    "mlops.mlflow.trackingURL": "https://192.0.2.10:5000",
    "mlops.mlflow.deploy.mode": "fire_mlops_server",
    "mlops.mlflow.login.username": "sparkflows",
    "mlops.mlflow.login.password": CANARIES["mlops_mlflow_password"],
    "mlops.host": "192.0.2.10",
    "mlops.port": "8087",
    "mlops.aws.s3.access.key": CANARIES["mlops_s3_access_key"],
    "mlops.aws.s3.secret.key": CANARIES["mlops_s3_secret_key"],
    "mlops.aws.s3.endpoint.url": "http://192.0.2.20:9000",
    "mlops.aws.s3.ignore.tls": "true",
}
PLAYBOOK = [
    {
        "hosts": "sparkflows",
        "gather_facts": False,
        "roles": ["sparkflows.mlops.sparkflows_configuration"],
    }
]


class Role:
    """Runs the role, as often as one likes, against one double."""

    def __init__(self, folder, server):
        self.folder, self.server = folder, server
        (folder / "play.json").write_text(json.dumps(PLAYBOOK))
        (folder / "hosts.json").write_text(json.dumps({"sparkflows": {"hosts": {"fire.example": {**LOCAL, **UNSEEN}}}}))

    def run(self, *arguments, **variables):
        """The return code; what was said is in `output`, and without line breaks in `text`."""
        variables = {
            "mlops_mlflow_address": "192.0.2.10",
            "mlops_mlflow_username": "sparkflows",
            "mlops_fire_mlops_port": "8087",  # a text, as a survey gives it
            "mlops_s3_endpoint_url": "http://192.0.2.20:9000",
            "mlops_s3_ignore_tls": "true",
            "mlops_sparkflows_url": self.server.url if self.server.listeners else "http://127.0.0.1:9",
            "mlops_sparkflows_token": self.server.token(),
            "sparkflows_configuration_wait": 1,
            "sparkflows_configuration_secrets_state_path": str(self.folder / "secrets.json"),
            "sparkflows_configuration_former_path": str(self.folder / "former.json"),
            **CANARIES,
            **variables,
        }
        self.done = run_with(self.folder, variables, self.folder / "play.json", *arguments, no_proxy="127.0.0.1")
        self.output, self.text = self.done.output, self.done.text
        for name, value in {**CANARIES, "token": variables["mlops_sparkflows_token"]}.items():
            assert not value or value not in self.output, f"{name} is in the output"
        return self.done.returncode

    def changed(self):
        return self.done.changed["fire.example"]


@pytest.fixture(name="role")
def fixture_role(tmp_path):
    """role(switch=value, ...): the role in front of a double with these switches."""
    servers = []

    def start(**switches):
        server = SparkflowsServer(**switches).start()
        servers.append(server)
        return Role(tmp_path, server)

    yield start
    for server in servers:
        server.stop()


def test_writes_what_is_needed_and_nothing_else(role):
    role = role()
    before = role.server.values()

    assert role.run("--check", "--diff", "-vvvv") == 0, role.output
    assert role.changed() == 1
    assert "+ mlops.port: '8087'" in role.text  # the diff says what would be done
    assert role.server.values() == before
    assert role.server.saves() == []
    assert not (role.folder / "secrets.json").exists()

    assert role.run("--diff", "-vvvv") == 0, role.output
    assert role.changed() == 1
    assert role.server.values() == {**before, **WRITTEN}

    assert role.run("--diff", "-vvvv") == 0, role.output
    assert role.changed() == 0
    assert len(role.server.saves()) == 1

    # A secret that the server does not show: a new value is written, and so is one that somebody took away.
    assert role.run(mlops_mlflow_password="canary-another-51c3") == 0, role.output
    assert role.changed() == 1
    assert "canary-another-51c3" not in role.output
    assert role.server.value("mlops.mlflow.login.password") == "canary-another-51c3"


@pytest.mark.parametrize(
    "switches",
    [
        {"shape": "flat"},
        {"shape": "grouped", "mask": ""},
        {"shape": "grouped_list", "mask_secrets": False},
        # No candidate key is there: the titles decide.
        {"names": {"mlflow_username": "x.a", "mlflow_password": "x.b", "fire_mlops_host": "x.c"}},
    ],
    ids=str,
)
def test_finds_the_keys_in_every_shape(role, switches):
    role = role(**switches)
    expected = dict(WRITTEN)
    for old, new in (
        ("mlops.mlflow.login.username", "x.a"),
        ("mlops.mlflow.login.password", "x.b"),
        ("mlops.host", "x.c"),
    ):
        if "names" in switches:
            expected[new] = expected.pop(old)
    before = role.server.values()
    assert role.run() == 0, role.output
    assert role.server.values() == {**before, **expected}
    assert role.run() == 0, role.output
    assert role.changed() == 0


@pytest.mark.parametrize("method, switches", [("oauth2", {}), ("session", {}), ("session", {"csrf_enabled": True})])
def test_other_logins(role, method, switches):
    role = role(**switches)
    login = {
        "mlops_sparkflows_auth_method": method,
        "mlops_sparkflows_token": "",
        "mlops_sparkflows_username": "admin",
        "mlops_sparkflows_password": "admin",
    }
    assert role.run(**login) == 0, role.output
    assert role.server.value("mlops.port") == "8087"


def test_mode_local_needs_less(role):
    role = role()
    before = role.server.values()
    assert (
        role.run(
            mlops_deploy_mode="local",
            mlops_mlflow_username="",
            mlops_mlflow_password="",
            mlops_s3_access_key="",
            mlops_s3_secret_key="",
            mlops_s3_endpoint_url="",
        )
        == 0
    ), role.output
    assert role.server.values() == {
        **before,
        "mlops.mlflow.trackingURL": WRITTEN["mlops.mlflow.trackingURL"],
        "mlops.mlflow.deploy.mode": "local",
    }


NO_S3 = {"mlops_s3_access_key": "", "mlops_s3_secret_key": "", "mlops_s3_endpoint_url": ""}
NEEDED = {
    "fire_mlops_server": {"mlops.host": "192.0.2.10", "mlops.port": "8087"},
    "remote": {"mlops.mlflow.ssh.key.path": "/etc/sparkflows-mlops/ssh/id_mlops"},
    "local": {},
}


@pytest.mark.parametrize("mode", NEEDED)
def test_each_mode_gets_what_it_needs_and_no_more(role, mode):
    role = role()
    before = role.server.values()
    assert role.run(mlops_deploy_mode=mode, **NO_S3) == 0, role.output
    assert "left over from" not in role.text
    login = {name: WRITTEN[name] for name in WRITTEN if name.startswith("mlops.mlflow.")}
    assert role.server.values() == {**before, **login, "mlops.mlflow.deploy.mode": mode, **NEEDED[mode]}
    assert role.run(mlops_deploy_mode=mode, **NO_S3) == 0, role.output
    assert role.changed() == 0


@pytest.mark.parametrize("old, new", [("fire_mlops_server", "local"), ("remote", "fire_mlops_server")])
def test_switch_of_the_mode_leaves_settings_until_they_are_to_be_removed(role, old, new):
    role = role()
    left, value = next(iter(NEEDED[old].items()))
    assert role.run(mlops_deploy_mode=old, **NO_S3) == 0, role.output
    assert role.run(mlops_deploy_mode=new, **NO_S3) == 0, role.output
    assert f"left over from another deploy mode in Sparkflows: {left} = {value}. Nothing in the mode {new} needs it." in role.text
    assert "Set mlops_remove_unused to true" in role.text
    assert role.server.value(left) == value and role.server.value("mlops.mlflow.deploy.mode") == new

    before = role.server.values()
    assert role.run("--check", "--diff", mlops_deploy_mode=new, mlops_remove_unused="true", **NO_S3) == 0, role.output
    assert role.server.values() == before
    assert role.run(mlops_deploy_mode=new, mlops_remove_unused="true", **NO_S3) == 0, role.output
    assert role.server.values() == {**before, left: ""}
    for remove in ("true", "false"):
        assert role.run(mlops_deploy_mode=new, mlops_remove_unused=remove, **NO_S3) == 0, role.output
        assert role.changed() == 0 and "left over from" not in role.text


def test_what_cannot_be_told_is_not_left_over(role):
    """A release that knows no such setting, or several that could be it, does not stop the other modes."""
    rival = {"name": "x.d", "title": "SSH Key", "default": "mine"}
    role = role(names={"fire_mlops_host": None, "ssh_key_path": "x.a"}, extra_properties=[rival])
    for remove in ("false", "true"):
        assert role.run(mlops_deploy_mode="local", mlops_remove_unused=remove) == 0, role.output
        assert "left over from" not in role.text and role.server.value("x.d") == "mine"


def test_mode_remote_and_settings_by_exact_key(role):
    role = role()
    before = role.server.values()
    assert (
        role.run(
            mlops_deploy_mode="remote",
            mlops_mlflow_username="",
            mlops_mlflow_password="",
            sparkflows_configuration_ssh_key_path="/home/sparkflows/.ssh/mlflow",
            sparkflows_configuration_keys={"ssh_key_path": "email.smtp.host", "s3_ignore_tls": ""},
            sparkflows_configuration_extra={"mlops.aws.s3.endpoint.url": "192.0.2.20:9000", "mlops.timeout": 30},
        )
        == 0
    ), role.output
    assert role.server.values() == {
        **before,
        "mlops.mlflow.trackingURL": WRITTEN["mlops.mlflow.trackingURL"],
        "mlops.mlflow.deploy.mode": "remote",
        "email.smtp.host": "/home/sparkflows/.ssh/mlflow",
        "mlops.aws.s3.access.key": CANARIES["mlops_s3_access_key"],
        "mlops.aws.s3.secret.key": CANARIES["mlops_s3_secret_key"],
        "mlops.aws.s3.endpoint.url": "192.0.2.20:9000",
        "mlops.timeout": "30",
    }


AMBIGUOUS = [{"name": "x.d", "title": "MLflow User Name"}]
BAD_INPUT = {
    # switches of the double, variables, what the operator has to be told
    "wrong token": (
        {},
        {"mlops_sparkflows_token": "wrong-token-51c3"},
        ["fire.example", "mlops_sparkflows_token", "invalid_token"],
    ),
    "expired token": ({"tokens_expired": True}, {}, ["mlops_sparkflows_token"]),
    "no permission": (
        {"users": {"admin": {"password": "admin", "permissions": []}}},
        {},
        ["mlops_sparkflows_token", "permission"],
    ),
    "no token": ({}, {"mlops_sparkflows_token": ""}, ["mlops_sparkflows_token is empty"]),
    "tokens switched off": ({"cors_enabled": False}, {}, ["fire.cors.enable=true"]),
    "login page instead of data": (
        {"html_instead_of_json": True},
        {},
        ["did not accept the login", "mlops_sparkflows_token"],
    ),
    "not up yet": ({"ready_after_seconds": 60}, {}, ["is not up", "mlops_sparkflows_url", "503"]),
    "unknown key": (
        {},
        {"sparkflows_configuration_extra": {"mlops.mlflow.trackingUrl": "x"}},
        ["mlops.mlflow.trackingUrl", "did you mean mlops.mlflow.trackingURL", "sparkflows_configuration_extra"],
    ),
    "unknown meaning": (
        {},
        {"sparkflows_configuration_keys": {"mlflow_user": "x"}},
        ["sparkflows_configuration_keys has mlflow_user", "mlflow_username"],
    ),
    "key that the release does not have": (
        {"remove_properties": ["mlops.port"]},
        {},
        ["mlops.port", "sparkflows_configuration_keys"],
    ),
    "ambiguous titles": (
        {"names": {"mlflow_username": "x.a"}, "extra_properties": AMBIGUOUS},
        {},
        ["x.a", "x.d", "several titles match", "sparkflows_configuration_keys.mlflow_username"],
    ),
    "no such title": (
        {"names": {"fire_mlops_host": None}},
        {},
        ["MLOps host", "sparkflows_configuration_keys.fire_mlops_host"],
    ),
    "half a login": ({}, {"mlops_mlflow_password": ""}, ["mlops_mlflow_username and mlops_mlflow_password"]),
    "half an S3 login": ({}, {"mlops_s3_secret_key": ""}, ["mlops_s3_access_key and mlops_s3_secret_key"]),
    "remote without a key": (
        {},
        {"mlops_deploy_mode": "remote", "sparkflows_configuration_ssh_key_path": ""},
        ["sparkflows_configuration_ssh_key_path"],
    ),
    "truncated answers": ({"truncate_json": True}, {}, ["fire.example"]),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_changes_nothing(role, name):
    switches, variables, said = BAD_INPUT[name]
    role = role(**switches)
    before = role.server.values()
    assert role.run("--diff", "-vvvv", **variables) != 0
    for words in said:
        assert words in role.text, role.output[-3000:]
    assert role.changed() == 0
    assert role.server.values() == before
    assert role.server.saves() == []
    assert not (role.folder / "secrets.json").exists()


def test_sparkflows_down(role):
    role = role()
    role.server.stop()
    assert role.run() != 0
    assert "mlops_sparkflows_url" in role.text
    assert "fire.example" in role.text


@pytest.mark.parametrize(
    "switch, said",
    [
        ("drop_saves", "did not keep it"),
        ("read_only", "read-only"),
        ("reset_after_save", "Whether the settings were saved is not known"),
    ],
)
def test_a_save_that_goes_wrong_is_no_success(role, switch, said):
    role = role(**{switch: True})
    assert role.run("--diff", "-vvvv") != 0
    assert said in role.text, role.output[-3000:]
    setattr(role.server.settings, switch, False)
    assert role.run("--diff", "-vvvv") == 0, role.output
    assert role.server.value("mlops.aws.s3.secret.key") == CANARIES["mlops_s3_secret_key"]


def test_backend_file(role, tmp_path):
    path = tmp_path / "conf" / "configuration.properties"
    role = role(properties_file=str(path))
    path.write_text("# by hand\nui.pageSize=20\n")
    variables = {
        "mlops_sparkflows_token": "",
        "sparkflows_configuration_backend": "file",
        "sparkflows_configuration_file": str(path),
        "sparkflows_configuration_service": "",
        "sparkflows_configuration_keys": {
            "mlflow_username": "mlops.mlflow.login.username",
            "mlflow_password": "mlops.mlflow.login.password",
            "fire_mlops_host": "mlops.host",
        },
    }
    assert role.run("--diff", "-vvvv", **variables) == 0, role.output
    assert "restart Sparkflows now" in role.text
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().startswith("# by hand\nui.pageSize=20\n")
    role.server.restart()
    assert {name: role.server.value(name) for name in WRITTEN} == WRITTEN
    assert role.run("--diff", "-vvvv", **variables) == 0, role.output
    assert role.changed() == 0
    # What is not known for sure is asked for, all at once.
    assert role.run(**{**variables, "sparkflows_configuration_keys": {}}) != 0
    for meaning in ("mlflow_username", "mlflow_password", "fire_mlops_host"):
        assert f"sparkflows_configuration_keys.{meaning} is not set" in role.text
