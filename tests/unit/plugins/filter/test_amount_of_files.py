# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule

amount_of_files = FilterModule().filters()["amount_of_files"]


@pytest.mark.parametrize(("files", "words"), [
    ([("a.csv", 569, 120000)], "569 rows, 117.19 KB, in a.csv"),
    ([("a.csv", 1, 1024), ("b.csv", 2, 1024)], "3 rows, 2.00 KB, in a.csv, b.csv"),
    ([("x" * 100, 1, 1)], "1 rows, 1.00 Bytes, in " + "x" * 100),
    ([("x" * 101, 1, 1)], "1 rows, 1.00 Bytes, in " + "x" * 97 + "..."),
])  # fmt: skip
def test_rows_size_and_names(files, words):
    assert amount_of_files([dict(zip(("name", "rows", "bytes"), file, strict=True)) for file in files]) == words
