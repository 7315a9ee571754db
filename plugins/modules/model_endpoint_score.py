#!/usr/bin/python
# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

DOCUMENTATION = r"""
module: model_endpoint_score
short_description: Send rows to a served model and get its predictions
version_added: 1.0.0
description:
  - Sends rows to C(/invocations) of a model that MLflow serves, O(chunk_rows) at a time, and returns the predictions or
    writes them to a file.
  - There are as many predictions as rows, in their order, or the module fails. A prediction that is null or not a number is none.
author:
  - Sparkflows MLOps collection contributors (@sparkflows)
extends_documentation_fragment:
  - ansible.builtin.files
  - sparkflows.mlops.attributes
options:
  url:
    description: Address of the served model, for example V(https://mlflow.example.com:5001), with or without C(/invocations).
    type: str
    required: true
  username:
    description: User name, if the model is served with a login.
    type: str
  password:
    description: Password of O(username).
    type: str
  validate_certs:
    description: Whether to verify the TLS certificate. Prefer O(ca_path) to switching this off.
    type: bool
    default: true
  ca_path:
    description: PEM file with the CA certificate of the server, on the host on which the module runs. Then no other CA is trusted.
    type: path
  timeout:
    description: Seconds to wait for each answer.
    type: int
    default: 300
  retries:
    description:
      - How often a chunk is sent again when the answer is 429, 502, 503 or 504, with growing pauses and a warning each.
        To predict changes nothing, so it may be done twice.
    type: int
    default: 3
  rows:
    description: The rows, as a list of records or as C(columns) and C(data). Either this or O(src).
    type: raw
  src:
    description:
      - File with the rows on the host on which the module runs, in UTF-8 unless O(encoding) is set.
      - A name that ends in C(.json) is JSON and holds what O(rows) takes. Every other name is CSV with a header.
      - A name that ends in C(.gz) as well is compressed.
      - What is wrong with a value is told with its line and column. An empty line is no row.
    type: path
  separator:
    description: What is between the values of a CSV file. The scored file has it, too.
    type: str
    choices: [comma, semicolon, tab, pipe]
    default: comma
  encoding:
    description:
      - Encoding of a CSV file, as Python names it, for example V(cp1252) or V(utf-16). The scored file has it, too.
      - A mark at the beginning of the file stays.
    type: str
    default: utf-8
  text_columns:
    description:
      - Columns of a CSV file that are sent as text though all their values are numbers.
      - Without it, a column is sent as numbers if each of its values is one. V(02134) and V(+49151) are none. Blanks
        around a number do not count, and an empty field or V(NaN) is null.
      - A column without a name, as the index that pandas writes, is not sent.
    type: list
    elements: str
    default: []
  input_format:
    description:
      - How the rows are sent.
      - V(pandas-split) and V(csv) are what MLflow 1 takes. V(dataframe_split) is the JSON of MLflow 2, which takes V(csv), too.
      - V(csv) sends the values as they are written. The server decides what is a number, by the model's signature if
        that names the column.
      - The default is V(csv) where all columns have names like V(1100) or V(2024-01), which MLflow 1 takes for numbers
        or dates if they come as JSON, and else V(pandas-split).
    type: str
    choices: [pandas-split, dataframe_split, csv]
  chunk_rows:
    description: Number of rows in one request. There are fewer where they are long, so that a request has some 8 MiB.
    type: int
    default: 1000
  dest:
    description:
      - File for the predictions on the host on which the module runs. It appears when it is complete.
      - A name that ends in C(.json) gets a list of the predictions. Every other name gets CSV, the rows with their
        predictions in one more column, O(prediction_column). It is compressed if the name ends in C(.gz).
      - Rows from a CSV file are written as they stand there, byte for byte.
      - A prediction that is a list of several values stands in the CSV as JSON.
    type: path
  prediction_column:
    description: Name of the column with the predictions.
    type: str
    default: prediction
  prediction_field:
    description:
      - Which column is the prediction, where the model answers with a table.
      - Without it, a CSV file gets the column C(prediction) or C(predict), or the only one, and the module fails if
        there are others only. Everything else gets all columns.
    type: str
attributes:
  check_mode:
    support: full
    details: Predicts as well, because that changes nothing, but writes no file.
  diff_mode:
    support: full
    details: Shows the checksum of the file before and after, and no prediction.
  idempotent:
    support: full
    details: If the model says the same for the same rows.
notes:
  - Nothing but Python is needed on the host.
  - The module warns if O(url) is plain http, unless the server is on the same host.
"""

