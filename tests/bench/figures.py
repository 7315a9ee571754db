"""The one form in which a bench leaves what it has measured: what, ours, beside, ratio, unit, pairs, medians, remarks.

Runs on hosts, too, beside the program that measures: Python 3.6.
"""

import json
import os
import statistics


def percentile(values, percent):
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def figure(what, unit, ours, beside=(), remarks="", pairs=None):
    """ours and beside: what was measured, in turn; beside is empty where nothing stands there. A ratio is that of their medians."""
    ours, beside = list(ours), list(beside)
    medians = {"ours": statistics.median(ours), "beside": statistics.median(beside) if beside else None}
    return {
        "what": what,
        "unit": unit,
        "ours": ours,
        "beside": beside,
        "pairs": pairs or (min(len(ours), len(beside)) if beside else len(ours)),
        "medians": medians,
        "ratio": medians["ours"] / medians["beside"] if medians["beside"] else None,
        "remarks": remarks,
    }


def leave(beside, figures, remarks=""):
    """Print what a bench has found, as its last line. beside: what stands beside ours; remarks: what was warm, what was cold, what was compared."""
    machine = "%d cores, a load of %.1f" % (os.cpu_count(), os.getloadavg()[1])
    print(json.dumps({"beside": beside, "remarks": remarks, "machine": machine, "figures": figures}), flush=True)
