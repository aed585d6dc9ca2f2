# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.block import Markers, put, take
from hypothesis import example, given
from hypothesis import strategies as st

OURS = Markers.of("sshd", "#")
EDGES = st.sampled_from(["top", "bottom"])
# Bytes as they are in files: newlines of both kinds, halves of them, and what is no text at all.
DATA = st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b"\r", b"\xff\x00", b"# BEGIN", b" ", OURS.begin + b"x"])).map(
    b"".join
)


@given(DATA, EDGES)
@example(b"", "bottom")
@example(b"abc", "bottom")
@example(b"abc\r", "bottom")
@example(b"a\r\nb", "bottom")
@example(b"\n", "bottom")
def test_taken_out_again_byte_for_byte(data, insert):
    there = put(data, b"X 1\nY 2\n", OURS, insert)
    assert there != data
    assert take(there, OURS) == data


@given(DATA, EDGES, EDGES)
def test_put_twice_is_put_once_and_another_text_takes_its_place(data, insert, later):
    once = put(data, b"X 1", OURS, insert)
    assert put(once, b"X 1\n", OURS, later) == once
    other = put(once, b"Y 2\nZ 3", OURS, later)
    assert other == put(data, b"Y 2\nZ 3", OURS, insert)


def test_where_it_goes():
    block = b"# BEGIN sessionops.policy sshd\nX 1\n# END sessionops.policy sshd\n"
    assert put(b"a\n", b"X 1", OURS, "top") == block + b"a\n"
    assert put(b"a\n", b"X 1", OURS, "bottom") == b"a\n" + block
    assert put(b"a", b"X 1", OURS, "bottom") == b"a\n" + block[:-1]
    assert put(b"", b"X 1", OURS, "bottom") == block


def test_takes_the_newlines_of_the_file():
    assert put(b"a\r\n", b"X 1\nY 2\n", OURS, "top").count(b"\r\n") == 5


def test_another_transaction_with_a_longer_name_is_another():
    there = put(b"a\n", b"X 1", Markers.of("sshd-main", "#"), "top")
    assert take(there, OURS) == there


@pytest.mark.parametrize(
    "lines",
    [
        [OURS.begin],
        [OURS.end],
        [OURS.end, OURS.begin],
        [OURS.begin, OURS.end, OURS.begin, OURS.end],
        [OURS.begin, OURS.begin, OURS.end],
    ],
)
def test_markers_that_are_not_one_pair_are_refused(lines):
    data = b"a\n" + b"\n".join(lines) + b"\n"
    for act in (lambda: take(data, OURS), lambda: put(data, b"X 1", OURS, "top")):
        with pytest.raises(ValueError, match="repair them by hand"):
            act()


def test_a_block_with_its_own_marker_is_refused():
    with pytest.raises(ValueError, match="leave them out"):
        put(b"", b"X\n" + OURS.end, OURS, "top")
