"""The role offline_scoring on this computer, with a method that is made of shell: what every method can rely on."""

from __future__ import annotations

import json
import os

import pytest
import yaml
from playbook_run import LOCAL, UNSEEN, run_with

CALM = "x,name\n1,a\n2,b\n"
IDENTITY = [
    {
        "name": "Note what scores",
        "ansible.builtin.set_fact": {"score_offline_identity": {"method": "registered_model", "model": {"version": "{{ version }}"}}},
    }
]
SCORE = [
    {
        "name": "Add a column",
        "ansible.builtin.shell": {
            "cmd": "sed -e '1s/$/,prediction/' -e '2,$s/$/,0.5/' '{{ item.path }}' {{ filter | default('') }} > '{{ item.staged }}'"
        },
        "loop": "{{ score_offline_pending }}",
    },
    {
        "name": "Give up",
        "ansible.builtin.fail": {"msg": "the engine is on fire"},
        "when": "fire | default(false) | bool",
    },
    {
        "name": "Note what failed",
        "ansible.builtin.set_fact": {"score_offline_failures": "{{ failures | default({}) }}"},
    },
]


class Role:
    def __init__(self, folder):
        self.folder, self.input, self.output = folder, folder / "in put", folder / "out put"
        self.input.mkdir()
        tasks = folder / "roles" / "fake" / "tasks"
        tasks.mkdir(parents=True)
        (tasks / "identity.yml").write_text(yaml.safe_dump(IDENTITY))
        (tasks / "score.yml").write_text(yaml.safe_dump(SCORE))
        host = {"scoring.example": {**LOCAL, **UNSEEN, "ansible_become": False}}
        (folder / "hosts.json").write_text(json.dumps({"mlflow": {"hosts": host}, "scorers": {}}))
        self.variables = {
            "score_offline_method": "registered_model",
            "score_offline_model_name": "risk",
            "score_offline_model_version": "1",
            "score_offline_input": str(self.input),
            "score_offline_output": str(self.output),
            "score_offline_timeout": "60",  # a text, as a survey gives it
            "version": "1",
            "_score_offline_methods": {
                "registered_model": {"role": "fake", "identity": "identity", "score": "score", "formats": ["csv"], "quotation": "doubled"},
                "scorer_image": {"role": "fake", "identity": "identity", "score": "score", "formats": ["csv"], "quotation": "doubled"},
                "workflow": {"role": "fake", "identity": "identity", "score": "score", "formats": ["csv"], "quotation": "doubled"},
            },
        }

    def put(self, **files):
        for name, content in files.items():
            (self.input / f"{name}.csv").write_text(content, encoding="utf-8")

    def run(self, *arguments, **variables):
        """The return code; what was said is in `said` and `text`, the number of changes in `changed`."""
        done = run_with(self.folder, {**self.variables, **variables}, *arguments, "playbooks/score_offline.yml",
                        ANSIBLE_ROLES_PATH=str(self.folder / "roles"), ANSIBLE_SHOW_CUSTOM_STATS="1")  # fmt: skip
        self.said, self.text, self.changed = done.output, done.text, done.changed.get("scoring.example")
        return done.returncode

    @property
    def left(self):
        return sorted(os.listdir(self.output)) if self.output.exists() else None

    @property
    def manifest(self):
        return json.loads((self.output / "manifest.json").read_text(encoding="utf-8"))["files"]


@pytest.fixture(name="role")
def fixture_role(tmp_path):
    return Role(tmp_path)


def test_check_then_scored_then_nothing_to_do_then_what_changed(role):
    role.put(a=CALM, b=CALM)
    assert role.run("--check") == 0, role.said
    assert role.left is None and "to_score: - a.csv - b.csv" in role.text

    assert role.run() == 0, role.said
    assert role.left == ["a.csv", "b.csv", "manifest.json"] and "scored: - a.csv - b.csv" in role.text
    assert (role.output / "a.csv").read_text() == "x,name,prediction\n1,a,0.5\n2,b,0.5\n"
    assert role.manifest["a.csv"]["scored_by"] == {"method": "registered_model", "model": {"version": "1"}}
    assert "CUSTOM STATS" in role.said and " rows: 4 " in role.text.split("CUSTOM STATS")[1]

    assert role.run() == 0 and role.changed == 0, role.said
    role.put(b=CALM + "3,c\n")
    assert role.run() == 0, role.said
    assert "scored: - b.csv" in role.text and role.manifest["b.csv"]["output"]["rows"] == 3
    assert role.run(version="2") == 0 and "scored: - a.csv - b.csv" in role.text


def test_files_that_fail_are_named_and_the_others_finish(role):
    role.put(a=CALM, b=CALM, empty="", ragged="x,y\n1\n")
    assert role.run(failures={"b.csv": "column z is missing"}) != 0
    assert "3 of 4 files could not be scored:" in role.text
    for line in ("b.csv: column z is missing", "empty.csv: the file is empty", "ragged.csv: line 2 has 1 values"):
        assert line in role.text
    assert role.left == ["a.csv", "manifest.json"]
    assert role.run() != 0 and "2 of 4 files could not be scored:" in role.text
    assert role.left == ["a.csv", "b.csv", "manifest.json"]


def test_only_files_that_cannot_be_scored(role):
    role.put(empty="")
    assert role.run() != 0 and "1 of 1 files could not be scored: empty.csv: the file is empty" in role.text
    assert role.run("--check") != 0
    assert role.left is None


@pytest.mark.parametrize(
    "variables, why",
    [
        ({"filter": "| head -n 2"}, "it has 2 rows, but 1 were scored"),
        ({"fire": "true"}, "the engine is on fire"),
    ],
)
def test_nothing_half_written_when_the_method_fails(role, variables, why):
    role.put(a=CALM)
    assert role.run(**variables) != 0 and f" a.csv: {why}" in role.text
    assert role.left == []
    assert role.run() == 0, role.said


@pytest.mark.parametrize(
    "variables, why",
    [
        ({"score_offline_method": "guess"}, "score_offline_method is guess: set it to one of workflow, scorer_image, registered_model"),
        ({"score_offline_method": "scorer_image"}, "No host can score with scorer_image: put a host into the inventory group scorers"),
        ({"score_offline_method": "workflow"}, "put a host into the inventory group sparkflows"),
        ({"score_offline_host": "other"}, "other is not among the hosts of this run"),
        ({"score_offline_input": ""}, "score_offline_input is empty: set it to"),
        ({"score_offline_output": ""}, "score_offline_output is empty: set it to"),
        ({"score_offline_model_name": ""}, "score_offline_model_name is empty"),
        ({"score_offline_model_version": ""}, "Set either score_offline_model_version or score_offline_model_stage"),
        ({"score_offline_model_stage": "Production"}, "Set either score_offline_model_version or score_offline_model_stage"),
        ({"score_offline_timeout": "0"}, "score_offline_timeout is 0"),
        ({"score_offline_extra_columns": "drop"}, "refuse, keep"),
        ({"score_offline_input": "/nowhere"}, "there is no file or directory /nowhere"),
    ],
)
def test_bad_input_is_told_before_anything_is_done(role, variables, why):
    role.put(a=CALM)
    assert role.run(**variables) != 0
    assert why in role.text, role.said
    assert role.left is None


def test_host_that_is_named(role):
    role.put(a=CALM)
    workflow = {"score_offline_method": "workflow", "score_offline_workflow_id": "7", "score_offline_host": "scoring.example"}
    assert role.run(**workflow) == 0, role.said
    assert role.left == ["a.csv", "manifest.json"]
