# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the computer that Ansible runs on."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from ansible_collections.sparkflows.mlops.plugins.module_utils.checksums import sha256


def controller_path(path):
    """Ansible itself would search a relative one in the folders of the role and of the playbook."""
    return os.path.abspath(os.path.expanduser(path)) if path else ""


def controller_file_problems(files):
    problems = []
    for variable, path in files.items():
        found = controller_path(path)
        if found and not os.path.isfile(found):
            # Said where it was looked for, if that is not what was written.
            problems.append(f"{variable} is {path}, which is no file on the controller{'' if found == path else ' (' + found + ')'}: correct it.")
        elif found and not os.access(found, os.R_OK):
            problems.append(f"{variable} is {path}, which cannot be read on the controller: let the account that runs Ansible read it.")
    return problems


def controller_artifact(artifact, cache_dir):
    """Settings of one artifact in, where it is and what is wrong with that out."""
    name, variable, path, url, wanted = (str(artifact[key] or "") for key in ("name", "variable", "path", "url", "sha256"))
    wanted = wanted.lower()
    # The hash is part of the name: two versions behind one file name do not push each other out of the cache.
    download = f"{wanted[:12]}-{os.path.basename(urlsplit(url).path)}"
    file = controller_path(path or os.path.join(cache_dir, download))
    problem = artifact_problem(name, variable, path, url, str(artifact["sha256"] or ""))
    found = "" if problem else sha256_of(file)
    if path and not problem:
        if not found:
            problem = f"{name} is not there: {path} is no readable file on the controller ({file}). Correct {variable}_path."
        elif wanted not in ("", found):
            problem = (
                f"{name} is not the right file: {path} has the SHA-256 {found}, but {variable}_sha256 says {artifact['sha256']}. "
                "Correct one of the two."
            )
    return {
        "path": file,
        "sha256": found if path else wanted,
        "missing": not path and not problem and found != wanted,
        "problems": [problem] if problem else [],
    }


def artifact_problem(name, variable, path, url, wanted):
    if not path and not url:
        return (
            f"there is nothing to install {name} from. Set {variable}_path to a file on the controller, or {variable}_url together with "
            f"{variable}_sha256."
        )
    if wanted and not re.fullmatch("[0-9a-fA-F]{64}", wanted):
        return f"{variable}_sha256 is not a SHA-256 (64 hexadecimal digits): {wanted}"
    if not path and not wanted:
        return (
            f"{name} is to be downloaded, but nothing says what must arrive. Set {variable}_sha256 to the SHA-256 of the file behind "
            f"{variable}_url."
        )
    return ""


def sha256_of(file):
    """Empty for what is no readable file."""
    try:
        return sha256(file)
    except OSError:
        return ""
