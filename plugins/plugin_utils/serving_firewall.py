# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a firewall is to let through, whether it does, and what stands in the way."""

from __future__ import annotations

import hashlib
import json
import re

from ansible_collections.sparkflows.mlops.plugins.plugin_utils.networks import network_problems, networks
from jinja2.filters import do_int as number  # 0 for what is no number: settings come as text from AWX

EVERYBODY = ("0.0.0.0/0", "::/0")
# A rule of ufw has 15 ports at most, and a range is two.
PORTS_OF_A_UFW_RULE = 7
# As each firewall shows our opening of the Fire MLOps port.
FIRE_MLOPS_OPENINGS = {
    "firewalld": 'port port="{port}"',
    "nftables": r"saddr .* dport .*\b{port}\b.* accept",
    "ufw": "comment '{name} [^ ']* ([^ ']*,)?{port}(,[^ ']*)?'",
}
# Bridges to containers and virtual machines of the host itself: nobody comes from outside there.
OWN_BRIDGE = re.compile("(lo|docker|br-|virbr|cni|podman|veth|lxc|lxd)")

NOBODY = (
    "mlops_client_sources is empty, so nobody could reach MLflow and the served models. Set it to the addresses or networks of the Sparkflows "
    "hosts, or put a host into the inventory group sparkflows."
)
DEFAULT_SOURCES = (
    "The default of mlops_client_sources is mlops_address or ansible_host of each host in the group sparkflows. "
    "A firewall rule needs an address: set mlops_address of those hosts, or mlops_client_sources."
)
ABSENT = (
    "{} is not installed. Set serving_firewall_backend to the firewall that this host has (firewalld, nftables, "
    "ufw), to none if its firewall is managed elsewhere, or serving_firewall_install to true to have it installed and switched on."
)
STOPPED = (
    "{} is installed but not running. Start it, or set serving_firewall_install to true to have it switched on, or "
    "serving_firewall_backend to another one."
)
OTHER_SSH_PORT = (
    "firewalld would be switched on and lets SSH in on port 22 only, but Ansible comes in on port {}. Switch firewalld on and open "
    "that port yourself, then run this again."
)
OLD = "firewalld has no policies before version 0.9: {} Update it, or set serving_firewall_backend to nftables."


def serving_firewall_state(answer, backend):
    code = answer.get("rc", 0)
    if code == 127:
        return "absent"
    if (backend == "firewalld" and code == 252) or (backend == "ufw" and "Status: inactive" in answer.get("stdout", "")):
        return "stopped"
    # 2: it does not know the option.
    return "old" if backend == "firewalld" and code == 2 else "running"


def client_sources(settings):
    """One machine that carries both reaches itself whatever the firewall says, so its address may be a name."""
    sources, own = settings["mlops_client_sources"], settings["mlops_address"]
    if settings["mlops_deploy_mode"] == "local" and not isinstance(sources, str) and network_problems([own]):
        return [source for source in sources if source != own]
    return sources


def fire_mlops_left(settings, answer):
    """Whether the firewall has the opening of the deploy mode fire_mlops_server, though that is no longer ours."""
    opening = FIRE_MLOPS_OPENINGS.get(settings["serving_firewall_backend"])
    if settings["serving_firewall_rules"] or settings["mlops_deploy_mode"] == "fire_mlops_server" or not opening:
        return False
    return bool(re.search(opening.format(name=settings["name"], port=re.escape(str(settings["mlops_fire_mlops_port"]))), answer.get("stdout", "")))


def service_ports(settings, answer):
    """The opening of another deploy mode is closed when that is asked for."""
    stays = settings["mlops_deploy_mode"] == "fire_mlops_server" or (fire_mlops_left(settings, answer) and not settings["mlops_remove_unused"])
    return [str(settings[name]) for name in ("mlops_mlflow_port", *(["mlops_fire_mlops_port"] if stays else []))]


def serving_range(settings):
    ends = [str(settings[name]) for name in ("mlops_serving_port_first", "mlops_serving_port_last")]
    return "-".join(dict.fromkeys(ends))


def declared_ports(settings, listeners):
    """Declared, or served though not declared any more: a model that moves to another port keeps the old one open until it has moved."""
    first, last = number(settings["mlops_serving_port_first"]), number(settings["mlops_serving_port_last"])
    declared = {model["port"] for model in settings["served_models"] if model["state"] == "present"}
    served = {one["port"] for one in listeners if one["unit"] == "nginx.service" and first <= one["port"] <= last}
    return [str(port) for port in sorted(declared | served)]


