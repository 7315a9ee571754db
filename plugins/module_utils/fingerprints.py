# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Knowing whether a secret that the server hides is still the one that we wrote, without keeping the secret.

Kept for each secret: a salted, slow hash of what was written, and what the server showed for it right after. Same hash
and same show: nothing to do. Another hash: the wanted value changed. Another show: somebody changed it on the server.
"""

import hashlib
import hmac
import json
import os

from ansible_collections.sparkflows.mlops.plugins.module_utils.files import read_bytes, require_directory, write_private

ROUNDS = 100000


class Fingerprints:
    def __init__(self, path, scope, warn):
        """`scope` (the server's address) keeps several servers apart in one file."""
        self.path, self.scope = path, scope
        self.content = {}
        data = read_bytes(path)
        if data is None:
            return
        try:
            self.content = {str(scope): dict(entries) for scope, entries in json.loads(data).items()}
        except (ValueError, TypeError, AttributeError):
            warn(f"secrets_state_path: {path} cannot be understood and is made anew; hidden secrets are written again.")

    def prepare(self):
        """Make sure, before anything is written anywhere, that the file can be."""
        require_directory(os.path.dirname(os.path.realpath(self.path)), "secrets_state_path")
        os.makedirs(os.path.dirname(os.path.realpath(self.path)), mode=0o700, exist_ok=True)

    def matches(self, key, value, shown):
        entry = self.content.get(self.scope, {}).get(key)
        try:
            same = hmac.compare_digest(entry["hash"], digest(value, entry["salt"], entry["rounds"]))
            return same and entry["shown"] == shown
        except (TypeError, KeyError, ValueError):
            return False

    def remember(self, key, value, shown):
        salt = os.urandom(16).hex()
        entry = dict(salt=salt, rounds=ROUNDS, hash=digest(value, salt, ROUNDS), shown=shown)
        self.content.setdefault(self.scope, {})[key] = entry

    def save(self, module):
        write_private(module, self.path, json.dumps(self.content, indent=1, sort_keys=True).encode())


def digest(value, salt, rounds):
    return hashlib.pbkdf2_hmac("sha256", value.encode("utf-8", "surrogatepass"), bytes.fromhex(salt), rounds).hex()
