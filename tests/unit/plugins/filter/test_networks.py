# Copyright (c) Sparkflows MLOps collection contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import ipaddress

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.sparkflows.mlops.plugins.filter.plans import FilterModule
from hypothesis import given
from hypothesis import strategies as st

networks = FilterModule().filters()["networks"]
network_problems = FilterModule().filters()["network_problems"]


@pytest.mark.parametrize(("sources", "expected"), [
    ([], []),
    ("", []),
    (["10.1.2.3"], ["10.1.2.3"]),
    (["10.1.2.3/32", "2001:DB8:0::1/128"], ["10.1.2.3", "2001:db8::1"]),
    (["2001:db8::/64", "10.1.2.0/24"], ["10.1.2.0/24", "2001:db8::/64"]),
    (["10.1.2.128/25", "10.1.2.0/25", "10.1.2.7", "10.1.2.7"], ["10.1.2.0/24"]),
    (["0.0.0.0/0", "::/0", "10.0.0.1"], ["0.0.0.0/0", "::/0"]),
    ("10.0.0.1, 10.0.0.9  10.0.0.5", ["10.0.0.1", "10.0.0.5", "10.0.0.9"]),
])
def test_canonical(sources, expected):
    assert networks(sources) == expected


@pytest.mark.parametrize(("source", "words"), [
    ("10.1.2.3/24", "with the length of a network: write 10.1.2.3 for the one or 10.1.2.0/24 for the other."),
    ("2001:db8::1/64", "write 2001:db8::1 for the one or 2001:db8::/64 for the other."),
    ("fire1.example.com", "'fire1.example.com' is neither an IP address nor a network"),
    ("10.0.0.256", "neither"),
    ("10.0.0.0/33", "neither"),
    ("any", "neither"),
    ("fe80::1%eth0/64", "neither"),
    ("", "'' is neither"),
])
def test_problem_names_the_entry_and_the_way_out(source, words):
    assert [words in problem for problem in network_problems(["10.9.9.9", source])] == [True]
    with pytest.raises(AnsibleFilterError, match="networks: '"):
        networks([source])


@given(st.lists(st.ip_addresses().map(str)))
def test_same_addresses_before_and_after(sources):
    def members(entries):
        return [ipaddress.ip_network(entry) for entry in entries]

    found = networks(sources)
    assert not network_problems(found)
    assert networks(found) == found
    for source in members(sources):
        assert any(source.version == net.version and source.subnet_of(net) for net in members(found))
    assert sum(net.num_addresses for net in members(found)) == len({ipaddress.ip_address(source) for source in sources})
