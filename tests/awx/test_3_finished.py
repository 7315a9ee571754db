"""On finished machines: every template as a check, and the proof from within the execution environment."""

from __future__ import annotations

import copy
import shutil
from functools import partial

import pytest
from conftest import ANSWERS, NAME, TEMPLATES
from test_2_jobs import ROWS, fixture_jobs, fixture_secrets  # noqa: F401
