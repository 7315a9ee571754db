"""Rows of a SQLite database in tables of PostgreSQL that MLflow has made, and back again to be compared.

psql is given what COPY reads, so that no driver is needed, and the types of PostgreSQL's columns say what a value is.
"""

import sqlite3
import subprocess
import tempfile
from contextlib import closing, contextmanager, suppress
from urllib.parse import quote

from .database import REVISION, need
from .postgresql import PSQL, ask, told
from .problems import Problem
from .rows import name_of

# What COPY writes after a backslash.
ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
SPECIAL = str.maketrans({"\\": "\\\\", **{char: "\\" + letter for letter, char in ESCAPED.items()}})
FLOATS = ("double precision", "real", "numeric")
INTEGERS = ("bigint", "integer", "smallint")

COLUMNS = """SELECT c.relname || chr(9) || a.attname || chr(9) || format_type(a.atttypid, NULL)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.relname, a.attnum;"""
PARENTS = """SELECT c.relname || chr(9) || p.relname
FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_class p ON p.oid = k.confrelid
WHERE k.contype = 'f' AND c.relnamespace = '{schema}'::regnamespace AND k.conrelid <> k.confrelid;"""
SEQUENCES = """SELECT c.relname || chr(9) || a.attname || chr(9) || pg_get_serial_sequence(format('%I.%I', '{schema}', c.relname), a.attname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
AND pg_get_serial_sequence(format('%I.%I', '{schema}', c.relname), a.attname) IS NOT NULL;"""


def pairs(uri, question, schema):
    return [line.split("\t") for line in ask(uri, question.format(schema=schema)).splitlines()]


def columns(uri, schema):
    """Table -> column -> type. MLflow's revision is its own to write."""
    found = {}
    for table, column, kind in pairs(uri, COLUMNS, schema):
        if table != REVISION:
            found.setdefault(table, {})[column] = kind
    return found


def in_order(tables, parents):
    """What others refer to comes first."""
    left, done = {table: {parent for child, parent in parents if child == table} for table in sorted(tables)}, []
    while left:
        ready = [table for table, needed in left.items() if not needed.intersection(left)]
        if not ready:
            raise Problem(f"The tables {', '.join(left)} refer to each other, so that none of them can be filled first.")
        done += ready
        for table in ready:
            del left[table]
    return done


@contextmanager
def opened(path):
    """Of SQLite, to read."""
    with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)) as connection:
        yield connection


def carried(connection, there):
    """Table -> columns that are carried over. What PostgreSQL has no place for must have no value."""
    found = {}
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'").fetchall()
    for (table,) in names:
        if table == REVISION:
            continue
        here = [row[1] for row in connection.execute(f"PRAGMA table_info({name_of(table)})")]
        known = there.get(table, {})
        for column in here:
            question = f"SELECT count(*) FROM {name_of(table)} WHERE {name_of(column)} IS NOT NULL"
            if column not in known and connection.execute(question).fetchone()[0]:
                raise Problem(f"The database has values in {table}.{column}, for which MLflow has no column in PostgreSQL: run playbooks/mlflow.yml "
                              "and look at MLflow's journal, or remove them.")
        if table in there:
            found[table] = [column for column in here if column in known]
    return found


def written(value, kind):
    """As COPY reads it."""
    if value is None:
        return "\\N"
    if isinstance(value, bytes):
        value = "\\x" + value.hex() if kind == "bytea" else value.decode("utf-8")
    elif isinstance(value, float):
        value = repr(value)
    return str(value).translate(SPECIAL)


def unescaped(text):
    if text == "\\N":
        return None
    first, *rest = text.split("\\")
    parts, rest = [first], iter(rest)
    for one in rest:
        if one:
            parts.append(ESCAPED.get(one[0], one[0]) + one[1:])
        else:
            # One that was doubled: what follows is as it stands.
            parts.append("\\" + next(rest))
    return "".join(parts)


def value_of(text, kind):
    """As SQLite had it."""
    text = unescaped(text)
    if text is None:
        return None
    if kind == "boolean":
        return int(text == "t")
    if kind in INTEGERS:
        return int(text)
    if kind in FLOATS:
        return float(text)
    return bytes.fromhex(text[2:]) if kind == "bytea" else text


