"""The series of ansible-core that are claimed, and an environment of each."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from playbook_run import PROJECT

# The package `ansible` of each series of ansible-core, and the Pythons that can run both.
GENERATIONS = {"2.16": ("9", "3.10", "3.11", "3.12"), "2.18": ("11", "3.11", "3.12", "3.13"), "2.19": ("12", "3.11", "3.12", "3.13"),
               "2.20": ("13", "3.12", "3.13"), "2.21": ("14", "3.12", "3.13")}  # fmt: skip
ENVIRONMENTS = Path(os.environ.get("CORES_DIR", PROJECT / ".cache/cores"))


def python_for(core):
    """A Python of this computer that can run a core; None if there is none."""
    for version in GENERATIONS[core][1:]:
        for candidate in (*sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"), reverse=True), shutil.which(f"python{version}")):
            if candidate and subprocess.run([candidate, "-c", "import ensurepip, venv"], check=False, capture_output=True).returncode == 0:
                return str(candidate)
    return None


def install(core, folder, *packages):
    """The package `ansible` of a core with what the collection needs, and more packages, in a new environment."""
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([uv, "venv", "--quiet", "--python", python_for(core), folder], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", folder / "bin/python", f"ansible=={GENERATIONS[core][0]}.*",
                    "-r", PROJECT / "requirements.txt", *packages], check=True)  # fmt: skip


def environment(core):
    """The folder of a core's environment, which all tests share; made if it is missing, with what the unit tests need. The programs are in bin."""
    folder = ENVIRONMENTS / core
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    with (ENVIRONMENTS / f"{core}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            install(core, folder, "boto3", "hypothesis", "pytest", "requests")
            (folder / "complete").touch()
    return folder
