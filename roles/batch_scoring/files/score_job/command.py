"""The two commands: an order from standard input, answers on standard output."""

import atexit
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor

from .csv_files import BadInput
from .model import as_mojo, describe
from .problems import explain
from .registry import fetch, resolve
from .scorer import Scorer


def with_mojo(model):
    """A model of H2O as Spark applies it. H2O itself makes that, in a Spark of its own, and a process can have one Spark."""
    mojo = ""
    if "h2o" in model["flavors"] and "spark" not in model["flavors"]:
        with ProcessPoolExecutor(1) as pool:
            mojo = pool.submit(as_mojo, model["path"]).result()
    return dict(model, mojo=mojo)


def score(order):
    """Yields an answer for each file."""
    try:
        scorer = Scorer(with_mojo(order["model"]), order["master"], order["prediction_column"], order["result_type"])
    except Exception as exc:  # whatever a model or a cluster throws: the answer has to say it for every file
        traceback.print_exc()
        for item in order["files"]:
            yield {"name": item["name"], "problem": "The model could not be loaded. " + explain(exc)}
        return
    for item in order["files"]:
        began = time.time()
        try:
            rows = scorer.score_file(item["path"], item["staged"], order["extra_columns"] == "keep", order["timeout"])
            yield {"name": item["name"], "rows": rows, "seconds": round(time.time() - began, 3)}
        except Exception as exc:  # one file's failure is not the others'
            if not isinstance(exc, BadInput):
                traceback.print_exc()
            if os.path.exists(item["staged"]):
                os.unlink(item["staged"])
            yield {"name": item["name"], "problem": explain(exc)}
    scorer.spark.stop()


def model(order):
    from mlflow.tracking import MlflowClient

    found = resolve(MlflowClient(), order["name"], order["version"])
    path = fetch(order["name"], found, order["home"])
    yield dict(describe(path, order["columns"]), name=order["name"], version=str(found.version), stage=found.current_stage)


def answers(order):
    """What is asked for, or in a sentence why not; the whole story is in the log."""
    try:
        yield from {"model": model, "score": score}[sys.argv[1]](order)
    except BadInput as exc:
        yield {"problem": str(exc)}
    except Exception as exc:
        traceback.print_exc()
        yield {"problem": explain(exc)}


def private_folder():
    """MLflow lets everybody write into the folders that it makes for a model (CVE-2024-27134). They come to lie where nobody else gets to."""
    tempfile.tempdir = tempfile.mkdtemp(prefix="mlflow-scoring-")
    atexit.register(shutil.rmtree, tempfile.tempdir, ignore_errors=True)


def main():
    private_folder()
    for answer in answers(json.load(sys.stdin)):
        print("\n" + json.dumps(answer), flush=True)
