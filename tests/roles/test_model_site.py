"""The sites that the role model_serving writes, in a real nginx on loopback, before a small program that answers as a model does."""

from __future__ import annotations

import base64
import contextlib
import getpass
import grp
import http.client
import http.server
import json
import os
import ssl
import threading
from pathlib import Path

import pytest
from playbook_run import LOCAL, run_in

ADDRESS = "127.0.0.4"
VARIABLES = {
    "mlops_address": ADDRESS,
    "mlops_serving_address": "balancer.example.com",
    "mlops_mlflow_url": "https://ml.example.com/mlflow",
    "model_serving_users": [{"name": "scoring", "password": "p-scoring"}],
    "model_serving_certificate": {"method": "provided", "names": ["*.models.example.com"]},
}
PLAY = """
- hosts: mlflow
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: sparkflows.mlops.model_serving, tasks_from: preflight, public: true}
    - sparkflows.mlops.mlops_files:
        files:
          - {owner: "{{ me }}", group: "{{ us }}", path: "{{ folder }}/served-models.htpasswd", content: "{{ _model_serving_site_files[0].content }}"}
          - {owner: "{{ me }}", group: "{{ us }}", path: "{{ folder }}/{{ item.name }}.conf", template: "{{ item.template }}",
             variables: "{{ item.variables }}"}
      loop: "{{ models | sparkflows.mlops.served_model_sites(_model_serving_names, _model_serving_site) }}"
"""


class Model(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[0.5]")

    def log_message(self, *_arguments):
        pass


@pytest.fixture(name="sites", scope="module")
def fixture_sites(tmp_path_factory, free_port, self_signed, run_nginx):
    """scheme -> the ports of two models of a host. All are served by one nginx, as on a host with many."""
    folder = tmp_path_factory.mktemp("models")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ports = {scheme: [free_port(), free_port()] for scheme in ("http", "https")}
        models = {scheme: [{"instance": f"m{port}", "slot": f"m{port}", "port": port, "port_private": server.server_port, "version": 1, "timeout": 30}
                           for port in found] for scheme, found in ports.items()}  # fmt: skip
        self_signed(folder, "served-models", ADDRESS)
        account = {"me": getpass.getuser(), "us": grp.getgrgid(os.getgid()).gr_name}
        variables = {**LOCAL, **VARIABLES, **account, "folder": str(folder), "role_path": str(Path(__file__).parents[2] / "roles/model_serving")}
        hosts = {f"m-{scheme}": {"mlops_serving_scheme": scheme, "models": found} for scheme, found in models.items()}
        done = run_in(folder, {"all": {"vars": variables, "children": {"mlflow": {"hosts": hosts}}}}, PLAY)
        assert done.returncode == 0, done.output[-3000:]
        sites = "".join(path.read_text() for path in sorted(folder.glob("model-*.conf")))
        (folder / "site.conf").write_text(sites.replace("/etc/nginx/mlops", str(folder)))
        with run_nginx(folder, ADDRESS, ports["https"][1]):
            yield ports
        server.shutdown()


@pytest.fixture(name="score", params=["http", "https"])
def fixture_score(request, sites):
    """score(**headers) -> status and text of the answers of the host's models, which are the same, and the address that was asked."""

    def score(method="POST", **headers):
        answers = set()
        for port in sites[request.param]:
            context = ssl._create_unverified_context()
            connect = http.client.HTTPSConnection if request.param == "https" else http.client.HTTPConnection
            options = {"context": context} if request.param == "https" else {}
            filled = {name: text.format(scheme=request.param, port=port, address=ADDRESS) for name, text in headers.items()}
            with contextlib.closing(connect(ADDRESS, port, timeout=20, **options)) as connection:
                connection.putrequest(method, "/invocations", skip_host="Host" in filled)
                login = base64.b64encode(b"scoring:p-scoring").decode()
                for name, text in {"Content-Length": "2", "Authorization": "Basic " + login, **filled}.items():
                    connection.putheader(name.replace("_", "-"), text)
                connection.endheaders(b"{}")
                answer = connection.getresponse()
                answers.add((answer.status, answer.read().decode()))
        assert len(answers) == 1, answers
        return answers.pop()

    score.host = f"m-{request.param}"
    return score


@pytest.mark.parametrize("name", ["{address}:{port}", "{address}", "ml.example.com", "balancer.example.com", "ML.example.com:{port}", "{host}:{port}",
                                  "{host}.", "localhost:{port}", "[2001:db8::1]:{port}", "[::1]", "192.0.2.1", "a.models.example.com"])  # fmt: skip
def test_names_that_clients_use(score, name):
    assert score(Host=name.replace("{host}", score.host)) == (200, "[0.5]")


@pytest.mark.parametrize("name", ["evil.example.com", "evil.example.com:{port}", "{host}.evil.example.com", "x{host}", "{address}.evil.example.com",
                                  "localhost.evil.example.com", "models.example.com", "_"])  # fmt: skip
def test_names_of_others(score, name):
    """A browser that was told another site's name has this address (DNS rebinding) holds both for the same site."""
    status, text = score(Host=name.replace("{host}", score.host))
    assert (status, json.loads(text)["error_code"]) == (421, "INVALID_PARAMETER_VALUE") and "model_serving_names" in text


@pytest.mark.parametrize("headers", [
    {"Origin": "https://evil.example.com"}, {"Origin": "null"}, {"Origin": "{scheme}://{address}"}, {"Origin": "{scheme}://{address}:{port}.evil.example.com"},
    {"Origin": "ftp://{address}:{port}"}, {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}])
def test_other_web_sites_cannot_use_a_browser_s_login(score, headers):
    status, text = score(**headers)
    assert (status, json.loads(text)["error_code"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize("headers", [
    {"Origin": "{scheme}://{address}:{port}"}, {"Origin": "{scheme}://ml.example.com:{port}", "Host": "ml.example.com:{port}"}, {"Origin": ""},
    {"Origin": "{scheme}://{address}:{port}", "Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"}])
def test_pages_of_its_own(score, headers):
    assert score(**headers) == (200, "[0.5]")


def test_without_a_name(sites):
    """HTTP 1.0, as checks of balancers speak it: no browser does."""
    with contextlib.closing(http.client.HTTPConnection(ADDRESS, sites["http"][0], timeout=20)) as connection:
        connection._http_vsn, connection._http_vsn_str = 10, "HTTP/1.0"
        connection.putrequest("GET", "/ping", skip_host=True)
        connection.endheaders()
        assert connection.getresponse().status == 401
