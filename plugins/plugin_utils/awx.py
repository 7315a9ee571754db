# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be made of the descriptions in awx/, and what AWX would refuse."""

from __future__ import annotations

import re
from typing import NamedTuple

from ansible.module_utils.compat.version import LooseVersion
from ansible_collections.sparkflows.mlops.plugins.plugin_utils.private_keys import private_key_problem
from jinja2.filters import do_int as number  # 0 for what is no number: settings come as text from AWX


class Kind(NamedTuple):
    """A kind of objects: the module that makes one, and what may be said of it."""

    module: str
    fields: tuple
    # AWX keeps such by organization, but finds them by name alone in some places: so their names must be nowhere else.
    of_an_organization: bool = False
    # What goes with its inventory or workflow, and what may be others' as well, is not removed.
    removed: bool = True
    # What has to be said of each.
    needed: tuple = ("name",)


# In the order in which they need each other.
KINDS = {
    "organizations": Kind("organization", ("name", "description", "galaxy_credentials"), removed=False),
    "credential_types": Kind("credential_type", ("name", "description", "kind", "inputs", "injectors"), removed=False),
    "credentials": Kind("credential", ("key", "name", "description", "credential_type", "inputs", "optional"), of_an_organization=True,
                        needed=("key", "name", "credential_type", "inputs")),
    "execution_environments": Kind(
        "execution_environment", ("name", "description", "organization", "image", "pull", "credential"), of_an_organization=True,
        needed=("name", "image")),
    "projects": Kind(
        "project", ("name", "description", "organization", "scm_type", "scm_url", "scm_branch", "scm_clean", "scm_update_on_launch",
                    "scm_update_cache_timeout", "credential", "default_environment"), of_an_organization=True, needed=("name", "scm_url")),
    "inventories": Kind("inventory", ("name", "description", "organization", "variables"), of_an_organization=True),
    "inventory_sources": Kind(
        "inventory_source", ("name", "description", "organization", "inventory", "source", "source_project", "source_path", "overwrite",
                             "overwrite_vars", "update_on_launch", "update_cache_timeout", "execution_environment"), removed=False,
        needed=("name", "inventory", "source_project", "source_path")),
    "job_templates": Kind(
        "job_template", ("name", "description", "playbook", "credentials", "timeout", "forks", "extra_vars", "job_tags", "skip_tags",
                         "allow_simultaneous", "survey"), of_an_organization=True, needed=("name", "playbook")),
    "workflow_job_templates": Kind(
        "workflow_job_template", ("name", "description", "organization", "inventory", "ask_limit_on_launch"), of_an_organization=True),
    "workflow_job_template_nodes": Kind(
        "workflow_job_template_node",
        ("identifier", "workflow_job_template", "unified_job_template", "approval_node", "job_type", "diff_mode", "extra_data", "success_nodes",
         "failure_nodes", "always_nodes"),
        removed=False, needed=("identifier", "workflow_job_template")),
}  # fmt: skip
NEXT = ("success_nodes", "failure_nodes", "always_nodes")
NUMBERS = {"awx_request_timeout": (1, 3600), "awx_project_timeout": (1, 7200)}
NEEDED = ("awx_name", "awx_organization", "awx_scm_url", "awx_inventory_path", "awx_machine_username")

