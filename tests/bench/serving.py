#!/usr/bin/env python
"""Counts and latencies of steady_requests.py while something happens and after it, beside those before.

    serving.py <MLflow restarts> <the version is replaced> <that is done> < requests

Ends with 1 if a request has failed, or fewer than 60 seconds were measured.
"""

import json
import sys
from collections import Counter

from figures import figure, leave, percentile

PHASES = ("before", "while MLflow restarts", "while the version is replaced", "after")
AT_LEAST = 60


def figures_of(phase, seconds, found, before):
    took = [request[1] for request in found] or [0]
    failed = sum(request[2] != 200 for request in found)
    by = Counter(request[3] or "nobody" for request in found)
    answered = "answered by " + ", ".join(f"{name} {count}" for name, count in by.items())
    first = [request[1] for request in before if phase != PHASES[0]]
    return [
        figure(f"{phase}, {seconds:.0f} s", "failed requests", [failed], remarks=f"of {len(found)}, {answered}"),
        figure(phase, "ms", took, first),
        figure(phase, "99 % of these, ms", [percentile(took, 99)], [percentile(first, 99)] if first else [], pairs=len(took)),
    ]


def main(*times):
    requests = sorted(json.loads(text) for text in sys.stdin if text.startswith("["))
    marks = [requests[0][0], *map(float, times), requests[-1][0] + 1]
    failed = [request for request in requests if request[2] != 200]
    phases = {phase: [request for request in requests if begin <= request[0] < end] for phase, begin, end in zip(PHASES, marks, marks[1:])}
    figures = [
        one
        for (phase, found), begin, end in zip(phases.items(), marks, marks[1:])
        for one in figures_of(phase, end - begin, found, phases["before"])
    ]
    for request in failed[:10]:
        print("failed:", json.dumps(request))
    lasted = requests[-1][0] - requests[0][0]
    leave("the requests before", figures, f"{len(failed)} of {len(requests)} requests failed in {lasted:.0f} seconds.")
    sys.exit(1 if failed or lasted < AT_LEAST else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
