"""A double of the API of AWX 24.6.1, as far as the modules of awx.awx use it for the objects of this collection.

Field rules are those that AWX publishes (fields.json), rules across fields those that it was seen to apply. README.md says which is which.
"""

from __future__ import annotations

import argparse
import dataclasses
import http.server
import json
import threading
from pathlib import Path

from sparkflows_server.server import until_told_to_stop

from .handler import Handler
from .kinds import RESOURCES
from .settings import Settings
from .store import Store

__all__ = ["RESOURCES", "AwxApi", "Settings", "main"]


class AwxApi:
    """AwxApi(switch=value, ...).start(): the double, in this process. `requests` has what was asked for."""

    def __init__(self, settings=None, **switches):
        self.settings = dataclasses.replace(settings or Settings(), **switches)
        self.store = Store(self.settings)
        self.lock = threading.Lock()
        self.requests = []
        self.count_lock = threading.Lock()
        self.at_a_time = self.most_at_a_time = 0
        self.http = http.server.ThreadingHTTPServer((self.settings.address, self.settings.port), Handler)
        self.http.daemon_threads = True
        self.http.api = self
        self.url = f"http://{self.settings.address}:{self.http.server_address[1]}"

    def note(self, method, path, status, body):
        self.requests.append({"method": method, "path": path, "status": status, "body": body})

    def start(self):
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self):
        self.http.shutdown()
        self.http.server_close()

    # ---- for tests
    def named(self, kind, name):
        """The stored object, secrets included."""
        return next(one for one in self.store.objects[kind].values() if one.get("name", one.get("identifier")) == name)

    def names(self, kind):
        return sorted(one.get("name") or one.get("identifier") for one in self.store.objects[kind].values() if not one.get("managed"))


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="awx_api", description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="JSON file with switches")
    options = parser.parse_args(arguments)
    api = AwxApi(Settings(**json.loads(Path(options.config).read_text(encoding="utf-8")))).start()
    print(f"listening on {api.url}", flush=True)
    until_told_to_stop()
    api.stop()


if __name__ == "__main__":
    main()
