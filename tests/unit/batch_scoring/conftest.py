"""The scoring job as it lies on a host: its parts, and beside them the collection's csv_files.py."""

import sys
from pathlib import Path

COLLECTION = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(COLLECTION / "roles/batch_scoring/files"))

import score_job  # noqa: E402

score_job.__path__.append(str(COLLECTION / "plugins/module_utils"))
