"""A stack is installed beside the site's own: JDK, Python and release with links of their own. The JDKs are scripts, the packages are one."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from playbook_run import LOCAL, PROJECT, run_in

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
PLAY = """
- hosts: mlflow
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: sparkflows.mlops.java_runtime}
    - ansible.builtin.import_role: {name: sparkflows.mlops.python_runtime}
    - ansible.builtin.import_role: {name: sparkflows.mlops.mlflow_runtime}
    - ansible.builtin.include_role: {name: sparkflows.mlops.mlflow_runtime, tasks_from: beside}
      loop: "{{ besides }}"
      loop_control: {loop_var: mlflow_runtime_beside}
    # What is known of the site's own stack is still true.
    - ansible.builtin.import_role: {name: sparkflows.mlops.java_runtime}
    - ansible.builtin.import_role: {name: sparkflows.mlops.python_runtime}
    - ansible.builtin.import_role: {name: sparkflows.mlops.mlflow_runtime}
"""


def wheel(folder):
    """What a release has to have; the line of a lock for it."""
    about, parts = "gunicorn-1.0.dist-info", {"gunicorn.py": "def main():\n    print('it is me')\n"}
    parts[f"{about}/METADATA"] = "Metadata-Version: 2.1\nName: gunicorn\nVersion: 1.0\n"
    parts[f"{about}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    parts[f"{about}/entry_points.txt"] = "[console_scripts]\ngunicorn = gunicorn:main\n"
    sums = {part: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=") for part, text in parts.items()}
    parts[f"{about}/RECORD"] = "".join(f"{part},sha256={sums[part]},{len(parts[part])}\n" for part in sums) + f"{about}/RECORD,,\n"
    path = folder / "gunicorn-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for part, text in parts.items():
            archive.writestr(part, text)
    return f"gunicorn==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture(name="site")
def fixture_site(tmp_path):
    """site(variables) -> a run of the play. There are a stack with Java 17, the site's own, and two with Java 1.8."""
    (tmp_path / "wheels").mkdir()
    lock = wheel(tmp_path / "wheels")
    for java in ("1.8.0_504", "17.0.1"):
        program = tmp_path / "jdks" / java.partition(".0")[0] / "bin" / "java"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho 'openjdk version \"{java}\"' >&2\n")
        program.chmod(0o755)
    for name, java in (("new", "17"), ("old", "1.8"), ("older", "1.8")):
        shutil.copytree(PROJECT / "stacks/guide-1.30", tmp_path / "stacks" / name)
        data = yaml.safe_load((tmp_path / "stacks" / name / "stack.yml").read_text())
        data.update(name=name, java=java, python=PYTHON, imports=["gunicorn"])
        (tmp_path / "stacks" / name / "stack.yml").write_text(yaml.safe_dump(data))
        (tmp_path / "stacks" / name / "requirements.txt").write_text(lock)
    # In a place where services can look.
    (tmp_path / "python" / "bin").mkdir(parents=True)
    (tmp_path / "python" / "bin" / f"python{PYTHON}").symlink_to(os.path.realpath(sys.executable))
    home = tmp_path / "opt"
    variables = {
        "mlops_home": str(home), "mlops_stack": "new", "mlops_stack_dir": str(tmp_path / "stacks/new"), "mlops_data_dir": str(tmp_path / "data"),
        "java_runtime_method": "existing", "java_runtime_home": f"{tmp_path}/jdks/{{{{ mlops_stack_data.java }}}}",
        "python_runtime_method": "existing", "python_runtime_home": str(tmp_path / "python"),
        "mlflow_runtime_installer": "pip", "mlflow_runtime_wheelhouse": str(tmp_path / "wheels"), "mlflow_runtime_min_free_bytes": 1,
        "besides": [{"name": name, "dir": str(tmp_path / "stacks" / name), "links": f"{home}/stacks/{name}"} for name in ("old", "older")],
    }  # fmt: skip

    def run(*arguments, **more):
        groups = {"mlflow": {"hosts": {"mlflow1": {}}}, "sparkflows": {"hosts": {"fire1": {}}}}
        inventory = {"all": {"vars": {**LOCAL, **variables, **more}, "children": groups}}
        return run_in(tmp_path, inventory, PLAY, "-e", "mlops_stack=new", *arguments)

    return run, home


def leads_to(path):
    return Path(os.path.realpath(path))


def test_stacks_side_by_side(site):
    run, home = site
    done = run("--check")
    assert done.returncode == 0 and not home.exists(), done.output[-5000:]
    done = run()
    assert done.returncode == 0, done.output[-5000:]
    assert (leads_to(home / "java").name, leads_to(home / "current").name.rpartition("-")[0]) == ("17", "new")
    for name in ("old", "older"):
        links = home / "stacks" / name
        assert (leads_to(links / "java").name, leads_to(links / "current").name.rpartition("-")[0]) == ("1.8", name)
        assert (links / "python" / "bin" / f"python{PYTHON}").exists() and (links / "current" / ".complete").exists()
    assert (home / "current" / ".complete").exists(), "the live release was tidied away"
    again = run()
    assert re.search(r"mlflow1 .* changed=0 .* failed=0 ", again.output), again.output[-5000:]


def test_a_stack_that_cannot_be_had(site, tmp_path):
    run, home = site
    shutil.rmtree(tmp_path / "jdks/1.8")
    done = run()
    said = re.sub(r"\s+", " ", done.output)
    assert done.returncode != 0 and "mlflow1: the stack old that models need could not be had beside new: " in said
    assert f"java_runtime_home is no working JDK 1.8: {tmp_path}/jdks/1.8/bin/java says" in said and "mlops_stack_data.java" in said
    assert leads_to(home / "current").name.startswith("new-") and not (home / "stacks").exists()


def test_links_that_are_not_its_own(site, tmp_path):
    """Nothing goes before a variable of the command line, so the site's own link would be led to another JDK."""
    run, home = site
    done = run("-e", f"mlops_java_home={home}/java")
    assert done.returncode != 0 and "Set them in the inventory and not by --extra-vars" in re.sub(r"\s+", " ", done.output)
    assert leads_to(home / "java").name == "17"
