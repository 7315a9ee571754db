"""What is left of us on machines: data, if anything; and what can be gone on with. The tests follow one another."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess

import pytest
from conftest import LAB, LAB_DIR, PROJECT, inventories, lab_host, play
from playbook_run import environment_in, run
from sparkflows_server.properties import PROPERTIES

# Somebody else's, which stays: a host key, and another host's archive in a folder that hosts share.
OTHERS_ARCHIVE = "/var/backups/mlflow/mlflow-mlflow10-20260101T000000Z.tar.gz"
KNOWN_HOST = "company.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEQ0vnDOzw9jxVk3oaCTg0MbeqNDsXAGwB3c3nPeBX"
HOSTS = ("mlflow1", "sparkflows1")
UNINSTALL = "playbooks/uninstall.yml"
CONFIRMED = ("--extra-vars", json.dumps({"uninstall_confirm": True}))
WITH_DATA = ("--extra-vars", json.dumps({"uninstall_confirm": True, "uninstall_data": True}))
# What packages of the distribution bring, keep or have made, besides the files that they list: JDK, nginx. And what the
# machine itself writes. Packages stay.
OF_PACKAGES = re.compile(
    r"file (/etc/(alternatives|fonts|\.java|rc[0-6S]\.d|ssl/certs/java|java-8-openjdk)(/|\s)"
    r"|/etc/(ld\.so\.cache|mailcap|passwd-|group-|shadow-|gshadow-|subuid-|subgid-|\.pwd\.lock|nginx/sites-enabled/default)\s"
    r"|/usr/lib/(jvm|python3|mime|perl5)(/|\s)|/usr/share/[^\t ]*"
    r"|/usr/lib/[^\t ]*/gdk-pixbuf\S*|/usr/local/share/fonts\S*"
    r"|/var/www(/|\s)|/var/lib/sgml-base/supercatalog\.old\s"
    r"|/var/(cache|log|backups(?!/mlflow)|lib/(apt|dpkg|systemd(?!/timers/stamp-mlflow)|nginx|ucf|fontconfig|ca-certificates-java|python|private))(/|\s)"
    r"|/root/\.(ansible|cache|bash_history|python_history)\S*|/usr/bin/\S+|/root\s|/var/lib/sparkflows-double(/|\s))"
    r"|(unit|running) nginx\.service (disabled|enabled|dead)|running (apt|dpkg|systemd|e2scrub|logrotate|fstrim|man-db|run-|user|session|init)\S* \S+"
    r"|(unit|running) (fontconfig|x11-common|fc-cache)\S* \S+"
    r"|memory /run/(nginx|systemd)\S*"
)  # fmt: skip
# What changes on a machine that nobody changes.
MOVES = re.compile(r"file /(var/(log|cache|lib/systemd)|root|var/lib/sparkflows-double)|running ")
# In the lab, train_model.py and what it needs lies where its account may write.
DATA = re.compile(
    r"file /var/lib/mlflow( |/(artifacts|db|lab)[ /])|file /var/backups/mlflow( |/mlflow-mlflow10?-\d{8}T\d{6}Z.tar.gz )"
    r"|(account|group) mlflow:|file /etc/(passwd|group|shadow|gshadow) "
)


def listing(host):
    script = (PROJECT / "molecule/uninstall/tests/listing.sh").read_text(encoding="utf-8")
    command = ["docker", "exec", "--interactive", f"{LAB}-{host}", "sh", "-s"]
    return subprocess.run(command, input=script, check=True, capture_output=True, text=True).stdout


def compared(host):
    """Lines that the machine has too many, and those that it lacks."""
    before = set((LAB_DIR / "before" / host).read_text(encoding="utf-8").splitlines())
    now = set(listing(host).splitlines())
    return ({line for line in now - before if not OF_PACKAGES.match(line)}, {line for line in before - now if not OF_PACKAGES.match(line)})


def settings_of_sparkflows(host):
    return json.loads(host.file("/var/lib/sparkflows-double/state.json").content_string)


def done(*arguments):
    said = play(*arguments)
    assert said.returncode == 0, said.output[-5000:]
    return said


def test_the_listing_sees_what_we_make(mlflow):
    """Otherwise nothing below proves anything."""
    done("playbooks/backup.yml")
    # As if the timer had run, a backup had been killed, and a scoring job had failed.
    mlflow.run_expect([0], "touch /var/lib/systemd/timers/stamp-mlflow-backup.timer; mkdir /var/backups/mlflow/.mlflow-backup-killed; "
                           "systemd-run --unit=mlflow-batch-scoring-lost --property=Type=exec false")
    more, _less = compared("mlflow1")
    for what in ("file /opt/mlflow", "file /etc/mlflow/mlflow.env", "file /etc/nginx/conf.d/mlops-mlflow.conf", "unit mlflow.service",
                 "file /etc/apt/sources.list.d/unstable-jdk8", "file /etc/firewalld/policies/mlops-serving.xml", "running mlflow.service",
                 "account mlflow:", "account fire-mlops:", "memory /run/mlops-service", "running mlflow-backup.timer waiting",
                 "file /var/backups/mlflow/mlflow-mlflow1-", "file /var/lib/systemd/timers/stamp-mlflow", "memory /run/mlflow-backup.lock",
                 "running mlflow-batch-scoring-lost.service failed"):  # fmt: skip
        assert any(line.startswith(what) for line in more), what
    assert any(line.startswith("rule ") and "5000" in line for line in more)


def test_the_whole_site_is_refused_without_a_word():
    said = play(UNINSTALL)
    assert said.returncode != 0 and "uninstall_confirm" in said.text
    assert set(said.changed.values()) == {0}


def test_check_mode_says_what_would_go_and_changes_nothing():
    before = {host: listing(host) for host in HOSTS}
    said = done(UNINSTALL, "--check", "--diff")
    for what in ("/opt/mlflow: removed", "/etc/mlflow: removed", "-# Written by Ansible (role mlflow_proxy)", "/mlops-serving.xml: removed",
                 "mlflow1: stays: /var/lib/mlflow/db (MLflow''s database)"):  # fmt: skip
        assert what in said.output, what
    assert "db: removed" not in said.output
    assert re.search(r"\+ +\"?mlops\.mlflow\.deploy\.mode\"?: \"?local", said.output)
    for host in HOSTS:
        differing = set(before[host].splitlines()) ^ set(listing(host).splitlines())
        assert {line for line in differing if not MOVES.match(line)} == set()


def test_nothing_goes_while_sparkflows_cannot_be_told(tmp_path):
    hosts = {"sparkflows1": {"mlops_sparkflows_token": "canary"}}
    (tmp_path / "hosts.json").write_text(json.dumps({"sparkflows": {"hosts": hosts}}), encoding="utf-8")
    before = listing("mlflow1")
    said = play("-i", str(tmp_path / "hosts.json"), UNINSTALL, *CONFIRMED)
    assert said.returncode != 0 and "--skip-tags sparkflows_configuration" in said.text
    # YAML doubles a quote.
    assert re.search("mlflow1: nothing was removed here, because Sparkflows''? settings could not be put back .sparkflows1", said.text)
    assert said.changed == {"mlflow1": 0, "sparkflows1": 0}
    assert {line for line in set(before.splitlines()) ^ set(listing("mlflow1").splitlines()) if not MOVES.match(line)} == set()


def test_a_run_is_killed():
    """The tests below go on from what it has left."""
    command = ["ansible-playbook", *inventories(), UNINSTALL, *CONFIRMED]
    with subprocess.Popen(command, cwd=PROJECT, env=environment_in(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          start_new_session=True) as process:  # fmt: skip
        assert any("Remove the files" in line for line in process.stdout)
        os.killpg(process.pid, signal.SIGKILL)


def test_data_stay_and_nothing_else(mlflow, sparkflows, address):
    mlflow.run_expect([0], f"mkdir -p /etc/ssh && echo '{KNOWN_HOST}' >/etc/ssh/ssh_known_hosts; touch {OTHERS_ARCHIVE}")
    said = done(UNINSTALL, "--diff", *CONFIRMED)
    for what in ("/var/lib/mlflow/db", "/var/lib/mlflow/artifacts", "/var/backups/mlflow/mlflow-mlflow1-", OTHERS_ARCHIVE):
        assert f"stays: {what}" in said.text, what
    more, less = compared("mlflow1")
    assert mlflow.file("/etc/ssh/ssh_known_hosts").content_string == KNOWN_HOST + "\n"
    known_hosts = {line for line in more if re.match("file /etc/ssh(/ssh_known_hosts)? ", line)}
    assert {line for line in more - known_hosts if not DATA.match(line)} == set()
    assert {line for line in less if not DATA.match(line)} == set()
    for what in ("/var/lib/mlflow/db/mlflow.db", "/var/backups/mlflow/mlflow-mlflow1-", OTHERS_ARCHIVE):
        assert any(line.startswith(f"file {what}") for line in more), what
    assert compared("sparkflows1") == (set(), set())
    assert not mlflow.socket(f"tcp://{address}:5001").is_listening and not mlflow.socket(f"tcp://{address}:5000").is_listening
    settings = settings_of_sparkflows(sparkflows)
    assert {name: settings[name] for name, _title, _what, _value, _group, _secret in PROPERTIES} == {one[0]: one[3] for one in PROPERTIES}
    mlflow.run_expect([0], "rm /etc/ssh/ssh_known_hosts; rmdir --ignore-fail-on-non-empty /etc/ssh")
    assert mlflow.file(OTHERS_ARCHIVE).exists


def test_a_second_run_changes_nothing():
    assert set(done(UNINSTALL, "--diff", *CONFIRMED).changed.values()) == {0}


def test_the_site_goes_on_from_the_kept_data(mlflow, address):
    done("playbooks/site.yml")
    assert mlflow.socket(f"tcp://{address}:5001").is_listening
    assert json.loads((PROJECT / "reports" / LAB / "acceptance.json").read_text(encoding="utf-8"))["summary"]["verdict"] == "passed"


def test_a_host_that_has_left_the_groups(tmp_path):
    """It has no part in the site any more, and is cleaned all the same; here with its data, but not with those of another host."""
    (tmp_path / "group_vars").symlink_to(PROJECT / "inventories/lab/group_vars")
    hosts = {"mlflow1": {"lab_host_number": 11, "lab_source_dir": str(PROJECT)}}
    (tmp_path / "hosts.json").write_text(json.dumps({"lab": {"children": {"former": {"hosts": hosts}}}}), encoding="utf-8")
    said = run("ansible-playbook", "-i", str(tmp_path / "hosts.json"), UNINSTALL, "--diff", "--limit", "mlflow1", "-e", '{"uninstall_data": true}')
    assert said.returncode == 0, said.output[-5000:]
    assert f"stays: {OTHERS_ARCHIVE} (it is not of this collection)" in said.text and "sparkflows1" not in said.changed
    lab_host("mlflow1").run_expect([0], f"rm {OTHERS_ARCHIVE}; rmdir /var/backups/mlflow")
    assert compared("mlflow1") == (set(), set())


def test_with_data_the_machine_is_as_it_was(sparkflows):
    done(UNINSTALL, "--diff", *WITH_DATA)
    for host in HOSTS:
        assert compared(host) == (set(), set()), host
    settings = settings_of_sparkflows(sparkflows)
    assert settings["mlops.mlflow.trackingURL"] == "" and settings["mlops.mlflow.deploy.mode"] == "local"


@pytest.mark.parametrize("arguments", [CONFIRMED, WITH_DATA])
def test_on_a_bare_machine_there_is_nothing_to_do(arguments):
    said = done(UNINSTALL, "--diff", *arguments)
    assert set(said.changed.values()) == {0} and "nothing of this collection here" in said.text
