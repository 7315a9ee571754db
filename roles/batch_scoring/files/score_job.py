"""Scores files with a registered model, all of them in one Spark session.

    score_job.py model   asks the registry which version is meant, fetches it, says what it is
    score_job.py score   scores files with a fetched model

Reads its order as JSON from standard input and answers with lines of JSON on standard output, one about the model or one for each file as soon
as it is done. Spark's settings come from
$SPARK_CONF_DIR/spark-defaults.conf, MLflow's from the environment. Runs on Python 3.7 with pyspark 3.2 and MLflow 1.30.

A file is cut into blocks of whole rows. The executors parse and check a block and apply the model to it; only row numbers and predictions
come back, and are written beside the rows that the driver has read. So the workers of a cluster need neither the input files nor the
output directory, no row can change its place, and memory holds a few blocks and not a file.
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
from urllib.parse import quote

PREDICTION = "prediction"
ROW = "__row"
# One block is the work of one task; a small file is cut finer, so that every core has some of it.
BLOCK_BYTES = 4 << 20
SMALLEST_BLOCK_BYTES = 64 << 10
# A row that is longer is none: a quotation mark is not closed.
LONGEST_ROW_BYTES = 64 << 20
STAGES = ("None", "Staging", "Production", "Archived")

# Type in the model's signature: (Spark's, pandas', what its text has to look like).
NUMBER = re.compile(r"\s*[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf(inity)?)\s*", re.IGNORECASE | re.ASCII)
INTEGER = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)
TRUTH = re.compile(r"true|false", re.IGNORECASE)
TYPES = {
    "double": ("double", "float64", NUMBER),
    "float": ("float", "float32", NUMBER),
    "long": ("bigint", "int64", INTEGER),
    "integer": ("int", "int64", INTEGER),
    "boolean": ("boolean", "bool", TRUTH),
    "string": ("string", "str", None),
}
RANGES = {"long": 1 << 63, "integer": 1 << 31}


class BadInput(Exception):
    """What is wrong with a file, a model or an order, in words for who gave it."""


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
    wanted = [name for name, _type in columns]
    problems = []
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        problems.append("the column %s is there more than once" % ", ".join(twice))
    missing = [name for name in wanted if name not in header]
    if missing:
        problems.append("the column %s is missing" % ", ".join(missing))
    extra = [name for name in header if name not in wanted]
    if extra and not keep_extra:
        problems.append("the model does not know the column %s (set score_offline_extra_columns to keep to pass it by)" % ", ".join(extra))
    elif PREDICTION in extra:
        problems.append("the column %s is where the prediction would go: rename it" % PREDICTION)
    if problems:
        text = "; ".join(problems)
        raise BadInput(text[0].upper() + text[1:] + ".")


def read_header(line):
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise BadInput("Line 1 is not UTF-8. Save the file as UTF-8.") from exc
    header = next(csv.reader([text]), [])
    if not header:
        raise BadInput("The file is empty: its first line has to name the columns.")
    return header


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


def read_blocks(stream, size=BLOCK_BYTES):
    """Cut what follows the header into blocks of whole rows: (number of the first line, bytes)."""
    line, data, final = 2, b"", False
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
    if pattern is None or (not text and kind in ("double", "float")):
        # A number that is left out is not a number to the model.
        return None
    if not text:
        return "is empty, but the model wants %s" % kind
    if not pattern.fullmatch(text):
        return "is %r, but the model wants %s" % (text[:80], kind)
    if kind in RANGES and not -RANGES[kind] <= int(text) < RANGES[kind]:
        return "is %s, which is too large for %s" % (text.strip()[:80], kind)
    return None


def check_values(rows, first_line, header, columns):
    """Name the first value that does not fit its column."""
    places = [(header.index(name), name, kind) for name, kind in columns]
    line = first_line
    for row in rows:
        values = next(csv.reader(io.StringIO(row.decode(), newline="")), [])
        for place, name, kind in places if row else []:
            problem = check_value(values[place], kind)
            if problem:
                raise BadInput("Line %d: %s %s." % (line, name, problem))
        line += 1 + row.count(b"\n")


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
    """A block as a pandas frame with the model's columns."""
    import pandas

    rows = split_rows(data)
    check_widths(rows, first_line, len(header))
    kinds = dict(columns)
    try:
        frame = pandas.read_csv(
            io.BytesIO(data), header=None, names=header, usecols=list(kinds), index_col=False,
            dtype={name: TYPES[kind][1] for name, kind in columns}, float_precision="round_trip", keep_default_na=False,
            na_values={name: [""] for name, kind in columns if kind in ("double", "float")})
        for name, kind in columns:
            if kind == "integer" and not frame[name].between(-RANGES[kind], RANGES[kind] - 1).all():
                raise ValueError("%s is too large" % name)
    except (ValueError, OverflowError) as exc:
        check_values(rows, first_line, header, columns)
        raise BadInput("Lines %d and following cannot be read: %s" % (first_line, exc)) from exc
    if len(frame) != len(rows) - rows.count(b""):
        raise BadInput("Lines %d and following cannot be read: %d lines became %d rows." % (first_line, len(rows), len(frame)))
    return frame


