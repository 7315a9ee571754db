"""The kinds of objects that AWX has: their fields (fields.json), and how they hang together."""

from __future__ import annotations

import json
from pathlib import Path

DATA = json.loads(Path(__file__).with_name("fields.json").read_text(encoding="utf-8"))
RESOURCES = DATA["resources"]
ENCRYPTED = "$encrypted$"
TIME = "2024-10-23T12:00:00.000000Z"

# What a field of type id refers to.
REFERS = {
    "organization": "organizations",
    "inventory": "inventories",
    "project": "projects",
    "source_project": "projects",
    "credential_type": "credential_types",
    "credential": "credentials",
    "webhook_credential": "credentials",
    "signature_validation_credential": "credentials",
    "execution_environment": "execution_environments",
    "default_environment": "execution_environments",
    "workflow_job_template": "workflow_job_templates",
    "unified_job_template": "unified_job_templates",
    "user": "users",
    "team": "teams",
}
UNIFIED = ("projects", "inventory_sources", "job_templates", "workflow_job_templates", "workflow_approval_templates")
# What must be unique, and how AWX says that it is not.
UNIQUE = {
    "organizations": (("name",), "Organization with this Name already exists."),
    "credential_types": (("name", "kind"), "Credential type with this Name and Kind already exists."),
    "credentials": (("organization", "name", "credential_type"), "Credential with this Organization, Name and Credential type already exists."),
    "execution_environments": (("name",), "Execution environment with this Name already exists."),
    "projects": (("organization", "name"), "Project with this (organization, name) combination already exists."),
    "inventories": (("name", "organization"), "Inventory with this Name and Organization already exists."),
    "inventory_sources": (("inventory", "name"), "InventorySource with this (inventory, name) combination already exists."),
    "job_templates": (("organization", "name"), "JobTemplate with this (organization, name) combination already exists."),
    "workflow_job_templates": (("organization", "name"), "WorkflowJobTemplate with this (organization, name) combination already exists."),
    "workflow_job_template_nodes": (
        ("identifier", "workflow_job_template"),
        "Workflow job template node with this Identifier and Workflow job template already exists.",
    ),
}
# The lists that may be tied to an object, and of what.
ASSOCIATIONS = {
    ("organizations", "galaxy_credentials"): "credentials",
    ("job_templates", "credentials"): "credentials",
    ("workflow_job_template_nodes", "success_nodes"): "workflow_job_template_nodes",
    ("workflow_job_template_nodes", "failure_nodes"): "workflow_job_template_nodes",
    ("workflow_job_template_nodes", "always_nodes"): "workflow_job_template_nodes",
}
# What goes when an object goes: the field that refers to it.
GOES_WITH = {
    "organizations": [
        ("projects", "organization"), ("inventories", "organization"), ("credentials", "organization"),
        ("workflow_job_templates", "organization"), ("job_templates", "organization"),
    ],
    "inventories": [("inventory_sources", "inventory")],
    "workflow_job_templates": [("workflow_job_template_nodes", "workflow_job_template")],
}  # fmt: skip
