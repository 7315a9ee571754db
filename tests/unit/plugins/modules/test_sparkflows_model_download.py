"""Downloads from the model repository: against the double, hostile archives, and scripted answers."""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
import tarfile
import zipfile

import pytest
from ansible_collections.sparkflows.mlops.plugins.module_utils import archives
from ansible_collections.sparkflows.mlops.plugins.modules import sparkflows_model_download as module

FILES = {"MLmodel": "flavors: {}\n", "sparkml/metadata/part-00000": "{}\n"}
MODELS = [
    dict(id=12, name="churn", uuid="7f1c", files=FILES),
    dict(id=13, name="risk", uuid="8a2d", files={"MLmodel": "old\n"}),
    dict(id=14, name="risk", uuid="9b3e", files={"MLmodel": "new\n"}),
]


@pytest.fixture
def options(sparkflows):
    def make(**switches):
        server = sparkflows(**dict(dict(models=MODELS), **switches))
        return server, dict(url=server.url, token=server.token("test"))

    return make


def downloads(server):
    return [request["path"] for request in server.requests if "/download/" in request["path"]]


def tree(path):
    return {str(one.relative_to(path)): one.read_text() for one in path.rglob("*") if one.is_file()}


def leftovers(tmp_path):
    return sorted(name for name in os.listdir(tmp_path) if name.startswith("."))


