"""sparkflows_configuration: what the double cannot show, the properties file, and where secrets could leak."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys

import pytest
from ansible.module_utils import basic
from ansible_collections.sparkflows.mlops.plugins.module_utils.properties import Properties
from ansible_collections.sparkflows.mlops.plugins.modules import sparkflows_configuration as module

CANARY = 'canary\'s "pass"\\word é'
PATH = "/api/v1/configurations"


def listing(**values):
    return [
        {"confProperty": {"id": n, "name": key.replace("__", "."), "value1": value, "value2": ""}, "title": f"T {key}"}
        for n, (key, value) in enumerate(values.items(), 1)
    ]


@pytest.fixture
def api(server, reply):
    """Options for a server that has these settings and keeps what is saved."""

    def prepare(save=lambda state, name, value: state.update({name: value}), **values):
        state = {key.replace("__", "."): value for key, value in values.items()}

        def get(request):
            return reply(listing(**{key.replace(".", "__"): value for key, value in state.items()}))

        def post(request):
            for element in json.loads(request["body"]):
                save(state, element["confProperty"]["name"], element["confProperty"]["value1"])
            return reply([])

        server.routes.update({("GET", PATH): get, ("POST", PATH): post})
        return state, dict(url=server.url, token="a-token")

    return prepare


# ---- the API
def test_values_have_one_type_on_the_server(call, api):
    state, options = api(a="", b="", c="", d="keep", e="gone")
    result = call(module, **options, settings=dict(a=True, b=8086, c=1.5, d=None, e=""))
    assert state == dict(a="true", b="8086", c="1.5", d="keep", e="") and result["changed_keys"] == ["a", "b", "c", "e"]
    assert not call(module, **options, settings=dict(a="true", b="8086", c="1.5", e=""))["changed"]


REFERENCES = ["$name", "${name}", "$team/name", "$$", "a$b\\$c", "{{ name }}"]


@pytest.mark.parametrize("value", REFERENCES)
def test_a_reference_into_the_credential_store_passes_unchanged(call, api, value):
    """Since 3.3.18 a value $name is one. Neither this side nor a file of properties may make something else of it."""
    state, options = api(**{"a": "", "x.password": ""})
    result = call(module, **options, settings={"a": value, "x.password": value})
    assert state == {"a": value, "x.password": value} and result["changed"]
    assert not call(module, **options, settings={"a": value, "x.password": value})["changed"]


@pytest.mark.parametrize("value", REFERENCES)
def test_a_reference_in_a_file_passes_unchanged(call, conf, value):
    options = dict(backend="file", path=str(conf), settings={"mlops.port": value, "mlops.aws.s3.secret.key": value})
    assert call(module, **options)["changed"]
    assert Properties(conf.read_bytes()).values() == options["settings"]
    assert "$" not in value or value.count("$") * 2 == conf.read_text().count("$")
    assert not call(module, **options)["changed"]


def test_nothing_asked_for_is_nothing_done(call, api):
    state, options = api(a="1")
    assert call(module, **options)["changed"] is False
    assert call(module, **options, discover=[dict(name="q", value=None)])["resolved"] == {}


def test_optional_setting(call, api):
    state, options = api(a="1", b="2", c="")
    discover = [
        dict(name="there", value="", key="a", optional=True),
        dict(name="empty", value="", candidates=["c"], optional=True),
        dict(name="not there", value="x", key="z", optional=True),
        dict(name="no answer", value="x", candidates=["y"], title_matches=["nothing"], optional=True),
        dict(name="two answers", value="x", candidates=["b", "c"], optional=True),
    ]
    result = call(module, **options, discover=discover)
    assert result["changed_keys"] == ["a"] and state == dict(a="", b="2", c="")
    assert sorted(result["resolved"]) == ["empty", "there"]


@pytest.mark.parametrize("value", [[1], {"x": 1}])
def test_compound_value(call, api, value):
    state, options = api(a="1")
    result = call(module, **options, settings=dict(a=value))
    assert result["failed"] and "a needs a single value" in result["msg"] and state == dict(a="1")


def test_mask_is_not_written_as_a_secret(call, api):
    state, options = api(password="")
    result = call(module, **options, settings=dict(password="********"))
    assert result["failed"] and "The value of password is a mask" in result["msg"]


def test_one_key_for_two_meanings(call, api):
    state, options = api(a="", b="")
    discover = [dict(name="one", value=1, key="a"), dict(name="two", value=2, candidates=["a"])]
    result = call(module, **options, discover=discover)
    assert result["problems"] == ["two is a, which this call sets already under another name."] and state["a"] == ""
    result = call(module, **options, settings=dict(a=3), discover=discover[:1])
    assert result["problems"] == ["one is a, which this call sets already under another name."]


def test_unknown_key_of_a_meaning(call, api):
    state, options = api(mlops__host="")
    result = call(module, **options, discover=[dict(name="q", value=1, key="mlops.hosts")])
    assert "mlops.hosts is not a setting of this server; did you mean mlops.host?" in result["msg"]


def test_server_that_changes_what_it_is_given(call, api):
    state, options = api(lambda state, name, value: state.update({name: value.strip()}), a="")
    result = call(module, **options, settings=dict(a="x "))
    assert result["failed"] and "did not keep it: a ('x' instead of 'x ')" in result["msg"]


def test_server_that_loses_other_settings(call, api):
    def replace_all(state, name, value):
        state.clear()
        state[name] = value

    state, options = api(replace_all, a="1", b="2", c="3")
    result = call(module, **options, settings=dict(a="x"))
    assert result["failed"] and "after saving a these settings are gone: b, c" in result["msg"]


def test_server_that_keeps_another_secret(call, api):
    state, options = api(lambda state, name, value: state.update({name: "other"}), password="")
    result = call(module, **options, settings=dict(password=CANARY))
    assert "did not keep it: password (another value)" in result["msg"] and "canary" not in result.output


def test_refused_save_does_not_repeat_the_secret(call, api, server, reply):
    state, options = api(password="")
    server.on("POST", PATH, reply({"error": "Bad Request", "message": f"no {CANARY} here"}, 400))
    result = call(module, **options, settings=dict(password=CANARY))
    assert result["msg"].endswith("POST /api/v1/configurations answered HTTP 400: Bad Request: no ******** here.")
    assert "canary" not in result.output


def test_place_for_the_memory_is_checked_before_anything_is_written(call, api, tmp_path):
    state, options = api(password="")
    options.update(settings=dict(password="pw"), secrets_state_path=str(tmp_path / "a" / "b" / "c"))
    assert "secrets_state_path: there is no directory" in call(module, **options)["msg"] and state["password"] == ""
    assert call(module, check=True, **options)["changed"]


def test_broken_memory_is_announced_and_mended(call, api, tmp_path):
    state, options = api(lambda state, name, value: state.update({name: "****"}), password="****")
    path = tmp_path / "state"
    path.write_text("not json")
    options.update(settings=dict(password="pw"), secrets_state_path=str(path))
    first = call(module, **options)
    assert first["changed"] and "made anew" in first["warnings"][0]
    second = call(module, **options)
    assert not second["changed"] and not second["warnings"]


@pytest.mark.parametrize("missing, text", [("url", "SPARKFLOWS_URL"), ("token", "SPARKFLOWS_TOKEN")])
@pytest.mark.parametrize("value", [None, ""])
def test_missing_connection_option(call, api, missing, text, value):
    state, options = api(a="1")
    assert text in call(module, **dict(options, **{missing: value}))["msg"]


def test_missing_user_and_password(call, api):
    state, options = api(a="1")
    message = call(module, **options, auth_method="oauth2")["msg"]
    assert "Set username (environment variable SPARKFLOWS_USERNAME) and password" in message and "oauth2" in message


def test_environment_variables(call, api, monkeypatch):
    state, options = api(a="1")
    for name, value in dict(URL=options["url"], TOKEN="a-token", TIMEOUT="7", VALIDATE_CERTS="no").items():
        monkeypatch.setenv(f"SPARKFLOWS_{name}", value)
    result = call(module, settings=dict(a="2"))
    shown = result["invocation"]["module_args"]
    assert state["a"] == "2" and shown["timeout"] == 7 and shown["validate_certs"] is False
    assert "a-token" not in result.output


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "é"])
def test_token_that_cannot_be_one(call, api, token):
    state, options = api(a="1")
    result = call(module, **dict(options, token=token))
    assert "holds characters that cannot be part of a token" in result["msg"] and token not in result["msg"]
    assert not call(module, **dict(options, token="a-token\n"))["changed"]  # as read from a file


# ---- where secrets could leak
SECRET_OPTIONS = dict(
    settings={"mlops.aws.s3.secret.key": CANARY, "plain": "visible", "mine": CANARY, "url": "http://me:canary@host"},
    discover=[
        dict(name="login_password", value=CANARY, candidates=["nope"]),
        dict(name="b", value=CANARY, secret=True, candidates=["nope"]),
        dict(name="c", value=CANARY, title_matches=["mlflow.*password"]),
        dict(name="d", value="visible", candidates=["nope"]),
    ],
    secret_keys=["mine"],
)


def test_parameters_in_result_and_system_log(call, api, monkeypatch):
    state, options = api(a="1")
    logged = []
    monkeypatch.setattr(basic.AnsibleModule, "log", lambda self, msg, log_args=None: logged.append((msg, log_args)))
    result = call(module, **options, **SECRET_OPTIONS)
    assert result["failed"] and "canary" not in result.output
    shown = result["invocation"]["module_args"]
    assert shown["settings"] == {
        "mlops.aws.s3.secret.key": "********",
        "plain": "visible",
        "mine": "********",
        "url": "http://me:********@host",
    }
    assert [one["value"] for one in shown["discover"]] == ["********"] * 3 + ["visible"]
    assert logged and "canary" not in repr(logged) and "a-token" not in repr(logged)
    assert "visible" in logged[0][0] and "visible" in logged[0][1]["settings"]


def test_title_that_says_secret(call, api, server, reply):
    state, options = api(a="")
    server.on("GET", PATH, reply([dict(listing(a="")[0], title="Service Passphrase")]))
    result = call(module, check=True, diff=True, **options, discover=[dict(name="q", value=CANARY, candidates=["a"])])
    assert result["diff"]["after"] == {"a": "******** (written)"} and "canary" not in result.output


def test_password_in_a_url_is_masked_and_its_change_is_still_a_change(call, api):
    state, options = api(url="http://me:canary1@host")
    result = call(module, diff=True, **options, settings=dict(url="http://me:canary2@host"))
    assert result["changed"] and "canary" not in result.output and state["url"] == "http://me:canary2@host"
    assert result["diff"]["before"] != result["diff"]["after"]


@pytest.mark.parametrize(
    "options",
    [
        dict(settings=f"password {CANARY}"),
        dict(settings=dict(password=CANARY), backend="nonsense"),
        dict(settings=dict(password=CANARY), backend="file"),
        dict(settings=dict(password=CANARY), nonsense=1),
        dict(discover=CANARY),
        dict(discover=[dict(value=CANARY, secret=True)]),
        dict(discover=[dict(value=CANARY, name="password", candidates=5, secret="nonsense")]),
        dict(settings=dict(password=CANARY), secret_keys={"a": 1}),
    ],
)
def test_parameters_that_ansible_refuses_do_not_show_secrets(call, options):
    result = call(module, url="http://127.0.0.1:1", token="t", **options)
    assert result["failed"] and "canary" not in result.output


def test_as_ansible_runs_it_in_a_process_of_its_own(api):
    """Arguments on standard input, nothing patched."""
    state, options = api(a="1", password="")
    arguments = dict(options, settings=dict(a="2", password=CANARY), _ansible_diff=True)
    done = subprocess.run(
        [sys.executable, module.__file__],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["changed"] and result["diff"]["after"]["a"] == "2" and "canary" not in done.stdout + done.stderr
    assert state == dict(a="2", password=CANARY)


# ---- the file
@pytest.fixture
def conf(tmp_path):
    path = tmp_path / "conf" / "configuration.properties"
    path.parent.mkdir()
    return path


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_file_create_repeat_change_repeat(call, conf):
    wanted = {"mlops.port": 8086, "mlops.aws.s3.secret.key": CANARY, "my.key": "wörld\n"}
    options = dict(backend="file", path=str(conf), settings=wanted, extra_keys=["my.key"])
    planned = call(module, check=True, diff=True, **options)
    assert planned["changed"] and planned["restart_required"] and not conf.exists()
    done = call(module, diff=True, **options)
    assert done["diff"] == planned["diff"] and done["diff"]["before"]["mlops.port"] is None
    assert done["changed"] and done["restart_required"] and mode(conf) == 0o600 and conf.read_bytes().isascii()
    assert conf.read_text().splitlines()[0] == "mlops.port=8086"
    for check in (True, False):
        again = call(module, check=check, **options)
        assert not again["changed"] and not again["restart_required"]

    conf.write_text("# mine\n" + conf.read_text() + "other = 1\n")
    options["settings"] = dict(wanted, **{"mlops.aws.s3.secret.key": CANARY + "2"})
    changed = call(module, diff=True, backup=True, **options)
    assert changed["changed_keys"] == ["mlops.aws.s3.secret.key"]
    assert conf.read_text().startswith("# mine\nmlops.port=8086\n") and conf.read_text().endswith("other = 1\n")
    assert (
        "canary" in (conf.parent / changed["backup_file"]).read_text()
        and mode(conf.parent / changed["backup_file"]) == 0o600
    )
    assert not call(module, **options)["changed"]
    for result in (planned, done, again, changed):
        assert "canary" not in result.output and not result["warnings"]


def test_file_with_unknown_key(call, conf):
    conf.write_text("mlops.prot=1\n")
    result = call(module, backend="file", path=str(conf), settings={"mlops.prot": 2})
    assert "mlops.prot is not a key that the vendor documents (if your release has it, " in result["msg"]
    assert "did you mean mlops.port?" in result["msg"] and conf.read_text() == "mlops.prot=1\n"


def test_file_cannot_be_asked_for_meanings(call, conf):
    asked = dict(name="host", description="Fire MLOps host", value="h", title_matches=["host"], variable="role_key")
    options = dict(backend="file", path=str(conf), discover=[dict(asked, candidates=["mlops.host"])])
    assert "Set role_key to the right one" in call(module, **options)["msg"] and not conf.exists()
    options["discover"] = [dict(asked, key="mlops.host")]
    assert call(module, **options, extra_keys=["mlops.host"])["changed"]
    assert conf.read_text() == "mlops.host=h\n"


def test_file_optional_setting(call, conf):
    conf.write_text("mlops.port=1\n")
    discover = [dict(name=key, value="", key=key, optional=True) for key in ("mlops.port", "mlops.region", "nope")]
    result = call(module, backend="file", path=str(conf), discover=discover)
    assert result["changed_keys"] == ["mlops.port"] and conf.read_text() == "mlops.port=\n"
    assert not call(module, backend="file", path=str(conf), discover=discover)["changed"]


def test_file_empty_value_is_not_the_same_as_no_line(call, conf):
    options = dict(backend="file", path=str(conf), settings={"mlops.region": ""})
    assert call(module, **options)["changed"] and conf.read_text() == "mlops.region=\n"
    assert not call(module, **options)["changed"]


def test_file_mode_is_tightened_and_owner_kept(call, conf):
    conf.write_text("mlops.port=1\n")
    conf.chmod(0o644)
    if os.geteuid() == 0:
        os.chown(conf, 12345, 54321)
    options = dict(backend="file", path=str(conf), settings={"mlops.port": 1})
    planned = call(module, check=True, diff=True, **options)
    assert planned["changed"] and mode(conf) == 0o644
    done = call(module, diff=True, **options)
    assert done["changed"] and mode(conf) == 0o600 and not done["restart_required"] and done["diff"] == planned["diff"]
    assert done["diff"]["before"]["(mode of the file)"] == "0644"
    assert not call(module, **options)["changed"]
    conf.chmod(0o640)
    done = call(module, **dict(options, mode="0640", settings={"mlops.port": 2}))
    assert done["changed_keys"] == ["mlops.port"] and mode(conf) == 0o640
    if os.geteuid() == 0:
        assert (conf.stat().st_uid, conf.stat().st_gid) == (12345, 54321)
        assert call(module, **dict(options, mode="0640", owner="root", settings={"mlops.port": 2}))["changed"]
        assert conf.stat().st_uid == 0


def test_file_on_create_and_policies(call, conf):
    options = dict(backend="file", path=str(conf), update_secrets="on_create")
    assert call(module, **options, settings={"mlops.kubeflow.password": "one"})["changed"]
    assert not call(module, **options, settings={"mlops.kubeflow.password": "two"})["changed"]
    options["update_secrets"] = "always"
    assert not call(module, **options, settings={"mlops.kubeflow.password": "one"})["changed"]
    assert call(module, **options, settings={"mlops.kubeflow.password": "two"})["changed"]


@pytest.mark.parametrize("check", [True, False])
def test_file_problems(call, conf, check):
    options = dict(backend="file", settings={"mlops.port": 1}, check=check)
    assert "there is no directory" in call(module, path=str(conf.parent / "no" / "file"), **options)["msg"]
    assert "Set path" in call(module, path="", **options)["msg"]
    assert "path" in call(module, **options)["msg"]
    conf.write_text("bad=\\u12\n")
    assert "is not a proper properties file: malformed" in call(module, path=str(conf), **options)["msg"]
    assert conf.read_text() == "bad=\\u12\n"


# ---- what was there before
def test_settings_are_put_back(call, api, tmp_path):
    state, options = api(**{"mode": "local", "url": "", "x.password": "", "other": "keep"})
    memory = tmp_path / "of/us/former.json"
    memory.parent.parent.mkdir()
    options["former_path"] = str(memory)
    call(module, **options, settings={"mode": "remote", "url": "https://a", "x.password": CANARY})
    # What was there first counts, and not what we wrote meanwhile.
    call(module, **options, settings={"mode": "fire_mlops_server", "url": "https://b"})
    assert CANARY not in memory.read_text() and mode(memory) == 0o600
    before = dict(state)
    checked = call(module, **options, state="former", check=True)
    assert checked["changed_keys"] == ["mode", "url", "x.password"] and state == before and memory.exists()
    result = call(module, **options, state="former")
    assert result["changed_keys"] == checked["changed_keys"]
    assert state == {"mode": "local", "url": "", "x.password": "", "other": "keep"} and not memory.exists()
    assert not call(module, **options, state="former")["changed"]


def test_what_somebody_has_changed_since_stays(call, api, tmp_path):
    state, options = api(mode="local", url="")
    options["former_path"] = str(tmp_path / "former.json")
    call(module, **options, settings={"mode": "remote", "url": "https://a"})
    state["url"] = "https://of-somebody"
    call(module, **options, state="former")
    assert state == {"mode": "local", "url": "https://of-somebody"}


def test_a_masked_secret_is_emptied(call, api, tmp_path):
    def save(state, name, value):
        state[name] = "********" if value else ""

    state, options = api(save, **{"x.password": ""})
    options.update(former_path=str(tmp_path / "former.json"))
    call(module, **options, settings={"x.password": CANARY})
    assert state == {"x.password": "********"}
    call(module, **options, state="former")
    assert state == {"x.password": ""}


def test_a_file_is_as_it_was(call, conf, tmp_path):
    text = "# mine\nmlops.port = 8086\nmy.key=1\n"
    conf.write_text(text)
    options = dict(backend="file", path=str(conf), former_path=str(tmp_path / "former.json"))
    call(module, **options, settings={"mlops.mlflow.deploy.mode": "remote", "mlops.aws.s3.secret.key": CANARY})
    assert "remote" in conf.read_text()
    assert call(module, **options, state="former")["restart_required"]
    assert conf.read_text() == text
    assert not call(module, **options, state="former")["changed"]


def test_a_memory_that_cannot_be_read_stops_everything(call, api, tmp_path):
    (tmp_path / "former.json").write_text("{")
    state, options = api(mode="local")
    result = call(module, **options, former_path=str(tmp_path / "former.json"), settings={"mode": "remote"})
    assert result["failed"] and "former_path" in result["msg"] and state == {"mode": "local"}
