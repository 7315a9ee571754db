# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is removed from a host that is to have nothing of this collection any more, what stays, and why."""

from __future__ import annotations

import os.path
from fnmatch import fnmatchcase

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.apt_sources import source_paths

# Folders of the system and of people: never removed, whatever a setting says, and nothing that they lie in.
PROTECTED = {
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc", "/root", "/run", "/sbin", "/srv",
    "/sys", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/local", "/usr/sbin", "/usr/share", "/var", "/var/cache", "/var/lib", "/var/log",
    "/var/spool", "/var/tmp", "/etc/nginx", "/etc/nginx/conf.d", "/etc/ssl", "/etc/pki", "/etc/ssh", "/etc/systemd/system", "/etc/docker",
    "/var/lib/docker", "/usr/lib/jvm", "/usr/local/bin", "/usr/local/lib", "/usr/local/share", "/var/backups", "/var/opt", "/var/lib/systemd",
    "/var/lib/systemd/timers",
}  # fmt: skip
UNCONFIRMED = (
    "This would uninstall the whole site ({}): its services and served models end, and Sparkflows' settings are put back. If that is meant, set "
    "uninstall_confirm to true (--extra-vars uninstall_confirm=true). For some of the hosts only, name them with --limit."
)
ELSEWHERE = (
    "{unit} on this host was not written for these folders: its file does not name {name} ({path}). Set {name} to where this host has it; a host "
    "that has left the groups of the inventory does not have their variables any more."
)
UNSAFE = "{what} {path} would be removed with all that is in it, and {why}: remove what is yours there by hand{setting}."

# What a path is called that is no data.
FILE = "The path"


def uninstall_problems(settings):
    """Why nothing may be begun. The whole site is all hosts of the groups that the playbooks know."""
    site, hosts = settings["site"], settings["hosts"]
    if site and set(site) <= set(hosts) and not settings["confirmed"] and not settings["check_mode"]:
        yield UNCONFIRMED.format(", ".join(site))


def parents(path):
    while path != "/":
        path = os.path.dirname(path)
        yield path


def below(inner, outer):
    return inner.startswith(outer.rstrip("/") + "/")


def danger(path, homes):
    """Why a path may not be removed with all that is in it, or nothing."""
    if not path.startswith("/") or os.path.normpath(path) != path:
        return "it is not a plain absolute path"
    if path in PROTECTED or path.count("/") < 2:
        return "it is a folder of the system"
    for home, user in homes.items():
        if path == home or below(home, path):
            return f"it has the home of the account {user}"
    for folder in PROTECTED:
        if below(folder, path):
            return f"it has the folder {folder}"
    return ""


def gathered(made, name):
    return [one for part in made for one in part.get(name, [])]


def files_of(made):
    sources = [path for one in gathered(made, "apt_sources") for path in source_paths(one["name"])]
    return [*gathered(made, "files"), *sources]


def uninstall_question(made):
    """What the host is asked for."""
    paths = [*files_of(made), *gathered(made, "links"), *gathered(made, "folders"), *(one["path"] for one in gathered(made, "data"))]
    return {"paths": list(dict.fromkeys(paths)), "units": list(dict.fromkeys(gathered(made, "units")))}


def matches(path, pattern):
    """As a shell sees it: a star does not go beyond a folder."""
    return path.count("/") == pattern.count("/") and fnmatchcase(path, pattern)


def those(paths, patterns):
    return [path for pattern in patterns for path in paths if matches(path, pattern)]


