"""Takes from a request to a served model what is done again and again for the same result. model_workers.py puts it in place.

MLflow hands a table column by column to an empty one when it compares it with the signature; here it is made at once.

For a Spark model the table becomes a DataFrame as in pyspark, by pyspark's own conversions and with the same plan, but

- the schema is inferred from one row of each kind, and not from every row;
- the rows are handed to Java as they are, without a job in a Python process of its own;
- parameters of the model's stages are handed to Java when they have changed.

Arrow would be about as quick, and would change predictions: it makes nulls of NaN, and has other types for small integers and floats.
What is replaced are internals of MLflow and pyspark. Where they are others, or give another result, all stays as it was.
"""
import importlib
from types import SimpleNamespace

# Values that hold no others: whether two rows of them have the same schema can be seen by the types.
PLAIN = {bool, float, int, str, type(None)}
SAMPLE = [(True, 1.5, 2, "a", None), (None, float("nan"), None, None, 3), (False, None, -(2**63), "", 4), (True, 0.1, 2**63 - 1, "\u00e9", None)]
NAMES = ["boolean", "double", "long", "string", "later"]


def kinds(rows):
    """The first row of each kind, and every row that has something else in it than plain values."""
    seen = set()
    for row in rows:
        kind = tuple(map(type, row))
        if kind not in seen:
            if PLAIN.issuperset(kind):
                seen.add(kind)
            yield row


def table_at_once(utils, pandas):
    """For MLflow's _enforce_col_schema."""
    before = utils._enforce_col_schema

    def enforce(table, schema):
        names = schema.input_names() if schema.has_input_names() else list(table.columns[: len(schema.inputs)])
        # Without columns, or with two of one name, let MLflow find its words.
        if not table.columns.is_unique or len(set(names)) != len(names) or not set(names) <= set(table.columns):
            return before(table, schema)
        typed = zip(names, schema.input_types())
        return pandas.DataFrame({name: utils._enforce_mlflow_datatype(name, table[name], kind) for name, kind in typed}, columns=names)

    return enforce


class Rows:
    """For pyspark's _create_dataframe, when rows come from pandas."""

    def __init__(self, session):
        from pyspark.serializers import PickleSerializer
        from pyspark.sql import DataFrame

        self.DataFrame, self.dumps, self.before = DataFrame, PickleSerializer().dumps, type(session)._create_dataframe
        # Each part of such a name is a question to Java.
        self.loads = session._jvm.org.apache.spark.mllib.api.python.SerDe.loads

    def replaced(self, session, data, schema, *others):
        # Names alone, and rows of values: that is pandas. A Row is a kind of tuple, and is none of these.
        if isinstance(data, list) and isinstance(schema, list) and data and type(data[0]) in (tuple,):
            return self.frame(session, data, schema)
        return self.before(session, data, schema, *others)

    def frame(self, session, data, names):
        # Both of them pyspark's; only that no RDD is made of the rows.
        aside = SimpleNamespace(
            _inferSchemaFromList=lambda data, names=None: session._inferSchemaFromList(list(kinds(data)), names),
            _sc=SimpleNamespace(parallelize=list),
        )
        rows, schema = type(session)._createFromLocal(aside, data, names)
        context = session._sc
        rdd = context._jsc.parallelize(self.loads(bytearray(self.dumps(rows))), context.defaultParallelism)
        frame = self.DataFrame(session._jsparkSession.applySchemaToPythonRDD(rdd.rdd(), schema.json()), session._wrapped)
        frame._schema = schema
        return frame

    def same(self, session):
        before = self.before(session, SAMPLE, list(NAMES), None, True)
        after = self.frame(session, SAMPLE, list(NAMES))
        return before.schema == after.schema and repr(before.collect()) == repr(after.collect())


def when_changed(transfer):
    """For pyspark's _transfer_params_to_java."""

    def transfer_changed(stage):
        now = [stage._java_obj, *(one for values in (stage._paramMap, stage._defaultParamMap) for pair in values.items() for one in pair)]
        handed = stage.__dict__.get("_handed_to_java", ())
        if len(now) != len(handed) or any(one is not other for one, other in zip(now, handed)):
            transfer(stage)
            stage._handed_to_java = now

    return transfer_changed


def quicken_tables(_modules):
    utils, pandas = importlib.import_module("mlflow.models.utils"), importlib.import_module("pandas")
    utils._enforce_col_schema = table_at_once(utils, pandas)


def quicken_spark(modules):
    # A model that does without Spark has not loaded it.
    session = modules["pyspark.sql"].SparkSession._instantiatedSession if "pyspark.sql" in modules else None
    if session is not None:
        rows = Rows(session)
        if not rows.same(session):
            raise RuntimeError("the rows of a sample are others")
        parameters = importlib.import_module("pyspark.ml.wrapper").JavaParams
        parameters._transfer_params_to_java = when_changed(parameters._transfer_params_to_java)

        def create(session, *given):
            return rows.replaced(session, *given)

        type(session)._create_dataframe = create


def quicken(log, modules):
    for one in (quicken_tables, quicken_spark):
        try:
            one(modules)
        except Exception as error:  # the model is served in any case
            log.warning("Requests are answered as MLflow does it, without %s of %s: %s", one.__name__, __name__, error)
