#!/usr/bin/python
# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: model_endpoint_score
short_description: Send rows to a served model and get its predictions
version_added: 1.0.0
description:
  - Sends rows to C(/invocations) of a model that MLflow serves, O(chunk_rows) at a time, and returns the predictions or
    writes them to a file.
  - There are as many predictions as rows, in their order, or the module fails.
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
      - File with the rows on the host on which the module runs, in UTF-8.
      - A name that ends in C(.json) is JSON and holds what O(rows) takes. Every other name is CSV with a header.
    type: path
  input_format:
    description:
      - How the rows are sent.
      - V(pandas-split) and V(csv) are what MLflow 1 takes. V(dataframe_split) is the JSON of MLflow 2, which takes V(csv), too.
      - From a CSV file, V(csv) sends the values as they are written there, and the others send what looks like a number as a
        number and an empty field as null.
    type: str
    choices: [pandas-split, dataframe_split, csv]
    default: pandas-split
  chunk_rows:
    description: Number of rows in one request.
    type: int
    default: 1000
  dest:
    description:
      - File for the predictions on the host on which the module runs. It appears when it is complete.
      - A name that ends in C(.json) gets a list of the predictions. Every other name gets CSV, the rows with their
        predictions in one more column, O(prediction_column).
      - A prediction with several values stands in the CSV as JSON.
    type: path
  prediction_column:
    description: Name of the column with the predictions.
    type: str
    default: prediction
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
import hashlib
import io
import json
import os
import re
import sys
import tempfile
import time
from itertools import islice

from ansible.module_utils.urls import basic_auth_header
from ansible_collections.sparkflows.mlops.plugins.module_utils.files import require_directory
from ansible_collections.sparkflows.mlops.plugins.module_utils.module import MlopsModule, Outcome
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import HttpClient, MlopsError

PATH = "/invocations"
CONTENT_TYPES = {
    "pandas-split": "application/json; format=pandas-split",
    "dataframe_split": "application/json",
    "csv": "text/csv",
}
csv.field_size_limit(sys.maxsize)


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

    def predict(self, body, content_type, first, count):
        """The predictions of these rows; first is the number of the first one."""
        where = f"rows {first} to {first + count - 1}" if count > 1 else f"row {first}"
        answer = self.http.send("POST", PATH, data=body, headers={"Content-Type": content_type}, repeatable=True)
        data = answer.data()
        trace = data.get("stack_trace") if isinstance(data, dict) else None
        if answer.status >= 400 and trace:
            # MLflow says that something went wrong, and only the end of the trace says what.
            lines = [line.strip() for line in str(trace).splitlines() if line.strip()]
            said = self.http.scrub(": ".join(dict.fromkeys([answer.message.rstrip("."), lines[-1] if lines else ""])))
            raise MlopsError(f"The model at {self.http.url}: POST {PATH} answered HTTP {answer.status} for {where}: {said}")
        self.http.judge(answer)
        if isinstance(data, dict):  # MLflow 2
            data = data.get("predictions")
        if not isinstance(data, list) or len(data) != count:
            found = f"{len(data)} predictions" if isinstance(data, list) else "no list of predictions"
            raise MlopsError(
                f"The model at {self.http.url}: POST {PATH} answered HTTP {answer.status} with {found} for {where}: "
                f"{self.http.scrub(answer.text[:300])}"
            )
        return data


class EndpointModule(MlopsModule):
    connection_spec = staticmethod(connection_spec)
    make_client = EndpointClient


# ---- rows
def value(text):
    """A CSV field as the JSON value that it looks like."""
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    if re.fullmatch(r"[+-]?(\d+\.\d*|\.?\d+)([eE][+-]?\d+)?", text):
        return float(text)
    return text or None


def table(rows, where):
    """Columns and rows of what is given as JSON."""
    if isinstance(rows, str):  # AWX and the command line give text
        try:
            rows = json.loads(rows)
        except ValueError as error:
            raise MlopsError(f"{where} is not JSON: {error}.") from error
    if isinstance(rows, dict) and isinstance(rows.get("columns"), list) and isinstance(rows.get("data"), list):
        columns, data = rows["columns"], rows["data"]
        wrong = [number for number, row in enumerate(data, 1) if not isinstance(row, list) or len(row) != len(columns)]
        if wrong:
            raise MlopsError(f"{where}: row {wrong[0]} has not {len(columns)} values, as there are columns.")
    elif isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
        columns = list(rows[0])
        wrong = [number for number, row in enumerate(rows, 1) if set(row) != set(columns)]
        if wrong:
            raise MlopsError(f"{where}: row {wrong[0]} has other columns than row 1.")
        data = [[row[column] for column in columns] for row in rows]
    else:
        raise MlopsError(f"{where} must be a list of records, or columns and data.")
    if not columns or not data:
        raise MlopsError(f"{where} has no rows.")
    return columns, data


