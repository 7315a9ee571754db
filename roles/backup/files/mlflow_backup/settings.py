"""The role's settings, and those that MLflow runs with."""

import json
import os
import re

from .problems import Problem
from .release import version

LINE = re.compile(r'([A-Za-z_]\w*)="(.*)"$')


def read_settings(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        raise Problem(f"{path} is not there: run playbooks/backup.yml.") from None
    except ValueError as exc:
        raise Problem(f"{path} is not as role backup has written it ({exc}): run playbooks/backup.yml.") from None


def read_environment(path):
    """Of the lines that the roles write for systemd (templates/environment.j2)."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError as exc:
        raise Problem(f"{path} cannot be read ({exc.strerror}): run playbooks/mlflow.yml first.") from None
    found = (LINE.match(line) for line in lines)
    return {match.group(1): re.sub(r"\\(.)", r"\1", match.group(2)) for match in found if match}


class Stores:
    """Where an MLflow that is told this keeps what it has."""

    def __init__(self, environment):
        self.environment = environment
        self.database_uri = self.environment.get("MLFLOW_BACKEND_STORE_URI", "")
        destination = self.environment.get("MLFLOW_ARTIFACTS_DESTINATION", "")
        self.artifacts = destination[len("file://"):] if destination.startswith("file://") else destination


class Instance(Stores):
    """MLflow on this host, as it is set up."""

    def __init__(self, settings):
        self.settings = settings
        super().__init__(read_environment(os.path.join(settings["config_dir"], "mlflow.env")))

    @property
    def release(self):
        """The live release: its name, and of that the stack and the digest."""
        name = os.path.basename(os.path.realpath(self.settings["venv"]))
        stack, _dash, digest = name.rpartition("-")
        return {"name": name, "stack": stack, "digest": digest, "mlflow": version()}

    @property
    def served(self):
        """Which models have a service on this host."""
        found, folder = [], os.path.join(self.settings["config_dir"], "models")
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            if name.endswith(".env"):
                values = read_environment(os.path.join(folder, name))
                found.append({"instance": name[:-len(".env")], "model": values.get("SERVED_MODEL_URI", ""), "port": values.get("MLFLOW_PORT", "")})
        return found
