"""Units that systemd-run makes: a fixed name is taken as long as an earlier one runs, and a run that was killed leaves its own running."""

import re
from pathlib import Path

import pytest
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


@pytest.mark.parametrize(("systemd", "service_type"), [(239, "simple"), (240, "exec"), (257, "exec"), (0, "exec")])
def test_a_job_is_of_a_type_that_systemd_knows(systemd, service_type):
    """RHEL 8 has 239, whose systemd-run refuses the type exec."""
    environment = Environment()
    environment.filters["map"] = lambda texts, _filter, pattern, new: [re.sub(pattern, new, text) for text in texts]
    names = {"__mlops_host": {"systemd": systemd}, "_batch_scoring_unit": "u", "_batch_scoring_sandbox": [], "_batch_scoring_program": "p"}
    assert f"'--service-type={service_type}'" in environment.from_string(VARIABLES["_batch_scoring_run"]).render(names, mlops_venv="/v")


def test_a_job_has_no_setting_that_systemd_does_not_know():
    assert "known_to_systemd" in VARIABLES["_batch_scoring_sandbox"]
