"""Keeps MLflow to its own artifact store. gunicorn loads this into each of its processes (--config).

MLflow reads, lists and deletes what the location of an experiment or the source of a model version names. It checks
these itself, but the checks of 1.30 have published holes, and 2.22 and 3.17 still take the locations of others: "#" and
"?" that hide "..", "//proc/self/root", "mlflow-artifacts:/..", percent signs that are decoded once more when something
is deleted. Here a URI is refused unless it is plain and lies below a known root - when it comes in, as MLflow itself
reads the request, and again when it is used, because it may have been in the database before. Paths of artifacts are
refused unless they are plain, and names that are no names. A search that would keep a thread busy for minutes is refused,
too. MLFLOW_GUARD_CLOSED names parts of newer ones that nobody here needs, and that would send requests of their own.
"""

import itertools
import json
import os
import re

import yaml

# What MLflow makes itself. Without a host: clients would send their login there.
OWN = r"mlflow-artifacts:/(?!/)"
# What MLflow's clients resolve. Sources of model versions only.
REFERENCES = r"(runs|models):/(?!/)"
# What each of MLflow's functions is given, and by which of its fields it makes a name or a place.
CREATING = {
    "_create_experiment": ("CreateExperiment", {"name": "name", "artifact_location": "location"}),
    "_update_experiment": ("UpdateExperiment", {"new_name": "name"}),
    "_create_registered_model": ("CreateRegisteredModel", {"name": "name"}),
    "_rename_registered_model": ("RenameRegisteredModel", {"new_name": "name"}),
    "_create_model_version": ("CreateModelVersion", {"source": "source"}),
}
# What reads a filter and an order. Each comparison and each order joins a table or compares once more, and the database is asked with all of them.
SEARCHING = {
    "_search_runs": "SearchRuns",
    "_search_experiments": "SearchExperiments",
    "_search_registered_models": "SearchRegisteredModels",
    "_search_model_versions": "SearchModelVersions",
    # Of MLflow 2 and 3.
    "_search_traces": "SearchTraces",
    "_search_traces_v3": "SearchTracesV3",
    "_search_logged_models": "SearchLoggedModels",
}
# Of words, signs and blanks in all: the time to read them grows with the square, and of nested ones with the cube.
MOST_WORDS = 1000
# Of the column in the database, which SQLite does not keep to.
LONGEST = {"name": 256, "location": 256, "source": 500}
LEADS_ELSEWHERE = "it has a character or a '..' that could lead elsewhere"


def odd(path):
    """Whether a path could mean another place than it seems to."""
    return bool(re.search(r"[\x00-\x1f\x7f%#?\\;]", path)) or ".." in path.split("/")


def refused(uri, roots, references=False):
    """Why a URI is not taken, or nothing."""
    if odd(uri):
        return LEADS_ELSEWHERE
    if re.match(OWN, uri) or (references and re.match(REFERENCES, uri)):
        return ""
    if any(uri == root.rstrip("/") or uri.startswith(root.rstrip("/") + "/") for root in roots):
        return ""
    return "it does not lie below the artifact store (mlflow_server_artifact_roots)"


def no_name(name):
    """Why a name is not taken, or nothing. The pages decode a percent sign: a second model would seem to be the first."""
    return "it has a control character or a percent-encoded one" if re.search(r"[\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}", name) else ""


def problem(kind, value, roots):
    """Why what a request has in a field is not taken, or nothing."""
    if len(value) > LONGEST[kind]:
        return f"it has {len(value)} characters, and {LONGEST[kind]} is the most"
    return no_name(value) if kind == "name" else refused(value, roots, references=kind == "source")


def costs(texts, orders, most, words):
    """Why a search is not taken, or nothing. words: makes (kind, word) of a text, as who reads it will, one after the other."""
    found = list(itertools.islice(itertools.chain.from_iterable(map(words, texts)), MOST_WORDS + 1))
    if len(found) > MOST_WORDS:
        return f"it has more than {MOST_WORDS} words and signs"
    # Kinds of sqlparse. Signs that are none of MLflow's cost as much before they are refused.
    terms = orders + sum(1 for kind, word in found if re.search(r"\.(Operator|Comment)\b", str(kind)) or word == ";" or word.upper() == "IN")
    return f"it has {terms} comparisons and orders, and {most} is the most (mlflow_server_search_terms)" if terms > most else ""


def programs(text):
    """Whether a file in YAML has what the pages would make a program of. What MLflow writes has no tags."""
    try:
        return any(isinstance(token, (yaml.TagToken, yaml.DirectiveToken)) for token in yaml.scan(text))
    except yaml.YAMLError:
        return True


