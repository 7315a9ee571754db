# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule

FILTERS = FilterModule().filters()
DEARMOR = Path(__file__).resolve().parents[4] / "roles/java_runtime/files/dearmor.sh"
UNSTABLE = {"name": "Unstable_JDK 8", "uris": ["https://deb.example/debian"], "suites": ["unstable"]}
IN_LETTERS = """-----BEGIN PGP PUBLIC KEY BLOCK-----
Comment: of a vendor

mDMEYw==
=abcd
-----END PGP PUBLIC KEY BLOCK-----
"""


def files(*repositories):
    return FILTERS["apt_source_files"](list(repositories), "/etc/apt/preferences.d/java-runtime", "openjdk-8-*")


def test_a_source_is_described_as_apt_reads_it():
    given = dict(UNSTABLE, components=["main", "contrib"], architectures=["amd64"], signed_by="/usr/share/keyrings/a.gpg", trusted=False,
                 check_valid_until=False, types=None)  # fmt: skip
    source, pins = files(given)
    assert source == {
        "path": "/etc/apt/sources.list.d/unstable-jdk-8.sources",
        "content": (
            "X-Repolib-Name: Unstable_JDK 8\nTypes: deb\nURIs: https://deb.example/debian\nSuites: unstable\nComponents: main contrib\n"
            "Architectures: amd64\nSigned-By: /usr/share/keyrings/a.gpg\nTrusted: no\nCheck-Valid-Until: no\n"
        ),
    }
    assert pins == {
        "path": "/etc/apt/preferences.d/java-runtime",
        "content": (
            "Package: *\nPin: release n=unstable\nPin-Priority: -1\n\nPackage: *\nPin: release a=unstable\nPin-Priority: -1\n\n"
            "Package: openjdk-8-*\nPin: release a=unstable\nPin-Priority: 500\n"
        ),
    }


@pytest.mark.parametrize("suites", [["stable", "updates"], "stable,updates", "stable, updates"])
def test_a_text_is_a_list_as_it_is_for_ansible_and_each_suite_is_held_back(suites):
    source, pins = files(dict(UNSTABLE, suites=suites, uris="https://deb.example/debian"))
    assert "\nURIs: https://deb.example/debian\nSuites: stable updates\n" in source["content"]
    for suite in ("stable", "updates"):
        assert f"Package: *\nPin: release a={suite}\nPin-Priority: -1\n" in pins["content"]
        assert f"Package: openjdk-8-*\nPin: release a={suite}\nPin-Priority: 500\n" in pins["content"]


@pytest.mark.parametrize(("value", "written"), [(True, "yes"), ("true", "yes"), ("no", "no"), (False, "no")])
def test_a_switch_may_be_a_text(value, written):
    assert f"\nTrusted: {written}\n" in files(dict(UNSTABLE, trusted=value))[0]["content"]


def test_a_key_is_fetched_to_where_the_source_looks_for_it():
    given = dict(UNSTABLE, signed_by="https://deb.example/key.asc")
    path = "/etc/apt/keyrings/unstable-jdk-8.gpg"
    assert FILTERS["apt_source_keys"]([given, UNSTABLE]) == [{"url": "https://deb.example/key.asc", "path": path}]
    folder, source, _pins = files(given)
    assert folder == {"path": "/etc/apt/keyrings", "state": "directory"}
    assert f"\nSigned-By: {path}\n" in source["content"]


def test_a_key_itself_stands_in_the_source():
    source = files(dict(UNSTABLE, signed_by=IN_LETTERS))[0]["content"]
    assert FILTERS["apt_source_keys"]([dict(UNSTABLE, signed_by=IN_LETTERS)]) == []
    # No line of it is empty, or begins at the margin: that would be another field, or the end of the source.
    assert source.partition("Signed-By: ")[2].splitlines() == [
        "", " -----BEGIN PGP PUBLIC KEY BLOCK-----", " Comment: of a vendor", " .", " mDMEYw==", " =abcd", " -----END PGP PUBLIC KEY BLOCK-----",
    ]  # fmt: skip


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_key_in_letters_becomes_bytes_once(tmp_path, ends):
    key = tmp_path / "key.gpg"
    key.write_bytes(IN_LETTERS.replace("\n", ends).encode())
    for _time in range(2):
        subprocess.run(["sh", DEARMOR, key], check=True)
        assert key.read_bytes() == base64.b64decode("mDMEYw==") and sorted(tmp_path.iterdir()) == [key]
