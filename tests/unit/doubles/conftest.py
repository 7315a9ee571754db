import pytest
import requests
from sparkflows_server import SparkflowsServer


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
    running = []

    def start(**switches):
        server = SparkflowsServer(**switches).start()
        running.append(server)
        return server, Client(server.url)

    yield start
    for server in running:
        server.stop()
