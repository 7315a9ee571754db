"""An archive is what its manifest says, or it is refused."""

import gzip
import io
import json
import tarfile
import zlib
from contextlib import suppress

import pytest
from mlflow_backup import archive
from mlflow_backup.create import create
from mlflow_backup.problems import Damaged, Problem


@pytest.fixture(name="made")
def fixture_made(host):
    return create(host.settings)["archive"]


def rewritten(made, change):
    """The archive with other members: change takes (name, content) and gives a list of such."""
    with tarfile.open(made) as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar]
    with tarfile.open(made, "w:gz") as tar:
        for name, content in (one for member in members for one in change(*member)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return made


def test_every_member_is_in_the_manifest(made, host, tmp_path):
    manifest = archive.read(made, lambda name: str(tmp_path / "out" / name))
    etc = f"configuration{host.folder}/etc"
    assert set(manifest["members"]) == {"database/mlflow.db", "artifacts/1/run/model.bin", f"{etc}/mlflow.env", f"{etc}/models/churn.env"}
    for name, said in manifest["members"].items():
        assert (tmp_path / "out" / name).stat().st_size == said["size"]
    assert (tmp_path / "out/artifacts/1/run/model.bin").read_bytes() == b"model" * 1000


def test_bytes_that_have_changed(made):
    """Somebody packed it anew, so gzip has nothing to say."""
    rewritten(made, lambda name, content: [(name, content.replace(b"model", b"MODEL") if name.startswith("artifacts") else content)])
    with pytest.raises(Damaged, match="Not as the manifest says: artifacts/1/run/model.bin"):
        archive.read(made)


def test_a_member_that_is_missing_and_one_too_many(made):
    rewritten(made, lambda name, content: [(name if name != "database/mlflow.db" else "database/other", content)])
    with pytest.raises(Damaged, match="Not as the manifest says: database/mlflow.db, database/other"):
        archive.read(made)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.999])
def test_an_archive_that_is_cut_off(made, keep):
    with open(made, "rb") as file:
        data = file.read()
    with open(made, "wb") as file:
        file.write(data[:int(len(data) * keep)])
    with pytest.raises(Damaged, match="is damaged"):
        archive.read(made)


def test_one_bit(made):
    with open(made, "rb") as file:
        data = bytearray(file.read())
    seen = 0
    # Before that stands what gzip says of the file's name.
    for place in range(100, len(data), 97):
        damaged = bytes(data[:place]) + bytes([data[place] ^ 4]) + bytes(data[place + 1:])
        with open(made, "wb") as file:
            file.write(damaged)
        # Some zeros may be copied from elsewhere, and are as many zeros.
        with suppress(OSError, EOFError, zlib.error):
            if gzip.decompress(damaged) == gzip.decompress(bytes(data)):
                continue
        seen += 1
        with pytest.raises(Damaged):
            archive.read(made)
    assert seen > 10


def test_checksum_behind_the_end(made):
    """In the manifest a changed letter would be nobody's; gzip's checksum, which comes after the end of tar, says it."""
    with open(made, "rb") as file:
        data = bytearray(file.read())
    data[-6] ^= 1
    with open(made, "wb") as file:
        file.write(data)
    with pytest.raises(Damaged, match="CRC"):
        archive.read(made)


@pytest.mark.parametrize("name", ["/etc/passwd", "artifacts/../../x", ".."])
def test_names_that_lead_elsewhere(made, name, tmp_path):
    rewritten(made, lambda member, content: [(member, content), (name, b"x")] if member == "database/mlflow.db" else [(member, content)])
    with pytest.raises(Damaged, match="is no backup of MLflow"):
        archive.read(made, lambda member: str(tmp_path / "out" / member))


def test_other_forms_and_other_files(made, tmp_path):
    rewritten(made, lambda name, content: [(name, content.replace(b'"form": 1', b'"form": 2') if name == "manifest.json" else content)])
    with pytest.raises(Damaged, match="has the form 2, and this program knows 1"):
        archive.read(made)
    rewritten(made, lambda name, content: [] if name == "manifest.json" else [(name, content)])
    with pytest.raises(Damaged, match="it has no manifest"):
        archive.read(made)
    with gzip.open(made, "wb") as file:
        file.write(json.dumps([]).encode())
    with pytest.raises(Damaged):
        archive.read(made)
    with pytest.raises(Problem, match="cannot be read") as caught:
        archive.read(str(tmp_path / "none.tar.gz"))
    assert not isinstance(caught.value, Damaged)


class Growing:
    """A file that somebody writes while it is read, `times` times."""

    def __init__(self, path, times):
        self.path, self.times, self.file = path, times, open(path, "rb")  # noqa: SIM115

    def __getattr__(self, name):
        return getattr(self.file, name)

    def read(self, size=-1):
        if self.times:
            self.times -= 1
            self.path.write_bytes(self.path.read_bytes()[:-1] if self.times % 2 else self.path.read_bytes() + b"more")
        return self.file.read(size)


@pytest.mark.parametrize(("times", "whole"), [(0, True), (1, True), (2, True), (3, True), (1000, False)])
def test_a_file_that_is_written_meanwhile(tmp_path, times, whole):
    path, target = tmp_path / "growing", tmp_path / "a.tar.gz"
    path.write_bytes(b"begin")
    with target.open("wb") as stream:
        writer = archive.Writer(stream)
        assert writer.add("artifacts/growing", Growing(path, times)) is whole
        writer.close({"form": 1})
    archive.read(str(target), lambda name: str(tmp_path / "out"))
    if whole:
        assert (tmp_path / "out").read_bytes() == path.read_bytes()
