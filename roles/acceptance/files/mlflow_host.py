"""What can only be seen on the MLflow host. Runs in the live release's Python, as root.

Questions as JSON on standard input, answers on standard output. Nothing stays: what the registry and the artifact
store are given is removed again. Names of environment variables are told, never a value.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import uuid

sys.dont_write_bytecode = True  # a release is not changed after it was made
# MLflow's client would try for minutes.
os.environ.update(GIT_PYTHON_REFRESH="quiet", MLFLOW_HTTP_REQUEST_TIMEOUT="20", MLFLOW_HTTP_REQUEST_MAX_RETRIES="1")


class Wrong(Exception):
    """The answer is not the wanted one."""


class NotAsked(Exception):
    """There is nothing to prove."""


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, check=False)
    return done.stdout.decode("utf-8", "replace")


def version_of(found, wanted, place):
    evidence = f"{found} in {place} ({os.path.realpath(place)})"
    if not (found.replace("_", ".") + ".").startswith(wanted + "."):
        raise Wrong(f"{evidence}, wanted {wanted}")
    return evidence, found


def java(home, wanted):
    text = run(os.path.join(home, "bin", "java"), "-version")
    return version_of((re.findall(r'version "([^"]+)"', text) or [text.strip()])[0], wanted, home)


def python(venv, wanted):
    return version_of(".".join(map(str, sys.version_info[:3])), wanted, venv)


def requirement(text):
    from packaging.requirements import Requirement  # one that MLflow brings

    return Requirement(text)


def package(text):
    try:
        from importlib import metadata
    except ImportError:  # Python 3.7; MLflow brings the backport
        import importlib_metadata as metadata
    needed = requirement(text)
    wanted = str(needed.specifier).replace("==", "") or "any version"
    try:
        found = metadata.version(needed.name)
    except metadata.PackageNotFoundError:
        raise Wrong(f"not installed, wanted {wanted}") from None
    if not needed.specifier.contains(found, prereleases=True):  # 3.36.1.2-1 is another way to write 3.36.1.2.post1
        raise Wrong(f"{found} is installed, wanted {wanted}")
    return f"{found} is installed, wanted {wanted}", found


def service(units, name):
    # A busy systemd may have left a part of the question without an answer.
    unit = units.get(name, {})
    if not unit.get("LoadState") or not unit.get("ActiveState"):
        raise Wrong(f"systemd does not say whether it runs; see systemctl status {name}")
    if unit["LoadState"] != "loaded":
        raise Wrong("there is no such unit")
    state, enabled = unit["ActiveState"], unit.get("UnitFileState", "unknown") or "not enabled"
    evidence = f"{state} ({unit.get('SubState', 'unknown')}) and {enabled}, {unit.get('NRestarts', 'unknown')} restarts by systemd"
    evidence += f", since {unit.get('ActiveEnterTimestamp', 'unknown')}" if state == "active" else ""
    if (state, enabled) != ("active", "enabled"):
        raise Wrong(f"{evidence}; see journalctl -u {name}")
    return evidence, ""


def credentials(units, name, wanted):
    if not wanted:
        raise NotAsked("no credentials of an artifact store are set (mlops_s3_access_key, mlops_s3_secret_key)")
    pid = units.get(name, {}).get("MainPID")
    if not pid:
        raise Wrong(f"{name} has no process")
    with open(f"/proc/{pid}/environ", "rb") as environ:
        names = {entry.partition(b"=")[0].decode("utf-8", "replace") for entry in environ.read().split(b"\0")}
    missing = sorted(set(wanted) - names)
    if missing:
        raise Wrong(f"process {pid} of {name} lacks {', '.join(missing)}")
    return f"process {pid} of {name} has {', '.join(sorted(wanted))}", ""


def health(url):
    # No proxy of the environment is asked for what is on this host.
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url + "/health", timeout=10) as answer:
        return f"GET {url}/health: {answer.status} {answer.read(100).decode('utf-8', 'replace').strip()}", ""


def registry(url):
    from mlflow.tracking import MlflowClient

    # The one for the artifact store may be wanted.
    direct = ",".join(filter(None, [os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), urllib.parse.urlsplit(url).hostname]))
    os.environ.update(no_proxy=direct, NO_PROXY=direct)
    client = MlflowClient(tracking_uri=url, registry_uri=url)
    name, start = "acceptance-probe-" + uuid.uuid4().hex, time.monotonic()
    client.create_registered_model(name, description="Removed again at once by the acceptance check")
    try:
        client.set_registered_model_tag(name, "probe", name)
        found = client.get_registered_model(name).tags
        if found != {"probe": name}:
            raise Wrong(f"wrote a tag and read back {found}")
    finally:
        client.delete_registered_model(name)
    if client.search_registered_models(f"name = '{name}'"):
        raise Wrong(f"{name} is still there after it was deleted")
    return f"made, tagged, read and deleted {name} in {time.monotonic() - start:.2f} s", ""


def borrow(units, unit, wanted):
    """Take over what a service's process knows of the artifact store. Handed over with the questions, it would be seen."""
    pid = units.get(unit, {}).get("MainPID")
    if not pid:
        raise Wrong(f"{unit} has no process")
    with open(f"/proc/{pid}/environ", "rb") as environ:
        entries = dict(entry.decode("utf-8", "surrogateescape").partition("=")[::2] for entry in environ.read().split(b"\0"))
    os.environ.update({key: entries[key] for key in wanted if key in entries})


