# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rows for a served model: from a CSV file, or a list of records or columns and data."""

import csv
import gzip
import io
import json
import math
import zlib
from collections import Counter
from contextlib import contextmanager
from itertools import islice

from ansible_collections.sparkflows.mlops.plugins.module_utils.csv_files import (
    SEPARATORS,
    BadInput,
    check_header,
    encoding_of,
    first_wrong,
    is_empty,
    line_end,
    number,
    read_rows,
)
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError


def is_json(path):
    """Whether a file is JSON, by the ending of its name."""
    return path.endswith((".json", ".json.gz"))


def opened(path, mode, **more):
    """The file, unpacked if its name ends in .gz."""
    return gzip.open(path, mode, **more) if path.endswith(".gz") else open(path, mode, **more)


@contextmanager
def source(path, **more):
    """The file with the rows; what is wrong with it while it is read is told in an MlopsError."""
    try:
        with opened(path, "rt", **more) as file:
            yield file
    except UnicodeDecodeError as error:
        with opened(path, "rb") as file:
            wrong = first_wrong(file, more["encoding"])
        what = f"line {wrong[0]} has the byte 0x{wrong[2] or 0:02x}" if wrong else "it has changed while it was read"
        raise MlopsError(f"src: {path} is not in {more['encoding'].upper()}: {what}.") from error
    except (EOFError, OSError, zlib.error) as error:
        if getattr(error, "errno", None):
            raise MlopsError(f"src: cannot read {path}: {error.strerror}.") from error
        raise MlopsError(f"src: {path} is no complete gzip file: {error}.") from error


class Row:
    """What stands in one row of a file, `text`, and what it means. `line` is its first one."""

    def __init__(self, line, values, text):
        self.line, self.values, self.text = line, values, text

    def scored(self, field):
        """The row as it was, and one field more."""
        end = line_end(self.text)
        return self.text[: len(self.text) - len(end)] + field + end


class CsvFile:
    """Rows of a CSV file with a header. An empty line is no row. MlopsError if the file is not as it has to be."""

    def __init__(self, path, separator, encoding, text_columns):
        self.path, self.separator = path, separator
        try:
            with source(path):
                self.encoding, self.mark = encoding_of(path, encoding, opened)
        except LookupError as error:
            raise MlopsError(f"encoding is {encoding}, which Python does not know.") from error
        self.header = next(self.read(), None)
        if self.header is None:
            raise MlopsError(f"src: {path} is empty.")
        self.check_names(text_columns)
        # What has no name is the index that pandas writes. No model can ask for it.
        self.sent = [place for place, name in enumerate(self.header.values) if name]
        self.columns = [self.header.values[place] for place in self.sent]
        self.look(text_columns)

    def wrong(self, line, what):
        return MlopsError(f"src: line {line} of {self.path}{what}.")

    def read(self):
        """All rows, the header first."""
        try:
            with source(self.path, encoding=self.encoding, newline="") as file:
                file.read(len(self.mark))
                width = None
                for line, values, text in read_rows(file, self.separator):
                    if values:
                        width = width or len(values)
                        if len(values) != width:
                            raise self.wrong(line, f" has {len(values)} values, the header has {width}")
                        yield Row(line, values, text)
        except BadInput as error:
            raise MlopsError(f"src: {self.path}: {error}.") from error

    def check_names(self, text_columns):
        names = self.header.values
        try:
            check_header(names, self.header.text, "separator", None)
        except BadInput as error:
            raise MlopsError(f"src: {self.path}: {error}.") from error
        if not any(names):
            raise self.wrong(self.header.line, " names no column")
        unknown = set(text_columns) - set(names)
        if unknown:
            raise MlopsError(f"text_columns: {self.path} has no column {sorted(unknown)[0]}.")

    def look(self, text_columns):
        """Find out which columns have numbers only, so that all rows of a column are sent alike."""
        self.numeric, self.text_at, self.rows = set(), {}, 0
        undecided = {place for place in self.sent if self.header.values[place] not in text_columns}
        infinite = {}
        for row in islice(self.read(), 1, None):
            self.rows += 1
            for place in list(undecided):
                text = row.values[place]
                if is_empty(text):
                    continue
                found = number(text)
                if found is None:
                    self.text_at.setdefault(place, row)
                else:
                    self.numeric.add(place)
                    if found in (float("inf"), float("-inf")):
                        infinite.setdefault(place, row)
                if place in self.text_at and place in self.numeric:
                    undecided.discard(place)
        # Numbers and text, by the first row with text.
        self.mixed = {place: row for place, row in self.text_at.items() if place in self.numeric}
        self.numeric -= set(self.mixed)
        for place in sorted(self.numeric & set(infinite), key=lambda place: infinite[place].line):
            raise self.wrong(infinite[place].line, f": {self.told(place, infinite[place])}, which is too large for a number")
        if not self.rows:
            raise MlopsError(f"src: {self.path} has a header and no rows.")

    def told(self, place, row):
        text = row.values[place]
        return f"{self.header.values[place]} is " + (repr(text.strip()[:80]) if text.strip() else "empty")

    def doubtful(self, row):
        """What in a row that the model has refused is unlike the rest of its column."""
        numbers = self.numeric | set(self.mixed)
        odd = [self.told(place, row) for place in sorted(numbers) if number(row.values[place]) is None]
        odd = odd or [f"{self.told(place, other)} in line {other.line}" for place, other in sorted(self.mixed.items())]
        return "; ".join(odd[:5])

    def __iter__(self):
        return islice(self.read(), 1, None)  # without the header

    def as_json(self, row):
        """The values as they are sent."""
        values = row.values
        return [
            values[place] or None if place not in self.numeric else None if is_empty(values[place]) else number(values[place])
            for place in self.sent
        ]

    def as_text(self, row):
        return [row.values[place].strip() if place in self.numeric else row.values[place] for place in self.sent]


