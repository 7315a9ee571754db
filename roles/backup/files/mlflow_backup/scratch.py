"""The database of an archive, loaded into an instance of MLflow that nobody uses."""

import os

from . import database
from .problems import Damaged, Problem

PAGE = 1000


def verify(manifest, copy, folder):
    """Raises if the copy has not what the manifest says. Says how it was looked at."""
    kind = database.KINDS[manifest["database"]["kind"]]
    revision, counts = kind.count(copy)
    compare(manifest, {"revision": revision, "counts": counts})
    if kind is not database.Sqlite:
        return "every row of the dump was read and counted"
    compare_counts(manifest["database"]["counts"], loaded(copy, folder))
    return "loaded into a scratch instance of MLflow and counted there"


def compare(manifest, found):
    said = {key: manifest["database"][key] for key in ("revision", "counts")}
    if found != said:
        raise Damaged(f"The database in the archive is not what the manifest says: {found}, and the manifest says {said}.")


def compare_counts(said, found):
    wrong = [f"{found[name]} {name} instead of {said[name]}" for name in sorted(found) if found[name] != said[name]]
    if wrong:
        raise Damaged("MLflow finds in the database of the archive {}.".format(", ".join(wrong)))


def loaded(copy, folder):
    """What MLflow itself finds with the classes with which its server answers. Opening the store compares the schema with that of the release."""
    os.environ.update(MLFLOW_TRACKING_URI="", GIT_PYTHON_REFRESH="quiet")
    from mlflow.entities import ViewType
    from mlflow.exceptions import MlflowException
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Registry
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Tracking

    uri = "sqlite:///" + copy
    try:
        tracking, registry = Tracking(uri, os.path.join(folder, "artifacts")), Registry(uri)
        ids = [found.experiment_id for found in pages(tracking.search_experiments, ViewType.ALL)]
        runs = sum(1 for one in ids for _run in pages(tracking.search_runs, [one], "", ViewType.ALL))
        models = sum(1 for _model in pages(registry.search_registered_models))
    except MlflowException as exc:
        raise Problem(f"MLflow cannot work with the database of the archive: {exc}") from None
    return {"experiments": len(ids), "runs": runs, "registered_models": models}


def pages(ask, *arguments):
    token = None
    while True:
        page = ask(*arguments, max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
