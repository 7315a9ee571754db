# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What settings of Sparkflows were before they were written first, for the day on which they are put back. No secret is kept."""

import json
import os

from ansible_collections.sparkflows.mlops.plugins.module_utils.files import read_bytes, require_directory, write_private
from ansible_collections.sparkflows.mlops.plugins.module_utils.transport import MlopsError


class Former:
    def __init__(self, path, scope, warn):
        """`scope` (the server's address or the file) keeps several servers apart in one file."""
        self.path, self.scope, self.warn = path, scope, warn
        data = read_bytes(path) if path else None
        try:
            self.content = json.loads(data) if data is not None else {}
            self.entries = {str(key): dict(entry) for key, entry in self.content.get(scope, {}).items()}
        except (ValueError, TypeError, AttributeError) as error:
            what = f"former_path: {path} cannot be understood, so it is not known what settings were before."
            raise MlopsError(f"{what} Remove it to begin anew.") from error

    def secrets(self):
        return {key for key, entry in self.entries.items() if entry.get("secret")}

    def wanted(self, settings):
        """Key -> the value to be put back, None for one that was not there. What is not ours any more is left."""
        ours, changed = {}, []
        for key, entry in self.entries.items():
            shown = settings[key].value if key in settings else None
            if entry.get("secret") or shown in (entry.get("written"), entry.get("value")):
                ours[key] = entry.get("value")
            elif key in settings:
                changed.append(key)
        if changed:
            self.warn(f"Somebody has changed {', '.join(sorted(changed))} since: left as it is.")
        return {key: value for key, value in ours.items() if key in settings}

    def remember(self, module, settings, writes, secrets):
        if not self.path:
            return
        for key, value in writes.items():
            secret = key in secrets
            shown = settings[key].value
            entry = self.entries.setdefault(key, {"secret": secret, "value": shown and "" if secret else shown})
            entry["written"] = None if secret else value
        self.content[self.scope] = self.entries
        self.save(module)

    def save(self, module):
        folder = os.path.dirname(os.path.realpath(self.path))
        require_directory(folder, "former_path")
        os.makedirs(folder, mode=0o700, exist_ok=True)
        write_private(module, self.path, json.dumps(self.content, indent=1, sort_keys=True).encode())

    def forget(self, module):
        if self.scope not in self.content:
            return
        del self.content[self.scope]
        if self.content:
            self.save(module)
        else:
            os.unlink(self.path)
