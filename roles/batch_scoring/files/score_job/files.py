"""A file that is scored: read by the driver, and written with a prediction after each row."""

import io
import os
from contextlib import suppress
from itertools import chain

from .columns import check_columns, places_of
from .csv_files import PREDICTION, BadInput
from .predictions import as_text
from .rows import BLOCK_BYTES, read_blocks, read_header, split_rows

# A small file is cut finer, so that every core has some of it.
SMALLEST_BLOCK_BYTES = 64 << 10


def score_csv(scorer, source, staged, keep_extra):
    first, header, after = read_header(source)
    check_columns(header, scorer.columns, keep_extra)
    end = "\r\n" if first.endswith(b"\r\n") else "\n"
    size = max(SMALLEST_BLOCK_BYTES, min(BLOCK_BYTES, os.fstat(source.fileno()).st_size // (2 * scorer.cores)))

    def blocks():
        for line, data in read_blocks(source, size, after):
            rows = [row for row in split_rows(data) if row]
            yield len(rows), line, data, rows

    total = 0
    with open(staged, "wb") as target:
        target.write(first.rstrip(b"\r\n") + ("," + PREDICTION + end).encode())
        for parts, predictions in scorer.score(blocks(), header, scorer.columns):
            ends = ("," + as_text(value) + end for value in predictions)
            target.write(b"".join(row + tail.encode() for row, tail in zip(chain.from_iterable(parts), ends)))
            total += len(predictions)
        flush(target)
    return total


def score_parquet(scorer, source, staged, keep_extra):
    import pyarrow
    from pyarrow import parquet

    distrust_types_of_python()
    table = parquet.ParquetFile(source)
    schema = table.schema_arrow
    check_columns(schema.names, scorer.columns, keep_extra)
    wanted = {"double": pyarrow.float64(), "float": pyarrow.float32(), "long": pyarrow.int64(), "integer": pyarrow.int32(),
              "boolean": pyarrow.bool_(), "string": pyarrow.string()}

    places = [(place, name, wanted[kind], kind) for place, name, kind in places_of(schema.names, scorer.columns)]

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
            block = pyarrow.RecordBatch.from_arrays(arrays, names=[name for name, _kind in scorer.columns])
            with pyarrow.ipc.new_stream(sink, block.schema) as writer:
                writer.write_batch(block)
            yield batch.num_rows, row, sink.getvalue(), batch
            row += batch.num_rows

    total, writer = 0, None
    with open(staged, "wb") as target:
        for batches, predictions in scorer.score(blocks(), None, scorer.columns):
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


def distrust_types_of_python():
    """A file with such a type says what is run when it is opened (CVE-2023-47248, in pyarrow before 14.0.1)."""
    import pyarrow

    class Refused(pyarrow.ExtensionType):
        def __init__(self):
            super().__init__(pyarrow.null(), "arrow.py_extension_type")

        def __arrow_ext_serialize__(self):
            return b""

        @classmethod
        def __arrow_ext_deserialize__(cls, _storage_type, _serialized):
            raise BadInput("A column has a type of Python's own, with which a file could run commands: write it with a plain type.")

    with suppress(KeyError):  # later ones do not have it
        pyarrow.unregister_extension_type("arrow.py_extension_type")
    pyarrow.register_extension_type(Refused())


def prediction_column(values, kind):
    """kind is what the first ones were, None for these."""
    import pyarrow

    try:
        return pyarrow.array(values, type=kind, from_pandas=False)
    except pyarrow.ArrowException as exc:
        raise BadInput("The model predicts values of several types (%s): set batch_scoring_result_type." % exc) from exc


def flush(target):
    target.flush()
    os.fsync(target.fileno())
