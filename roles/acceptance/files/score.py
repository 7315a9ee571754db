"""Send rows to served models from where Sparkflows stands, and compare what comes back, row by row.

Needs nothing but Python, and the collection's plugins/module_utils/csv_files.py, which the role hands over with it. Questions as JSON on standard
input, answers on standard output.
"""

import base64
import csv
import io
import json
import math
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import csv_files
from csv_files import LIKE_A_NUMBER, is_empty, number

CHUNK = 1000  # rows in one request
SHOWN = 5  # rows in the report
VERSION = re.compile(r'"?([0-9]+)\.[0-9]')


class Wrong(Exception):
    """The answer is not the wanted one."""


def table(text, path):
    """Names of the columns, and the rows as texts."""
    lines = io.StringIO(text[1:] if text.startswith("\ufeff") else text, newline="")
    try:
        rows = [(line, values) for line, values, _text in csv_files.read_rows(lines) if values]
        header = rows[0][1] if rows else []
        csv_files.check_header(header, prediction=None)
        for line, values in rows:
            csv_files.check_width(line, values, header)
    except csv_files.BadInput as exc:
        raise Wrong(f"{path}: {exc}") from None
    if len(rows) < 2:
        raise Wrong(f"{path}: there are no rows below the names of the columns")
    return header, [values for _line, values in rows[1:]]


def typed(columns, rows, text_columns):
    """What is sent: a column is numbers if each of its values is one. What has no name is the index that pandas writes."""
    sent = [place for place, name in enumerate(columns) if name]
    numeric = {place for place in sent if columns[place] not in text_columns
               and all(is_empty(row[place]) or number(row[place]) is not None for row in rows)
               and any(not is_empty(row[place]) for row in rows)}
    for row in rows:
        for place in numeric:
            if number(row[place]) in (math.inf, -math.inf):
                raise Wrong(f"{columns[place]} is {row[place].strip()[:80]}, which is too large for a number")
    return [columns[place] for place in sent], [[number(row[place]) if place in numeric else row[place] or None for place in sent] for row in rows]


def opener(sample):
    """Opens a request as the model's clients do, with their authority and login."""
    context = ssl.create_default_context(cafile=sample.get("ca_path") or None) if sample["url"].startswith("https:") else None
    # No proxy of the environment is asked for a model of the site.
    found = urllib.request.build_opener(urllib.request.ProxyHandler({}), *([urllib.request.HTTPSHandler(context=context)] if context else []))
    if sample.get("login"):
        login = f"{sample['login']['username']}:{sample['login']['password']}".encode()
        found.addheaders.append(("Authorization", "Basic " + base64.b64encode(login).decode()))
    return found


def request_of(url, columns, rows, input_format):
    """MLflow 1 makes numbers of names that look like such, where it is sent JSON."""
    table = {"columns": columns, "data": rows}
    if input_format == "dataframe_split":
        kind, body = "application/json", json.dumps({"dataframe_split": table})
    elif not all(LIKE_A_NUMBER.match(name) for name in columns):
        kind, body = "application/json; format=pandas-split", json.dumps(table)
    else:
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n").writerows([columns, *rows])
        kind, body = "text/csv", stream.getvalue()
    return urllib.request.Request(url, body.encode("utf-8"), {"Content-Type": kind})


def predictions_of(answer, input_format):
    """MLflow 1 answers with the list alone."""
    if input_format == "dataframe_split":
        return answer.get("predictions") if isinstance(answer, dict) else None
    return answer


def format_of(client, sample):
    """A model keeps the MLflow that it was made with, and that says which it is. What does not is asked as the site's MLflow would be."""
    if sample["input_format"]:
        return sample["input_format"]
    address, _path, rest = sample["url"].rpartition("/invocations")
    if not address or rest:
        return sample["site_format"]
    try:
        with client.open(address + "/version", timeout=sample["timeout"]) as answer:
            version = VERSION.match(answer.read(100).decode("utf-8", "replace"))
    except OSError:  # also that it has no such path
        version = None
    if not version:
        return sample["site_format"]
    return "pandas-split" if version.group(1) == "1" else "dataframe_split"


def invoke(client, url, columns, rows, sample, field):
    request = request_of(url, columns, rows, sample["input_format"])
    try:
        with client.open(request, timeout=sample["timeout"]) as answer:
            text = answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as exc:
        raise Wrong(f"POST {url}: {exc.code} {exc.read(300).decode('utf-8', 'replace')}") from None
    except OSError as exc:
        raise Wrong(f"POST {url}: {getattr(exc, 'reason', exc)}") from None
    try:
        predictions = predictions_of(json.loads(text), sample["input_format"])
    except ValueError:
        raise Wrong(f"POST {url}: the answer is not JSON: {text[:300]}") from None
    if not isinstance(predictions, list) or len(predictions) != len(rows):
        raise Wrong(f"POST {url}: {len(rows)} rows were sent, and the answer is {text[:300]}")
    return [plain(prediction, field) for prediction in predictions]


