"""MLflow and what writes there, stopped and started; and what MLflow answers."""

import hashlib
import json
import subprocess
import time
from urllib.error import URLError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

from .problems import Problem

MLFLOW = "mlflow.service"
# In this order they are stopped. Served models have files of their own, and go on.
WRITERS = ("mlflow-gc.timer", "mlflow-gc.service", "fire-mlops-server.service", MLFLOW)
# A run of it is not begun anew.
ONCE = ("mlflow-gc.service",)
PAGE = 1000
# Each of them loads its content into memory here.
SAMPLE = 10 << 20


def systemctl(*arguments, check=True):
    done = subprocess.run(["systemctl", *arguments], check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if check and done.returncode:
        raise Problem(f"systemctl {' '.join(arguments)} says: {' '.join(done.stdout.split())}")
    return done.stdout


def running():
    """Those that run, or that systemd is about to start."""
    shown = systemctl("show", "--property=ActiveState", "--value", *WRITERS, check=False).split()
    return [unit for unit, state in zip(WRITERS, shown) if state in ("active", "activating", "reloading")]


def stop():
    # An error is what it says of those that this host has not got.
    systemctl("stop", *WRITERS, check=False)
    left = running()
    if left:
        raise Problem(f"{' and '.join(left)} could not be stopped.")


def start(units):
    units = [unit for unit in reversed(WRITERS) if unit in units and unit not in ONCE]
    if units:
        systemctl("reset-failed", *units, check=False)
        systemctl("start", *units)


class Server:
    """MLflow as it answers on this host."""

    def __init__(self, url):
        self.url = url.rstrip("/")
        self.opener = build_opener(ProxyHandler({}))

    def get(self, path, data=None):
        request = Request(self.url + path, None if data is None else json.dumps(data).encode(), {"Content-Type": "application/json"})
        with self.opener.open(request, timeout=300) as response:
            return response.read()

    def wait(self, timeout):
        """Health alone would be said without the database."""
        end = time.monotonic() + timeout
        while True:
            try:
                return self.get("/api/2.0/mlflow/registered-models/search?max_results=1")
            except (URLError, OSError) as exc:
                if time.monotonic() > end:
                    raise Problem(f"MLflow does not answer within {timeout} seconds ({exc}); journalctl -u mlflow says more.") from None
                time.sleep(0.2)

    def pages(self, path, name, data=None):
        token = ""
        while True:
            query = {"max_results": PAGE, **({"page_token": token} if token else {})}
            answer = json.loads(self.get(path, {**data, **query}) if data is not None else self.get(f"{path}?{urlencode(query)}"))
            yield from answer.get(name, [])
            token = answer.get("next_page_token", "")
            if not token:
                return

    def content(self):
        """Names of all experiments, runs and models, as scratch.content has them of a database."""
        root = "/api/2.0/mlflow/"
        experiments = [one["experiment_id"] for one in self.pages(root + "experiments/search", "experiments", {"view_type": "ALL"})]
        runs = [run["info"]["run_id"] for one in experiments
                for run in self.pages(root + "runs/search", "runs", {"experiment_ids": [one], "run_view_type": "ALL"})]
        models = [one["name"] for one in self.pages(root + "registered-models/search", "registered_models")]
        return {"experiments": experiments, "runs": runs, "registered_models": models}

    def artifact(self, path):
        return checksum(self.get("/api/2.0/mlflow-artifacts/artifacts/" + quote(path)))


def checksum(data):
    return hashlib.sha256(data).hexdigest()


def prove(server, content, samples):
    """MLflow answers with all that there has to be. More is no fault: who logs runs may be quick."""
    try:
        found = server.content()
        for name, wanted in content.items():
            missing = sorted(set(wanted) - set(found[name]))
            if missing:
                raise Problem(f"MLflow answers without {len(missing)} of {len(wanted)} {name}, for example {missing[0]}.")
        for path, digest in samples.items():
            if server.artifact(path) != digest:
                raise Problem(f"MLflow answers with another content of the artifact {path} than it has to.")
    except (URLError, OSError, ValueError) as exc:
        raise Problem(f"MLflow cannot be asked for what was restored: {exc}") from None


def is_sample(name, size):
    """Not much, but something. Of plain names: MLflow's guard refuses odd ones."""
    plain = name.replace("/", "").replace("_", "").replace(".", "")
    return 0 < size < SAMPLE and plain.isalnum() and name.isascii() and ".." not in name


def samples_of(members):
    """The smallest artifacts of an archive, by name."""
    found = [(one["size"], name) for name, one in members.items()
             if name.startswith("artifacts/") and is_sample(name, one["size"])]
    return {name[len("artifacts/"):]: members[name]["sha256"] for _size, name in sorted(found)[:3]}
