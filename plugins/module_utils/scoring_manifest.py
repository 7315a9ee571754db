# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The record of what was scored, from what and by what: manifest.json in the directory of the scored files."""

import json
import os
import tempfile

from ansible_collections.sparkflows.mlops.plugins.module_utils.checksums import sha256
from ansible_collections.sparkflows.mlops.plugins.module_utils.places import give_like

MANIFEST = "manifest.json"


class Manifest:
    """The entries of a directory by names of files, `files`. What cannot be read has none, which warn(text) is told."""

    def __init__(self, directory, warn):
        self.path = os.path.join(directory, MANIFEST)
        self.unreadable = False
        self.files = {}
        try:
            with open(self.path, encoding="utf-8") as file:
                self.files = json.load(file)["files"]
            if not all(isinstance(entry, dict) for entry in self.files.values()):
                raise ValueError("not a manifest")
        except FileNotFoundError:
            pass
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            self.files, self.unreadable = {}, True
            warn(
                f"{self.path} cannot be read ({exc}): everything counts as not scored. "
                f"The next file that is put in place replaces it; what it was stays as {MANIFEST}.unreadable."
            )

    def is_valid(self, name, checksum, identity, dialect, output):
        """Whether the file has an entry, and input, output and what scores are those of now. dialect is a scoring_inputs.Dialect."""
        entry = self.files.get(name, {})
        try:
            if entry["scored_by"] != identity or entry["input"]["sha256"] != checksum:
                return False
            if {key: entry["input"][key] for key in ("separator", "encoding") if key in entry["input"]} != dialect.record:
                return False
            return os.path.isfile(output) and entry["output"]["sha256"] == sha256(output)
        except (KeyError, TypeError):
            return False

    def prepare(self, entries):
        """Path of a complete new manifest beside the old one, on disk: after this there is nothing that can run out. OSError if something has."""
        text = json.dumps({"files": dict(self.files, **entries)}, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        handle, temporary = tempfile.mkstemp(prefix=".manifest-", dir=os.path.dirname(self.path))
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
            give_like(temporary, os.path.dirname(self.path), 0o644)
        except BaseException:
            os.unlink(temporary)
            raise
        return temporary

    def replace(self, temporary):
        """Put what prepare has made in place. OSError if that cannot be."""
        if self.unreadable:
            os.rename(self.path, self.path + ".unreadable")
        os.rename(temporary, self.path)
