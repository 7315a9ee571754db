"""gunicorn reads this when a model is served. A worker whose Java process has died ends, too, and gunicorn starts another one.

A Spark or H2O model works in a Java process beside the worker. Without it the worker answers every request with an error, for
ever, and looks healthy: its /ping is 200.
"""
import os
import signal
import threading
import time

INTERVAL = 0.5
# What lives shorter is a tool that the model has called, and not where it works.
SETTLED = 10


def java_children():
    """The process ids of this worker's Java processes, without those that have died and not been waited for."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stream:
                    head, tail = stream.read().rsplit(")", 1)
            except OSError:  # it has ended meanwhile
                continue
            state, parent = tail.split()[:2]
            if int(parent) == os.getpid() and state != "Z" and head.split("(", 1)[1] == "java":
                found.add(int(name))
    return found


def watch(worker, needed):
    """needed: what was there when the model had been loaded."""
    since = {}
    while True:
        time.sleep(INTERVAL)
        alive, now = java_children(), time.monotonic()
        dead = needed - alive
        if dead:
            worker.log.error("Java process %s of the model has died, so this worker ends, too.", ", ".join(map(str, sorted(dead))))
            # Nothing that the worker could still finish is worth having.
            os.kill(os.getpid(), signal.SIGKILL)
        since = {process: since.get(process, now) for process in alive}
        needed = needed | {process for process, seen in since.items() if now - seen >= SETTLED}


def post_worker_init(worker):
    threading.Thread(target=watch, args=(worker, java_children()), daemon=True).start()
