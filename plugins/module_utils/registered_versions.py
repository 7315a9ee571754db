# Copyright: Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which registered version a declared model means, and what its file MLmodel says that it was made with."""

import re

# A line of the file: how far it is indented, a key, and what stands after it.
LINE = re.compile(r"( *)([A-Za-z_][\w.-]*):(?: +(.*))?$")
# Where the versions stand in it.
MADE_WITH = {
    "mlflow": "mlflow_version",
    "python": "flavors.python_function.python_version",
    "loader": "flavors.python_function.loader_module",
    "spark": "flavors.spark.pyspark_version",
    "h2o": "flavors.h2o.h2o_version",
}


def find_version(model, versions):
    """The registered version that is meant, or a sentence why there is none."""
    own = [version for version in versions if version["name"] == model["name"]]
    if not own:
        names = sorted({version["name"] for version in versions})
        return f"is not registered. Registered are: {', '.join(names[:20]) or 'no models'}."
    known = ", ".join(
        f"{version['version']} ({version['current_stage']})"
        for version in sorted(own, key=lambda version: int(version["version"]))[-20:]
    )
    if model["version"]:
        meant = [version for version in own if int(version["version"]) == int(model["version"])]
        what = f"version {model['version']}"
    else:
        meant = [version for version in own if version["current_stage"] == model["stage"]]
        what = f"version in stage {model['stage']}"
    if not meant:
        return f"has no {what}. Its versions are: {known}."
    newest = max(meant, key=lambda version: int(version["version"]))
    if newest["status"] != "READY":
        return f"version {newest['version']} is not ready, the registry says {newest['status']}."
    return newest


def made_with(text):
    """Versions by their names in MADE_WITH. The file is YAML as MLflow writes it, and hosts need not have a reader of YAML."""
    found, above = {}, []
    for line in text.splitlines():
        match = LINE.match(line)
        if match:
            indent, key, value = len(match.group(1)), match.group(2), match.group(3)
            above = [one for one in above if one[0] < indent] + [(indent, key)]
            found[".".join(name for _indent, name in above)] = (value or "").strip("'\" ")
    return {name: found[path] for name, path in MADE_WITH.items() if found.get(path)}
