# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The names of causes, on the journals of real hosts (recorded by tests/hosts/record_history.py) and on single lines."""

from __future__ import annotations

import base64
import json
import pathlib
import random
import zlib

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine import judge_history
from ansible_collections.sessionops.policy.plugins.module_utils._engine.history import InForce, Line, Login
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_history import (
    History,
    Query,
    facts_of,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_sessions import parse_networks
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe import history_journal, history_logins
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.history import with_ends
from hypothesis import given
from hypothesis import strategies as st

RECORDED = pathlib.Path(__file__).parent / "recorded"
# As the last configuration of the scenario had them.
IN_FORCE = {"bullseye": InForce(30, None, 15), "bookworm": InForce(30, 4, 15), "trixie": InForce(30, 4, 15)}
ALL = {
    "exits": {"exit"},
    "exits_late": {"exit"},
    "runs": {"exit"},
    "copies": {"exit"},
    "types_tilde": {"client_closed"},
    "closes_window": {"client_closed"},
    "is_cut_off": {"client_closed"},
    "is_reset": {"connection_reset"},
    "freezes": {"unresponsive_peer"},
    "idles_bash": {"idle_shell"},
    "idles_zsh": {"idle_shell"},
    "idles_ksh": {"idle_shell"},
    "idles_mksh": {"idle_shell"},
    "is_reaped": {"reaper"},
    "is_terminated": {"session_terminate"},
    "loses_priv": {"killed"},
    "loses_child": {"killed"},
    "has_priv_told": {"killed"},
    "is_logged_out": {"killed"},
    "is_shut_down": {"shutdown"},
    "multiplexes": {"exit", "max_sessions"},
    "logs_in_twice": {"exit", "max_logins"},
    "198.51.100.12": {"login_grace"},
    "198.51.100.13": {"max_startups"},
    "quietly_exits": {"exit"},
    "quietly_hangs_up": {"client_closed"},
    "forges": {"exit"},
}
SINCE_9_2 = {
    "idles_channel": {"idle_channel"},
    "forwards": {"unused_connection"},
    "198.51.100.11": {"policy_lockout"},
    "quietly_idles": {"unknown"},
}
# At LogLevel INFO the process that said goodbye had ended there before the journal looked who it was.
TOO_LATE = {"quietly_hangs_up": {"unknown"}}
EXPECTED = {
    "bullseye": {**ALL, **TOO_LATE, "quietly_is_cut": {"unknown"}, "quietly_is_killed": {"unknown"}},
    "bookworm": {
        **ALL, **SINCE_9_2, "quietly_is_cut": {"unknown"}, "quietly_is_killed": {"unknown"},
        "idles_logind": {"logind_idle"},
    },
    "trixie": {
        **ALL, **SINCE_9_2, **TOO_LATE, "quietly_is_cut": {"client_closed"}, "quietly_is_killed": {"killed"},
        "198.51.100.14": {"source_penalty"},
    },
}  # fmt: skip


def recorded(release):
    return json.loads((RECORDED / f"history_{release}.json").read_text())


def lines_of(recording):
    entries = (dict(zip(recording["fields"], row)) for row in recording["journal"])
    return [history_journal.parse(json.dumps(entry).encode()) for entry in entries]


def logins_of(recording):
    logins = history_logins.parse_wtmp(zlib.decompress(base64.b64decode(recording["wtmp"])))
    rows = [Login(user, tty or "", host or "", None, at / 1e6, left and left / 1e6)
            for _id, kind, user, at, left, tty, host, _service in recording["wtmpdb"] if kind == 3]  # fmt: skip
    return logins._replace(logins=with_ends(logins.logins, tuple(rows)))


def judged(recording, release, lines=None, beginnings=(), query=None, settle_after=None):
    logins = logins_of(recording)
    history = History(logins.logins, logins.shutdowns, logins.starts, query)
    for number, line in enumerate(lines_of(recording) if lines is None else lines):
        history.read(line)
        if settle_after and number % settle_after == 0:
            history.settle(recording["now"], IN_FORCE[release])
    history.read_beginnings(beginnings)
    return history.endings(recording["now"], IN_FORCE[release])


def named(endings):
    """By user, or by address where the logs know no user."""
    found = {}
    for ending in endings:
        found.setdefault(ending.user or ending.remote_host, set()).add(ending.ended_by)
    return found


@pytest.mark.parametrize("release", sorted(EXPECTED))
def test_every_cause_on_a_recorded_host(release):
    endings = judged(recorded(release), release)
    found = named(endings)
    assert {who: found.get(who) for who in EXPECTED[release]} == EXPECTED[release]
    assert [ending.ended_at for ending in endings] == sorted((e.ended_at for e in endings), reverse=True)
    for ending in endings:
        assert ending.how and (ending.evidence or ending.service is None)
        assert bool(ending.could_be) <= (ending.ended_by == "unknown")


@pytest.mark.parametrize("release", sorted(EXPECTED))
def test_what_began_before_the_window_is_found(release):
    recording = recorded(release)
    lines = lines_of(recording)
    cut = next(n for n, line in enumerate(lines) if "session closed for user loses_child" in line.message)
    logins = logins_of(recording)
    window = Query(lines[cut].at, recording["now"], limit=0)
    history = History(logins.logins, logins.shutdowns, logins.starts, window)
    for line in lines[cut:]:
        history.read(line)
    pids = history.unbegun()
    earlier = [
        line
        for line in lines[:cut]
        if line.uid == 0 and (line.pid in pids or line.facts.get("leader", "0") in map(str, pids))
    ]
    history.read_beginnings(earlier)
    found = named(history.endings(recording["now"], IN_FORCE[release]))
    later = ("loses_child", "is_terminated", "idles_ksh", "exits_late", "freezes")
    assert {who: found[who] for who in later if who in found} == {who: ALL[who] for who in later if who in found}
    assert {"loses_child", "idles_ksh"} <= set(found)
    assert "exits" not in found, "a session that ended before the window came back"


@pytest.mark.parametrize("release", sorted(EXPECTED))
def test_no_line_that_a_user_can_write_changes_a_name(release):
    """Every line of every process is written again by a user's logger, in any place: nothing changes."""
    recording = recorded(release)
    lines = lines_of(recording)
    dice = random.Random(release)
    forged = list(lines)
    for line in dice.sample(lines, 300):
        stranger = dice.choice([1001, line.uid or 1001])
        twin = line._replace(
            uid=stranger or 1001, pid=dice.choice([line.pid, 4_000_001]), comm="logger", exe="/usr/bin/logger"
        )
        if twin.identifier != "session-policy-shell" and twin.pid != line.pid:
            place = dice.randrange(len(forged))
            forged.insert(place, twin._replace(at=forged[place - 1].at))
    honest = [ending for ending in judged(recording, release) if ending.user != "x"]
    assert named(judged(recording, release, forged)) == named(honest)


ROOT = {"uid": 0, "comm": "sshd", "exe": "/usr/sbin/sshd"}
MINE = {"uid": 1001, "comm": "sshd", "exe": "/usr/sbin/sshd", "session": "5"}


def say(at, text, pid=10, identifier="sshd", **who):
    return Line(float(at), identifier, pid, text, "journal", **{**ROOT, **who})


def login(at=0, user="alice", port=5):
    return [
        say(at, f"Accepted publickey for {user} from 192.0.2.7 port {port} ssh2: ED25519 SHA256:x"),
        say(at, f"pam_unix(sshd:session): session opened for user {user}(uid=1001) by (uid=0)"),
        say(at, f"New session 5 of user {user}.", 3, "systemd-logind", comm="systemd-logind",
            facts={"session_id": "5", "leader": "10"}),
    ]  # fmt: skip


def closed(at, user="alice"):
    return [say(at, f"pam_unix(sshd:session): session closed for user {user}")]


def judge(*lines, logins=(), in_force=InForce(), on=(), now=1e6):  # noqa: B008
    history = History(logins)
    for line in lines:
        history.read(line)
    history.read_beginnings(())
    return history.endings(now, in_force, on)


def test_a_goodbye_that_cannot_be_traced_leaves_open_what_it_could_have_meant():
    goodbye = "Received disconnect from 192.0.2.7 port 5:11: disconnected by user"
    too_late = {"uid": 1001, "comm": None, "exe": None, "session": None}
    in_force = InForce(channel_timeout=60)
    (ending,) = judge(*login(), say(90, goodbye, 11, **too_late), *closed(90), in_force=in_force)
    assert ending.ended_by == "unknown" and {"exit", "idle_channel", "killed"} <= set(ending.could_be)
    (ending,) = judge(*login(), say(30, goodbye, 11, **too_late), *closed(30), in_force=in_force)
    assert "exit" in ending.could_be and "idle_channel" not in ending.could_be
    (ending,) = judge(*login(), *closed(90), in_force=in_force)
    assert not {"exit", "idle_channel"} & set(ending.could_be)
    (ending,) = judge(*login(), say(90, goodbye, 11, uid=1001, comm="logger"), *closed(90), in_force=in_force)
    assert "exit" not in ending.could_be


TIMEOUT = "Timeout, client not responding from user alice 192.0.2.7 port 5"


@pytest.mark.parametrize(
    "who, pid",
    [
        ({"uid": 1002}, 11),  # another user's sshd
        ({"comm": "logger", "exe": "/usr/bin/logger"}, 11),
        ({"exe": "/home/alice/sshd"}, 11),  # one's own program by that name
        ({"comm": None, "exe": None, "session": None}, 11),  # it ended before the journal could look
        ({"session": "6"}, 11),  # out of another session
        ({}, 12),  # not the process that root's sshd has named
    ],
)
def test_who_must_not_say_how_a_session_ended(who, pid):
    child = [say(1, "User child is on pid 11")] if pid == 12 else []
    (ending,) = judge(*login(), *child, say(9, TIMEOUT, pid, **{**MINE, **who}), *closed(9))
    assert ending.ended_by in ("unknown", "killed")


def test_the_process_that_root_names_may_have_ended_before_the_journal_looked():
    said = say(9, TIMEOUT, 11, uid=1001, comm=None, exe=None)
    (ending,) = judge(*login(), say(1, "User child is on pid 11"), said, *closed(9))
    assert ending.ended_by == "unresponsive_peer" and ending.evidence.trusted


def test_what_was_said_long_before_the_end_is_not_the_cause():
    goodbye = say(100, "Received disconnect from 192.0.2.7 port 5:11: disconnected by user", 11, **MINE)
    cut = say(9, "channel 0: closing after 3 seconds of inactivity", 11, **MINE)
    (ending,) = judge(*login(), cut, goodbye, *closed(100))
    assert ending.ended_by != "idle_channel"


@pytest.mark.parametrize(
    "name",
    ["root from 6.6.6.6 port 6 ssh2", "a] Accepted publickey for root from 6.6.6.6 port 6 ssh2: x [b", "\x1b[31m"],
)
def test_user_names_with_blanks_and_brackets(name):
    lines = [
        say(0, "Connection from 192.0.2.7 port 5 on 192.0.2.1 port 22"),
        say(0, f"Invalid user {name} from 192.0.2.7 port 5"),
        say(0, f"Failed none for invalid user {name} from 192.0.2.7 port 5 ssh2"),
        say(1, f"Connection closed by invalid user {name} 192.0.2.7 port 5 [preauth]"),
    ]
    assert judge(*lines, in_force=InForce(login_grace=60)) == []


GOODBYE = "Received disconnect from 192.0.2.7 port 5:11: disconnected by user"


@pytest.mark.parametrize(
    "left_at, more, in_force, cause, could_be",
    [
        (99.9, (), InForce(), "exit", ()),
        (100.2, (), InForce(), "client_closed", ()),
        (None, (), InForce(), "unknown", ("exit", "client_closed")),
        (99.9, (), InForce(shell_timeout=60), "unknown", ("exit", "idle_shell")),
        (99.9, (), InForce(shell_timeout=600), "exit", ()),
        (99.9, (), InForce(channel_timeout=60), "unknown", ("exit", "idle_channel")),
        (99.9, ("idle=61 limit=60",), InForce(shell_timeout=60), "idle_shell", ()),
        (99.9, ("idle=61 limit=60 typed=yes",), InForce(shell_timeout=60), "exit", ()),
        (99.9, ("idle=3 limit=60",), InForce(shell_timeout=60), "exit", ()),
        (99.9, ("idle=900 limit=900",), InForce(shell_timeout=900), "exit", ()),  # the session is younger than that
    ],
)
def test_what_had_ended_when_the_client_said_goodbye(left_at, more, in_force, cause, could_be):
    logins = [Login("alice", "pts/1", "192.0.2.7", 10, 0.1, left_at), Login("bob", "pts/2", "192.0.2.8", 99, 0.0)]
    shell = [say(99.9, f"shell ended tty=/dev/pts/1 {facts}", 12, "session-policy-shell", uid=1001) for facts in more]
    (ending,) = judge(*login(), *shell, say(100, GOODBYE, 11, **MINE), *closed(100), logins=logins, in_force=in_force)
    assert (ending.ended_by, ending.could_be) == (cause, could_be)
    assert ending.duration == 100


def test_another_users_shell_says_nothing_of_this_one():
    logins = [Login("alice", "pts/1", "192.0.2.7", 10, 0.1, 99.9)]
    line = say(99.9, "shell ended tty=/dev/pts/1 idle=61 limit=60", 12, "session-policy-shell", uid=1002)
    (ending,) = judge(*login(), line, say(100, GOODBYE, 11, **MINE), *closed(100), logins=logins)
    assert ending.ended_by == "exit" and ending.evidence.line == GOODBYE


def test_who_is_on_has_not_ended():
    assert judge(*login(), on={10}) == []
    (gone,) = judge(*login())
    assert gone.ended_by == "unknown" and "nothing says when" in gone.how


def test_our_own_lines():
    facts = {"outcome": "terminated", "session": "1-2-3-10-777", "user": "alice", "because": "idle,age", "age": "9",
             "survivors": "tmux: server:12", "reason": "OPS-1"}  # fmt: skip
    (ending,) = judge(*login(), *closed(9), say(10, "ended session", 20, "session-reaper", comm="python3", facts=facts))
    assert (ending.ended_by, ending.because, ending.survivors) == ("reaper", ("idle", "age"), ("tmux: server:12",))
    failed = say(10, "could not end session", 20, "session-reaper", facts={**facts, "outcome": "failed"})
    assert judge(*login(), failed, on={10}) == []
    # A shell of a connection that goes on, and a session of which nothing else is known.
    (part,) = judge(*login(), say(10, "ended session", 20, "session_terminate", facts=facts), on={10})[-1:]
    assert part.ended_by == "session_terminate" and part.user == "alice"
    (alone,) = judge(say(10, "ended session", 20, "session-reaper", facts=facts))
    assert (alone.ended_by, alone.began_at, alone.leader) == ("reaper", 1.0, 10)
    assert judge(say(10, "ended session", 20, "session-reaper", facts=facts, uid=1001)) == []


def test_facts_are_read_from_a_plain_line():
    text = 'ended session outcome=terminated user=alice reason="frozen \\"again\\" = bad" from=192.0.2.7'
    assert facts_of(text) == {
        "outcome": "terminated", "user": "alice", "reason": 'frozen "again" = bad', "from": "192.0.2.7",
    }  # fmt: skip


@given(st.text(max_size=200))
def test_any_text_is_read_as_facts(text):
    assert isinstance(facts_of(text), dict)


def test_a_scan_leaves_nothing_behind():
    history = History()
    for number in range(2000):
        host = f"192.0.2.{number % 250}"
        history.read(say(number, f"Connection from {host} port {number} on 192.0.2.1 port 22", number))
        history.read(say(number, f"Connection closed by {host} port {number} [preauth]", number))
    assert not history.connections and not history.by_pid and not history.by_client


def test_of_many_sessions_only_what_goes_on_is_kept():
    window = Query(0.0, 1e12, limit=3)
    history = History(query=window)
    for number in range(3000):
        at, own, child, client = number * 10.0, 10 + number, 100_000 + number, f"192.0.2.1 port {number}"
        for text, pid in (
            (f"Connection from {client} on 192.0.2.9 port 22", own),
            (f"Accepted publickey for alice from {client} ssh2: ED25519 SHA256:abc", own),
            ("pam_unix(sshd:session): session opened for user alice(uid=1001) by (uid=0)", own),
            (f"User child is on pid {child}", own),
            (f"Connection reset by user alice {client}", child),
            ("pam_unix(sshd:session): session closed for user alice", own),
        ):
            history.read(say(at, text, pid, uid=1001 if pid == child else 0))
        history.settle(1e6, InForce())
        assert len(history.connections) < 60
    for places in (history.by_pid, history.by_child, history.by_client):
        assert len(places) < 60
    endings = history.endings(1e6, InForce())
    assert [(e.ended_by, e.ended_at) for e in endings] == [("connection_reset", n * 10.0) for n in (2999, 2998, 2997)]
    assert history.found.counts == {"connection_reset": 3000}


@pytest.mark.parametrize("release", sorted(EXPECTED))
def test_settling_in_between_changes_nothing(release, monkeypatch):
    """The recordings are of some minutes, and each line of ours came at once."""
    recording = recorded(release)
    at_the_end = judged(recording, release)
    monkeypatch.setattr(judge_history, "_OURS", 10.0)
    dropped = []
    monkeypatch.setattr(History, "_drop", lambda self, known, drop=History._drop: dropped.append(drop(self, known)))
    assert judged(recording, release, settle_after=1) == at_the_end
    assert len(dropped) > 10


def test_filters_and_counts():
    release = "bookworm"
    endings = judged(recorded(release), release)
    window = Query(0.0, 1e12, limit=0)

    def select(**more):
        return judged(recorded(release), release, query=window._replace(**more))

    assert select() == endings
    assert {e.user for e in select(users=["freezes"])} == {"freezes"}
    networks = parse_networks(["198.51.100.10/31"])
    assert {e.remote_host for e in select(networks=networks)} == {"198.51.100.10", "198.51.100.11"}
    assert {e.ended_by for e in select(causes=["reaper"])} == {"reaper"}
    assert select(limit=2) == endings[:2]
    assert select(until=endings[0].ended_at - 0.001)[0] != endings[0]
