# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.duration import (
    LARGEST,
    format_duration,
    parse_duration,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(900, 900), ("900", 900), ("90s", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172800), (" 5m ", 300), (0, 0)],
)
def test_reads_what_people_write(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", " ", "m5", "-1", -1, True, 1.5, None, "30m1h", "1w", "5 m", "1m1m", "٣m", "0x10", [5], "5M"]
)
def test_anything_else_gets_a_sentence(text):
    with pytest.raises(ValueError, match="write whole seconds or, for example, 90s"):
        parse_duration(text)


@pytest.mark.parametrize("text", [LARGEST + 1, "9" * 5000, "9999999999d"])
def test_too_long_for_a_c_int(text):
    with pytest.raises(ValueError, match="too long"):
        parse_duration(text)


@given(st.integers(0, LARGEST))
def test_round_trip(seconds):
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.text())
def test_never_raises_anything_else(text):
    try:
        assert 0 <= parse_duration(text) <= LARGEST
    except ValueError:
        pass
