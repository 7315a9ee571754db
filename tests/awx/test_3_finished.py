"""On finished machines: every template as a check, which is right about what another ansible-core has made."""

from __future__ import annotations

from functools import partial

import pytest
from awx_lab import ANSWERS, TEMPLATES, warnings

# Jobs that came after it have set its settings to what the inventory says.
SINCE = {"back up": {}}


@pytest.fixture(scope="module", name="checks")
def fixture_checks(lab, launcher, together, jobs):
    assert all(job.status == "successful" for job in jobs.values())
    lab.mark()
    answers = {**ANSWERS, **SINCE}
    return together({name: partial(launcher.launch, template, answers[name], job_type="check") for name, template in TEMPLATES.items()}), (
        lab.changed_since_mark())  # fmt: skip


@pytest.mark.parametrize("name", TEMPLATES)
def test_check_would_change_nothing(checks, name):
    job = checks[0][name]
    assert job.status == "successful", job.output
    assert warnings(job) == []
    assert job.changed == {}, job.output


def test_nothing_has_changed(checks):
    assert checks[1] == {host: [] for host in checks[1]}
