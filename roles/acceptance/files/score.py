"""Send rows to served models from where Sparkflows stands, and compare what comes back, row by row.

Needs nothing but Python. Questions as JSON on standard input, answers on standard output.
"""

import base64
import csv
import io
import json
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

CHUNK = 1000  # rows in one request
SHOWN = 5  # rows in the report


class Wrong(Exception):
    """The answer is not the wanted one."""


def value(text):
    """A CSV field as the JSON value that it looks like."""
    if re.fullmatch(r"[+-]?\d+", text):
        return int(text)
    if re.fullmatch(r"[+-]?(\d+\.\d*|\.?\d+)([eE][+-]?\d+)?", text):
        return float(text)
    return text or None


def table(text):
    rows = [[value(field) for field in row] for row in csv.reader(io.StringIO(text)) if row]
    if len(rows) < 2:
        raise Wrong("there are no rows below the names of the columns")
    return [str(name) for name in rows[0]], rows[1:]


def opener(sample):
    """Opens a request as the model's clients do, with their authority and login."""
    context = ssl.create_default_context(cafile=sample.get("ca_path") or None) if sample["url"].startswith("https:") else None
    found = urllib.request.build_opener(*([urllib.request.HTTPSHandler(context=context)] if context else []))
    if sample.get("login"):
        login = f"{sample['login']['username']}:{sample['login']['password']}".encode()
        found.addheaders.append(("Authorization", "Basic " + base64.b64encode(login).decode()))
    return found


def invoke(client, url, columns, rows, timeout):
    body = json.dumps({"columns": columns, "data": rows}).encode("utf-8")
    request = urllib.request.Request(url, body, {"Content-Type": "application/json; format=pandas-split"})
    try:
        with client.open(request, timeout=timeout) as answer:
            text = answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as exc:
        raise Wrong(f"POST {url}: {exc.code} {exc.read(300).decode('utf-8', 'replace')}") from None
    except OSError as exc:
        raise Wrong(f"POST {url}: {getattr(exc, 'reason', exc)}") from None
    try:
        predictions = json.loads(text)
    except ValueError:
        raise Wrong(f"POST {url}: the answer is not JSON: {text[:300]}") from None
    if not isinstance(predictions, list) or len(predictions) != len(rows):
        raise Wrong(f"POST {url}: {len(rows)} rows were sent, and the answer is {text[:300]}")
    return [plain(prediction) for prediction in predictions]


def plain(prediction):
    """A model answers with values, or with one record a row."""
    if isinstance(prediction, dict):
        prediction = prediction.get("prediction", list(prediction.values()))
    while isinstance(prediction, list) and len(prediction) == 1:
        prediction = prediction[0]
    return prediction


def same(expected, found, tolerance):
    if all(isinstance(item, (int, float)) for item in (expected, found)):
        return abs(expected - found) <= tolerance
    return str(expected) == str(found)


def score(sample):
    columns, rows = table(sample["rows"])
    header, predicted = table(sample["expected"])
    column = header.index("prediction") if "prediction" in header else len(header) - 1
    expected = [row[column] for row in predicted]
    if len(expected) != len(rows):
        raise Wrong(f"{sample['rows_path']} has {len(rows)} rows and {sample['expected_path']} has {len(expected)}")

    url, tolerance, found, client, start = sample["url"], sample["tolerance"], [], opener(sample), time.monotonic()
    for first in range(0, len(rows), CHUNK):
        found += invoke(client, url, columns, rows[first:first + CHUNK], sample["timeout"])
    seconds = round(time.monotonic() - start, 2)

    different = [i for i, pair in enumerate(zip(expected, found)) if not same(pair[0], pair[1], tolerance)]
    worth_showing = sorted({*range(min(SHOWN, len(rows))), *different[:SHOWN]})
    shown = [{"row": i + 1, "expected": expected[i], "found": found[i], "same": i not in different}
             for i in worth_showing]
    evidence = f"{len(rows)} rows over {url} in {seconds} s, "
    if different:
        i = different[0]
        evidence += f"{len(different)} differ by more than {tolerance:g}"
        evidence += f"; row {i + 1}: expected {expected[i]}, got {found[i]}"
    else:
        evidence += f"all predictions equal the expected ones (tolerance {tolerance:g})"
    return evidence, {"rows": len(rows), "seconds": seconds, "different": len(different), "shown": shown}


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
