"""Models are served, replaced, refused, killed, rebooted and removed. The tests build on each other, in this order."""

import base64
import csv
import json
import subprocess
import time

import pytest
import yaml
from conftest import LAB, PROJECT, ansible, play, secret, trained, training_rows

VARIABLES = yaml.safe_load((PROJECT / "molecule/serving/inventory/group_vars/all/serving.yml").read_text(encoding="utf-8"))
CA = "/etc/ssl/lab-ca.pem"
SPARK, STEADY, SLOW = (
    {"name": "breast-cancer-risk", "version": 1, "port": 5001, "timeout": 900, "memory_max": "2G"},
    {"name": "steady", "stage": "Production", "port": 5002, "timeout": 120, "sample": VARIABLES["serving_sample"]},
    {"name": "slow loader", "version": 1, "port": 5003, "sample": VARIABLES["serving_sample"]},
)
ROWS = json.dumps(VARIABLES["serving_sample"])
# Beyond what the model itself takes to load: whoever is not healed stays down. On a busy machine a start takes its time.
HEALED_WITHIN = 120


@pytest.fixture(name="password", scope="module")
def fixture_password():
    return secret("serving_password")


def serve(*models, **variables):
    """What the run said, folded lines as one, and how it ended."""
    run = play("playbooks/serve_models.yml", "-e", json.dumps(dict(variables, model_serving_models=models)))
    return run.returncode, run.text


# The same few lines on every host: the status and the answer.
ASK = """
import json, os, ssl, sys, urllib.error, urllib.request
url, body, login = sys.argv[1:4]
context = ssl.create_default_context(cafile="/etc/ssl/lab-ca.pem")
headers = {"Content-Type": "application/json"}
if login:
    headers["Authorization"] = "Basic " + login
request = urllib.request.Request(url, body.encode() or None, headers)
try:
    with urllib.request.urlopen(request, timeout=100, context=context if url.startswith("https") else None) as answer:
        print(json.dumps([answer.status, answer.headers.get("X-Served-Model"), answer.read().decode()]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, None, error.read().decode()]))
except OSError as error:
    print(json.dumps([0, None, str(error)]))
"""


def ask(host, url, body, login=""):
    status, model, text = json.loads(host.check_output("python3 -c %s %s %s %s", ASK, url, body, login))
    return status, model, text


@pytest.fixture(name="score", scope="module")
def fixture_score(mlflow, sparkflows, address, password):
    """score(port, body) from the Sparkflows host, as its clients do: TLS and login."""
    login = base64.b64encode(f"scoring:{password}".encode()).decode()

    def run(port, body, host=sparkflows):
        return ask(host, f"https://{address}:{port}/invocations", body, login)

    return run


@pytest.fixture(name="patients", scope="module")
def fixture_patients():
    """Three rows, and what the Spark model predicted for them in training."""
    return training_rows(3), trained("breast-cancer-risk")[:3]


def slots(mlflow):
    """The instances that systemd knows, and the state of each."""
    lines = mlflow.check_output("systemctl list-units --all --plain --no-legend 'mlflow-model@*'").splitlines()
    return {line.split()[0].removeprefix("mlflow-model@").removesuffix(".service"): line.split()[2] for line in lines}


# ---- served
def test_each_model_has_a_service_of_its_own(mlflow):
    assert slots(mlflow) == {"breast-cancer-risk": "active", "steady": "active", "slow_loader": "active"}
    for name in slots(mlflow):
        service = mlflow.service(f"mlflow-model@{name}")
        properties = service.systemd_properties
        assert service.is_enabled and properties["User"] == "mlflow" and properties["ProtectSystem"] == "strict"
        settings = mlflow.file(f"/etc/mlflow/models/{name}.env")
        assert (settings.user, settings.group, oct(settings.mode)) == ("root", "mlflow", "0o640")
        assert str(settings.path) in properties["EnvironmentFiles"]
    # The lab has no memory controller: what the unit says is all there is to see.
    limit = mlflow.check_output("systemctl show -p MemoryMax --value %s %s", "mlflow-model@breast-cancer-risk", "mlflow-model@steady")
    assert limit.split() == ["2147483648", "infinity"]


