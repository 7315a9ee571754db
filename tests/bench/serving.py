#!/usr/bin/env python
"""Counts and latencies of steady_requests.py before, during and after what happened meanwhile.

    serving.py <MLflow restarts> <the version is replaced> <that is done> < requests

Ends with 1 if a request has failed, or fewer than 60 seconds were measured.
"""

import json
import sys
from collections import Counter

PHASES = ("before", "while MLflow restarts", "while the version is replaced", "after")
AT_LEAST = 60


def percentile(values, percent):
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def line(phase, seconds, found):
    took = [request[1] for request in found] or [0]
    by = Counter(request[3] or "nobody" for request in found)
    numbers = [seconds, percentile(took, 50), percentile(took, 95), percentile(took, 99), max(took)]
    cells = [f"{number:.1f}" for number in numbers]
    cells[1:1] = [str(len(found)), str(sum(request[2] != 200 for request in found))]
    return row(phase, cells, ", ".join(f"{name} {count}" for name, count in by.items()))


def row(title, cells, end):
    return f"{title:<30}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, (9, 10, 8, 11, 9, 9, 12))) + "  " + end


def main(*times):
    requests = sorted(json.loads(text) for text in sys.stdin if text.startswith("["))
    marks = [requests[0][0], *map(float, times), requests[-1][0] + 1]
    failed = [request for request in requests if request[2] != 200]
    print(row("requests sent", ["seconds", "requests", "failed", "median ms", "95 % ms", "99 % ms", "longest ms"], "answered by"))
    for phase, begin, end in zip((*PHASES, "all"), [*marks[:-1], marks[0]], [*marks[1:], marks[-1]]):
        print(line(phase, end - begin, [request for request in requests if begin <= request[0] < end]))
    for request in failed[:10]:
        print("failed:", json.dumps(request))
    lasted = requests[-1][0] - requests[0][0]
    print(f"{len(failed)} of {len(requests)} requests failed in {lasted:.0f} seconds.")
    sys.exit(1 if failed or lasted < AT_LEAST else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
