"""Projects: where they come from, their updates, and the playbooks they have."""

from __future__ import annotations

import re

from .credentials import check_kind
from .kinds import TIME
from .refusals import refuse


def check_projects(store, new, data, found):
    if new["scm_type"]:
        if not new["scm_url"]:
            refuse("scm_url", "SCM URL is required.")
        new["local_path"] = f"_{new['id']}__{re.sub('[^a-z0-9]+', '_', new['name'].lower())}"
    else:
        if new["scm_update_on_launch"] or new["scm_delete_on_update"] or new["scm_clean"]:
            name = next(name for name in ("scm_update_on_launch", "scm_delete_on_update", "scm_clean") if new[name])
            refuse(name, "Update options must be set to false for manual projects.")
        taken = [project["local_path"] for project in store.objects["projects"].values() if project["id"] != new["id"]]
        # Said of a folder that is not there, too.
        if new["local_path"] and (new["local_path"] in taken or new["local_path"] not in store.settings.folders):
            refuse("local_path", "This path is already being used by another manual project.")
    check_kind(store, "credential", new, "scm")
    new.setdefault("status", "ok" if not new["scm_type"] else "never updated")
    new.setdefault("scm_revision", "")


def start_update(store, project):
    """Adds a pending update of a project (dict)."""
    number = len(store.objects["project_updates"]) + 1
    store.objects["project_updates"][number] = {
        "id": number, "project": project["id"], "name": project["name"], "status": "pending",
        "looks": store.settings.update_looks, "finished": None, "failed": False,
    }  # fmt: skip
    project["status"] = "pending"


def look_at_updates(store):
    """One step of each update that has not ended: time passes only when somebody looks."""
    for update in store.objects["project_updates"].values():
        if update["status"] not in ("pending", "running"):
            continue
        update["looks"] -= 1
        update["status"] = "running" if update["looks"] > 0 else store.settings.update_result
        project = store.objects["projects"].get(update["project"])
        if update["looks"] <= 0:
            update.update(finished=TIME, failed=update["status"] != "successful")
        if project is not None:
            project["status"] = update["status"]
            if update["status"] == "successful":
                project["scm_revision"] = "0123456789abcdef0123456789abcdef01234567"


def playbooks_of(store, project):
    """The paths (list of str) of the playbooks that a project (dict) has by now."""
    if not project["scm_type"]:
        return store.settings.folders.get(project["local_path"], [])
    return store.settings.playbooks if project["scm_revision"] else []
