"""Logs runs until a file appears: metrics with steps, odd values, long ones, params, tags, nested runs, artifacts, versions of a model.

    log_runs.py TRACKING_URI LEAST_RUNS END_FILE [MEGABYTES]    with them: one more artifact, of that size
"""

import math
import os
import sys
import tempfile

import mlflow
from mlflow.tracking import MlflowClient


def log(number, folder):
    with mlflow.start_run(run_name=f"run {number}"):
        mlflow.log_params({"depth": number, "text": f"ä'\"\\ {number}", "long": "x" * 500})
        mlflow.set_tags({"odd": number % 2, "note": f"line one\nline two {number}", "long": "ü" * 4000})
        for step in range(5):
            mlflow.log_metric("loss", 1 / (number + step + 1), step=step)
        for value in (math.nan, math.inf, -math.inf):
            mlflow.log_metric("odd one", value, step=-1)
        path = os.path.join(folder, f"file {number}.bin")
        with open(path, "wb") as file:
            file.write(os.urandom(1000 + number))
        mlflow.log_artifact(path, "outputs/of it")
        with mlflow.start_run(nested=True):
            mlflow.log_metric("inner", number)


def log_large(megabytes, folder):
    path = os.path.join(folder, "large.bin")
    with open(path, "wb") as file:
        for _number in range(megabytes):
            file.write(os.urandom(1 << 20))
    with mlflow.start_run(run_name="large"):
        mlflow.log_artifact(path)
    os.unlink(path)


def main():
    uri, least, end = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("backed up")
    number = 0
    with tempfile.TemporaryDirectory() as folder:
        if sys.argv[4:]:
            log_large(int(sys.argv[4]), folder)
        while number < least or (end != "-" and not os.path.exists(end)):
            log(number, folder)
            number += 1
    client = MlflowClient()
    experiment = client.get_experiment_by_name("backed up")
    if not client.search_registered_models(filter_string="name = 'kept'"):
        client.create_registered_model("kept", tags={"team": "risk"}, description="A model")
    run = client.search_runs([experiment.experiment_id], max_results=1)[0]
    version = client.create_model_version("kept", run.info.artifact_uri + "/outputs", run.info.run_id)
    client.transition_model_version_stage("kept", version.version, "Staging")
    print(number)


if __name__ == "__main__":
    main()
