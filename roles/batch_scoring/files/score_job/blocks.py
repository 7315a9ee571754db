"""A block as a pandas frame with the columns that the model wants. Runs on the executors."""

import csv
import io

from .columns import LARGEST, RANGES, TYPES, places_of
from .csv_files import BadInput
from .rows import check_widths, line_of_row, split_rows
from .values import check_values

ROW = "__row"
# pandas' time for a column of a type of its own grows with their number.
FEW_COLUMNS = 500


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
