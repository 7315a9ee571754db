"""A model in a Spark session, and the blocks that it scores."""

import json
import os
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from types import SimpleNamespace

from .blocks import ROW, empty_cell, parse_block, parser
from .columns import TYPES, check_types
from .csv_files import PREDICTION, BadInput
from .files import score_csv, score_parquet
from .predictions import convert, predictor, python_model
from .problems import explain
from .spark_session import NO_SECURITY, packed, session, spark_security, sparkling_water_jar


def number_rows(blocks):
    row = 0
    for count, line, data, kept in blocks:
        yield row, count, line, data, kept
        row += count


class Scorer:
    """A Spark session with a model in it."""

    def __init__(self, model, master, prediction_column, result_type):
        self.path = model["path"]
        self.mojo = model["mojo"]
        self.native = bool(self.mojo) or "spark" in model["flavors"]
        self.columns = [tuple(column) for column in model["columns"]]
        check_types(self.columns)
        self.settings = {"spark.jars": sparkling_water_jar()} if self.mojo or model["sparkling_water"] else {}
        self.model = dict(model, archive="", prediction_column=prediction_column, result_type=result_type)
        self.master = master
        self.expired = threading.Event()
        self.transform = self.load()
        # Two windows are in memory, one that is scored and one that is written.
        self.cores = max(2, self.spark.sparkContext.defaultParallelism)
        self.window = 2 * self.cores

    def session(self, master, **settings):
        self.spark = session(master, dict(self.settings, **settings))
        self.spark.sparkContext.addPyFile(packed())

    def load(self):
        """A function that adds the prediction to a frame.

        What Spark itself understands, and H2O's models, are applied by Spark in Java. Everything else is called in Python, block by block:
        Spark then has no frame of the model's columns, of which there may be many thousands.
        """
        if not self.native:
            from mlflow.pyfunc.spark_model_cache import SparkModelCache

            self.session(self.master)
            if self.master.startswith("local"):
                python_model(self.path, "")  # what does not load is told before a file is read
            else:
                self.model["archive"] = SparkModelCache.add_local_model(self.spark, self.path)
            return None

        # Spark reads a model where it runs, which for a cluster is on workers that do not have its files. So it is read by a session of this
        # process alone; the model outlives it, and goes to the workers with the tasks.
        if self.master.startswith("local"):
            self.session(self.master)
            model = self.read()
        else:
            self.session("local[1]", **NO_SECURITY)
            model = self.read()
            kept = self.keep_mojos(model)
            self.spark.stop()
            self.session(self.master, **spark_security())
            for path in kept:
                self.spark.sparkContext.addFile(path)
        return model.transform

    def read(self):
        if self.mojo:
            from pysparkling.ml import H2OMOJOModel

            return H2OMOJOModel.createFromMojo("file://" + self.mojo)
        import mlflow.spark

        return mlflow.spark.load_model(self.path)

    def keep_mojos(self, model):
        """H2O's models stay in a file that belongs to the session: keep it for the next."""
        kept = []
        for stage in getattr(model, "stages", None) or [model]:
            java = getattr(stage, "_java_obj", None)
            if java is not None and java.getClass().getName().startswith("ai.h2o.sparkling"):
                source = java.getMojo().getPath()
                kept.append(os.path.join(tempfile.mkdtemp(), os.path.basename(source)))
                shutil.copyfile(source, kept[-1])
        return kept

    def predict(self, blocks, header, columns):
        """Predictions for blocks of (first row, number of rows, first line, bytes), in their order."""
        if self.expired.is_set():
            raise BadInput("It took too long.")
        context = self.spark.sparkContext
        rows = context.parallelize([(row, line, data) for row, _count, line, data in blocks], len(blocks))
        frame = self.spark.createDataFrame(rows, "row bigint, line bigint, data binary", verifySchema=False)
        try:
            return self.apply(frame, blocks, header, columns)
        except BadInput:
            raise
        except Exception as exc:
            if not self.native or "BadInput: " in str(exc) or self.expired.is_set():
                raise
            # Java has words of its own for a value that is missing.
            empty = self.first_empty(blocks, header, columns)
            if empty:
                raise BadInput("%s, and that may be why the model failed: %s" % (empty, explain(exc))) from exc
            raise

    def first_empty(self, blocks, header, columns):
        for row, _count, line, data in blocks:
            block = SimpleNamespace(row=row, line=line, data=data)
            empty = empty_cell(parse_block(block, header, columns), block, header)
            if empty:
                return empty[0].upper() + empty[1:]
        return ""

    def apply(self, frame, blocks, header, columns):
        import numpy
        from pyspark.sql.types import StructType, _parse_datatype_string

        column = self.model["prediction_column"] or PREDICTION
        if self.native:
            schema = StructType().add(ROW, _parse_datatype_string("bigint"))
            for name, kind in columns:
                schema = schema.add(name, _parse_datatype_string(TYPES[kind][0]))
            scored = self.transform(frame.mapInPandas(parser(header, columns), schema))
            if column not in scored.columns:
                raise BadInput("The model makes no column %s, but %s: set batch_scoring_prediction_column."
                               % (column, ", ".join(sorted(set(scored.columns) - set(schema.names)))))
            kind = scored.schema[column].dataType.simpleString()
            if kind not in ("double", "float", "bigint", "int", "smallint", "tinyint", "boolean", "string"):
                raise BadInput("The model predicts %s in %s, no single number or text: set batch_scoring_prediction_column." % (kind, column))
        else:
            column, kind = PREDICTION, "json"
            scored = frame.mapInPandas(predictor(self.model, header, columns), "%s bigint, %s string" % (ROW, PREDICTION))
        result = scored.select(ROW, "`%s`" % column.replace("`", "``")).toPandas()
        first, expected = blocks[0][0], sum(count for _row, count, _line, _data in blocks)
        if not numpy.array_equal(result[ROW].values, numpy.arange(first, first + expected)):
            empty = self.first_empty(blocks, header, columns)
            raise BadInput("The model left rows out: %d of the %d rows from row %d on came back.%s"
                           % (len(result), expected, first + 1, " %s." % empty if empty else ""))
        if kind not in ("double", "float") and result[column].isna().any():
            raise BadInput("The model has no prediction for row %d." % (first + 1 + int(result[column].isna().values.argmax())))
        values = result[column].tolist()
        if kind == "json":
            return [json.loads(value) for value in values]
        wanted = self.model["result_type"]
        return [convert(value, wanted) for value in values] if wanted else values

    def score(self, blocks, header, columns):
        """For each window of blocks: the blocks and their predictions. The next window is scored while one is written."""
        blocks = number_rows(blocks)
        windows = iter(lambda: list(islice(blocks, self.window)), [])
        with ThreadPoolExecutor(1) as pool:
            waiting = None
            for window in chain(windows, [None]):
                scored = waiting
                waiting = window and (window, pool.submit(self.predict, [block[:4] for block in window], header, columns))
                if scored:
                    yield [block[4] for block in scored[0]], scored[1].result()

    def score_file(self, path, staged, keep_extra, timeout):
        """The number of rows."""
        def expire():
            self.expired.set()
            self.spark.sparkContext.cancelAllJobs()

        self.expired.clear()
        clock = threading.Timer(timeout, expire)
        clock.start()
        try:
            with open(path, "rb") as source:
                magic = source.read(4)
                source.seek(0)
                return (score_parquet if magic == b"PAR1" else score_csv)(self, source, staged, keep_extra)
        except Exception as exc:
            if self.expired.is_set():
                raise BadInput("It was not scored within %d seconds (score_offline_timeout)." % timeout) from exc
            raise
        finally:
            clock.cancel()
