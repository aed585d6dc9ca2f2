# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tmux out of /etc/shells and back."""

from __future__ import annotations

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.shells_file import judge_shells
from hypothesis import given
from hypothesis import strategies as st

SHELLS = "# valid\n/bin/sh\n/usr/bin/tmux\n/bin/zsh\n"


def test_nothing_to_do():
    for text, kept in ((None, None), ("/bin/sh\n", None), ("", None)):
        shells = judge_shells(text, kept)
        assert (shells.tmux, shells.without, shells.kept, shells.restored) == ([], None, None, None)


@given(st.lists(st.sampled_from(["/bin/sh", "# tmux", "/usr/bin/tmux", "", "/bin/Tmux x"]), max_size=8), st.booleans())
def test_there_and_back_byte_for_byte(lines, ended):
    text = "\n".join(lines) + ("\n" if ended and lines else "")
    out = judge_shells(text, None)
    if out.without is None:
        assert "tmux" not in text.lower()
        return
    assert "tmux" not in out.without.lower()
    again = judge_shells(out.without, out.kept)
    assert (again.tmux, again.without, again.kept, again.restored) == ([], out.without, out.kept, text)


@pytest.mark.parametrize(
    ("now", "restored"),
    [
        # Another shell came meanwhile.
        ("# valid\n/bin/sh\n/bin/zsh\n/bin/fish\n", "# valid\n/bin/sh\n/usr/bin/tmux\n/bin/zsh\n/bin/fish\n"),
        # An upgrade put the line back, at the end.
        ("# valid\n/bin/sh\n/bin/zsh\n/usr/bin/tmux\n", SHELLS),
        # Another line of tmux's came.
        ("# valid\n/bin/sh\n/bin/zsh\n/bin/tmux\n", SHELLS + "/bin/tmux\n"),
        ("/bin/sh", "/bin/sh\n/usr/bin/tmux\n"),
    ],
)
def test_what_others_did_meanwhile_stays(now, restored):
    kept = judge_shells(SHELLS, None).kept
    found = judge_shells(now, kept)
    assert found.restored == restored
    assert "tmux" not in found.without
    assert judge_shells(found.without, found.kept).restored == restored


def test_a_spoiled_note_is_no_reason_to_fail():
    for kept in ("{", "3", '[["a", "b"]]', "[[1]]"):
        assert judge_shells("/bin/sh\n", kept).restored == "/bin/sh\n"
