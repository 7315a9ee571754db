"""A dump loaded into a schema of its own beside MLflow's tables, in the same database: so no right is needed but that to make a schema there, and
tables take each other's place in one transaction."""

import hashlib
import os
import re
import socket
import subprocess
import time
from contextlib import suppress

from .database import COUNTED, REVISION, Postgresql, need
from .problems import Damaged, Problem

PSQL = ["psql", "--no-password", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
# What this process is called in PostgreSQL, also where MLflow connects in it.
OURSELVES = f"mlflow_backup {os.getpid()} on {socket.gethostname()[:30]}"
# Of what pg_restore sets before it begins. A newer one sets what an older server does not know.
KNOWN_SETTINGS = re.compile(rb"SET (client_encoding|standard_conforming_strings|check_function_bodies|row_security|statement_timeout|lock_timeout)\b")
# Tables, sequences that are no table's own, views; types; and what triggers call, which MLflow has since 3. Those of who owns MLflow's tables: others
# may have theirs in the same schema. Whose they are is asked before the first of them is moved: rows of a loop are looked for as it goes.
MOVE = """
DO $do$
DECLARE
  one record;
  mine oid := (SELECT relowner FROM pg_catalog.pg_class WHERE oid = to_regclass('{source}.alembic_version'));
BEGIN
  FOR one IN
    SELECT c.relname, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END AS kind
    FROM pg_catalog.pg_class c
    WHERE c.relnamespace = '{source}'::regnamespace AND c.relkind IN ('r', 'p', 'S', 'v', 'm')
      AND c.relowner = mine
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i', 'e'))
    UNION ALL
    SELECT t.typname, 'TYPE'
    FROM pg_catalog.pg_type t
    WHERE t.typnamespace = '{source}'::regnamespace AND t.typtype IN ('e', 'd')
      AND t.typowner = mine
  LOOP
    EXECUTE format('ALTER %s {source}.%I SET SCHEMA {target}', one.kind, one.relname);
  END LOOP;
  FOR one IN
    SELECT p.oid::regprocedure AS signature
    FROM pg_catalog.pg_proc p
    WHERE p.pronamespace = '{source}'::regnamespace
      AND p.proowner = mine
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
  LOOP
    EXECUTE format('ALTER FUNCTION %s SET SCHEMA {target}', one.signature);
  END LOOP;
END
$do$;
"""


def told(uri):
    return dict(Postgresql.told(uri), PGOPTIONS="-c client_min_messages=warning", PGAPPNAME=OURSELVES, PGCONNECT_TIMEOUT="30")


def ask(uri, script, transaction=False):
    """What psql answers. Scripts come on its standard input."""
    need("psql")
    command = [*PSQL, *(["--single-transaction"] if transaction else []), "--file=-"]
    done = subprocess.run(command, check=False, input=script, capture_output=True, text=True, env=told(uri))
    if done.returncode:
        raise Problem(f"PostgreSQL says: {done.stderr.strip()}")
    return done.stdout.strip()


def lines(uri, question):
    """What psql answers, line by line: more than what memory has room for."""
    with subprocess.Popen([*PSQL, "--set=FETCH_COUNT=1000", "--command=" + question], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=told(uri)) as process:  # fmt: skip
        yield from process.stdout
        error = process.stderr.read().strip()
    if process.returncode:
        raise Problem(f"PostgreSQL says: {error}")


def name_of(schema):
    """As it stands in SQL."""
    return schema if re.fullmatch(r"[a-z_][a-z0-9_]*", schema) else '"{}"'.format(schema.replace('"', '""'))


def scratch_schema(host):
    """Of each host another one: they may verify at the same time."""
    return "mlflow_scratch_" + hashlib.sha256(host.encode()).hexdigest()[:8]


def live_schema(uri):
    """Where MLflow's tables are, or would be made."""
    question = ("SELECT coalesce((SELECT relnamespace::regnamespace::text FROM pg_catalog.pg_class WHERE oid = to_regclass('alembic_version')), "
                "quote_ident(current_schema()));")
    return ask(uri, question)


def has_schema(uri, schema):
    return ask(uri, f"SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = '{schema}';") == "1"


def has_tables(uri, schema):
    return ask(uri, f"SELECT to_regclass('{schema}.{REVISION}') IS NOT NULL;") == "t"


def may_load(uri):
    """Nothing, or why no schema can be made."""
    answer = ask(uri, "SELECT has_database_privilege(current_database(), 'CREATE'), quote_ident(current_user), quote_ident(current_database());")
    may, user, name = answer.split("|")
    return "" if may == "t" else f"the account {user} may not make a schema there (GRANT CREATE ON DATABASE {name} TO {user})"


def beside(schema):
    """Where a copy lies from which the one in schema is made."""
    return schema + "_original"


def drop(uri, *schemas):
    ask(uri, f"DROP SCHEMA IF EXISTS {', '.join(schemas)} CASCADE;")


def schema_of(dump):
    """Where the tables were that the dump has."""
    need("pg_restore")
    done = subprocess.run(["pg_restore", "--list", dump], check=False, capture_output=True, text=True)
    found = re.search(rf"^[^;].* TABLE DATA (.+) {REVISION} \S+$", done.stdout, re.M)
    if done.returncode or not found:
        raise Damaged(f"The database in the archive cannot be read: {done.stderr.strip() or 'MLflow has no tables there.'}")
    return found.group(1)


def elsewhere(lines, source, target):
    """What pg_restore writes, for another schema. Rows stay as they are."""
    name = re.compile(rb'(?<![\w."])' + re.escape(name_of(source).encode()) + rb"\.")
    in_rows = False
    for line in lines:
        if in_rows:
            in_rows = line.rstrip(b"\n") != b"\\."
            yield line
        elif line.startswith(b"\\") and not line.startswith((b"\\restrict ", b"\\unrestrict ")):
            raise Damaged(f"The database in the archive has a command for psql: {line[:50].decode('utf-8', 'replace')}")
        elif not line.startswith(b"SET ") or KNOWN_SETTINGS.match(line):
            in_rows = line.startswith(b"COPY ") and line.rstrip(b"\n").endswith(b"FROM stdin;")
            yield name.sub(target.encode() + b".", line)


def load(uri, dump, schema):
    """A schema with what the dump has, whole or not at all."""
    source = schema_of(dump)
    unpack = ["pg_restore", "--no-owner", "--no-privileges", "--schema=" + source, "--file=-", dump]
    with subprocess.Popen(unpack, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reading:
        with subprocess.Popen([*PSQL, "--single-transaction", "--file=-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              env=told(uri)) as writing:
            try:
                writing.stdin.write(f"DROP SCHEMA IF EXISTS {schema} CASCADE;\nCREATE SCHEMA {schema};\n".encode())
                for line in elsewhere(reading.stdout, source, schema):
                    writing.stdin.write(line)
                # What is half read must not be committed.
                unpacked = reading.wait()
                if unpacked:
                    writing.kill()
                writing.stdin.close()
            except BrokenPipeError:
                # What psql says is why.
                unpacked = 0
                with suppress(BrokenPipeError):
                    writing.stdin.close()
            except BaseException:
                writing.kill()
                raise
            said = writing.stderr.read().decode("utf-8", "replace").strip()
        if unpacked:
            raise Damaged(f"The database in the archive cannot be read: {reading.stderr.read().decode('utf-8', 'replace').strip()}")
    if writing.returncode:
        raise Problem(f"The database of the archive cannot be loaded, PostgreSQL says: {said}")


def revision(uri, schema):
    return ask(uri, f"SELECT version_num FROM {schema}.{REVISION};")


def count(uri, schema):
    """As Postgresql.count does of a dump."""
    tables = ask(uri, f"SELECT relname FROM pg_catalog.pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('r', 'p');").split()
    counted = [table for table in COUNTED if table in tables]
    numbers = ask(uri, "".join(f"SELECT count(*) FROM {schema}.{table};\n" for table in counted)).split()
    return revision(uri, schema) if REVISION in tables else "", dict(zip(counted, map(int, numbers)))


def uri_of(uri, schema):
    """For SQLAlchemy: the tables of this schema."""
    import sqlalchemy

    query = {"options": f"-csearch_path={schema}", "application_name": OURSELVES}
    return sqlalchemy.engine.make_url(uri).update_query_dict(query).render_as_string(hide_password=False)


def others(uri):
    """From where somebody else is connected with MLflow's login. Of one's own account one sees it. This process may be itself: MLflow's classes keep
    connections."""
    question = ("SELECT DISTINCT coalesce(host(client_addr), 'this host') FROM pg_catalog.pg_stat_activity WHERE datname = current_database() "
                f"AND usename = current_user AND application_name <> '{OURSELVES}' AND backend_type = 'client backend';")
    return ask(uri, question).splitlines()


def check_alone(uri, attempts=20):
    """Who is still connected may be about to write. The server takes a moment to see that one has gone."""
    for attempt in range(attempts):
        found = others(uri)
        if not found:
            return
        time.sleep(0.5 if attempt < attempts - 1 else 0)
    raise Problem(f"Somebody is still connected to MLflow's database, from {', '.join(found)}: all MLflow hosts of the site have to be in the run "
                  "(no --limit), and other programs with MLflow's login have to be stopped.")


def switch(uri, live, staged, before):
    """Tables of live go to before, those of staged to live: all of it or nothing."""
    script = (f"SET LOCAL lock_timeout = '60s';\nCREATE SCHEMA {before};\n{MOVE.format(source=live, target=before)}\n"
              f"{MOVE.format(source=staged, target=live)}\nDROP SCHEMA {staged};\n")
    ask(uri, script, transaction=True)


def rename(uri, schema, name):
    ask(uri, f"ALTER SCHEMA {schema} RENAME TO {name};")


def is_empty_schema(uri, schema):
    """Whether this schema is there without MLflow's tables."""
    return has_schema(uri, schema) and not has_tables(uri, schema)


def move_tables(uri, source, target):
    """All of it or nothing. The schema where they were stays."""
    ask(uri, f"SET LOCAL lock_timeout = '60s';\n{MOVE.format(source=source, target=target)}", transaction=True)


def set_aside(uri, source, target):
    ask(uri, f"CREATE SCHEMA {target};\n{MOVE.format(source=source, target=target)}", transaction=True)
