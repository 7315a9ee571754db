"""Where a database says that artifacts are, and that they are elsewhere now. In SQL that SQLite and PostgreSQL read alike."""

from .rows import name_of

# Wherever MLflow's tables have them; a newer MLflow has more of them.
COLUMNS = ("artifact_location", "artifact_uri", "storage_location", "default_artifact_root", "trace_archival_location")
OTHERS = {("model_versions", "source"): "", ("trace_tags", "value"): "key = 'mlflow.artifactLocation' AND "}


def quoted(text):
    return "'{}'".format(text.replace("'", "''"))


def prefixes(folder, root):
    """(what a location begins with, what it is to begin with). root: where clients are sent to, or nothing if MLflow hands the artifacts on."""
    folder, new = folder.rstrip("/"), root.rstrip("/") or "mlflow-artifacts:"
    found = [("file://" + folder, new), (folder, new)]
    # What MLflow hands on stays with MLflow.
    return found + [("mlflow-artifacts://", new), ("mlflow-artifacts:", new)] if root else found


def places(columns):
    """Of tables with their columns: where there are locations, and of which rows."""
    for table, names in sorted(columns.items()):
        for name in names:
            if name in COLUMNS or (table, name) in OTHERS:
                yield table, name, OTHERS.get((table, name), "")


def begins(column, old):
    """Not `x:/` before `x://host`."""
    size = len(old) + 1
    return f"({column} = {quoted(old)} OR (substr({column}, 1, {size}) = {quoted(old + '/')} AND substr({column}, {size + 1}, 1) <> '/'))"


def statements(columns, changes, schema=""):
    """(table, column, statement) of each that may change rows."""
    for table, column, which in places(columns):
        where, name = (schema + "." if schema else "") + name_of(table), name_of(column)
        for old, new in changes:
            yield table, column, (f"UPDATE {where} SET {name} = {quoted(new)} || substr({name}, {len(old) + 1}) WHERE {which}{begins(name, old)}")


def changed(asked, numbers):
    """asked: of statements; numbers: how many rows each has changed. How many of which column were."""
    done = {}
    for (table, column, _statement), number in zip(asked, numbers):
        if number:
            done[f"{table}.{column}"] = done.get(f"{table}.{column}", 0) + number
    return done


def rewrite(connection, changes):
    """In SQLite. How many of which column were changed."""
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    columns = {table: [row[1] for row in connection.execute(f"PRAGMA table_info({name_of(table)})")] for table in tables}
    asked = list(statements(columns, changes))
    done = changed(asked, [connection.execute(statement).rowcount for _table, _column, statement in asked])
    connection.commit()
    return done


def leave_out(both):
    """Of two databases that are read side by side (rows.py) all but locations is compared."""
    every = both.common

    def others(table):
        left_out = {name for one, name, _which in places({table: every(table)}) if one == table}
        return [name for name in every(table) if name not in left_out]

    both.common = others
