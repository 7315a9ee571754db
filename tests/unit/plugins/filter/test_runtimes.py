# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule

FILTERS = FilterModule().filters()
PYTHON = {
    "python_runtime_home": "",
    "python_runtime_method": "source",
    "python_runtime_packages": [],
    "python_runtime_source_build_packages": ["gcc"],
}
JAVA = {
    "java_runtime_home": "",
    "java_runtime_method": "archive",
    "java_runtime_packages": [],
    "java_runtime_repositories": [],
}
ROCKY = {"id": "rocky", "version": "9.4", "id_like": ["rhel"]}
# As Ansible has it of a task that was skipped.
NOT_RUN = {"changed": False, "skipped": True}


def ran(code, *lines):
    return {"rc": code, "stderr": "\n".join(lines), "stderr_lines": list(lines)}


def existing(name, home="/opt/it"):
    return {f"{name}_runtime_method": "existing", f"{name}_runtime_home": home}


@pytest.mark.parametrize(("settings", "found", "problem"), [
    ({}, NOT_RUN, None), ({"python_runtime_method": "archive"}, NOT_RUN, None), (existing("python"), ran(0), None),
    ({"python_runtime_method": "package", "python_runtime_packages": ["python3.7"]}, NOT_RUN, None),
    ({"python_runtime_method": "package"}, NOT_RUN, "python_runtime_method is package, but no supported distribution has a Python 3.7 package of its "
     "own: set python_runtime_packages to those of your package source, or python_runtime_method to archive, source or existing."),
    (existing("python", ""), NOT_RUN, "python_runtime_method is existing, but nothing says where: set python_runtime_home to the prefix of a Python "
     "3.7 (the folder that has bin/python3.7)."),
    *((existing("python"), found, f"python_runtime_home is no working Python 3.7: /opt/it/bin/python3.7 says {said}. Set python_runtime_home to the "
       "prefix of one, or python_runtime_method to archive or source.")
      for found, said in ((ran(1), "nothing"), (ran(1, "Traceback", "it is Python 3.9"), "it is Python 3.9"))),
    (existing("python", "opt"), ran(0), "python_runtime_home is 'opt': set it to an absolute path of letters, digits and any of . _ - + @ , = only, "
     "since it goes into units and settings of programs."),
    ({"python_runtime_source_build_packages": []}, NOT_RUN, "it is not known what building Python needs on rocky: set "
     "python_runtime_source_build_packages, or set python_runtime_method to archive or existing."),
])  # fmt: skip
def test_python(settings, found, problem):
    assert FILTERS["python_runtime_problems"]({**PYTHON, **settings}, "3.7", found, ROCKY) == [problem] * bool(problem)


JDK = ran(0, 'openjdk version "1.8.0_412"', "OpenJDK Runtime Environment")


@pytest.mark.parametrize(("settings", "found", "problem"), [
    ({}, NOT_RUN, None), (existing("java"), JDK, None), ({"java_runtime_method": "package", "java_runtime_packages": ["jdk"]}, NOT_RUN, None),
    ({"java_runtime_method": "package"}, NOT_RUN, "there is no known package of JDK 1.8 for rocky 9.4: set java_runtime_method to archive or "
     "existing, or name a source that has one in java_runtime_repositories (apt), or set java_runtime_packages to those of a source that the host "
     "has."),
    (existing("java", ""), NOT_RUN, "java_runtime_method is existing, but nothing says where: set java_runtime_home to the folder of the JDK 1.8 "
     "(the one that has bin/java)."),
    *((existing("java"), found, f"java_runtime_home is no working JDK 1.8: /opt/it/bin/java says {said}. Set java_runtime_home to the folder of one, "
       "or java_runtime_method to package or archive.")
      for found, said in ((ran(127), "nothing"), (ran(0, 'java version "11.0.2"', "x"), 'java version "11.0.2"'),
                          (dict(JDK, rc=1), JDK["stderr_lines"][0]))),
    (existing("java", "/home/x"), JDK, "java_runtime_home is /home/x, which lies in /home, where no service can look: set it to another place."),
    ({"java_runtime_repositories": [{}]}, NOT_RUN,
     "java_runtime_repositories are for apt, but this host is rocky: empty it, and give the host its package sources before."),
])  # fmt: skip
def test_java(settings, found, problem):
    assert FILTERS["java_runtime_problems"]({**JAVA, **settings}, "1.8", found, ROCKY, "rhel") == [problem] * bool(problem)


def test_java_from_repositories():
    settings = {**JAVA, "java_runtime_repositories": [{}]}
    assert FILTERS["java_runtime_problems"](settings, "1.8", NOT_RUN, {"id": "debian", "version": "13"}, "debian") == []
