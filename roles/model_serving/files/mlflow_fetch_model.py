"""Runs before a model is served: its files are on this host.

They are fetched once, and their digests noted. After that a restart needs no registry and serves the same bytes as before: files that are not what
was fetched are fetched anew.
"""
import hashlib
import json
import os
import shutil
import sys

DIGESTS = ".digests.json"


def digest(path):
    found = hashlib.sha256()
    with open(path, "rb") as stream:
        for part in iter(lambda: stream.read(1 << 20), b""):
            found.update(part)
    return found.hexdigest()


def digests(folder):
    paths = [os.path.join(place, name) for place, _folders, names in os.walk(folder) for name in names]
    return {os.path.relpath(path, folder): digest(path) for path in sorted(paths)}


def damage(folder):
    """What is wrong with the files, or an empty text. What has come in addition does no harm: Python keeps its byte code there."""
    try:
        with open(os.path.join(os.path.dirname(folder), DIGESTS), encoding="utf-8") as stream:
            fetched = json.load(stream)
    except (OSError, ValueError):
        return "what was fetched is not known"
    for name, expected in fetched.items():
        try:
            if digest(os.path.join(folder, name)) != expected:
                return f"{name} is not as it was fetched"
        except OSError as exc:
            return f"{name} cannot be read ({exc.strerror})"
    return ""


def location(uri, registry):
    """Where the registry says that the files are. By a path that MLflow 1, 2 and 3 have: a client of 1 takes one that the others lack."""
    import requests

    name, _slash, version = uri[len("models:/"):].rpartition("/")
    username, password, token, authority, insecure = (os.environ.get("MLFLOW_TRACKING_" + variable) for variable in (
        "USERNAME", "PASSWORD", "TOKEN", "SERVER_CERT_PATH", "INSECURE_TLS"))
    answer = requests.get(
        registry.rstrip("/") + "/api/2.0/mlflow/model-versions/get-download-uri",
        params={"name": name, "version": version},
        auth=(username, password) if username else None,
        headers={"Authorization": "Bearer " + token} if token and not username else {},
        verify=False if insecure == "true" else authority or True,
        cert=os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH"),
        timeout=120,
    )
    answer.raise_for_status()
    return answer.json()["artifact_uri"]


def fetch(uri, wanted, registry):
    # Slow, and not needed when the files are there.
    from mlflow.artifacts import download_artifacts

    home = os.path.dirname(wanted)
    partial = os.path.join(home, ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    os.mkdir(partial)
    files = download_artifacts(artifact_uri=location(uri, registry), dst_path=partial)
    # The home is this instance's alone, and what else lies in it is damaged or of a version that it does not serve any more. It goes when
    # there is better.
    for entry in list(os.scandir(home)):
        if entry.path == partial:
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
    with open(os.path.join(home, DIGESTS), "w", encoding="utf-8") as stream:
        json.dump(digests(files), stream)
    # A directory with this name is complete.
    os.rename(files, wanted)
    shutil.rmtree(partial, ignore_errors=True)


def main():
    wanted, uri, registry = (os.environ[name] for name in ("SERVED_MODEL_DIR", "SERVED_MODEL_URI", "MLFLOW_TRACKING_URI"))
    damaged = damage(wanted) if os.path.exists(wanted) else ""
    if os.path.exists(wanted) and not damaged:
        return
    if damaged:
        print(f"The files of the model in {wanted} are damaged: {damaged}. They are fetched anew.", flush=True)
    print(f"Fetching {uri} from {registry}.", flush=True)
    try:
        fetch(uri, wanted, registry)
    except Exception as exc:
        sys.exit(f"{uri} could not be fetched from {registry} to {wanted}: {type(exc).__name__}: {exc}")


if __name__ == "__main__":
    main()
