# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins between the two ends of the deploy mode remote."""

from __future__ import annotations

import os.path
import re
from urllib.parse import urlsplit

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.addresses import addresses
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.networks import network_problems, networks
from jinja2.filters import do_int

# Every option is said: nothing that stands elsewhere on the machine lets it in.
OPTIONS = ("BatchMode=yes", "IdentitiesOnly=yes", "PreferredAuthentications=publickey", "StrictHostKeyChecking=yes", "UserKnownHostsFile=none")


def ssh_peers(end, hostvars):
    """The hosts of an end as another host sees them."""
    peers = []
    for host in end["hosts"]:
        variables, address = hostvars[host], addresses([host], hostvars)[0]
        name = urlsplit(end["url"]).hostname
        peers.append({
            "host": host,
            "address": address,
            "names": [address] if name == address.lower() else [address, name],
            "port": do_int(variables.get("mlops_ssh_port", 22)),
            "user": end["user"],
            "sources": variables.get("mlops_ssh_sources", [address]),
        })  # fmt: skip
    return peers


def ssh_commands(peers, key_path, known_hosts_path):
    """The command that logs in and does nothing, by host."""
    options = [part for option in (*OPTIONS, f"GlobalKnownHostsFile={known_hosts_path}", "ConnectTimeout=10") for part in ("-o", option)]
    return {
        peer["host"]: ["ssh", "-F", "none", "-i", key_path, "-p", str(peer["port"]), *options, f"{peer['user']}@{peer['address']}", "true"]
        for peer in peers
    }


def ssh_access_end(server, user, home):
    """What the SSH server's own answer says of logins of an account here."""
    answer = server.get("stdout") or ""
    in_force = dict(re.findall("(?m)^(pubkeyauthentication|authorizedkeysfile) (.+)$", answer))
    path = (in_force.get("authorizedkeysfile", ".ssh/authorized_keys").split() or [""])[0]
    for sign, value in (("%h", home), ("%u", user), ("%%", "%")):
        path = path.replace(sign, value)
    return {
        "authorized_keys": path if path.startswith("/") else f"{home}/{path}",
        "host_key_files": [f"{file}.pub" for file in re.findall("(?m)^hostkey (.+)$", answer)],
        "problem": server_problem(server),
        "takes_keys": in_force.get("pubkeyauthentication", "yes") == "yes",
        "reads_keys": in_force.get("authorizedkeysfile") != "none",
    }


def server_problem(server):
    # A program that is not there is never begun.
    if server.get("rc") == 2 and "delta" not in server:
        return ("No SSH server is installed here: install openssh-server of the distribution, or set mlops_deploy_mode to fire_mlops_server, "
                "which needs none.")  # fmt: skip
    if server.get("rc") != 0:
        said = (server.get("stderr", "") + server.get("stdout", "")).strip()
        return f"The SSH server cannot say what is in force (sshd -T): {said} Correct its configuration in /etc/ssh."
    return ""


def of_this_end(settings, what):
    """Each end has its own options and command."""
    return settings[f"ssh_access_{'mlflow' if settings['is_mlflow'] else 'sparkflows'}_{what}"]


def ssh_access_problems(settings, peers, found, hosts):
    return [
        *inventory_problems(settings, peers, hosts),
        *account_problems(settings, found),
        *server_problems(settings, found),
        *key_problems(settings, found["files"]),
        *restriction_problems(settings),
    ]


def inventory_problems(settings, peers, hosts):
    sources, wrong = settings["mlops_ssh_sources"], network_problems(settings["mlops_ssh_sources"])
    if not peers:
        other = "sparkflows" if settings["is_mlflow"] else "mlflow"
        yield (f"The deploy mode remote connects the hosts of the groups mlflow and sparkflows, and the group {other} is empty: put a host into it, "
               "or set mlops_deploy_mode.")  # fmt: skip
    for peer in peers:
        if peer["host"] not in hosts:
            yield f"{peer['host']} is the other end and is not part of this run: the deploy mode remote needs both ends in the limit."
    for problem in wrong:
        yield f"mlops_ssh_sources: {problem}"
    if not sources:
        yield "mlops_ssh_sources is empty: set it to the addresses from which this host reaches the other one."
    if wrong and sources == [settings["mlops_address"]]:
        yield ("mlops_ssh_sources is by default mlops_address, and a key is accepted from addresses only: set mlops_address of this host, or "
               "mlops_ssh_sources.")  # fmt: skip


def account_problems(settings, found):
    user, is_mlflow = settings["user"], settings["is_mlflow"]
    variable = "mlops_ssh_mlflow_user" if is_mlflow else "mlops_ssh_sparkflows_user"
    shell = found["account"][5] if found["account"] else ""
    if not found["account"] and not is_mlflow:
        yield f"There is no account {user}: set mlops_ssh_sparkflows_user to the account that Sparkflows runs as."
    if is_mlflow and user == settings["mlops_user"]:
        yield (f"mlops_ssh_mlflow_user is {user}, the account that MLflow runs as and that owns its database and artifacts; it has no login: set "
               "mlops_ssh_mlflow_user to another account.")  # fmt: skip
    elif re.search("/(nologin|false)$", shell):
        yield (f"The account {user} has the shell {shell}, so an SSH login could run nothing: give it a shell (for example with usermod --shell "
               f"/bin/bash {user}), or set {variable} to another account.")  # fmt: skip
    if found["files"].get(f"{found['home']}/.ssh", {}).get("islnk"):
        yield f"{found['home']}/.ssh is a link, which could lead anywhere: make it a directory of {user}."


