"""The database of an archive, loaded into an instance of MLflow that nobody uses."""

import os

from . import database, postgresql, release
from .problems import Damaged, Problem

PAGE = 1000


def verify(manifest, copy, uri, host):
    """Raises if the copy has not what the manifest says. Says how it was looked at. uri: the database of this host, where a dump can be loaded."""
    kind = database.KINDS[manifest["database"]["kind"]]
    revision, counts = kind.count(copy)
    compare(manifest, {"revision": revision, "counts": counts})
    if kind is database.Sqlite:
        compare_counts(counts, content("sqlite:///" + copy))
        return "loaded into a scratch instance of MLflow and counted there"
    counted = "every row of the dump was read and counted"
    if not uri.startswith("postgresql"):
        return counted + "; it was not loaded: this host has no PostgreSQL"
    refused = postgresql.may_load(uri)
    if refused:
        return f"{counted}; it was not loaded into the database: {refused}"
    schema = postgresql.scratch_schema(host)
    try:
        load(manifest, copy, uri, schema)
        compare_counts(counts, content(postgresql.uri_of(uri, schema)))
    finally:
        postgresql.drop(uri, schema)
    return "loaded into a schema of its own beside MLflow's tables, opened by a scratch instance of MLflow, and counted there"


def take(manifest, path):
    """A file of SQLite as MLflow makes it, with what the manifest says: the copy of the backup was root's alone."""
    os.chmod(path, 0o640)
    revision, counts = database.Sqlite.count(path)
    compare(manifest, {"revision": revision, "counts": counts})


def load(manifest, copy, uri, schema):
    """A dump in a schema of its own, with what the manifest says."""
    postgresql.load(uri, copy, schema)
    revision, counts = postgresql.count(uri, schema)
    compare(manifest, {"revision": revision, "counts": counts})


def compare(manifest, found):
    said = {key: manifest["database"][key] for key in ("revision", "counts")}
    if found != said:
        raise Damaged(f"The database in the archive is not what the manifest says: {found}, and the manifest says {said}.")


def compare_counts(said, found):
    wrong = [f"{len(found[name])} {name} instead of {said[name]}" for name in sorted(found) if len(found[name]) != said[name]]
    if wrong:
        raise Damaged("MLflow finds in the copy of the database {}.".format(", ".join(wrong)))


def content(uri):
    """Names of what MLflow itself finds, with the classes with which its server answers. Opening the store compares the schema with the release's."""
    os.environ.update(release.QUIET, MLFLOW_TRACKING_URI="")
    from mlflow.entities import ViewType
    from mlflow.exceptions import MlflowException
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Tracking

    try:
        tracking, registry = Tracking(uri, "mlflow-artifacts:/"), Registry(uri)
        experiments = [found.experiment_id for found in pages(tracking.search_experiments, ViewType.ALL)]
        runs = [run.info.run_id for one in experiments for run in pages(tracking.search_runs, [one], "", ViewType.ALL)]
        models = [model.name for model in pages(registry.search_registered_models)]
        for store in (tracking, registry):
            store.engine.dispose()
    except MlflowException as exc:
        raise Problem(f"MLflow cannot work with the copy of the database: {exc}") from None
    return {"experiments": experiments, "runs": runs, "registered_models": models}


def pages(ask, *arguments):
    token = None
    while True:
        page = ask(*arguments, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
