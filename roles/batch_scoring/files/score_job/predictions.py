"""What a model predicts, for a model that Python applies. Runs on the executors."""

import json
import re

from .blocks import ROW, empty_cell, parse_block
from .csv_files import PREDICTION, BadInput

# Names of the column that is meant, where a model returns a table: Spark's and H2O's.
PREDICTIONS = (PREDICTION, "predict")
RESULT_TYPES = {"double": "double", "float": "double", "long": "long", "integer": "long", "boolean": "boolean", "string": "string"}


def convert(value, kind):
    """A prediction as the type that was asked for, or BadInput."""
    try:
        if kind == "double" and not isinstance(value, str):
            return float(value)
        if kind == "long" and not isinstance(value, str) and int(value) == value:
            return int(value)
        if kind == "boolean" and value in (0, 1):
            return bool(value)
        if kind == "string":
            return str(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise BadInput("The model predicts %r, which is no %s: set batch_scoring_result_type, to string for labels." % (value, kind))


def as_text(value):
    """A prediction as CSV has it. repr of a float gives back the same float when it is read."""
    if isinstance(value, str):
        return '"%s"' % value.replace('"', '""') if re.search('[",\r\n]', value) else value
    return repr(value)


def single(result, wanted):
    """Of what a model returned: the name of the column that is the prediction, and its values."""
    import numpy
    import pandas

    if isinstance(result, pandas.Series):
        return "", result.values
    if isinstance(result, dict):
        result = pandas.DataFrame(result)
    elif not isinstance(result, pandas.DataFrame):
        result = numpy.asarray(result)
        if result.ndim < 2:
            return "", result.reshape(-1)
        result = pandas.DataFrame(result.reshape(len(result), -1))
    names = [str(name) for name in result.columns]
    chosen = [name for name in ([wanted] if wanted else PREDICTIONS if len(names) > 1 else names) if name in names]
    if not chosen:
        raise BadInput("The model returns a table with the columns %s: set batch_scoring_prediction_column to the one that is the prediction."
                       % ", ".join(names[:20]))
    return chosen[0], result.iloc[:, names.index(chosen[0])].values


def python_model(path, archive):
    """Loaded once in each process."""
    import mlflow.pyfunc
    from mlflow.pyfunc.spark_model_cache import SparkModelCache

    if archive:
        return SparkModelCache.get_or_load(archive)[0]
    if path not in SparkModelCache._models:
        SparkModelCache._models[path] = mlflow.pyfunc.load_model(path), path
    return SparkModelCache._models[path][0]


def predictor(model, header, columns):
    """What the executors do with blocks where Python applies the model: row numbers, and predictions as JSON."""
    def predict(frames):
        import numpy
        import pandas

        loaded = python_model(model["path"], model["archive"])
        for frame in frames:
            for block in frame.itertuples(index=False):
                given = parse_block(block, header, columns)
                empty = empty_cell(given, block, header)
                try:
                    result = loaded.predict(given.copy())
                except Exception as exc:  # whatever a model throws
                    failed = "The model failed: %s: %s" % (type(exc).__name__, str(exc).strip().split("\n", 1)[0])
                    raise BadInput(("%s, and that may be why. %s" % (empty[0].upper() + empty[1:], failed)) if empty else failed) from exc
                name, values = single(result, model["prediction_column"])
                kinds = model["result_types"]
                kind = model["result_type"] or RESULT_TYPES.get(kinds.get(name) or (list(kinds.values())[0] if len(kinds) == 1 else ""), "")
                answers = []
                for number, value in enumerate(values.tolist()):
                    value = value.item() if hasattr(value, "item") else value
                    if value is None or value is pandas.NaT:
                        raise BadInput("The model has no prediction for row %d." % (block.row + number + 1))
                    value = convert(value, kind) if kind else value if isinstance(value, (bool, int, float, str)) else str(value)
                    answers.append(json.dumps(value))
                if len(answers) != len(given):
                    raise BadInput("The model answered %d rows to %d." % (len(answers), len(given)))
                yield pandas.DataFrame({ROW: numpy.arange(block.row, block.row + len(given)), PREDICTION: answers})
    return predict
