#!/usr/bin/env python
"""Register small models that do as they are told: they load slowly, not at all, or answer with the number of their version.

    register_small_models.py <models as JSON>

Each model is {"name", "versions": [{"answer", "load_seconds", "predict_seconds", "fails"}], "stages": {"1": "Production"}}. Versions that are
registered already stay as they are. Reads MLFLOW_TRACKING_URI; prints what it has registered, as JSON.
"""

import json
import sys
import time

import mlflow.pyfunc
from mlflow.tracking import MlflowClient


class Small(mlflow.pyfunc.PythonModel):
    def __init__(self, answer=0, load_seconds=0, predict_seconds=0, fails=""):
        self.answer, self.load_seconds, self.predict_seconds, self.fails = answer, load_seconds, predict_seconds, fails

    def load_context(self, context):
        time.sleep(self.load_seconds)
        if self.fails == "load":
            raise RuntimeError("this version cannot be loaded")

    def predict(self, context, model_input):
        time.sleep(self.predict_seconds)
        if self.fails == "predict":
            raise RuntimeError("this version cannot predict")
        return [float(row) + self.answer for row in model_input["x"]]


def main(models):
    client, added = MlflowClient(), []
    mlflow.set_experiment("small")
    known = {}
    for version in client.search_model_versions(""):
        known.setdefault(version.name, []).append(int(version.version))
    for model in json.loads(models):
        for number, version in enumerate(model["versions"], 1):
            if number in known.get(model["name"], []):
                continue
            with mlflow.start_run():
                mlflow.pyfunc.log_model("model", python_model=Small(**version), registered_model_name=model["name"],
                                        pip_requirements=["mlflow==" + mlflow.__version__])
            added.append([model["name"], number])
        for number, stage in model.get("stages", {}).items():
            if client.get_model_version(model["name"], number).current_stage != stage:
                client.transition_model_version_stage(model["name"], number, stage)
                added.append([model["name"], number, stage])
    print(json.dumps(added))


if __name__ == "__main__":
    main(*sys.argv[1:])
