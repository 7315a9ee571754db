"""Whether this end of the SSH access lets in whom it should, and gets in at the other end. Runs as root.

Needs nothing but Python. Questions as JSON on standard input, answers on standard output. A key is looked at, never read out.
"""

import json
import os
import pwd
import re
import subprocess
import sys
import time


class Wrong(Exception):
    """The answer is not the wanted one."""


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()


def key_is_private(user, path):
    """The owner alone reads the key: by its mode, by the way to it, and tried by another account."""
    stat = os.stat(path)
    owner = pwd.getpwuid(stat.st_uid).pw_name
    evidence = "%s: owner %s, mode %04o" % (path, owner, stat.st_mode & 0o7777)
    if owner != user or stat.st_mode & 0o077:
        raise Wrong("%s, wanted owner %s and nothing for others" % (evidence, user))
    folder = os.path.dirname(path)
    while folder != "/":
        above = os.stat(folder)
        if above.st_uid not in (0, stat.st_uid) or above.st_mode & 0o022 and not above.st_mode & 0o1000:
            raise Wrong("%s, but others may replace it through %s" % (evidence, folder))
        folder = os.path.dirname(folder)
    for account, may in ((user, True), ("nobody", False)):
        code, said = run("runuser", "-u", account, "--", "test", "-r", path)
        if code not in (0, 1) or (code == 0) != may:
            raise Wrong("%s, and %s %s it %s" % (evidence, account, "can read" if code == 0 else "cannot read", said))
    return evidence + ", read by its owner, not by nobody"


def login(user, peer):
    start = time.monotonic()
    code, said = run("runuser", "-u", user, "--", "timeout", str(peer["timeout"]), *peer["command"])
    if code in (124, 255):
        raise Wrong("%s cannot log in to %s@%s: %s" % (user, peer["user"], peer["address"], said or "no end after %s s" % peer["timeout"]))
    return "%s logged in to %s@%s in %.2f s, its host key known before" % (user, peer["user"], peer["address"], time.monotonic() - start)


def authorized_keys_of(user, peer):
    """The lines of the files that the SSH server says it reads for a login from the peer."""
    code, said = run("/usr/sbin/sshd", "-T", "-C", "user=%s,host=%s,addr=%s" % (user, peer["address"], peer["address"]))
    found = re.search(r"^authorizedkeysfile (.+)$", said, re.M)
    if code or not found:
        raise Wrong("sshd -T: " + said[-300:])
    account, lines = pwd.getpwnam(user), []
    for pattern in found.group(1).split():
        path = os.path.join(account.pw_dir, pattern.replace("%h", account.pw_dir).replace("%u", user).replace("%%", "%"))
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                lines += [(path, line.strip()) for line in file if line.strip() and not line.startswith("#")]
    return lines


def comes_from_its_address_only(user, peer):
    lines = authorized_keys_of(user, peer)
    # The same key with another comment counts as well: the server takes the first line that fits.
    known = {line.split()[-2] for _path, line in lines if line.split()[-1] == peer["comment"]}
    own = [(path, line) for path, line in lines if known & set(line.split())]
    if len(own) != 1:
        raise Wrong("%d keys of %s are authorized for %s, wanted 1" % (len(own), peer["host"], user))
    path, line = own[0]
    options = line[: re.search(r"(?:^| )\S+ " + re.escape(known.pop()), line).start()]
    sources = re.findall(r'(?:^|,)from="([^"]*)"', options)
    if sources != [peer["from"]]:
        raise Wrong("%s: the key of %s has the options %s, wanted from=\"%s\"" % (path, peer["host"], options or "(none)", peer["from"]))
    return "%s: the key of %s has the options %s" % (path, peer["host"], options)


def main():
    asked = json.load(sys.stdin)
    checks = []

    def record(name, work, *arguments):
        status = "failed"
        try:
            evidence = work(*arguments)
            status = "passed"
        except Wrong as exc:
            evidence = str(exc)
        except Exception as exc:  # whatever it is, it belongs into the report
            evidence = "%s: %s" % (type(exc).__name__, exc)
        checks.append({"name": name, "status": status, "evidence": evidence})

    record("SSH key is for %s alone" % asked["user"], key_is_private, asked["user"], asked["key"])
    for peer in asked["peers"]:
        record("SSH login to " + peer["host"], login, asked["user"], peer)
        record("SSH key of %s is accepted from its address only" % peer["host"], comes_from_its_address_only, asked["user"], peer)
    return {"checks": checks}


if __name__ == "__main__":
    print(json.dumps(main()))
