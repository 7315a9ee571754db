#!/usr/bin/env python
"""Register a model that costs next to nothing: a linear one in numpy, of all columns but the last. The stack has no scikit-learn.

    light_model.py <data.csv> <model name>

Registers nothing where the name is known. Reads MLFLOW_TRACKING_URI.
"""

import sys

import mlflow.pyfunc
import numpy
import pandas
from mlflow.models.signature import infer_signature
from mlflow.tracking import MlflowClient


class Linear(mlflow.pyfunc.PythonModel):
    def __init__(self, weights):
        self.weights = weights

    def predict(self, context, model_input):
        return model_input.to_numpy().dot(self.weights)


def main(data, name):
    if MlflowClient().search_model_versions("name='%s'" % name):
        return
    table = pandas.read_csv(data).astype("float64")
    inputs, label = table.iloc[:, :-1], table.iloc[:, -1]
    weights = numpy.linalg.lstsq(inputs.to_numpy(), label.to_numpy(), rcond=None)[0]
    mlflow.set_experiment("bench")
    with mlflow.start_run():
        mlflow.pyfunc.log_model("model", python_model=Linear(weights), registered_model_name=name,
                                signature=infer_signature(inputs, inputs.to_numpy().dot(weights)),
                                pip_requirements=["mlflow==" + mlflow.__version__])  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
