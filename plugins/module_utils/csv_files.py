# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""CSV files that are scored: one parser and one set of rules for all who read them.

The plan and the record (module scored_files), the workflow's files (module workflow_files) and the scoring job of the role batch_scoring,
which has a copy of this file beside it. So: the standard library only, and nothing of Ansible.
"""

import codecs
import csv
import itertools
import re
import sys
from collections import Counter
from decimal import Decimal

PREDICTION = "prediction"
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
CHUNK = 1 << 20
csv.field_size_limit(sys.maxsize)

NUMBER = re.compile(r"\s*[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf(inity)?)\s*", re.IGNORECASE | re.ASCII)
INTEGER = re.compile(r"\s*[+-]?\d+\s*", re.ASCII)
# More digits no double has when it is written out.
DOUBLE_DIGITS = 17
# A row as RFC 4180 has it, which any reader takes; csv takes more (a quotation mark in the middle of a value).
FIELD = r'(?:"(?:[^"]|"")*"|[^",\r\n]*)'
PLAIN_ROW = re.compile(f"{FIELD}(?:,{FIELD})*")
# As Spark writes by default: \" and \\ between quotation marks, no other backslash there, and backslashes as they are elsewhere.
SPARK_MARKS = re.compile(r'\\.|(")', re.DOTALL)
SPARK_FIELD = re.compile(r'"((?:[^"\\]|\\["\\])*)"|([^",\r\n][^,\r\n]*|)', re.DOTALL)
SPARK_ESCAPES = re.compile(r'\\(["\\])')


class BadInput(Exception):
    """What is wrong with a file, in words for who gave it."""


class Different(BadInput):
    """Its rows, read in one way, are not the given ones. row is the first that is not."""

    def __init__(self, problem, row):
        super().__init__(problem)
        self.row = row


# ---- reading
def check_text(path, encoding="utf-8"):
    """Refuse what is not in this encoding, and say where."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line, offset = 1, 0
    with open(path, "rb") as file:
        for chunk in itertools.chain(iter(lambda: file.read(CHUNK), b""), [b""]):
            held = decoder.getstate()[0]
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as exc:
                data, start = exc.args[1:3]
                line += data[:start].count(b"\n")
                place = offset - len(held) + start
                raise BadInput(
                    f"it is not {encoding.upper()}: line {line} has the byte 0x{data[start]:02x} (byte {place + 1} of the file). "
                    "Convert it to UTF-8, or set score_offline_encoding to what it is, for example cp1252."
                ) from exc
            if "\0" in text:
                raise BadInput(
                    f"it is not text in {encoding.upper()}: it has zero bytes. Is it UTF-16 (set score_offline_encoding to utf-16), or binary?"
                )
            line += chunk.count(b"\n")
            offset += len(chunk)


def open_text(path, encoding="utf-8"):
    """For reading. Spreadsheets put a mark before UTF-8; it is dropped."""
    return open(path, encoding=encoding_of(path, encoding), newline="")


def encoding_of(path, encoding="utf-8"):
    """With or without a mark at the beginning, as the file has it."""
    if codecs.lookup(encoding).name != "utf-8":
        return encoding
    with open(path, "rb") as file:
        return "utf-8-sig" if file.read(3) == codecs.BOM_UTF8 else "utf-8"


def read_rows(lines, separator=","):
    """For each row: number of its first line, its values, and its text with the line end. Empty lines are no rows: they have no values."""
    held = []

    def remember():
        for line in lines:
            held.append(line)
            yield line

    reader = csv.reader(remember(), delimiter=separator, strict=True)
    while True:
        first = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            reason = "a quotation mark is not closed" if "unexpected end" in str(exc) else str(exc)
            raise BadInput(f"line {first} is not CSV: {reason}") from exc
        yield first, values, "".join(held)
        del held[:]


def read_spark_rows(lines):
    """The same of what Spark has written."""
    held, first, is_open = [], 1, False
    for number, line in enumerate(lines, 1):
        held.append(line)
        if sum(1 for mark in SPARK_MARKS.findall(line) if mark) % 2:
            is_open = not is_open
        if not is_open:
            text = "".join(held)
            yield first, spark_values(text.rstrip("\r\n"), first), text
            held, first = [], number + 1
    if held:
        raise BadInput(f"line {first} is not CSV: a quotation mark is not closed")


