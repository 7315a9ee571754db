"""Scores files with a registered model, all of them in one Spark session.

    score_job.py model   asks the registry which version is meant, fetches it, says what it is
    score_job.py score   scores files with a fetched model

Reads its order as JSON from standard input and answers with lines of JSON on standard output, one about the model or one for each file as soon
as it is done. Spark's settings come from
$SPARK_CONF_DIR/spark-defaults.conf, MLflow's from the environment. Runs on Python 3.7 with pyspark 3.2 and MLflow 1.30.

A file is cut into blocks of whole rows. The executors parse and check a block and apply the model to it; only row numbers and predictions
come back, and are written beside the rows that the driver has read. So the workers of a cluster need neither the input files nor the
output directory, no row can change its place, and memory holds a few blocks and not a file.

CSV comes as the plan (module scored_files) hands it over: in UTF-8, with commas, and with quotation marks as any reader takes them. The rules
for it are in csv_files.py, the collection's plugins/module_utils/csv_files.py, which the role puts beside this file.
"""
import atexit
import csv
import getpass
import glob
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from types import SimpleNamespace
from urllib.parse import quote

import csv_files
from csv_files import INTEGER, NUMBER, PREDICTION, BadInput

ROW = "__row"
# One block is the work of one task; a small file is cut finer, so that every core has some of it.
BLOCK_BYTES = 4 << 20
SMALLEST_BLOCK_BYTES = 64 << 10
# A row that is longer is none: a quotation mark is not closed.
LONGEST_ROW_BYTES = 64 << 20
# pandas' time for a column of a type of its own grows with their number.
FEW_COLUMNS = 500
STAGES = ("None", "Staging", "Production", "Archived")

# Type in the model's signature: (Spark's, pandas', what its text has to look like).
TRUTH = re.compile(r"\s*(true|false)\s*", re.IGNORECASE | re.ASCII)
TYPES = {
    "double": ("double", "float64", NUMBER),
    "float": ("float", "float32", NUMBER),
    "long": ("bigint", "int64", INTEGER),
    "integer": ("int", "int64", INTEGER),
    "boolean": ("boolean", "bool", TRUTH),
    "string": ("string", "str", None),
}
RANGES = {"long": 1 << 63, "integer": 1 << 31}
# What is more than this becomes infinite.
LARGEST = {"double": sys.float_info.max, "float": 3.4028235677973362e38}
# Names of the column that is meant, where a model returns a table: Spark's and H2O's.
PREDICTIONS = (PREDICTION, "predict")
RESULT_TYPES = {"double": "double", "float": "double", "long": "long", "integer": "long", "boolean": "boolean", "string": "string"}


# -- checks that need neither Spark nor pandas -------------------------------------------------------------------------


def signature_columns(text):
    """The columns of a signature as MLmodel has them: [(name, type)]. None if it has none that are named."""
    columns = json.loads(text) if text else []
    if not columns or any("name" not in column for column in columns):
        return None
    return [(column["name"], column["type"]) for column in columns]


def check_types(columns):
    unknown = ["%s (%s)" % column for column in columns if column[1] not in TYPES]
    if unknown:
        raise BadInput("The model wants columns of a type that cannot be scored here: %s. Possible are %s."
                       % (", ".join(unknown), ", ".join(sorted(TYPES))))


def check_columns(header, columns, keep_extra):
    """Whether a file with this header can be given to a model that wants these columns."""
    csv_files.check_header(header)
    wanted, there = {name for name, _type in columns}, set(header)
    problems = []
    missing = [name for name, _type in columns if name not in there]
    if missing:
        problems.append("the column %s is missing" % ", ".join(missing[:20]))
        if all(NUMBER.fullmatch(name) for name in header):
            problems.append("the first line has numbers only: does it name the columns?")
    extra = [name or "%d (without a name)" % (place + 1) for place, name in enumerate(header) if name not in wanted]
    if extra and not keep_extra:
        problems.append("the model does not know the column %s (set score_offline_extra_columns to keep to pass it by)" % ", ".join(extra[:20]))
    if problems:
        text = "; ".join(problems)
        raise BadInput(text[0].upper() + text[1:] + ".")


