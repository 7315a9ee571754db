"""Units that systemd-run makes: a fixed name is taken as long as an earlier one runs, and a run that was killed leaves its own running."""

from pathlib import Path

import pytest
import yaml
from ansible.plugins.filter.core import rand
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from jinja2 import Environment

ROLE = Path(__file__).resolve().parents[2] / "roles/batch_scoring"
VARIABLES, DEFAULTS = (yaml.safe_load((ROLE / kind / "main.yml").read_text()) for kind in ("vars", "defaults"))


def command(unit="u", systemd=252):
    settings = {name: DEFAULTS[name] for name in VARIABLES["_batch_scoring_names"]}
    site = {**dict.fromkeys(VARIABLES["_batch_scoring_site_names"], "/x"), "_mlops_artifacts": {"client_environment": {}}}
    found = {"unit": unit, "sandbox": ["UMask=0027", "ProtectHostname=true"], "systemd": systemd, "pending": [], "model": {},
             "runtime": {"java": "/x", "venv": "/x"}}  # fmt: skip
    return FilterModule().filters()["batch_scoring_plan"](settings, site, found)["command"]


def test_each_job_has_a_unit_of_its_own():
    environment = Environment()
    environment.filters["random"] = rand
    names = {environment.from_string(VARIABLES["_batch_scoring_unit"]).render() for _number in range(3)}
    assert len(names) == 3 and all(name.startswith("mlflow-batch-scoring-") for name in names)
    assert VARIABLES["_batch_scoring_found"]["unit"] == "{{ _batch_scoring_unit }}" and "--unit=one" in command(unit="one")


@pytest.mark.parametrize(("systemd", "service_type"), [(239, "simple"), (240, "exec"), (257, "exec"), (0, "exec"), ("239", "simple")])
def test_a_job_is_of_a_type_that_systemd_knows(systemd, service_type):
    """RHEL 8 has 239, whose systemd-run refuses the type exec."""
    assert f"--service-type={service_type}" in command(systemd=systemd)


def test_a_job_has_no_setting_that_systemd_does_not_know():
    assert "--property=ProtectHostname=true" in command(systemd=242)
    assert "--property=ProtectHostname=true" not in command(systemd=241) and "--property=UMask=0027" in command(systemd=241)
