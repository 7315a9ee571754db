"""Archives that are encrypted with OpenPGP."""

import os
import shutil
import subprocess
from contextlib import contextmanager

from .database import need
from .problems import Problem

ENDING = ".gpg"


def encrypt(path, recipient, folder):
    """For a public key. It needs no keyring: the file has it."""
    home, target = os.path.join(folder, "gnupg"), path + ENDING
    os.mkdir(home, 0o700)
    need("gpg")
    command = ["gpg", "--homedir", home, "--batch", "--no-tty", "--quiet", "--compress-algo", "none", "--trust-model", "always",
               "--recipient-file", recipient, "--output", target, "--encrypt", path]
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Problem(f"gpg cannot encrypt for the key in {recipient} (backup_public_key_path): {done.stderr.strip()}")
    os.chmod(target, 0o600)
    with open(target, "rb") as file:
        os.fsync(file.fileno())
    return target


def is_encrypted(path):
    return path.endswith(ENDING)


def plain(path, folder):
    """Where the archive lies unencrypted: there, or in the folder. The private key is in the keyring of who runs this."""
    if not is_encrypted(path):
        return path
    encrypted = f"{path} is encrypted: decrypt it where the private key is, and name the result."
    if not shutil.which("gpg"):
        raise Problem(f"{encrypted} Here is no GnuPG.")
    target = os.path.join(folder, "plain.tar.gz")
    done = subprocess.run(["gpg", "--batch", "--no-tty", "--quiet", "--yes", "--output", target, "--decrypt", path],
                          check=False, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise Problem(f"{encrypted} No key of this account can ({' '.join(done.stderr.split())}).")
    return target


@contextmanager
def decrypted(path, folder):
    """Where the archive can be read, for as long as it is."""
    readable = plain(path, folder)
    try:
        yield readable
    finally:
        if readable != path:
            os.unlink(readable)