def test_nothing_but_nginx_listens_outside(mlflow, address):
    lines = [line.split(None, 4) for line in mlflow.check_output("ss -Hltne").splitlines()]
    outside = {line[3]: line[4] for line in lines if not line[3].startswith(("127.", "[::1]")) and not line[3].endswith(":8086")}
    assert set(outside) == {f"{address}:{port}" for port in (5000, 5001, 5002, 5003)}
    assert all("/nginx.service " in whose for whose in outside.values())
    models = {line[3]: line[4] for line in lines if "mlflow-model@" in line[4]}
    assert {f"127.0.0.1:{port}" for port in (15001, 15002, 15003)} <= set(models)
    assert all(where.startswith("127.0.0.1:") for where in models)


def test_model_that_loads_longer_than_gunicorn_waits(mlflow, score):
    """90 seconds; gunicorn's own limit is 60, and it would begin again for ever."""
    assert score(5003, ROWS) == (200, "slow_loader/1", "[2.0, 3.0]")
    assert mlflow.service("mlflow-model@slow_loader").systemd_properties["NRestarts"] == "0"
    assert "WORKER TIMEOUT" not in mlflow.check_output("journalctl --no-pager -u mlflow-model@slow_loader")


def test_spark_model_predicts_as_in_training(score, patients):
    status, _model, text = score(5001, json.dumps(patients[0]))
    assert (status, json.loads(text)) == (200, patients[1])


def test_nobody_comes_in_without_login_and_tls(sparkflows, address):
    assert ask(sparkflows, f"https://{address}:5002/invocations", ROWS)[0] == 401
    assert ask(sparkflows, f"https://{address}:5002/ping", "", base64.b64encode(b"scoring:wrong").decode())[0] == 401
    assert ask(sparkflows, f"http://{address}:5002/invocations", ROWS)[0] == 400


def test_module_scores_a_file(sparkflows, address, password, patients):
    sparkflows.run_expect([0], "mkdir -p /srv/score")
    rows = "\n".join(",".join(map(str, row)) for row in [patients[0]["columns"], *patients[0]["data"]])
    sparkflows.check_output("printf '%%s\\n' %s > /srv/score/rows.csv", rows)
    options = {"url": f"https://{address}:5001", "username": "scoring", "password": password, "ca_path": CA, "chunk_rows": 2,
               "src": "/srv/score/rows.csv", "dest": "/srv/score/out.csv"}
    first, second = (ansible("ansible", "sparkflows1", "-m", "sparkflows.mlops.model_endpoint_score", "-a", json.dumps(options)).output
                     for _time in range(2))
    assert "CHANGED" in first and "SUCCESS" in second and password not in first + second
    written = list(csv.DictReader(sparkflows.file("/srv/score/out.csv").content_string.splitlines()))
    assert [float(row["prediction"]) for row in written] == patients[1]


# ---- replaced
class Load:
    """Steady requests from the Sparkflows host until the end of the block."""

    def __init__(self, url, body, password):
        self.command = ["docker", "exec", "-i", "-e", f"SERVING_CA={CA}", "-e", f"SERVING_LOGIN=scoring:{password}", f"{LAB}-sparkflows1",
                        "python3", "-", url, body, "1200", "10", "/tmp/load-ends"]

    def __enter__(self):
        subprocess.run(["docker", "exec", f"{LAB}-sparkflows1", "rm", "-f", "/tmp/load-ends"], check=True)
        with (PROJECT / "tests/bench/steady_requests.py").open(encoding="utf-8") as program:
            self.process = subprocess.Popen(self.command, stdin=program, stdout=subprocess.PIPE, text=True)
        time.sleep(3)
        return self

    def __exit__(self, *_problem):
        time.sleep(3)
        subprocess.run(["docker", "exec", f"{LAB}-sparkflows1", "touch", "/tmp/load-ends"], check=True)
        output = self.process.communicate(timeout=200)[0]
        self.requests = sorted(json.loads(line) for line in output.splitlines())


def move_to_production(mlflow, version):
    url = mlflow.check_output(". /etc/mlflow/mlflow.env; echo http://$MLFLOW_HOST:$MLFLOW_PORT")
    body = {"name": "steady", "version": str(version), "stage": "Production", "archive_existing_versions": True}
    assert ask(mlflow, url + "/api/2.0/mlflow/model-versions/transition-stage", json.dumps(body))[0] == 200


