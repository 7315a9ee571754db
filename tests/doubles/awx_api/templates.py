"""Templates of jobs and workflows, and the inventories and execution environments that jobs run with."""

from __future__ import annotations

import re

from .credentials import check_kind
from .fields import parse_variables
from .projects import playbooks_of
from .refusals import Refusal, refuse

NODE_PROMPTS = ("limit", "job_type", "diff_mode", "verbosity", "scm_branch", "job_tags", "skip_tags", "forks", "job_slice_count", "timeout")


def check_execution_environments(store, new, data, found):
    if not re.match(r"^[a-zA-Z0-9][\w.-]*(:\d+)?(/[\w.-]+)*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?$", new["image"]):
        refuse("image", f"The container image name {new['image']} is not valid")
    check_kind(store, "credential", new, "registry")


def check_inventories(store, new, data, found):
    if new["kind"] == "smart" and not new["host_filter"]:
        refuse("host_filter", "Smart inventories must specify host_filter")


def check_inventory_sources(store, new, data, found):
    if not new["source"] and not found:
        refuse("source", '"" is not a valid choice.')
    parse_variables("source_vars", new["source_vars"])
    if new["source"] == "scm":
        if new["source_project"] is None:
            refuse("source_project", "Project required for scm type sources.")
        if not store.objects["projects"][new["source_project"]]["scm_type"]:
            refuse("source_project", "Cannot use manual project for SCM-based inventory.")


def check_job_templates(store, new, data, found):
    project = store.objects["projects"].get(new["project"])
    if project is None:
        refuse("project", "Job Templates must have a project assigned.")
    if not new["playbook"]:
        refuse("playbook", "Must select playbook for project.")
    if not (project["scm_type"] and project["allow_override"]) and new["playbook"] not in playbooks_of(store, project):
        refuse("playbook", "Playbook not found for project.")
    if new["scm_branch"] and not project["allow_override"]:
        refuse("scm_branch", "Project does not allow overriding branch.")
    if new["inventory"] is None and not new["ask_inventory_on_launch"]:
        refuse("inventory", "You must either set a default value or ask to prompt on launch.")
    new["organization"] = project["organization"]


def check_workflow_job_template_nodes(store, new, data, found):
    template = store.find("unified_job_templates", new["unified_job_template"])
    if template is None:
        return
    for name in NODE_PROMPTS:
        prompts = template.get("ask_tags_on_launch" if name == "job_tags" else f"ask_{name}_on_launch")
        if new.get(name) not in (None, "") and name in data and not prompts:
            refuse(name, "Field is not configured to prompt on launch.")
    if new["extra_data"]:
        survey = store.surveys.get(template["id"], {}).get("spec", []) if template.get("survey_enabled") else []
        asked = {question["variable"]: question for question in survey}
        unknown = [name for name in new["extra_data"] if name not in asked]
        if unknown and not template.get("ask_variables_on_launch"):
            raise Refusal(400, {"extra_data": [
                f"Variables {', '.join(unknown)} are not allowed on launch. Check the Prompt on Launch setting on the Job Template "
                "to include Extra Variables."
            ]})  # fmt: skip
        problems = []
        for name, answer in new["extra_data"].items():
            choices = asked.get(name, {}).get("choices")
            choices = choices.split("\n") if isinstance(choices, str) else choices
            if asked.get(name, {}).get("type") == "multiplechoice" and answer not in choices:
                problems.append(f"Value {answer} for '{name}' expected to be one of {choices}.")
        if problems:
            raise Refusal(400, {"variables_needed_to_start": problems})


def create_approval(store, node, data):
    """Puts a new approval, made of a body (dict), into a workflow's node (dict): its template (dict), or Refusal 400."""
    name = data.get("name") or ""
    if not name:
        refuse("name", "This field may not be blank." if "name" in data else "This field is required.")
    store.last += 1
    template = {"id": store.last, "name": name, "description": data.get("description", ""), "timeout": int(data.get("timeout") or 0)}
    store.objects["workflow_approval_templates"][store.last] = template
    node["unified_job_template"] = store.last
    return template
