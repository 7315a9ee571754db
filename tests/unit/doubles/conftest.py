import sys
from pathlib import Path

import pytest
import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "doubles"))


class Client:
    """Plain HTTP against a double: no redirects followed, no proxy, short time-outs."""

    def __init__(self, url):
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False

    def __call__(self, method, path, **options):
        options.setdefault("allow_redirects", False)
        options.setdefault("timeout", 5)
        return self.session.request(method, self.url + path, **options)


@pytest.fixture
def double():
    """Starts doubles: double(switch=value, ...) -> (server, client); all are stopped at the end."""
    from sparkflows_server import SparkflowsServer

    running = []

    def start(**switches):
        server = SparkflowsServer(**switches).start()
        running.append(server)
        return server, Client(server.url)

    yield start
    for server in running:
        server.stop()
