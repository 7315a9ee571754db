"""Five data sets through the offline methods: rows come out as they went in, predictions are those of training.

The role offline_scoring plans and puts in place on this computer. What scores in between needs no lab around it: the scorer image, the
scoring job with Spark and MLflow in the image of the prepared machine, and the double of Sparkflows. Needs the images (make images).
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess

import pytest
from ansible_collections.sparkflows.mlops.plugins.module_utils.csv_files import line_end, read_rows
from lab.data_sets import DATA_SETS, SEPARATORS
from playbook_run import LOCAL, PROJECT, run_with
from sparkflows_server import SparkflowsServer

IDENTITY = """
- name: Note what scores
  ansible.builtin.set_fact:
    score_offline_identity: {method: "{{ score_offline_method }}", model: {version: "1"}}
"""
IMAGE = """
- name: Score with the image
  ansible.builtin.command:
    argv: [docker, run, --rm, --network=none, --user=0, "--volume={{ base | dirname }}:{{ base | dirname }}", "{{ image }}",
           --model, "{{ model }}", --input, "{{ item.path }}", --output, "{{ item.staged }}", --extra-columns, keep]
  loop: "{{ score_offline_pending }}"
  register: __scored
  failed_when: false
- name: Note what failed
  vars:
    failed: "{{ __scored.results | selectattr('rc', 'ne', 0) }}"
  ansible.builtin.set_fact:
    score_offline_failures: "{{ dict(failed | map(attribute='item.name') | zip(failed | map(attribute='stderr'))) }}"
"""
JOB = """
- name: Score with the job
  ansible.builtin.command:
    argv: [docker, run, --rm, --interactive, --network=none, --hostname=localhost, "--volume={{ base | dirname }}:{{ base | dirname }}",
           --env=HOME=/tmp, --env=JAVA_HOME=/opt/mlflow/java, --env=PYSPARK_PYTHON=/opt/mlflow/current/bin/python, --env=SPARK_LOCAL_IP=127.0.0.1,
           "--env=SPARK_CONF_DIR={{ base }}/job", --env=GIT_PYTHON_REFRESH=quiet, --env=PATH=/opt/mlflow/current/bin:/usr/bin:/bin, "{{ image }}",
           /opt/mlflow/current/bin/python, "{{ base }}/job/score_job", score]
    stdin: >-
      {{ {'model': described, 'master': 'local[2]', 'extra_columns': 'keep', 'prediction_column': '', 'result_type': '', 'timeout': 600,
          'files': score_offline_pending} | to_json }}
  register: __scored
- name: Note what failed
  ansible.builtin.set_fact:
    score_offline_failures: >-
      {{ __scored.stdout_lines | select('match', '[{]') | map('from_json') | selectattr('problem', 'defined')
         | items2dict('name', 'problem') }}
"""
# What the job says of the models, as its command model does after it has fetched one.
DESCRIBE = """
import json
from score_job.model import describe
for name in {names!r}:
    described = dict(describe("{sets}/%s/model" % name, {{}}), mojo="")
    with open("{sets}/%s/described.json" % name, "w") as stream:
        json.dump(described, stream)
