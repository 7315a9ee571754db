#!/usr/bin/env python
"""Requests to a served model beside bare `mlflow models serve` of the same model, one to each in turn: medians, and their ratios.

    bare_serving.py <programs of the release> <model URI> <URL of the served model> <CSV file, its last column no input> <pairs>

Runs on the MLflow host, with the registry in MLFLOW_TRACKING_URI. Warms both up with as many pairs. Ends with 1 if an answer is another one.
"""

import csv
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROWS = (1, 500)
START = 300
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def post(url, body):
    """Milliseconds and the answer."""
    began = time.perf_counter()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json; format=pandas-split"})
    with NO_PROXY.open(request, timeout=120) as answer:
        text = answer.read()
    return (time.perf_counter() - began) * 1000, json.loads(text)


def wait_for(process, url):
    ends = time.monotonic() + START
    while True:
        try:
            with NO_PROXY.open(url, timeout=5):
                return
        except OSError:
            if process.poll() is not None or time.monotonic() > ends:
                sys.exit("mlflow models serve does not answer")
            time.sleep(1)


def bodies(file):
    with open(file, encoding="utf-8") as text:
        names, *rows = csv.reader(text)
    data = [[float(value) for value in row[:-1]] for row in rows]
    return {count: json.dumps({"columns": names[:-1], "data": data[:count]}).encode() for count in ROWS}


def percentile(values, percent):
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def measure(bare, ours, body, pairs):
    """Milliseconds of each request to each, and whether their answers are the same."""
    took = {bare: [], ours: []}
    same = True
    for turn in range(2 * pairs):
        answers = []
        for url in (bare, ours) if turn % 2 else (ours, bare):
            milliseconds, answer = post(url, body)
            answers.append(answer)
            if turn >= pairs:
                took[url].append(milliseconds)
        same = same and answers[0] == answers[1]
    return took[bare], took[ours], same


def main(programs, model, ours, file, pairs):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [f"{programs}/mlflow", "models", "serve", "--model-uri", model, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    with open("/tmp/bare_serving.log", "w", encoding="utf-8") as log:
        settings = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=settings, start_new_session=True)
    try:
        wait_for(process, f"http://127.0.0.1:{port}/ping")
        print(f"{'rows':>6}{'bare, median ms':>18}{'99 %':>9}{'ours, median ms':>18}{'99 %':>9}{'ratio':>8}")
        alike = True
        for rows, body in bodies(file).items():
            bare, served, same = measure(f"http://127.0.0.1:{port}/invocations", ours, body, int(pairs))
            cells = [f"{statistics.median(took):>18.1f}{percentile(took, 99):>9.1f}" for took in (bare, served)]
            print(f"{rows:>6}{cells[0]}{cells[1]}{statistics.median(served) / statistics.median(bare):>8.2f}")
            alike = alike and same
        print("All answers are the same." if alike else "There are answers that differ.")
    finally:
        os.killpg(process.pid, 15)
        process.wait()
    sys.exit(0 if alike else 1)


if __name__ == "__main__":
    assert Path(sys.argv[1]).is_dir(), __doc__
    main(*sys.argv[1:])
