# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role model_serving does on a host: which instances go, come and stay, with their files and sites. One YAML file a filter documents them."""

from __future__ import annotations

import re

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.answers import answer_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.controller_files import controller_file_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.htpasswd import password_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.model_stacks import further_stacks, model_stack_problems, models_with_runtimes, unread
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.sandbox import sandbox_certificate_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.served_models import (
    served_model_problems,
    served_model_versions,
    served_models,
    served_models_plan,
)
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.stacks import stack_environment, words_of
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.strangers import strangers
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.url_host import url_host

UNITS = "/etc/systemd/system"
# Of an instance alone, and all of them replace it when they differ.
PROGRAMS = {"fetch_model.py": "mlflow_fetch_model.py", **{name: name for name in ("model_workers.py", "model_requests.py", "model_app.py")}}
# How Spark works for a served model. Nothing that could change a prediction, or the order of the rows, belongs here: Arrow makes nulls of NaN,
# and another number of partitions sorts what was grouped otherwise.
SPARK_SETTINGS = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"}
CERTIFICATE_FILES = ("certificate_path", "key_path", "ca_path", "ca_key_path")
# Of what a survey may ask: texts without a space at their ends.
ANSWERS = {"model_serving_prune": {}}

NO_METHOD = (
    "mlops_serving_scheme is https, but model_serving_certificate does not say where the certificate comes from: set its method to provided or ca."
)
BAD_NAME = "model_serving_users: each user needs a name without a colon and blanks, of 128 characters at the most."
NO_REGISTRY = (
    "The registry does not answer at {uri} ({why}). Start MLflow first (role mlflow_server), or correct model_serving_tracking_uri, "
    "model_serving_tracking_username and model_serving_tracking_password."
)
NO_PORTS = (
    "There are not enough private ports for the instances of the models: move mlops_serving_private_port_first and "
    "mlops_serving_private_port_last apart."
)


def declared(models, state):
    return [model for model in served_models(models) if model["state"] == state]


def certificate_problems(certificate):
    if certificate.get("method", "") not in ("provided", "ca"):
        yield NO_METHOD
    files = {name: certificate[name] for name in certificate if name in CERTIFICATE_FILES}
    yield from (f"model_serving_certificate: {problem}" for problem in controller_file_problems(files))


def model_serving_problems(settings, listeners):
    models, names, users = settings["model_serving_models"], settings["model_serving_names"], settings["model_serving_users"]
    present = declared(models, "present")
    taken = [one["port"] for one in strangers(listeners, [model["port"] for model in present], ["nginx.service"], [])]
    return [
        *served_model_problems(models, *settings["serving_ports"]),
        *model_stack_problems(present, settings["stack"]),
        *(f"Port {port} is taken by another program: stop it, or give the model in model_serving_models another port." for port in taken),
        *(certificate_problems(settings["model_serving_certificate"]) if settings["mlops_serving_scheme"] == "https" and present else []),
        *([BAD_NAME] if any(not re.match(r"[^:\s]{1,128}$", str(user.get("name", ""))) for user in users) else []),
        *password_problems(users, "model_serving_users"),
        *(f'model_serving_names: "{name}" is no name or address of a host.' for name in names if not re.match("[A-Za-z0-9._:-]{1,253}$", name)),
        *sandbox_certificate_problems(settings["model_serving_environment"], [settings["mlops_config_dir"]], "model_serving_environment"),
        *(f"model_serving_spark_settings has what is no setting of Spark (they begin with spark.): {name}"
          for name in settings["model_serving_spark_settings"] if not str(name).startswith("spark.")),
        *answer_problems(settings, ANSWERS),
    ]


def instance_of(slot):
    """A model's two instances have its name, and this with @2."""
    return slot.removesuffix("@2")


def registry_problems(models, registry, uri):
    if models and "model_versions" not in registry:
        return [NO_REGISTRY.format(uri=uri, why=registry.get("msg", ""))]
    return [model["problem"] for model in models if model["problem"]]


def model_serving_plan(models, found, registry, tracking_uri, prune, private_ports, stack):
    slots, sites = found.get("slots", []), found.get("sites", {})
    present = declared(models, "present")
    names = [model["instance"] for model in present]
    made_with = registry.get("made_with", [])
    meant = models_with_runtimes(served_model_versions(present, registry.get("model_versions", [])), made_with, stack)
    wanted = served_models_plan(meant, found, *private_ports)
    live = [{**model, "slot": model["live"], "port_private": model["live_port"]} for model in wanted if model["live"]]
    served = sorted({*map(instance_of, slots), *sites})
    undeclared = [name for name in served if name not in [model["instance"] for model in served_models(models)]]
    unwanted = [model["instance"] for model in declared(models, "absent") if model["instance"] in served]
    unwanted += undeclared if prune else []
    unwanted_slots = [slot for slot in slots if instance_of(slot) in unwanted]
    # What a run that was killed has left: started and not switched to, or switched from and not stopped.
    leftovers = [slot for slot in slots if instance_of(slot) in names and slot not in [model["slot"] for model in live]]
    return {
        "problems": [
            *registry_problems(wanted, registry, tracking_uri),
            *([NO_PORTS] if any(model["port_private"] == 0 for model in wanted) else []),
        ],
        "models": wanted,
        # Those beside the site's own, and whose stack is not known and was taken to be that.
        "stacks": further_stacks(wanted, stack),
        "unread": unread(made_with),
        "live": live,
        "undeclared": undeclared,
        "unwanted": unwanted,
        "unwanted_slots": unwanted_slots,
        "unwanted_ports": [site["port"] for site in sites.values() if site["slot"] in unwanted_slots],
        "leftovers": leftovers,
    }


