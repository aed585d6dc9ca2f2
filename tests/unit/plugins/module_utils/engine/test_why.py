# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endings in words: a terminal's width, and something to do."""

from __future__ import annotations

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.history import CAUSES, Ending
from ansible_collections.sessionops.policy.plugins.module_utils._engine.why import why

LEFT = Ending("unresponsive_peer", 1_800_000_000.0, user="alice", remote_host="192.0.2.7", kind="terminal", tty="pts/3",
              began_at=1_800_000_000.0 - 5000)  # fmt: skip


def test_an_ending_with_what_to_do():
    assert why([LEFT]) == [
        "2027-01-15 08:00:00 UTC alice pts/3 from 192.0.2.7 after 1h23m",
        "  Your client did not answer: the computer slept, the network was away, or the",
        "  client was frozen.",
        "  Set keepalives in your client: ServerAliveInterval 60 in ~/.ssh/config, or in",
        "  PuTTY Connection, Seconds between keepalives. Work in tmux or screen outlives",
        "  a lost connection.",
    ]


def test_what_still_runs_and_what_was_kept():
    ending = LEFT._replace(
        ended_by="reaper", because=("idle",), survivors=("tmux: server:12", "sleep:13"), preserved=("/home/a/.x.swp",)
    )
    text = " ".join(" ".join(why([ending])).split())
    assert "ended it: nothing was typed in it for too long." in text
    assert "Your tmux still runs: `tmux attach`" in text
    assert "What your editors had not saved is in: /home/a/.x.swp" in text
    assert "Work in tmux" not in text


def test_what_is_not_known_is_not_dressed_up():
    ending = LEFT._replace(ended_by="unknown", could_be=("exit", "idle_shell"), how="the shell left no line")
    text = " ".join(" ".join(why([ending])).split())
    assert "The logs do not say why, only that it was one of these: exit, idle_shell. The shell left no line." in text


def test_no_ending():
    assert why([]) == ["No session ended that the logs know of."]


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("width", [80, 50])
def test_every_cause_has_words_that_fit(cause, width):
    ending = LEFT._replace(ended_by=cause, refused=cause == "max_logins", inferred=True, how="inferred: from this")
    lines = why([ending, ending], width)
    assert len(lines) > 3 and max(map(len, lines)) <= width
    assert lines.count("") == 1
