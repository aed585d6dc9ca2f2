# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each cause, produced for real on one host of each release, and what session_history_info calls it."""

from __future__ import annotations

import contextlib
import typing as t

import pytest
from causes import CASES, NAMELESS, Endings, can, restart
from realhosts import Machine


@pytest.fixture(scope="module")
def ended(machine: Machine) -> t.Iterator[Machine]:
    """The host with everything on it that has ended."""
    with contextlib.ExitStack() as stack:
        Endings(machine, stack)()
        restart(machine, stack)
        yield machine


@pytest.fixture(scope="module")
def history(ended: Machine) -> dict:
    found = ended.module("session_history_info", since="1h", limit=0)
    assert "sessions" in found, found
    return found


def of(history: dict, case: str) -> list[dict]:
    address = NAMELESS.get(case)
    return [s for s in history["sessions"] if (s["remote_host"] == address if address else s["user"] == case)]


@pytest.mark.parametrize("case", CASES)
def test_the_cause_has_its_name(history, ended, named, case):
    if not can(case, ended):
        return
    found = of(history, case)
    causes = {s["ended_by"] for s in found}
    right = causes == set(CASES[case])
    could_be = [cause for s in found for cause in s["could_be"]]
    if case.startswith("quietly_") and causes == {"unknown"}:
        right = set(CASES[case]) <= set(could_be)
    named(case, ended.image, " or ".join(could_be) or ", ".join(sorted(causes)) or "nothing", right)
    assert right, found
    for session in found:
        assert session["how"] and session["ended_at"].endswith("Z")
        assert session["evidence"]["source"] == "journal" and session["evidence"]["cursor"]
        assert session["inferred"] == session["how"].startswith("inferred")


def test_what_is_known_of_a_session(history):
    (left,) = of(history, "exits")
    assert left["kind"] == "terminal" and left["tty"].startswith("pts/") and left["service"] == "sshd"
    assert left["uid"] and left["leader"] and left["remote_host"] and left["remote_port"]
    assert left["began_at"] <= left["ended_at"] and left["duration"] < 60 and not left["refused"]
    assert [of(history, name)[0]["kind"] for name in ("runs", "copies")] == ["exec", "sftp"]
    (reaped,) = of(history, "is_reaped")
    assert reaped["because"] == ["idle"] and any(word.startswith("tmux") for word in reaped["survivors"])
    (ours,) = of(history, "is_terminated")
    assert ours["reason"] == "tried, OPS-1" and ours["evidence"]["trusted"]
    assert all(session["refused"] for case in NAMELESS for session in of(history, case))
    assert history["summary"]["exit"] >= 4
    sources = {source["name"]: source["lines"] for source in history["sources"]}
    assert all(sources[name] for name in ("journal", "wtmp", "logind", "own")), sources


def test_what_users_write_into_the_log_counts_for_nothing(history):
    (session,) = of(history, "forges")
    assert session["ended_by"] == "exit", session
    assert not [s for s in history["sessions"] if "6.6.6.6" in str(s)]


def test_the_window_and_the_filters(history, ended):
    def ask(**args) -> list[tuple]:
        found = ended.module("session_history_info", **{"since": "1h", **args})
        return [(s["user"], s["ended_by"], s["ended_at"]) for s in found["sessions"]]

    everything = [(s["user"], s["ended_by"], s["ended_at"]) for s in history["sessions"]]
    moments = [at for _user, _cause, at in everything]
    assert moments == sorted(moments, reverse=True)
    assert ask(users=["freezes"]) == [row for row in everything if row[0] == "freezes"]
    assert {row[1] for row in ask(ended_by=["killed", "reaper"])} == {"killed", "reaper"}
    assert [row[0] for row in ask(remote_hosts=["198.51.100.10/32"])] == ["is_reset"]
    assert len(ask(limit=3)) == 3
    # From the middle of a session on: it ended in the window, and what it began with is found before it.
    (late,) = of(history, "exits_late")
    middle = late["ended_at"]
    (again,) = ended.module("session_history_info", users=["exits_late"], since=middle)["sessions"]
    assert again == late
    assert not ask(users=["exits_late"], until=middle.replace("Z", "+00:00"))


def test_what_cannot_be_asked_is_a_sentence(ended):
    for args, sentence in (
        ({"since": "yesterday"}, "since: 'yesterday' is no moment: write for example"),
        ({"since": "1h", "until": "2h"}, "since is not before until"),
        ({"limit": -1}, "limit: write 0 for all"),
        ({"remote_hosts": ["home"]}, "remote_hosts: 'home' is neither an address nor a network"),
    ):
        assert sentence in ended.module("session_history_info", **args)["msg"]


def test_why_in_words(ended):
    said = " ".join(ended.exec("session-reaper why is_reaped").stdout.split())
    assert "Your tmux still runs: `tmux attach`" in said and "nothing was typed in it for too long" in said, said
    said = ended.exec("session-reaper why freezes").stdout
    assert "did not answer" in said and "ServerAliveInterval" in said, said
    said = ended.exec("session-reaper why").stdout
    assert max(len(line) for line in said.splitlines()) <= 80
    assert ended.exec("session-reaper why nobody_at_all").stdout == "No session ended that the logs know of.\n"
    refused = ended.exec("runuser -u alice -- session-reaper why", check=False)
    assert refused.returncode == 1 and "sudo session-reaper why" in refused.stderr
