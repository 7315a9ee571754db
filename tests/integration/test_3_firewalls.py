"""The firewalls that the demo does not use, on real kernels: open for the named source, closed for others and beside, closed again."""

from __future__ import annotations

import pytest
from conftest import HOSTS

# A listener on each port, so that what does not answer is held back by the firewall.
LISTEN = "for port in 5000 5021; do systemd-run --quiet --unit=listener-$port python3 -m http.server $port; done"
TOUCH = "python3 -c 'import socket, sys; socket.create_connection((\"mlflow1\", int(sys.argv[1])), 3)' {port} 2>/dev/null && echo open || echo closed"


@pytest.fixture(name="firewall", scope="module", params=["nftables", "ufw"])
def fixture_firewall(request, lab):
    lab.fresh()
    lab.sh("mlflow1", "systemctl disable --quiet --now firewalld && " + LISTEN)
    run = lab.run("mlflow.yml", "--tags=serving_firewall", "--extra-vars", f"serving_firewall_backend={request.param}",
                  "--extra-vars", "serving_firewall_install=true")
    assert run.returncode == 0, run.output
    return request.param


def again(lab, firewall, *arguments):
    return lab.run("mlflow.yml", "--tags=serving_firewall", "--extra-vars", f"serving_firewall_backend={firewall}", *arguments)


def touch(lab, port, host=HOSTS[1]):
    return lab.sh(host, TOUCH.format(port=port)).strip()


def test_open_for_the_named_source(lab, firewall):
    assert touch(lab, 5000) == "open", firewall


def test_a_port_beside_is_no_business_of_ours_or_closed(lab, firewall):
    # ufw closes what it is not told to open; the nftables table guards the named ports only.
    assert touch(lab, 5021) == ("closed" if firewall == "ufw" else "open")


def test_second_run_changes_nothing(lab, firewall):
    run = again(lab, firewall)
    assert run.returncode == 0 and set(run.changed.values()) == {0}, run.output


def test_closed_again_for_a_source_that_is_no_longer_named(lab, firewall):
    run = again(lab, firewall, "--extra-vars", '{"mlops_client_sources": ["192.0.2.1"]}')
    assert run.returncode == 0 and run.changed["mlflow1"] > 0, run.output
    assert touch(lab, 5000) == "closed"