def test_moved_stage_is_replaced_without_a_failed_request(mlflow, address, password):
    before = mlflow.service("mlflow-model@breast-cancer-risk").systemd_properties["MainPID"]
    with Load(f"https://{address}:5002/invocations", ROWS, password) as load:
        mlflow.run_expect([0], "systemctl restart mlflow")
        mlflow.run_expect([0], "timeout 120 bash -c 'until (echo > /dev/tcp/127.0.0.1/5000) 2>&-; do sleep 0.5; done'")
        move_to_production(mlflow, 2)
        code, said = serve(SPARK, STEADY, SLOW)
    assert code == 0, said
    assert len(load.requests) > 100
    assert [request for request in load.requests if request[2] != 200] == []
    answers = [request[3:] for request in load.requests]
    first = answers.index(["steady/2", "[201.0, 202.0]"])
    assert first > 30 and set(map(tuple, answers[:first])) == {("steady/1", "[101.0, 102.0]")}
    # Requests that were on their way to the old one when nginx was reloaded may be answered after the first of the new one.
    assert set(map(tuple, answers[first + 40:])) == {("steady/2", "[201.0, 202.0]")}
    assert slots(mlflow) == {"breast-cancer-risk": "active", "steady@2": "active", "slow_loader": "active"}
    assert mlflow.service("mlflow-model@breast-cancer-risk").systemd_properties["MainPID"] == before
    for path in ("/etc/mlflow/models/steady.env", "/var/lib/mlflow/models/steady", "/etc/systemd/system/mlflow-model@steady.service"):
        assert not mlflow.file(path).exists


@pytest.mark.parametrize("version, words", [(3, "this version cannot be loaded"), (4, "this version cannot predict")])
def test_version_that_cannot_serve_changes_nothing(mlflow, score, version, words):
    before = mlflow.service("mlflow-model@steady@2").systemd_properties["MainPID"]
    site = mlflow.file("/etc/nginx/conf.d/mlops-model-steady.conf").content_string
    code, said = serve(SPARK, dict(STEADY, stage=None, version=version), SLOW)
    expected = f"steady, version {version}, cannot be served; mlflow-model@steady@2.service serves on as before"
    assert code != 0 and expected in said and words in said, said
    assert slots(mlflow) == {"breast-cancer-risk": "active", "steady@2": "active", "slow_loader": "active"}
    assert mlflow.service("mlflow-model@steady@2").systemd_properties["MainPID"] == before
    assert mlflow.file("/etc/nginx/conf.d/mlops-model-steady.conf").content_string == site
    assert score(5002, ROWS) == (200, "steady/2", "[201.0, 202.0]")


# ---- removed
def test_absent_model_is_gone_and_its_port_is_closed(mlflow, sparkflows, score, address):
    code, said = serve(SPARK, STEADY, {"name": "slow loader", "state": "absent"})
    assert code == 0, said
    assert slots(mlflow) == {"breast-cancer-risk": "active", "steady@2": "active"}
    assert ":5003" not in mlflow.check_output("ss -Hltn")
    assert "5003" not in mlflow.check_output("firewall-cmd --policy=mlops-serving --list-rich-rules")
    run = sparkflows.run(f"python3 -c 'import socket; socket.create_connection((\"{address}\", 5003), 3)'")
    assert run.rc != 0 and ("timed out" in run.stderr or "No route to host" in run.stderr)
    assert mlflow.run("find / -xdev -name '*slow_loader*' -not -path '/proc/*' -not -path '/tmp/*'").stdout == ""
    assert score(5002, ROWS)[0] == 200


# ---- healed
def processes(mlflow, unit):
    """Role in the service -> process id."""
    found = {}
    group = mlflow.check_output("systemctl show -p ControlGroup --value %s", unit)
    main = mlflow.check_output("systemctl show -p MainPID --value %s", unit)
    for line in mlflow.run("cat /sys/fs/cgroup%s/cgroup.procs | xargs -r ps -o pid=,ppid=,comm= -p", group).stdout.splitlines():
        pid, parent, name = line.split(None, 2)
        if pid == main:
            found["main"] = pid
        elif parent == main:
            found["master"] = pid
        elif name == "java":
            found["java"] = pid
        else:
            found["worker"] = pid
    return found


