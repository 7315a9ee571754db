"""Runs `mlflow gc`: runs and experiments that were deleted longer ago than MLFLOW_GC_OLDER_THAN are removed for good, with their artifacts.

MLflow's own command wants the URI of the database on its command line, which is public; here it comes from the environment. And it deletes what a run
names as the place of its artifacts: as in the server itself, that has to lie below a known root (mlflow_guard.py).
"""
import os
import sys

import mlflow_guard


def main():
    from mlflow import cli

    roots, find = mlflow_guard.roots(), cli.get_artifact_repository

    def checked(uri):
        why = mlflow_guard.refused(uri, roots)
        if why:
            sys.exit(f"The artifacts of a deleted run are in {uri}, and are not removed: {why}. This run and what comes after it is left; restore "
                     "the run (mlflow runs restore), or remove it by hand.")
        return find(uri)

    cli.get_artifact_repository = checked
    cli.gc.main(["--older-than", os.environ["MLFLOW_GC_OLDER_THAN"], "--backend-store-uri", os.environ["MLFLOW_BACKEND_STORE_URI"]],
                standalone_mode=False)
    print("Nothing else was deleted longer ago than that.", flush=True)


if __name__ == "__main__":
    main()
