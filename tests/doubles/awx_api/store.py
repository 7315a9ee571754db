"""The objects: found, made, changed and removed, as the rules of their kinds allow it."""

from __future__ import annotations

import uuid

from .credential_types import check_credential_types, users_of_type
from .credentials import check_credentials
from .fields import clean
from .kinds import ASSOCIATIONS, DATA, GOES_WITH, REFERS, RESOURCES, UNIFIED, UNIQUE
from .projects import check_projects, start_update
from .refusals import Refusal, refuse
from .templates import (
    check_execution_environments,
    check_inventories,
    check_inventory_sources,
    check_job_templates,
    check_workflow_job_template_nodes,
)

# The rules across fields, by kind: check(store, new, data, found). `new` is the object as it would be stored (dict; a rule may complete it),
# `data` the body that it was made of, `found` what is stored so far (None of a new one). Refusal if it must not be stored.
CHECKS = {
    "credential_types": check_credential_types,
    "credentials": check_credentials,
    "execution_environments": check_execution_environments,
    "inventories": check_inventories,
    "inventory_sources": check_inventory_sources,
    "job_templates": check_job_templates,
    "projects": check_projects,
    "workflow_job_template_nodes": check_workflow_job_template_nodes,
}


class Store:
    """What is stored, secrets included: `objects[kind][id]` (dict of fields), `surveys[id of a template]` (dict), `tokens[id]` (str).

    The rules are functions of it, each in the file of its kind. `last` is the id (int) given last.
    """

    def __init__(self, settings):
        self.settings = settings
        self.objects = {kind: {} for kind in [*RESOURCES, "workflow_approval_templates", "project_updates", "users", "teams"]}
        self.lists = {}  # (kind, id, list): ids
        self.surveys = {}
        self.tokens = {}
        self.last = 100
        for managed in DATA["managed_credential_types"]:
            self.objects["credential_types"][managed["id"]] = dict(managed, managed=True)
        # AWX comes with it, outside of any organization.
        galaxy = next(kind["id"] for kind in DATA["managed_credential_types"] if kind["kind"] == "galaxy")
        self.objects["credentials"][2] = {"id": 2, "name": "Ansible Galaxy", "description": "", "organization": None, "credential_type": galaxy,
                                          "inputs": {"url": "https://galaxy.ansible.com/"}, "managed": True}  # fmt: skip
        for number, name in enumerate(settings.users, 1):
            self.objects["users"][number] = {"id": number, "username": name}

    def find(self, kind, number):
        """The stored object (dict) of a kind, which may be "unified_job_templates"; None if it is not there."""
        kinds = UNIFIED if kind == "unified_job_templates" else (kind,)
        for one in kinds:
            if number in self.objects[one]:
                return self.objects[one][number]
        return None

    def kind_of(self, number):
        """The kind (str) of a unified job template."""
        return next((kind for kind in UNIFIED if number in self.objects[kind]), None)

    def need(self, kind, number):
        """As find; Refusal 404 if it is not there."""
        found = self.find(kind, number)
        if found is None:
            raise Refusal(404, {"detail": "Not found."})
        return found

    def listed(self, kind, number, name):
        """The ids (list of int, to be changed in place) that are tied to an object in a list of it."""
        return self.lists.setdefault((kind, number, name), [])

    def create(self, kind, data):
        """The new object (dict) that is stored of a body (dict); Refusal."""
        cleaned = clean(self, kind, data, None)
        new = dict(cleaned, id=self.last + 1)
        for name in [name for name, rules in RESOURCES[kind]["POST"].items() if rules.get("write_only")]:
            new.pop(name)
        self.check(kind, new, data, None)
        self.last += 1
        self.objects[kind][new["id"]] = new
        if kind == "projects" and new["scm_type"]:
            start_update(self, new)
        return new

    def change(self, kind, found, data):
        """The stored object `found` (dict) after a change by a body (dict); Refusal."""
        if kind == "credential_types" and found.get("managed"):
            raise Refusal(403, {"detail": "Modifications not allowed for managed credential types"})
        cleaned = clean(self, kind, data, found)
        changed = dict(found, **cleaned)
        self.check(kind, changed, data, found)
        before = {name: found.get(name) for name in ("scm_type", "scm_url", "scm_branch", "scm_refspec")}
        found.update(changed)
        if kind == "projects" and found["scm_type"] and before != {name: found.get(name) for name in before}:
            start_update(self, found)
        return found

    def check(self, kind, new, data, found):
        """The rules of a kind across fields, see CHECKS, and what must be unique."""
        if kind == "workflow_job_template_nodes" and not new["identifier"]:
            new["identifier"] = str(uuid.uuid4())
        if kind in CHECKS:
            CHECKS[kind](self, new, data, found)
        fields, message = UNIQUE[kind]
        for other in self.objects[kind].values():
            if other["id"] != new["id"] and all(other.get(field) == new.get(field) for field in fields):
                refuse(fields[0] if len(fields) == 1 else "__all__", message)

    def delete(self, kind, found):
        """Removes a stored object (dict) if that is allowed: the status (int) of the answer, or Refusal."""
        if kind == "credential_types":
            if found.get("managed"):
                raise Refusal(403, {"detail": "Deletion not allowed for managed credential types"})
            if users_of_type(self, found):
                raise Refusal(403, {"detail": "Credential types that are in use cannot be deleted"})
        if kind == "projects":
            running = [u for u in self.objects["project_updates"].values() if u["project"] == found["id"] and u["status"] in ("pending", "running")]
            if running:
                jobs = [{"id": update["id"], "type": "project_update"} for update in running]
                raise Refusal(409, {"error": "Resource is being used by running jobs.", "active_jobs": jobs})
        self.remove(kind, found["id"])
        # An inventory is removed in the background.
        return 202 if kind == "inventories" else 204

    def remove(self, kind, number):
        """Removes an object with all that goes with it, and every reference to it."""
        for other, field in GOES_WITH.get(kind, []):
            for one in [one["id"] for one in self.objects[other].values() if one.get(field) == number]:
                self.remove(other, one)
        self.objects[kind].pop(number)
        self.surveys.pop(number, None)
        self.lists = {key: value for key, value in self.lists.items() if key[:2] != (kind, number)}
        for (of, _number, name), listed in self.lists.items():
            if ASSOCIATIONS[of, name] == kind and number in listed:
                listed.remove(number)
        for other, objects in self.objects.items():
            for one in objects.values():
                for field in RESOURCES.get(other, {"POST": {}})["POST"]:
                    refers = REFERS.get(field)
                    if one.get(field) == number and (refers == kind or (refers == "unified_job_templates" and kind in UNIFIED)):
                        one[field] = None
