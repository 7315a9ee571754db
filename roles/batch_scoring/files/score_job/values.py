"""Whether the values of a row fit the columns that the model wants."""

import csv
import io

from .columns import LARGEST, RANGES, TYPES, places_of
from .csv_files import BadInput


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
