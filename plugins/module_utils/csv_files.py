# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""CSV files that are scored: one parser and one set of rules for all who read them.

The plan and the record (module scored_files), the workflow's files (module workflow_files), served models (module model_endpoint_score), and two
programs that have a copy of this file: the scoring job of the role batch_scoring, and the role acceptance. So: the standard library only, and
nothing of Ansible.
"""

import codecs
import csv
import io
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


# Spreadsheets put a mark before what they write, and say by it how.
MARKS = (("utf-8", codecs.BOM_UTF8), ("utf-16-le", codecs.BOM_UTF16_LE), ("utf-16-be", codecs.BOM_UTF16_BE))
MARKED = {"utf-8": ("utf-8-sig",), "utf-16-le": ("utf-16",), "utf-16-be": ("utf-16",)}

# What a served model is sent as a number. What has a leading zero or a plus sign is a zip code or a telephone number, and sent as text.
PLAIN_NUMBER = re.compile(r"-?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# pandas knows whole numbers up to here. Longer ones are identifiers that would lose digits.
LARGEST = 1 << 63
# pandas takes such names in JSON for numbers and dates if all of them are, and the model does not find its columns.
LIKE_A_NUMBER = re.compile(r"\s*([+-]?\.?\d|(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun))", re.IGNORECASE)


class BadInput(Exception):
    """What is wrong with a file, in words for who gave it."""


class Different(BadInput):
    """Its rows, read in one way, are not the given ones. row is the first that is not."""

    def __init__(self, problem, row):
        super().__init__(problem)
        self.row = row


# ---- reading
def first_wrong(file, encoding):
    """Line, place and value of the first byte that is none in this encoding; no value for a character of zero. None if all is text."""
    decoder, lines = codecs.getincrementaldecoder(encoding)(), io.IncrementalNewlineDecoder(None, translate=True)
    line, offset = 1, 0
    # Lines are counted in the text: in UTF-16 each half of a character may look like a line end.
    for chunk in itertools.chain(iter(lambda: file.read(CHUNK), b""), [b""]):
        state = decoder.getstate()
        held, wrong = len(state[0]), None
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as exc:
            data, start = exc.args[1:3]
            decoder.setstate(state)
            text, wrong = decoder.decode(chunk[: max(0, start - held)]), (offset - held + start, data[start])
        if "\0" in text:
            return line + lines.decode(text[: text.index("\0")]).count("\n"), offset, None
        line += lines.decode(text, final=wrong is not None).count("\n")
        if wrong:
            return (line, *wrong)
        offset += len(chunk)
    return None


def check_text(path, encoding="utf-8"):
    """Refuse what is not in this encoding, and say where."""
    with open(path, "rb") as file:
        wrong = first_wrong(file, encoding)
    if wrong and wrong[2] is None:
        raise BadInput(f"it is not text in {encoding.upper()}: it has zero bytes. Is it UTF-16 (set score_offline_encoding to utf-16), or binary?")
    if wrong:
        raise BadInput(
            f"it is not {encoding.upper()}: line {wrong[0]} has the byte 0x{wrong[2]:02x} (byte {wrong[1] + 1} of the file). "
            "Convert it to UTF-8, or set score_offline_encoding to what it is, for example cp1252."
        )


def open_text(path, encoding="utf-8"):
    """For reading, after the mark that there may be at the beginning."""
    encoding, mark = encoding_of(path, encoding)
    file = open(path, encoding=encoding, newline="")  # noqa: SIM115 - the caller closes it
    file.read(len(mark))
    return file


def encoding_of(path, encoding="utf-8", opened=open):
    """The encoding in which the mark at the beginning of the file is a character like others, and that mark: so it can be kept, or left out."""
    name = codecs.lookup(encoding).name
    with opened(path, "rb") as file:
        start = file.read(3)
    for other, mark in MARKS:
        if name in (other, *MARKED.get(other, ())) and start.startswith(mark):
            return other, "\ufeff"
    return {"utf-8-sig": "utf-8"}.get(name, name), ""


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
def check_header(header, text="", option="score_offline_separator", prediction=PREDICTION):
    """text is the line that the header was read from, option what sets the separator."""
    if not header:
        raise BadInput("it has no header and no rows")
    if len(header) == 1 and text:
        for name, separator in SEPARATORS.items():
            if len(next(csv.reader([text], delimiter=separator), [])) > 1:
                raise BadInput(
                    f"its header {text.strip()[:40]!r} has one column only, but {name}s: set {option} to {name} "
                    "if they are between its values"
                )
    twice = [name for name, count in Counter(header).items() if name and count > 1]
    if twice:
        raise BadInput(f"column {twice[0]} is in the header more than once")
    if prediction in header:
        raise BadInput(f"it has a column {prediction} already, which is the one that scoring adds: rename it")


def check_width(line, values, header):
    if len(values) != len(header):
        raise BadInput(f"line {line} has {len(values)} values, but the header has {len(header)} columns")


def label(header, place):
    return header[place] or f"column {place + 1} (without a name)"


def same_name(given, scored, place):
    """A column without a name gets one from Spark and from pandas."""
    return given == scored or (not given and scored in (f"_c{place}", f"Unnamed: {place}"))


# ---- what a served model is sent
def number(text):
    """The number that a field is, or None. It is infinite if no number of 64 bits is that large."""
    text = text.strip()
    if not PLAIN_NUMBER.fullmatch(text):
        return None
    if not text.lstrip("-").isdigit():
        return float(text)
    # Python converts no number of thousands of digits.
    found = int(text) if len(text) <= 20 else LARGEST
    return found if -LARGEST <= found < LARGEST else None


def is_empty(text):
    return text.strip().lower() in ("", "nan")


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