def rules_of(settings, found):
    """Another role's rules, or those of MLflow, the Fire MLOps server and the served models. Each firewall writes them in its own words."""
    rules = settings["serving_firewall_rules"]
    if rules:
        openings = [dict(opening.items(), ports=list(opening["ports"])) for opening in rules["openings"]]
        return openings, list(rules["guarded"])
    service, whole_range = service_ports(settings, found["answer"]), serving_range(settings)
    declared_only = settings["serving_firewall_serving_ports"] == "declared"
    serving = declared_ports(settings, found["listeners"]) if declared_only else [whole_range]
    clients, scorers = networks(client_sources(settings)), networks(settings["serving_firewall_serving_sources"])
    ports = {source: [*(service if source in clients else []), *serving] for source in dict.fromkeys(clients + scorers)}
    return [{"source": source, "ports": opened} for source, opened in ports.items() if opened], [*service, whole_range]


def firewalld_rules(openings):
    """As firewalld shows them."""
    return [
        f'rule family="{"ipv6" if ":" in opening["source"] else "ipv4"}" source address="{opening["source"]}" '
        f'port port="{port}" protocol="tcp" accept'
        for opening in openings
        for port in opening["ports"]
    ]


def ufw_rules(openings):
    """Source and ports of each rule, in ufw's words."""
    rules = []
    for opening in openings:
        ports = [port.replace("-", ":") for port in opening["ports"]]
        parts = range(0, len(ports), PORTS_OF_A_UFW_RULE)
        rules += [[opening["source"], ",".join(ports[first : first + PORTS_OF_A_UFW_RULE])] for first in parts]
    return rules


def ufw_rules_of(said, name):
    """ufw shows a rule in words of its own (and IPv4 and IPv6 "anywhere" as one), so each rule says in its comment what it was made from."""
    return [list(rule) for rule in re.findall(rf"comment '{name} (\S+) (\S+)'", said)]


def ufw_changes(rules, there, name):
    """Only what differs, and new openings before old ones go."""
    differing = [(rule, False) for rule in rules if rule not in there] + [(rule, True) for rule in there if rule not in rules]
    return [
        {"source": source, "ports": ports, "comment": f"{name} {source} {ports}", "delete": delete}
        for (source, ports), delete in differing
    ]


def serving_firewall_plan(settings, found):
    backend, answer = settings["serving_firewall_backend"], found["answer"]
    said = answer.get("stdout", "")
    name = settings["name"]
    openings, guarded = rules_of(settings, found)
    left = fire_mlops_left(settings, answer)
    mark = f"{name} {hashlib.sha1(json.dumps(openings).encode(), usedforsecurity=False).hexdigest()[:12]}"
    rules, there, changes = [], [], []
    if backend == "firewalld":
        rules, there = firewalld_rules(openings), list(answer.get("stdout_lines", []))
    elif backend == "nftables":
        rules, there = [mark], [mark] if mark in said else []
    elif backend == "ufw":
        rules, there = ufw_rules(openings), ufw_rules_of(said, name)
        changes = ufw_changes(rules, there, name)
    return {
        "openings": openings,
        "guarded": guarded,
        "sentences": [f"from {opening['source']} to TCP {', '.join(opening['ports'])}" for opening in openings],
        "rules": rules,
        "mark": mark,
        "changes": changes,
        "in_force": sorted(rules) == sorted(there) and (backend != "ufw" or "Status: active" in said),
        "left": left,
        "left_to": networks(client_sources(settings)) if left else [],
    }


def source_problems(settings):
    """Of the addresses that the openings are for."""
    rules = settings["serving_firewall_rules"]
    if rules:
        problems = network_problems([opening["source"] for opening in rules["openings"]])
        return [f"mlops_address of the other hosts: {problem}" for problem in problems if settings["serving_firewall_backend"] != "none"]
    given = settings["mlops_client_sources"]
    of_clients = network_problems(client_sources(settings))
    problems = [f"mlops_client_sources: {problem}" for problem in of_clients]
    problems += [f"serving_firewall_serving_sources: {problem}" for problem in network_problems(settings["serving_firewall_serving_sources"])]
    if not given and settings["mlops_deploy_mode"] != "local":
        problems.append(NOBODY)
    if of_clients and not isinstance(given, str) and list(given) == list(settings["sparkflows_addresses"]):
        problems.append(DEFAULT_SOURCES)
    return problems


def state_problems(settings, answer):
    """Of the firewall itself."""
    backend = settings["serving_firewall_backend"]
    state, may_install = serving_firewall_state(answer, backend), settings["serving_firewall_install"]
    if state == "old":
        yield OLD.format(answer.get("stderr", "").strip())
    elif state != "running" and not may_install:
        yield (ABSENT if state == "absent" else STOPPED).format(backend)
    elif state != "running" and backend == "firewalld" and number(settings["ansible_port"]) != 22:
        yield OTHER_SSH_PORT.format(settings["ansible_port"])


