# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Predictions of a served model: which value of an answer is one, and the file that they become."""

import gzip
import io
import json
import math
import os
import tempfile

from ansible_collections.sparkflows.mlops.plugins.module_utils.csv_files import quoted
from ansible_collections.sparkflows.mlops.plugins.module_utils.endpoint_rows import CsvFile, Row, csv_line, is_json
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError


def chosen(prediction, field):
    """The prediction in what a model says about a row, which is a record where the model gives a table. MlopsError if it is not told which."""
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
    """The prediction, or MlopsError if it is none."""
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
