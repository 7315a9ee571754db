"""The program of role mlflow_runtime that makes a release, with a real index on this machine."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
import virtualenv.seed.wheels.embed

PROGRAM = Path(__file__).resolve().parents[2] / "roles" / "mlflow_runtime" / "files" / "build_release.sh"
LOGIN = "reader:canary-index-password"
# Stands for all that comes as source. It has the name of what a release has to have.
SETUP = """
import tempfile
from setuptools import setup
# As pip does with its list of authorities when it makes a venv.
tempfile.mkstemp(suffix="cacert.pem")
setup(name="gunicorn", version="1.0", py_modules=["gunicorn"], entry_points={"console_scripts": ["gunicorn = gunicorn:main"]})
"""
MODULE = "def main():\n    print('it is me')\n"
UV = Path(sys.executable).parent / "uv"
UV_WHEEL = "uv-1.0-py3-none-any.whl"


def pack(folder, name, parts, python=">=3"):
    """A wheel; gives the line of a lock for it."""
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    about = f"{name}-1.0.dist-info"
    parts = {**parts, f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Python: {python}\n",
             f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}  # fmt: skip
    parts[f"{about}/RECORD"] = "".join(f"{part},,\n" for part in [*parts, f"{about}/RECORD"])
    with zipfile.ZipFile(wheel, "w") as archive:
        for part, text in parts.items():
            member = zipfile.ZipInfo(part)
            member.external_attr = 0o100755 << 16
            archive.writestr(member, text)
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def pack_uv(folder, script):
    return pack(folder, "uv", {"uv-1.0.data/scripts/uv": f"#!/bin/sh\n{script}\n"}, python=">=99")


@pytest.fixture(name="index")
def fixture_index(tmp_path):
    """An index that says nothing about how long its files stay good: its URL, and the files that were fetched from it."""
    root, fetched = tmp_path / "index", []
    for folder in ("gunicorn", "setuptools", "uv"):
        (root / "simple" / folder).mkdir(parents=True)
    with tarfile.open(root / "simple/gunicorn/gunicorn-1.0.tar.gz", "w:gz") as archive:
        for name, text in {"setup.py": SETUP, "gunicorn.py": MODULE, "PKG-INFO": "Metadata-Version: 1.1\nName: gunicorn\nVersion: 1.0\n"}.items():
            member = tarfile.TarInfo("gunicorn-1.0/" + name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    setuptools = max(Path(virtualenv.seed.wheels.embed.__file__).parent.glob("setuptools-*.whl"))
    shutil.copy(setuptools, root / "simple/setuptools/")
    pack_uv(root / "simple/uv", f'exec {UV} "$@"')
    for folder in ("gunicorn", "setuptools", "uv"):
        links = [f'<a href="{file.name}">{file.name}</a>' for file in (root / "simple" / folder).iterdir()]
        (root / "simple" / folder / "index.html").write_text("<html><body>" + "".join(links) + "</body></html>")

    class Index(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            fetched.append(self.path.rsplit("/", 1)[-1])
            super().do_GET()

        def log_message(self, *_what):
            pass

        def send_header(self, keyword, value):
            if keyword != "Last-Modified":
                super().send_header(keyword, value)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Index, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{LOGIN}@127.0.0.1:{server.server_port}/simple", fetched
    server.shutdown()
    server.server_close()


@pytest.fixture(name="python", scope="module")
def fixture_python(tmp_path_factory):
    """Makes a venv as Python does, but as a copy of one that was made once: pip is unpacked and compiled for some seconds."""
    folder = tmp_path_factory.mktemp("python")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    program = folder / "python"
    program.write_text(f'#!/bin/sh\n[ "$1 $2" = "-m venv" ] && exec cp -a {folder}/venv "$3"\n')
    program.chmod(0o755)
    return program


@pytest.fixture(name="build")
def fixture_build(tmp_path, python):
    """build(release, settings) -> what the program said, and how it ended."""
    recipe, home = tmp_path / "recipes" / "one", tmp_path / "home"
    recipe.mkdir(parents=True)
    home.mkdir()
    (tmp_path / "tmp").mkdir()
    shutil.copy(UV, recipe.parent / "uv")
    sdist = tmp_path / "index/simple/gunicorn/gunicorn-1.0.tar.gz"
    wheel = next((tmp_path / "index/simple/setuptools").glob("*.whl"))
    (recipe / "requirements.txt").write_text(f"gunicorn==1.0 --hash=sha256:{hashlib.sha256(sdist.read_bytes()).hexdigest()}\n")
    (recipe / "build-constraints.txt").write_text(
        f"setuptools=={wheel.name.split('-')[1]} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")

    fetched = tmp_path / "index/simple/uv" / UV_WHEEL
    (recipe / "uv.txt").write_text(f"uv==1.0 --hash=sha256:{hashlib.sha256(fetched.read_bytes()).hexdigest()}\n")

    def run(name, source="uv", uv=recipe.parent / "uv", archive=None, python=python, **settings):
        (tmp_path / name).mkdir(exist_ok=True)
        command = ["bash", str(PROGRAM), str(tmp_path / name / "release"), str(recipe), str(python), source, "gunicorn", str(tmp_path / "live"),
                   str(uv), str(archive or tmp_path / "none.tar.gz"), str(tmp_path / "units"), str(tmp_path / "state")]  # fmt: skip
        settings = {"TMPDIR": tmp_path / "tmp", **settings}
        return subprocess.run(
            command, input="".join(f"{key}={value}\n" for key, value in settings.items()), env={"PATH": "/usr/bin:/bin", "HOME": str(home)},
            check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    return run


@pytest.mark.parametrize("setting", ["UV_DEFAULT_INDEX", "UV_INDEX"])
def test_what_was_built_once_is_not_built_again(tmp_path, index, build, setting):
    url, fetched = index
    other = {} if setting == "UV_DEFAULT_INDEX" else {"UV_DEFAULT_INDEX": url.replace("/simple", "/nothing")}
    for name in ("first", "second"):
        done = build(name, UV_CACHE_DIR=tmp_path / "cache", **{setting: url}, **other)
        assert done.returncode == 0, done.stdout
        assert (tmp_path / name / "release/.complete").exists()
    assert fetched.count("gunicorn-1.0.tar.gz") == 1
    assert len(list((tmp_path / "cache").glob("sdists-*/**/gunicorn-1.0-*.whl"))) == 1


def test_what_is_live_served_or_beside_it_stays_and_what_came_before_goes(tmp_path, index, build):
    for name in ("live", "beside", "before"):
        (tmp_path / "one" / name).mkdir(parents=True)
        (tmp_path / "one" / name / ".complete").touch()
    (tmp_path / "live").symlink_to(tmp_path / "one/live")
    (tmp_path / "stacks/guide").mkdir(parents=True)
    (tmp_path / "stacks/guide/current").symlink_to(tmp_path / "one/beside")
    done = build("one", UV_DEFAULT_INDEX=index[0])
    assert done.returncode == 0, done.stdout
    assert sorted(path.name for path in (tmp_path / "one").iterdir() if path.is_dir()) == ["beside", "live", "release"]


def test_the_index_s_login_stays_nowhere(tmp_path, index, build):
    done = build("first", python=sys.executable, UV_DEFAULT_INDEX=index[0])
    assert done.returncode == 0, done.stdout
    password = LOGIN.split(":")[1].encode()
    assert password.decode() not in done.stdout
    assert [path for path in tmp_path.rglob("*") if path.is_file() and password in path.read_bytes()] == []
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_the_lock_does_not_know_is_refused(tmp_path, index, build):
    lock = tmp_path / "recipes/one/requirements.txt"
    lock.write_text("gunicorn==1.0 --hash=sha256:" + "0" * 64 + "\n")
    done = build("first", UV_DEFAULT_INDEX=index[0])
    assert done.returncode != 0 and "hash" in done.stdout.lower(), json.dumps(done.stdout)
    # Neither half a release nor the login.
    assert [path.name for path in (tmp_path / "first").iterdir()] == [".lock"] and list((tmp_path / "tmp").iterdir()) == []


def test_a_build_that_is_stopped_leaves_nothing(tmp_path, index, build):
    """A program that is asked to end in the middle, as by a reboot."""
    slow = tmp_path / "recipes" / "uv"
    slow.unlink()
    slow.write_text("#!/bin/bash\nkill -TERM $PPID\nsleep 1\n")
    slow.chmod(0o755)
    done = build("first", UV_DEFAULT_INDEX=index[0])
    assert done.returncode == 143
    assert [path.name for path in (tmp_path / "first").iterdir()] == [".lock"] and list((tmp_path / "tmp").iterdir()) == []


def installer(release):
    return next(release.glob("lib/python*/site-packages/gunicorn-1.0*/INSTALLER")).read_text().strip()


def test_uv_comes_from_where_all_packages_come_from(tmp_path, index, build):
    url, fetched = index
    done = build("first", uv="", PIP_INDEX_URL=url, UV_DEFAULT_INDEX=url)
    assert done.returncode == 0 and "There is no uv" not in done.stdout, done.stdout
    assert fetched.count(UV_WHEEL) == 1 and installer(tmp_path / "first/release") == "uv"
    # Neither in the release nor beside it.
    assert sorted(path.name for path in (tmp_path / "first").iterdir()) == [".lock", "release"]
    assert not (tmp_path / "first/release/bin/uv").exists()


@pytest.mark.parametrize(("lack", "words"), [("package", "ERROR: No matching distribution found for uv==1.0"), ("system", "no such machine")])
def test_without_uv_pip_installs_and_says_so(tmp_path, index, build, lack, words):
    wheelhouse, recipe = tmp_path / "wheelhouse", tmp_path / "recipes/one"
    wheelhouse.mkdir()
    if lack == "system":
        (recipe / "uv.txt").write_text(pack_uv(wheelhouse, "echo no such machine; exit 1"))
    (recipe / "requirements.txt").write_text(pack(wheelhouse, "gunicorn", {
        "gunicorn.py": MODULE, "gunicorn-1.0.dist-info/entry_points.txt": "[console_scripts]\ngunicorn = gunicorn:main\n"}))  # fmt: skip
    done = build("first", uv="", PIP_FIND_LINKS=wheelhouse, PIP_NO_INDEX=1)
    assert done.returncode == 0 and f"There is no uv, so pip installs, which takes longer: {words}" in done.stdout, done.stdout
    assert installer(tmp_path / "first/release") == "pip"


def test_a_uv_that_is_another_is_refused(tmp_path, index, build):
    (tmp_path / "recipes/one/uv.txt").write_text("uv==1.0 --hash=sha256:" + "0" * 64 + "\n")
    done = build("first", uv="", PIP_INDEX_URL=index[0], UV_DEFAULT_INDEX=index[0])
    assert done.returncode != 0 and "DO NOT MATCH THE HASHES" in done.stdout, done.stdout
    assert [path.name for path in (tmp_path / "first").iterdir()] == [".lock"]


def pack_release(release, archive):
    command = ["bash", PROGRAM.parent / "pack_release.sh", release, archive]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


@pytest.mark.parametrize("suffix", ["gz", pytest.param("zst", marks=pytest.mark.skipif(not shutil.which("zstd"), reason="no zstd here"))])
def test_a_release_goes_to_another_host(tmp_path, index, build, suffix):
    # Each host has it in the same place.
    release, archive, kept = tmp_path / "first/release", tmp_path / f"release.tar.{suffix}", tmp_path / "kept"
    assert build("first", UV_DEFAULT_INDEX=index[0]).returncode == 0
    packed = pack_release(release, archive)
    assert packed == hashlib.sha256(archive.read_bytes()).hexdigest()
    release.rename(kept)
    index[1].clear()
    shutil.copy(archive, tmp_path / "again")
    done = build("first", packed, archive=archive)
    assert done.returncode == 0 and (release / ".complete").exists(), done.stdout
    assert index[1] == [] and not archive.exists()
    for path in kept.rglob("*"):
        other = release / path.relative_to(kept)
        assert path.is_symlink() or path.is_dir() or other.read_bytes() == path.read_bytes()

    # One that is damaged, or does not do what it should: no release, and no word of it.
    shutil.rmtree(release)
    archive.write_bytes((tmp_path / "again").read_bytes()[:-1])
    done = build("first", packed, archive=archive)
    assert done.returncode != 0 and "is not what the other host has packed" in done.stdout, done.stdout
    [about] = kept.glob("lib/python*/site-packages/gunicorn-1.0.dist-info/METADATA")
    about.write_text(about.read_text().replace("Version: 1.0\n", "Version: 1.0\nRequires-Dist: wanted\n", 1))
    packed = pack_release(kept, archive)
    done = build("first", packed, archive=archive)
    assert done.returncode != 0 and "gunicorn 1.0 requires wanted, which is not installed" in done.stdout, done.stdout
    assert [path.name for path in (tmp_path / "first").iterdir()] == [".lock"] and not archive.exists()
    next(kept.glob("lib/python*/site-packages/gunicorn.py")).unlink()
    packed = pack_release(kept, archive)
    done = build("first", packed, archive=archive)
    assert done.returncode != 0 and "No module named 'gunicorn'" in done.stdout, done.stdout
    assert [path.name for path in (tmp_path / "first").iterdir()] == [".lock"] and not archive.exists()


def test_a_release_goes_when_nobody_wants_it_any_more(tmp_path, index, build):
    releases = tmp_path / "first"
    for name in ("live", "served", "left", "older", "served-1"):
        (releases / name).mkdir(parents=True)
        (releases / name / ".complete").touch()
        (tmp_path / "recipes" / name).mkdir()
    (tmp_path / "live").symlink_to(releases / "live")
    (tmp_path / "units").mkdir()
    (tmp_path / "units/mlflow-model@risk.service").write_text(f"[Service]\nEnvironment=PATH={releases}/served/bin:/usr/bin\n")
    (tmp_path / "state").mkdir()
    # As the program of role upgrade writes it: the last upgrade, and the one before it.
    (tmp_path / "state/upgraded.json").write_text(json.dumps({"parts": [], "previous": {"link": str(releases / "left")}}))
    # What only mentions one is no reason.
    (tmp_path / "state/outcome.json").write_text(json.dumps({"link": str(releases / "older")}))
    done = build("first", UV_DEFAULT_INDEX=index[0])
    assert done.returncode == 0, done.stdout
    assert {path.name for path in releases.iterdir()} == {".lock", "release", "live", "served", "left"}
    assert {path.name for path in (tmp_path / "recipes").iterdir()} == {"one", "uv", "live", "served", "left"}


def test_hosts_fetch_the_uv_that_the_tests_use():
    pin = (PROGRAM.parent / "uv.txt").read_text()
    assert pin.startswith("uv==") and "\n" + pin in (PROGRAM.parents[3] / ".config/dev-requirements.txt").read_text()
