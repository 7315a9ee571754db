"""Rows of one database that another one has not, or not like that: what an upgrade of the schema has lost, and what was logged since one.

Columns that both have are compared, with all their values, so an older schema can be compared with a newer one. Both are SQLite files, or schemas of
one PostgreSQL database.
"""

import base64
import json
import os
import sqlite3
from contextlib import contextmanager
from urllib.parse import quote

from . import postgresql

# What MLflow's own processes note of themselves.
NOBODY_S = ("alembic_version", "jobs", "job_locks")
# What others refer to comes first.
ORDER = ("experiments", "experiment_tags", "runs", "tags", "params", "metrics", "latest_metrics", "registered_models", "registered_model_tags",
         "model_versions", "model_version_tags")
PART = ".mlflow-since.part"


def name_of(word):
    return '"{}"'.format(word.replace('"', '""'))


def in_order(names):
    """Of tables that are MLflow's."""
    names = set(names).difference(NOBODY_S)
    return [name for name in ORDER if name in names] + sorted(names.difference(ORDER))


class Pair:
    """Two databases that are read side by side: old and new."""

    def __init__(self):
        self.tables = {which: self.tables_of(which) for which in ("old", "new")}

    def common(self, table):
        new = set(self.columns("new", table))
        return [column for column in self.columns("old", table) if column in new]

    def without(self, table, has, has_not):
        """FROM ... WHERE: rows of one that the other has not like that, of the columns that both have. The primary key finds them."""
        # Of tables that have nothing in common no row is the same.
        same = " AND ".join(self.same(table, column) for column in self.common(table)) or "1 = 0"
        return f"FROM {self.at(has, table)} n WHERE NOT EXISTS (SELECT 1 FROM {self.at(has_not, table)} o WHERE {same})"

    def those_added(self, table):
        """FROM ... WHERE: rows of the new one that were not in the old one, or otherwise."""
        return self.without(table, "new", "old") if table in self.tables["old"] else f"FROM {self.at('new', table)} n"

    def compare(self):
        """table -> (rows of the old one, those of them that the new one has not like that, rows of the new one): of tables that both have."""
        both = [table for table in self.tables["old"] if table in self.tables["new"]]
        return dict(zip(both, self.counts([(f"FROM {self.at('old', table)}", self.without(table, "old", "new"), f"FROM {self.at('new', table)}")
                                           for table in both])))  # fmt: skip

    def count(self, which, table):
        return self.counts([(f"FROM {self.at(which, table)}",)])[0][0]

    def has_values(self, which, table, column):
        return self.counts([(f"FROM {self.at(which, table)} WHERE {name_of(column)} IS NOT NULL",)])[0][0] > 0


def counting(wheres):
    """SELECT: how many rows each of FROM ... WHERE has."""
    return "SELECT " + ", ".join(f"(SELECT count(*) {where})" for where in wheres)


