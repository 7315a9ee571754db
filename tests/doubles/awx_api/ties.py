"""The lists of objects that are tied to one: credentials of a template, and the ways from node to node of a workflow."""

from __future__ import annotations

from .kinds import ASSOCIATIONS
from .refusals import Refusal

EDGES = ("success_nodes", "failure_nodes", "always_nodes")


def tie(store, kind, number, name, data):
    """Adds the object of a body ({"id": int}) to the list `name` of an object, or takes it out ("disassociate"). Refusal 400 or 404."""
    other = data.get("id")
    listed = store.listed(kind, number, name)
    if not isinstance(other, int):
        raise Refusal(400, {"msg": '"id" is required to disassociate' if data.get("disassociate") else '"id" field must be an integer.'})
    found = store.need(ASSOCIATIONS[kind, name], other)
    if data.get("disassociate"):
        if other in listed:
            listed.remove(other)
        return
    if name == "credentials":
        same = [one for one in listed if store.objects["credentials"][one]["credential_type"] == found["credential_type"] and one != other]
        if same:
            of = store.objects["credential_types"][found["credential_type"]]["name"]
            raise Refusal(400, {"error": f"Cannot assign multiple {of} credentials."})
    elif name == "galaxy_credentials":
        of = store.objects["credential_types"][found["credential_type"]]
        if of["kind"] != "galaxy":
            raise Refusal(400, {"msg": f"Credential must be a Galaxy credential, not {of['name']}."})
    elif name in EDGES:
        # By the same way once more changes nothing; by another one is refused.
        if any(other in store.listed(kind, number, edge) for edge in EDGES if edge != name):
            raise Refusal(400, {"Error": "Relationship not allowed."})
        if other == number or number in following(store, other):
            raise Refusal(400, {"Error": "Cycle detected."})
    if other not in listed:
        listed.append(other)


def following(store, number):
    """The ids (set of int) of the nodes that come after one, however far."""
    seen, ahead = set(), [number]
    while ahead:
        one = ahead.pop()
        for edge in EDGES:
            for after in store.listed("workflow_job_template_nodes", one, edge):
                if after not in seen:
                    seen.add(after)
                    ahead.append(after)
    return seen
