#!/usr/bin/env python
"""Requests to served models beside bare `mlflow models serve` of the same model: one to each in turn, then bursts of several clients, in turn.

    bare_serving.py <programs of the release> <CSV file, its last column no input> <rounds> <models as JSON>

Each model is {"what", "uri", "url", "pairs", "burst"}: what it is, in the registry, where it is served, how many single requests, and how many in a
burst. Runs on the MLflow host, with the registry in MLFLOW_TRACKING_URI. Both are warmed up. Ends with 1 if an answer is another one.
"""

import contextlib
import csv
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from figures import figure, leave, percentile

ROWS = (1, 500)
CLIENTS = 4
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


@contextlib.contextmanager
def bare(programs, model):
    """URL of a bare `mlflow models serve`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # With its own limit of a minute, a worker is killed while it loads a Spark model on a busy machine, again and again. Ours has this one, too.
    command = [f"{programs}/mlflow", "models", "serve", "--model-uri", model, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port),
               "--timeout", str(START)]  # fmt: skip
    with open("/tmp/bare_serving.log", "w", encoding="utf-8") as log:
        settings = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=settings, start_new_session=True)
    try:
        wait_for(process, f"http://127.0.0.1:{port}/ping")
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def bodies(file):
    with open(file, encoding="utf-8") as text:
        names, *rows = csv.reader(text)
    data = [[float(value) for value in row[:-1]] for row in rows]
    return {count: json.dumps({"columns": names[:-1], "data": data[:count]}).encode() for count in ROWS}


def singles(ours, beside, body, pairs):
    """Milliseconds of each request to each, and whether their answers are the same. As many are sent before, to warm up."""
    took = {beside: [], ours: []}
    same = True
    for turn in range(2 * pairs):
        answers = []
        for url in (beside, ours) if turn % 2 else (ours, beside):
            milliseconds, answer = post(url, body)
            answers.append(answer)
            if turn >= pairs:
                took[url].append(milliseconds)
        same = same and answers[0] == answers[1]
    return took[ours], took[beside], same


def burst(url, body, count):
    """Requests a second, and the 99 % of their milliseconds, with several clients at a time."""
    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        took = [milliseconds for milliseconds, _answer in pool.map(lambda _number: post(url, body), range(count))]
    return count / (time.perf_counter() - began), percentile(took, 99)


def compared(model, beside, rows, body, rounds):
    """Figures of a model and a number of rows, and whether all answers are the same."""
    ours, what = model["url"], f"{model['what']}, {rows} row{'s' * (rows > 1)}"
    mine, its, same = singles(ours, beside, body, int(model["pairs"]))
    bursts = {ours: [], beside: []}
    for turn in range(rounds):
        for url in (beside, ours) if turn % 2 else (ours, beside):
            bursts[url].append(burst(url, body, model["burst"]))
    (throughput, most), (its_throughput, its_most) = (zip(*bursts[url]) for url in (ours, beside))
    clients = f"{CLIENTS} clients, bursts of {model['burst']}"
    return [
        figure(what, "ms", mine, its),
        figure(what, "99 % of these, ms", [percentile(mine, 99)], [percentile(its, 99)], pairs=len(mine)),
        figure(what, "requests/s, more is better", throughput, its_throughput, clients),
        figure(what, "99 % in a burst, ms", most, its_most, clients),
    ], same


def main(programs, file, rounds, models):
    found, alike = [], True
    for model in json.loads(models):
        with bare(programs, model["uri"]) as beside:
            for rows, body in bodies(file).items():
                figures, same = compared(model, beside, rows, body, int(rounds))
                found += figures
                alike = alike and same
    answers = "All answers are the same." if alike else "THERE ARE ANSWERS THAT DIFFER."
    leave("bare mlflow models serve of the same model on the same host", found, f"Ours through unit and proxy. Both were warmed up. {answers}")
    sys.exit(0 if alike else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
