#!/usr/bin/env python
"""Train H2O models for the lab with the stack itself, log and register them through the MLflow server.

    train_h2o_model.py <data.csv> <model name> <predictions.csv>

Sparkling Water trains a boosted model, registered as <model name> (a Spark model), and H2O itself the same kind, registered as
<model name>-python (a model that only Python understands). <predictions.csv> has a column for each, in the order of the data's rows.
Reads MLFLOW_TRACKING_URI; prints one JSON object.
"""

import json
import os
import sys

import h2o
import mlflow
import mlflow.h2o
import mlflow.spark
import pandas
from h2o.estimators import H2OGradientBoostingEstimator
from mlflow.models.signature import infer_signature
from pyspark.ml import Pipeline
from pyspark.sql import SparkSession
from pysparkling import H2OContext
from pysparkling.ml import H2OGBM

LABEL = "malignant"
SETTINGS = {"ntrees": 20, "seed": 42}


def main(data, name, predictions):
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    H2OContext.getOrCreate()
    table = pandas.read_csv(data).astype("double")
    columns = [column for column in table.columns if column != LABEL]
    frame = spark.createDataFrame(table).coalesce(1).cache()
    requirements = ["mlflow==" + mlflow.__version__, "pyspark==" + spark.version]
    signature = infer_signature(table[columns].head(5), pandas.DataFrame({"prediction": [0.5]}))
    mlflow.set_experiment("lab")

    model = Pipeline(stages=[H2OGBM(labelCol=LABEL, featuresCols=columns, **SETTINGS)]).fit(frame)
    result = model.transform(frame.select(*columns)).select("prediction").toPandas()
    with mlflow.start_run(run_name=name):
        mlflow.spark.log_model(model, "model", registered_model_name=name, signature=signature, pip_requirements=requirements)

    # Its cluster is Sparkling Water's.
    given = h2o.H2OFrame(table)
    estimator = H2OGradientBoostingEstimator(**SETTINGS)
    estimator.train(x=columns, y=LABEL, training_frame=given)
    # Its client reads what it predicts without the last bit of some numbers: compare with a tolerance of 1e-15.
    result["python"] = estimator.predict(given).as_data_frame()["predict"]
    with mlflow.start_run(run_name=name):
        mlflow.h2o.log_model(estimator, "model", registered_model_name=name + "-python", signature=signature, pip_requirements=requirements)

    # Last, so that a run that was interrupted before is repeated.
    result.to_csv(predictions + ".part", index=False)
    os.replace(predictions + ".part", predictions)
    print(json.dumps({"model": name, "rows": len(result)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
