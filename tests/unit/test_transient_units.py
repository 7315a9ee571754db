"""Units that systemd-run makes: a fixed name is taken as long as an earlier one runs, and a run that was killed leaves its own running."""

from pathlib import Path

import yaml
from ansible.plugins.filter.core import rand
from jinja2 import Environment

VARIABLES = yaml.safe_load((Path(__file__).resolve().parents[2] / "roles/batch_scoring/vars/main.yml").read_text())


def test_each_job_has_a_unit_of_its_own():
    environment = Environment()
    environment.filters["random"] = rand
    names = {environment.from_string(VARIABLES["_batch_scoring_unit"]).render() for _number in range(3)}
    assert len(names) == 3 and all(name.startswith("mlflow-batch-scoring-") for name in names)
    assert "--unit=' ~ _batch_scoring_unit" in VARIABLES["_batch_scoring_run"]