"""


def newest(image):
    command = ["docker", "images", "--quiet", "--filter", f"reference={image}"]
    found = subprocess.run(command, check=False, capture_output=True, text=True).stdout.split()
    assert found, f"there is no image {image}: make images"
    return found[0]


@pytest.fixture(scope="session", name="base")
def fixture_base(tmp_path_factory):
    """A folder with rows and models, and with what scores them."""
    base = tmp_path_factory.mktemp("data_sets")
    base.chmod(0o755)
    # As the role puts them on a host.
    shutil.copytree(PROJECT / "roles/batch_scoring/files/score_job", base / "job/score_job", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "plugins/module_utils/csv_files.py", base / "job/score_job")
    shutil.copy(PROJECT / "tests/lab/data_sets.py", base / "job")
    (base / "job/spark-defaults.conf").write_text("spark.sql.execution.arrow.pyspark.enabled true\nspark.ui.enabled false\n")
    in_container = ["docker", "run", "--rm", "--network=none", f"--volume={base}:{base}", "--env=GIT_PYTHON_REFRESH=quiet"]
    python = [*in_container, f"--workdir={base}/job", "--interactive", newest("sparkflows-mlops-lab-prepared"), "/opt/mlflow/current/bin/python"]
    subprocess.run([*python, "data_sets.py", f"{base}/sets"], check=True)
    subprocess.run([*python, "-"], input=DESCRIBE.format(sets=f"{base}/sets", names=list(DATA_SETS)), text=True, check=True)
    for name, tasks in {"image": IMAGE, "job": JOB}.items():
        folder = base / "roles" / name / "tasks"
        folder.mkdir(parents=True)
        (folder / "identity.yml").write_text(IDENTITY)
        (folder / "score.yml").write_text(tasks)
    return base


def score(base, folder, name, **variables):
    host = {"scoring.example": {**LOCAL, "ansible_become": False}}
    (folder / "hosts.json").write_text(json.dumps({group: {"hosts": host} for group in ("mlflow", "scorers", "sparkflows")}))
    data_set = DATA_SETS[name]
    variables = {
        "base": str(base), "score_offline_input": str(base / "sets" / name / "in"), "score_offline_output": str(folder / "out"),
        "score_offline_separator": data_set.separator, "score_offline_encoding": data_set.encoding, "score_offline_extra_columns": "keep",
        "mlops_mlflow_address": "192.0.2.10", **variables,
    }  # fmt: skip
    done = run_with(folder, variables, "playbooks/score_offline.yml", ANSIBLE_ROLES_PATH=str(base / "roles"), no_proxy="127.0.0.1")
    assert done.returncode == 0, done.output[-5000:]


def compare(folder, name, most=None, predict=None):
    """Every file: the text of each row, and the prediction after it."""
    data_set = DATA_SETS[name]
    separator = SEPARATORS[data_set.separator]
    for file, text, predictions in list(data_set.texts())[:most]:
        scored = (folder / "out" / file).read_bytes().decode(data_set.encoding)
        before, after = (list(read_rows(io.StringIO(part, newline=""), separator)) for part in (text, scored))
        wanted = [predict(values) for _line, values, _text in before[1:]] if predict else predictions
        assert len(before) == len(after) == len(wanted) + 1
        for (_line, _values, given), (_same, values, found), prediction in zip(before, after, ["prediction", *wanted]):
            end = line_end(given)
            assert found.startswith(given[: len(given) - len(end)] + separator) and found.endswith(end)
            assert values[-1] == prediction if isinstance(prediction, str) else float(values[-1]) == prediction, (file, values, prediction)


def methods(role, quotation):
    return {"_score_offline_methods": {method: {"role": role, "identity": "identity", "score": "score", "formats": ["csv"], "quotation": quotation}
                                       for method in ("registered_model", "scorer_image", "workflow")}}  # fmt: skip


@pytest.mark.parametrize("name", DATA_SETS)
def test_registered_model(base, tmp_path, name):
    described = json.loads((base / "sets" / name / "described.json").read_text())
    score(base, tmp_path, name, **methods("job", "doubled"), described=described, image=newest("sparkflows-mlops-lab-prepared"),
          score_offline_method="registered_model", score_offline_model_name=name, score_offline_model_version="1")  # fmt: skip
    compare(tmp_path, name)


@pytest.mark.parametrize("name", DATA_SETS)
def test_scorer_image(base, tmp_path, name):
    given = tmp_path / "in"
    given.mkdir()
    for file in sorted((base / "sets" / name / "in").iterdir())[:3]:  # a container each
        shutil.copy(file, given)
    score(base, tmp_path, name, **methods("image", "detected"), model=str(base / "sets" / name / "model"), image=newest("sparkflows-mlops-scorer"),
          score_offline_method="scorer_image", score_offline_model_name=name, score_offline_input=str(given))  # fmt: skip
    compare(tmp_path, name, most=3)


WEIGHTS = {"loans": "amount", "spectra": "1100", "meters": "reading", "reviews": "stars"}


@pytest.mark.parametrize("name", DATA_SETS)
def test_workflow(base, tmp_path, name):
    column = WEIGHTS.get(name)
    workflow = {"name": "Weighs", "intercept": 1.0, "weights": {column: 2.0} if column else {}, "logistic": False}
    with SparkflowsServer(workflows={"7": workflow}, workflow_log_dir=str(tmp_path / "logs")) as server:
        score(base, tmp_path, name, score_offline_method="workflow", mlops_sparkflows_url=server.url, mlops_sparkflows_token=server.token(),
              score_offline_workflow_id="7", score_offline_workflow_dir=str(tmp_path), score_offline_workflow_user="")  # fmt: skip
    place = DATA_SETS[name].header().index(column) if column else None
    compare(tmp_path, name, predict=lambda values: 1.0 + (2.0 * float(values[place]) if column else 0.0))
