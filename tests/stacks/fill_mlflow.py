"""Fills an MLflow with what an upgrade has to keep: odd values, nested and deleted runs, deleted experiments, versions in all stages.

    fill_mlflow.py TRACKING_URI RUNS [runs]    with runs: no models, which clients of 1.30 cannot register with a server of 3
"""

import sys
import tempfile
from pathlib import Path

import mlflow
from mlflow.tracking import MlflowClient

sys.path.insert(0, str(Path(__file__).parents[1] / "lab"))
from log_runs import log  # noqa: E402 - its folder is known only now

STAGES = ["Archived", "Staging", "Production", "None"]


def main():
    uri, number = sys.argv[1], int(sys.argv[2])
    mlflow.set_tracking_uri(uri)
    client, name = MlflowClient(), f"upgraded {number}"
    mlflow.set_experiment(name)
    with tempfile.TemporaryDirectory() as folder:
        for one in range(number):
            log(one, folder)
    experiment = client.get_experiment_by_name(name).experiment_id
    runs = client.search_runs([experiment])
    client.delete_run(runs[0].info.run_id)
    client.set_experiment_tag(experiment, "mlflow.note.content", "a note")
    deleted = client.create_experiment(f"deleted {number}", tags={"a": "b"})
    client.create_run(deleted)
    client.delete_experiment(deleted)
    if sys.argv[3:] == ["runs"]:
        return
    for model in (f"m{number}", f"a model ä {number}"):
        client.create_registered_model(model, tags={"team": "risk"}, description="A model")
        for place, stage in enumerate(STAGES):
            run = runs[place % len(runs)]
            version = client.create_model_version(model, run.info.artifact_uri + "/outputs", run.info.run_id, tags={"k": str(place)}, description="v")
            if stage != "None":
                client.transition_model_version_stage(model, version.version, stage)
    client.delete_model_version(f"m{number}", "1")


main()
