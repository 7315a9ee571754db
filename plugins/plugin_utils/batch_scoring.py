# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The job that scores files with a registered model: what is wrong with its settings, how it is run, and what its answers mean. One YAML file a
filter documents them."""

from __future__ import annotations

import json
import re
from os.path import basename, dirname

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.model_stacks import (
    beside,
    chosen,
    named,
    named_stack_problems,
    unread,
    versions_of,
)
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.sandbox import sandbox_certificate_problems, sandbox_certificates
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.systemd_versions import known_to_systemd
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.url_host import url_host
from jinja2.filters import do_int as number  # 0 for what is no number: settings come as text from AWX

MASTERS = r"^(local(\[(\*|[1-9][0-9]*)(,[0-9]+)?\])?|spark://.+:[0-9]+.*|yarn|k8s://.+)$"
MEMORY = "^[0-9]+[kmgtKMGT]$"
MEMORIES = ("batch_scoring_driver_memory", "batch_scoring_executor_memory")
EXTRA_COLUMNS = ("refuse", "keep")
# What is done beside scoring itself has so many seconds: Spark starts, the model is loaded.
START = 600
# Older ones of systemd have no service of the type exec (NEWS of systemd 240); RHEL 8 has 239.
EXEC_SINCE = 240
LAST_LINES = 20
KILLED = (
    "the job ended before this file was scored (exit code {}; 137 is out of memory, compare batch_scoring_driver_memory and "
    "batch_scoring_memory_max). The end of its log:\n{}"
)


# Workers have Spark and Python of the site's stack, at the same places as this host, and nothing beside.
NOT_THERE = (
    "{what} is to score with the stack {name} ({spark}), but the workers of {master} (batch_scoring_master) have {own} ({own_spark}). Set "
    "batch_scoring_master to local[*], which scores on this host alone, or batch_scoring_stack to {own} to have it scored with that all the "
    "same{or_else}."
)
OR_ELSE = ", or, if the workers of this cluster do have {venv}, to {name}"


def setting_problems(settings, stack):
    if not re.match(MASTERS, str(settings["batch_scoring_master"])):
        yield (f"batch_scoring_master is {settings['batch_scoring_master']}: set it to local[*], local[<cores>], spark://<host>:<port>, yarn or "
               "k8s://<url>.")  # fmt: skip
    if settings["batch_scoring_extra_columns"] not in EXTRA_COLUMNS:
        yield f"batch_scoring_extra_columns is {settings['batch_scoring_extra_columns']}: set it to refuse or keep."
    if number(settings["batch_scoring_timeout"]) < 1:
        yield f"batch_scoring_timeout is {settings['batch_scoring_timeout']}: set it to a number of seconds above 0."
    for name in MEMORIES:
        if not re.match(MEMORY, str(settings[name])):
            yield f"{name} is no amount of memory: set it to a number with a unit, for example 2g."
    yield from sandbox_certificate_problems(settings["batch_scoring_environment"], [], "batch_scoring_environment")
    yield from sandbox_certificate_problems({"batch_scoring_tracking_ca_path": settings["batch_scoring_tracking_ca_path"]}, [])
    for name in settings["batch_scoring_spark_settings"]:
        if not str(name).startswith("spark."):
            yield f"batch_scoring_spark_settings has what is no setting of Spark (they begin with spark.): {name}"
    yield from named_stack_problems(settings["batch_scoring_stack"], stack, "batch_scoring_stack")


def batch_scoring_problems(settings, stack):
    return list(setting_problems(settings, stack))


def batch_scoring_model_problems(settings):
    problems = []
    if not settings["batch_scoring_model_name"]:
        problems.append("batch_scoring_model_name is empty: set score_offline_model_name to the name of a registered model.")
    if not str(settings["batch_scoring_model_version"]):
        problems.append("batch_scoring_model_version is empty: set score_offline_model_version or score_offline_model_stage.")
    return problems


def spark_of(stack):
    version = versions_of(stack["dir"]).get("Spark")
    return f"Spark {version}" if version else "no Spark"


def cluster_problem(settings, runtime, stack, cluster, what):
    """Why the executors could not score with a stack. Those of this host are Java and Python of the job itself; whoever has a cluster of his own and
    names the stack says that it is there."""
    master, own = str(settings["batch_scoring_master"]), runtime["dir"] == stack["dir"]
    if own or master.startswith("local") or (settings["batch_scoring_stack"] and master != cluster):
        return ""
    or_else = "" if master == cluster else OR_ELSE.format(**runtime)
    return NOT_THERE.format(what=what, name=runtime["name"], spark=spark_of(runtime), master=master, own=stack["name"], own_spark=spark_of(stack),
                            or_else=or_else)  # fmt: skip


def batch_scoring_runtime(registry, settings, stack, cluster):
    """With which stack the model scores: as model_serving decides it. What is not known of a model is left to the job, which says what is wrong."""
    made_with = registry.get("made_with", [])
    made = made_with[0] if made_with else {}
    what = f"the model {settings['batch_scoring_model_name']}, version {made.get('version', settings['batch_scoring_model_version'])},"
    folder, problem = settings["batch_scoring_stack"] or stack["dir"], ""
    if not settings["batch_scoring_stack"]:
        folder, problem = chosen(made, stack, what=what, does="score", setting="batch_scoring_stack")
    runtime = named(folder, stack)
    unknown = unread(made_with)
    # Not every registry of MLflow is asked over HTTP.
    if "made_with" not in registry and registry.get("msg"):
        unknown = [f"{settings['batch_scoring_model_name']} ({registry['msg']})"]
    return {
        **runtime,
        "problem": problem or cluster_problem(settings, runtime, stack, cluster, what),
        "stacks": [beside(runtime)] if runtime["dir"] != stack["dir"] else [],
        "unread": unknown,
    }


def own_address(settings, site):
    """Local Spark stays on loopback; a cluster's workers have to reach the driver."""
    return "127.0.0.1" if str(settings["batch_scoring_master"]).startswith("local") else site["mlops_address"]


