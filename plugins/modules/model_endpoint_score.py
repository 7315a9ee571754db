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

from ansible_collections.sparkflows.mlops.plugins.module_utils.checksums import sha256
from ansible_collections.sparkflows.mlops.plugins.module_utils.csv_files import SEPARATORS
from ansible_collections.sparkflows.mlops.plugins.module_utils.endpoint_predictions import Predictions
from ansible_collections.sparkflows.mlops.plugins.module_utils.endpoint_requests import CONTENT_TYPES, EndpointModule, predict_all
from ansible_collections.sparkflows.mlops.plugins.module_utils.endpoint_rows import is_json, read_table
from ansible_collections.sparkflows.mlops.plugins.module_utils.files import require_directory
from ansible_collections.sparkflows.mlops.plugins.module_utils.module import Outcome
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError


def checksum(path):
    """The SHA-256 of a file that may be missing, which is None then."""
    try:
        return sha256(path)
    except FileNotFoundError:
        return None


def score(module):
    params, dest = module.params, module.params["dest"]
    if params["chunk_rows"] < 1:
        raise MlopsError("chunk_rows must be 1 or more.")
    if dest:
        require_directory(dest, "dest")
    table = read_table(params)
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
