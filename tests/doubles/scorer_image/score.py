"""Scores one CSV file with one model in MLflow's format: the program of the scorer image's double.

    score.py --model <directory> --input <file.csv> --output <file.csv> [--extra-columns keep]

The output has the input's rows in their order, all their columns as they were, and one more column, `prediction`. It appears whole or not at all.
The columns are checked against the model's signature. Exit status: 2 wrong arguments, 3 bad input, 4 the model does not load, 5 scoring
failed, 6 the output cannot be written. What is wrong is the last line on standard error.
"""

import argparse
import csv
import itertools
import os
import sys

# Bounds the memory, whatever the size of the file.
ROWS_AT_ONCE = 20000
csv.field_size_limit(sys.maxsize)
BAD_INPUT, BAD_MODEL, FAILED, NO_OUTPUT = 3, 4, 5, 6


class Refused(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def boolean(text):
    return {"true": True, "false": False}[text.strip().lower()]


def plain(kind):
    """float() and int() take 1_000 as well, which no CSV means."""
    return lambda text: kind(text.replace("_", "x"))


def number(text):
    """What is left out is missing; what is too large for a number is none."""
    value = plain(float)(text) if text.strip() else float("nan")
    if value in (float("inf"), float("-inf")) and "n" not in text.lower():
        raise ValueError(text)
    return value


# Type in the signature -> how a cell is read, what it has to be, and the column's type in pandas.
TYPES = {
    "double": (number, "a number", "float64"),
    "float": (number, "a number", "float32"),
    "long": (plain(int), "a whole number", "int64"),
    "integer": (plain(int), "a whole number", "int32"),
    "boolean": (boolean, "true or false", "bool"),
    "string": (lambda text: text or None, "text", "object"),
}


def read_schema(directory):
    """[(column, type), ...] of the model's signature."""
    from mlflow.models import Model

    try:
        schema = Model.load(directory).get_input_schema()
    except Exception as error:
        raise Refused(BAD_MODEL, f"{directory} holds no MLflow model: {error}") from error
    if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
        raise Refused(BAD_MODEL, "The model has no signature with named columns, so nothing says which columns it needs.")
    columns = [(column.name, column.type.name) for column in schema.inputs]
    unknown = sorted({kind for name, kind in columns} - set(TYPES))
    if unknown:
        raise Refused(BAD_MODEL, f"The model's signature has columns of type {', '.join(unknown)}, which a CSV file cannot hold.")
    return columns


def check_header(header, columns, extra_columns):
    wanted = [name for name, kind in columns]
    twice = sorted({name for name in header if header.count(name) > 1})
    missing = [name for name in wanted if name not in header]
    extra = [name for name in header if name not in wanted]
    if twice:
        raise Refused(BAD_INPUT, f"Columns that are there twice: {', '.join(twice)}.")
    if missing:
        raise Refused(BAD_INPUT, f"Missing columns, which the model needs: {', '.join(missing)}.")
    if "prediction" in header:
        raise Refused(BAD_INPUT, "The input has a column prediction already, which is the name of the result.")
    if extra and extra_columns == "refuse":
        raise Refused(BAD_INPUT, f"Extra columns, which the model does not know: {', '.join(extra)}.")


def read_rows(file):
    """(line number, cells), the header first; blank lines are no rows."""
    rows = csv.reader(file, strict=True)
    while True:
        try:
            cells = next(rows)
        except StopIteration:
            return
        except UnicodeDecodeError as error:
            raise Refused(BAD_INPUT, f"Not UTF-8 from byte {error.start} after line {rows.line_num} on.") from error
        except csv.Error as error:
            raise Refused(BAD_INPUT, f"Line {rows.line_num}: {error}.") from error
        if cells:
            yield rows.line_num, cells


def parse(rows, header, columns):
    """The cells that the model needs, as a pandas data frame with the signature's types."""
    import pandas

    for line, cells in rows:
        if len(cells) != len(header):
            raise Refused(BAD_INPUT, f"Line {line}: {len(cells)} cells, but the header has {len(header)}.")
    frame = {}
    for name, kind in columns:
        read, meaning, dtype = TYPES[kind]
        position, values = header.index(name), []
        for line, cells in rows:
            try:
                values.append(read(cells[position]))
            except (ValueError, KeyError):
                raise Refused(BAD_INPUT, f"Line {line}, column {name}: '{cells[position][:80]}' is not {meaning}.") from None
        frame[name] = pandas.Series(values, dtype=dtype)
    return pandas.DataFrame(frame)


def sparkling_water():
    import sparkling_water as package

    return os.path.join(os.path.dirname(package.__file__), "sparkling_water_assembly.jar")


def start_spark():
    from pyspark.sql import SparkSession

    # MLflow would take one core. H2O needs the classes of Sparkling Water.
    builder = SparkSession.builder.master("local[*]").appName("score")
    for name, value in {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false", "spark.driver.bindAddress": "127.0.0.1",
                        "spark.driver.host": "127.0.0.1", "spark.driver.extraClassPath": sparkling_water()}.items():
        builder = builder.config(name, value)
    builder.getOrCreate().sparkContext.setLogLevel("ERROR")


def start_h2o():
    import h2o
    from pysparkling import H2OConf, H2OContext

    # The lock has H2O as a part of Sparkling Water, without the h2o.jar that H2O's own client starts. MLflow connects to the one that runs.
    H2OContext.getOrCreate(H2OConf().setLogLevel("WARN"))
    h2o.no_progress()


def load_model(directory):
    from mlflow import pyfunc
    from mlflow.models import Model

    try:
        loader = Model.load(directory).flavors["python_function"]["loader_module"]
        if loader in ("mlflow.spark", "mlflow.h2o"):
            start_spark()
        if loader == "mlflow.h2o":
            start_h2o()
        return pyfunc.load_model(directory)
    except Exception as error:
        raise Refused(BAD_MODEL, f"The model does not load: {type(error).__name__}: {error}") from error


def predict(model, frame):
    try:
        predictions = model.predict(frame)
    except Exception as error:
        raise Refused(FAILED, f"The model failed: {type(error).__name__}: {error}") from error
    if hasattr(predictions, "columns"):
        # A table: H2O's has the prediction in predict.
        named = [name for name in ("prediction", "predict") if name in predictions.columns]
        if not named and len(predictions.columns) > 1:
            raise Refused(FAILED, f"The model answered a table without a column prediction or predict: {', '.join(map(str, predictions.columns))}.")
        predictions = predictions[named[0]] if named else predictions.iloc[:, 0]
    values = list(predictions)
    if len(values) != len(frame):
        raise Refused(FAILED, f"The model answered {len(values)} rows to {len(frame)}.")
    return [str(value) if isinstance(value, str) or type(value).__name__.startswith("bool") else repr(float(value)) for value in values]


def score(model_directory, source, target, extra_columns):
    columns = read_schema(model_directory)
    try:
        file = open(source, encoding="utf-8", newline="")  # noqa: SIM115 - the next statement closes it
    except OSError as error:
        raise Refused(BAD_INPUT, f"Cannot read {source}: {error.strerror}.") from error
    with file:
        rows = read_rows(file)
        _line, header = next(rows, (0, []))
        if not header:
            raise Refused(BAD_INPUT, "The file is empty.")
        check_header(header, columns, extra_columns)
        # The first rows are read before the model is loaded: most bad files are told at once.
        chunk = list(itertools.islice(rows, ROWS_AT_ONCE))
        if not chunk:
            raise Refused(BAD_INPUT, "The file has a header and no rows.")
        frame = parse(chunk, header, columns)
        model, done = load_model(model_directory), 0
        with open(target + ".part", "w", encoding="utf-8", newline="") as output:
            writer = csv.writer(output, lineterminator="\n")
            writer.writerow(header + ["prediction"])
            while chunk:
                writer.writerows(cells + [value] for (line, cells), value in zip(chunk, predict(model, frame)))
                done += len(chunk)
                chunk = list(itertools.islice(rows, ROWS_AT_ONCE))
                frame = parse(chunk, header, columns)
            output.flush()
            os.fsync(output.fileno())
    os.replace(target + ".part", target)
    print(f"{done} rows scored.")


def main():
    parser = argparse.ArgumentParser(description="Score one CSV file with one model in MLflow's format.")
    parser.add_argument("--model", required=True, help="directory with the model")
    parser.add_argument("--input", required=True, help="CSV file with a header, UTF-8")
    parser.add_argument("--output", required=True, help="CSV file to write")
    parser.add_argument("--extra-columns", choices=["refuse", "keep"], default="refuse", help="what to do with columns that the model does not know")
    arguments = parser.parse_args()
    try:
        score(arguments.model, arguments.input, arguments.output, arguments.extra_columns)
    except Refused as error:
        print(error, file=sys.stderr)
        return error.status
    except OSError as error:
        print(f"Cannot write {arguments.output}: {error.strerror}.", file=sys.stderr)
        return NO_OUTPUT
    return 0


if __name__ == "__main__":
    sys.exit(main())
