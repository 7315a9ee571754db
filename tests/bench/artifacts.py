#!/usr/bin/env python
"""An artifact up to MLflow and down again, with requests as its own client does: straight to MLflow, and through its proxy, in turn.

    artifacts.py <MLflow> <proxy> <CA> <megabytes> <rounds>

Then how long others wait while a user who may only read takes the artifact slowly, or searches with a huge filter. Runs on the MLflow host.
ARTIFACTS_LOGIN and ARTIFACTS_READER (user:password) are read from the environment. Memory is the largest that the processes of MLflow and nginx
had meanwhile. Prints tables, and ends with 1 if what comes down is not what went up.
"""

import contextlib
import hashlib
import os
import sys
import threading
import time

import requests

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
    """Seconds that a request for /health and a writer's take: (median, longest) of each."""
    run = requests.post(url + API + "runs/create", json={"experiment_id": "0"}, auth=login, verify=authority).json()["run"]["info"]["run_id"]
    found = []
    for method, path, body in (("GET", "/health", None), ("POST", API + "runs/log-metric", {"run_id": run, "key": "m", "value": 1, "timestamp": 1})):
        took = []
        for _number in range(requests_each):
            began = time.time()
            requests.request(method, url + path, json=body, auth=login, verify=authority).raise_for_status()
            took.append(time.time() - began)
        found.append((sorted(took)[requests_each // 2], max(took)))
    return found


def others_wait(url, authority, login, reader):
    print("%-32s %23s %23s" % ("ms, median and longest", "/health", "a writer's request"))
    for name, number, work in (("alone", 0, None), ("2 slow readers", 2, read_slowly), ("10 slow readers", 10, read_slowly),
                               ("a filter of 5 MB", 1, search_long)):
        done = threading.Event()
        threads = [threading.Thread(target=work, args=(url, authority, done, reader), daemon=True) for _number in range(number)]
        for thread in threads:
            thread.start()
        time.sleep(2 if threads else 0)
        (health, health_most), (writer, writer_most) = waits(url, authority, login)
        done.set()
        for thread in threads:
            thread.join(60)
        print("%-32s %11.0f %11.0f %11.0f %11.0f" % (name, 1000 * health, 1000 * health_most, 1000 * writer, 1000 * writer_most))


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

    best, peaks = {}, {}
    try:
        for _round in range(int(rounds)):
            for name, url in (("direct", direct), ("proxy", proxy)):
                for work in (up, down):
                    seconds = measured(peaks, lambda work=work, url=url: work(url))
                    best[name, work.__name__] = min(seconds, best.get((name, work.__name__), seconds))
        others_wait(proxy, authority, login, tuple(os.environ["ARTIFACTS_READER"].split(":", 1)))
        # MLflow 1.30 deletes folders of its own store, no single file.
        requests.delete(proxy + PATH.rpartition("/")[0], auth=login, verify=authority).raise_for_status()
    finally:
        os.remove(path)
    same = got == {sent.hexdigest()}
    print("%-32s %14s %14s %8s" % ("%s MB, best of %s" % (megabytes, rounds), "direct MB/s", "proxy MB/s", "ratio"))
    for way in ("up", "down"):
        took = [best[name, way] for name in ("direct", "proxy")]
        print("%-32s %14.1f %14.1f %8.2f" % (way, size / took[0] / 1e6, size / took[1] / 1e6, took[0] / took[1]))
    print("Memory at most: %s. %d cores, a load of %.1f. What came down is %s." % (
        ", ".join("%s %d MB" % (name, peak >> 20) for name, peak in sorted(peaks.items())), os.cpu_count(), os.getloadavg()[1],
        "what went up" if same else "NOT WHAT WENT UP"))
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