FOREIGN = (
    "AWX has the same names elsewhere: {}. It finds many things by name alone, so set awx_name to another name, or awx_organization to the "
    "organization that has them."
)
OTHER_TYPES = (
    "AWX has credential types of these names that are not what awx/20_credential_types.yml describes: {}. If they are somebody else's, set awx_name "
    "to another name. If they are of an earlier version of that file: AWX changes no fields of a type in use, so the new version needs a new name, "
    "in awx/20_credential_types.yml and awx/30_credentials.yml (docs/awx.md)."
)
OF_OTHER_TYPES = (
    "AWX has these credentials with another credential type: {}. Name them in awx_rotate_credentials, and they are removed and made anew with the "
    "type and the secrets that awx/30_credentials.yml says; what else uses them loses them. If they are somebody else's, set awx_name to another "
    "name."
)
MISSING_SECRETS = "{}. Set the variables that awx/30_credentials.yml reads for it, in your vault, or leave its key out of {}."
HIDDEN_PROJECT = (
    "AWX does not show the project to the user of {}, so it cannot be seen whether it has its files. Let that user read the projects of the "
    "organization {} (as its administrator or auditor, say), and run this again."
)
PROJECT_ADVICE = (
    "AWX shows its output; after correcting awx_scm_url or awx_scm_branch run this again, after anything else press Sync at the project first."
)
# In which an update of a project has ended, or cannot be seen.
PROJECT_ENDS = ("successful", "failed", "error", "canceled", "missing", "hidden")
HIDDEN = "********"
# Shorter pieces of a secret are in other words, too: of a host's name, say.
PIECE = 12
# The collections that have the modules: how one gets them, and since when these take another path than /api. "*" is a collection without a version.
SOURCES = {
    "awx.awx": "ansible-galaxy collection install awx.awx, or with an AAP take ansible.controller from Automation Hub",
    "ansible.controller": "install it from Automation Hub, or take awx.awx (ansible-galaxy collection install awx.awx)",
}
OTHER_PATHS = {"awx.awx": "24.5.0", "ansible.controller": "4.6.0"}
UNKNOWN_VERSION = "*"


def key_of(kind, item):
    """What tells an object from all others of its kind."""
    parent = {"inventory_sources": "inventory", "workflow_job_template_nodes": "workflow_job_template"}.get(kind)
    if not parent:
        return item["name"]
    # AWX hands over the parent as a summary of it.
    above = item["summary_fields"][parent]["name"] if "summary_fields" in item else item[parent]
    return f"{above}/{item['identifier' if 'identifier' in item else 'name']}"


def listed(items):
    return ", ".join(str(item) for item in items)


def setting_problems(settings):
    if not settings["awx_host"]:
        yield "awx_host is empty: set it, or the environment variable CONTROLLER_HOST, to the URL of your AWX."
    if not re.match("(/[A-Za-z0-9._-]+)+$", str(settings["awx_api_path"])):
        yield f"awx_api_path is {settings['awx_api_path']}: set it to /api, or behind the gateway of AAP to /api/controller."
    if not settings["awx_token"] and not (settings["awx_username"] and settings["awx_password"]):
        yield "There is no login for AWX: set awx_token, or awx_username and awx_password."
    for name in NEEDED + (("awx_execution_environment_image",) if settings["awx_state"] == "present" else ()):
        if not str(settings[name]).strip():
            yield f"{name} is empty: set it, see ansible-doc --type role sparkflows.mlops.awx."
    if settings["awx_state"] not in ("present", "absent"):
        yield f"awx_state is {settings['awx_state']}: set it to present or absent."
    for name, (least, most) in NUMBERS.items():
        if not least <= number(settings[name]) <= most:
            yield f"{name} is {settings[name]}: set it to a number from {least} to {most}."


def key_problems(settings, keys):
    for name in ("awx_credentials_in_use", "awx_rotate_credentials"):
        if isinstance(settings[name], str):
            yield f'{name} is a text: set it to a list, for example ["sparkflows"].'
        elif any(key not in keys for key in settings[name]):
            yield f"{name} names {listed(key for key in settings[name] if key not in keys)}: there are {listed(keys)}."


def description_problems(described):
    for kind, items in described.items():
        fields, keys = KINDS[kind].fields, []
        for item in items:
            missing = [field for field in KINDS[kind].needed if field not in item]
            keys.append(item.get("name", "an entry") if missing else key_of(kind, item))
            unknown = [field for field in item if field not in (*fields, "state")]
            if unknown:
                yield f"awx_{kind}: {keys[-1]} has {listed(unknown)}: there are {listed(fields)} and state."
            if missing:
                yield f"awx_{kind}: {keys[-1]} has no {listed(missing)}."
        if len(set(keys)) < len(keys):
            yield f"awx_{kind} has a name twice: {listed(keys)}."


def awx_problems(settings, described, versions):
    return [
        *awx_collection_problems(settings["awx_collection"], versions, settings["awx_api_path"]),
        *setting_problems(settings),
        *key_problems(settings, settings["awx_credential_keys"]),
        *private_key_problems(described["credentials"]),
        *description_problems(described),
    ]


