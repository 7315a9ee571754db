"""Puts MLflow's own login app before MLflow, and the guard behind it. gunicorn loads this into each of its processes (--config).

`mlflow server --app-name basic-auth` does not do: the app has its settings, the database's password among them, from a file of its own, and MLflow 2
counts the schema of its users where MLflow counts its own, so that both cannot be in one database. Here they are, and whatever takes that database
elsewhere takes the users along.

Who asks on behalf of others is the proxy, which says for whom (X-Forwarded-For). All else comes from this host itself, from MLflow's own services,
and may do everything, as it may without a login app.
"""

import hashlib
import os
import sys

# gunicorn does not look for modules where its settings are.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import mlflow_guard

# Where the proxy asks whether a login is good.
ASKED = "/mlops-login"


def administrator():
    return os.environ["MLFLOW_AUTH_ADMIN_USERNAME"], os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"]


def make_tables(engine):
    """Those of MLflow's users, in the database that has MLflow's own."""
    from mlflow.server.auth.db import models, utils

    if hasattr(utils, "INITIAL_REVISION"):
        # MLflow 3 counts their schema in a table of its own, and knows those of 2 by having none.
        utils.migrate_if_needed(engine, "head")
    else:
        models.Base.metadata.create_all(engine)


def leave_tables():
    """prepare has made them, one host at a time. MLflow 2 would not find its way in MLflow's own schema."""
    from mlflow.server.auth.db import utils

    utils.migrate_if_needed = lambda engine, revision: None


def prepare(engine, uri):
    """The tables, and an administrator with the password of the settings. mlflow_schema.py does it before each start."""
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    make_tables(engine)
    leave_tables()
    store = SqlAlchemyStore()
    store.init_db(uri)
    name, password = administrator()
    if not store.has_user(name):
        store.create_user(name, password, is_admin=True)
    elif not (store.authenticate_user(name, password) and store.get_user(name).is_admin):
        store.update_user(name, password, is_admin=True)
        print(f"MLflow's user {name} has the password of the settings again.", flush=True)


def authenticated():
    """Who asks, or the answer that says that a login is wanted. What MLflow calls (authorization_function), several times for a request; to compare a
    password takes long."""
    from flask import g, request
    from mlflow.server import auth
    from werkzeug.datastructures import Authorization

    if "mlops_authenticated" not in g:
        is_own = "X-Forwarded-For" not in request.headers
        g.mlops_authenticated = Authorization("basic", {"username": administrator()[0]}) if is_own else auth.authenticate_request_basic_auth()
    return g.mlops_authenticated


def post_worker_init(worker):
    """gunicorn calls this before a process answers its first request. What is missing here ends the process, and with it the service."""
    from flask import Response, request
    from mlflow.server import app, auth

    name, password = administrator()
    leave_tables()
    auth.auth_config = auth.auth_config._replace(
        default_permission=os.environ["MLFLOW_AUTH_DEFAULT_PERMISSION"], database_uri=os.environ["MLFLOW_BACKEND_STORE_URI"],
        admin_username=name, admin_password=password, authorization_function="mlflow_login:authenticated")
    # What signs the forms of its pages: the same in all processes and on all hosts. Whoever is given one must not find the password by trying.
    os.environ["MLFLOW_FLASK_SERVER_SECRET_KEY"] = hashlib.scrypt(password.encode(), salt=b"MLflow's pages", n=2**14, r=8, p=1).hex()

    # Before MLflow's own, which knows no such path.
    @app.before_request
    def say_whether_known():
        if request.path == ASKED:
            answer = auth.authenticate_request_basic_auth()
            return answer if isinstance(answer, Response) else ("", 204)
        return None

    auth.create_app(app)
    mlflow_guard.post_worker_init(worker)
