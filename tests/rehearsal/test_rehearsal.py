"""The archive at sites as people have them: only what the README and the documents say is typed, over SSH, with an ordinary account.

Sparkflows, the Fire MLOps server and the machines are the lab's (playbooks/lab_up.yml). Galaxy is out of reach of a test: the collections that ours
needs come with the package `ansible` of PyPI.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from string import Template

import pytest
import yaml
from generations import python_for
from playbook_run import PROJECT
from playbook_run import run as playbook_run
from rehearsal.administrator import BECOME_PASSWORD, Administrator, commands
from rehearsal.sites import ALL, MLFLOW, SITES, VAULT

CACHE = Path(os.environ.get("LAB_CACHE_DIR", PROJECT / ".cache/lab"))
KEPT = os.environ.get("REHEARSAL_KEPT")
ROWS = PROJECT / "tests/data/breast-cancer-wisconsin/data.csv"


class Machines:
    """The lab's machines, as the site's. machines[name] is what $name stands for at a site."""

    def __init__(self, site):
        self.site, self.lab = site, f"rehearsal-{site.name}"
        self.directory = CACHE / self.lab
        self.key = self.directory / "administrator"
        self.hosts = ["mlflow1", "sparkflows1", *(["store1"] if "inventories/stores" in site.layers else [])]

    def ansible(self, program, *arguments):
        inventories = [f"--inventory={inventory}" for inventory in ("inventories/lab", *self.site.layers)]
        variables = {**self.site.lab, "lab_network_ipv6": self.site.ipv6}
        done = playbook_run(program, *inventories, "--extra-vars", json.dumps(variables), *arguments, LAB_NAME=self.lab, LAB_CACHE_DIR=str(CACHE))
        assert done.returncode == 0, done.output[-5000:]
        return done.output

    def playbook(self, *arguments):
        return self.ansible("ansible-playbook", *arguments)

    def __getitem__(self, name):
        if name in self.hosts:
            return self.address(name)
        output = self.ansible("ansible", "mlflow1", "--module-name=ansible.builtin.debug", f"--args=var={name}")
        return yaml.safe_load(output.partition("=>")[2])[name]

    def fill(self, value):
        """A value of a site's table, for these machines."""
        if isinstance(value, dict):
            return {name: self.fill(part) for name, part in value.items()}
        return Template(value).substitute(self) if isinstance(value, str) else value

    def up(self):
        # For whoever works on these tests: the machines of the run before, as that has left them.
        if KEPT and self.key.exists():
            return
        self.playbook("playbooks/lab_down.yml")
        variables = {"rehearsal_key_path": str(self.key), "rehearsal_become_password": BECOME_PASSWORD, "rehearsal_machine": self.site.machine}
        self.playbook("playbooks/lab_up.yml", "tests/rehearsal/machines.yml", "--extra-vars", json.dumps(variables))

    def down(self):
        self.playbook("playbooks/lab_down.yml")

    def sh(self, host, script):
        done = subprocess.run(["docker", "exec", "--interactive", f"{self.lab}-{host}", "bash", "-eu"], input=script, check=False,
                              capture_output=True, text=True)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def put(self, source, host, path):
        subprocess.run(["docker", "cp", "--quiet", str(source), f"{self.lab}-{host}:{path}"], check=True)

    def address(self, host, kind="IPAddress"):
        """Of a host; Gateway and GlobalIPv6Address are other kinds."""
        template = f"{{{{range .NetworkSettings.Networks}}}}{{{{.{kind}}}}}{{{{end}}}}"
        command = ["docker", "inspect", "--format", template, f"{self.lab}-{host}"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def site_address(self, host):
        """Under which the hosts of the site call each other."""
        return self.address(host, "GlobalIPv6Address" if self.site.ipv6 else "IPAddress")

    def host_keys(self):
        """What an administrator has accepted at the first login."""
        addresses = [self.address(host) for host in ("mlflow1", "sparkflows1")]
        return subprocess.run(["ssh-keyscan", "-t", "ed25519", *addresses], check=True, capture_output=True, text=True).stdout

    def certificate(self, name, folder):
        """The company's authority signs one for the MLflow host."""
        folder.mkdir(exist_ok=True)
        authority = self.directory / "tls"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                        "-subj", "/CN=mlflow1.example.com", "-addext", f"subjectAltName=IP:{self.site_address('mlflow1')},DNS:mlflow1.example.com",
                        "-addext", "basicConstraints=critical,CA:FALSE", "-CA", authority / "ca.pem", "-CAkey", authority / "ca.key",
                        "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"], check=True, capture_output=True)  # fmt: skip