class Plan:
    def __init__(self, made, found, accounts, remove_data):
        self.made, self.accounts, self.remove_data = made, accounts, remove_data
        self.paths, self.mounts, self.units = found["paths"], set(found["mounts"]), found["units"]
        users = {one["user"] for one in gathered(made, "accounts")}
        self.homes = {one["home"].rstrip("/"): user for user, one in accounts.items() if user not in users and one["home"].strip("/")}
        self.removed, self.kept, self.problems, self.data_that_stays, self.data_that_goes = [], {}, [], [], []

    def remove(self, path, what=FILE):
        """Of a mount point, what is in it; what has something mounted in it stays."""
        if path in self.removed or path in self.kept:
            return
        why = danger(path, self.homes) if self.paths.get(path, {}).get("kind") != "file" else ""
        inside = sorted(point for point in self.mounts if below(point, path))
        if why:
            setting = "" if what == FILE else ", or set uninstall_data to false"
            self.problems.append(UNSAFE.format(what=what, path=path, why=why, setting=setting))
        elif inside:
            self.kept[path] = f"{', '.join(inside)} is mounted in it"
        elif path in self.mounts:
            self.removed += [f"{path}/{name}" for name in self.paths[path]["entries"]]
            self.kept[path] = "it is a mount point; what was in it goes" if self.paths[path]["entries"] else "it is a mount point"
        else:
            self.removed.append(path)
            leads_to = self.paths[path]["leads_to"]
            if self.paths[path]["kind"] == "link" and what != FILE:
                self.kept[leads_to] = f"{path} was a link to it: only the link goes"

    def links(self):
        """What is none was not made by us: a setting may name what somebody has installed."""
        for path in those(self.paths, gathered(self.made, "links")):
            if self.paths[path]["kind"] == "link":
                self.remove(path)
            else:
                self.kept.setdefault(path, "it is not a link, as this collection makes it")

    def data(self):
        for one in gathered(self.made, "data"):
            for path in those(self.paths, [one["path"]]):
                if path in self.removed or path in self.kept or path in gathered(self.made, "folders"):
                    continue
                if self.paths[path]["kind"] == "directory" and not self.paths[path]["entries"]:
                    self.remove(path)
                elif self.remove_data:
                    self.remove(path, one["what"][0].upper() + one["what"][1:])
                    self.data_that_goes.append(path)
                else:
                    self.kept[path] = one["what"]
                    self.data_that_stays.append(one)

    def folders(self):
        """Those that lie in others first. One goes when nothing in it stays."""
        folders = sorted(those(self.paths, gathered(self.made, "folders")), key=lambda path: -path.count("/"))
        for path in dict.fromkeys(folders):
            # A folder of keys may be somebody's .ssh.
            if path in PROTECTED or path in self.homes or os.path.basename(path) == ".ssh":
                continue
            inside = [f"{path}/{name}" for name in self.paths[path]["entries"]]
            strangers = [one for one in inside if not self.explained(one, folders)]
            for stranger in strangers:
                self.kept[stranger] = "it is not of this collection"
            if all(one in self.removed for one in inside):
                self.remove(path)
                if self.paths[path]["kind"] == "link":
                    self.kept[self.paths[path]["leads_to"]] = f"{path} was a link to it"

    def explained(self, path, folders):
        stays = [*self.kept, *(folder for folder in folders if folder not in self.removed)]
        return path in self.removed or path in stays or any(below(one, path) for one in stays)

    def gone(self, path):
        return path not in self.paths or path in self.removed

    def account_plan(self):
        """An account goes when nothing of it stays: the number would be given to somebody else, and the next installation would have another one."""
        users = []
        for one in gathered(self.made, "accounts"):
            there = self.accounts.get(one["user"])
            if not there or one["user"] in users:
                continue
            if (there["comment"], there["home"]) != (one["comment"], one["home"]):
                self.kept[f"account {one['user']}"] = "it is not as this collection makes it"
            elif not self.gone(one["home"]) or any(data.get("account") == one["user"] for data in self.data_that_stays):
                self.kept[f"account {one['user']}"] = "what is kept belongs to it"
            else:
                users.append(one["user"])
        groups = {one["group"] for one in gathered(self.made, "accounts") if one["user"] in users}
        others = {there["group"] for user, there in self.accounts.items() if user not in users}
        return users, sorted(groups - others)

    def unit_problems(self):
        """A host whose folders are elsewhere is not what the settings say: half of it would stay."""
        for one in gathered(self.made, "named_by_units"):
            text = self.units.get(one["unit"], {}).get("text", "")
            if text and f"{one['path']}/" not in text:
                yield ELSEWHERE.format(**one)


def is_to_be_stopped(unit):
    """Of one that has failed and has no file any more, nothing is left but systemd's memory."""
    return unit["enabled"] or unit["active"] not in ("inactive", "unknown") and not (unit["active"] == "failed" and not unit["text"])


def uninstall_plan(made, found, accounts, remove_data=False):
    plan = Plan(made, found, accounts, remove_data)
    for path in those(found["paths"], files_of(made)):
        plan.remove(path)
    plan.links()
    plan.data()
    plan.folders()
    users, groups = plan.account_plan()
    units = sorted((name for name, unit in found["units"].items() if is_to_be_stopped(unit)), key=lambda name: name.endswith(".service"))
    files = sorted(dict.fromkeys(plan.removed), key=lambda path: (-path.count("/"), path))
    # What lies in a folder that goes, goes with it: one line of the difference for the folder.
    folders = {path for path in files if found["paths"].get(path, {}).get("kind") == "directory"}
    tops = [path for path in files if not folders.intersection(parents(path))]
    return {
        "problems": [*plan.unit_problems(), *plan.problems],
        "units": units,
        "transient": [name for name in units if not found["units"][name]["text"]],
        "files": [{"path": path, "state": "absent"} for path in tops],
        "data": [path for path in plan.data_that_goes if path in plan.removed],
        "users": users,
        "groups": groups,
        "kept": [
            *(f"{path} ({why})" for path, why in sorted(plan.kept.items())),
            *(f"{one} (not on this host)" for one in gathered(made, "elsewhere")),
        ],
    }


def uninstall_summary(plan, host):
    """In words, a line each."""
    goes = [*plan["units"], *(file["path"] for file in plan["files"]), *(f"account {user}" for user in plan["users"])]
    return [
        f"{host}: goes: {', '.join(goes) or 'nothing, there is nothing of this collection here'}",
        *([f"{host}: with it data: {', '.join(plan['data'])}"] if plan["data"] else []),
        *(f"{host}: stays: {one}" for one in plan["kept"]),
    ]
