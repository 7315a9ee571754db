"""The MLflow that is installed: its version, and the schemas that it knows."""

import os
import re
from importlib.util import find_spec

from .problems import Problem

VERSION = re.compile(r"""^VERSION\s*(?::\s*\w+\s*)?=\s*["']([^"']+)""", re.M)

# MLflow 3 tells its makers when it is imported, and all of them ask for git.
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}


def folder():
    found = find_spec("mlflow")
    return found.submodule_search_locations[0] if found else ""


def version():
    """Without importing MLflow, which takes seconds. Empty if it cannot be told."""
    try:
        with open(os.path.join(folder(), "version.py"), encoding="utf-8") as file:
            return VERSION.search(file.read()).group(1)
    except (OSError, AttributeError):
        return ""


def numbers(text):
    """1.30.1 -> (1, 30, 1); what follows is no part of it."""
    return tuple(int(number) for number in re.match(r"[\d.]*", text).group().strip(".").split(".") if number)


def schemas():
    """(the newest revision, all that are known)"""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(os.path.join(folder(), "store", "db_migrations"))
    return scripts.get_current_head(), {script.revision for script in scripts.walk_revisions()}


def load():
    """What takes seconds, so that it is not to be waited for later."""
    os.environ.update(QUIET)
    from mlflow import db
    from mlflow.store.model_registry import sqlalchemy_store as registry
    from mlflow.store.tracking import sqlalchemy_store as tracking

    return db, registry, tracking


def upgrade(uri):
    """As MLflow's own service does it before its start (mlflow_schema.py)."""
    os.environ.update(QUIET)
    from mlflow import db

    db.commands.main(["upgrade", uri], standalone_mode=False)


def make_tables(uri, with_users=False):
    """Those of this release, as MLflow makes them in a database that is new, and those of its own login app."""
    os.environ.update(QUIET, MLFLOW_TRACKING_URI="")
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    engine = SqlAlchemyStore(uri, "mlflow-artifacts:/").engine
    if with_users:
        try:
            import mlflow_login
        except ImportError:
            raise Problem("The database has users of MLflow's own login app, and MLflow runs without it: set mlops_mlflow_login to mlflow, run "
                          "playbooks/mlflow.yml, and then this again.") from None
        mlflow_login.make_tables(engine)
    engine.dispose()


def problems(manifest):
    """Why this release cannot take what the archive has."""
    here, there = version(), manifest["release"].get("mlflow", "")
    _newest, known = schemas()
    stack = manifest["release"]["name"]
    if here and there and numbers(there) > numbers(here):
        yield (f"it is of MLflow {there} (release {stack}), and MLflow {here} is installed here: run playbooks/mlflow.yml with the stack of the "
               "archive first (mlops_stack).")
    elif manifest["database"]["revision"] not in known:
        yield (f"its database has the schema {manifest['database']['revision']} of release {stack}, which the MLflow that is installed here"
               f"{' (' + here + ')' if here else ''} does not know: run playbooks/mlflow.yml with the stack of the archive first (mlops_stack).")
