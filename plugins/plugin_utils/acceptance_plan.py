# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the acceptance asks of a host, and what stands in the way."""

from __future__ import annotations

from urllib.parse import urlsplit

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.acceptance_samples import models_of, present_models, sample_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.addresses import addresses
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.answers import answer_problems
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.networks import networks
from jinja2.filters import do_int

# How a port that is not open looks behind each firewall. These two guard nothing but their own ports.
OPEN_OTHERWISE = ("nftables", "none")
# The bounds of numbers that a survey may ask for, those of the argument spec.
ANSWERS = {"acceptance_score_timeout": {"min": 1, "max": 3600}, "acceptance_connect_timeout": {"min": 1, "max": 60}}
PROXY = "nginx.service"
MLFLOW = "mlflow.service"
FIRE_MLOPS = "fire-mlops-server.service"
# The code of a program is that of these files, one after the other.
PROGRAMS = {
    "mlflow": {"name": "answers of the MLflow host", "program": "mlflow_host.py", "code": ["mlflow_host.py"]},
    "samples": {
        "name": "answers of the served models",
        "program": "score.py",
        "code": ["with_csv_files.py", "score.py", "../../../plugins/module_utils/csv_files.py"],
    },
    "ssh": {"name": "answers of the SSH access", "program": "ssh_access.py", "code": ["ssh_access.py"]},
}
# How MLflow must answer. Who guesses too often is told to wait.
LOGIN = {"name": "MLflow answers Sparkflows", "login": "right", "wanted": [200]}
REFUSALS = [
    {"name": "MLflow wants a login", "login": "none", "wanted": [401]},
    {"name": "MLflow refuses a wrong password", "login": "wrong", "wanted": [401, 429]},
]


def is_in(group, settings):
    return settings["inventory_hostname"] in settings["groups"].get(group, [])


def has_fire_mlops(settings):
    return settings["mlops_deploy_mode"] == "fire_mlops_server"


def services_of(settings, models, sites):
    """What runs on an MLflow host. A model has two names for its instances in turn: its site has the one that serves it."""
    services = [{"label": "MLflow", "port": do_int(settings["mlops_mlflow_port"]), "unit": MLFLOW}]
    if has_fire_mlops(settings):
        services.append({"label": "Fire MLOps server", "port": do_int(settings["mlops_fire_mlops_port"]), "unit": FIRE_MLOPS})
    for model in models:
        live = sites.get(model["instance"], {"slot": model["instance"]})
        services.append({"label": model["name"], "port": model["port"], "unit": f"mlflow-model@{live['slot']}.service"})
    return services


def programs_of(settings):
    on_mlflow, on_sparkflows = is_in("mlflow", settings), is_in("sparkflows", settings)
    asked = {
        "mlflow": on_mlflow,
        "samples": on_sparkflows and settings["acceptance_samples"],
        "ssh": settings["mlops_deploy_mode"] == "remote" and (on_mlflow or on_sparkflows),
    }
    # MLflow's own Python has the client, for the others any will do.
    python = {"mlflow": f"{settings['mlops_venv']}/bin/python"}
    return [{**PROGRAMS[subject], "python": python.get(subject, settings["python"]), "questions": subject} for subject in PROGRAMS if asked[subject]]


def acceptance_plan(settings, served):
    models = present_models(settings["model_serving_models"])
    services = services_of(settings, models, served.get("sites", {}))
    proxy = settings["mlops_mlflow_proxy"]
    return {
        "models": models,
        "services": services if is_in("mlflow", settings) else [],
        "units": [*([PROXY] if proxy else []), *(service["unit"] for service in services)],
        "credentials_unit": FIRE_MLOPS if has_fire_mlops(settings) else "",
        "store_unit": FIRE_MLOPS if has_fire_mlops(settings) else MLFLOW,
        "programs": programs_of(settings),
        "logins": [*(REFUSALS if proxy else []), LOGIN],
    }


def closed_state(host, hostvars, state):
    """How a port of the host that must be closed looks from another one."""
    if state != "auto":
        return state
    # A setting of the MLflow host, which the host that asks need not have.
    return "closed" if hostvars[host].get("serving_firewall_backend") in OPEN_OTHERWISE else "filtered"


def acceptance_ports(settings, hostvars):
    url = urlsplit(settings["mlops_mlflow_url"])
    ports = [{
        "name": "MLflow port is open", "wanted": "open", "host": url.hostname, "port": url.port or {"http": 80, "https": 443}[url.scheme],
    }]  # fmt: skip
    if has_fire_mlops(settings):
        ports.append({
            "name": "Fire MLOps port is open", "wanted": "open",
            "host": settings["mlops_fire_mlops_address"], "port": do_int(settings["mlops_fire_mlops_port"]),
        })  # fmt: skip
    closed, state = settings["acceptance_closed_port"], settings["acceptance_closed_state"]
    for host in settings["groups"].get("mlflow", []):
        address = addresses([host], hostvars)[0]
        ports += [
            {"name": f"serving port of {model['name']} on {host} is open", "wanted": "open", "host": address, "port": model["port"]}
            for model in models_of(host, hostvars)
        ]
        # No firewall stands between a host and itself.
        wanted = "closed" if host == settings["inventory_hostname"] else closed_state(host, hostvars, state)
        ports.append({"name": f"port {closed} of {host} is closed", "host": address, "port": do_int(closed), "wanted": wanted})
    return ports


def closed_port_problems(settings):
    port = do_int(settings["acceptance_closed_port"])
    opened = [do_int(settings[name]) for name in ("mlops_mlflow_port", "mlops_fire_mlops_port")]
    said = f"acceptance_closed_port is {settings['acceptance_closed_port']}"
    if port in opened or do_int(settings["mlops_serving_port_first"]) <= port <= do_int(settings["mlops_serving_port_last"]):
        return [f"{said}, which is opened on purpose: set it to a port that must be closed."]
    return [] if 0 < port < 65536 else [f"{said}: set it to a port from 1 to 65535."]


def acceptance_problems(settings, hostvars):
    return [*sample_problems(settings, hostvars), *closed_port_problems(settings), *answer_problems(settings, ANSWERS)]


def acceptance_ssh_peers(peers, commands, comment, timeout):
    return [
        {
            "host": peer["host"],
            "address": peer["address"],
            "user": peer["user"],
            "command": commands[peer["host"]],
            "comment": f"{comment}{peer['host']}",
            "from": ",".join(networks(peer["sources"])),
            "timeout": do_int(timeout),
        }
        for peer in peers
    ]


def acceptance_program_answers(programs, result):
    """Standard input is not kept, it may hold a login. Of a loop without items nothing is: ansible-core 2.21 deprecates one of its values."""
    asked = [{key: program[key] for key in ("name", "python", "program")} for program in programs]
    if not programs:
        return {"asked": [], "result": {}}
    if "results" not in result:
        return {"asked": asked, "result": result}
    kept = [{key: value for key, value in one.items() if key not in ("invocation", "item")} for one in result["results"]]
    return {"asked": asked, "result": {**result, "results": kept}}