def plain(prediction, field):
    """A model answers with values, or with one record a row. field is how the expected prediction is called."""
    if isinstance(prediction, dict):
        known = [name for name in (field, "prediction", "predict") if name in prediction] or list(prediction)
        if len(known) > 1 and known[0] not in (field, "prediction", "predict"):
            raise Wrong(f"the model answers with {', '.join(prediction)}, and none of them is called {field}: "
                        "give the expected column the name of the one that is meant")
        prediction = prediction[known[0]]
    while isinstance(prediction, list) and len(prediction) == 1:
        prediction = prediction[0]
    return prediction


def same(expected, found, tolerance):
    """expected is the text in the file. Labels are exactly the same or not at all."""
    if isinstance(found, bool):
        return expected.strip().lower() == str(found).lower()
    if isinstance(found, (int, float)) and not math.isnan(found):
        wanted = number(expected)
        return wanted is not None and abs(wanted - found) <= tolerance
    if isinstance(found, str):
        return expected == found
    if found is None or isinstance(found, float):
        return is_empty(expected)
    try:
        wanted = json.loads(expected)
    except ValueError:
        return False
    return alike(wanted, found, tolerance)


def alike(wanted, found, tolerance):
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(alike(*pair, tolerance) for pair in zip(wanted, found))
    if all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in (wanted, found)):
        return abs(wanted - found) <= tolerance
    return wanted == found and isinstance(wanted, bool) == isinstance(found, bool)


def score(sample):
    columns, rows = table(sample["rows"], sample["rows_path"])
    header, predicted = table(sample["expected"], sample["expected_path"])
    column = header.index("prediction") if "prediction" in header else len(header) - 1
    expected = [row[column] for row in predicted]
    if len(expected) != len(rows):
        raise Wrong(f"{sample['rows_path']} has {len(rows)} rows and {sample['expected_path']} has {len(expected)}")

    columns, data = typed(columns, rows, sample.get("text_columns") or [])
    url, tolerance, found, client, start = sample["url"], sample["tolerance"], [], opener(sample), time.monotonic()
    sample = dict(sample, input_format=format_of(client, sample))
    for first in range(0, len(data), CHUNK):
        found += invoke(client, url, columns, data[first:first + CHUNK], sample, header[column])
    seconds = round(time.monotonic() - start, 2)

    different = [i for i, pair in enumerate(zip(expected, found)) if not same(pair[0], pair[1], tolerance)]
    worth_showing = sorted({*range(min(SHOWN, len(rows))), *different[:SHOWN]})
    shown = [{"row": i + 1, "expected": told(expected[i]), "found": found[i], "same": i not in different}
             for i in worth_showing]
    evidence = f"{len(rows)} rows over {url} in {seconds} s, "
    if different:
        i = different[0]
        evidence += f"{len(different)} differ by more than {tolerance:g}"
        evidence += f"; row {i + 1}: expected {told(expected[i])}, got {found[i]}"
    else:
        evidence += f"all predictions equal the expected ones (tolerance {tolerance:g})"
    return evidence, {"rows": len(rows), "seconds": seconds, "different": len(different), "shown": shown}


def told(text):
    found = number(text)
    return text if found is None else found


def answer(sample):
    scores = {"model": sample["model"], "url": sample["url"], "rows": 0, "seconds": 0, "different": 0, "shown": []}
    passed = False
    try:
        if sample["missing"]:
            raise Wrong(f"no file on the controller: {', '.join(sample['missing'])} (acceptance_samples)")
        evidence, found = score(sample)
        scores.update(found)
        passed = not found["different"]
    except Wrong as exc:
        evidence = str(exc)
    except Exception as exc:  # whatever it is, it belongs into the report
        evidence = f"{type(exc).__name__}: {exc}"
    status = "passed" if passed else "failed"
    return {"name": f"score {sample['model']}", "status": status, "evidence": evidence}, scores


def main():
    questions = json.load(sys.stdin)
    samples = [dict(sample, login=questions.get("login") if sample.get("login") else None) for sample in questions["samples"]]
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(pool.map(answer, samples))
    return {"checks": [check for check, scores in answers], "scores": [scores for check, scores in answers]}


if __name__ == "__main__":
    print(json.dumps(main()))