def given(item, *fields):
    return {field: item[field] for field in fields if field in item}


def filled(item, *fields):
    return {field: item[field] for field in fields if item.get(field)}


def options_of(kind, item, site):
    """What the module is given, but for name, organization and description. What is not described is left out, and AWX keeps what it has."""
    if kind == "organizations":
        return filled(item, "galaxy_credentials")
    if kind == "credential_types":
        return {"kind": item.get("kind", "cloud"), **given(item, "inputs", "injectors")}
    if kind == "credentials":
        # All inputs or none: AWX writes all of them if one that is no secret differs. They are handed over by key, and not in here.
        return {"credential_type": item["credential_type"], "update_secrets": item["key"] in site["awx_rotate_credentials"]}
    if kind == "execution_environments":
        return {"image": item["image"], "pull": item.get("pull", "missing"), **filled(item, "credential")}
    if kind == "projects":
        # The module would wait for the project's update without a limit.
        return {"scm_type": item.get("scm_type", "git"), "scm_url": item["scm_url"], "wait": False, **filled(item, "credential"),
                **given(item, "scm_branch", "scm_clean", "scm_update_on_launch", "scm_update_cache_timeout", "default_environment")}  # fmt: skip
    if kind == "inventories":
        # With no kind the module would write the inventory anew in each run.
        return {"kind": "", **given(item, "variables")}
    if kind == "inventory_sources":
        return {"source": item.get("source", "scm"), **given(item, "inventory", "source_project", "source_path", "overwrite", "overwrite_vars",
                                                             "update_on_launch", "update_cache_timeout", "execution_environment")}  # fmt: skip
    if kind == "job_templates":
        return job_template(item, site)
    if kind == "workflow_job_templates":
        return {"ask_limit_on_launch": item.get("ask_limit_on_launch", False), **given(item, "inventory")}
    # Given as workflow_nodes of the workflow, an approval would be written anew, and count as a change, in each run.
    return {"workflow_job_template": item["workflow_job_template"], "lookup_organization": site["awx_organization"],
            **given(item, "unified_job_template", "approval_node", "job_type", "diff_mode", "extra_data")}  # fmt: skip


def job_template(item, site):
    survey = item.get("survey") or []
    return {
        "project": site["awx_name"],
        "inventory": site["awx_name"],
        "execution_environment": site["awx_name"],
        "playbook": item["playbook"],
        "credentials": [site["credential_names"][key] for key in item.get("credentials", []) if key in site["credential_names"]],
        "job_type": "run",
        "timeout": item.get("timeout", 0),
        "forks": item.get("forks", 0),
        "extra_vars": item.get("extra_vars", {}),
        "job_tags": item.get("job_tags", ""),
        "skip_tags": item.get("skip_tags", ""),
        "allow_simultaneous": item.get("allow_simultaneous", False),
        "ask_job_type_on_launch": True,
        "ask_limit_on_launch": True,
        "ask_verbosity_on_launch": True,
        "ask_diff_mode_on_launch": True,
        "survey_enabled": bool(survey),
        "survey_spec": {"name": "", "description": "", "spec": survey} if survey else {},
    }


def object_of(kind, item, site, known):
    """One call of a module."""
    name = "identifier" if "identifier" in item else "name"
    options = {name: item[name], "state": state_of(item, site), **options_of(kind, item, site)}
    # Of an organization that is there already, others have said what it is.
    if not (kind == "organizations" and known):
        options.update(given(item, "description"))
    if kind not in ("organizations", "credential_types"):
        options["organization"] = item.get("organization", site["awx_organization"])
    return {"label": key_of(kind, item), "module": KINDS[kind].module, "options": options}


def ties_of(item, site):
    """Which step follows: a step can only be tied to one that is there, and the module cannot make an approval and tie it at once."""
    options = {**given(item, "identifier", "workflow_job_template"), "organization": site["awx_organization"]}
    options.update({name: item.get(name, []) for name in NEXT})
    return {"label": key_of("workflow_job_template_nodes", item), "module": "workflow_job_template_node", "options": options}


def state_of(item, site):
    return "absent" if site["awx_state"] == "absent" else item.get("state", "present")