def spark_settings(settings, site):
    address = url_host(own_address(settings, site))
    of_a_cluster = str(settings["batch_scoring_master"]).startswith("spark://")
    return {
        "spark.driver.memory": settings["batch_scoring_driver_memory"],
        "spark.driver.maxResultSize": "512m",
        "spark.driver.host": address,
        "spark.driver.bindAddress": address,
        "spark.executor.memory": settings["batch_scoring_executor_memory"],
        "spark.cores.max": settings["batch_scoring_cores_max"] if number(settings["batch_scoring_cores_max"]) else "",
        "spark.scheduler.minRegisteredResourcesRatio": "1.0",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.execution.arrow.pyspark.fallback.enabled": "false",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.local.dir": site["mlops_tmp_dir"],
        **({**site["_mlops_spark"]["security"], **site["_mlops_spark"]["job_ports"]} if of_a_cluster else {}),
        **settings["batch_scoring_spark_settings"],
    }


def environment(settings, site):
    folder = site["mlops_tmp_dir"]
    temporary = {"TMPDIR": folder, "MLFLOW_DFS_TMP": f"{folder}/mlflow-batch-scoring", "JAVA_TOOL_OPTIONS": f"-Djava.io.tmpdir={folder}"}
    return {
        "MLFLOW_TRACKING_URI": settings["batch_scoring_tracking_uri"],
        "MLFLOW_TRACKING_USERNAME": settings["batch_scoring_tracking_username"],
        "MLFLOW_TRACKING_PASSWORD": settings["batch_scoring_tracking_password"],
        "MLFLOW_TRACKING_SERVER_CERT_PATH": settings["batch_scoring_tracking_ca_path"],
        "GIT_PYTHON_REFRESH": "quiet",
        "SPARK_LOCAL_IP": own_address(settings, site),
        **site["_mlops_artifacts"]["client_environment"],
        **(temporary if folder else {}),
        **settings["batch_scoring_environment"],
    }


def batch_scoring_secrets(settings, site):
    return {"spark": spark_settings(settings, site), "environment": environment(settings, site)}


def folders(pending, field):
    """The job sees the folders of its files under names of its own, so that it need not be able to pass the folders above them."""
    return list(dict.fromkeys(dirname(file[field]) for file in pending))