EXAMPLES = r"""
- name: Ask the model about two customers
  sparkflows.mlops.model_endpoint_score:
    url: https://mlflow.example.com:5001
    username: scoring
    password: "{{ vault_scoring_password }}"
    rows:
      - {age: 41, calls: 3}
      - {age: 23, calls: 11}
  register: churn

- name: Score a file
  sparkflows.mlops.model_endpoint_score:
    url: https://mlflow.example.com:5001
    src: /data/customers.csv
    dest: /data/customers-scored.csv
    mode: "0640"
"""

RETURN = r"""
predictions:
  description: The predictions, one for each row, as the model gave them.
  returned: if O(dest) is not given
  type: list
  elements: raw
  sample: [0.03, 0.91]
rows:
  description: Number of rows that were predicted.
  returned: success
  type: int
  sample: 2
requests:
  description: Number of requests that it took.
  returned: success
  type: int
  sample: 1
seconds:
  description: Time from the first request to the last answer.
  returned: success
  type: float
  sample: 0.08
dest:
  description: The file with the predictions.
  returned: if O(dest) is given
  type: str
  sample: /data/customers-scored.csv
"""

import csv
import gzip
import hashlib
import io
import json
import math
import os
import tempfile
import time
import zlib
from collections import Counter
from contextlib import contextmanager
from itertools import islice

from ansible.module_utils.urls import basic_auth_header
from ansible_collections.sparkflows.mlops.plugins.module_utils.csv_files import (
    LIKE_A_NUMBER,
    SEPARATORS,
    BadInput,
    check_header,
    encoding_of,
    first_wrong,
    is_empty,
    line_end,
    number,
    quoted,
    read_rows,
)
from ansible_collections.sparkflows.mlops.plugins.module_utils.files import require_directory
from ansible_collections.sparkflows.mlops.plugins.module_utils.module import MlopsModule, Outcome
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import HttpClient, MlopsError

PATH = "/invocations"
CONTENT_TYPES = {
    "pandas-split": "application/json; format=pandas-split",
    "dataframe_split": "application/json",
    "csv": "text/csv",
}


def connection_spec():
    return dict(
        url=dict(type="str", required=True),
        username=dict(type="str"),
        password=dict(type="str", no_log=True),
        validate_certs=dict(type="bool", default=True),
        ca_path=dict(type="path"),
        timeout=dict(type="int", default=300),
        retries=dict(type="int", default=3),
    )


class Refusal(MlopsError):
    """The model does not take the rows."""


class EndpointClient:
    def __init__(self, params, warn):
        url = params["url"].rstrip("/")
        self.http = HttpClient(
            url=url[: -len(PATH)] if url.endswith(PATH) else url,
            product="The model",
            timeout=params["timeout"],
            retries=params["retries"],
            validate_certs=params["validate_certs"],
            ca_path=params["ca_path"],
            warn=warn,
            login_advice="Check username and password, and that url is the address of a served model.",
        )
        if params["username"]:
            self.http.hide([params["password"]])
            self.http.headers["Authorization"] = basic_auth_header(params["username"], params["password"])

    def predict(self, body, content_type, where, count):
        """The predictions of as many rows as count says. `where` says in messages which."""
        answer = self.http.send("POST", PATH, data=body, headers={"Content-Type": content_type}, repeatable=True)
        data = answer.data()
        what = f"The model at {self.http.url}: POST {PATH} answered HTTP {answer.status}"
        if answer.status >= 400 and isinstance(data, dict) and "error_code" in data:
            # MLflow says that something went wrong, and where it has a trace, only the end of that says what.
            lines = [line.strip() for line in str(data.get("stack_trace") or "").splitlines() if line.strip()]
            said = ": ".join(dict.fromkeys(filter(None, [self.http.said(answer).rstrip("."), lines[-1] if lines else ""])))
            raise Refusal(f"{what} for {where}: {self.http.scrub(said)}")
        if answer.status == 413:
            raise MlopsError(f"{what} for {where}: the request is too large. Lower chunk_rows, or raise the limit of the server.")
        self.http.judge(answer)
        if isinstance(data, dict):  # MLflow 2
            data = data.get("predictions", data)
        if isinstance(data, dict) and data and all(isinstance(values, list) and len(values) == count for values in data.values()):
            data = [dict(zip(data, values)) for values in zip(*data.values())]  # a table by its columns
        if not isinstance(data, list) or len(data) != count:
            found = f"{len(data)} predictions" if isinstance(data, list) else "no list of predictions"
            raise MlopsError(f"{what} with {found} for {where}: {self.http.scrub(answer.text)[:300]}")
        return data


