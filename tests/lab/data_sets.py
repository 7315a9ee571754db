#!/usr/bin/env python
"""Five data sets, and models that answer by a rule: what each way to score is proven with besides the lab's own model.

    data_sets.py <folder>    writes <folder>/<name>/in/*.csv, the rows, and <folder>/<name>/model, a model in MLflow's format with a signature

The same each time. A rule is such that a value that was changed on the way changes the prediction: a zip code without its zero, an empty value that
became 0, a number without its last digit. So what it says in training is computed here, without pandas, and has to be what everybody gets.
"""

import csv
import io
import math
import os
import random
import sys

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}


class DataSet:
    # What the columns of the model are; the file may have more.
    columns = {}
    separator, encoding, line_end, quoting, mark, files, rows = "comma", "utf-8", "\n", csv.QUOTE_MINIMAL, "", 1, 100

    def header(self):
        return list(self.columns)

    def texts(self):
        """File by file, the text and the predictions."""
        chance = random.Random(type(self).__name__)
        for number in range(self.files):
            rows = [self.row(chance, line) for line in range(self.rows)]
            stream = io.StringIO()
            writer = csv.writer(stream, delimiter=SEPARATORS[self.separator], quoting=self.quoting, lineterminator=self.line_end)
            writer.writerows([self.header(), *rows])
            yield f"{number:03d}.csv", self.mark + stream.getvalue(), [self.predict(self.typed(row)) for row in rows]

    def typed(self, row):
        read = {"double": float, "long": int, "string": str}
        record = dict(zip(self.header(), row))
        return {name: read[kind](record[name]) if record[name].strip() else float("nan") if kind == "double" else None
                for name, kind in self.columns.items()}


class Loans(DataSet):
    """Text labels; ids that look like numbers; everything in quotation marks, lines as Windows ends them, a mark at the beginning."""

    columns = {"account": "string", "zip": "string", "phone": "string", "amount": "double", "months": "long"}
    line_end, quoting, mark = "\r\n", csv.QUOTE_ALL, "\ufeff"

    def row(self, chance, line):
        return [f"{123 + line:06d}", f"{chance.randrange(10**5):05d}", f"+49151{chance.randrange(10**8):08d}", f"{chance.uniform(10, 9999):.2f}",
                str(chance.randrange(6, 72))]

    def predict(self, record):
        if not record["phone"].startswith("+") or len(record["account"]) != 6:
            return "damaged"
        return "decline" if record["zip"].startswith("0") else "approve, quickly" if record["amount"] < 200 * record["months"] else 'see "manual"'


class Sensors(DataSet):
    """Nulls; semicolons, cp1252, and a column that the model does not know."""

    columns = {"wärme": "double", "druck": "double", "drehzahl": "double"}
    separator, encoding = "semicolon", "cp1252"

    def header(self):
        return ["ort", *self.columns]

    def row(self, chance, line):
        values = [repr(chance.gauss(20, 5)), f"{chance.gauss(1000, 30):.3e}", f" {chance.randrange(1000)}.50"]
        values = [value if chance.random() > 0.2 else "" for value in values]
        return ["Köln; Süd" if line % 3 else f"Straße {line}", *values]

    def predict(self, record):
        return sum((1.0 + place) * value if not math.isnan(value) else -1000.0 for place, value in enumerate(record.values()))


class Spectra(DataSet):
    """1000 columns, named by wavelengths."""

    columns = {str(1100 + 2 * number): "double" for number in range(1000)}
    rows = 40

    def row(self, chance, line):
        return [repr(chance.random()) for _name in self.columns]

    def predict(self, record):
        values = list(record.values())
        return max(range(len(values)), key=values.__getitem__) + values[0] * 0.5


class Meters(DataSet):
    """200 small files; tabs; whole numbers larger than a double can hold."""

    columns = {"meter": "long", "reading": "long", "kind": "string"}
    separator, files, rows = "tab", 200, 3

    def row(self, chance, line):
        return [str(9007199254740993 + 2 * chance.randrange(1000)), str(chance.randrange(100)), chance.choice(["NA", "gas", "null", " el "])]

    def predict(self, record):
        return record["meter"] - 9007199254740993 + record["reading"] * 10000 + len(record["kind"]) * 10**8


class Reviews(DataSet):
    """Texts with line breaks, quotation marks and backslashes, in many scripts; the index that pandas writes; 3000 rows."""

    columns = {"text": "string", "stars": "long"}
    rows = 3000

    def header(self):
        return ["", "text", "stars"]

    def row(self, chance, line):
        words = ["good", 'so "called"', "a, b", "two\nlines", "C:\\tmp\\", "日本語", "🙂", "naïve", "it's"]
        return [str(line), " ".join(chance.choice(words) for _word in range(chance.randrange(1, 12))), str(chance.randrange(1, 6))]

    def predict(self, record):
        return float(sum(map(ord, record["text"])) * record["stars"])


DATA_SETS = {"loans": Loans(), "sensors": Sensors(), "spectra": Spectra(), "meters": Meters(), "reviews": Reviews()}


def save(data_set, folder):
    import mlflow.pyfunc
    from mlflow.models.signature import ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    class Ruled(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input):
            return [data_set.predict(record) for record in model_input.to_dict("records")]

    result = {"loans": "string", "meters": "long"}.get(type(data_set).__name__.lower(), "double")
    signature = ModelSignature(Schema([ColSpec(kind, name) for name, kind in data_set.columns.items()]), Schema([ColSpec(result)]))
    mlflow.pyfunc.save_model(folder, python_model=Ruled(), signature=signature, pip_requirements=["mlflow==" + mlflow.__version__])


def main(folder):
    for name, data_set in DATA_SETS.items():
        os.makedirs(os.path.join(folder, name, "in"))
        for file, text, _predictions in data_set.texts():
            with open(os.path.join(folder, name, "in", file), "w", encoding=data_set.encoding, newline="") as stream:
                stream.write(text)
        save(data_set, os.path.join(folder, name, "model"))


if __name__ == "__main__":
    main(*sys.argv[1:])
