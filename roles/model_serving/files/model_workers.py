"""gunicorn reads this when a model is served; with uvicorn it is model_app.py that does. A worker whose Java process has died ends, too, and another
one starts.

A Spark or H2O model works in a Java process beside the worker. Without it the worker answers every request with an error, for
ever, and looks healthy: its /ping is 200.

A request with very many columns is refused before pandas sees it: half a megabyte of them kept a worker busy for minutes, and nobody else was
answered. SERVED_MODEL_MAX_COLUMNS says how many a request may have.

A model of Sparkling Water (H2O in Spark) has the Java that it needs, which MLflow does not give to it.
"""
import csv
import glob
import importlib
import importlib.util
import io
import json
import os
import signal
import sys
import threading
import time

INTERVAL = 0.5
# What lives shorter is a tool that the model has called, and not where it works.
SETTLED = 10
# More columns than the model's signature names, and columns where there is no signature.
MORE_COLUMNS = 1000
COLUMNS_WITHOUT_SIGNATURE = 10000
# MLflow 3 takes it, too.
PARQUET = "application/vnd.apache.parquet"
csv.field_size_limit(sys.maxsize)


def java_children():
    """The process ids of this worker's Java processes, without those that have died and not been waited for."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stream:
                    head, tail = stream.read().rsplit(")", 1)
            except OSError:  # it has ended meanwhile
                continue
            state, parent = tail.split()[:2]
            if int(parent) == os.getpid() and state != "Z" and head.split("(", 1)[1] == "java":
                found.add(int(name))
    return found


def watch(worker, needed):
    """needed: what was there when the model had been loaded."""
    since = {}
    while True:
        # Looking through all processes takes time from a model that has no Java.
        time.sleep(INTERVAL if needed or since else SETTLED / 2)
        alive, now = java_children(), time.monotonic()
        dead = needed - alive
        if dead:
            worker.log.error("Java process %s of the model has died, so this worker ends, too.", ", ".join(map(str, sorted(dead))))
            # Nothing that the worker could still finish is worth having.
            os.kill(os.getpid(), signal.SIGKILL)
        since = {process: since.get(process, now) for process in alive}
        needed = needed | {process for process, seen in since.items() if now - seen >= SETTLED}


def most_columns():
    given = os.environ.get("SERVED_MODEL_MAX_COLUMNS")
    if given:
        return int(given)
    import yaml

    with open(os.path.join(os.environ["SERVED_MODEL_DIR"], "MLmodel"), encoding="utf-8") as stream:
        inputs = json.loads((yaml.safe_load(stream).get("signature") or {}).get("inputs") or "[]")
    return len(inputs) + MORE_COLUMNS if inputs and inputs[0].get("type") != "tensor" else COLUMNS_WITHOUT_SIGNATURE


def names(value):
    """Of a table as columns by their names, or as a list of records."""
    records = [value] if isinstance(value, dict) else value if isinstance(value, list) else []
    return len(set().union(*(record for record in records if isinstance(record, dict))))


def width(table):
    """Of columns and data, as pandas splits a table."""
    rows = table.get("data") if isinstance(table.get("data"), list) else []
    return max([names(table.get("data"))] + [len(row) for row in [table.get("columns"), *rows] if isinstance(row, list)])


def columns(kind, body):
    """How many columns pandas would make of a request. What is none is told by MLflow."""
    if kind.startswith("text/csv"):
        rows = csv.reader(io.StringIO(body.decode("utf-8", "replace"), newline=""))
        # A first row that is longer than the header makes columns, too.
        try:
            return max([len(row) for row, _line in zip(filter(None, rows), range(2))] or [0])
        except csv.Error:
            return 0
    if kind.startswith(PARQUET):
        try:
            return importlib.import_module("pyarrow.parquet").read_metadata(io.BytesIO(body)).num_columns
        except (OSError, ValueError):
            return 0
    try:
        data = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return 0
    if not isinstance(data, dict):
        return names(data)
    split = data.get("dataframe_split")
    found = [names(data.get(key)) for key in ("inputs", "instances", "dataframe_records")]
    return max([*found, width(data), width(split if isinstance(split, dict) else {})])


def refusal(kind, body, most):
    """What is answered to a request that has too many columns, and None to others."""
    # Fewer commas cannot make too many columns, and most requests are not read twice.
    found = columns(kind, body) if body.count(b",") >= most or kind.startswith(PARQUET) else 0
    if found <= most:
        return None
    message = f"The request has {found} columns, and this model takes {most} at most (SERVED_MODEL_MAX_COLUMNS)."
    return json.dumps({"error_code": "BAD_REQUEST", "message": message}).encode()


class Narrow:
    """A WSGI application before the model's."""

    def __init__(self, application, most):
        self.application, self.most = application, most

    def __call__(self, environ, start_response):
        if environ["REQUEST_METHOD"] == "POST":
            body = environ["wsgi.input"].read()
            environ["wsgi.input"] = io.BytesIO(body)
            refused = refusal(environ.get("CONTENT_TYPE", ""), body, self.most)
            if refused:
                start_response("400 BAD REQUEST", [("Content-Type", "application/json")])
                return [refused]
        return self.application(environ, start_response)


def give_sparkling_water(environment):
    """Puts the jar of Sparkling Water, which lies in its Python package, before a model's Spark starts, on the class path of its Java.

    Of models that have stages of it only: the jar has other versions of some libraries of Spark. Without it Java knows no class of theirs.
    """
    for stage in glob.glob(os.path.join(glob.escape(environment["SERVED_MODEL_DIR"]), "**", "metadata", "part-*"), recursive=True):
        with open(stage, encoding="utf-8") as stream:
            needed = "ai.h2o.sparkling" in stream.read()
        package = importlib.util.find_spec("sparkling_water") if needed else None
        if package:
            (jar,) = glob.glob(os.path.join(glob.escape(package.submodule_search_locations[0]), "*.jar"))
            # What pyspark starts Java with, in front of what the site has set.
            environment["PYSPARK_SUBMIT_ARGS"] = f"--driver-class-path {jar} {environment.get('PYSPARK_SUBMIT_ARGS', 'pyspark-shell')}"
            return


def on_starting(_server):
    give_sparkling_water(os.environ)


def post_worker_init(worker):
    # It lies beside this file.
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    importlib.import_module("model_requests").quicken(worker.log, sys.modules)
    worker.wsgi = Narrow(worker.wsgi, most_columns())
    threading.Thread(target=watch, args=(worker, java_children()), daemon=True).start()