class Files(Pair):
    def __init__(self, connection):
        self.connection = connection
        super().__init__()

    def at(self, which, table):
        return f"{which}.{name_of(table)}"

    def tables_of(self, which):
        found = self.connection.execute(f"SELECT name FROM {which}.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
        return in_order(row[0] for row in found)

    def columns(self, which, table):
        return [row[1] for row in self.connection.execute(f"PRAGMA {which}.table_info({name_of(table)})")]

    def same(self, _table, column):
        return f"o.{name_of(column)} IS n.{name_of(column)}"

    def counts(self, asked):
        """For each tuple of FROM ... WHERE, how many rows they have."""
        return [self.connection.execute(counting(wheres)).fetchone() for wheres in asked]

    def revision(self, which):
        return self.connection.execute(f"SELECT version_num FROM {which}.alembic_version").fetchone()[0]

    def added(self, table):
        """Rows of those_added, with all their columns."""
        found = self.connection.execute(f"SELECT n.* {self.those_added(table)}")
        names = [column[0] for column in found.description]
        for row in found:
            yield {name: plain(value) for name, value in zip(names, row)}


class Schemas(Pair):
    # What has no equality there.
    AS_TEXT = ("json", "xml")

    def __init__(self, uri, old, new):
        self.uri, self.schemas = uri, {"old": old, "new": new}
        self.shapes = {which: {} for which in self.schemas}
        for table, which, column, kind, full in self.ask_catalog():
            self.shapes[which].setdefault(table, {})[column] = kind, full
        super().__init__()

    def ask_catalog(self):
        """(table, old or new, column, its type, whether it always has a value)"""
        parts = [f"""
            SELECT json_build_array(c.relname, '{which}', a.attname, a.atttypid::regtype::text, a.attnotnull) AS found, c.relname, a.attnum
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
            WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
              AND c.relowner = (SELECT relowner FROM pg_catalog.pg_class WHERE oid = to_regclass('{schema}.alembic_version'))
        """ for which, schema in self.schemas.items()]  # fmt: skip
        question = f"SELECT found FROM ({' UNION ALL '.join(parts)}) f ORDER BY relname, attnum;"
        return map(json.loads, postgresql.ask(self.uri, question).splitlines())

    def at(self, which, table):
        return f"{self.schemas[which]}.{name_of(table)}"

    def tables_of(self, which):
        return in_order(self.shapes[which])

    def columns(self, which, table):
        return list(self.shapes[which][table])

    def same(self, table, column):
        (old, old_full), (new, new_full) = (self.shapes[which][table][column] for which in ("old", "new"))
        cast = "::text" if old != new or old in self.AS_TEXT else ""
        # Rows are found by what is equal; IS NOT DISTINCT FROM alone would compare each with each.
        equals = "=" if old_full and new_full else "IS NOT DISTINCT FROM"
        return f"o.{name_of(column)}{cast} {equals} n.{name_of(column)}{cast}"

    def counts(self, asked):
        answers = postgresql.ask(self.uri, "".join(counting(wheres) + ";\n" for wheres in asked))
        return [tuple(map(int, line.split("|"))) for line in answers.splitlines()]

    def revision(self, which):
        return postgresql.revision(self.uri, self.schemas[which])

    def added(self, table):
        for line in postgresql.lines(self.uri, f"SELECT to_jsonb(n) {self.those_added(table)};"):
            yield json.loads(line)


@contextmanager
def files(old, new):
    connection = sqlite3.connect("file::memory:", uri=True)
    try:
        for which, path in (("old", old), ("new", new)):
            connection.execute(f"ATTACH ? AS {which}", [f"file:{quote(path)}?mode=ro"])
        yield Files(connection)
    finally:
        connection.close()


def lost(both):
    """What of the old one is not in the new one, table by table, in words."""
    for table in both.tables["old"]:
        if table not in both.tables["new"]:
            number = both.count("old", table)
            if number:
                yield f"the table {table} is gone, which had {number} rows"
    for table, (number, missing, now) in both.compare().items():
        if missing:
            yield f"{missing} of {number} rows of {table} are not as they were"
        elif now < number:
            yield f"{table} has {now} rows instead of {number}"


def gone_columns(both):
    """Columns of the old one that the new one has not, and that had values."""
    for table in both.tables["old"]:
        if table in both.tables["new"]:
            for column in both.columns("old", table):
                if column not in both.common(table) and both.has_values("old", table, column):
                    yield f"{table}.{column}"


def seeded(both):
    """How many rows an upgrade of the schema puts into tables that it makes."""
    made = [table for table in both.tables["new"] if table not in both.tables["old"]]
    return dict(zip(made, (number for (number,) in both.counts([(f"FROM {both.at('new', table)}",) for table in made]))))


def plain(value):
    return {"base64": base64.b64encode(value).decode("ascii")} if isinstance(value, bytes) else value


def gone(both):
    """table -> how many rows of the old one are gone, or others now."""
    return {table: missing for table, (_number, missing, _now) in both.compare().items() if missing}


def since(both, seeds):
    """rows: table -> how many were logged or changed since; gone: as above. seeds: of seeded, then."""
    tables = both.tables["new"]
    added = dict(zip(tables, (number for (number,) in both.counts([(both.those_added(table),) for table in tables]))))
    # Of a table that the old one has not got all rows are added.
    found = {table: number for table, number in added.items() if number and (table in both.tables["old"] or number != seeds.get(table, 0))}
    return {"rows": found, "gone": gone(both)}


def save(both, path, header):
    """The file of what was logged since: its first line says what it is, with rows and gone of since. It has its name when it is complete and on the
    disk."""
    # One name for all: what a killed one has left is overwritten.
    part = os.path.join(os.path.dirname(path), PART)
    with open(part, "w", encoding="utf-8") as file:
        file.write(json.dumps({**header, "form": 1}, sort_keys=True) + "\n")
        for table in header["rows"]:
            for row in both.added(table):
                file.write(json.dumps({"table": table, "row": row}, sort_keys=True) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.rename(part, path)
