# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import datetime

import pytest
from ansible_collections.sessionops.policy.plugins.plugin_utils._waivers import parse_waivers

GOOD = {"rule": "5.1.7", "hosts": ["web*", "dmz"], "reason": "a proxy asks", "expires": "2026-06-30"}
FINDING = {"setting": "client_alive_interval", "rules": ["cis 5.1.7", "nist AC-12"]}


@pytest.mark.parametrize(
    ("names", "rule", "covered"),
    [
        (["web1", "all"], "5.1.7", True), (["db1", "dmz"], "5.1.7", True), (["db1", "all"], "5.1.7", False),
        (["web1"], "cis 5.1.7", True), (["web1"], "AC-12", True), (["web1"], "client_alive_interval", True),
        (["web1"], "5.1", False), (["web1"], "stig 5.1.7", False),
    ],
)  # fmt: skip
def test_what_a_waiver_covers(names, rule, covered):
    (waiver,) = parse_waivers([{**GOOD, "rule": rule}])
    assert waiver.covers(names, FINDING) is covered


def test_it_holds_to_the_end_of_its_day():
    (waiver,) = parse_waivers([{**GOOD, "expires": datetime.date(2026, 6, 30)}])
    assert not waiver.expired(datetime.date(2026, 6, 30))
    assert waiver.expired(datetime.date(2026, 7, 1))


def test_no_file_content_is_no_waiver():
    assert parse_waivers(None) == parse_waivers([]) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"rule": "x"}, "no list"), ([7], "waiver 1 must have rule, hosts, reason, expires"),
        ([GOOD, {**GOOD, "until": 1}], "waiver 2 must have"), ([{**GOOD, "expires": "soon"}], "like 2027-01-31"),
        ([{**GOOD, "rule": 5.1}], "put it in quotes"), ([{**GOOD, "reason": " "}], "reason is not a text"),
        ([{**GOOD, "hosts": []}], "neither a pattern nor a list"), ([{**GOOD, "hosts": "web:!web3"}], "one by one"),
    ],
)  # fmt: skip
def test_bad_entries_are_sentences(data, words):
    with pytest.raises(ValueError, match=words):
        parse_waivers(data)
