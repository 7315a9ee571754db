#!/usr/bin/env python
"""Whether a model that is served predicts the same as MLflow alone: all that differs between the two is model_requests.py, and this compares it.

    same_predictions.py <model_requests.py>

Runs with the Python of the stack. Tables with nulls, NaN, vectors, decimals, times, small numbers and mixed columns go through pyspark before and
after the change, and have to give the same schema and rows, or the same error.
"""

import datetime
import decimal
import importlib.util
import logging
import sys

import numpy as np
import pandas as pd
from mlflow.models import utils
from mlflow.types import Schema
from mlflow.types.schema import ColSpec
from pyspark.ml import Pipeline
from pyspark.ml.feature import Imputer, SQLTransformer, StringIndexer, VectorAssembler
from pyspark.ml.linalg import Vectors
from pyspark.sql import SparkSession

NAN = float("nan")
TABLES = {
    "numbers": pd.DataFrame({"a": [1.5, NAN, 0.1], "b": [1, 2, 2**62], "c": [True, False, True]}),
    "one row": pd.DataFrame({"a": [NAN]}),
    "texts and nulls": pd.DataFrame({"a": ["x", None, "\u00e9"], "b": [None, 1, 2], "c": [None, 1.5, NAN]}).astype({"b": object, "c": object}),
    "vectors": pd.DataFrame({"a": [Vectors.dense(1, 2), Vectors.sparse(2, {1: 3.0}), None]}),
    "lists": pd.DataFrame({"a": [[1.0, 2.0], [], [NAN]], "b": [{"x": 1}, {}, {"y": 2}]}),
    "times": pd.DataFrame({"a": pd.to_datetime(["2020-01-01 12:00:00.123456", None, "1900-03-04"]), "b": [datetime.date(2020, 1, 2)] * 3}),
    "decimals": pd.DataFrame({"a": [decimal.Decimal("1.10"), None, decimal.Decimal("-3")]}),
    "bytes": pd.DataFrame({"a": [b"\x00x", b"", None]}),
    "small numbers": pd.DataFrame({"a": np.array([0.1, NAN], "float32"), "b": np.array([1, -1], "int32"), "c": np.array([1, -1], "int8")}),
    "mixed": pd.DataFrame({"a": [1, "x"]}),
    "only nulls": pd.DataFrame({"a": [None, None]}),
    "NaN among texts": pd.DataFrame({"a": ["x", NAN]}),
    "empty": pd.DataFrame({"a": []}),
    "no columns": pd.DataFrame(index=[0, 1]),
    "two of one name": pd.DataFrame([[1, 2.5]], columns=["a", "a"]),
}
TYPES = {"a": "double", "b": "long", "c": "string"}
SIGNED = {
    "as signed": pd.DataFrame({"a": [1.5, NAN], "b": [1, 2], "c": ["x", None]}),
    "another order, and more": pd.DataFrame({"d": [0, 0], "c": ["x", None], "b": [1, 2], "a": [1, 2]}, index=[7, 7]),
    "NaN for a whole number": pd.DataFrame({"a": [1.5, NAN], "b": [1, NAN], "c": ["x", None]}),
    "a text for a number": pd.DataFrame({"a": ["x", "y"], "b": [1, 2], "c": ["x", None]}),
    "empty": pd.DataFrame({"a": [], "b": [], "c": []}),
}


def outcome(function, *given):
    try:
        return function(*given)
    except Exception as error:  # what is compared, too
        return type(error).__name__, str(error)[:200]


def is_error(found):
    return isinstance(found, tuple) and len(found) == 2 and found[0].isidentifier()


def frame(session, table):
    made = session.createDataFrame(table)
    return made.schema.json(), repr(made.collect())


def signed(table):
    made = utils._enforce_schema(table, Schema([ColSpec(kind, name) for name, kind in TYPES.items()]))
    return repr(made.to_dict("list")), str(made.dtypes), repr(made.index), repr(made.columns)


def predictions(model, session):
    rows = pd.DataFrame({"x": [1.0, NAN, 3.0] * 9, "y": [0.5, 2.0, NAN] * 9, "kind": ["a", None, "b"] * 9, "label": ["new"] * 27})
    return repr(model.transform(session.createDataFrame(rows)).select("features", "index", "prediction").collect())


def trained(session):
    rows = session.createDataFrame([(1.0, 2.0, "a", "yes"), (3.0, 4.0, "b", "no")], ["x", "y", "kind", "label"])
    # Nobody asks for the index of the label, which does not know the new ones: it must not be looked for.
    return Pipeline(stages=[
        StringIndexer(inputCol="label", outputCol="label_index"),
        StringIndexer(inputCol="kind", outputCol="index", handleInvalid="keep"),
        Imputer(inputCols=["x"], outputCols=["filled"]),
        SQLTransformer(statement="SELECT *, coalesce(y, -1.0) AS whole, CASE WHEN y IS NULL THEN 1.0 WHEN isnan(y) THEN 2.0 ELSE y END AS prediction "
                                 "FROM __THIS__"),
        VectorAssembler(inputCols=["filled", "whole", "index"], outputCol="features", handleInvalid="keep"),
    ]).fit(rows)  # fmt: skip


def main(program):
    session = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    model = trained(session)

    def all_of_them():
        return {
            **{f"frame: {name}": outcome(frame, session, table) for name, table in TABLES.items()},
            **{f"signature: {name}": outcome(signed, table) for name, table in SIGNED.items()},
            "pipeline": outcome(predictions, model, session),
            "pipeline, again": outcome(predictions, model, session),
        }

    before = all_of_them()
    specification = importlib.util.spec_from_file_location("model_requests", program)
    requests = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(requests)
    stock = type(session)._create_dataframe
    requests.quicken(logging.getLogger(), sys.modules)
    if type(session)._create_dataframe is stock:
        sys.exit("Nothing was put in place.")
    after = all_of_them()
    differ = [name for name in before if before[name] != after[name]]
    for name in differ:
        print(f"{name}\n  before: {before[name]}\n  after:  {after[name]}")
    print("Errors in both ways:", ", ".join(name for name in before if name not in differ and is_error(before[name])))
    print(f"{len(before) - len(differ)} of {len(before)} are the same.")
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