def read_header(source):
    """What the first row is, as bytes and as names, and the number of the line after it."""
    first, line, data = 1, 1, b""
    for more in iter(source.readline, b""):
        data, line = data + more, line + 1
        if not data.strip(b"\r\n"):
            first, data = line, b""
        elif data.count(b'"') % 2 == 0:
            break
    try:
        header = next(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")), [])
    except UnicodeDecodeError as exc:
        raise BadInput("Line %d is not UTF-8. Save the file as UTF-8." % (first + exc.object.count(b"\n", 0, exc.start))) from exc
    if not header:
        raise BadInput("The file is empty: its first line has to name the columns.")
    return data, header, line


def end_of_last_row(data):
    """Length of the whole rows in data. A line break between quotation marks ends none."""
    end = data.rfind(b"\n") + 1
    while end and data.count(b'"', 0, end) % 2:
        end = data.rfind(b"\n", 0, end - 1) + 1
    return end


def split_rows(data):
    """The rows of a block as bytes, without their line ends. Empty lines are no rows, but they are lines: they are among them."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if b'"' not in data:
        return [line[:-1] if line.endswith(b"\r") else line for line in lines]
    rows, held = [], []
    for line in lines:
        held.append(line)
        if sum(part.count(b'"') for part in held) % 2 == 0:
            row = b"\n".join(held)
            rows.append(row[:-1] if row.endswith(b"\r") else row)
            held = []
    if held:
        raise BadInput("A quotation mark is not closed in the row that begins %r." % held[0][:40].decode("utf-8", "replace"))
    return rows


def read_blocks(stream, size=BLOCK_BYTES, line=2):
    """Cut what follows the header into blocks of whole rows: (number of the first line, bytes)."""
    data, final = b"", False
    while not final:
        more = stream.read(size)
        data, final = data + more, not more
        end = len(data) if final else end_of_last_row(data)
        block, data = data[:end], data[end:]
        if len(data) > LONGEST_ROW_BYTES:
            raise BadInput("The row in line %d does not end: a quotation mark is not closed." % (line + block.count(b"\n")))
        if not block.strip(b"\r\n"):
            line += block.count(b"\n")
            continue
        try:
            block.decode("utf-8")
        except UnicodeDecodeError as exc:
            raise BadInput("Line %d is not UTF-8. Save the file as UTF-8." % (line + block.count(b"\n", 0, exc.start))) from exc
        yield line, block
        line += block.count(b"\n")


def number_of_values(row):
    return row.count(b",") + 1 if b'"' not in row else len(next(csv.reader(io.StringIO(row.decode(), newline="")), []))


def check_widths(rows, first_line, expected):
    line = first_line
    for row in rows:
        found = number_of_values(row)
        if row and found != expected:
            raise BadInput("Line %d has %d values, but the first line names %d columns." % (line, found, expected))
        line += 1 + row.count(b"\n")


def check_value(text, kind):
    """What is wrong with a value, None if nothing is."""
    pattern = TYPES[kind][2]
    if pattern is None or (not text.strip() and kind in ("double", "float")):
        # What is left out is missing to the model.
        return None
    if not text.strip():
        return "is empty, but the model wants %s" % kind
    if not pattern.fullmatch(text):
        return "is %r, but the model wants %s" % (text[:80], kind)
    if kind in RANGES and not -RANGES[kind] <= int(text) < RANGES[kind]:
        return "is %s, which is too large for %s" % (text.strip()[:80], kind)
    if kind in LARGEST and "n" not in text.lower() and abs(float(text)) > LARGEST[kind]:
        return "is %s, which is too large for %s" % (text.strip()[:80], kind)
    return None


def check_values(rows, first_line, header, columns):
    """Name the first value that does not fit its column."""
    places = [(place, name, kind) for place, name, kind in places_of(header, columns) if TYPES[kind][2]]
    line = first_line
    for row in rows:
        values = next(csv.reader(io.StringIO(row.decode(), newline="")), [])
        for place, name, kind in places if row else []:
            problem = check_value(values[place], kind)
            if problem:
                raise BadInput("Line %d: %s %s." % (line, name, problem))
        line += 1 + row.count(b"\n")


def places_of(header, columns):
    known = {name: place for place, name in enumerate(header)}
    return [(known[name], name, kind) for name, kind in columns]


def line_of_row(rows, first_line, number):
    """The line in which one of the rows that are not empty begins."""
    line = first_line
    for row in rows:
        if row and not number:
            break
        number -= bool(row)
        line += 1 + row.count(b"\n")
    return line


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


def checksum(directory):
    """One digest of all files below a directory, names and contents."""
    digest = hashlib.sha256()
    names = sorted(os.path.relpath(os.path.join(place, name), directory) for place, _dirs, names in os.walk(directory) for name in names)
    for name in names:
        with open(os.path.join(directory, name), "rb") as stream:
            content = hashlib.sha256()
            for part in iter(lambda stream=stream: stream.read(1 << 20), b""):
                content.update(part)
        digest.update(("%s  %s\n" % (content.hexdigest(), name)).encode())
    return digest.hexdigest()


# -- on the executors --------------------------------------------------------------------------------------------------


def parse_csv(data, first_line, header, columns):
    """A block as a pandas frame with the model's columns. What is left out is missing, for text, too: so pandas and Spark read it in training."""
    rows = split_rows(data)
    check_widths(rows, first_line, len(header))
    places = places_of(header, columns)
    frame = read_fast(rows, places, len(header)) if len(header) <= FEW_COLUMNS else None
    if frame is None:
        check_values(rows, first_line, header, columns)
        frame = read_slowly(rows, places)
    if len(frame) != len(rows) - rows.count(b""):
        raise BadInput("Lines %d and following cannot be read: %d lines became %d rows." % (first_line, len(rows), len(frame)))
    frame = frame[[place for place, _name, _kind in places]]
    frame.columns = [name for _place, name, _kind in places]
    return frame


def read_fast(rows, places, width):
    """None where pandas does not take a value, or does not hold it."""
    import numpy
    import pandas

    try:
        frame = pandas.read_csv(
            io.BytesIO(b"\n".join(filter(None, rows))), header=None, names=range(width), usecols=sorted(place for place, _name, _kind in places),
            index_col=False, skip_blank_lines=False, dtype={place: TYPES[kind][1] for place, _name, kind in places}, float_precision="round_trip",
            keep_default_na=False, na_values={place: [""] for place, _name, kind in places if kind in ("double", "float", "string")})
    except (ValueError, OverflowError):
        return None
    for place, _name, kind in places:
        values = frame[place].values
        # What is too large for a type has become infinite, or would become another number.
        if (kind in LARGEST and numpy.isinf(values).any()) or (kind == "integer" and (abs(values) >= RANGES[kind]).any()):
            return None
    narrow = {place: "int32" for place, _name, kind in places if kind == "integer"}
    return frame.astype(narrow) if narrow else frame


def read_slowly(rows, places):
    """What check_values has passed: with blanks around numbers, or of very many columns, for each of which pandas takes its time."""
    import numpy
    import pandas

    texts = [next(csv.reader(io.StringIO(row.decode(), newline=""))) for row in rows if row]
    readers = dict.fromkeys(("long", "integer"), int)
    readers.update(dict.fromkeys(("double", "float"), lambda text: float(text) if text.strip() else numpy.nan))
    readers.update(boolean=lambda text: text.strip().lower() == "true", string=lambda text: text or numpy.nan)
    parts = []
    for kind, read in readers.items():
        found = [place for place, _name, of in places if of == kind]
        if found:
            dtype = {"string": "object", "integer": "int32"}.get(kind, TYPES[kind][1])
            parts.append(pandas.DataFrame(numpy.array([[read(row[place]) for place in found] for row in texts], dtype=dtype), columns=found))
    return pandas.concat(parts, axis=1)


def parse_parquet(data, columns):
    import pyarrow

    return pyarrow.ipc.open_stream(data).read_all().to_pandas(date_as_object=False)[[name for name, _kind in columns]]


def parse_block(block, header, columns):
    """header is None for Parquet, whose columns have their types."""
    return parse_csv(block.data, block.line, header, columns) if header else parse_parquet(block.data, columns)


def parser(header, columns):
    """What the executors do with blocks where Spark applies the model."""
    def parse(frames):
        import numpy

        for frame in frames:
            for block in frame.itertuples(index=False):
                rows = parse_block(block, header, columns)
                rows.insert(0, ROW, numpy.arange(block.row, block.row + len(rows)))
                yield rows
    return parse


def empty_cell(frame, block, header):
    """Where the first value is that is missing, or an empty text."""
    import numpy

    places = numpy.argwhere(frame.isna().values)
    if not len(places):
        return ""
    row, column = places[0]
    where = "line %d" % line_of_row(split_rows(block.data), block.line, row) if header else "row %d" % (block.row + row + 1)
    return "%s: %s is empty" % (where, frame.columns[column])


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


# -- on the driver -----------------------------------------------------------------------------------------------------


# For a local session in front of another: it would make up a secret of its own, and the process would keep that.
NO_SECURITY = {"spark.authenticate": "false", "spark.network.crypto.enabled": "false"}


def session(master, settings):
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("batch_scoring").master(master)
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    # What goes wrong comes back as an exception.
    spark.sparkContext.setLogLevel("OFF")
    return spark


def sparkling_water_jar():
    import sparkling_water

    return "file://" + os.path.join(os.path.dirname(sparkling_water.__file__), "sparkling_water_assembly.jar")


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
        # What is pickled here refers to it by its name.
        self.spark.sparkContext.addPyFile(csv_files.__file__)

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
                return (self.score_parquet if magic == b"PAR1" else self.score_csv)(source, staged, keep_extra)
        except Exception as exc:
            if self.expired.is_set():
                raise BadInput("It was not scored within %d seconds (score_offline_timeout)." % timeout) from exc
            raise
        finally:
            clock.cancel()

    def score_csv(self, source, staged, keep_extra):
        first, header, after = read_header(source)
        check_columns(header, self.columns, keep_extra)
        end = "\r\n" if first.endswith(b"\r\n") else "\n"

        size = max(SMALLEST_BLOCK_BYTES, min(BLOCK_BYTES, os.fstat(source.fileno()).st_size // (2 * self.cores)))

        def blocks():
            for line, data in read_blocks(source, size, after):
                rows = [row for row in split_rows(data) if row]
                yield len(rows), line, data, rows

        total = 0
        with open(staged, "wb") as target:
            target.write(first.rstrip(b"\r\n") + ("," + PREDICTION + end).encode())
            for parts, predictions in self.score(blocks(), header, self.columns):
                ends = ("," + as_text(value) + end for value in predictions)
                target.write(b"".join(row + tail.encode() for row, tail in zip(chain.from_iterable(parts), ends)))
                total += len(predictions)
            flush(target)
        return total

    def score_parquet(self, source, staged, keep_extra):
        import pyarrow
        from pyarrow import parquet

        table = parquet.ParquetFile(source)
        schema = table.schema_arrow
        check_columns(schema.names, self.columns, keep_extra)
        wanted = {"double": pyarrow.float64(), "float": pyarrow.float32(), "long": pyarrow.int64(), "integer": pyarrow.int32(),
                  "boolean": pyarrow.bool_(), "string": pyarrow.string()}

        places = [(place, name, wanted[kind], kind) for place, name, kind in places_of(schema.names, self.columns)]

        def blocks():
            row = 1
            for batch in table.iter_batches(batch_size=20000):
                arrays = []
                for place, name, as_wanted, kind in places:
                    array = batch.column(place)
                    try:
                        arrays.append(array.cast(as_wanted))
                    except pyarrow.ArrowException as exc:
                        raise BadInput("Rows %d and following: %s is %s, but the model wants %s: %s" % (row, name, array.type, kind, exc)) from exc
                    if array.null_count and kind in ("long", "integer", "boolean"):
                        at = row + array.is_null().to_pylist().index(True)
                        raise BadInput("Row %d: %s is empty, but the model wants %s." % (at, name, kind))
                sink = io.BytesIO()
                block = pyarrow.RecordBatch.from_arrays(arrays, names=[name for name, _kind in self.columns])
                with pyarrow.ipc.new_stream(sink, block.schema) as writer:
                    writer.write_batch(block)
                yield batch.num_rows, row, sink.getvalue(), batch
                row += batch.num_rows

        total, writer = 0, None
        with open(staged, "wb") as target:
            for batches, predictions in self.score(blocks(), None, self.columns):
                part = pyarrow.Table.from_batches(batches)
                part = part.append_column(PREDICTION, prediction_column(predictions, writer and writer.schema.field(PREDICTION).type))
                writer = writer or parquet.ParquetWriter(target, part.schema)
                writer.write_table(part)
                total += len(predictions)
            if writer is None:
                raise BadInput("The file has no rows.")
            writer.close()
            flush(target)
        return total


def spark_security():
    """Whether Spark's settings ask for a login and encryption."""
    path = os.path.join(os.environ.get("SPARK_CONF_DIR", ""), "spark-defaults.conf")
    settings = {}
    if os.path.exists(path):
        with open(path, encoding="utf-8") as stream:
            settings = dict(line.split(None, 1) for line in stream if line.startswith("spark."))
    return {name: settings.get(name, "false").strip() for name in NO_SECURITY}


def prediction_column(values, kind):
    """kind is what the first ones were, None for these."""
    import pyarrow

    try:
        return pyarrow.array(values, type=kind, from_pandas=False)
    except pyarrow.ArrowException as exc:
        raise BadInput("The model predicts values of several types (%s): set batch_scoring_result_type." % exc) from exc


def number_rows(blocks):
    row = 0
    for count, line, data, kept in blocks:
        yield row, count, line, data, kept
        row += count


def flush(target):
    target.flush()
    os.fsync(target.fileno())


def explain(exc):
    """Why a file failed, in few lines. Spark hides what a Python worker said in a long report of Java's."""
    if isinstance(exc, BadInput):
        return str(exc)
    text = str(exc)
    found = re.search(r"BadInput: (.*)", text)
    if found:
        return found.group(1)
    if isinstance(exc, PermissionError):
        return "The account that scores, %s, may not read or write %s." % (getpass.getuser(), os.path.basename(exc.filename or "it"))
    if isinstance(exc, OSError):
        return "%s: %s" % (exc.filename or "the scored file", exc.strerror or exc)
    # The last one is the root of the others; some only say that there is another.
    named = re.findall(r"^(?:: |Caused by: )?([\w.$]+(?:Error|Exception): (?!Traceback|Exception thrown|Job aborted).*)", text, re.MULTILINE)
    return named[-1] if named else "%s: %s" % (type(exc).__name__, text.strip().split("\n", 1)[0])


def score(order):
    """Yields an answer for each file."""
    try:
        scorer = Scorer(order["model"], order["master"], order["prediction_column"], order["result_type"])
    except Exception as exc:  # whatever a model or a cluster throws: the answer has to say it for every file
        traceback.print_exc()
        for item in order["files"]:
            yield {"name": item["name"], "problem": "The model could not be loaded. " + explain(exc)}
        return
    for item in order["files"]:
        began = time.time()
        try:
            rows = scorer.score_file(item["path"], item["staged"], order["extra_columns"] == "keep", order["timeout"])
            yield {"name": item["name"], "rows": rows, "seconds": round(time.time() - began, 3)}
        except Exception as exc:  # one file's failure is not the others'
            if not isinstance(exc, BadInput):
                traceback.print_exc()
            if os.path.exists(item["staged"]):
                os.unlink(item["staged"])
            yield {"name": item["name"], "problem": explain(exc)}
    scorer.spark.stop()


# -- the model ---------------------------------------------------------------------------------------------------------


def resolve(client, name, wanted):
    """The registered version that a version number or a stage means."""
    from mlflow.exceptions import MlflowException

    try:
        if wanted.isdigit():
            found = client.get_model_version(name, wanted)
        else:
            stage = {stage.lower(): stage for stage in STAGES}.get(wanted.lower())
            if stage is None:
                raise BadInput("%r is neither a version nor a stage: set batch_scoring_model_version to a number or to one of %s."
                               % (wanted, ", ".join(STAGES)))
            newest = client.get_latest_versions(name, [stage])
            if not newest:
                have = ", ".join("%s (%s)" % (one.version, one.current_stage) for one in client.search_model_versions("name='%s'" % name))
                raise BadInput("No version of the model %s is in stage %s; there are: %s." % (name, stage, have or "none"))
            found = newest[0]
    except MlflowException as exc:
        raise BadInput("The registry at %s: %s" % (os.environ.get("MLFLOW_TRACKING_URI"), exc.message)) from exc
    if found.status != "READY":
        raise BadInput("Version %s of the model %s is not ready, but %s." % (found.version, name, found.status))
    return found


def is_as_fetched(path, noted):
    try:
        with open(noted, encoding="ascii") as stream:
            expected = stream.read()
    except OSError:
        return False
    if os.path.exists(path) and checksum(path) != expected:
        print("The files of the model in %s are not as they were fetched; they are fetched anew." % path, file=sys.stderr)
        return False
    return os.path.exists(path)


def fetch(name, found, home):
    """The version's files on this host; they are fetched once, anew where they are not what was fetched, and those of other versions removed."""
    from mlflow.artifacts import download_artifacts

    prefix = quote(name, safe="") + "@"
    wanted = os.path.join(home, "%s%s-%s" % (prefix, found.version, found.creation_timestamp))
    # Not one of the names that are removed below.
    noted = os.path.join(home, "." + os.path.basename(wanted) + ".sha256")
    if not is_as_fetched(wanted, noted):
        shutil.rmtree(wanted, ignore_errors=True)
        partial = os.path.join(home, ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        os.makedirs(partial)
        files = download_artifacts(artifact_uri="models:/%s/%s" % (name, found.version), dst_path=partial)
        with open(noted, "w", encoding="ascii") as stream:
            stream.write(checksum(files))
        os.rename(files, wanted)
        shutil.rmtree(partial, ignore_errors=True)
        for other in glob.glob(os.path.join(home, glob.escape(prefix) + "*")):
            if other != wanted:
                shutil.rmtree(other)
        for other in glob.glob(os.path.join(home, "." + glob.escape(prefix) + "*")):
            if other != noted:
                os.unlink(other)
    return wanted


def as_mojo(path):
    """A model of H2O for Python as a MOJO, which Sparkling Water applies without an H2O server. Only H2O itself can make one; it is kept."""
    kept = path + ".mojo"
    if not os.path.exists(kept):
        import mlflow.h2o
        from pysparkling import H2OContext

        session("local[1]", dict(NO_SECURITY, **{"spark.jars": sparkling_water_jar()}))
        H2OContext.getOrCreate()
        found = mlflow.h2o.load_model(path)
        if not found.have_mojo:
            raise BadInput("H2O cannot export a model of the kind %s as a MOJO, so it cannot be scored here." % found.algo)
        partial = tempfile.mkdtemp(dir=os.path.dirname(path), prefix=".mojo-")
        found.download_mojo(partial)
        os.rename(partial, kept)
    return glob.glob(os.path.join(glob.escape(kept), "*"))[0]


def describe(path, columns):
    """What a model's files say about it. columns stands in for a signature that is not there."""
    import yaml

    with open(os.path.join(path, "MLmodel"), encoding="utf-8") as stream:
        mlmodel = yaml.safe_load(stream)
    signature = mlmodel.get("signature") or {}
    wanted = signature_columns(signature.get("inputs")) or list(columns.items())
    if not wanted:
        raise BadInput("The model has no signature that names its columns. Log it with one, or set batch_scoring_columns to the columns and "
                       "their types.")
    check_types(wanted)
    outputs = json.loads(signature.get("outputs") or "[]")
    result_types = {output.get("name", ""): output.get("type", "") for output in outputs}
    stages = glob.glob(os.path.join(path, "**", "metadata", "part-*"), recursive=True)
    return {
        "path": path,
        "checksum": checksum(path),
        "columns": wanted,
        "flavors": sorted(mlmodel.get("flavors", {})),
        "result_types": result_types,
        "sparkling_water": any("ai.h2o.sparkling" in open(stage, encoding="utf-8").read() for stage in stages),
    }


def model(order):
    from mlflow.tracking import MlflowClient

    found = resolve(MlflowClient(), order["name"], order["version"])
    path = fetch(order["name"], found, order["home"])
    described = describe(path, order["columns"])
    mojo = as_mojo(path) if "h2o" in described["flavors"] and "spark" not in described["flavors"] else ""
    yield dict(described, mojo=mojo, name=order["name"], version=str(found.version), stage=found.current_stage)


def answers(order):
    """What is asked for, or in a sentence why not; the whole story is in the log."""
    try:
        yield from {"model": model, "score": score}[sys.argv[1]](order)
    except BadInput as exc:
        yield {"problem": str(exc)}
    except Exception as exc:
        traceback.print_exc()
        yield {"problem": explain(exc)}


def private_folder():
    """MLflow lets everybody write into the folders that it makes for a model (CVE-2024-27134). They come to lie where nobody else gets to."""
    tempfile.tempdir = tempfile.mkdtemp(prefix="mlflow-scoring-")
    atexit.register(shutil.rmtree, tempfile.tempdir, ignore_errors=True)


def main():
    private_folder()
    for answer in answers(json.load(sys.stdin)):
        print("\n" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
