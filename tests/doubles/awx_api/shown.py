"""What is shown of the objects: one, or those of a list that a filter lets through."""

from __future__ import annotations

import copy

from .credential_types import secret_fields
from .kinds import ASSOCIATIONS, ENCRYPTED, REFERS, RESOURCES, TIME, UNIFIED
from .refusals import Refusal


def url_of(store, kind, number):
    """The path of one object (str), as answers have it."""
    return f"{store.settings.prefix}v2/{kind}/{number}/"


def show(store, kind, found):
    """The answer (dict) that has the stored object `found`: all fields of its kind, what it refers to, no secrets."""
    number = found["id"]
    shown = {name: None for name in RESOURCES.get(kind, {"GET": []})["GET"]}
    shown.update(copy.deepcopy(found))
    related, summary = {}, {}
    for field, of in REFERS.items():
        other = store.find(of, found.get(field)) if found.get(field) is not None else None
        if other is not None:
            related[field] = url_of(store, store.kind_of(other["id"]) if of == "unified_job_templates" else of, other["id"])
            summary[field] = {"id": other["id"], "name": other.get("name", ""), "description": other.get("description", "")}
    if kind in ("job_templates", "workflow_job_templates"):
        related["survey_spec"] = url_of(store, kind, number) + "survey_spec/"
    if kind == "projects":
        for update in store.objects["project_updates"].values():
            if update["project"] == number and update["status"] in ("pending", "running"):
                summary["current_update"] = {"id": update["id"], "status": update["status"], "failed": False}
    if kind == "inventory_sources" and found.get("inventory"):
        organization = store.find("organizations", store.find("inventories", found["inventory"])["organization"])
        summary["organization"] = {"id": organization["id"], "name": organization["name"], "description": ""}
    for of, name in ASSOCIATIONS:
        if of == kind:
            related[name] = f"{url_of(store, kind, number)}{name}/"
            if of == "workflow_job_template_nodes":
                shown[name] = list(store.listed(kind, number, name))
    if kind == "credentials":
        secret = secret_fields(store, found["credential_type"])
        shown["inputs"] = {name: ENCRYPTED if name in secret and value else value for name, value in found["inputs"].items()}
    shown.update(
        id=number,
        type="workflow_approval_template" if kind == "workflow_approval_templates" else RESOURCES.get(kind, {"type": kind[:-1]})["type"],
        url=url_of(store, kind, number),
        related=related,
        summary_fields=summary,
        created=TIME,
        modified=TIME,
    )
    return shown


def select(store, kind, query):
    """The answers (list of dict, see show) to a query (dict of str). Refusal 400 if it filters by what is not a field."""
    kinds = [name for name in UNIFIED if name != "workflow_approval_templates"] if kind == "unified_job_templates" else [kind]
    shown = [show(store, one, found) for one in kinds for found in store.objects[one].values()]
    known = {"id", "type", "name"} if kind == "unified_job_templates" else set(RESOURCES.get(kind, {"GET": ["id", "username", "name"]})["GET"])
    known |= {"organization"} if kind == "unified_job_templates" else set()
    for key, value in query.items():
        if key in ("page", "page_size", "order_by"):
            continue
        field, _mark, how = key.partition("__")
        if field not in known or how not in ("", "in", "exact"):
            model = "".join(word.capitalize() for word in RESOURCES.get(kind, {"type": "unified_job_template"})["type"].split("_"))
            raise Refusal(400, {"detail": f"{model} has no field named '{field}'"})
        wanted = value.split(",") if how == "in" else [value]
        shown = [one for one in shown if str(one.get(field)) in wanted]
    return shown
