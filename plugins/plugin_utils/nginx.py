# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sites and certificates that others bring to nginx."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime, timedelta, timezone

from ansible.module_utils.common.text.converters import to_bytes
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.controller_files import controller_file_problems

# What a certificate is made from, by method.
MADE_FROM = {"provided": ("certificate_path", "key_path"), "ca": ("ca_path", "ca_key_path")}


def nginx_state(lines):
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    return {
        "installed": found.get("package") == "installed",
        "runs": found.get("ActiveState") == "active" and found.get("UnitFileState") == "enabled",
        "answers": found.get("ActiveState") == "active",
        "starts": found.get("UnitFileState") == "enabled",
        "default_site_is_unedited": found.get("default_site") == "unedited",
        "before_is_known": found.get("before") == "known",
    }


def nginx_before(state, removes_default_site):
    """What is written down of a host before its nginx is touched. What a package is about to bring, its default site, goes as well."""
    goes = removes_default_site and (state["default_site_is_unedited"] or not state["installed"])
    return json.dumps({"installed": state["installed"], "ran": state["answers"], "started": state["starts"], "default_site": goes}) + "\n"


def nginx_file_problems(files, folder):
    return [
        f"{file['path']} in nginx_files does not lie in {folder}: set its path to a file there."
        for file in files
        if not re.match(re.escape(folder) + "/[^/]+$", str(file["path"]))
    ]


def nginx_files(files, group):
    """The content, a secret, has a place of its own."""
    return {
        "files": [{"group": group, **{name: value for name, value in file.items() if name != "content"}} for file in files],
        "secret_contents": {file["path"]: file["content"] for file in files if "content" in file},
    }


def nginx_certificate_problems(certificate):
    name, method, problems = certificate["name"], certificate["method"], []
    for option in MADE_FROM.get(method, MADE_FROM["ca"]):
        path = certificate.get(option)
        if path:
            problems += controller_file_problems({f"{option} of the certificate {name}": path})
        else:
            problems.append(f"{option} of the certificate {name} is empty: set it to a PEM file on the controller.")
    if method == "ca" and not certificate.get("names"):
        problems.append(f"names of the certificate {name} is empty: set it to the names and addresses of the server.")
    return problems


def nginx_certificate_names(certificate):
    """As OpenSSL writes the alternative names."""
    names = [str(name) for name in certificate.get("names") or []]
    return [("IP:" if ":" in name or re.match("[0-9.]+$", name) else "DNS:") + name for name in names]


def nginx_certificate_is_good(certificate, found, authority):
    """It is there, and one that the authority has signed as it is now, for these names, and not near its end."""
    info, renewal = found["info"], datetime.now(timezone.utc) + timedelta(days=int(certificate.get("renew_days", 60)))
    return bool(
        "complete_chain" in found["chain"]
        and base64.b64decode(found["content"]).endswith(to_bytes(authority, errors="surrogate_or_strict"))
        and sorted(info.get("subject_alt_name") or []) == sorted(nginx_certificate_names(certificate))
        and moment(info["not_before"]) <= renewal < moment(info["not_after"])
    )


def moment(text):
    """Of a time as certificates have it."""
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=timezone.utc)