def csv_rows(path):
    """The header, then the rows."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        header = None
        try:
            for row in reader:
                if row:
                    header = header or row
                    if len(row) != len(header):
                        raise MlopsError(f"src: line {reader.line_num} of {path} has {len(row)} values, the header has {len(header)}.")
                    yield row
        except (csv.Error, UnicodeDecodeError) as error:
            raise MlopsError(f"src: line {reader.line_num + 1} of {path} is not CSV in UTF-8: {error}.") from error


def read(params):
    """Columns, and an iterator over the rows."""
    path = params["src"]
    if path is None:
        columns, rows = table(params["rows"], "rows")
        return columns, iter(rows)
    try:
        if path.endswith(".json"):
            with open(path, encoding="utf-8-sig") as file:
                columns, rows = table(file.read(), f"src: {path}")
            return columns, iter(rows)
        rows = csv_rows(path)
        columns = next(rows, None)
    except OSError as error:
        raise MlopsError(f"src: cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise MlopsError(f"src: {path} is not in UTF-8: {error}.") from error
    if columns is None:
        raise MlopsError(f"src: {path} is empty.")
    return columns, rows if params["input_format"] == "csv" else ([value(field) for field in row] for row in rows)


def body_of(columns, rows, input_format):
    if input_format == "csv":
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows([columns, *rows])
        return stream.getvalue().encode("utf-8")
    split = {"columns": columns, "data": rows}
    return json.dumps(split if input_format == "pandas-split" else {"dataframe_split": split}).encode("utf-8")


# ---- predictions
def plain(prediction):
    """What stands in a CSV field."""
    while isinstance(prediction, (list, dict)) and len(prediction) == 1:
        prediction = next(iter(prediction.values() if isinstance(prediction, dict) else prediction))
    return json.dumps(prediction) if isinstance(prediction, (list, dict)) else prediction


class Predictions:
    """Kept, or written beside the file that they will be."""

    def __init__(self, dest, columns, name):
        self.all, self.json = [], not dest or dest.endswith(".json")
        if not dest:
            self.stream = self.path = None
            return
        handle, self.path = tempfile.mkstemp(prefix=".ansible_", dir=os.path.dirname(os.path.realpath(dest)))
        self.stream = os.fdopen(handle, "w", encoding="utf-8", newline="")
        if not self.json:
            self.writer = csv.writer(self.stream, lineterminator="\n")
            self.writer.writerow([*columns, name])

    def add(self, rows, predictions):
        if self.json:
            self.all += predictions
        else:
            self.writer.writerows([*row, plain(prediction)] for row, prediction in zip(rows, predictions))

    def close(self):
        if self.stream:
            if self.json:
                json.dump(self.all, self.stream)
                self.stream.write("\n")
            self.stream.flush()
            os.fsync(self.stream.fileno())
            self.stream.close()

    def drop(self):
        if self.path and os.path.exists(self.path):
            self.stream.close()
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


def predict_all(module, columns, rows, predictions):
    params, count, requests, began = module.params, 0, 0, time.monotonic()
    while True:
        chunk = list(islice(rows, params["chunk_rows"]))
        if not chunk:
            break
        body = body_of(columns, chunk, params["input_format"])
        predictions.add(chunk, module.client.predict(body, CONTENT_TYPES[params["input_format"]], count + 1, len(chunk)))
        count, requests = count + len(chunk), requests + 1
    if not count:
        raise MlopsError(f"src: {params['src']} has a header and no rows.")
    return {"rows": count, "requests": requests, "seconds": round(time.monotonic() - began, 2)}


def score(module):
    params, dest = module.params, module.params["dest"]
    if params["chunk_rows"] < 1:
        raise MlopsError("chunk_rows must be 1 or more.")
    if dest:
        require_directory(dest, "dest")
    columns, rows = read(params)
    if dest and params["prediction_column"] in columns and not dest.endswith(".json"):
        raise MlopsError(f"The rows have a column {params['prediction_column']} already: set prediction_column to another name.")
    predictions = Predictions(dest, columns, params["prediction_column"])
    try:
        result = predict_all(module, columns, rows, predictions)
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
            input_format=dict(type="str", choices=list(CONTENT_TYPES), default="pandas-split"),
            chunk_rows=dict(type="int", default=1000),
            dest=dict(type="path"),
            prediction_column=dict(type="str", default="prediction"),
        ),
        add_file_common_args=True,
        mutually_exclusive=[["rows", "src"]],
        required_one_of=[["rows", "src"]],
        required_together=[["username", "password"]],
    )
    module.run(score)


if __name__ == "__main__":
    main()
