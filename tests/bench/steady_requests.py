#!/usr/bin/env python
"""Steady requests against a served model: so many a second, each with a connection of its own, whatever becomes of those before.
No more than 32 wait for their answer at a time; where they do, the next one is sent when one of them has it.

    steady_requests.py <url> <body> <seconds> <requests a second> [<file that ends it>]

Needs nothing but Python. SERVING_CA (PEM file) and SERVING_LOGIN (user:password) are read from the environment. Prints one JSON list a request:
when it was sent (seconds since the epoch), how long it took (milliseconds), the status (0 where no answer came), what served it (X-Served-Model),
and the answer, or what went wrong. Ends earlier when the file appears.
"""

import base64
import http.client
import json
import os
import ssl
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

THREADS = 32


LOGIN = os.environ.get("SERVING_LOGIN", "")
HEADERS = {"Content-Type": "application/json"}
if LOGIN:
    HEADERS["Authorization"] = "Basic " + base64.b64encode(LOGIN.encode()).decode()


def connect(parts, context):
    if parts.scheme == "https":
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=120, context=context)
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)


def send(url, context, body, out, lock):
    parts, began, clock = urlsplit(url), time.time(), time.monotonic()
    try:
        connection = connect(parts, context)
        try:
            connection.request("POST", parts.path, body, HEADERS)
            answer = connection.getresponse()
            found = [answer.status, answer.headers.get("X-Served-Model", ""), answer.read().decode("utf-8", "replace")[:200]]
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        found = [0, "", f"{type(error).__name__}: {error}"]
    with lock:
        out.write(json.dumps([round(began, 3), round((time.monotonic() - clock) * 1000, 1), *found]) + "\n")


def main(url, body, seconds, rate, end=""):
    context = ssl.create_default_context(cafile=os.environ.get("SERVING_CA") or None) if url.startswith("https:") else None
    lock, waiting, began = threading.Lock(), threading.Semaphore(THREADS), time.monotonic()
    due = began
    with ThreadPoolExecutor(THREADS) as pool:
        while due < began + float(seconds) and not (end and os.path.exists(end)):
            time.sleep(max(0, due - time.monotonic()))
            waiting.acquire()
            pool.submit(send, url, context, body, sys.stdout, lock).add_done_callback(lambda _future: waiting.release())
            # What could not be sent in time is not made up for: that would be a burst.
            due = max(due + 1 / float(rate), time.monotonic())
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
