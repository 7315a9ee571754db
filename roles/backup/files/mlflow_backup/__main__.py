"""`python .../mlflow_backup create`, from anywhere."""

import os
import sys

if not __package__:
    # Started as a folder, which Python then searches first: the package is to be found, and its parts only in it.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from mlflow_backup.command import main  # noqa: E402

sys.exit(main())