def server_problems(settings, found):
    user, end = settings["user"], found["end"]
    if end["problem"]:
        yield end["problem"]
        return
    if do_int(settings["mlops_ssh_port"]) not in [listener["port"] for listener in found["listeners"]]:
        yield (f"Nothing listens on port {settings['mlops_ssh_port']}: start the SSH server, or set mlops_ssh_port to the port that it "
               "listens on.")  # fmt: skip
    if not end["takes_keys"]:
        yield f"The SSH server accepts no keys from {user} (PubkeyAuthentication in /etc/ssh/sshd_config): switch it on for this account."
    if not end["reads_keys"]:
        yield ("The SSH server reads no authorized keys (AuthorizedKeysFile none in /etc/ssh/sshd_config): set it to .ssh/authorized_keys for "
               f"{user}.")  # fmt: skip


def key_problems(settings, files):
    path, user = settings["mlops_ssh_key_path"], settings["user"]
    folder = os.path.dirname(path)
    there = files[folder]
    if not re.match("/.*/[^/]+$", path):
        yield f"mlops_ssh_key_path is {path}: set it to an absolute path of a file."
    if there["exists"] and there.get("pw_name") != user:
        yield (f"{folder} belongs to {there.get('pw_name', 'another account')} and would be closed to all but {user}: set mlops_ssh_key_path to a "
               "path in a directory of its own.")  # fmt: skip
    if settings["ssh_access_key_format"] == "pkcs1" and settings["ssh_access_key_type"] == "ed25519":
        yield "ssh_access_key_format is pkcs1, which there is for RSA and ECDSA keys only: set ssh_access_key_type to rsa."


def restriction_problems(settings):
    command = of_this_end(settings, "command")
    if '"' in command:
        yield (f"The command {command} has a double quote, which ends it in authorized_keys: put what it does into a program, and set "
               "ssh_access_mlflow_command and ssh_access_sparkflows_command to its path.")  # fmt: skip
    for option in map(str, of_this_end(settings, "options")):
        if re.search("(?i)^(from|command)=", option):
            yield (f"The option {option.partition('=')[0]} is not for ssh_access_mlflow_options and ssh_access_sparkflows_options: set "
                   "mlops_ssh_sources or ssh_access_mlflow_command and ssh_access_sparkflows_command.")  # fmt: skip


def ssh_access_plan(peers, hostvars, settings, lines, comment):
    """An end that has not said its keys yet has no part in it."""
    said = {peer["host"]: hostvars[peer["host"]]["__ssh_access"] for peer in peers if "__ssh_access" in hostvars[peer["host"]]}
    here = [peer for peer in peers if peer["host"] in said]
    command = of_this_end(settings, "command")
    restrictions = [*map(str, of_this_end(settings, "options")), *([f'command="{command}"'] if command else [])]
    authorized = [
        {
            "host": peer["host"],
            "key": f"{said[peer['host']]['public_key']} {comment}{peer['host']}",
            "options": ",".join([f'from="{",".join(networks(peer["sources"]))}"', *restrictions]),
        }
        for peer in here
    ]
    return {
        "authorized": authorized,
        "withdrawn": withdrawn(lines, [one["key"] for one in authorized], comment),
        "known_hosts": [
            # With a word at the end that says whose line it is: one that somebody has written stays when we go.
            {"name": name, "line": f"{name} {key} {comment}{peer['host']}"}
            for peer in here
            for name in (address if peer["port"] == 22 else f"[{address}]:{peer['port']}" for address in peer["names"])
            for key in said[peer["host"]]["host_keys"]
        ],
    }


def withdrawn(lines, keys, comment):
    """Ours, but of a key or a host that is no more."""
    former = [line for line in lines if not any(key in line for key in keys)]
    ours = [re.search(rf"(ssh-|ecdsa-|sk-)\S+ \S+ {re.escape(comment)}\S+$", line) for line in former]
    return [found.group() for found in ours if found]


def ssh_access_packages(programs, distribution, key_format):
    package = "openssh-client" if "debian" in [distribution["id"], *distribution["id_like"]] else "openssh-clients"
    client = [] if all(program["exists"] for program in programs) else [package]
    return client + (["python3-cryptography"] if key_format != "auto" else [])


def ssh_login_problems(results, host, user, seconds):
    """What is said of a login that did not come about; it ends with nothing said where the time was up."""
    problems = []
    for result in results:
        if result.get("failed"):
            peer = result["item"]
            why = result.get("stderr", result.get("msg", "")).strip() or f"no end after {seconds} seconds"
            problems.append(f"{host}: {user} cannot log in to {peer['user']}@{peer['host']}\n({peer['address']}, port {peer['port']}): {why}")
    return problems
