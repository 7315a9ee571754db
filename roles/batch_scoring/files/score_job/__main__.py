"""`python .../score_job model` from anywhere, as the role does, or `python -m score_job model`."""

import os
import sys

if not __package__:
    # Started as a folder, which Python then searches first: the package is to be found, and its parts only in it.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from score_job.command import main  # noqa: E402

main()