def paths_of(slot, places):
    """The four places of an instance, in the order in which they are removed."""
    return {
        "unit": f"{UNITS}/mlflow-model@{slot}.service",
        "environment": f"{places['config_dir']}/models/{slot}.env",
        "programs": f"{places['home']}/libexec/models/{slot}",
        "data": f"{places['data_dir']}/models/{slot}",
    }


def environment_of(model, places):
    """What the stack says always is what a user's own variables go before; what it says of this instance is not."""
    paths, variables = paths_of(model["slot"], places), places["variables"]
    stack = model["runtime"]["serving"]["environment"]
    words = {"programs": paths["programs"], "timeout": model["timeout"], "workers": model["workers"]}
    own = stack_environment({name: value for name, value in stack.items() if words_of(value)}, **words)
    if "GUNICORN_CMD_ARGS" in own:
        own["GUNICORN_CMD_ARGS"] = f"{own['GUNICORN_CMD_ARGS']} {variables.get('GUNICORN_CMD_ARGS', '')}".strip()
    return {
        **stack,
        **variables,
        **own,
        "MLFLOW_PORT": model["port_private"],
        "SERVED_MODEL_TIMEOUT": model["timeout"],
        "SERVED_MODEL_URI": f"models:/{model['name']}/{model['version']}",
        "SERVED_MODEL_DIR": f"{paths['data']}/{model['release']}",
    }


def served_model_files(models, places):
    data = {"state": "directory", **places["account"], "mode": "0750"}
    files = [
        {"path": f"{places['home']}/libexec", "state": "directory"},
        {"path": f"{places['home']}/libexec/models", "state": "directory"},
        {"path": places["config_dir"], "state": "directory"},
        {"path": f"{places['config_dir']}/models", "state": "directory"},
        {"path": f"{places['data_dir']}/models", **data},
    ]
    spark = {**SPARK_SETTINGS, **places["spark_settings"]}
    for model in models:
        paths = paths_of(model["slot"], places)
        variables = {"environment_variables": environment_of(model, places)}
        readers = {"group": places["account"]["group"], "mode": "0640"}
        files += [
            {"path": paths["data"], **data},
            {"path": paths["environment"], "template": "environment.j2", "variables": variables, "secret": True, **readers},
            {"path": paths["programs"], "state": "directory"},
            *({"path": f"{paths['programs']}/{name}", "source": source} for name, source in PROGRAMS.items()),
            {"path": f"{paths['programs']}/spark-defaults.conf", "template": "spark-defaults.conf.j2", "variables": {"spark_settings": spark}},
            {"path": paths["unit"], "template": "mlflow-model.service.j2", "variables": {"model": model}},
        ]
    return files


def served_model_gone_files(slots, places):
    return [{"path": path, "state": "absent"} for slot in slots for path in paths_of(slot, places).values()]


def outdated_models(models, changed_paths, places):
    """Those without an instance, and those whose instance would be written otherwise. Sites do not count: nginx is given them in any case."""

    def differs(slot):
        paths = paths_of(slot, places)
        own = (paths["unit"], paths["environment"], *(f"{paths['programs']}/{name}" for name in (*PROGRAMS, "spark-defaults.conf")))
        return any(path in changed_paths for path in own)

    return [model for model in models if not model["live"] or differs(model["live"])]


def served_model_sites(models, names, template, gone=()):
    sites = []
    for model in models:
        variables = {"model": model, "prefix": f"model_{model['port']}", "names": list(names), "origins": []}
        sites.append({"name": f"model-{model['instance']}", "template": template, "variables": variables, "ports": [model["port"]]})
    return sites + [{"name": f"model-{instance}", "state": "absent"} for instance in gone]


def served_model_urls(models, scheme, address):
    return [{"model": model["name"], "version": int(model["version"]), "url": f"{scheme}://{url_host(address)}:{model['port']}/invocations"}
            for model in models]  # fmt: skip


def served_model_request(sample, input_format):
    """Rows as whoever declares a model writes them: records, or columns and data."""
    if input_format == "pandas-split":
        return sample
    return {"dataframe_records": sample} if isinstance(sample, list) else {"dataframe_split": sample}
