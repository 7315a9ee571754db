#!/usr/bin/env python
"""One million rows through the batch scoring job, beside a plain loop over pyfunc.predict, in the same run on the same rows.

    batch_scoring.py <job> <order for the model> <data.csv> <folder> <rows>

The rows are the real ones, repeated with noise. Both read the same CSV and write the same one, and what they write is compared.
The loop has Spark's settings as they come, the job those of the role. Memory is the largest sum over a process and its children, Java
included; processor time is theirs too, and tells more than seconds where the machine is busy with other things. Prints a table, and one JSON
object as its last line.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time

CHUNK = 10000
LOOP = """
import sys
import mlflow.pyfunc
import pandas
path, source, target = sys.argv[1:]
model = mlflow.pyfunc.load_model(path)
with open(target, "w") as stream:
    for number, part in enumerate(pandas.read_csv(source, dtype="float64", float_precision="round_trip", chunksize=%d)):
        part["prediction"] = model.predict(part)
        part.to_csv(stream, index=False, header=not number)
""" % CHUNK


def make_rows(source, target, count):
    chance = random.Random(42)
    with open(source) as stream:
        header = stream.readline().rstrip().split(",")
        rows = [[float(value) for value in line.split(",")[: len(header) - 1]] for line in stream]
    with open(target, "w") as stream:
        stream.write(",".join(header[:-1]) + "\n")
        for number in range(count):
            noise = chance.uniform(0.98, 1.02)
            stream.write(",".join(["%.6g" % (value * noise) for value in rows[number % len(rows)]]) + "\n")


def look(root, seconds):
    """Bytes of a process and all below it (what they share counts once); notes the processor time of each."""
    children, total, waiting = {}, 0, [root]
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open("/proc/%s/stat" % entry) as stream:
                    values = stream.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            children.setdefault(int(values[1]), []).append((int(entry), (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")))
    while waiting:
        process = waiting.pop()
        for child, used in children.get(process, []):
            seconds[child] = used
            waiting.append(child)
        try:
            with open("/proc/%d/smaps_rollup" % process) as stream:
                total += sum(int(line.split()[1]) for line in stream if line.startswith("Pss:")) << 10
        except OSError:
            continue
    return total


def run(command, stdin="", **environment):
    """Standard output and what it took."""
    began, peak, seconds = time.time(), [0], {}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, universal_newlines=True, env=dict(os.environ, **environment))

    def watch():
        while process.poll() is None:
            peak[0] = max(peak[0], look(os.getpid(), seconds))
            time.sleep(0.5)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output = process.communicate(stdin)[0]
    watcher.join()
    if process.returncode:
        sys.exit("%s ended with %d" % (command[1], process.returncode))
    return output, {"seconds": round(time.time() - began, 1), "processor_seconds": round(sum(seconds.values()), 1), "peak_mb": peak[0] >> 20}


def last_json(output):
    return json.loads([line for line in output.splitlines() if line.startswith("{")][-1])


def predictions(path):
    with open(path) as stream:
        next(stream)
        return [float(line.rsplit(",", 1)[1]) for line in stream]


def main(job, order, data, folder, rows):
    rows = int(rows)
    source = os.path.join(folder, "rows.csv")
    make_rows(data, source, rows)
    model = last_json(run([sys.executable, job, "model"], order)[0])
    files = [{"name": "rows.csv", "path": source, "staged": os.path.join(folder, "job.csv")}]
    score = {"model": model, "master": "local[2]", "extra_columns": "refuse", "timeout": 3600, "files": files}
    output, job = run([sys.executable, job, "score"], json.dumps(score))
    answer = last_json(output)
    if answer.get("rows") != rows:
        sys.exit("The job: %s" % answer)
    loop = run([sys.executable, "-c", LOOP, model["path"], source, os.path.join(folder, "loop.csv")], SPARK_CONF_DIR="/nonexistent")[1]
    same = predictions(os.path.join(folder, "job.csv")) == predictions(os.path.join(folder, "loop.csv"))
    result = {"rows": rows, "bytes": os.path.getsize(source), "load": os.getloadavg()[1], "same": same, "job": job, "loop": loop,
              "ratio": round(loop["seconds"] / job["seconds"], 2)}
    print("%-34s %8s %12s %20s %8s" % ("%d rows, start to end" % rows, "seconds", "rows/second", "processor seconds", "peak MB"))
    for title, took in (("batch_scoring, local[2]", job), ("pyfunc.predict, %d rows a time" % CHUNK, loop)):
        print("%-34s %8.1f %12d %20.1f %8d" % (title, took["seconds"], rows / took["seconds"], took["processor_seconds"], took["peak_mb"]))
    print("%.2f times as fast, on %d cores with a load of %.1f; the predictions are %s." % (
        result["ratio"], os.cpu_count(), result["load"], "the same" if same else "NOT THE SAME"))
    print(json.dumps(result))
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