@pytest.mark.parametrize("shape", ["list", "page"])
@pytest.mark.parametrize("by", [dict(model_id=12), dict(model_uuid="7f1c"), dict(model_name="churn")])
def test_download_repeat_and_change_on_the_server(call, options, tmp_path, by, shape):
    server, login = options(model_shape=shape)
    path = tmp_path / "churn.zip"
    login.update(by, path=str(path))
    planned = call(module, check=True, diff=True, **login)
    assert planned["changed"] and not path.exists() and not downloads(server)
    assert planned["diff"]["before"] == "no model\n" and "model 12 churn" in planned["diff"]["after"]
    made = call(module, diff=True, **login)
    assert made["changed"] and made["downloaded"] and made["model"] == dict(id=12, name="churn", uuid="7f1c"), made
    assert made["sha256"] == archives.sha256(path) and made["sha256"] in made["diff"]["after"] and zipfile.is_zipfile(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    for check in (True, False):
        again = call(module, check=check, diff=True, **login)
        assert not again["changed"] and not again["downloaded"] and again["reason"] == "" and again["sha256"] == made["sha256"]
    assert downloads(server) == ["/api/v1/mlmodel/outputModel/12/download/zip"]
    server.settings.models = [dict(MODELS[0], createdTime=5, files={"MLmodel": "newer\n"})]
    changed = call(module, diff=True, **login)
    assert changed["changed"] and changed["sha256"] != made["sha256"] and "otherwise than before" in changed["reason"]
    assert zipfile.ZipFile(path).read("MLmodel") == b"newer\n" and not leftovers(tmp_path)


def test_damaged_file_is_downloaded_again(call, options, tmp_path):
    server, login = options(pack_time=0x60000000)
    path = tmp_path / "churn.zip"
    login.update(model_id=12, path=str(path))
    call(module, **login)
    good = path.read_bytes()
    path.write_bytes(b"damaged")
    result = call(module, **login)
    assert result["changed"] and "is not what was downloaded" in result["reason"] and path.read_bytes() == good
    # and with force, the same is no change
    forced = call(module, force=True, **login)
    assert forced["downloaded"] and not forced["changed"] and len(downloads(server)) == 3


def test_unpacked(call, options, tmp_path):
    server, login = options()
    path = tmp_path / "churn"
    login.update(model_name="churn", path=str(path), unpack=True)
    assert call(module, check=True, **login)["changed"] and not path.exists()
    made = call(module, **login)
    assert made["changed"] and tree(path) == FILES and made["entries"] == ["MLmodel", "sparkml"]
    assert made["content_sha256"] == archives.content_sha256(path) and made["sha256"]
    modes = {stat.S_IMODE(one.stat().st_mode) for one in [path, *path.rglob("*")]}
    assert modes == {0o755, 0o644}
    for check in (True, False):
        assert not call(module, check=check, **login)["changed"]
    # Packed anew, the archive has another checksum; its content is the same.
    server.settings.pack_time = 0x50000000
    forced = call(module, force=True, **login)
    assert not forced["changed"] and forced["sha256"] != made["sha256"] and forced["content_sha256"] == made["content_sha256"]
    # What was changed, added or removed by hand is put right.
    for spoil in (
        lambda: (path / "MLmodel").write_text("x"),
        lambda: (path / "more").write_text("x"),
        (path / "MLmodel").unlink,
        lambda: (path / "link").symlink_to("/etc"),
    ):
        spoil()
        assert call(module, **login)["changed"] and tree(path) == FILES
    server.settings.models = [dict(MODELS[0], uuid="new", files={"other": "1"})]
    assert call(module, diff=True, **login)["changed"] and tree(path) == {"other": "1"} and not leftovers(tmp_path)


def test_without_an_exchange_in_one_step(call, options, tmp_path, monkeypatch):
    server, login = options()
    login.update(model_id=12, path=str(tmp_path / "churn"), unpack=True)
    call(module, **login)
    monkeypatch.setattr(module.ctypes, "CDLL", lambda name: object())
    server.settings.models = [dict(MODELS[0], uuid="new", files={"other": "1"})]
    assert call(module, **login)["changed"] and tree(tmp_path / "churn") == {"other": "1"} and not leftovers(tmp_path)


def test_expected_checksum(call, options, tmp_path):
    server, login = options(pack_time=0x60000000)
    path = tmp_path / "churn.zip"
    login.update(model_id=12, path=str(path))
    good = call(module, **login)["sha256"]
    path.unlink()
    wrong = call(module, sha256="0" * 64, **login)
    assert wrong["failed"] and f"has the sha256 {good}, but {'0' * 64} was asked for" in wrong["msg"] and wrong["sha256"] == good
    assert not path.exists() and not leftovers(tmp_path)
    assert call(module, sha256=good.upper(), **login)["changed"]
    os.unlink(str(path) + ".sparkflows.json")
    server.stop()  # what has the checksum needs no server
    for check in (True, False):
        kept = call(module, check=check, sha256=good, **login)
        assert not kept["changed"] and kept["sha256"] == good and kept["model"] == {"id": 12}


def test_expected_checksum_of_what_is_unpacked(call, options, tmp_path):
    server, login = options()
    login.update(model_id=12, path=str(tmp_path / "churn"), unpack=True)
    made = call(module, **login)
    wrong = call(module, content_sha256="0" * 64, **login)
    assert wrong["failed"] and f"has the content_sha256 {made['content_sha256']}" in wrong["msg"] and tree(tmp_path / "churn") == FILES
    server.stop()
    for pin in (dict(content_sha256=made["content_sha256"]), dict(sha256=made["sha256"])):
        assert not call(module, **login, **pin)["changed"]
    (tmp_path / "churn" / "MLmodel").write_text("spoilt")
    for pin in (dict(content_sha256=made["content_sha256"]), dict(sha256=made["sha256"])):
        assert "cannot be reached" in call(module, **login, **pin)["msg"]


@pytest.mark.parametrize(
    "by, text",
    [
        (dict(model_name="risk"), "has 2 models with the name 'risk'; set model_id to the one that is meant: 13, 14."),
        (dict(model_name="Churn"), "shows no model with the name 'Churn'; did you mean churn?"),
        (dict(model_name="zzz"), "shows no model with the name 'zzz' among the"),
        (dict(model_uuid="zzzz"), "shows no model with the uuid 'zzzz'"),
        (dict(model_id=99), "Model 99 does not exist. Is there a model with the id 99, and a file_type zip?"),
    ],
)
def test_model_that_is_not_there_or_not_unique(call, options, tmp_path, by, text):
    _server, login = options()
    result = call(module, path=str(tmp_path / "m.zip"), **by, **login)
    assert result["failed"] and text in result["msg"] and not os.listdir(tmp_path)


def test_other_file_type(call, options, tmp_path):
    _server, login = options(model_file_types=["bundle"])
    login.update(model_id=12, path=str(tmp_path / "m"))
    assert "File type zip is not supported" in call(module, **login)["msg"]
    assert call(module, file_type="bundle", **login)["changed"]


def test_server_that_does_not_describe_models(call, server, reply, tmp_path):
    archive = zipped({"a": "1"})
    server.on("GET", "/api/v1/mlmodel/outputModel/5/download/zip", reply(archive, content_type="application/zip"))
    options = dict(url=server.url, token="some-token", model_id=5, path=str(tmp_path / "m.zip"))
    assert call(module, **options)["changed"]
    again = call(module, **options)  # nothing tells whether it is the same, so it is downloaded and compared
    assert not again["changed"] and again["downloaded"] and "does not describe" in again["reason"]


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "switches, text",
    [
        (dict(truncate_download=True), "broke off"),
        (dict(html_instead_of_json=True, fault_path="/api/v1/mlmodel/outputModel/12"), "with a web page"),
        (dict(redirect_api=True, fault_path="/api/v1/mlmodel/outputModel/12"), "a redirect to"),
        (dict(reset_first=1, fault_path="/api/v1/mlmodel/outputModel/12"), "cannot be reached"),
    ],
)
def test_download_that_goes_wrong(call, options, tmp_path, switches, text):
    server, login = options()
    path = tmp_path / "churn.zip"
    login.update(model_id=12, path=str(path))
    call(module, **login)
    good = path.read_bytes()
    for name, value in switches.items():
        setattr(server.settings, name, value)
    result = call(module, force=True, **login)
    assert result["failed"] and text in result["msg"] and path.read_bytes() == good and not leftovers(tmp_path)