def artifacts(url, units, unit, wanted):
    import mlflow
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    mlflow.set_tracking_uri(url)
    root = mlflow.tracking.MlflowClient().get_experiment("0").artifact_location.rstrip("/")
    # Without MLflow between, it is the credentials that Sparkflows registers models with.
    if root.startswith("s3:"):
        borrow(units, unit, wanted)
    name, start = "acceptance-probe-" + uuid.uuid4().hex, time.monotonic()
    repository = get_artifact_repository(f"{root}/{name}")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "probe.txt")
        with open(path, "w") as file:
            file.write(name)
        repository.log_artifact(path)
        try:
            os.remove(path)
            with open(repository.download_artifacts("probe.txt", folder)) as file:
                found = file.read()
            if found != name:
                raise Wrong(f"wrote {name!r} and read back {found!r}")
        finally:
            repository.delete_artifacts()
    return f"wrote, read and deleted {root}/{name}/probe.txt in {time.monotonic() - start:.2f} s", ""


def main():
    asked = json.load(sys.stdin)
    checks, versions = [], {}

    def record(name, work, *arguments):
        status = "failed"
        try:
            evidence, version = work(*arguments)
            status = "passed"
            if version:
                versions[name] = version
        except NotAsked as exc:
            status, evidence = "skipped", str(exc)
        except Wrong as exc:
            evidence = str(exc)
        except Exception as exc:  # whatever it is, it belongs into the report
            evidence = f"{type(exc).__name__}: {exc}"
        checks.append({"name": name, "status": status, "evidence": evidence})

    record("Java", java, asked["java_home"], asked["java"])
    record("Python", python, asked["venv"], asked["python"])
    for text in asked["packages"]:
        record("package " + requirement(text).name, package, text)
    units = asked["units"]
    for name in asked["services"]:
        record("service " + name, service, units, name)
    if asked["credentials_unit"]:
        record("store credentials in the Fire MLOps server's environment",
               credentials, units, asked["credentials_unit"], asked["credentials"])
    record("MLflow health", health, asked["mlflow_url"])
    record("registry round trip", registry, asked["mlflow_url"])
    record("artifact round trip", artifacts, asked["mlflow_url"], units, asked["store_unit"], asked["credentials"])
    return {"checks": checks, "versions": versions}


if __name__ == "__main__":
    print(json.dumps(main()))