def parse_parquet(data, columns):
    import pyarrow

    return pyarrow.ipc.open_stream(data).read_all().to_pandas(date_as_object=False)[[name for name, _kind in columns]]


def parser(header, columns):
    """What the executors do with blocks. header is None for Parquet, whose columns have their types."""
    def parse(frames):
        import numpy

        for frame in frames:
            for block in frame.itertuples(index=False):
                rows = parse_csv(block.data, block.line, header, columns) if header else parse_parquet(block.data, columns)
                rows.insert(0, ROW, numpy.arange(block.row, block.row + len(rows)))
                yield rows
    return parse


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

    def __init__(self, model, master):
        self.path = model["path"]
        self.mojo = model["mojo"]
        self.native = bool(self.mojo) or "spark" in model["flavors"]
        self.columns = [tuple(column) for column in model["columns"]]
        check_types(self.columns)
        self.schema = ", ".join(["%s bigint" % ROW] + ["`%s` %s" % (name.replace("`", "``"), TYPES[kind][0]) for name, kind in self.columns])
        self.settings = {"spark.jars": sparkling_water_jar()} if self.mojo or model["sparkling_water"] else {}
        self.result_type = {"string": "string", "long": "long", "integer": "long", "boolean": "boolean"}.get(model["result_type"], "double")
        self.master = master
        self.expired = threading.Event()
        self.transform = self.load()
        # Two windows are in memory, one that is scored and one that is written.
        self.cores = max(2, self.spark.sparkContext.defaultParallelism)
        self.window = 2 * self.cores

    def session(self, master, **settings):
        self.spark = session(master, dict(self.settings, **settings))

    def load(self):
        """A function that adds the column prediction to a frame.

        What Spark itself understands, and H2O's models, are applied by Spark in Java. Everything else is a UDF that calls the model in
        Python; MLflow sends the model to the workers.
        """
        if not self.native:
            import mlflow.pyfunc
            from pyspark.sql.functions import col, struct

            self.session(self.master)
            udf = mlflow.pyfunc.spark_udf(self.spark, self.path, result_type=self.result_type, env_manager="local")
            wanted = struct(*[col("`%s`" % name).alias(name) for name, _kind in self.columns])
            return lambda frame: frame.withColumn(PREDICTION, udf(wanted))

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
        import numpy

        if self.expired.is_set():
            raise BadInput("It took too long.")
        context = self.spark.sparkContext
        rows = context.parallelize([(row, line, data) for row, _count, line, data in blocks], len(blocks))
        frame = self.spark.createDataFrame(rows, "row bigint, line bigint, data binary", verifySchema=False)
        scored = self.transform(frame.mapInPandas(parser(header, columns), self.schema))
        if PREDICTION not in scored.columns:
            raise BadInput("The model makes no column %s, but %s." % (PREDICTION, ", ".join(set(scored.columns) - set(frame.columns))))
        kind = scored.schema[PREDICTION].dataType.simpleString()
        if kind not in ("double", "float", "bigint", "int", "smallint", "tinyint", "boolean", "string"):
            raise BadInput("The model predicts %s, which is no single number or text." % kind)
        result = scored.select(ROW, PREDICTION).toPandas()
        first, expected = blocks[0][0], sum(count for _row, count, _line, _data in blocks)
        if not numpy.array_equal(result[ROW].values, numpy.arange(first, first + expected)):
            raise BadInput("The model left rows out: %d of the %d rows from row %d on came back." % (len(result), expected, first + 1))
        if kind not in ("double", "float") and result[PREDICTION].isna().any():
            raise BadInput("The model has no prediction for row %d." % (first + 1 + int(result[PREDICTION].isna().values.argmax())))
        return result[PREDICTION].tolist()

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
        first = source.readline()
        header = read_header(first)
        check_columns(header, self.columns, keep_extra)
        end = "\r\n" if first.endswith(b"\r\n") else "\n"

        size = max(SMALLEST_BLOCK_BYTES, min(BLOCK_BYTES, os.fstat(source.fileno()).st_size // (2 * self.cores)))

        def blocks():
            for line, data in read_blocks(source, size):
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

        def blocks():
            row = 1
            for batch in table.iter_batches(batch_size=20000):
                arrays = []
                for name, kind in self.columns:
                    array = batch.column(schema.names.index(name))
                    try:
                        arrays.append(array.cast(wanted[kind]))
                    except pyarrow.ArrowException as exc:
                        raise BadInput("Rows %d and following: %s is %s, but the model wants %s: %s" % (row, name, array.type, kind, exc)) from exc
                    if array.null_count and kind in ("long", "integer", "boolean"):
                        raise BadInput("Rows %d and following: %s is empty in some, but the model wants %s." % (row, name, kind))
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
                part = part.append_column(PREDICTION, pyarrow.array(predictions, from_pandas=False))
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
        scorer = Scorer(order["model"], order["master"])
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
    stages = glob.glob(os.path.join(path, "**", "metadata", "part-*"), recursive=True)
    return {
        "path": path,
        "checksum": checksum(path),
        "columns": wanted,
        "flavors": sorted(mlmodel.get("flavors", {})),
        "result_type": outputs[0].get("type", "") if outputs else "",
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