def healed(score, port, body, answer):
    """Seconds until the model answers again as it should."""
    began = time.monotonic()
    while True:
        status, _model, text = score(port, body)
        if (status, text) == (200, answer):
            return time.monotonic() - began
        assert time.monotonic() - began < 900, (status, text)
        time.sleep(0.5)


@pytest.fixture(name="load_seconds", scope="module")
def fixture_load_seconds(mlflow, score, patients):
    """How long each model takes from the start of its service to its first answer, with MLflow stopped: nobody needs it for that."""
    took = {}
    mlflow.run_expect([0], "systemctl stop mlflow")
    for unit, port, body, answer in (("mlflow-model@breast-cancer-risk", 5001, json.dumps(patients[0]), json.dumps(patients[1])),
                                     ("mlflow-model@steady@2", 5002, ROWS, "[201.0, 202.0]")):
        mlflow.run_expect([0], f"systemctl restart {unit}")
        took[unit] = healed(score, port, body, answer)
    yield took
    mlflow.run_expect([0], "systemctl start mlflow")


@pytest.mark.parametrize("unit, process", [
    ("mlflow-model@breast-cancer-risk", "java"), ("mlflow-model@steady@2", "worker"), ("mlflow-model@steady@2", "master"),
    ("mlflow-model@steady@2", "main")])
def test_killed_process_of_a_model_is_healed(mlflow, score, patients, load_seconds, unit, process):
    before, began = processes(mlflow, unit), time.monotonic()
    mlflow.run_expect([0], f"kill -9 {before[process]}")
    # A worker without its master goes on to answer for a moment, so the answer counts only when there is a new process.
    while processes(mlflow, unit).get(process, before[process]) == before[process]:
        assert time.monotonic() - began < 300, processes(mlflow, unit)
        time.sleep(0.2)
    if unit.endswith("risk"):
        healed(score, 5001, json.dumps(patients[0]), json.dumps(patients[1]))
    else:
        healed(score, 5002, ROWS, "[201.0, 202.0]")
    took = time.monotonic() - began
    print(f"{process} of {unit}: answers again after {took:.1f} s, loads in {load_seconds[unit]:.1f} s")
    assert took < load_seconds[unit] + HEALED_WITHIN


def test_killed_nginx_is_healed(mlflow, score):
    before = mlflow.service("nginx").systemd_properties["MainPID"]
    mlflow.run_expect([0], f"kill -9 {before}")
    assert healed(score, 5002, ROWS, "[201.0, 202.0]") < HEALED_WITHIN
    mlflow.run_expect([0], "timeout 30 sh -c 'until systemctl is-active -q nginx; do sleep 0.5; done'")
    assert mlflow.service("nginx").systemd_properties["MainPID"] not in ("0", before)
    assert mlflow.check_output("pgrep -c -x nginx -P 1") == "1"


def test_reboot_brings_everything_back(mlflow, score, patients):
    subprocess.run(["docker", "restart", "-t", "30", f"{LAB}-mlflow1"], check=True, stdout=subprocess.DEVNULL)
    mlflow.run_expect([0, 1], "systemctl is-system-running --wait")
    # All of them load at once, so none is as quick as alone.
    took = [healed(score, 5002, ROWS, "[201.0, 202.0]"), healed(score, 5001, json.dumps(patients[0]), json.dumps(patients[1]))]
    print(f"reboot: both models answer again after {sum(took):.1f} s")
    for name in ("mlflow", "fire-mlops-server", "nginx", "firewalld", "mlflow-model@breast-cancer-risk", "mlflow-model@steady@2"):
        assert mlflow.service(name).is_running, name


# ---- pruned
def test_undeclared_model_is_named_and_stays(mlflow, score):
    code, said = serve(SPARK)
    assert code == 0 and "still serves steady, which model_serving_models does not declare" in said and "changed=0" in said, said
    assert score(5002, ROWS)[0] == 200


def test_undeclared_model_is_pruned(mlflow, sparkflows, address):
    code, said = serve(SPARK, model_serving_prune=True)
    assert code == 0, said
    assert slots(mlflow) == {"breast-cancer-risk": "active"}
    assert ":5002" not in mlflow.check_output("ss -Hltn")
    assert sparkflows.run(f"python3 -c 'import socket; socket.create_connection((\"{address}\", 5002), 3)'").rc != 0
    code, said = serve(SPARK, model_serving_prune=True)
    assert code == 0 and "changed=0" in said, said