def empty_inputs(credentials):
    """Credential's key -> the inputs for which there is nothing."""
    return {key: [name for name, value in inputs.items() if value == ""] for key, inputs in credential_inputs(credentials).items()}


def what_awx_has(answers, others, organization):
    """Kind -> keys of what is ours; and what has one of our names in another organization."""
    found, foreign = {}, []
    for kind, objects in answers.items():
        found[kind] = []
        for one in objects:
            # AWX leaves out what there is none of.
            owner = one.get("summary_fields", {}).get("organization", {}).get("name", "")
            if KINDS[kind].of_an_organization and owner != organization:
                foreign.append(f"{kind} {one['name']} ({owner or 'no organization'})")
            elif not (kind == "credentials" and one["id"] in others):
                found[kind].append(key_of(kind, one))
    return found, foreign


def conflicts(described, answers, settings, foreign, others, found):
    """What stands in the way of the descriptions, in sentences."""
    rotated, present = settings["awx_rotate_credentials"], settings["awx_state"] == "present"
    if foreign:
        yield FOREIGN.format(", ".join(foreign))
    types = credential_type_problems(described["credential_types"], answers["credential_types"])
    if types and present:
        yield OTHER_TYPES.format("; ".join(types))
    told = [one["told"] for one in others if one["key"] not in rotated]
    if told:
        yield OF_OTHER_TYPES.format("; ".join(told))
    empty = empty_inputs(described["credentials"])
    missing = [f"{one['name']} ({one['key']}) needs {', '.join(empty[one['key']])}" for one in described["credentials"]
               if empty[one["key"]] and (one["key"] in rotated or one["name"] not in found["credentials"])]  # fmt: skip
    if missing and present:
        yield MISSING_SECRETS.format("; ".join(missing), "awx_credentials_in_use" + (" and awx_rotate_credentials" if rotated else ""))


def awx_plan(described, answers, settings, check_mode=False):
    site = {**settings, "credential_names": {one["key"]: one["name"] for one in described["credentials"]}}
    others = credentials_of_other_types(described["credentials"], answers["credentials"], settings["awx_organization"])
    found, foreign = what_awx_has(answers, {one["id"] for one in others}, settings["awx_organization"])
    empty = empty_inputs(described["credentials"])
    objects, new = {}, []
    for kind, items in described.items():
        objects[kind], ties = [], []
        for item in items:
            known, state = key_of(kind, item) in found.get(kind, []), state_of(item, site)
            if not known and item.get("state", "present") == "present":
                new.append(f"{kind}: {key_of(kind, item)}")
            # What is to be removed may be gone. In check mode, what refers to things that are not there yet cannot be compared.
            if not known and (state == "absent" or check_mode):
                continue
            one = object_of(kind, item, site, known)
            if kind == "credentials":
                one["inputs"] = "" if empty[item["key"]] else item["key"]
            objects[kind].append(one)
            if kind == "workflow_job_template_nodes" and state == "present":
                ties.append(ties_of(item, site))
        objects[kind] += ties
    return {
        "problems": list(conflicts(described, answers, settings, foreign, others, found)),
        "objects": objects,
        "new": new,
        "replaced": [one for one in others if one["key"] in settings["awx_rotate_credentials"]],
    }


def awx_kinds(state="present"):
    return [kind for kind in reversed(KINDS) if KINDS[kind].removed] if state == "absent" else list(KINDS)


def censored(text, secrets):
    """Also a secret of which only a part is there."""
    lines = [line for secret in secrets for line in str(secret).splitlines() if line]
    hide = [False] * len(text)
    for line in lines:
        size = min(PIECE, len(line))
        pieces = {line[at : at + size] for at in range(len(line) - size + 1)}
        for at in range(len(text) - size + 1):
            if text[at : at + size] in pieces:
                hide[at : at + size] = [True] * size
    shown = "".join("\0" if hidden else char for char, hidden in zip(text, hide))
    return re.sub("\0+", HIDDEN, shown)


def comparable(kind):
    """What makes jobs get what they get; AWX adds the type of a field where none is given."""
    inputs = kind.get("inputs") or {}
    fields = {field["id"]: dict({"type": "string"}, **field) for field in inputs.get("fields", [])}
    required = sorted(inputs.get("required", []))
    return {"fields": fields, "required": required, "injectors": kind.get("injectors") or {}, "kind": kind.get("kind", "cloud")}


