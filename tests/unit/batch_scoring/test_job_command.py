"""The scoring job as a program."""

import io
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from score_job import command, spark_session

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