@pytest.mark.parametrize(
    "body, kind",
    [("some words", "text/plain"), ({"state": "packing"}, "application/json"), ("no archive", "application/octet-stream"), ("", "application/zip")],
)
def test_answer_that_is_no_archive(call, server, reply, tmp_path, body, kind):
    server.on("GET", "/api/v1/mlmodel/outputModel/5/download/zip", reply(body, content_type=kind))
    result = call(module, url=server.url, token="some-token", model_id=5, path=str(tmp_path / "m.zip"))
    assert result["failed"] and "HTTP 200, but not with a zip archive" in result["msg"] and not os.listdir(tmp_path)


def test_download_is_retried_where_that_can_help(call, server, reply, pauses, tmp_path):
    good = reply(zipped({"a": "1"}), content_type="application/zip")
    server.on("GET", "/api/v1/mlmodel/outputModel/5/download/zip", reply("busy", 503), good)
    assert call(module, url=server.url, token="some-token", model_id=5, path=str(tmp_path / "m.zip"))["changed"] and len(pauses) == 1


# ---- hostile archives
def tarred(*members, mode="w:gz"):
    """members: (name, text) or (name, type, link name)"""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for member in members:
            info = tarfile.TarInfo(member[0])
            if len(member) == 2:
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1].encode()))
            else:
                info.type, info.linkname = member[1:]
                archive.addfile(info)
    return buffer.getvalue()


def zip_link(name, target):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return zipped({info: target})


def encrypted():
    data = bytearray(zipped({"a": "1"}))
    for start in (data.index(b"PK\3\4") + 6, data.index(b"PK\1\2") + 8):
        data[start] |= 1
    return bytes(data)


def damaged():
    data = bytearray(zipped({"a": "1" * 1000}))
    data[33] ^= 0xFF
    return bytes(data)


