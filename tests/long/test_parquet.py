"""Parquet files as the modules look at them, with the pyarrow of the stack: in the image of the prepared machine, as root. Needs the images
(make images)."""

from __future__ import annotations

import json
import subprocess

from playbook_run import PROJECT
from test_data_sets import newest

MODULE_UTILS = "ansible_collections/sparkflows/mlops/plugins/module_utils"
PYTHON = "/opt/mlflow/current/bin/python"
# A file that has the reader run a command (CVE-2023-47248), where nothing is done about it.
ATTACK = """
import os, pyarrow
from pyarrow import parquet

class Attack(pyarrow.PyExtensionType):
    def __init__(self):
        super().__init__(pyarrow.int64())
    def __reduce__(self):
        return os.system, ("touch /tmp/attacked",)

column = pyarrow.ExtensionArray.from_storage(Attack(), pyarrow.array([1, 2]))
parquet.write_table(pyarrow.table([column], names=["x"]), "/tmp/attack.parquet")
"""
# As the job opens a file, twice in one process.
JOB = f"""
import sys
from types import SimpleNamespace
sys.path.insert(0, "/job")
import score_job
score_job.__path__.append("/collection/{MODULE_UTILS}")
from score_job import files

for attempt in range(2):
    try:
        with open("/tmp/attack.parquet", "rb") as source:
            files.score_parquet(SimpleNamespace(columns=[("x", "long")]), source, "/tmp/scored.parquet", False)
    except files.BadInput as exc:
        print(exc)
"""
LOOK = f"""
import json, os, subprocess
from {MODULE_UTILS.replace("/", ".")} import parquet

python, answers = "{PYTHON}", {{}}

def look(name, *paths):
    try:
        answers[name] = parquet.parquet_shapes(python, *paths)
    except parquet.BadInput as exc:
        answers[name] = str(exc)

look("all", *(f"/data/{{name}}.parquet" for name in ("given", "scored", "fewer")))
with open("/data/given.parquet", "rb") as file:
    good = file.read()
os.mkdir("/tmp/hidden", 0o700)
for cut in (0, 1, 4, 8, 12, 100, 2000):
    for name, part in (("begin", good[:len(good) - cut]), ("end", good[-cut:])):
        path = f"/tmp/hidden/{{name}} {{cut}}"
        with open(path, "wb") as file:
            file.write(part)
        look(f"{{name}} {{cut}}", path)
subprocess.run([python, "-c", {ATTACK!r}], check=True)
subprocess.run([python, "-c", "from pyarrow import parquet; parquet.ParquetFile('/tmp/attack.parquet')"], stderr=subprocess.DEVNULL)
answers["works"] = os.path.exists("/tmp/attacked")
os.unlink("/tmp/attacked")
look("attack", "/tmp/attack.parquet")
answers["attacked"] = os.path.exists("/tmp/attacked")
answers["job"] = subprocess.run([python, "-c", {JOB!r}], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
answers["job attacked"] = os.path.exists("/tmp/attacked")
parquet.PROGRAM = "import os; print('{{\\"columns\\": [], \\"rows\\": ' + str(os.getuid() + len(os.getgroups())) + '}}')"
look("account", "/data/given.parquet")
print(json.dumps(answers))
"""


def test_what_the_stack_s_pyarrow_says():
    volumes = [f"--volume={PROJECT}/plugins/module_utils:/collection/{MODULE_UTILS}:ro", f"--volume={PROJECT}/tests/data/parquet:/data:ro"]
    volumes.append(f"--volume={PROJECT}/roles/batch_scoring/files:/job:ro")
    command = ["docker", "run", "--rm", "--interactive", "--network=none", *volumes, "--env=PYTHONPATH=/collection", "--user=0",
               newest("sparkflows-mlops-lab-prepared"), "python3", "-B", "-"]  # fmt: skip
    answers = json.loads(subprocess.run(command, input=LOOK, capture_output=True, text=True, check=True).stdout)
    columns = ["größe", "name", "tags", "place", "ok"]
    assert answers.pop("all") == [[columns, 300], [[*columns, "prediction"], 300], [[*columns, "prediction"], 299]]
    # In a folder that only root gets into.
    assert answers.pop("begin 0") == answers.pop("end 0") == [[columns, 300]]
    assert answers.pop("works") and not answers.pop("attacked")
    assert answers.pop("attack") == [[["x"], 2]]
    assert answers.pop("job").count("A column has a type of Python's own, with which a file could run commands") == 2
    assert not answers.pop("job attacked")
    assert answers.pop("account") == [[[], 65534]]
    assert len(answers) == 12
    for what, problem in answers.items():
        assert problem.startswith("it cannot be read as a Parquet file: Parquet "), (what, problem)
