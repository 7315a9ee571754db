"""`python3 -m sparkflows_server`, or `python3 .../sparkflows_server` from anywhere, as the lab's unit does."""

import os
import sys

if not __package__:
    # Started as a folder, which Python then searches first: the package is to be found, and its parts only in it.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

from sparkflows_server.command import main  # noqa: E402

main()