class EndpointModule(MlopsModule):
    connection_spec = staticmethod(connection_spec)
    make_client = EndpointClient


# ---- rows
def is_json(path):
    return path.endswith((".json", ".json.gz"))


def opened(path, mode, **more):
    return gzip.open(path, mode, **more) if path.endswith(".gz") else open(path, mode, **more)


@contextmanager
def source(path, **more):
    """The file with the rows; what is wrong with it while it is read is told."""
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
    """Rows of a CSV file with a header. An empty line is no row."""

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
    """Rows that were given as a list of records, or as columns and data."""

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
    stream = io.StringIO()
    csv.writer(stream, delimiter=separator, lineterminator="\n").writerow(values)
    return stream.getvalue()


def read(params):
    path = params["src"]
    if path is None:
        return JsonRows(params["rows"], "rows")
    if not is_json(path):
        return CsvFile(path, SEPARATORS[params["separator"]], params["encoding"], params["text_columns"])
    with source(path, encoding="utf-8-sig") as file:
        return JsonRows(file.read(), f"src: {path}")


# ---- requests
# Rows in one request end here even if chunk_rows would allow more: memory of both sides is bounded, and nginx takes it.
LARGEST_CHUNK = 8 << 20


def format_of(params, columns):
    if params["input_format"]:
        return params["input_format"]
    return "csv" if all(LIKE_A_NUMBER.match(str(column)) for column in columns) else "pandas-split"


def chunks(rows, most):
    chunk, size = [], 0
    for row in rows:
        chunk.append(row)
        size += len(row.text)
        if len(chunk) == most or size >= LARGEST_CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def body_of(table, rows, input_format):
    if input_format == "csv":
        return "".join([csv_line(table.columns, ","), *(csv_line(table.as_text(row), ",") for row in rows)]).encode("utf-8")
    split = {"columns": table.columns, "data": [table.as_json(row) for row in rows]}
    return json.dumps(split if input_format == "pandas-split" else {"dataframe_split": split}).encode("utf-8")


# ---- predictions
def chosen(prediction, field):
    """The prediction in what a model says about a row, which is a record where the model gives a table."""
    if isinstance(prediction, dict):
        names = [field] if field else [name for name in ("prediction", "predict") if name in prediction] or list(prediction)
        if len(names) > 1:
            raise MlopsError(f"The model answers with {', '.join(names)}: set prediction_field to the one that is the prediction.")
        if names[0] not in prediction:
            raise MlopsError(f"prediction_field is {field}, but the model answers with {', '.join(prediction)}.")
        prediction = prediction[names[0]]
    elif field:
        raise MlopsError(f"prediction_field is {field}, but the model answers with values that have no names.")
    while isinstance(prediction, list) and len(prediction) == 1:
        prediction = prediction[0]
    return prediction


def known(prediction, where):
    if prediction is None or (isinstance(prediction, float) and math.isnan(prediction)):
        raise MlopsError(f"The model has no prediction for {where}.")
    return prediction


def as_field(prediction, separator):
    """What stands in a CSV file."""
    return quoted(json.dumps(prediction) if isinstance(prediction, (list, dict)) else str(prediction), separator)


class Predictions:
    """Kept, or written beside the file that they will be."""

    def __init__(self, dest, table, params):
        self.all, self.json = [], not dest or is_json(dest)
        self.table, self.field = table, params["prediction_field"]
        self.place = "line" if isinstance(table, CsvFile) else "row"
        self.stream = self.path = None
        if not dest:
            return
        handle, self.path = tempfile.mkstemp(prefix=".ansible_", dir=os.path.dirname(os.path.realpath(dest)))
        binary = os.fdopen(handle, "wb")
        self.files = [binary]
        if dest.endswith(".gz"):  # without name and time: the same rows are the same file
            binary = gzip.GzipFile(filename="", mode="wb", fileobj=binary, mtime=0)
            self.files.insert(0, binary)
        self.stream = io.TextIOWrapper(binary, encoding="utf-8" if self.json else table.encoding, newline="")
        if not self.json:
            self.stream.write(table.mark)
            header = table.header or Row(0, table.columns, csv_line(table.columns, ","))
            self.write(header, params["prediction_column"])

    def write(self, row, prediction):
        try:
            self.stream.write(row.scored(self.table.separator + as_field(prediction, self.table.separator)))
        except UnicodeEncodeError as exc:
            character, encoding = exc.object[exc.start], self.table.encoding
            raise MlopsError(f"The prediction of line {row.line} has {character!r}, which {encoding} does not have: convert src to UTF-8.") from exc

    def add(self, rows, predictions):
        whole = self.json and not self.field
        for row, prediction in zip(rows, predictions):
            found = known(prediction if whole else chosen(prediction, self.field), f"{self.place} {row.line}")
            if self.json:
                self.all.append(found)
            else:
                self.write(row, found)

    def close(self):
        if self.stream:
            if self.json:
                json.dump(self.all, self.stream)
                self.stream.write("\n")
            self.stream.flush()
            self.stream.detach()
            *compressed, file = self.files
            for one in compressed:
                one.close()
            file.flush()
            os.fsync(file.fileno())
            file.close()

    def drop(self):
        if self.path and os.path.exists(self.path):
            self.files[-1].close()
            os.unlink(self.path)


