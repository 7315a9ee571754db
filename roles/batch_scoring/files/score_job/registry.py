"""The registered version that is meant, and its files on this host."""

import glob
import hashlib
import os
import shutil
import sys
from urllib.parse import quote

from .csv_files import BadInput

STAGES = ("None", "Staging", "Production", "Archived")


def resolve(client, name, wanted):
    """The registered version that a version number or a stage means."""
    from mlflow.exceptions import MlflowException

    try:
        if wanted.isdigit():
            found = client.get_model_version(name, wanted)
        else:
            stage = {stage.lower(): stage for stage in STAGES}.get(wanted.lower())
            if stage is None:
                raise BadInput("%r is neither a version nor a stage: set batch_scoring_model_version to a number or to one of %s."
                               % (wanted, ", ".join(STAGES)))
            newest = client.get_latest_versions(name, [stage])
            if not newest:
                have = ", ".join("%s (%s)" % (one.version, one.current_stage) for one in client.search_model_versions("name='%s'" % name))
                raise BadInput("No version of the model %s is in stage %s; there are: %s." % (name, stage, have or "none"))
            found = newest[0]
    except MlflowException as exc:
        raise BadInput("The registry at %s: %s" % (os.environ.get("MLFLOW_TRACKING_URI"), exc.message)) from exc
    if found.status != "READY":
        raise BadInput("Version %s of the model %s is not ready, but %s." % (found.version, name, found.status))
    return found


def checksum(directory):
    """One digest of all files below a directory, names and contents."""
    digest = hashlib.sha256()
    names = sorted(os.path.relpath(os.path.join(place, name), directory) for place, _dirs, names in os.walk(directory) for name in names)
    for name in names:
        with open(os.path.join(directory, name), "rb") as stream:
            content = hashlib.sha256()
            for part in iter(lambda stream=stream: stream.read(1 << 20), b""):
                content.update(part)
        digest.update(("%s  %s\n" % (content.hexdigest(), name)).encode())
    return digest.hexdigest()


def is_as_fetched(path, noted):
    try:
        with open(noted, encoding="ascii") as stream:
            expected = stream.read()
    except OSError:
        return False
    if os.path.exists(path) and checksum(path) != expected:
        print("The files of the model in %s are not as they were fetched; they are fetched anew." % path, file=sys.stderr)
        return False
    return os.path.exists(path)


def fetch(name, found, home):
    """The version's files on this host; they are fetched once, anew where they are not what was fetched, and those of other versions removed."""
    from mlflow.artifacts import download_artifacts

    prefix = quote(name, safe="") + "@"
    wanted = os.path.join(home, "%s%s-%s" % (prefix, found.version, found.creation_timestamp))
    # Not one of the names that are removed below.
    noted = os.path.join(home, "." + os.path.basename(wanted) + ".sha256")
    if not is_as_fetched(wanted, noted):
        shutil.rmtree(wanted, ignore_errors=True)
        partial = os.path.join(home, ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        os.makedirs(partial)
        files = download_artifacts(artifact_uri="models:/%s/%s" % (name, found.version), dst_path=partial)
        with open(noted, "w", encoding="ascii") as stream:
            stream.write(checksum(files))
        os.rename(files, wanted)
        shutil.rmtree(partial, ignore_errors=True)
        for other in glob.glob(os.path.join(home, glob.escape(prefix) + "*")):
            if other != wanted:
                shutil.rmtree(other)
        for other in glob.glob(os.path.join(home, "." + glob.escape(prefix) + "*")):
            if other != noted:
                os.unlink(other)
    return wanted
