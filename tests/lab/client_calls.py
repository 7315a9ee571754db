"""What a client of MLflow can do with a server, call by call, in the lab. The MLflow of this Python is the client.

    client_calls.py TRACKING_URI NAME    prints {call: "" or why not} as JSON. Runs, models and files are called after NAME.
"""

import json
import os
import sys
import tempfile

import mlflow
import mlflow.pyfunc
from mlflow.tracking import MlflowClient


class Answer(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [42.0] * len(model_input)


class Calls:
    """In this order. A call that needs what another one has made fails where that has failed, too."""

    def __init__(self, uri, name):
        mlflow.set_tracking_uri(uri)
        self.client, self.name, self.folder = MlflowClient(), name, tempfile.mkdtemp()

    def log_a_run(self):
        """log a run: params, metrics, tags"""
        mlflow.set_experiment(self.name)
        with mlflow.start_run() as run:
            mlflow.log_param("depth", 3)
            mlflow.set_tag("team", "risk")
            for step in range(3):
                mlflow.log_metric("loss", 1 / (step + 1), step=step)
        self.run = self.client.get_run(run.info.run_id)
        assert self.run.data.params == {"depth": "3"} and len(self.client.get_metric_history(run.info.run_id, "loss")) == 3

    def search_runs(self):
        """search runs"""
        found = self.client.search_runs([self.run.info.experiment_id], "metrics.loss < 0.5 and params.depth = '3'", order_by=["metrics.loss DESC"])
        assert [one.info.run_id for one in found] == [self.run.info.run_id]

    def artifacts(self):
        """put an artifact, list it, get it"""
        path = os.path.join(self.folder, "a file.bin")
        with open(path, "wb") as file:
            file.write(bytes(range(256)) * 8192)
        self.client.log_artifact(self.run.info.run_id, path, "outputs")
        assert [one.path for one in self.client.list_artifacts(self.run.info.run_id, "outputs")] == ["outputs/a file.bin"]
        with open(self.client.download_artifacts(self.run.info.run_id, "outputs/a file.bin", tempfile.mkdtemp()), "rb") as file:
            assert file.read() == bytes(range(256)) * 8192

    def log_a_model(self):
        """log a model"""
        with mlflow.start_run(run_id=self.run.info.run_id):
            mlflow.pyfunc.log_model("model", python_model=Answer(), pip_requirements=["mlflow"])

    def register_it(self):
        """register it"""
        self.version = mlflow.register_model(f"runs:/{self.run.info.run_id}/model", self.name)
        assert str(self.version.version) == "1"

    def give_it_a_stage(self):
        """give the version a stage"""
        self.client.transition_model_version_stage(self.name, "1", "Production")
        assert self.client.get_model_version(self.name, "1").current_stage == "Production"

    def give_it_an_alias(self):
        """give the version an alias"""
        self.client.set_registered_model_alias(self.name, "champion", "1")
        assert self.client.get_model_version_by_alias(self.name, "champion").name == self.name

    def load_it(self):
        """load the registered model"""
        import pandas

        assert list(mlflow.pyfunc.load_model(f"models:/{self.name}/1").predict(pandas.DataFrame({"x": [1, 2]}))) == [42.0, 42.0]

    def delete_and_restore(self):
        """delete a run and restore it"""
        self.client.delete_run(self.run.info.run_id)
        self.client.restore_run(self.run.info.run_id)
        assert self.client.get_run(self.run.info.run_id).info.lifecycle_stage == "active"


def main():
    calls, answers = Calls(*sys.argv[1:3]), {}
    for name, call in vars(Calls).items():
        if not name.startswith("_"):
            try:
                call(calls)
                answers[call.__doc__] = ""
            except Exception as exc:  # noqa: BLE001 (that it fails is an answer)
                answers[call.__doc__] = f"{type(exc).__name__}: {exc}"
    print(json.dumps(answers))


main()