def lines(connection, table, names, kinds):
    """Rows as COPY reads them."""
    where = f"SELECT {', '.join(map(name_of, names))} FROM {name_of(table)}"
    try:
        for row in connection.execute(where):
            one = "\t".join(written(value, kinds[name]) for name, value in zip(names, row))
            if "\0" in one:
                (column, *_more) = [name for name, value in zip(names, row) if "\0" in written(value, kinds[name])]
                raise Problem(f"{table}.{column} has a text with a NUL character, which PostgreSQL does not take, in the row {row[0]!r:.60}: remove "
                              "that run, or its tag or parameter, or write it anew without.")
            yield one.encode("utf-8") + b"\n"
    except (sqlite3.Error, UnicodeError) as exc:
        raise Problem(f"The table {table} has a text that is no UTF-8, which PostgreSQL does not take: {exc}") from None


def script(connection, uri, schema, there):
    """All that psql is told: in one transaction."""
    names = carried(connection, there)
    order = [table for table in in_order(there, pairs(uri, PARENTS, schema)) if table in names]
    # What a new schema begins with.
    yield f"TRUNCATE {', '.join(f'{schema}.{name_of(table)}' for table in there)};\n".encode()
    for table in order:
        yield f"COPY {schema}.{name_of(table)} ({', '.join(map(name_of, names[table]))}) FROM stdin;\n".encode()
        yield from lines(connection, table, names[table], there[table])
        yield b"\\.\n"
    counted = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_sequence'").fetchone()
    last = dict(connection.execute("SELECT name, seq FROM sqlite_sequence")) if counted else {}
    for table, column, sequence in pairs(uri, SEQUENCES, schema):
        # A number that was given once is not given again.
        where = f"(SELECT coalesce(max({name_of(column)}), 0) FROM {schema}.{name_of(table)})"
        yield f"SELECT setval('{sequence}', greatest({where}, {int(last.get(table, 0))}) + 1, false);\n".encode()


def environment(uri):
    return dict(told(uri), PGCLIENTENCODING="UTF8")


def feed(uri, said):
    """psql told something long, whole or not at all."""
    need("psql")
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen([*PSQL, "--single-transaction", "--file=-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors,
                              env=environment(uri)) as process:
            try:
                for line in said:
                    process.stdin.write(line)
                process.stdin.close()
            except BrokenPipeError:
                # What psql says is why.
                with suppress(BrokenPipeError):
                    process.stdin.close()
            except BaseException:
                # What is half written must not be committed.
                process.kill()
                with suppress(BrokenPipeError):
                    process.stdin.close()
                raise
        errors.seek(0)
        error = errors.read().decode("utf-8", "replace").strip()
    if process.returncode:
        raise Problem(f"PostgreSQL does not take the rows of the database: {error}")


def fill(uri, schema, path):
    """All rows of a SQLite file in the tables that MLflow has made there."""
    there = columns(uri, schema)
    with opened(path) as connection:
        feed(uri, script(connection, uri, schema, there))


def rows_there(uri, schema, table, kinds):
    question = (f"SET extra_float_digits = 3;\nCOPY (SELECT {', '.join(map(name_of, kinds))} FROM {schema}.{name_of(table)}) TO STDOUT;\n")
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
        said.write(question.encode())
        said.seek(0)
        with subprocess.Popen([*PSQL, "--file=-"], stdin=said, stdout=subprocess.PIPE, stderr=errors, env=environment(uri)) as process:
            for line in process.stdout:
                texts = line.rstrip(b"\n").decode("utf-8").split("\t")
                yield [value_of(text, kind) for text, kind in zip(texts, kinds.values())]
        errors.seek(0)
        if process.returncode:
            raise Problem(f"PostgreSQL says: {errors.read().decode('utf-8', 'replace').strip()}")


def read_back(uri, schema, original, path):
    """What PostgreSQL has, as a SQLite file with the tables of the original."""
    there = columns(uri, schema)
    with opened(original) as source, closing(sqlite3.connect(path)) as copy:
        made = source.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'").fetchall()
        names = carried(source, there)
        for table, statement in made:
            if table != REVISION:
                copy.execute(statement)
                kinds = {column: there[table][column] for column in names.get(table, [])}
                if kinds:
                    into = f"INSERT INTO {name_of(table)} ({', '.join(map(name_of, kinds))}) VALUES ({', '.join('?' * len(kinds))})"
                    copy.executemany(into, rows_there(uri, schema, table, kinds))
        copy.commit()


def has_users(path):
    """Of MLflow's own login app."""
    with opened(path) as connection:
        return connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'users'").fetchone()[0] > 0


def counts(path):
    """Table -> number of rows, of all that are carried over."""
    with opened(path) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'").fetchall()
        return {name: connection.execute(f"SELECT count(*) FROM {name_of(name)}").fetchone()[0] for (name,) in names if name != REVISION}
