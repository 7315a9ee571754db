# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checksums of files."""

import hashlib

PIECE = 1 << 20


def sha256(path):
    """The SHA-256 of a file's content in hexadecimal, a str. OSError if it cannot be read."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(PIECE), b""):
            digest.update(piece)
    return digest.hexdigest()
