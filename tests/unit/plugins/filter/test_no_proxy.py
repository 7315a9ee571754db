"""The site's own hosts are asked directly, whichever client asks."""

from __future__ import annotations

import urllib.request

import pytest
import requests.utils
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.no_proxy import no_proxy

HOSTS = ["localhost", "127.0.0.1", "::1", "https://MLflow.example.com:5000/path", "http://[2001:db8::11]:5000", "mlflow1", "", "192.0.2.7"]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:5000/x", "http://localhost/", "http://[::1]:5000/", "https://mlflow.example.com:5000/", "http://[2001:db8::11]:5001/",
            "http://mlflow1:15001/", "http://192.0.2.7:5001/"])
def test_clients_ask_the_sites_hosts_directly(monkeypatch, url):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert requests.utils.get_environ_proxies(url)
    for name, value in no_proxy({}, HOSTS).items():
        monkeypatch.setenv(name, value)
    assert requests.utils.get_environ_proxies(url) == {}
    assert urllib.request.proxy_bypass(url.split("/")[2])
    for other in ("https://s3.amazonaws.com/bucket", "http://example.com/"):
        assert requests.utils.get_environ_proxies(other) and not urllib.request.proxy_bypass(other.split("/")[2])


def test_what_is_there_already_stays():
    found = no_proxy({"A": "x", "no_proxy": " .corp.example.com, mlflow1", "NO_PROXY": None}, ["mlflow1"], ["10.0.0.0/8", ""])
    assert found == {"A": "x", **dict.fromkeys(("NO_PROXY", "no_proxy"), "mlflow1,10.0.0.0/8,.corp.example.com")}


def test_all_hosts_are_all_hosts():
    assert no_proxy({"no_proxy": "*"}, ["mlflow1"])["NO_PROXY"] == "*"
