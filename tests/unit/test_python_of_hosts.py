"""What runs on a host runs on the oldest Python that it may have there: modules on the host's own, 3.6, and what works with MLflow on 3.7."""

from __future__ import annotations

import ast
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FILES = sorted(ROOT.glob("roles/*/files/*.py"))
# Started with the host's own Python. The others are, with that of the release.
OWN = [path for path in FILES if path.parent.parent.name == "acceptance" and path.name != "mlflow_host.py"]
CODE = {
    "3.6": sorted([*ROOT.glob("plugins/modules/*.py"), *ROOT.glob("plugins/module_utils/*.py"), *OWN]),
    "3.7": [path for path in FILES if path not in OWN],
}
# Compiles the files, and looks up in Python's own modules what they use of these: names, and keywords of functions.
LOOK = r"""
import ast, importlib, inspect, json, subprocess, sys

def members(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        return None

def member(module, name):
    found = members(module)
    return getattr(found, name, None) or members(module + "." + name)

def keywords(function):
    kinds = inspect.signature(function).parameters
    if any(one.kind == one.VAR_KEYWORD for one in kinds.values()):
        if getattr(function, "__module__", "") != "subprocess":
            return None
        return set(kinds) | set(inspect.signature(subprocess.Popen.__init__).parameters)
    return set(kinds)

def look(path, own):
    text = open(path, encoding="utf-8").read()
    compile(text, path, "exec")
    tree, modules = ast.parse(text), {}
    asked = {node for one in ast.walk(tree) if isinstance(one, ast.Try) and "ImportError" in ast.dump(one) for node in ast.walk(one)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in own:
                    modules[alias.asname or alias.name] = alias.name
                    if node not in asked and not members(alias.name):
                        yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in own:
            for alias in node.names:
                if node not in asked and member(node.module, alias.name) is None:
                    yield node.lineno, node.module + "." + alias.name
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Attribute, ast.Call)):
            continue
        called = node.func if isinstance(node, ast.Call) else node
        parts, place = [], called
        while isinstance(place, ast.Attribute):
            parts.insert(0, place.attr)
            place = place.value
        name = ".".join([place.id] + parts[:-1]) if parts and isinstance(place, ast.Name) else ""
        if name not in modules:
            continue
        found = member(modules[name], parts[-1])
        if found is None:
            if node is called and not hasattr(members(modules[name]), parts[-1]):
                yield node.lineno, name + "." + parts[-1]
        elif isinstance(node, ast.Call) and inspect.isfunction(found):
            known = keywords(found)
            for keyword in node.keywords if known else []:
                if keyword.arg and keyword.arg not in known:
                    yield node.lineno, "%s.%s(%s=)" % (name, parts[-1], keyword.arg)

order, problems = json.load(sys.stdin), []
for path in order["files"]:
    try:
        problems += ["%s:%d: %s" % (path, line, what) for line, what in look(path, set(order["own"]))]
    except SyntaxError as error:
        problems.append("%s:%s: %s" % (path, error.lineno, error.msg))
print(json.dumps(problems))
"""


def python(version):
    """Where this Python is, as a system has it or pyenv."""
    homes = sorted((pathlib.Path(os.environ.get("PYENV_ROOT") or pathlib.Path.home() / ".pyenv") / "versions").glob(f"{version}.*"))
    return str(homes[-1] / "bin" / "python") if homes else shutil.which(f"python{version}")


def look(version, files):
    order = {"files": [str(path) for path in files], "own": sorted(sys.stdlib_module_names)}
    done = subprocess.run([python(version), "-c", LOOK], input=json.dumps(order), capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("version", CODE)
def test_an_old_python_compiles_it(version):
    for path in CODE[version]:
        tree = ast.parse(path.read_text(), str(path), feature_version=tuple(map(int, version.split("."))))
        future = [name.name for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__" for name in node.names]
        assert version != "3.6" or "annotations" not in future, path


@pytest.mark.parametrize("version", CODE)
def test_an_old_python_has_what_it_uses(version):
    if not python(version):
        pytest.skip(f"there is no Python {version} here")
    assert look(version, CODE[version]) == []


@pytest.mark.parametrize(
    "code, said",
    [
        ("import gzip\ngzip.BadGzipFile\n", "2: gzip.BadGzipFile"),
        ("import subprocess\nsubprocess.run([], text=True)\n", "2: subprocess.run(text=)"),
        ("from math import prod\n", "1: math.prod"),
        ("import importlib.metadata\n", "1: importlib.metadata"),
        ("if (a := 1):\n    pass\n", "1: invalid syntax"),
        ("from __future__ import annotations\n", "1: future feature annotations is not defined"),
        ("import urllib.request\nurllib.request.urlopen('', timeout=1)\ntry:\n    import tomllib\nexcept ImportError:\n    pass\n", None),
    ],
)
def test_what_an_old_python_lacks_is_found(tmp_path, code, said):
    if not python("3.6"):
        pytest.skip("there is no Python 3.6 here")
    path = tmp_path / "code.py"
    path.write_text(code)
    assert look("3.6", [path]) == ([f"{path}:{said}"] if said else [])
