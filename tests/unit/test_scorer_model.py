# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role scorer finds out about a model before an image is given it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "roles/scorer/files/look_at_model.sh"
MLMODEL = "flavors:\n  python_function:\n    python_version: 3.7.16\n  spark:\n    pyspark_version: {}\nmlflow_version: 1.30.1\n"
# As Spark keeps it with each part of a model.
PART = '{"class":"org.apache.spark.ml.PipelineModel","timestamp":1,"sparkVersion":"%s","uid":"p","paramMap":{}}\n'


def look(folder, **files):
    for path, content in files.items():
        place = folder / path.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content, encoding="utf-8")
    return subprocess.run(["bash", "-c", PROGRAM.read_text(encoding="utf-8"), "bash", folder], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("files", "spark"), [
    ({"MLmodel": MLMODEL.format("3.2.1")}, "3.2.1"), ({"MLmodel": MLMODEL.format("'3.10'")}, "3.10"),
    ({"metadata__part-00000": PART % "3.5.8", "metadata___SUCCESS": "", "data__x": ""}, "3.5.8"),
    ({"model__MLmodel": MLMODEL.format("3.2.1"), "model__sparkml__stages__0__metadata__part-00000": PART % "3.2.1"}, "3.2.1"),
    # The newest of them has to be there.
    ({"a__metadata__part-00000": PART % "3.9.1", "b__metadata__part-00000": PART % "3.10.0"}, "3.10.0"),
    ({"MLmodel": "model\n"}, ""), ({"model.zip": "sparkVersion"}, ""), ({"data__part-00000": PART % "3.5.8"}, ""),
])  # fmt: skip
def test_the_spark_of_a_model(tmp_path, files, spark):
    done = look(tmp_path, **files)
    place, checksum, *rest = done.stdout.splitlines()
    assert done.returncode == 0 and (rest or [""]) == [spark] and len(checksum) == 64
    top = {path.split("__")[0] for path in files if "__" in path}
    assert place == str(tmp_path / top.pop() if len(top) == 1 else tmp_path)


def test_no_model(tmp_path):
    assert look(tmp_path).stderr.strip() == "has no files" and look(tmp_path / "none").stderr.strip() == "is no directory on this host"
