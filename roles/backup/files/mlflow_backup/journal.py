"""What a restore has begun (state.json), so that whoever comes after it finishes or puts back; what came of it (outcome.json); and what was restored
last (last.json)."""

import json
import os

from .disk import sync_folder

FOLDER = "/var/lib/mlflow-restore"
PREPARED, SWITCHING, PROVEN = "prepared", "switching", "proven"


class Journal:
    def __init__(self, settings):
        self.folder = settings.get("state_directory", FOLDER)

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name="state.json"):
        try:
            with open(self.path(name), encoding="utf-8") as file:
                return json.load(file)
        except FileNotFoundError:
            return None

    def write(self, data, name="state.json"):
        """It is the new one or the one before, and on the disk when this returns."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        part = self.path(name + ".part")
        with open(part, "w", encoding="utf-8") as file:
            json.dump(data, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        os.rename(part, self.path(name))
        sync_folder(self.folder)

    def remove(self, name="state.json"):
        try:
            os.unlink(self.path(name))
        except FileNotFoundError:
            return
        sync_folder(self.folder)

    @property
    def open_kind(self):
        """Of the switch that was begun and neither finished nor put back, or nothing."""
        state = self.read() or {}
        return state["kind"] if state.get("step") == SWITCHING else ""
