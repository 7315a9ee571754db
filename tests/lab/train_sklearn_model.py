#!/usr/bin/env python
"""Train scikit-learn models for the lab with a stack that has it (MLflow 2 and newer), log and register them through the MLflow server.

    train_sklearn_model.py <data.csv> <model name> <predictions.csv>

Two versions: the first one is in Production and called champion, the second one in Staging. What the first one predicts on every row, in the order of
the rows, is written to <predictions.csv>. Reads MLFLOW_TRACKING_URI; prints one JSON object.
"""

import json
import os
import sys

import mlflow
import mlflow.sklearn
import pandas
from mlflow.models.signature import infer_signature
from mlflow.tracking import MlflowClient
from sklearn.ensemble import RandomForestRegressor

LABEL = "malignant"


def main(data, name, predictions):
    table = pandas.read_csv(data).astype("double")
    given, label = table.drop(columns=LABEL), table[LABEL]
    mlflow.set_experiment("lab")
    for trees in (20, 5):
        model = RandomForestRegressor(n_estimators=trees, max_depth=5, random_state=42).fit(given, label)
        predicted = pandas.DataFrame({"prediction": model.predict(given)})
        with mlflow.start_run(run_name=f"{name} {trees}"):
            mlflow.log_param("trees", trees)
            mlflow.sklearn.log_model(model, artifact_path="model", registered_model_name=name, signature=infer_signature(given, predicted),
                                     pip_requirements=["mlflow==" + mlflow.__version__, "scikit-learn"])
        if trees == 20:
            predicted.to_csv(predictions + ".part", index=False)
    client = MlflowClient()
    client.transition_model_version_stage(name, "1", "Production")
    client.transition_model_version_stage(name, "2", "Staging")
    client.set_registered_model_alias(name, "champion", "1")
    # Last, so that a run that was interrupted before is repeated.
    os.replace(predictions + ".part", predictions)
    print(json.dumps({"model": name, "rows": len(table)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