def numbers(text):
    """First and last port of 5000 or 5001-5020."""
    first, _dash, last = text.partition("-")
    return int(first), int(last or first)


def overlaps(one, other):
    (first, last), (start, end) = numbers(one), numbers(other)
    return first <= end and start <= last


def zones_of(said):
    """The zones in use as firewall-cmd shows them: (name, whether it is for all that no zone is named for, {field: words}, rich rules)."""
    for block in re.split(r"\n(?=\S)", said):
        head, _newline, body = block.partition("\n")
        found = re.fullmatch(r"(\S+) \(([a-z, ]+)\)", head.strip())
        states = found[2].split(", ") if found else []
        if "active" in states or "default" in states:
            fields = {name: words.split() for name, words in re.findall(r"^  ([a-z-]+): ?(.*)$", body, re.M)}
            yield found[1], "default" in states, fields, re.findall(r"^\s+(rule .*)$", body, re.M)


def services_of(said):
    """Service -> its TCP ports, from the lines of the files that define them."""
    services = {}
    for name, line in re.findall(r"^\S*/([^/\s]+)\.xml:(.*)$", said, re.M):
        port = re.search(r'port="([0-9]+(?:-[0-9]+)?)"', line)
        if port and 'protocol="tcp"' in line:
            services.setdefault(name, set()).add(port[1])
    return services


def firewalld_zone_problems(said, ports):
    """What firewalld's zones let in besides our policy, which is worth nothing then. Rich rules with a source are somebody's decision."""
    services, problems = services_of(said), []
    for zone, is_default, fields, rules in zones_of(said):
        bound = fields.get("interfaces", []) + fields.get("sources", [])
        outside = [name for name in bound if not OWN_BRIDGE.match(name)] or (["all that is in no other zone"] if is_default and not bound else [])
        if not outside:
            continue
        remedy = f"firewall-cmd --permanent --zone={zone}"
        if fields.get("target") == ["ACCEPT"]:
            problems.append(f"firewalld's zone {zone} ({', '.join(outside)}) lets everything in, whatever is opened here: give it another target, "
                            "or move what is in it to another zone.")  # fmt: skip
        for opened in fields.get("ports", []):
            port, _slash, protocol = opened.partition("/")
            if protocol == "tcp" and any(overlaps(port, ours) for ours in ports):
                problems.append(f"firewalld's zone {zone} opens {opened} to everybody: {remedy} --remove-port={opened}.")
        for service in fields.get("services", []):
            if any(overlaps(port, ours) for port in services.get(service, ()) for ours in ports):
                problems.append(f"firewalld's zone {zone} opens the service {service} ({', '.join(sorted(services[service]))}/tcp) to everybody: "
                                f"{remedy} --remove-service={service}.")  # fmt: skip
        for rule in rules:
            port = re.search(r'port port="([0-9]+(?:-[0-9]+)?)" protocol="tcp"', rule)
            if port and rule.endswith("accept") and "source " not in rule and any(overlaps(port[1], ours) for ours in ports):
                problems.append(f"firewalld's zone {zone} has a rule that opens {port[1]}/tcp to everybody: {remedy} --remove-rich-rule='{rule}'.")
    return problems


def serving_firewall_problems(settings, found):
    backend, problems = settings["serving_firewall_backend"], source_problems(settings)
    sources_are_well = not problems
    if backend != "none":
        problems += state_problems(settings, found["answer"])
    if backend == "firewalld" and sources_are_well:
        openings, guarded = rules_of(settings, found)
        # Everybody may reach what is opened for everybody.
        open_to_all = [port for opening in openings if opening["source"] in EVERYBODY for port in opening["ports"]]
        problems += firewalld_zone_problems(found["zones"].get("stdout", ""), [port for port in guarded if port not in open_to_all])
    return problems


def serving_firewall_left(lines, names):
    """What of given names each firewall has, from the lines of look.sh: all of it goes."""
    said = "\n".join(lines)
    tables = [name.replace("-", "_") for name in names]
    return {
        "policies": [name for name in names if f"policy {name}" in lines],
        "firewalld_runs": "firewalld runs" in lines,
        "policies_in_force": [name for name in names if f"in-force {name}" in lines],
        "files": [f"/etc/nftables-{name}.nft" for name in names if f"table-file {name}" in lines],
        "mains": [line.partition(" ")[2] for line in lines if line.startswith("includes ")],
        "tables": [table for table in tables if f"table {table}" in lines],
        "ufw": [change for name in names for change in ufw_changes([], ufw_rules_of(said, name), name)],
    }
