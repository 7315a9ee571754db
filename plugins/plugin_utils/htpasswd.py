# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Password hashes as the C library's crypt(3) verifies them."""

from __future__ import annotations

import hashlib

from ansible.errors import AnsibleFilterError

# Python's own module crypt is gone since 3.13, and Ansible's password_hash wants a library that is not everywhere.
ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LONGEST = 511
ROUNDS = 5000  # the scheme's default, which the hash does not mention


def encoded(digest):
    """In the scheme's own order: three bytes a third of the digest apart, each time from the next third first."""
    text = ""
    for group in range(21):
        places = [group + 21 * ((third + group) % 3) for third in range(3)]
        number = int.from_bytes(bytes(digest[place] for place in places), "big")
        text += "".join(ALPHABET[number >> shift & 63] for shift in (0, 6, 12, 18))
    return text + ALPHABET[digest[63] & 63] + ALPHABET[digest[63] >> 6]


def sha512_crypt(password, salt):
    """The scheme $6$ of crypt(3)."""

    def digest(data):
        return hashlib.sha512(data).digest()

    def stretched(data, length):
        return (data * (length // len(data) + 1))[:length]

    first = stretched(digest(password + salt + password), len(password))
    mixed, length = password + salt + first, len(password)
    whole = digest(password + salt + password)
    while length:
        mixed += whole if length & 1 else password
        length >>= 1
    found = digest(mixed)
    passwords = stretched(digest(password * len(password)), len(password))
    salts = stretched(digest(salt * (16 + found[0])), len(salt))
    for number in range(ROUNDS):
        odd = number & 1
        found = digest((passwords if odd else found) + (salts if number % 3 else b"") + (passwords if number % 7 else b"")
                       + (found if odd else passwords))
    return f"$6${salt.decode()}${encoded(found)}"


def htpasswd(users, seed=""):
    lines = []
    for user in users:
        name, password = str(user["name"]), str(user["password"])
        if not name or ":" in name or "\n" in name:
            raise AnsibleFilterError(f"htpasswd: {name!r} is no name of a user")
        if not password:
            raise AnsibleFilterError(f"htpasswd: the password of {name} is empty")
        if len(password.encode()) > LONGEST:
            raise AnsibleFilterError(f"htpasswd: the password of {name} has more than the {LONGEST} bytes that crypt(3) takes")
        salt = hashlib.sha256(f"{seed} {name}".encode()).hexdigest()[:16]
        lines.append(f"{name}:{sha512_crypt(password.encode(), salt.encode())}\n")
    return "".join(lines)


def password_problems(users, variable):
    """What keeps the users of a variable from having a line each in a password file."""
    names, problems = set(), []
    for user in users:
        name, size = str(user.get("name") or ""), len(str(user.get("password") or "").encode())
        if not size:
            problems.append(f"{variable}: the password of {name} is empty.")
        elif size > LONGEST:
            problems.append(f"{variable}: the password of {name} has {size} bytes, and {LONGEST} is the most that can be compared with its hash.")
        if name in names:
            problems.append(f"{variable} has {name} twice: each name may be there once.")
        names.add(name)
    return problems
