"""Rows of one SQLite database that another one has not, or not like that: what an upgrade of the schema has lost, and what was logged since one.

Columns that both have are compared, with all their values, so an older schema can be compared with a newer one.
"""

import base64
import json
import os
import sqlite3
from contextlib import contextmanager
from urllib.parse import quote

# What MLflow's own processes note of themselves.
NOBODY_S = ("alembic_version", "jobs", "job_locks")
# What others refer to comes first.
ORDER = ("experiments", "experiment_tags", "runs", "tags", "params", "metrics", "latest_metrics", "registered_models", "registered_model_tags",
         "model_versions", "model_version_tags")
PART = ".mlflow-since.part"


def name_of(word):
    return '"{}"'.format(word.replace('"', '""'))


class Pair:
    """Two databases that are read side by side."""

    def __init__(self, connection):
        self.connection = connection
        self.tables = {which: self.tables_of(which) for which in ("old", "new")}

    def tables_of(self, which):
        found = self.connection.execute(f"SELECT name FROM {which}.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
        names = {row[0] for row in found if row[0] not in NOBODY_S}
        return [name for name in ORDER if name in names] + sorted(names.difference(ORDER))

    def revision(self, which):
        return self.connection.execute(f"SELECT version_num FROM {which}.alembic_version").fetchone()[0]

    def columns(self, which, table):
        return [row[1] for row in self.connection.execute(f"PRAGMA {which}.table_info({name_of(table)})")]

    def count(self, which, table):
        return self.connection.execute(f"SELECT count(*) FROM {which}.{name_of(table)}").fetchone()[0]

    def common(self, table):
        new = set(self.columns("new", table))
        return [column for column in self.columns("old", table) if column in new]

    def without(self, table, has, has_not):
        """FROM ... WHERE: rows of one that the other has not like that, of the columns that both have. The primary key finds them."""
        same = " AND ".join(f"o.{name_of(column)} IS n.{name_of(column)}" for column in self.common(table))
        return f"FROM {has}.{name_of(table)} n WHERE NOT EXISTS (SELECT 1 FROM {has_not}.{name_of(table)} o WHERE {same})"

    def missing(self, table, has="old", has_not="new"):
        return self.connection.execute(f"SELECT count(*) {self.without(table, has, has_not)}").fetchone()[0]

    def added(self, table):
        """Rows of the new one, with all its columns, that were not in the old one, or otherwise."""
        where = self.without(table, "new", "old") if table in self.tables["old"] else f"FROM new.{name_of(table)} n"
        return self.connection.execute(f"SELECT n.* {where}")


@contextmanager
def pair(old, new):
    connection = sqlite3.connect("file::memory:", uri=True)
    try:
        for which, path in (("old", old), ("new", new)):
            connection.execute(f"ATTACH ? AS {which}", [f"file:{quote(path)}?mode=ro"])
        yield Pair(connection)
    finally:
        connection.close()


def lost(both):
    """What of the old one is not in the new one, table by table, in words."""
    for table in both.tables["old"]:
        number = both.count("old", table)
        if table not in both.tables["new"]:
            if number:
                yield f"the table {table} is gone, which had {number} rows"
            continue
        missing = both.missing(table)
        if missing:
            yield f"{missing} of {number} rows of {table} are not as they were"
        elif both.count("new", table) < number:
            yield f"{table} has {both.count('new', table)} rows instead of {number}"


def gone_columns(both):
    """Columns of the old one that the new one has not, and that had values."""
    for table in both.tables["old"]:
        if table in both.tables["new"]:
            for column in both.columns("old", table):
                question = f"SELECT count(*) FROM old.{name_of(table)} WHERE {name_of(column)} IS NOT NULL"
                if column not in both.common(table) and both.connection.execute(question).fetchone()[0]:
                    yield f"{table}.{column}"


def seeded(both):
    """How many rows an upgrade of the schema puts into tables that it makes."""
    return {table: both.count("new", table) for table in both.tables["new"] if table not in both.tables["old"]}


def plain(value):
    return {"base64": base64.b64encode(value).decode("ascii")} if isinstance(value, bytes) else value


def since(both, seeds):
    """(table, row) of what was logged since, and how many rows of the old one are gone or others. seeds: of seeded, then."""
    for table in both.tables["new"]:
        if table not in both.tables["old"] and both.count("new", table) == seeds.get(table, 0):
            continue
        found = both.added(table)
        names = [column[0] for column in found.description]
        for row in found:
            yield table, {name: plain(value) for name, value in zip(names, row)}


def gone(both):
    found = {table: both.missing(table) for table in both.tables["old"] if table in both.tables["new"]}
    return {table: number for table, number in found.items() if number}


def count_since(both, seeds):
    counts = {}
    for table, _row in since(both, seeds):
        counts[table] = counts.get(table, 0) + 1
    return counts


def save(both, seeds, path, header):
    """The file of what was logged since: its first line says what it is. It has its name when it is complete and on the disk. How many of which."""
    counts = count_since(both, seeds)
    # One name for all: what a killed one has left is overwritten.
    part = os.path.join(os.path.dirname(path), PART)
    with open(part, "w", encoding="utf-8") as file:
        for line in ({**header, "form": 1, "rows": counts, "gone": gone(both)}, *({"table": table, "row": row} for table, row in since(both, seeds))):
            file.write(json.dumps(line, sort_keys=True) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.rename(part, path)
    return counts
