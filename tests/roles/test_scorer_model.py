"""A model of a Spark that the scorer image does not load is refused before an engine is asked for the image."""

from __future__ import annotations

from playbook_run import LOCAL, UNSEEN, run_in

PLAY = """
- hosts: scorers
  gather_facts: false
  tasks:
    - ansible.builtin.include_role: {name: sparkflows.mlops.scorer, tasks_from: identity}
"""
IMAGE = f"registry.example/scorer:py_3.2.1_3.3.42@sha256:{'0' * 64}"


def test_a_model_of_a_newer_spark(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "MLmodel").write_text("flavors:\n  spark:\n    pyspark_version: 3.5.8\n")
    variables = {**LOCAL, **UNSEEN, "mlops_preflight_passed": True, "scorer_release": "3.3.42", "scorer_images": {"3.3.42": IMAGE},
                 "scorer_model_path": str(tmp_path / "model"), "scorer_engine_packages": []}  # fmt: skip
    done = run_in(tmp_path, {"scorers": {"hosts": {"scorer1": {**variables}}}}, PLAY)
    said = f"the model {tmp_path}/model was made with Spark 3.5.8, and the scorer image {IMAGE} has Spark 3.2.1 (scorer_spark_version)"
    assert done.returncode != 0 and f"scorer1: {said}" in done.text, done.output[-3000:]
    assert "Look for the image]" not in done.output
