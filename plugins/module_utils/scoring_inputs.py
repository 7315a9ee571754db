# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Files that are to be scored: which can be, how their CSV is written, and what a method gets that would not understand it."""

import os

from ansible_collections.sparkflows.mlops.plugins.module_utils import csv_files
from ansible_collections.sparkflows.mlops.plugins.module_utils.parquet import parquet_shapes

COMPRESSED = (".gz", ".bz2", ".xz", ".zip", ".zst", ".lz4", ".snappy")


class Dialect:
    """How the input's CSV files are written, how the method writes what it has scored, and what reads Parquet: options of the module scored_files."""

    def __init__(self, separator="comma", encoding="utf-8", quotation="detected", parquet_python=None):
        self.parquet_python = parquet_python
        self.separator, self.encoding = csv_files.SEPARATORS[separator], encoding
        # Whether the method may have written quotation marks as Spark does.
        self.detected = quotation == "detected"
        # What the manifest says, less what is the rule.
        self.record = {
            key: value
            for key, value, rule in (("separator", separator, "comma"), ("encoding", encoding, "utf-8"))
            if value != rule
        }

    def rows(self, path):
        """The rows that there are, the header first: of each the number of its first line, its values, and its text with the line end."""
        with csv_files.open_text(path, self.encoding) as file:
            yield from (row for row in csv_files.read_rows(file, self.separator) if row[1])


def look_at_csv(path, dialect):
    """The number of rows of an input file, an int, and whether it is as every reader takes it. csv_files.BadInput if it cannot be scored."""
    csv_files.check_text(path, dialect.encoding)
    rows = dialect.rows(path)
    _line, header, text = next(rows, (0, [], ""))
    csv_files.check_header(header, text)
    plain = not dialect.record and csv_files.encoding_of(path) == ("utf-8", "") and csv_files.is_plain(text)
    count = 0
    for line, values, text in rows:
        csv_files.check_width(line, values, header)
        plain = plain and csv_files.is_plain(text)
        count += 1
    return count, plain


def look_at_parquet(path, dialect):
    """The same of a Parquet file, which every reader takes."""
    columns, rows = parquet_shapes(dialect.parquet_python, path)[0]
    csv_files.check_header(columns)
    return rows, True


def write_plain(path, target, dialect):
    """A copy of an input file as every reader takes it: in UTF-8, separated by commas. Its lines keep their numbers."""
    with csv_files.open_text(path, dialect.encoding) as source, open(target, "w", encoding="utf-8", newline="") as file:
        for _line, values, _text in csv_files.read_rows(source, dialect.separator):
            # A row of one empty value would be an empty line.
            file.write((",".join(map(csv_files.quoted, values)) or '""' * len(values)) + "\n")


# By format, which is the ending of the name.
LOOK_AT = {"csv": look_at_csv, "parquet": look_at_parquet}


def format_of(name):
    """A key of LOOK_AT, by the ending of a file's name, or None."""
    ending = os.path.splitext(name)[1].lower().lstrip(".")
    return ending if ending in LOOK_AT else None


def unlike(name):
    """What has to be done before a file is one that is scored, if it looks as if it were meant. Else an empty text."""
    stem, ending = os.path.splitext(name.lower())
    if ending in COMPRESSED and format_of(stem):
        return "it is compressed: unpack it"
    if ending in (".tsv", ".tab"):
        return "rename it to *.csv, and set score_offline_separator to tab"
    return ""
