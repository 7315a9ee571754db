"""Runs before a model is served: its files are on this host.

They are fetched once. After that a restart needs no registry, and serves the same bytes as before.
"""
import os
import shutil


def main():
    wanted = os.environ["SERVED_MODEL_DIR"]
    if os.path.exists(wanted):
        return
    # Slow, and not needed when the files are there.
    from mlflow.artifacts import download_artifacts

    home = os.path.dirname(wanted)
    # The home is this instance's alone, and what else lies in it is of a version that it does not serve any more.
    for entry in list(os.scandir(home)):
        shutil.rmtree(entry.path)
    partial = os.path.join(home, ".partial")
    os.mkdir(partial)
    uri = os.environ["SERVED_MODEL_URI"]
    print(f"Fetching {uri} from {os.environ['MLFLOW_TRACKING_URI']}.", flush=True)
    files = download_artifacts(artifact_uri=uri, dst_path=partial)
    # A directory with this name is complete.
    os.rename(files, wanted)
    shutil.rmtree(partial, ignore_errors=True)


if __name__ == "__main__":
    main()
