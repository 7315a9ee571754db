"""The columns that a model wants, and whether a file has them."""

import json
import re
import sys

from . import csv_files
from .csv_files import INTEGER, NUMBER, BadInput

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


def places_of(header, columns):
    known = {name: place for place, name in enumerate(header)}
    return [(known[name], name, kind) for name, kind in columns]
