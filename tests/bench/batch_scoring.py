#!/usr/bin/env python
"""One million rows through the batch scoring job, beside a plain loop over pyfunc.predict, in the same run on the same rows.

    batch_scoring.py <job> <order for the model> <data.csv> <folder> <rows>

The rows are the real ones, repeated with noise. All read the same CSV and write the same one, and what they write is compared.
There are two loops: one has Spark's settings as they come, which is what an operator gets who writes such a loop; the other has Arrow and the
memory of the job, which is the best that such a loop can be. Memory is the largest sum over a process and its children, Java included; processor
time is theirs too, and tells more than seconds where the machine is busy with other things. Prints a table, and one JSON object as its last line.
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

LOOPS = {
    "pyfunc.predict": {},
    "pyfunc.predict with Arrow": {"spark.sql.execution.arrow.pyspark.enabled": "true", "spark.driver.memory": "2g"},
}


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
    expected = predictions(os.path.join(folder, "job.csv"))
    result = {"rows": rows, "bytes": os.path.getsize(source), "job": job, "same": True}
    for name, settings in LOOPS.items():
        spark = os.path.join(folder, "spark")
        os.makedirs(spark, exist_ok=True)
        with open(os.path.join(spark, "spark-defaults.conf"), "w") as stream:
            stream.writelines("%s %s\n" % setting for setting in settings.items())
        target = os.path.join(folder, "loop.csv")
        result[name] = run([sys.executable, "-c", LOOP, model["path"], source, target], SPARK_CONF_DIR=spark)[1]
        result["same"] = result["same"] and predictions(target) == expected
    same = result["same"]
    print("%-34s %8s %12s %20s %8s %6s" % ("%d rows, start to end" % rows, "seconds", "rows/second", "processor seconds", "peak MB", "times"))
    for name, took in [("batch_scoring, local[2]", job)] + [(name, result[name]) for name in LOOPS]:
        print("%-34s %8.1f %12d %20.1f %8d %6.2f" % (
            name, took["seconds"], rows / took["seconds"], took["processor_seconds"], took["peak_mb"], took["seconds"] / job["seconds"]))
    print("Chunks of %d rows in the loops. %d cores, a load of %.1f. The predictions are %s." % (
        CHUNK, os.cpu_count(), os.getloadavg()[1], "the same" if same else "NOT THE SAME"))
    print(json.dumps(result))
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
