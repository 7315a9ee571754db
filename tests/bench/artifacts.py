#!/usr/bin/env python
"""An artifact up to MLflow and down again, with requests as its own client does: straight to MLflow, and through its proxy, in turn.

    artifacts.py <MLflow> <proxy> <CA> <megabytes> <rounds>

Then how long others wait while a user who may only read takes the artifact slowly, or searches with a huge filter. Runs on the MLflow host.
ARTIFACTS_LOGIN and ARTIFACTS_READER (user:password) are read from the environment. Memory is the largest that the processes of MLflow and nginx
had meanwhile. Ends with 1 if what comes down is not what went up.
"""

import contextlib
import hashlib
import os
import sys
import threading
import time

import requests
from figures import figure, leave

PART = 1 << 20
PATH = "/api/2.0/mlflow-artifacts/artifacts/bench/artifact.bin"
API = "/api/2.0/mlflow/"


def memory(word):
    """Bytes of all processes that have the word in their command; what they share counts once."""
    total = 0
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % entry, "rb") as stream:
                if word not in stream.read():
                    continue
            with open("/proc/%s/smaps_rollup" % entry) as stream:
                total += sum(int(line.split()[1]) for line in stream if line.startswith("Pss:")) << 10
        except OSError:
            continue
    return total


def measured(peaks, work):
    """Seconds that it took; notes the memory."""
    done = threading.Event()

    def watch():
        while not done.wait(0.5):
            for name, word in (("MLflow", b"mlflow.server:app"), ("nginx", b"nginx:")):
                peaks[name] = max(peaks.get(name, 0), memory(word))

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.time()
    try:
        work()
        return time.time() - began
    finally:
        done.set()
        watcher.join()


def read_slowly(url, authority, done, login):
    """4 kB every half second, until it is told to stop or cut off."""
    with contextlib.suppress(requests.RequestException), requests.get(url + PATH, auth=login, verify=authority, stream=True) as answer:
        for _part in answer.iter_content(4096):
            if done.wait(0.5):
                return


def search_long(url, authority, done, login):
    """A filter of 5 MB, as often as it is answered."""
    question = {"experiment_ids": ["0"], "filter": " and ".join(["metrics.m > 1"] * 300000)}
    while not done.wait(0.1):
        with contextlib.suppress(requests.RequestException):
            requests.post(url + API + "runs/search", json=question, auth=login, verify=authority)


def waits(url, authority, login, requests_each=20):
    """Milliseconds that requests for /health and a writer's take."""
    run = requests.post(url + API + "runs/create", json={"experiment_id": "0"}, auth=login, verify=authority).json()["run"]["info"]["run_id"]
    found = []
    for method, path, body in (("GET", "/health", None), ("POST", API + "runs/log-metric", {"run_id": run, "key": "m", "value": 1, "timestamp": 1})):
        took = []
        for _number in range(requests_each):
            began = time.time()
            requests.request(method, url + path, json=body, auth=login, verify=authority).raise_for_status()
            took.append(1000 * (time.time() - began))
        found.append(took)
    return found


def others_wait(url, authority, login, reader):
    """Figures: how long others wait, beside when they are alone."""
    figures, alone = [], None
    for name, number, work in (("alone", 0, None), ("2 slow readers", 2, read_slowly), ("10 slow readers", 10, read_slowly),
                               ("a filter of 5 MB", 1, search_long)):
        done = threading.Event()
        threads = [threading.Thread(target=work, args=(url, authority, done, reader), daemon=True) for _number in range(number)]
        for thread in threads:
            thread.start()
        time.sleep(2 if threads else 0)
        found = waits(url, authority, login)
        done.set()
        for thread in threads:
            thread.join(60)
        alone = alone or found
        for what, took, first in zip(("/health", "a writer's request"), found, alone):
            figures.append(figure("%s, %s" % (what, name), "ms", took, first, "at most %.0f, alone %.0f" % (max(took), max(first))))
    return figures


def main(direct, proxy, authority, megabytes, rounds):
    path, size = "/var/tmp/bench-artifact.bin", int(megabytes) * 10**6
    login = tuple(os.environ["ARTIFACTS_LOGIN"].split(":", 1))
    sent, got = hashlib.sha256(), set()
    with open(path, "wb") as stream:
        for start in range(0, size, PART):
            part = os.urandom(min(PART, size - start))
            sent.update(part)
            stream.write(part)

    def up(url):
        with open(path, "rb") as stream:
            requests.put(url + PATH, data=stream, auth=login, verify=authority).raise_for_status()

    def down(url):
        found = hashlib.sha256()
        with requests.get(url + PATH, auth=login, verify=authority, stream=True) as answer:
            answer.raise_for_status()
            for part in answer.iter_content(PART):
                found.update(part)
        got.add(found.hexdigest())

    took, peaks = {}, {}
    try:
        for _round in range(int(rounds)):
            for name, url in (("direct", direct), ("proxy", proxy)):
                for work in (up, down):
                    took.setdefault((name, work.__name__), []).append(measured(peaks, lambda work=work, url=url: work(url)))
        others = others_wait(proxy, authority, login, tuple(os.environ["ARTIFACTS_READER"].split(":", 1)))
        # MLflow 1.30 deletes folders of its own store, no single file.
        requests.delete(proxy + PATH.rpartition("/")[0], auth=login, verify=authority).raise_for_status()
    finally:
        os.remove(path)
    same = got == {sent.hexdigest()}
    memory_most = ", ".join("%s %d MB" % (name, peak >> 20) for name, peak in sorted(peaks.items()))
    leave(
        "the same request straight to MLflow, or alone",
        [figure("%s MB %s" % (megabytes, way), "s", took["proxy", way], took["direct", way]) for way in ("up", "down")] + others,
        "Memory at most: %s. What came down is %s." % (memory_most, "what went up" if same else "NOT WHAT WENT UP"),
    )
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