def closed(path, parts, prefix=""):
    """The part of MLflow that a path leads to, if it is one of those that are closed."""
    path = path[len(prefix):] if prefix and path.startswith(prefix + "/") else path
    found = re.match(r"/+(ajax-)?api/+[0-9.]+/+mlflow/+(preview/+)?(.*)", path)
    words = re.sub("/+", "/", found.group(3)) + "/" if found else ""
    return next((part for part in parts if words.startswith(part + "/")), "")


def roots():
    return json.loads(os.environ["MLFLOW_GUARD_ROOTS"])


def post_worker_init(_worker):
    """gunicorn calls this before a process answers its first request. What is missing here ends the process, and with it the service."""
    from flask import abort, jsonify, make_response, request
    from mlflow.protos import model_registry_pb2, service_pb2
    from mlflow.server import app, handlers
    from sqlparse.lexer import tokenize

    known = roots()
    closed_parts = json.loads(os.environ.get("MLFLOW_GUARD_CLOSED") or "[]")
    prefix = os.environ.get("MLFLOW_STATIC_PREFIX") or ""
    most_terms = int(os.environ["MLFLOW_GUARD_SEARCH_TERMS"])

    def stop(what, why):
        answer = jsonify(error_code="INVALID_PARAMETER_VALUE", message=f"{what} is refused: {why}.")
        abort(make_response(answer, 400))

    def check(what, uri, references=False):
        why = refused(uri, known, references)
        if why:
            stop(what, why)

    def given(message):
        """What the request has, read as the handler reads it, so that both see the same."""
        message = getattr(service_pb2, message, None) or getattr(model_registry_pb2, message)
        return handlers._get_request_message(message())

    # What cannot be read is answered as the handler would answer it.
    @app.before_request
    @handlers.catch_mlflow_exception
    def check_request():
        part = closed(request.path, closed_parts, prefix)
        if part:
            abort(make_response(jsonify(error_code="PERMISSION_DENIED", message=f"{part} is closed here (MLFLOW_GUARD_CLOSED)."), 403))
        path = (request.view_args or {}).get("artifact_path", "")
        # Where a client has not encoded a name, "#" or "?" has cut it.
        if odd(path) or "#" in request.environ.get("RAW_URI", "") or (path and request.query_string):
            stop("The path of the artifact", LEADS_ELSEWHERE)
        if request.endpoint in CREATING:
            message, fields = CREATING[request.endpoint]
            creating = given(message)
            for field, kind in fields.items():
                value = getattr(creating, field)
                why = value and problem(kind, value, known)
                if why:
                    stop(field, why)
        if request.endpoint in SEARCHING:
            searching = given(SEARCHING[request.endpoint])
            orders = list(getattr(searching, "order_by", []))
            why = costs([searching.filter, *map(str, orders)], len(orders), most_terms, tokenize)
            if why:
                stop("The search", why)

    is_safe = handlers.validate_path_is_safe

    def checked_path(path):
        if odd(path):
            stop("The path of the artifact", LEADS_ELSEWHERE)
        # Newer ones go on with what this makes of the path.
        return is_safe(path)

    send_file = handlers.send_file

    def check_description(filename):
        if os.path.basename(filename) == "MLmodel":
            with open(filename, "rb") as file:
                if programs(file.read()):
                    stop("The file MLmodel", "it is no plain YAML, and the pages would run what is in it")

    def checked_file(filename, **options):
        # A trace is sent from memory.
        if isinstance(filename, str):
            check_description(filename)
        return send_file(filename, **options)

    handlers.validate_path_is_safe, handlers.send_file = checked_path, checked_file
    # How MLflow 3 sends what it has fetched from a store.
    send_fetched = getattr(handlers, "_create_temp_artifact_file_response", None)
    if send_fetched:

        def checked_fetched(file_path, *others, **options):
            check_description(file_path)
            return send_fetched(file_path, *others, **options)

        handlers._create_temp_artifact_file_response = checked_fetched
    get_repository, get_destination = handlers.get_artifact_repository, handlers._get_proxied_run_artifact_destination_path

    def checked_repository(artifact_uri):
        check("The location of the artifacts", artifact_uri, references=True)
        return get_repository(artifact_uri)

    def checked_destination(proxied_artifact_root, relative_path=None):
        check("The location of the artifacts", proxied_artifact_root)
        return get_destination(proxied_artifact_root=proxied_artifact_root, relative_path=relative_path)

    handlers.get_artifact_repository, handlers._get_proxied_run_artifact_destination_path = checked_repository, checked_destination
