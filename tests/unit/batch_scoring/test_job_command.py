"""The scoring job as a program."""

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from score_job import command, spark_session
from score_job.csv_files import BadInput

ROLE = Path(__file__).resolve().parents[3] / "roles/batch_scoring"


def test_the_program_says_what_is_wrong_as_json(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"x": 1})))
    monkeypatch.setattr("sys.argv", ["score_job", "model"])
    command.main()
    assert "problem" in json.loads(capsys.readouterr().out)


def test_what_mlflow_opens_to_everybody_lies_where_nobody_else_gets_to(tmp_path, monkeypatch):
    """CVE-2024-27134: get_or_create_tmp_dir of MLflow 1.30.1 makes a folder with mkdtemp, and gives it the mode 0777."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tmp_path.chmod(0o1777)
    monkeypatch.setattr("sys.stdin", io.StringIO("{}"))
    made = []

    def answers(_order):
        made.append(Path(tempfile.mkdtemp()))
        made[0].chmod(0o777)
        return []

    monkeypatch.setattr(command, "answers", answers)
    command.main()
    inside = made[0].relative_to(tmp_path).parts
    assert len(inside) == 2 and (tmp_path / inside[0]).stat().st_mode & 0o077 == 0


def mojo_of(path):
    if path == "/refused":
        raise BadInput("H2O cannot export a model of the kind x as a MOJO, so it cannot be scored here.")
    return f"{path}.mojo/made by {os.getpid()}"


class ToldScorer:
    """What there is to load, and no file to score."""

    spark = SimpleNamespace(stop=list)
    models = []

    def __init__(self, model, *_settings):
        self.models.append(model)


def scored(monkeypatch, model, files=()):
    order = {"model": model, "master": "local", "prediction_column": "", "result_type": "", "extra_columns": "keep", "timeout": 1, "files": files}
    monkeypatch.setattr(command, "as_mojo", mojo_of)
    monkeypatch.setattr(command, "Scorer", ToldScorer)
    return list(command.score(order))


@pytest.mark.parametrize("flavors", [["python_function"], ["python_function", "spark"], ["h2o", "spark"]])
def test_what_spark_or_python_loads_stays_as_it_is(monkeypatch, flavors):
    assert scored(monkeypatch, {"path": "/m", "flavors": flavors}) == []
    assert ToldScorer.models[-1] == {"path": "/m", "flavors": flavors, "mojo": ""}


def test_h2o_makes_its_mojo_in_a_process_of_its_own(monkeypatch):
    """It has a Spark there, and who scores starts another one."""
    scored(monkeypatch, {"path": "/m", "flavors": ["h2o", "python_function"]})
    path, _made_by, process = ToldScorer.models[-1]["mojo"].rpartition("/made by ")
    assert path == "/m.mojo" and int(process) != os.getpid()


def test_a_model_of_h2o_that_cannot_be_a_mojo_is_told_for_each_file(monkeypatch):
    files = [{"name": "a", "staged": "/nowhere/a"}, {"name": "b", "staged": "/nowhere/b"}]
    problem = "The model could not be loaded. H2O cannot export a model of the kind x as a MOJO, so it cannot be scored here."
    found = scored(monkeypatch, {"path": "/refused", "flavors": ["h2o"]}, files)
    assert found == [{"name": name, "problem": problem} for name in ("a", "b")]


def placed(folder):
    """What the role writes to a host of the job, in a folder."""
    tasks = yaml.safe_load((ROLE / "tasks/configure.yml").read_text(encoding="utf-8"))
    for entry in tasks[-1]["vars"]["__batch_scoring_files"]:
        program, _sign, name = entry["path"].partition("{{ _batch_scoring_program }}/")
        if not program:
            shutil.copy(ROLE / "files" / entry["source"].replace("{{ role_path }}", str(ROLE)), folder / name)
    return folder


def test_every_part_is_put_on_the_host_and_the_executors_get_all_of_them(tmp_path, monkeypatch):
    folder = tmp_path / "score_job"
    folder.mkdir()
    parts = {path.name for path in placed(folder).iterdir()}
    assert parts == {path.name for path in (ROLE / "files/score_job").glob("*.py")} | {"csv_files.py"}
    told = subprocess.run([sys.executable, "-B", folder, "model"], input='{"x": 1}', capture_output=True, text=True, check=True, cwd="/")
    assert "problem" in json.loads(told.stdout)
    monkeypatch.setattr(spark_session, "__file__", str(folder / "spark_session.py"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = "import sys; sys.path.insert(0, sys.argv[1]); from score_job import predictions; print(predictions.__file__)"
    found = subprocess.run([sys.executable, "-I", "-c", code, spark_session.packed()], capture_output=True, text=True, check=True, cwd="/").stdout
    assert found.strip().endswith("score_job.zip/score_job/predictions.py")