def credential_type_problems(described, found):
    problems = []
    for kind in described:
        for other in (other for other in found if other["name"] == kind["name"]):
            ours, theirs = comparable(kind), comparable(other)
            parts = [part for part in ours if ours[part] != theirs[part]]
            if parts and kind.get("state", "present") == "present":
                problems.append(f"{kind['name']} (other {', '.join(parts)})")
    return problems


def credential_inputs(credentials):
    """What there is to send, by key. An optional input that is empty is left out: AWX would not keep it, and it would differ in each run."""
    return {
        one["key"]: {name: value for name, value in one["inputs"].items() if value != "" or name not in one.get("optional", [])}
        for one in credentials
    }


def private_key_problems(credentials):
    problems = []
    for one in credentials:
        inputs = one.get("inputs", {})
        key = str(inputs.get("ssh_key_data") or "")
        problem = private_key_problem(key, str(inputs.get("ssh_key_unlock") or "")) if key else ""
        if problem:
            variables = " (awx_machine_key, awx_machine_key_passphrase)" if one["key"] == "machine" else ""
            problems.append(f"The private key of {one.get('name', one['key'])}{variables} {problem}.")
    return problems


def credentials_of_other_types(credentials, found, organization):
    """Those that AWX has by our names in our organization, and that are something else."""
    others = []
    for one in credentials:
        for other in found:
            summary = other["summary_fields"]
            kind = summary["credential_type"]
            ours = other["name"] == one["name"] and summary.get("organization", {}).get("name") == organization
            if ours and kind["name"] != one["credential_type"]:
                told = f"{one['name']} ({one['key']}) is of the type {kind['name']}, not {one['credential_type']}"
                others.append({"id": other["id"], "key": one["key"], "name": one["name"], "type": kind["name"], "told": told})
    return others


def credential_results(results, inputs):
    """What came of each credential, as it may be shown."""
    secrets = [value for one in inputs.values() for value in one.values()]
    told = []
    for result in results:
        refusal = result.get("msg", "")
        answer = (result.get("response") or {}).get("json")
        if answer:
            refusal += f": {answer}"
        told.append({"name": result["item"]["label"], "changed": result.get("changed", False), "refusal": censored(refusal, secrets)})
    return told


def project_problems(answers, settings):
    """Of projects that have no files yet."""
    problems = []
    for answer in (answer for answer in answers if not answer.get("skipped")):
        state, name = project_state(answer), answer["item"]["name"]
        if state == "hidden":
            problems.append(HIDDEN_PROJECT.format("awx_token" if settings["awx_token"] else "awx_username", settings["awx_organization"]))
        elif state != "successful":
            ended = state in PROJECT_ENDS
            said = f"ended as {state}" if ended else f"is {state} after {settings['awx_project_timeout']} seconds (awx_project_timeout)"
            problems.append(f"The update of the project {name} {said}. {PROJECT_ADVICE}")
    return problems


def project_has_ended(answer):
    return project_state(answer) in PROJECT_ENDS


def project_state(answer):
    """The state of the project that was asked for, or why there is none."""
    if "results" in answer.get("json", {}):
        return next((project["status"] for project in answer["json"]["results"]), "hidden")
    return "hidden" if answer.get("status") in (401, 403, 404) else "unknown"


def awx_collection_problems(collection, versions, api_path="/api"):
    """Of the collection whose modules are to be used, of which a module would only say "not found"."""
    version = versions.get(collection)
    if not version:
        installed = [f"{name} {version}" for name, version in versions.items() if version]
        other = f"; or set awx_collection to what is installed, {installed[0]}" if installed else ""
        return [f"The collection {collection} (awx_collection) is not installed: {SOURCES[collection]}{other}."]
    if api_path != "/api" and version != UNKNOWN_VERSION and LooseVersion(version) < LooseVersion(OTHER_PATHS[collection]):
        return [f"{collection} {version} asks below /api only: awx_api_path {api_path} needs {OTHER_PATHS[collection]} or newer."]
    return []
