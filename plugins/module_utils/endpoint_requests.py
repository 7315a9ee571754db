# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests to a model that MLflow serves: how rows are sent, what it answers, and which row it does not take."""

import json
import time

from ansible.module_utils.urls import basic_auth_header
from ansible_collections.sparkflows.mlops.plugins.module_utils.csv_files import LIKE_A_NUMBER
from ansible_collections.sparkflows.mlops.plugins.module_utils.endpoint_rows import CsvFile, csv_line
from ansible_collections.sparkflows.mlops.plugins.module_utils.module import MlopsModule
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import HttpClient, MlopsError

PATH = "/invocations"
CONTENT_TYPES = {
    "pandas-split": "application/json; format=pandas-split",
    "dataframe_split": "application/json",
    "csv": "text/csv",
}
# Rows in one request end here even if chunk_rows would allow more: memory of both sides is bounded, and nginx takes it.
LARGEST_CHUNK = 8 << 20


def connection_spec():
    """Options of a module that say which served model, a dict of their specifications."""
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
    """A served model, by the options of connection_spec. warn(text) is told what is not safe."""

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
        """The predictions, a list, of as many rows as count says. `where` says in messages which.

        Refusal if the model does not take the rows, MlopsError if anything else comes back.
        """
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
    """A module that talks to a served model."""

    connection_spec = staticmethod(connection_spec)
    make_client = EndpointClient


def format_of(params, columns):
    """How the rows are sent, a key of CONTENT_TYPES."""
    if params["input_format"]:
        return params["input_format"]
    return "csv" if all(LIKE_A_NUMBER.match(str(column)) for column in columns) else "pandas-split"


def chunks(rows, most):
    """Lists of rows for one request each, of `most` rows or fewer."""
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
    """What is sent of the rows of a table, as bytes."""
    if input_format == "csv":
        return "".join([csv_line(table.columns, ","), *(csv_line(table.as_text(row), ",") for row in rows)]).encode("utf-8")
    split = {"columns": table.columns, "data": [table.as_json(row) for row in rows]}
    return json.dumps(split if input_format == "pandas-split" else {"dataframe_split": split}).encode("utf-8")


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
    """Hand all rows of a table to predictions.add(rows, predictions), and return their count, that of requests, and the time."""
    count, requests, began = 0, 0, time.monotonic()
    for rows in chunks(table, module.params["chunk_rows"]):
        try:
            found = predict(module, table, rows, count + 1)
        except Refusal as refusal:
            refuse(module, table, rows, count + 1, refusal)
        predictions.add(rows, found)
        count, requests = count + len(rows), requests + 1
    return {"rows": count, "requests": requests, "seconds": round(time.monotonic() - began, 2)}
