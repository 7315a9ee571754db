"""A machine in which SELinux is enforcing: left alone it keeps nginx from its port, seen to it does not. In this order."""

from __future__ import annotations

import re

LISTENS = "ss -Hltn src 10.0.2.15:5000"
HEALTH = """import ssl, urllib.request as web
print(web.urlopen("https://10.0.2.15:5000/health", context=ssl._create_unverified_context()).read().decode())"""
DENIED = "journalctl --quiet --dmesg --grep 'avc: .*denied' --since '%s' || true"


def test_it_is_enforced(machine):
    assert machine.sh("getenforce").strip() == "Enforcing"
    assert "commplex_main_port_t" in machine.sh("semanage port -l | grep -w 5000")


def test_left_to_the_administrator_nginx_does_not_listen(machine):
    done = machine.play(mlops_selinux="never")
    assert done.returncode != 0 and re.search(r"bind\(\) to \S+:5000 failed \(13: Permission denied\).*mlops_selinux", done.text), done.output[-5000:]
    assert machine.sh(LISTENS) == ""


def test_seen_to_everything_works(machine):
    began = machine.sh("date '+%F %T'").strip()
    done = machine.play("--diff")
    assert done.returncode == 0, done.output[-5000:]
    assert machine.sh(LISTENS) != ""
    assert machine.sh(f"python3 -c '{HEALTH}'") == "OK\n"
    assert machine.sh(DENIED % began) == ""


def test_it_has_the_labels_of_what_it_is(machine):
    assert "http_port_t" in machine.sh("semanage port -l | grep -w 5000")
    assert machine.sh("getsebool httpd_can_network_connect").split()[-1] == "on"
    assert ":bin_t:" in machine.sh("stat -c %C /srv/mlflow/bin/mlflow")
    assert ":httpd_t:" in machine.sh("ps -o label= -C nginx | head -n 1")
    assert set(machine.sh("stat -c %C /etc/nginx/mlops/* /etc/nginx/conf.d/* | cut -d : -f 3").split()) == {"httpd_config_t"}


def test_again_nothing_changes(machine):
    done = machine.play("--diff")
    assert done.returncode == 0 and set(done.changed.values()) == {0}, done.output[-5000:]


def test_it_survives_a_restart_of_nginx(machine):
    assert machine.sh("systemctl restart nginx && sleep 2 && " + LISTENS) != ""