def edit_inventory(administrator, machines):
    """What an administrator writes into the copied files: the marked places, what a Debian 13 needs besides, and what is special at this site."""
    site, lab = administrator.site, yaml.safe_load((PROJECT / "inventories/lab/group_vars/lab/runtimes.yml").read_text(encoding="utf-8"))
    repositories = [{**repository, "uris": (CACHE / "image/mirror").read_text().strip()} for repository in lab["java_runtime_repositories"]]
    archive = CACHE / "artifacts/python-3.7.tar.gz"
    files = administrator.folder / "files"
    machines.certificate("mlflow", files)
    shutil.copy(max((CACHE / "artifacts").glob("fire-mlops-server-double-*.jar"), key=os.path.getmtime), files / "fire-mlops-server.jar")
    known_hosts = administrator.home / "known_hosts"
    known_hosts.write_text(machines.host_keys(), encoding="utf-8")

    assert administrator.marked() == list(range(1, 12))
    administrator.edit_places({
        1: "ansible", 2: machines.site_address("mlflow1"), 3: machines.site_address("sparkflows1"), 4: f"https://{machines.address('sparkflows1')}:8443",
        5: "/etc/ssl/lab-ca.pem", 6: "", 8: "package", 9: "archive" if archive.exists() else "source", 10: "0", 11: "files/mlflow.pem",
    })  # fmt: skip
    assert administrator.marked() == [7]
    for host in ("mlflow1", "sparkflows1"):
        administrator.add_host_variables(f"{host}.example.com", {
            "ansible_host": machines.address(host), "ansible_ssh_private_key_file": str(machines.key),
            "ansible_ssh_extra_args": f"-o UserKnownHostsFile='\"{known_hosts}\"' -o IdentitiesOnly=yes"})  # fmt: skip
    administrator.edit(VAULT, {"vault_sparkflows_token": machines["mlops_sparkflows_token"], "vault_mlflow_password": "p4ss: {{ no template }} #'\""})
    # The authorities of the lab's machines are those of this computer, which may be behind a company's proxy.
    administrator.edit(MLFLOW, {"java_runtime_repositories": repositories, "mlflow_runtime_ca_path": "/etc/ssl/certs/ca-certificates.crt",
                                **({"python_runtime_archive_path": str(archive)} if archive.exists() else {})})  # fmt: skip
    if site.package_cache:
        administrator.edit(MLFLOW, {"mlflow_runtime_cache_dir": "/var/cache/mlflow-runtime"})
    for file, settings in machines.fill(site.settings).items():
        administrator.edit(file, settings)


