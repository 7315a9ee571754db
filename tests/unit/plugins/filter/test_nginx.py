# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from hypothesis import given
from hypothesis import strategies as st

FILTERS = FilterModule().filters()
FOLDER = "/etc/nginx/mlops"
AUTHORITY = "-----BEGIN CERTIFICATE-----\nauthority\n-----END CERTIFICATE-----\n"
OWN = AUTHORITY.replace("authority", "own")
CERTIFICATE = {"name": "mlflow", "method": "ca", "names": ["mlflow1.example.com", "192.0.2.11"]}


@pytest.mark.parametrize(("lines", "true"), [
    (["package=installed", "ActiveState=active", "UnitFileState=enabled"], ["installed", "runs", "answers", "starts"]),
    (["package=installed", "ActiveState=active", "UnitFileState=disabled"], ["installed", "answers"]),
    (["package=installed", "ActiveState=failed", "UnitFileState=enabled"], ["installed", "starts"]),
    (["package=installed", "default_site=unedited"], ["installed", "default_site_is_unedited"]),
    (["package=config-files", "ActiveState=inactive", "UnitFileState=", "default_site=edited"], []),
    (["package nginx is not installed", "ActiveState=inactive", "UnitFileState="], []),
    ([], []),
])  # fmt: skip
def test_what_nobody_could_say_is_not_there(lines, true):
    assert [name for name, value in FILTERS["nginx_state"](lines).items() if value] == true


@pytest.mark.parametrize(("path", "good"), [
    ("users", True), (".users", True), ("sub/users", False), ("", False), ("../passwd/", False)])  # fmt: skip
def test_files_lie_in_one_folder(path, good):
    path = f"{FOLDER}/{path}"
    words = f"{path} in nginx_files does not lie in {FOLDER}: set its path to a file there."
    assert FILTERS["nginx_file_problems"]([{"path": path, "content": "canary"}], FOLDER) == ([] if good else [words])


def test_another_folder_is_none():
    paths = ["/etc/nginx/mlops-other/users", "/srv/etc/nginx/mlops/users", "users"]
    assert len(FILTERS["nginx_file_problems"]([{"path": path} for path in paths], FOLDER)) == 3


FILES = st.lists(st.fixed_dictionaries({"path": st.text(min_size=1)}, optional={
    "content": st.just("canary"), "group": st.just("root"), "mode": st.just("0600"), "state": st.sampled_from(["present", "absent"])}),
    unique_by=lambda file: file["path"])  # fmt: skip


@given(FILES)
def test_contents_have_a_place_of_their_own(files):
    found = FILTERS["nginx_files"](files, "www-data")
    # Nothing is lost, and nothing is in two places.
    assert found["secret_contents"] == {file["path"]: "canary" for file in files if "content" in file}
    assert [dict(file, content="canary") if file["path"] in found["secret_contents"] else file for file in found["files"]] == [
        {"group": "www-data", **file} for file in files]  # fmt: skip
    assert all("content" not in file for file in found["files"])


@pytest.mark.parametrize(("name", "written"), [
    ("mlflow1", "DNS:mlflow1"), ("*.example.com", "DNS:*.example.com"), ("192.0.2.11", "IP:192.0.2.11"), ("2001:db8::11", "IP:2001:db8::11"),
    ("1.example.com", "DNS:1.example.com"), ("example.1", "DNS:example.1")])  # fmt: skip
def test_names_and_addresses_are_of_two_kinds(name, written):
    assert FILTERS["nginx_certificate_names"]({"names": [name]}) == [written]
    assert FILTERS["nginx_certificate_names"]({}) == []


def problems(**certificate):
    return FILTERS["nginx_certificate_problems"]({"name": "mlflow", **certificate})


def test_what_a_certificate_is_made_from(tmp_path):
    file = tmp_path / "a.pem"
    file.write_text("x")
    here, nowhere = str(file), str(tmp_path / "none.pem")
    assert problems(method="provided", certificate_path=here, key_path=here) == []
    assert problems(method="ca", ca_path=here, ca_key_path=here, names=["a"]) == []
    # The paths of the other method count for nothing.
    empty = "{} of the certificate mlflow is empty: set it to a PEM file on the controller."
    assert problems(method="provided", ca_path=here, ca_key_path=here) == [empty.format("certificate_path"), empty.format("key_path")]
    assert problems(method="ca", certificate_path=here, key_path=here) == [
        empty.format("ca_path"), empty.format("ca_key_path"),
        "names of the certificate mlflow is empty: set it to the names and addresses of the server."]  # fmt: skip
    assert problems(method="provided", certificate_path=nowhere, key_path="") == [
        f"certificate_path of the certificate mlflow is {nowhere}, which is no file on the controller: correct it.",
        empty.format("key_path"),
    ]


NOW = datetime.now(timezone.utc)


def info(names=("IP:192.0.2.11", "DNS:mlflow1.example.com"), begins=-1, ends=61):
    """In days from now on."""
    begin, end = (f"{NOW + timedelta(days=days):%Y%m%d%H%M%SZ}" for days in (begins, ends))
    return {"subject_alt_name": names and list(names), "not_before": begin, "not_after": end}


def is_good(certificate=CERTIFICATE, content=OWN + AUTHORITY, **more):
    found = {"content": base64.b64encode(content.encode()).decode(), "chain": {"complete_chain": []}, "info": info(), **more}
    return FILTERS["nginx_certificate_is_good"](certificate, found, AUTHORITY)


@pytest.mark.parametrize("difference", [
    # What was skipped has found nothing.
    {"content": "", "info": {}, "chain": {"skipped": True}}, {"content": OWN}, {"content": OWN + AUTHORITY.strip()},
    {"chain": {"failed": True}}, {"info": info(ends=59)}, {"info": info(ends=-1)}, {"info": info(begins=61, ends=99)},
    {"info": info(names=["DNS:mlflow1.example.com"])}, {"info": info(names=None)},
    {"certificate": {**CERTIFICATE, "names": ["mlflow1.example.com", "192.0.2.12"]}},
    {"certificate": {**CERTIFICATE, "renew_days": "62"}}])  # fmt: skip
def test_a_certificate_is_good_if_everything_is(difference):
    assert is_good() is True
    assert is_good(**difference) is False


def test_the_days_before_its_end_can_be_set():
    assert is_good({**CERTIFICATE, "renew_days": 3}, info=info(ends=4)) is True


@pytest.mark.parametrize(("lines", "removes", "before"), [
    ([], True, ["default_site"]),
    ([], False, []),
    (["package=installed", "ActiveState=active", "UnitFileState=enabled"], True, ["installed", "ran", "started"]),
    (["package=installed", "default_site=unedited"], True, ["installed", "default_site"]),
    (["package=installed", "ActiveState=active", "UnitFileState=disabled"], True, ["installed", "ran"]),
    (["package=installed", "ActiveState=failed", "UnitFileState=enabled"], True, ["installed", "started"]),
])  # fmt: skip
def test_what_was_here_before(lines, removes, before):
    said = json.loads(FILTERS["nginx_before"](FILTERS["nginx_state"](lines), removes))
    assert [name for name, value in said.items() if value] == before
    assert FILTERS["nginx_state"](["before=known"])["before_is_known"] and not FILTERS["nginx_state"]([])["before_is_known"]