def long_header():
    """A tar archive with a header that claims to be 1 GiB long."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    return info.tobuf() + b"\0" * 10240


HOSTILE = {
    "zip dots": (zipped({"ok": "1", "../evil": "1"}), "'../evil' leads out of the target directory"),
    "zip dots inside": (zipped({"a/../../evil": "1"}), "leads out"),
    "zip absolute": (zipped({"/evil": "1"}), "leads out"),
    "zip backslash": (zipped({"..\\evil": "1"}), "leads out"),
    "zip control character": (zipped({"evil\n": "1"}), "is no name for a file"),
    "zip link": (zip_link("evil", "/etc"), "'evil' is a link"),
    "zip encrypted": (encrypted(), "is encrypted"),
    "zip damaged": (damaged(), "it is damaged"),
    "zip bomb": (zipped({"big": "0" * (3 << 20)}), "more than 2 MiB (max_unpacked_mb)"),
    "zip many": (zipped({str(number): "" for number in range(30)}), "more than 20 files and folders (max_files)"),
    "zip file and folder": (zipped({"a": "1", "a/b": "1"}), "is there twice"),
    "zip empty": (zipped({}), "is empty"),
    "tar dots": (tarred(("../evil", "1")), "leads out"),
    "tar absolute": (tarred(("/evil", "1")), "leads out"),
    "tar link": (tarred(("evil", tarfile.SYMTYPE, "/etc"), ("evil/passwd", "1")), "'evil' is a link"),
    "tar hard link": (tarred(("evil", tarfile.LNKTYPE, "/etc/passwd")), "'evil' is a link"),
    "tar device": (tarred(("evil", tarfile.CHRTYPE, "")), "a device"),
    "tar fifo": (tarred(("evil", tarfile.FIFOTYPE, "")), "a device or another special file"),
    "tar twice": (tarred(("a", "1"), ("a", "2")), "'a' is there twice"),
    "tar bomb": (tarred(("big", "0" * (3 << 20))), "more than 2 MiB"),
    "tar many": (tarred(*[(str(number), "") for number in range(30)]), "more than 20 files"),
    "tar cut off": (tarred(("big", "0" * (1 << 20)), mode="w")[: 1 << 19], "it is damaged"),
    "tar.gz cut off": (tarred(("big", os.urandom(1 << 16).hex()))[: 1 << 14], "it is damaged"),
    "tar.gz and something else": (gzip.compress(tarred(("big", "0" * (1 << 20)), mode="w")[: 1 << 19]) + b"Rar!" * 100, "it is damaged"),
    "tar forged header": (long_header(), "neither zip nor tar"),
    "something else": (b"Rar!" * 100, "neither zip nor tar nor tar.gz"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archive(call, options, tmp_path, name):
    data, text = HOSTILE[name]
    hostile = tmp_path / "hostile"
    hostile.write_bytes(data)
    server, login = options(model_file_types=["tar"], pack_time=0x60000000)
    target = tmp_path / "deep" / "down"
    target.mkdir(parents=True)
    login.update(model_id=12, path=str(target / "model"), unpack=True, file_type="tar", max_unpacked_mb=2, max_files=20)
    call(module, **login)
    before = [sorted(os.listdir(folder)) for folder in (tmp_path, target)]
    server.settings.models = [dict(id=12, name="churn", archive=str(hostile))]
    result = call(module, **login)
    assert result["failed"] and text in result["msg"], result
    assert [sorted(os.listdir(folder)) for folder in (tmp_path, target)] == before and tree(target / "model") == FILES
    assert not os.path.exists("/evil")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tar_archives_are_unpacked_too(call, options, tmp_path, mode):
    (tmp_path / "a").write_bytes(tarred(("./", tarfile.DIRTYPE, ""), ("./x/y", "1"), ("z", "2" * 100000), ("e", tarfile.DIRTYPE, ""), mode=mode))
    _server, login = options(models=[dict(id=1, archive=str(tmp_path / "a"))], model_file_types=["tgz"])
    result = call(module, model_id=1, file_type="tgz", path=str(tmp_path / "m"), unpack=True, **login)
    assert result["changed"] and tree(tmp_path / "m") == {"x/y": "1", "z": "2" * 100000} and result["entries"] == ["e", "x", "z"]


def test_too_large_download(call, options, tmp_path):
    (tmp_path / "a").write_bytes(os.urandom(3 << 20))
    _server, login = options(models=[dict(id=1, archive=str(tmp_path / "a"))])
    result = call(module, model_id=1, path=str(tmp_path / "m"), max_size_mb=1, **login)
    assert result["failed"] and "Model 1 is larger than 1 MiB (max_size_mb)" in result["msg"] and os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("unpack", [True, False])
def test_full_disk(call, options, tmp_path, unpack, monkeypatch):
    _server, login = options()
    real = open

    def full(path, mode="r", **more):
        stream = real(path, mode, **more)
        if "w" in mode and "b" in mode and (not unpack or isinstance(path, int)):
            stream.close()
            return real("/dev/full", "wb", buffering=0)
        return stream

    monkeypatch.setattr(archives if unpack else module, "open", full, raising=False)
    result = call(module, model_id=12, path=str(tmp_path / "m"), unpack=unpack, **login)
    assert result["failed"] and "No space left on device. Nothing was changed at path." in result["msg"] and not os.listdir(tmp_path)


# ---- places
def test_directory_of_somebody_else_is_not_replaced(call, options, tmp_path):
    server, login = options()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    result = call(module, model_id=12, path=str(tmp_path / "precious"), unpack=True, **login)
    assert result["failed"] and "content that this module has not put there" in result["msg"] and not server.requests
    assert "no file" in call(module, model_id=12, path=str(tmp_path / "precious"), **login)["msg"]
    assert "no directory" in call(module, model_id=12, path=str(tmp_path / "precious" / "file"), unpack=True, **login)["msg"]
    (tmp_path / "empty").mkdir()
    assert call(module, model_id=12, path=str(tmp_path / "empty"), unpack=True, **login)["changed"]


def test_check_mode_does_not_miss_the_directory_that_an_earlier_task_would_have_made(call, options, tmp_path):
    _server, login = options()
    result = call(module, model_id=12, path=str(tmp_path / "to come" / "m"), unpack=True, check=True, **login)
    assert result["changed"] and result["reason"].startswith("there is nothing at") and not os.listdir(tmp_path)


def test_link_stays_a_link(call, options, tmp_path):
    _server, login = options()
    (tmp_path / "link").symlink_to("real")
    call(module, model_id=12, path=str(tmp_path / "link"), unpack=True, **login)
    assert (tmp_path / "link").is_symlink() and tree(tmp_path / "real") == FILES


def test_unreadable_record_means_a_new_download(call, options, tmp_path):
    _server, login = options(pack_time=0x60000000)
    login.update(model_id=12, path=str(tmp_path / "m.zip"))
    call(module, **login)
    (tmp_path / "m.zip.sparkflows.json").write_text("[1")
    again = call(module, **login)
    assert again["downloaded"] and not again["changed"]
    assert json.loads((tmp_path / "m.zip.sparkflows.json").read_text())["model"]["id"] == 12


@pytest.mark.parametrize(
    "wrong, text",
    [
        (dict(), "one of the following is required: model_id, model_uuid, model_name"),
        (dict(model_id=1, model_name="x"), "mutually exclusive"),
        (dict(model_id=1, sha256="abc"), "sha256 is not a SHA-256"),
        (dict(model_id=1, content_sha256="0" * 64), "content_sha256 can only be checked with unpack=true"),
        (dict(model_id=1, max_files=0), "max_files must be more than 0"),
        (dict(model_id=1, path="/nowhere/at/all"), "path: there is no directory /nowhere/at on this host"),
    ],
)
def test_wrong_options(call, server, tmp_path, wrong, text):
    result = call(module, **dict(dict(url=server.url, token="some-token", path=str(tmp_path / "m")), **wrong))
    assert result["failed"] and text in result["msg"] and not server.requests


def test_selinux_s_context_is_that_of_the_place(call, options, tmp_path, labels):
    _server, login = options()
    path = tmp_path / "churn"
    assert call(module, **login, model_id=12, path=str(path), unpack=True)["changed"]
    assert [labels(path / name) for name in ("", "MLmodel", "sparkml/metadata")] == [
        f"type of {path}", f"type of {path}/MLmodel", f"type of {path}/sparkml/metadata"]