def checksum(path):
    try:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            for piece in iter(lambda: file.read(1 << 20), b""):
                digest.update(piece)
        return digest.hexdigest()
    except FileNotFoundError:
        return None


def predict(module, table, rows, place):
    """The predictions of some rows. place is that of the first one."""
    input_format = format_of(module.params, table.columns)
    where = f"rows {place} to {place + len(rows) - 1}" if len(rows) > 1 else f"row {place}"
    if isinstance(table, CsvFile):
        lines = f"lines {rows[0].line} to {rows[-1].line}" if len(rows) > 1 else f"line {rows[0].line}"
        where += f" ({lines} of {table.path})"
    return module.client.predict(body_of(table, rows, input_format), CONTENT_TYPES[input_format], where, len(rows))


def refuse(module, table, rows, place, refusal):
    """Fail, and name the first row that the model does not take even alone."""
    while len(rows) > 1:
        half = len(rows) // 2
        try:
            predict(module, table, rows[:half], place)
            rows, place = rows[half:], place + half
        except Refusal as error:
            rows, refusal = rows[:half], error
    try:
        predict(module, table, rows, place)
    except Refusal as error:
        odd = table.doubtful(rows[0])
        raise MlopsError(str(error) + (f" ({odd})" if odd else "")) from refusal
    raise refusal


def predict_all(module, table, predictions):
    count, requests, began = 0, 0, time.monotonic()
    for rows in chunks(table, module.params["chunk_rows"]):
        try:
            found = predict(module, table, rows, count + 1)
        except Refusal as refusal:
            refuse(module, table, rows, count + 1, refusal)
        predictions.add(rows, found)
        count, requests = count + len(rows), requests + 1
    return {"rows": count, "requests": requests, "seconds": round(time.monotonic() - began, 2)}


def score(module):
    params, dest = module.params, module.params["dest"]
    if params["chunk_rows"] < 1:
        raise MlopsError("chunk_rows must be 1 or more.")
    if dest:
        require_directory(dest, "dest")
    table = read(params)
    if dest and params["prediction_column"] in table.columns and not is_json(dest):
        raise MlopsError(f"The rows have a column {params['prediction_column']} already: set prediction_column to another name.")
    predictions = Predictions(dest, table, params)
    try:
        result = predict_all(module, table, predictions)
        predictions.close()
        if not dest:
            return Outcome(predictions=predictions.all, **result)
        before, after = {"sha256": checksum(dest)}, {"sha256": checksum(predictions.path)}
        if before != after and not module.check_mode:
            module.atomic_move(predictions.path, dest)
    finally:
        predictions.drop()
    if before["sha256"] or not module.check_mode:
        attributes = module.load_file_common_arguments(params, path=dest)
        before["attributes"], after["attributes"] = False, module.set_fs_attributes_if_different(attributes, False)
    return Outcome(before, after, header=dest, dest=dest, **result)


def main():
    module = EndpointModule(
        argument_spec=dict(
            rows=dict(type="raw"),
            src=dict(type="path"),
            separator=dict(type="str", choices=list(SEPARATORS), default="comma"),
            encoding=dict(type="str", default="utf-8"),
            text_columns=dict(type="list", elements="str", default=[]),
            input_format=dict(type="str", choices=list(CONTENT_TYPES)),
            chunk_rows=dict(type="int", default=1000),
            dest=dict(type="path"),
            prediction_column=dict(type="str", default="prediction"),
            prediction_field=dict(type="str"),
        ),
        add_file_common_args=True,
        mutually_exclusive=[["rows", "src"]],
        required_one_of=[["rows", "src"]],
        required_together=[["username", "password"]],
    )
    module.run(score)


if __name__ == "__main__":
    main()
