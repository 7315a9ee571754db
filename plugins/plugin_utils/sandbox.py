# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the sandbox of a service can show to it, and be told of."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

# By which variables programs are told which authorities to trust.
CERTIFICATES = ("AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "MLFLOW_TRACKING_SERVER_CERT_PATH", "PGSSLROOTCERT", "REQUESTS_CA_BUNDLE",
                "SSL_CERT_DIR", "SSL_CERT_FILE")
# What nothing can be shown of: systemd closes these as a whole (ProtectHome, PrivateTmp).
HOMES = ("/home", "/root", "/run/user")
CLOSED = (*HOMES, "/tmp", "/var/tmp")


def below(path, folders):
    """The first of the folders in which the path lies, or an empty text."""
    return next((folder for folder in folders if path.startswith(folder.rstrip("/") + "/")), "")


def certificates(environment):
    found = {name: str(environment[name]) for name in CERTIFICATES if environment.get(name)}
    for name, value in environment.items():
        if "sslrootcert=" in str(value):
            found[name] = parse_qs(urlsplit(str(value)).query).get("sslrootcert", [""])[0]
    return {name: path for name, path in found.items() if path.startswith("/")}


def sandbox_certificates(environment, hidden, shown=()):
    return sorted({path for path in certificates(environment).values() if below(path, hidden) and not below(path, [*shown, *CLOSED])})


def sandbox_certificate_problems(environment, closed, variable=""):
    """Beside CLOSED, the sandbox has folders of its own that are closed. Without a variable, the names are those of variables."""
    files = {f"{variable}.{name}": path for name, path in certificates(environment).items()} if variable else environment
    return [f"{name} lies in {folder}, where no service can look: put the certificate elsewhere, for example into /etc/ssl, and set it to that path."
            for name, path in sorted(files.items()) for folder in [below(str(path), [*CLOSED, *closed])] if folder]


def unit_path_problems(paths):
    problems = []
    for variable, path in paths.items():
        folder = below(f"{path}/", HOMES)
        # \w has letters of all languages. What is left out means something in a unit, an environment file, nginx or a shell.
        if path and not re.fullmatch(r"(/[\w.@+,=-]+)+/?", str(path)):
            problems.append(f"{variable} is '{path}': set it to an absolute path of letters, digits and any of . _ - + @ , = only, since it goes "
                            "into units and settings of programs.")
        elif folder:
            problems.append(f"{variable} is {path}, which lies in {folder}, where no service can look: set it to another place.")
    return problems


def account_problems(names):
    return [f"{variable} is '{name}', which is no name of an account: letters, digits, '_' and '-' only, at most 31, and no digit first."
            for variable, name in names.items() if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,30}", str(name))]
