#!/usr/bin/env python
"""Rows through the batch scoring job, beside plain loops over pyfunc.predict, in turn on the same files: one large file, and many small ones.

    batch_scoring.py <job> <order for the model> <data.csv> <folder> <rows> <small files> <rows of each> <rounds>

The rows are the real ones, repeated with noise. All read the same CSV and write the same one, and what they write is compared.
There are two loops: one has Spark's settings as they come, which is what an operator gets who writes such a loop; the other has Arrow and the
memory of the job, which is the best that such a loop can be. Memory is the largest sum over a process and its children, Java included; processor
time is theirs too, and tells more than seconds where the machine is busy with other things.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time

from figures import figure, leave

CHUNK = 10000
LOOP = """
import json, sys
import mlflow.pyfunc
import pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
for source, target in json.load(sys.stdin):
    with open(target, "w") as stream:
        for number, part in enumerate(pandas.read_csv(source, dtype="float64", float_precision="round_trip", chunksize=%d)):
            part["prediction"] = model.predict(part)
            part.to_csv(stream, index=False, header=not number)
""" % CHUNK

LOOPS = {
    "a loop": {},
    "a loop with Arrow": {"spark.sql.execution.arrow.pyspark.enabled": "true", "spark.driver.memory": "2g"},
}
UNITS = {"seconds": "s", "processor_seconds": "processor s", "peak_mb": "MB at most"}
JOB = "the job"


def make_files(source, folder, files, rows):
    """So many files of so many rows, as the job takes them."""
    chance = random.Random(42)
    with open(source) as stream:
        header = stream.readline().rstrip().split(",")
        known = [[float(value) for value in line.split(",")[: len(header) - 1]] for line in stream]
    made = []
    for number in range(files):
        path = os.path.join(folder, "rows-%d.csv" % number)
        with open(path, "w") as stream:
            stream.write(",".join(header[:-1]) + "\n")
            for row in range(rows):
                noise = chance.uniform(0.98, 1.02)
                stream.write(",".join(["%.6g" % (value * noise) for value in known[(number * rows + row) % len(known)]]) + "\n")
        made.append({"name": os.path.basename(path), "path": path, "staged": path + ".job"})
    return made


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


def answers(output):
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def predictions(paths):
    found = []
    for path in paths:
        with open(path) as stream:
            next(stream)
            found += [float(line.rsplit(",", 1)[1]) for line in stream]
    return found


class Work:
    """Files to score, in each of the ways."""

    def __init__(self, job, model, files, rows, folder):
        self.job, self.model, self.files, self.rows, self.folder = job, model, files, rows, folder

    def by_job(self):
        score = {"model": self.model, "master": "local[2]", "prediction_column": "", "result_type": "", "extra_columns": "refuse", "timeout": 3600,
                 "files": self.files}  # fmt: skip
        output, took = run([sys.executable, self.job, "score"], json.dumps(score))
        said = answers(output)
        if sum(answer.get("rows", 0) for answer in said) != self.rows:
            sys.exit("The job: %s" % [answer for answer in said if "problem" in answer][:3])
        return took, predictions([item["staged"] for item in self.files])

    def by_loop(self, settings):
        spark = os.path.join(self.folder, "spark")
        os.makedirs(spark, exist_ok=True)
        with open(os.path.join(spark, "spark-defaults.conf"), "w") as stream:
            stream.writelines("%s %s\n" % setting for setting in settings.items())
        pairs = [(item["path"], item["path"] + ".loop") for item in self.files]
        took = run([sys.executable, "-c", LOOP, self.model["path"]], json.dumps(pairs), SPARK_CONF_DIR=spark)[1]
        return took, predictions([target for _source, target in pairs])

    def compared(self, what, rounds):
        """Figures, and whether all predictions are the same."""
        took, same = {name: [] for name in [JOB, *LOOPS]}, True
        for turn in range(rounds):
            expected = None
            for name in list(took)[:: -1 if turn % 2 else 1]:
                measured, found = self.by_job() if name == JOB else self.by_loop(LOOPS[name])
                took[name].append(measured)
                expected = expected or found
                same = same and found == expected
        return [
            figure("%s, %s" % (what, name), unit, [one[key] for one in took[JOB]], [one[key] for one in took[name]])
            for name in LOOPS for key, unit in UNITS.items()
        ], same  # fmt: skip


def main(job, order, data, folder, rows, small_files, small_rows, rounds):
    model = answers(run([sys.executable, job, "model"], order)[0])[-1]
    if "problem" in model:
        sys.exit(model["problem"])
    found, alike = [], True
    for files, each in ((1, int(rows)), (int(small_files), int(small_rows))):
        work = Work(job, model, make_files(data, folder, files, each), files * each, folder)
        figures, same = work.compared("%d file%s of %d rows" % (files, "s" * (files > 1), each), int(rounds))
        found += figures
        alike = alike and same
    said = "the same" if alike else "NOT THE SAME"
    leave("a loop over pyfunc.predict", found, "Start to end, local[2]; chunks of %d rows in the loops. The predictions are %s." % (CHUNK, said))
    sys.exit(0 if alike else 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
