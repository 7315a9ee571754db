"""Keeps MLflow 1.30 to its own artifact store. gunicorn loads this into each of its processes (--config).

MLflow reads, lists and deletes what the location of an experiment or the source of a model version names. It checks
these itself, but its checks have published holes: "#" and "?" that hide "..", "//proc/self/root", "mlflow-artifacts:/..",
percent signs that are decoded once more when something is deleted. Here a URI is refused unless it is plain and lies
below a known root - when it comes in, as MLflow itself reads the request, and again when it is used, because it may have
been in the database before.
"""

import json
import os
import re

# What MLflow makes itself. Without a host: clients would send their login there.
OWN = r"mlflow-artifacts:/(?!/)"
# What MLflow's clients resolve. Sources of model versions only.
REFERENCES = r"(runs|models):/(?!/)"
CREATING = {"_create_experiment": ("CreateExperiment", "artifact_location"), "_create_model_version": ("CreateModelVersion", "source")}


def odd(path):
    """Whether a path could mean another place than it seems to."""
    return bool(re.search(r"[\x00-\x1f\x7f%#?\\;]", path)) or ".." in path.split("/")


def refused(uri, roots, references=False):
    """Why a URI is not taken, or nothing."""
    if odd(uri):
        return "it has a character or a '..' that could lead elsewhere"
    if re.match(OWN, uri) or (references and re.match(REFERENCES, uri)):
        return ""
    if any(uri == root.rstrip("/") or uri.startswith(root.rstrip("/") + "/") for root in roots):
        return ""
    return "it does not lie below the artifact store (mlflow_server_artifact_roots)"


def roots():
    return json.loads(os.environ["MLFLOW_GUARD_ROOTS"])


def post_worker_init(_worker):
    """gunicorn calls this before a process answers its first request. What is missing here ends the process, and with it the service."""
    from flask import abort, jsonify, make_response, request
    from mlflow.protos import model_registry_pb2, service_pb2
    from mlflow.server import app, handlers

    known = roots()

    def stop(what, why):
        answer = jsonify(error_code="INVALID_PARAMETER_VALUE", message=f"{what} is refused: {why}.")
        abort(make_response(answer, 400))

    def check(what, uri, references=False):
        why = refused(uri, known, references)
        if why:
            stop(what, why)

    @app.before_request
    def check_request():
        path = (request.view_args or {}).get("artifact_path", "")
        if odd(path):
            stop("The path of the artifact", "it has a character or a '..' that could lead elsewhere")
        if request.endpoint in CREATING:
            kind, field = CREATING[request.endpoint]
            kind = getattr(service_pb2, kind, None) or getattr(model_registry_pb2, kind)
            # Read as the handler reads it, so that both see the same.
            uri = getattr(handlers._get_request_message(kind()), field)
            if uri:
                check(field, uri, references=field == "source")

    get_repository, get_destination = handlers.get_artifact_repository, handlers._get_proxied_run_artifact_destination_path

    def checked_repository(artifact_uri):
        check("The location of the artifacts", artifact_uri, references=True)
        return get_repository(artifact_uri)

    def checked_destination(proxied_artifact_root, relative_path=None):
        check("The location of the artifacts", proxied_artifact_root)
        return get_destination(proxied_artifact_root=proxied_artifact_root, relative_path=relative_path)

    handlers.get_artifact_repository, handlers._get_proxied_run_artifact_destination_path = checked_repository, checked_destination
