"""The table of the rehearsed sites, printed at the end."""

from __future__ import annotations

import time

import pytest

TABLE = pytest.StashKey()


@pytest.fixture(name="row")
def fixture_row(request, site):
    row = {"site": site.name, "core": site.core, "began": time.time(), "checks": 0, "verdict": "not reached"}
    request.config.stash.setdefault(TABLE, []).append(row)
    yield row
    row["minutes"] = (time.time() - row["began"]) / 60


def pytest_terminal_summary(terminalreporter, config):
    terminalreporter.write_line("site        core   minutes  checks  verdict")
    for row in config.stash.get(TABLE, []):
        terminalreporter.write_line("{site:<10}  {core:<5}  {minutes:>7.1f}  {checks:>6}  {verdict}".format(**row))
