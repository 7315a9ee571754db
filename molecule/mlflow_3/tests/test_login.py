"""MLflow's own login app behind the proxy: who gets in, users through a backup and a restore, and a password that somebody has changed."""

import json
import subprocess

import pytest
from conftest import LAB, play, secret

API = "/api/2.0/mlflow/"
SEARCH = "experiments/search?max_results=1"
ANA = "ana", "a long word of ana's own"
# As the Sparkflows host asks: what the proxy's certificate is worth has its own checks.
ASK = """
import base64, json, ssl, sys, urllib.error, urllib.request
url, method, login, body = json.load(sys.stdin)
request = urllib.request.Request(url, json.dumps(body).encode() if body else None, {"Content-Type": "application/json"}, method=method)
if login:
    request.add_header("Authorization", "Basic " + base64.b64encode(":".join(login).encode()).decode())
try:
    with urllib.request.urlopen(request, timeout=60, context=ssl._create_unverified_context()) as answer:
        print(json.dumps([answer.status, answer.read().decode()]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, error.read().decode()]))
"""


@pytest.fixture(name="ask", scope="module")
def fixture_ask(address):
    """(login, method, path, body) -> status, text."""

    def ask(login, method, path, body=None):
        command = ["docker", "exec", "-i", f"{LAB}-sparkflows1", "python3", "-c", ASK]
        told = json.dumps([f"https://{address}:5000{API}{path}", method, login, body])
        return json.loads(subprocess.run(command, input=told, text=True, check=True, stdout=subprocess.PIPE).stdout)

    return ask


@pytest.fixture(name="admin", scope="module")
def fixture_admin():
    return "sparkflows", secret("mlflow_password")


@pytest.fixture(name="run", scope="module")
def fixture_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inventory")
    (folder / "group_vars/mlflow").mkdir(parents=True)
    (folder / "hosts.yml").write_text("mlflow: {}\n", encoding="utf-8")

    def run(playbook, **variables):
        (folder / "group_vars/mlflow/more.yml").write_text(json.dumps(variables), encoding="utf-8")
        return play(f"--inventory={folder}", f"playbooks/{playbook}.yml", "--diff")

    return run


def test_who_gets_in(ask, admin, mlflow):
    assert [ask(login, "GET", SEARCH)[0] for login in (None, (admin[0], "another word"), admin)] == [401, 401, 200]
    assert ask(admin, "POST", "users/create", {"username": ANA[0], "password": ANA[1]})[0] == 200
    assert ask(ANA, "GET", SEARCH)[0] == 200
    assert ask(ANA, "POST", "experiments/update", {"experiment_id": "0", "new_name": "taken"})[0] == 403
    assert not mlflow.file("/etc/nginx/mlops/mlflow.htpasswd").exists
    # What the role has of secrets is for root and MLflow alone.
    assert mlflow.file("/etc/mlflow/mlflow.env").mode == 0o640
    assert admin[1] not in mlflow.check_output("ps axww -o args; systemctl show mlflow; journalctl --unit mlflow --output cat")


def test_users_come_through_a_backup_and_a_restore(ask, admin, mlflow, run):
    done = run("backup", backup_verify=True)
    assert done.returncode == 0, done.text
    archive = mlflow.check_output("ls -1t /var/backups/mlflow/*.tar.gz | head -1")
    assert ask(admin, "DELETE", "users/delete", {"username": ANA[0]})[0] == 200
    # The proxy still knows her; MLflow does not.
    assert ask(ANA, "GET", SEARCH)[0] == 401
    done = run("restore", restore_archive=archive)
    assert done.returncode == 0, done.text
    assert ask(ANA, "GET", SEARCH)[0] == 200
    assert ask(ANA, "POST", "experiments/update", {"experiment_id": "0", "new_name": "taken"})[0] == 403


def test_a_password_that_was_changed_in_mlflow(ask, admin, mlflow, run):
    """The run says what is to be done; a start puts that of the settings back."""
    changed = {"username": admin[0], "password": "changed by somebody", "current_password": admin[1]}
    assert ask(admin, "PATCH", "users/update-password", changed)[0] == 200
    done = run("mlflow")
    assert done.returncode != 0 and "restart mlflow.service, which puts that of the settings back" in done.text
    mlflow.run_expect([0], "systemctl restart mlflow")
    done = run("mlflow")
    assert done.returncode == 0 and "changed=0" in done.text, done.text
    assert ask(admin, "GET", SEARCH)[0] == 200


def test_an_upgrade_does_not_change_who_knows_the_users(run):
    done = run("upgrade", mlops_mlflow_login="proxy")
    assert done.returncode != 0 and "mlops_mlflow_login is proxy, and MLflow runs with mlflow" in done.text


def test_the_proxy_s_list_and_back(ask, admin, mlflow, run):
    """Users stay in MLflow meanwhile."""
    done = run("mlflow", mlops_mlflow_login="proxy", mlflow_proxy_users=[{"name": admin[0], "password": admin[1]}])
    assert done.returncode == 0, done.text
    assert [ask(login, "GET", SEARCH)[0] for login in (ANA, admin)] == [401, 200]
    assert not mlflow.file("/opt/mlflow/libexec/mlflow_login.py").exists
    done = run("mlflow")
    assert done.returncode == 0, done.text
    assert [ask(login, "GET", SEARCH)[0] for login in (ANA, admin, (ANA[0], "another word"))] == [200, 200, 401]
