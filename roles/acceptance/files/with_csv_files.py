"""Runs the program that follows, which imports the collection's csv_files.py, the argument after it: nothing of them comes to lie on the host."""

import sys
import types

csv_files = sys.modules["csv_files"] = types.ModuleType("csv_files")
exec(sys.argv[2], csv_files.__dict__)
exec(sys.argv[1])
