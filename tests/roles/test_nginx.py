"""The role nginx on this computer: certificates of an authority, and the distribution's default site. Each case is a host of one run."""

from __future__ import annotations

import subprocess

import pytest
from playbook_run import LOCAL, run_in

# What becomes of a certificate between two runs, and whether the second makes a new one.
CERTIFICATES = {
    "same": ("true", "one.pem", False),
    "rotated": ("true", "two.pem", True),
    "renewed": ("true", "one-renewed.pem", True),
    "lost-certificate": ("rm served.pem", "one.pem", True),
    "lost-key": ("rm served.key", "one.pem", True),
}
# The default site and what dpkg says of its package: whether it goes.
SITES = {
    "untouched": ("ln -s $PWD/available site", "true", True),
    "untouched-package-edited": ("ln -s $PWD/available site", "echo '??5?????? c /etc/default/nginx'; exit 1", True),
    "edited": ("ln -s $PWD/available site", "echo \"??5?????? c {folder}/available\"; exit 1", False),
    "own-file": ("echo own > site", "true", False),
    "other-link": ("ln -s /etc/hosts site", "true", False),
    "none": ("true", "exit 2", True),
}
# On the RHEL family it is a server in nginx.conf. What rpm says of the package that the file is of: whether it goes.
SERVERS = {
    "el-untouched": ("true", True),
    "el-other-file-edited": ("echo '.M.......    /var/log/nginx'; exit 1", True),
    "el-edited": ("echo 'S.5....T.  c {folder}/nginx.conf'; exit 1", False),
    "el-of-no-package": ("echo 'file {folder}/nginx.conf is not owned by any package'; exit 1", False),
}
NGINX_CONF = """http {
    include /etc/nginx/conf.d/*.conf;
%s
# Settings for a TLS enabled server.
#    server {
#    }
}
"""
SERVER = """
    server {
        listen       80;
        location = /404.html {
        }
    }
"""
PLAY = """
- hosts: certificates
  gather_facts: false
  vars:
    first: {name: served, method: ca, names: "{{ names }}", ca_path: one.pem, ca_key_path: one.key}
    # The first has more characters than the common name of a certificate.
    names: ["{{ 'long-label.' * 8 }}example.com", mlflow1.example.com, 192.0.2.1]
    second: {ca_path: "{{ then }}", ca_key_path: "{{ then[:3] }}.key"}
  tasks:
    - ansible.builtin.include_role: {name: sparkflows.mlops.nginx, tasks_from: certificate}
      vars:
        nginx_certificate: "{{ first }}"
        # Merged, and not overridden there: of that ansible-core 2.21 warns as of a key that is there twice.
        <<: &paths
          _nginx_certificate_path: "{{ folder }}/served.pem"
          _nginx_key_path: "{{ folder }}/served.key"
    - ansible.builtin.shell: {cmd: "cp served.pem first.pem; {{ between }}", chdir: "{{ folder }}"}
    - ansible.builtin.include_role: {name: sparkflows.mlops.nginx, tasks_from: certificate}
      vars:
        <<: *paths
        nginx_certificate: "{{ first | combine(second) }}"
- hosts: sites
  gather_facts: false
  environment: {PATH: "{{ folder }}:/usr/bin:/bin"}
  tasks:
    - ansible.builtin.include_role: {name: sparkflows.mlops.nginx, tasks_from: install}
      vars:
        <<: &nothing_else
          _nginx_own_files: []
          mlops_selinux: never
          _nginx_before_path: "{{ folder }}/before/nginx.json"
          _nginx_before_conf: "{{ folder }}/before/nginx.conf"
        _nginx_default_site: "{{ folder }}/site"
        _nginx_default_site_source: "{{ folder }}/available"
- hosts: servers
  gather_facts: false
  environment: {PATH: "{{ folder }}:/usr/bin:/bin"}
  tasks:
    - ansible.builtin.include_role: {name: sparkflows.mlops.nginx, tasks_from: install}
      vars:
        <<: *nothing_else
        _nginx_is_debian: false
        _nginx_default_site_source: "{{ folder }}/nginx.conf"
"""


def openssl(*arguments):
    return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def program(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture(name="folder", scope="module")
def fixture_folder(tmp_path_factory):
    """Where the run of all cases has left its files."""
    folder = tmp_path_factory.mktemp("nginx")
    # Of one name: the second authority is the first with another key.
    for name in ("one", "two"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", folder / f"{name}.key",
                "-out", folder / f"{name}.pem", "-days", "9", "-subj", "/CN=authority")  # fmt: skip
    openssl("req", "-x509", "-key", folder / "one.key", "-out", folder / "one-renewed.pem", "-days", "99", "-subj", "/CN=authority")
    for name in (*CERTIFICATES, *SITES, *SERVERS):
        (folder / name).mkdir()
    for name, (made, dpkg, _goes) in SITES.items():
        (folder / name / "available").write_text("server {}")
        subprocess.run(made, shell=True, check=True, cwd=folder / name)
        program(folder / name / "dpkg", dpkg.format(folder=folder / name))
        program(folder / name / "dpkg-query", "echo package=installed")
    for name, (rpm, _goes) in SERVERS.items():
        (folder / name / "nginx.conf").write_text(NGINX_CONF % SERVER)
        program(folder / name / "rpm", '[ "$1" = --query ] && echo package=installed && exit\n' + rpm.format(folder=folder / name))
    own = {"folder": f"{folder}/{{{{ inventory_hostname }}}}"}
    cases = {name: {"between": between, "then": then} for name, (between, then, _new) in CERTIFICATES.items()}
    done = run_in(folder, {"all": {"vars": {**LOCAL, **own}, "children": {
        "certificates": {"hosts": cases}, "sites": {"hosts": dict.fromkeys(SITES, {})},
        "servers": {"hosts": dict.fromkeys(SERVERS, {})}}}}, PLAY)  # fmt: skip
    assert done.returncode == 0, done.output[-5000:]
    return folder


@pytest.mark.parametrize("name", CERTIFICATES)
def test_certificate_of_an_authority_is_made_anew_where_it_has_to_be(folder, name):
    _between, then, new = CERTIFICATES[name]
    own = folder / name
    assert (own.joinpath("served.pem").read_text() != own.joinpath("first.pem").read_text()) == new
    openssl("verify", "-CAfile", folder / then, own / "served.pem")
    assert openssl("x509", "-in", own / "served.pem", "-noout", "-pubkey") == openssl("pkey", "-in", own / "served.key", "-pubout")
    assert own.joinpath("served.pem").read_text().endswith((folder / then).read_text())


@pytest.mark.parametrize("name", SITES)
def test_default_site_goes_as_it_came_and_stays_where_somebody_uses_it(folder, name):
    assert (folder / name / "site").exists() != SITES[name][2]


@pytest.mark.parametrize("name", SERVERS)
def test_default_server_goes_as_it_came_and_the_rest_of_the_file_stays(folder, name):
    assert (folder / name / "nginx.conf").read_text() == NGINX_CONF % ("\n" if SERVERS[name][1] else SERVER)
    # For uninstall.yml, as it was.
    kept = folder / name / "before/nginx.conf"
    assert (kept.read_text() if kept.exists() else None) == (NGINX_CONF % SERVER if SERVERS[name][1] else None)