def spark_values(text, line):
    values, at = [], 0
    while text:
        found = SPARK_FIELD.match(text, at)
        at = found.end()
        if at < len(text) and text[at] != ",":
            raise BadInput(f"line {line} is not CSV: ',' expected after '\"'")
        values.append(found.group(2) if found.group(1) is None else SPARK_ESCAPES.sub(r"\1", found.group(1)))
        if at == len(text):
            break
        at += 1
    return values


def read_scored(paths, attempt):
    """The result of attempt with the way to read that fits what has been scored: as Spark writes, or as RFC 4180 has it.

    "C:\\\\dir, x" is a row in both, with other values. Where all backslashes between quotation marks are as Spark writes them, it has written them,
    unless attempt finds that its rows are not the given ones.
    """
    problems = []
    for read in [read_spark_rows] * any(map(has_backslash, paths)) + [read_rows]:
        try:
            return attempt(read)
        except BadInput as problem:
            problems.append(problem)
    # Of the way that can read it, and fits for longer.
    raise max(reversed(problems), key=lambda problem: getattr(problem, "row", 0))


def has_backslash(path):
    with open(path, "rb") as file:
        return any(b"\\" in chunk for chunk in iter(lambda: file.read(CHUNK), b""))


def line_end(text):
    return text[len(text.rstrip("\r\n")) :]


def is_plain(text):
    """Whether each reader takes this row for what read_rows does."""
    if '"' not in text and "\r" not in text:
        return True
    end = line_end(text)
    return end in ("\n", "\r\n", "") and bool(PLAIN_ROW.fullmatch(text[: len(text) - len(end)]))


# ---- what a file has to be
def check_header(header, text=""):
    """text is the line that the header was read from."""
    if not header:
        raise BadInput("it has no header and no rows")
    if len(header) == 1 and text:
        for name, separator in SEPARATORS.items():
            if len(next(csv.reader([text], delimiter=separator), [])) > 1:
                raise BadInput(
                    f"its header {text.strip()[:40]!r} has one column only, but {name}s: set score_offline_separator to {name} "
                    "if they are between its values"
                )
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    if twice:
        raise BadInput(f"column {twice[0]} is in the header more than once")
    if PREDICTION in header:
        raise BadInput(f"it has a column {PREDICTION} already, which is the one that scoring adds: rename it")


def check_width(line, values, header):
    if len(values) != len(header):
        raise BadInput(f"line {line} has {len(values)} values, but the header has {len(header)} columns")


def label(header, place):
    return header[place] or f"column {place + 1} (without a name)"


def same_name(given, scored, place):
    """A column without a name gets one from Spark and from pandas."""
    return given == scored or (not given and scored in (f"_c{place}", f"Unnamed: {place}"))


# ---- comparing
def same(given, scored):
    """Whether a value is still the same, if perhaps written in another way (17.990 and 17.99, True and true)."""
    if given == scored:
        return True
    given, scored = given.strip(), scored.strip()
    if given == scored:
        return True
    before, after = given.lower(), scored.lower()
    if before in ("true", "false", "", "nan"):
        return before == after or (before in ("", "nan") and after in ("", "nan"))
    if not NUMBER.fullmatch(given) or not NUMBER.fullmatch(scored):
        return False
    if "n" in before or "n" in after:  # infinite
        return float(given) == float(scored)
    try:
        if Decimal(given) == Decimal(scored):
            return True
    except ArithmeticError:  # an exponent beyond all bounds
        return False
    # Rounded to what a double can hold: to be seen by how it is written. Whole numbers that stay whole may be ids.
    if INTEGER.fullmatch(given) and INTEGER.fullmatch(scored):
        return False
    return len(Decimal(scored).normalize().as_tuple().digits) <= DOUBLE_DIGITS and float(given) == float(scored)


def row_difference(header, number, given, line, scored):
    """What is wrong with a scored row, or an empty text."""
    if len(scored) != len(header) + 1:
        return f"line {line} of what was scored has {len(scored)} values instead of {len(header) + 1}"
    if not scored[-1].strip():
        return f"line {line} of what was scored has no {PREDICTION}"
    if given != scored[:-1]:
        for place, (before, after) in enumerate(zip(given, scored)):
            if not same(before, after):
                return (
                    f"row {number} of what was scored is not row {number} of the input: {label(header, place)} is "
                    f"{after[:40]!r} instead of {before[:40]!r}"
                )
    return ""


def quoted(value, separator=","):
    """As a value has to stand in a row."""
    if any(character in value for character in (separator, '"', "\r", "\n")):
        return '"' + value.replace('"', '""') + '"'
    return value
