"""A run that is killed half-way and started again ends in the same state as an undisturbed one; no secret is seen on the way."""

from __future__ import annotations

import json
import time

import pytest
from conftest import CANARIES, HOSTS, NAME, PROJECT

# No model here: what is compared is what the roles leave behind.
VARIABLES = {**CANARIES, "model_serving_models": [], "acceptance_samples": []}

# Files with their mode, owner and content; then packages, and the services. Byte code, logs and databases are made while running.
STATE = r"""
for place in /opt /etc/mlflow /etc/fire-mlops /etc/systemd/system /etc/firewalld /etc/apt; do
  [ -e $place ] && find $place -not -path '*/__pycache__*' -printf '%y %m %u:%g %p -> %l\n'
done | sort
find /opt /etc/mlflow /etc/fire-mlops /etc/systemd/system /etc/firewalld -type f -not -name '*.pyc' 2>/dev/null | sort | xargs -d '\n' sha256sum
dpkg-query -W
systemctl list-units --no-legend --plain --type=service --state=active 'mlflow*' 'fire*' | awk '{print $1, $3, $4}'
"""

# Everything that any account of the host can read, and all command lines.
VISIBLE = r"""
umask 077; printf %s%s {head} {tail} > /run/canary
find /etc /opt /var/lib /var/log /usr/local /run/systemd -xdev -type f -perm -o=r -not -name '*.jar' -not -path '/opt/mlflow/releases/*' -print0 \
  | xargs -0 grep -lF -f /run/canary -- || true
grep -lF -f /run/canary /proc/[0-9]*/cmdline 2>/dev/null || true
systemctl cat 'mlflow*' 'fire*' 'nginx*' 2>/dev/null | grep -F -f /run/canary || true
journalctl --no-pager | grep -F -f /run/canary || true
rm /run/canary
"""


@pytest.fixture(scope="module", name="arguments")
def fixture_arguments(tmp_path_factory):
    """All output that there is, with differences; the variables in a file, as a vault's would be."""
    variables = tmp_path_factory.mktemp("variables") / "vault.json"
    variables.write_text(json.dumps(VARIABLES), encoding="utf-8")
    return ["-vvvv", "--diff", "--extra-vars", f"@{variables}"]


@pytest.fixture(scope="module", name="undisturbed")
def fixture_undisturbed(lab, arguments):
    lab.fresh()
    run = lab.run("site.yml", *arguments)
    assert run.returncode == 0, run.output[-20000:]
    return {"run": run, "state": {host: lab.sh(host, STATE) for host in HOSTS}}


@pytest.mark.parametrize("variable", CANARIES)
def test_secret_is_in_no_output(undisturbed, variable):
    assert CANARIES[variable] not in undisturbed["run"].output


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("variable", CANARIES)
def test_secret_is_not_to_be_seen_on_the_host(lab, undisturbed, host, variable):
    del undisturbed
    # Put together on the host and read from a file there, so that the search does not find itself.
    assert lab.sh(host, VISIBLE.format(head=CANARIES[variable][:7], tail=CANARIES[variable][7:])) == ""


@pytest.mark.parametrize("variable", ["mlops_s3_access_key", "mlops_s3_secret_key"])
def test_secret_is_where_it_has_to_be(lab, undisturbed, variable):
    """Else the tests above would prove nothing."""
    del undisturbed
    assert lab.sh("mlflow1", f"grep -rlF -e '{CANARIES[variable]}' /etc/mlflow /etc/fire-mlops 2>/dev/null || true").strip()


def test_secret_is_in_no_report(undisturbed):
    del undisturbed
    reports = list((PROJECT / "reports" / NAME).iterdir())
    assert reports
    for report in reports:
        text = report.read_text(encoding="utf-8")
        assert not [variable for variable, value in CANARIES.items() if value in text], report


def test_killed_during_the_package_installation(lab, undisturbed, arguments, tmp_path):
    lab.fresh()
    with (tmp_path / "killed.log").open("w") as log:
        process = lab.start("site.yml", *arguments, log=log)
        # In the middle of the installation: some packages are there already, the release is not complete.
        deadline = time.monotonic() + 900
        while lab.sh("mlflow1", "ls -d /opt/mlflow/releases/*/lib/python3.7/site-packages/flask 2>/dev/null || true") == "":
            assert process.poll() is None and time.monotonic() < deadline, (tmp_path / "killed.log").read_text()[-5000:]
            time.sleep(0.5)
        lab.kill(process)
    assert "complete" not in lab.sh("mlflow1", "ls -a /opt/mlflow/releases/*; ls -l /opt/mlflow/current 2>&1 || true")

    again = lab.run("site.yml", *arguments)
    assert again.returncode == 0, again.output[-20000:]
    for host in HOSTS:
        assert lab.sh(host, STATE).splitlines() == undisturbed["state"][host].splitlines()
