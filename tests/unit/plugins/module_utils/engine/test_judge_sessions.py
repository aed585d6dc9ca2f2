# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_sessions import (
    Filters,
    Protection,
    Thresholds,
    judge,
    matches,
    parse_networks,
    summarize,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.model import Item, Job, Leader, Session, Work
from hypothesis import given
from hypothesis import strategies as st

QUIET = Session(
    id="boot-10-20", logind_id="7", audit_id=7, user="alice", uid=1001, kind="terminal", session_class="user",
    state="active", seen_by=("proc",), service="sshd", remote_host="192.0.2.7", remote_port=1, ttys=("pts/3",),
    channels=(), login_at=None, age=9000, idle=8000, idle_signal="tty_input", output_idle=1, peer_unresponsive=False,
    work=Work(), troubles=(), is_self=False, leader=Leader(10, 20), processes=(),
)  # fmt: skip
BUSY = Work(editors=(Item("vim", 1, 2, "executable"),), jobs=(Job(3, 4, "make", False, None),))


def groups(user):
    return {"alice": {"alice", "ops"}}.get(user, set())


def verdict(session, thresholds=Thresholds(), protection=Protection()):  # noqa: B008
    found = judge(session, thresholds, protection, groups)
    return found.stale_because, found.protected_because


@pytest.mark.parametrize(
    ("thresholds", "because"),
    [
        (Thresholds(), ()),
        (Thresholds(idle_over=7999), ("idle",)),
        (Thresholds(idle_over=8000), ()),
        (Thresholds(idle_over=0, age_over=8999), ("idle", "age")),
        (Thresholds(unresponsive=True, closing=True), ()),
    ],
)
def test_thresholds(thresholds, because):
    assert verdict(QUIET, thresholds)[0] == because


def test_unresponsive_and_closing():
    bad = replace(QUIET, peer_unresponsive=True, state="closing")
    assert verdict(bad, Thresholds(unresponsive=True, closing=True))[0] == ("unresponsive", "closing")
    assert verdict(bad)[0] == ()


@given(
    st.builds(
        Thresholds,
        st.none() | st.integers(0, 10**9),
        st.none() | st.integers(0, 10**9),
        st.booleans(),
        st.booleans(),
    )
)
def test_what_is_unknown_is_never_stale(thresholds):
    unknown = replace(QUIET, idle=None, age=None, peer_unresponsive=None, state=None)
    assert verdict(unknown, thresholds)[0] == ()


def test_protection():
    assert verdict(replace(QUIET, work=BUSY))[1] == ("editors", "jobs")
    assert verdict(replace(QUIET, work=BUSY), protection=Protection(("jobs",)))[1] == ("jobs",)
    assert verdict(replace(QUIET, work=BUSY), protection=Protection(()))[1] == ()
    database = replace(QUIET, work=Work(database_clients=(Item("psql", 1, 2, "executable"),)))
    assert verdict(database)[1] == ("databases",)
    assert verdict(replace(QUIET, session_class="greeter"))[1] == ("class",)
    assert verdict(replace(QUIET, is_self=True))[1] == ("self",)
    assert verdict(QUIET, protection=Protection(exclude_users=("alice",)))[1] == ("excluded",)
    assert verdict(QUIET, protection=Protection(exclude_groups=("ops", "x")))[1] == ("excluded",)
    assert verdict(QUIET, protection=Protection(exclude_groups=("x",)))[1] == ()


@pytest.mark.parametrize(
    ("filters", "fits"),
    [
        (Filters(), True),
        (Filters(users=["alice"]), True),
        (Filters(users=["bob"]), False),
        (Filters(users=["alice"], kinds=["exec"]), False),
        (Filters(groups=["ops"]), True),
        (Filters(groups=["wheel"]), False),
        (Filters(ttys=["/dev/pts/3"]), True),
        (Filters(ttys=["pts/33"]), False),
        (Filters(ids=["7"]), True),
        (Filters(ids=["boot-10-20"]), True),
        (Filters(ids=["boot-10"]), False),
        (Filters(networks=parse_networks(["192.0.2.0/24"])), True),
        (Filters(networks=parse_networks(["2001:db8::/32", "192.0.3.0/24"])), False),
    ],
)
def test_filters(filters, fits):
    assert matches(QUIET, filters, groups) is fits


@pytest.mark.parametrize("name", Filters._fields)
def test_a_filter_that_came_out_empty_lets_nothing_through(name):
    assert not matches(QUIET, Filters(**{name: []}), groups)


def test_an_unknown_value_matches_no_filter():
    nobody = replace(QUIET, user=None, kind=None, remote_host=None, logind_id=None)
    for filters in (
        Filters(users=["alice"]),
        Filters(groups=["ops"]),
        Filters(kinds=["exec"]),
        Filters(networks=parse_networks(["0.0.0.0/0"])),
    ):
        assert not matches(nobody, filters, groups)


def test_a_bad_network_gets_a_sentence():
    with pytest.raises(ValueError, match=r"'lan' is neither an address nor a network: write for example"):
        parse_networks(["lan"])


def test_summary():
    judged = judge(replace(QUIET, work=BUSY), Thresholds(idle_over=5), Protection(), groups)
    other = replace(QUIET, user=None, kind=None, idle=None)
    found = summarize([judged, other])
    assert found["by_kind"] == {"terminal": 1, "unknown": 1} and found["by_user"] == {"alice": 1, "unknown": 1}
    assert (found["total"], found["stale"], found["protected"], found["stale_unprotected"], found["idle_unknown"]) == (
        2,
        1,
        1,
        0,
        1,
    )
