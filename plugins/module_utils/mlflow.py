# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""MLflow's model registry over its REST API (MLflow 1.30, API 2.0)."""

import re

from ansible.module_utils.basic import env_fallback
from ansible.module_utils.urls import basic_auth_header
from ansible_collections.sparkflows.mlops.plugins.module_utils.client import header_value
from ansible_collections.sparkflows.mlops.plugins.module_utils.module import MlopsModule
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import HttpClient, HttpError, MlopsError

API = "/api/2.0/mlflow/"
STAGES = ("None", "Staging", "Production", "Archived")
# Somebody may be served by these: a version in one of them is not deleted by mistake.
IN_USE = ("Staging", "Production")
PAGE = 100
MISSING = "RESOURCE_DOES_NOT_EXIST"
# The variables of MLflow's own client.
ENVIRONMENT = {
    "url": "MLFLOW_TRACKING_URI",
    "username": "MLFLOW_TRACKING_USERNAME",
    "password": "MLFLOW_TRACKING_PASSWORD",
    "token": "MLFLOW_TRACKING_TOKEN",
    "ca_path": "MLFLOW_TRACKING_SERVER_CERT_PATH",
}


def connection_spec():
    spec = dict(
        url=dict(type="str", aliases=["tracking_uri"]),
        username=dict(type="str"),
        password=dict(type="str", no_log=True),
        token=dict(type="str", no_log=True),
        validate_certs=dict(type="bool", default=True),
        ca_path=dict(type="path"),
        timeout=dict(type="int", default=30),
        retries=dict(type="int", default=3),
    )
    for name, variable in ENVIRONMENT.items():
        spec[name]["fallback"] = (env_fallback, [variable])
    return spec


class RegistryError(HttpError):
    """MLflow understood the request and refuses it; `code` is its word for why."""

    def __init__(self, message, answer, code):
        super().__init__(message, answer)
        self.code = code


class MlflowClient:
    def __init__(self, params, warn):
        if not params["url"]:
            raise MlopsError("Set url (environment variable MLFLOW_TRACKING_URI) to the address of MLflow.")
        if bool(params["username"]) != bool(params["password"]):
            raise MlopsError(
                "Set both username (MLFLOW_TRACKING_USERNAME) and password (MLFLOW_TRACKING_PASSWORD), or neither."
            )
        self.http = HttpClient(
            url=params["url"],
            product="MLflow",
            timeout=params["timeout"],
            retries=params["retries"],
            validate_certs=params["validate_certs"],
            ca_path=params["ca_path"],
            use_proxy=params.get("use_proxy", True),
            warn=warn,
            login_advice="Check username and password (MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_PASSWORD) or token "
            "(MLFLOW_TRACKING_TOKEN), and that url is the address of MLflow itself.",
        )
        self.http.hide([params["password"], params["token"] and params["token"].strip()])
        if params["username"]:  # as MLflow's own client: with both, the user name goes first
            self.http.headers["Authorization"] = basic_auth_header(params["username"], params["password"])
        elif params["token"]:
            token = header_value("token (MLFLOW_TRACKING_TOKEN)", params["token"])
            self.http.headers["Authorization"] = "Bearer " + token

    # ---- verbs
    def get(self, call, **query):
        return self._call("GET", call, query=query)

    def post(self, call, **body):
        return self._call("POST", call, json_body=body)

    def patch(self, call, **body):
        return self._call("PATCH", call, json_body=body)

    def delete(self, call, **body):
        return self._call("DELETE", call, json_body=body)

    def _call(self, method, call, **content):
        answer = self.http.send(method, API + call, **content)
        data = answer.data()
        code = data.get("error_code") if isinstance(data, dict) else None
        if code and answer.status not in (401, 403):
            said = self.http.said(answer).rstrip(".")
            raise RegistryError(f"MLflow at {self.http.url} refused {method} {call} ({code}): {said}.", answer, code)
        self.http.judge(answer)
        if not isinstance(data, dict):
            raise self.http.not_json(answer)
        return data

    # ---- what several modules ask for
    def registered_model(self, name):
        """The model, or None."""
        try:
            return self.get("registered-models/get", name=name)["registered_model"]
        except RegistryError as error:
            if error.code == MISSING:
                return None
            raise

    def registered_models(self):
        models, token = [], ""
        while True:
            page = self.get("registered-models/search", max_results=PAGE, **({"page_token": token} if token else {}))
            models += page.get("registered_models", [])
            token = page.get("next_page_token")
            if not token:
                return models

    def versions(self, name):
        """All versions of a model, the newest first; none where there is no such model."""
        quote = "'" if "'" not in name else '"'
        # A name with both kinds of quotes cannot be asked for, so all versions of all models are.
        query = {} if quote in name else {"filter": f"name={quote}{name}{quote}"}
        found = self.get("model-versions/search", **query).get("model_versions", [])
        return sorted((one for one in found if one["name"] == name), key=lambda one: -int(one["version"]))

    def version(self, name, version):
        return self.get("model-versions/get", name=name, version=version)["model_version"]

    def artifact(self, name, version, path):
        """The text of a file of a version, as MLflow's own pages get it."""
        query = {"name": name, "version": version, "path": path}
        return self.http.request("GET", "/model-versions/get-artifact", query=query).text


class MlflowModule(MlopsModule):
    connection_spec = staticmethod(connection_spec)
    make_client = MlflowClient


def tags_of(entity):
    return {tag["key"]: tag.get("value", "") for tag in entity.get("tags", [])}


def wanted_tags(params, present):
    """All tags as they are to be."""
    tags = {str(key): str(value) for key, value in (params["tags"] or {}).items()}
    return tags if params["purge_tags"] and params["tags"] is not None else dict(present, **tags)


def as_tags(tags):
    return [{"key": key, "value": value} for key, value in sorted(tags.items())]


def write_tags(client, family, keys, before, after):
    """`family` is registered-models or model-versions, `keys` say which one."""
    for key, value in sorted(after.items()):
        if before.get(key) != value:
            client.post(family + "/set-tag", key=key, value=value, **keys)
    for key in sorted(set(before) - set(after)):
        client.delete(family + "/delete-tag", key=key, **keys)


def checked_name(name):
    if not name.strip():
        raise MlopsError("Set name to the name of the registered model: it is empty.")
    if re.search(r"[/:]", name):
        raise MlopsError(f"name is {name!r}: the name of a model cannot have a slash or a colon.")
    return name


def show_model(model):
    """A registered model as modules return it."""
    return {
        "name": model["name"],
        "description": model.get("description", ""),
        "tags": tags_of(model),
        "created": model.get("creation_timestamp"),
        "updated": model.get("last_updated_timestamp"),
        "latest_versions": [show_version(version) for version in model.get("latest_versions", [])],
    }


def show_version(version):
    """A version as modules return it."""
    return {
        "name": version["name"],
        "version": str(version["version"]),
        "stage": version.get("current_stage", "None"),
        "status": version.get("status", "READY"),
        "source": version.get("source", ""),
        "run_id": version.get("run_id", ""),
        "description": version.get("description", ""),
        "tags": tags_of(version),
        "created": version.get("creation_timestamp"),
        "updated": version.get("last_updated_timestamp"),
    }