class JsonRows:
    """Rows that were given as a list of records, or as columns and data, or as the JSON of these. MlopsError if they are neither."""

    separator, encoding, mark, header = ",", "utf-8", "", None

    def __init__(self, given, where):
        self.where = where
        if isinstance(given, str):  # AWX and the command line give text
            try:
                given = json.loads(given)
            except ValueError as error:
                raise MlopsError(f"{where} is not JSON: {error}.") from error
        self.columns, self.data = self.table(given)
        twice = [name for name, count in Counter(map(str, self.columns)).items() if count > 1]
        if twice:
            raise MlopsError(f"{where}: the column {twice[0]} is there more than once.")
        self.rows = len(self.data)
        for line, values in enumerate(self.data, 1):
            for place, found in enumerate(values):
                if isinstance(found, float) and not math.isfinite(found):
                    if not math.isnan(found):
                        raise MlopsError(f"{where}: row {line}: {self.columns[place]} is too large for a number.")
                    values[place] = None

    def table(self, given):
        where = self.where
        if isinstance(given, dict) and isinstance(given.get("columns"), list) and isinstance(given.get("data"), list):
            columns, data = given["columns"], given["data"]
            wrong = [line for line, row in enumerate(data, 1) if not isinstance(row, list) or len(row) != len(columns)]
            if wrong:
                raise MlopsError(f"{where}: row {wrong[0]} has not {len(columns)} values, as there are columns.")
        elif isinstance(given, list) and given and all(isinstance(row, dict) for row in given):
            columns = list(given[0])
            for line, row in enumerate(given, 1):
                other = set(row) ^ set(columns)
                if other:
                    raise MlopsError(f"{where}: row {line} has other columns than row 1: {', '.join(sorted(map(str, other))[:5])}.")
            data = [[row[column] for column in columns] for row in given]
        else:
            raise MlopsError(f"{where} must be a list of records, or columns and data.")
        if not columns or not data:
            raise MlopsError(f"{where} has no rows.")
        return columns, data

    def __iter__(self):
        for line, values in enumerate(self.data, 1):
            yield Row(line, values, csv_line(values, ","))

    def as_json(self, row):
        return row.values

    as_text = as_json

    def doubtful(self, row):
        return ", ".join([f"{name} is null" for name, found in zip(self.columns, row.values) if found is None][:5])


def csv_line(values, separator):
    """The values as a line of CSV."""
    stream = io.StringIO()
    csv.writer(stream, delimiter=separator, lineterminator="\n").writerow(values)
    return stream.getvalue()


def read_table(params):
    """The CsvFile or JsonRows of a module's options rows, src, separator, encoding and text_columns. MlopsError if they are no rows."""
    path = params["src"]
    if path is None:
        return JsonRows(params["rows"], "rows")
    if not is_json(path):
        return CsvFile(path, SEPARATORS[params["separator"]], params["encoding"], params["text_columns"])
    with source(path, encoding="utf-8-sig") as file:
        return JsonRows(file.read(), f"src: {path}")
