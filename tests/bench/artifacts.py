#!/usr/bin/env python
"""An artifact up to MLflow and down again, with requests as its own client does: straight to MLflow, and through its proxy, in turn.

    artifacts.py <MLflow> <proxy> <CA> <megabytes> <rounds>

Runs on the MLflow host. ARTIFACTS_LOGIN (user:password) is read from the environment. Memory is the largest that the processes of MLflow and
nginx had meanwhile. Prints a table, and ends with 1 if what comes down is not what went up.
"""

import hashlib
import os
import sys
import threading
import time

import requests

PART = 1 << 20
PATH = "/api/2.0/mlflow-artifacts/artifacts/bench/artifact.bin"


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
        requests.delete(proxy + PATH, auth=login, verify=authority).raise_for_status()
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