def sandbox(settings, site, found, runtime):
    data_dir, config_dir, pending = site["_batch_scoring_data_dir"], site["_batch_scoring_config_dir"], found["pending"]
    lines = [
        *known_to_systemd(found["sandbox"], number(found["systemd"])),
        f"User={site['mlops_user']}",
        f"Group={site['mlops_group']}",
        f"WorkingDirectory={data_dir}",
        f"Environment=PATH={runtime['venv']}/bin:/usr/bin:/bin",
        "Environment=HOME=/tmp",
        f"Environment=JAVA_HOME={runtime['java']}",
        f"Environment=PYSPARK_PYTHON={runtime['venv']}/bin/python",
        f"Environment=SPARK_CONF_DIR={config_dir}",
        f"EnvironmentFile={config_dir}/job.env",
        f"TemporaryFileSystem={site['mlops_data_dir']}:ro",
        f"TemporaryFileSystem={site['mlops_config_dir']}:ro",
        f"BindPaths={data_dir}",
        f"BindReadOnlyPaths={config_dir}",
        f"RuntimeMaxSec={START + number(settings['batch_scoring_timeout']) * len(pending)}",
    ]
    if site["mlops_tmp_dir"]:
        lines.append(f"ReadWritePaths={site['mlops_tmp_dir']}")
    hidden = [site["mlops_data_dir"], site["mlops_config_dir"]]
    lines += [f"BindReadOnlyPaths=-{path}" for path in sandbox_certificates(environment(settings, site), hidden)]
    if settings["batch_scoring_memory_max"]:
        lines.append(f"MemoryMax={settings['batch_scoring_memory_max']}")
    lines += [f'BindReadOnlyPaths="{path}":/tmp/in{index}' for index, path in enumerate(folders(pending, "path"))]
    lines += [f'BindPaths="{path}":/tmp/out{index}' for index, path in enumerate(folders(pending, "staged"))]
    return lines


def command(settings, site, found, runtime):
    service_type = "simple" if 0 < number(found["systemd"]) < EXEC_SINCE else "exec"
    return [
        *("systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--service-type={service_type}", f"--unit={found['unit']}"),
        *(f"--property={line}" for line in sandbox(settings, site, found, runtime)),
        *(f"{runtime['venv']}/bin/python", site["_batch_scoring_program"]),
    ]


def orders(settings, site, found):
    inputs, outputs = folders(found["pending"], "path"), folders(found["pending"], "staged")
    files = [
        {
            "name": file["name"],
            "path": f"/tmp/in{inputs.index(dirname(file['path']))}/{basename(file['path'])}",
            "staged": f"/tmp/out{outputs.index(dirname(file['staged']))}/{basename(file['staged'])}",
        }
        for file in found["pending"]
    ]
    model_order = {
        "name": settings["batch_scoring_model_name"],
        "version": str(settings["batch_scoring_model_version"]),
        "columns": settings["batch_scoring_columns"],
        "home": site["_batch_scoring_data_dir"],
    }
    order = {
        "model": found["model"],
        "master": settings["batch_scoring_master"],
        "extra_columns": settings["batch_scoring_extra_columns"],
        "prediction_column": str(settings["batch_scoring_prediction_column"]),
        "result_type": settings["batch_scoring_result_type"],
        "timeout": number(settings["batch_scoring_timeout"]),
        "files": files,
    }
    return {"model_order": model_order, "order": order}


def batch_scoring_plan(settings, site, found):
    # The registry is of the site's generation, and a client of another one may not find its way there.
    own = {"java": site["mlops_java_home"], "venv": site["mlops_venv"]}
    return {
        "model_command": [*command(settings, site, found, own), "model"],
        "command": [*command(settings, site, found, found["runtime"]), "score"],
        **orders(settings, site, found),
        "outputs": folders(found["pending"], "staged"),
    }


def answers_of(result):
    """An answer is a line of JSON; libraries print other lines, and what was killed in the middle of a line has not said it."""
    found = []
    for line in result.get("stdout_lines", []):
        if line.startswith("{"):
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
    return found


def end_of_log(result):
    return "\n".join(result.get("stderr_lines", [])[-LAST_LINES:])


def batch_scoring_model(result):
    answer = (answers_of(result) or [{}])[-1]
    if "path" in answer or "problem" in answer:
        return answer
    return {**answer, "problem": f"the job that asks for the model gave no answer (exit code {result.get('rc', 'none')}). The end of its log: "
                                 + end_of_log(result)}  # fmt: skip


def batch_scoring_failures(result, pending):
    last = {answer.get("name"): answer for answer in answers_of(result)}
    failures = {}
    for file in pending:
        answer = last.get(file["name"], {})
        if "problem" in answer:
            failures[file["name"]] = answer["problem"]
        elif "rows" not in answer:
            failures[file["name"]] = KILLED.format(result.get("rc", "none"), end_of_log(result))
    return failures
