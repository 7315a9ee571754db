#!/usr/bin/env python
"""Train the lab's model with the stack itself, log and register it through the MLflow server.

    train_model.py <data.csv> <model name> <predictions.csv>

A Spark ML pipeline learns a risk between 0 and 1 from 30 columns. Its predictions on every row, in the order of the rows, are written
to <predictions.csv>: whoever scores the model later has to get exactly these numbers. Reads MLFLOW_TRACKING_URI; prints one JSON object.
"""

import json
import os
import sys

import mlflow
import mlflow.spark
from mlflow.models.signature import infer_signature
from pyspark.ml import Pipeline
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.regression import RandomForestRegressor
from pyspark.sql import SparkSession

LABEL = "malignant"


def main(data, name, predictions):
    spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
    # One partition keeps the rows in the order of the file.
    frame = spark.read.csv(data, header=True, inferSchema=True).coalesce(1)
    columns = [column for column in frame.columns if column != LABEL]
    frame = frame.select(*[frame[column].cast("double") for column in frame.columns]).cache()

    pipeline = Pipeline(stages=[
        VectorAssembler(inputCols=columns, outputCol="features"),
        RandomForestRegressor(labelCol=LABEL, numTrees=20, maxDepth=5, seed=42),
    ])
    mlflow.set_experiment("lab")
    with mlflow.start_run(run_name=name) as run:
        model = pipeline.fit(frame)
        scored = model.transform(frame).select("prediction").toPandas()
        temporary = predictions + ".part"
        scored.to_csv(temporary, index=False)
        mlflow.log_metric("rows", len(scored))
        mlflow.log_artifact(data, "training")
        sample = frame.select(*columns).limit(5).toPandas()
        mlflow.spark.log_model(
            model, "model",
            registered_model_name=name,
            signature=infer_signature(sample, scored.head(5)),
            input_example=sample.head(2),
            # Named here because MLflow would otherwise find them out by loading the model a second time.
            pip_requirements=["mlflow==" + mlflow.__version__, "pyspark==" + spark.version],
        )
    # Last, so that a run that was interrupted before is repeated.
    os.replace(temporary, predictions)
    version = max(int(v.version) for v in mlflow.tracking.MlflowClient().search_model_versions("name='%s'" % name))
    print(json.dumps({"model": name, "version": version, "run_id": run.info.run_id, "rows": len(scored)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
