"""Why something failed, in few lines."""

import getpass
import os
import re

from .csv_files import BadInput


def explain(exc):
    """Why a file failed, in few lines. Spark hides what a Python worker said in a long report of Java's."""
    if isinstance(exc, BadInput):
        return str(exc)
    text = str(exc)
    found = re.search(r"BadInput: (.*)", text)
    if found:
        return found.group(1)
    if isinstance(exc, PermissionError):
        return "The account that scores, %s, may not read or write %s." % (getpass.getuser(), os.path.basename(exc.filename or "it"))
    if isinstance(exc, OSError):
        return "%s: %s" % (exc.filename or "the scored file", exc.strerror or exc)
    # The last one is the root of the others; some only say that there is another.
    named = re.findall(r"^(?:: |Caused by: )?([\w.$]+(?:Error|Exception): (?!Traceback|Exception thrown|Job aborted).*)", text, re.MULTILINE)
    return named[-1] if named else "%s: %s" % (type(exc).__name__, text.strip().split("\n", 1)[0])
