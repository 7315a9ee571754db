# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hosts answered, as one report."""

from __future__ import annotations

import json
import re

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")  # what XML 1.0 cannot hold
# What is not proven where a host of this group is no part of the run.
PROVEN_FROM = {"mlflow": "its runtimes and services", "sparkflows": "the ports that it reaches, its logins at MLflow and its settings"}
HIDDEN = "********"  # what sparkflows_configuration shows of a secret


def clean(text, limit=600):
    text = " ".join(CONTROL.sub("", str(text)).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def check(name, status, evidence):
    return {"name": name, "status": status, "evidence": evidence}


def reason(result, wanted):
    """Why a task's result has no answer, or nothing if it has one. Silence is a failure too."""
    if not result:
        return "nothing was asked: the run ended on this host before"
    if result.get("unreachable"):
        return "the host cannot be reached: " + str(result.get("msg", ""))
    if wanted in result and not result.get("rc"):
        return ""
    texts = [result.get(name) for name in ("stderr", "module_stderr", "msg", "stdout", "module_stdout")]
    last = [str(text).strip().splitlines()[-1] for text in texts if text and str(text).strip()]
    return "; ".join(dict.fromkeys(last)) or "no answer"


def program_checks(asked, result):
    """A shipped program makes its checks itself; here it is enough that it ran."""
    why = reason(result, "stdout")
    if why and "rc" in result and "delta" not in result:  # it was not even started
        why = f"{asked['python']} cannot be run: {why}"
    found = {}
    if not why:
        try:
            found = json.loads(result["stdout"].strip().splitlines()[-1])
        except (IndexError, ValueError):
            why = "the answer is not JSON: " + result["stdout"]
    return (found["checks"], found) if not why else ([check(asked["name"], "failed", why)], {})


def port_checks(asked, result):
    why = reason(result, "connect")
    if why:
        return [check("reachable ports", "failed", why)], []
    checks, tried = [], []
    for question, got in zip(asked, result["connect"]):
        state, wanted = got["state"], question["wanted"]
        # Without a firewall, or with one that guards only its own ports, "closed" is that nobody answers there.
        passed = state == wanted or (wanted == "closed" and state in ("refused", "filtered"))
        evidence = f"{got['host']}:{got['port']} is {state}"
        evidence += f" ({got['error']})" if got["error"] else f", answered in {got['milliseconds']:g} ms"
        evidence += "" if passed else f", wanted {wanted}"
        checks.append(check(question["name"], "passed" if passed else "failed", evidence))
        tried.append({"host": got["host"], "port": got["port"], "open": state == "open", "passed": passed})
    return checks, tried


def login_checks(logins):
    """What MLflow answered to several logins. Only an answer of MLflow itself is one: a page of somebody else is not."""
    why = reason(logins["result"], "results")
    if why:
        return [check("logins at MLflow", "failed", why)]
    checks = []
    for question, got in zip(logins["asked"], logins["result"]["results"]):
        status, wanted = got.get("status", -1), question["wanted"]
        passed = status in wanted and (status != 200 or isinstance((got.get("json") or {}).get("experiments"), list))
        evidence = f"{logins['url']} answers {status}"
        if status <= 0:
            evidence = f"{logins['url']} gives no answer: {got.get('msg', '')}"
        elif logins["url"].startswith("https:"):
            evidence += f", certificate verified with {logins['ca'] or 'what the host trusts'}"
        if not passed:
            evidence += ", but not as MLflow does" if status in wanted else f", wanted {' or '.join(map(str, wanted))}"
        checks.append(check(question["name"], "passed" if passed else "failed", evidence))
    return checks


def setting_checks(result):
    """The result is that of sparkflows_configuration in check mode: what it would write is not as it should be."""
    why = reason(result, "settings")
    if why:
        return [check("settings in Sparkflows", "failed", why)]
    before = result.get("diff", {}).get("before", {})
    meanings = {found["key"]: meaning for meaning, found in result["resolved"].items()}
    checks = []
    for key, value in result["settings"].items():
        differs = key in result["changed_keys"]
        has = before.get(key) if differs else value
        evidence = f"{key} = " + ("set (masked)" if has == HIDDEN else json.dumps(has))
        if differs:
            evidence += ", not known to be the wanted one" if has == HIDDEN else f", wanted {json.dumps(value)}"
        elif key in result["unverified_secrets"]:
            evidence += ", hidden by Sparkflows, so not known to be the wanted one"
        checks.append(check("setting " + meanings.get(key, key), "failed" if differs else "passed", evidence))
    return checks


def system(distribution):
    name = " ".join(part for part in (distribution.get("id", "").capitalize(), distribution.get("version")) if part)
    return f"{name} ({distribution['codename']})" if distribution.get("codename") else name


def host_report(answer):
    """One host's checks, and what is told about it besides."""
    checks, versions, scores, tried = [], {}, [], []
    programs, ports, settings = answer["programs"], answer["ports"], answer["settings"]
    results = programs["result"].get("results") or [programs["result"]] * len(programs["asked"])
    for asked, result in zip(programs["asked"], results):
        made, found = program_checks(asked, result)
        checks += made
        versions.update(found.get("versions", {}))
        scores += found.get("scores", [])
    if ports["asked"]:
        made, tried = port_checks(ports["asked"], ports["result"])
        checks += made
    if answer["logins"]["asked"]:
        checks += login_checks(answer["logins"])
    if settings["asked"]:
        checks += setting_checks(settings["result"])
    return {
        "name": answer["name"],
        "address": answer["address"],
        "groups": answer["groups"],
        "system": system(answer["distribution"]),
        "services": answer["services"],
        "tried": tried,
        "versions": versions,
        "scores": scores,
        "checks": checks,
    }


def silent_host(name, variables, in_run):
    """A host that this run has not heard."""
    groups = [group for group in variables.get("group_names", []) if group in PROVEN_FROM]
    told = ("failed", "nothing was heard of the host in this run")
    left_out = "not part of this run (--limit), so not proven: " + ", ".join(PROVEN_FROM[group] for group in groups)
    return {
        "name": name,
        "address": variables.get("mlops_address") or variables.get("ansible_host") or name,
        "groups": groups,
        "system": "",
        "services": [],
        "tried": [],
        "versions": {},
        "scores": [],
        "checks": [check("answers of the host", *(told if in_run else ("skipped", left_out)))],
    }


def ports_of(server, clients):
    """The ports of an MLflow host, and how each client found them. A port without a service must stay closed."""
    ports = [dict(service, links=[]) for service in server["services"]]
    for number, client in enumerate(clients):
        for tried in client["tried"]:
            if tried["host"] != server["address"]:
                continue
            port = next((port for port in ports if port["port"] == tried["port"]), None)
            if not port:
                port = {"label": "", "port": tried["port"], "links": []}
                ports.append(port)
            kind = "failed" if not tried["passed"] else "passed" if tried["open"] else "closed"
            port["links"].append({"client": number, "open": tried["open"], "kind": kind})
    return ports


def acceptance_report(names, hostvars, play_hosts):
    hosts = []
    for name in names:
        answer = hostvars[name].get("__acceptance_answer")
        hosts.append(host_report(answer) if answer else silent_host(name, hostvars[name], name in play_hosts))
    checks = [
        {"name": item["name"], "host": host["name"], "status": item["status"], "evidence": clean(item["evidence"])}
        for host in hosts
        for item in host["checks"]
    ]
    counts = {status: sum(item["status"] == status for item in checks) for status in ("failed", "passed", "skipped")}
    left_out = [host for host in names if host not in play_hosts and "__acceptance_answer" not in hostvars[host]]
    verdict = "failed" if counts["failed"] else "partial" if left_out else "passed"
    summary = dict(counts, checks=len(checks), verdict=verdict, left_out=left_out)
    clients = [host for host in hosts if "sparkflows" in host["groups"]]
    servers = [host for host in hosts if "mlflow" in host["groups"]]
    return {
        "summary": summary,
        "checks": checks,
        "hosts": hosts,
        "scores": [dict(score, host=host["name"]) for host in hosts for score in host["scores"]],
        "clients": clients,
        "servers": [dict(server, ports=ports_of(server, clients)) for server in servers],
    }


def acceptance_failure(report, path):
    summary = report["summary"]
    failed = [f"{item['host']}: {item['name']}: {item['evidence']}" for item in report["checks"] if item["status"] == "failed"]
    return "\n".join([f"{summary['failed']} of {summary['checks']} checks failed.", *failed, f"The whole report: {path}"])
