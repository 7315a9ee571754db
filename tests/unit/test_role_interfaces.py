"""A role's argument spec is its documentation and its contract: it must say exactly what the defaults have."""

import functools
from pathlib import Path

import pytest
import role_readmes
import yaml

COLLECTION = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (COLLECTION / "roles").iterdir() if (path / "defaults").is_dir())
PREFIXES = {"topology": "mlops", "offline_scoring": "score_offline"}
TYPES = {"str": str, "path": str, "int": int, "bool": bool, "list": list, "dict": dict, "float": float}


@functools.cache
def load(role, name):
    path = COLLECTION / "roles" / role / name
    return yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader) or {} if path.exists() else {}


@pytest.fixture(name="specs", params=ROLES)
def fixture_specs(request):
    return request.param, load(request.param, "meta/argument_specs.yml")["argument_specs"]


def test_options_are_the_defaults(specs):
    role, entry_points = specs
    assert set(entry_points["preflight"]["options"]) == set(load(role, "defaults/main.yml"))


def test_every_entry_point_has_a_spec(specs):
    role, entry_points = specs
    # Ansible would check that of a dependency again in each play.
    assert set(entry_points) & {"main", "preflight"} == ({"preflight"} if role == "topology" else {"main", "preflight"})
    assert all(entry_points[name]["options"] == entry_points["preflight"]["options"] for name in {"main", "preflight"} & set(entry_points))


def test_options_are_documented_and_typed(specs):
    role, entry_points = specs
    defaults = load(role, "defaults/main.yml")
    for name, option in entry_points["preflight"]["options"].items():
        assert option.get("description"), name
        assert option.get("type") in TYPES, name
        assert option["type"] != "list" or option.get("elements"), name
        template = "{{" in str(defaults[name])
        if "default" in option:
            assert option["default"] == defaults[name], name
        elif not template:
            # A literal default has to be told; an expression is told in words.
            assert option.get("required") or defaults[name] in (None, "", [], {}), name


def test_variables_carry_the_name_of_their_role(specs):
    role, _entry_points = specs
    prefix = PREFIXES.get(role, role)
    assert all(name.startswith(prefix + "_") for name in load(role, "defaults/main.yml"))
    assert all(name.startswith("_") and name.lstrip("_").startswith(prefix + "_") for path in (COLLECTION / "roles" / role / "vars").rglob("*.yml")
               for name in yaml.safe_load(path.read_text(encoding="utf-8")))  # fmt: skip


def test_roles_are_alike(specs):
    role, _entry_points = specs
    # The role awx works on an AWX and not on the hosts that the topology is about.
    if role not in ("topology", "awx"):
        assert load(role, "meta/main.yml")["dependencies"] == [{"role": "sparkflows.mlops.topology"}]
        assert (COLLECTION / "roles" / role / "tasks" / "preflight.yml").exists()


def first_of(tasks):
    return first_of(tasks[0]["block"]) if "block" in tasks[0] else tasks[0]


def test_arguments_are_checked_once():
    """By the entry point preflight, which a role includes where nobody has yet. Who calls the role leaves it to that."""
    callers = [*COLLECTION.glob("playbooks/*.yml"), *COLLECTION.glob("roles/*/tasks/*.yml")]
    calls = [role for path in callers for role in called(yaml.safe_load(path.read_text(encoding="utf-8")))]
    assert len(calls) > 15
    assert [role["name"] for role in calls if role.get("rolespec_validate") is not False] == []
    for name in {role["name"].split(".")[-1] for role in calls if "{" not in role["name"]}:
        check = first_of(load(name, "tasks/main.yml"))["ansible.builtin.include_role"]
        assert (check["name"], check["tasks_from"]) == (f"sparkflows.mlops.{name}", "preflight")


def called(nodes):
    """Each include or import of a whole role of ours."""
    for node in nodes or []:
        for part in ("block", "rescue", "always", "pre_tasks", "tasks", "post_tasks"):
            yield from called(node.get(part))
        role = node.get("ansible.builtin.import_role") or node.get("ansible.builtin.include_role") or {}
        # Topology has no spec of its main entry point.
        if role.get("name", "").startswith("sparkflows.mlops.") and role["name"] != "sparkflows.mlops.topology" and "tasks_from" not in role:
            yield role


def test_readme_says_what_the_spec_says(specs):
    role, _entry_points = specs
    path = COLLECTION / "roles" / role / "README.md"
    written = path.read_text(encoding="utf-8") if path.exists() else None
    assert written == role_readmes.readme(role), f"{path.relative_to(COLLECTION)} is not of the argument spec that is there. Run: make readmes"


def test_who_includes_in_a_loop_leaves_item_to_what_is_included():
    """Where that has a loop of its own, Ansible warns that `item` is in use, and each means another."""

    def includes(nodes):
        # Beside playbooks and tasks there are inventories and settings.
        for node in nodes if isinstance(nodes, list) else []:
            for part in ("block", "rescue", "always", "pre_tasks", "tasks", "post_tasks", "handlers"):
                yield from includes(node.get(part))
            if "loop" in node and any(name.startswith("ansible.builtin.include_") for name in node):
                yield node

    patterns = ("playbooks/*.yml", "roles/*/tasks/*.yml", "tests/lab/*.yml", "molecule/*/*.yml")
    found = [(path.name, node) for pattern in patterns for path in sorted(COLLECTION.glob(pattern))
             for node in includes(yaml.safe_load(path.read_text(encoding="utf-8")))]  # fmt: skip
    assert len(found) > 5
    assert [(name, node["name"]) for name, node in found if "loop_var" not in node.get("loop_control", {})] == []
