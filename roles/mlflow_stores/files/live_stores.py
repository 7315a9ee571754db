"""Which stores the MLflow of this host has, and whether there is anything in them: as JSON, without a login. Changes nothing.

    python live_stores.py MLFLOW_ENV CURRENT
"""
import json
import os
import re
import sqlite3
import sys
from contextlib import closing
from urllib.parse import quote


def settings(path):
    with open(path, encoding="utf-8") as file:
        found = (re.match(r'(MLFLOW_\w+)="(.*)"$', line) for line in file)
        return {match.group(1): re.sub(r"\\(.)", r"\1", match.group(2)) for match in found if match}


def logged(path):
    """How many experiments, runs and models there are, but for what MLflow makes itself."""
    questions = ("SELECT count(*) FROM runs", "SELECT count(*) FROM registered_models", "SELECT count(*) FROM experiments WHERE experiment_id <> 0")
    with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=10)) as connection:
        return sum(connection.execute(question).fetchone()[0] for question in questions)


def main():
    path, current = sys.argv[1:]
    if not os.path.exists(path):
        return {}
    told = settings(path)
    uri, place = told.get("MLFLOW_BACKEND_STORE_URI", ""), told.get("MLFLOW_ARTIFACTS_DESTINATION", "")
    folder = place[len("file://"):] if place.startswith("file://") else place
    found = {"release": os.path.basename(os.path.realpath(current)), "database": re.split(r"[:+]", uri)[0], "artifacts": re.split(":", folder)[0],
             "rows": None, "files": True}
    if found["database"] == "sqlite":
        database = uri.partition("://")[2].partition("?")[0][1:]
        try:
            found["rows"] = logged(database) if os.path.exists(database) else 0
        except sqlite3.Error:
            # Of one that cannot be read nobody can say that it is empty.
            found["rows"] = None
    if folder.startswith("/"):
        found["artifacts"], found["files"] = "directory", any(names for _folder, _folders, names in os.walk(folder))
    return found


print(json.dumps(main()))
