"""A CSV file cut into blocks of whole rows, as bytes."""

import csv
import io

from .csv_files import BadInput

# One block is the work of one task.
BLOCK_BYTES = 4 << 20
# A row that is longer is none: a quotation mark is not closed.
LONGEST_ROW_BYTES = 64 << 20


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


def line_of_row(rows, first_line, number):
    """The line in which one of the rows that are not empty begins."""
    line = first_line
    for row in rows:
        if row and not number:
            break
        number -= bool(row)
        line += 1 + row.count(b"\n")
    return line