@contextlib.contextmanager
def http_proxy(machines, log):
    """A company's HTTP proxy on this computer, which the hosts reach; gives its address. What is asked through it stands in the log."""
    address, port = machines.address("mlflow1", "Gateway"), 8899
    command = [sys.executable, "-m", "proxy", f"--hostname={address}", f"--port={port}", f"--log-file={log}", "--num-workers=1", "--log-level=INFO"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as program:
        try:
            yield f"http://{address}:{port}"
        finally:
            program.terminate()


def verdict(administrator):
    summary = json.loads((administrator.folder / "reports/acceptance.json").read_text(encoding="utf-8"))["summary"]
    return summary["verdict"], summary["checks"]


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_site(site, row, tmp_path):
    if not python_for(site.core):
        pytest.skip(f"no Python here that can run ansible-core {site.core}")
    machines, administrator = Machines(site), Administrator(site, tmp_path / "home")
    administrator.install_ansible()
    administrator.write_config()
    subprocess.run(["make", "--no-print-directory", "archive", f"ARCHIVE_DIR={administrator.folder}"], cwd=PROJECT, check=True, capture_output=True)
    machines.up()
    try:
        with http_proxy(machines, tmp_path / "proxy.log") if site.http_proxy else contextlib.nullcontext() as proxy:
            if proxy:
                for host in machines.hosts:
                    machines.sh(host, f"""
                        printf 'http_proxy={proxy}\\nhttps_proxy={proxy}\\n' >>/etc/environment
                        echo 'Defaults env_keep += "http_proxy https_proxy"' >/etc/sudoers.d/http_proxy
                    """)
                administrator.environment = {"http_proxy": proxy, "https_proxy": proxy}
            rehearse(administrator, machines, row)
        if proxy:
            asked = (tmp_path / "proxy.log").read_text(encoding="utf-8")
            own = [machines.address(host, kind) for host in machines.hosts for kind in ("IPAddress", "GlobalIPv6Address")]
            targets = re.findall(r" - [A-Z]+ (\S+)", asked)
            assert [target for target in targets if any(name in target for name in ("127.0.0.1", "localhost", *filter(None, own)))] == []
            assert targets, "nothing was asked through the proxy"
    finally:
        print(*administrator.warnings, sep="\n")
        if not KEPT:
            machines.down()
    assert administrator.warnings == []


def rehearse(administrator, machines, row):
    course = commands("README.md", "On your own machines")
    for command in course:
        run = administrator.type(command)
        if command.startswith("cp "):
            edit_inventory(administrator, machines)
        if ".preflight" in command or "--check" in command:
            changed = run.changed
            assert sorted(changed) == ["mlflow1.example.com", "sparkflows1.example.com"]
            assert ".preflight" not in command or not any(changed.values()), run.output
            assert KEPT or machines.sh("mlflow1", "ls /opt /etc/systemd/system").count("mlflow") == 0
    row["verdict"], row["checks"] = verdict(administrator)
    assert row["verdict"] == "passed"

    site = next(command for command in course if command.endswith(".site"))
    again = administrator.type(site)
    assert set(again.changed.values()) == {0}, again.output

    # A colleague registers a model, with the programs on the MLflow host.
    settings = machines.fill(administrator.site.settings.get(ALL, {}))
    home, listens = settings.get("mlops_home", "/opt/mlflow"), settings.get("mlops_mlflow_bind_address", "127.0.0.1")
    for source in (PROJECT / "tests/lab/train_model.py", ROWS):
        machines.put(source, "mlflow1", f"/var/tmp/{source.name}")
    machines.sh("mlflow1", f"""
        chmod 644 /var/tmp/train_model.py /var/tmp/{ROWS.name}; mkdir -p /data/in /data/scored
        rev /var/tmp/{ROWS.name} | cut -d, -f2- | rev >/data/in/{ROWS.name}  # without what the model is to say
        chmod 755 /data /data/in; install -d -o mlflow -g mlflow -m 700 /var/tmp/colleague; cd /var/tmp/colleague
        set -a; [ ! -e /etc/mlflow/mlflow.env ] || . /etc/mlflow/mlflow.env; set +a
        export HOME=$PWD TMPDIR=$PWD MLFLOW_TRACKING_URI=http://{listens}:5000 JAVA_HOME={home}/java PATH={home}/current/bin:$PATH
        export JAVA_TOOL_OPTIONS=-Djava.io.tmpdir=$PWD
        runuser -u mlflow -- {home}/current/bin/python /var/tmp/train_model.py /var/tmp/{ROWS.name} churn predictions.csv
        runuser -u mlflow -- {home}/current/bin/python -c 'from mlflow.tracking import MlflowClient
MlflowClient().transition_model_version_stage("churn", "1", "Production")'
    """)  # fmt: skip

    administrator.edit(ALL, {"model_serving_models": [{"name": "churn", "stage": "Production", "port": 5001}]})
    for command in commands("docs/serving-models.md"):
        administrator.type(command)
    administrator.type(next(command for command in course if command.endswith(".verify")))
    row["verdict"], row["checks"] = verdict(administrator)
    assert row["verdict"] == "passed"

    for command in commands("docs/offline-scoring-registered-model.md"):
        administrator.type(command)
    trained = machines.sh("mlflow1", "cat /var/tmp/colleague/predictions.csv").split()
    scored = machines.sh("mlflow1", f"cat /data/scored/{ROWS.name}").split()
    assert [float(row.rsplit(",", 1)[1]) for row in scored[1:]] == [float(value) for value in trained[1:]]

    administrator.edit(ALL, {"model_serving_models": [{"name": "churn", "state": "absent"}]})
    administrator.type(commands("docs/serving-models.md")[-1])
    assert "5001" not in machines.sh("mlflow1", "ss -Hltn 'sport = :5001'")
