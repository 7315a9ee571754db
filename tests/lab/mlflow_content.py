"""All that an MLflow knows, as JSON: experiments, runs with every value of every metric, artifacts with their checksums, models. Runs in the lab.

    mlflow_content.py TRACKING_URI
"""

import hashlib
import json
import os
import sys
import tempfile

from mlflow.entities import ViewType
from mlflow.tracking import MlflowClient


def artifacts(client, run, folder, path=None):
    for entry in client.list_artifacts(run.info.run_id, path):
        if entry.is_dir:
            yield from artifacts(client, run, folder, entry.path)
        else:
            with open(client.download_artifacts(run.info.run_id, entry.path, folder), "rb") as file:
                yield entry.path, hashlib.sha256(file.read()).hexdigest()


def content_of(client, run):
    metrics = {name: [[one.value, one.step, one.timestamp] for one in client.get_metric_history(run.info.run_id, name)] for name in run.data.metrics}
    with tempfile.TemporaryDirectory() as folder:
        return {
            "info": {key: value for key, value in dict(run.info).items() if key != "artifact_uri"},
            "params": run.data.params,
            "tags": run.data.tags,
            # As texts, for NaN is neither less nor more.
            "metrics": {name: sorted(values, key=str) for name, values in metrics.items()},
            "artifacts": dict(artifacts(client, run, folder)),
        }


def main():
    client = MlflowClient(sys.argv[1])
    content = {"experiments": {}, "runs": {}, "models": {}}
    for experiment in client.search_experiments(ViewType.ALL):
        content["experiments"][experiment.experiment_id] = [experiment.name, experiment.lifecycle_stage, experiment.tags]
        token = None
        while True:
            page = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL, page_token=token)
            content["runs"].update((run.info.run_id, content_of(client, run)) for run in page)
            token = page.token
            if not token:
                break
    for model in client.search_registered_models():
        versions = client.search_model_versions(f"name='{model.name}'")
        content["models"][model.name] = {
            "tags": model.tags,
            "description": model.description,
            # They came with 2.3.
            "aliases": getattr(model, "aliases", {}),
            "versions": {one.version: [one.current_stage, one.source, one.run_id, one.status, one.tags, one.description] for one in versions},
        }
    json.dump(content, sys.stdout, default=str)


os.environ["MLFLOW_TRACKING_URI"] = sys.argv[1]
main()
