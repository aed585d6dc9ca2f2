# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_ending import (
    Wish,
    decide,
    limit_of,
    narrowed,
    too_many,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_sessions import (
    Filters,
    Protection,
    Thresholds,
    parse_networks,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.model import (
    Channel,
    Item,
    Leader,
    Multiplexer,
    Session,
    Work,
)
from hypothesis import given
from hypothesis import strategies as st

QUIET = Session(
    id="boot-10-20", logind_id="7", audit_id=7, user="alice", uid=1001, kind="terminal", session_class="user",
    state="active", seen_by=("proc",), service="sshd", remote_host="192.0.2.7", remote_port=1, ttys=("pts/3",),
    channels=(Channel("terminal", 12, "pts/3", "bash", 8000),), login_at=None, age=9000, idle=8000,
    idle_signal="tty_input", output_idle=1, peer_unresponsive=False, work=Work(), troubles=(), is_self=False,
    leader=Leader(10, 20), processes=(),
)  # fmt: skip
VIM = Item("vim", 13, 2, "executable", tty="pts/3")
SHARED = replace(
    QUIET,
    ttys=("pts/3", "pts/4"),
    channels=(Channel("terminal", 12, "pts/3", "bash", 8000), Channel("terminal", 14, "pts/4", "bash", 5)),
    idle=5,
    work=Work(editors=(VIM,)),
)
IDLE = Thresholds(idle_over=3600)


def groups(user):
    return {"alice": {"alice", "ops"}}.get(user, set())


def skipped(session, wish):
    """Why the session would be left alone; None where it is not asked for at all."""
    found = decide([session], wish, groups)
    return found[0].skipped if found else None


def test_selectors_narrow_each_other():
    assert skipped(QUIET, Wish(thresholds=IDLE)) == ()
    assert skipped(QUIET, Wish(Filters(users=["bob"]), IDLE)) is None
    assert skipped(QUIET, Wish(thresholds=Thresholds(idle_over=3600, age_over=10000))) is None
    assert skipped(QUIET, Wish(thresholds=Thresholds(idle_over=3600, age_over=10000), match_any=True)) == ()
    assert skipped(QUIET, Wish(thresholds=Thresholds(idle_over=0))) == ()
    assert skipped(replace(QUIET, idle=0), Wish(thresholds=Thresholds(idle_over=0))) is None
    assert skipped(QUIET, Wish(Filters(users=["alice"]))) == ()


@pytest.mark.parametrize(
    ("change", "wish", "because"),
    [
        ({"is_self": True}, {}, ("self",)),
        ({"session_class": "manager"}, {}, ("class",)),
        ({"age": 30}, {"thresholds": Thresholds(idle_over=3600)}, ("min_age",)),
        ({"age": None}, {}, ("min_age",)),
        ({"work": Work(editors=(VIM,))}, {}, ("editors",)),
        ({}, {"protection": Protection(exclude_users=["alice"])}, ("excluded",)),
        ({}, {"protection": Protection(exclude_groups=["ops"])}, ("excluded",)),
        ({}, {"exclude_ttys": ["/dev/pts/3"]}, ("excluded",)),
        ({}, {"exclude_networks": parse_networks(["192.0.2.0/24"])}, ("excluded",)),
        ({}, {"connection_users": ["alice"]}, ("connection_user",)),
        ({}, {"connection_users_without_terminal": ["alice"]}, ()),
        ({"ttys": (), "channels": ()}, {"connection_users_without_terminal": ["alice"]}, ("connection_user",)),
        ({"leader": Leader(10, None)}, {}, ("no_process",)),
    ],
)
def test_what_speaks_against_ending(change, wish, because):
    assert skipped(replace(QUIET, **change), Wish(**{"thresholds": IDLE, **wish})) == because


@given(st.sampled_from(["self", "class", "excluded", "connection_user", "min_age"]))
def test_nothing_but_work_gives_way_to_on_protected(obstacle):
    """`on_protected: terminate` ends what only work protects, and nothing else."""
    change, wish = {
        "self": ({"is_self": True}, {}),
        "class": ({"session_class": "greeter"}, {}),
        "excluded": ({}, {"exclude_ttys": ["pts/3"]}),
        "connection_user": ({}, {"connection_users": ["alice"]}),
        "min_age": ({"age": 1}, {}),
    }[obstacle]
    session = replace(QUIET, work=Work(editors=(VIM,)), **change)
    assert skipped(session, Wish(thresholds=IDLE, on_protected="terminate", **wish)) == (obstacle,)
    assert skipped(QUIET, Wish(thresholds=IDLE, on_protected="terminate")) == ()


def test_what_a_multiplexer_keeps_is_not_closing():
    closing = replace(QUIET, state="closing", leader=Leader(10, None))
    wish = Wish(thresholds=Thresholds(closing=True), on_protected="terminate")
    assert skipped(closing, wish) == ("no_process",)
    kept = replace(closing, work=Work(multiplexers=(Multiplexer("tmux", 5, 6, 1001, None),)))
    assert skipped(kept, wish) is None


def test_one_terminal_of_a_shared_connection():
    quiet, busy = narrowed(SHARED, ["/dev/pts/3"]), narrowed(SHARED, ["pts/4"])
    assert (quiet.ttys, quiet.idle, quiet.work.editors) == (("pts/3",), 8000, (VIM,))
    assert (busy.ttys, busy.idle, busy.work.editors) == (("pts/4",), 5, ())
    assert narrowed(SHARED, ["pts/3", "pts/4"]) is SHARED and narrowed(SHARED, []) is SHARED
    (found,) = decide([SHARED], Wish(Filters(ttys=["pts/4"])), groups)
    assert found.part and not found.skipped
    (found,) = decide([QUIET], Wish(Filters(ttys=["pts/3"])), groups)
    assert not found.part


@pytest.mark.parametrize(
    ("text", "sessions", "refused"),
    [
        (None, 3, False), ("3", 3, False), (2, 3, True), ("0", 3, True), ("10%", 30, False), ("10%", 29, False),
        ("10%", 20, True), ("100%", 3, False), ("0%", 3, True),
    ],
)  # fmt: skip
def test_the_most_that_may_be_ended(text, sessions, refused):
    decisions = decide([QUIET, replace(QUIET, is_self=True), QUIET, QUIET], Wish(thresholds=IDLE), groups)
    said = too_many(decisions, sessions, limit_of(text))
    assert bool(said) is refused
    assert not said or (said.startswith("3 sessions would be ended") and "nothing was touched" in said)


@pytest.mark.parametrize("text", ["many", "-1", "101%", "1.5", "", "5 %"])
def test_a_bad_limit_gets_a_sentence(text):
    with pytest.raises(ValueError, match="write for example 5 or '10%'"):
        limit_of(text)
