# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What speaks against taking a leftover."""

from __future__ import annotations

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_leftovers import (
    OLDER_THAN,
    LeftoverWish,
    decide,
    read_leftover_wish,
    shown,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_sessions import Protection
from ansible_collections.sessionops.policy.plugins.module_utils._engine.model import (
    ORPHAN_PROCESS,
    STALE_LOCK,
    Leftover,
    Member,
)

PARAMS = {"users": [], "protect": [], "exclude_users": [], "exclude_groups": []}


def leftover(**more):
    fields = {"kind": ORPHAN_PROCESS, "cause": "shell_ended", "why": "its shell has ended", "id": "x", "pid": 7}
    return Leftover(**{**fields, "user": "alice", "age": OLDER_THAN, **more})


def against(wish, **more):
    (decision,) = decide([leftover(**more)], wish, lambda user: {f"{user}s"})
    return decision.skipped


@pytest.mark.parametrize(
    ("wish", "fields", "reasons"),
    [
        (LeftoverWish(), {}, ()),
        (LeftoverWish(), {"age": OLDER_THAN - 1}, ("older_than",)),
        (LeftoverWish(older_than=0), {"age": 0}, ()),
        (LeftoverWish(older_than=0), {"age": None}, ("older_than",)),
        (LeftoverWish(), {"intent": ("nohup", "background")}, ("nohup", "background")),
        (LeftoverWish(keep_intent=False), {"intent": ("nohup", "lingering")}, ()),
        (LeftoverWish(), {"work": ("editors", "locks")}, ("editors",)),
        (LeftoverWish(protection=Protection(("locks",))), {"work": ("editors", "locks")}, ("locks",)),
        (LeftoverWish(protection=Protection((), ["alice"])), {}, ("excluded",)),
        (LeftoverWish(protection=Protection((), (), ["alices"])), {}, ("excluded",)),
        (LeftoverWish(protection=Protection((), (), ["alices"])), {"user": None}, ()),
        # What is blocked stays, whatever is asked.
        (LeftoverWish(older_than=0, keep_intent=False, protection=Protection(())), {"blocked": ("self",)}, ("self",)),
    ],
)
def test_reasons(wish, fields, reasons):
    assert against(wish, **fields) == reasons


def test_selectors():
    found = [leftover(), leftover(kind=STALE_LOCK, user="bob")]
    assert [d.leftover.user for d in decide(found, LeftoverWish(kinds=[STALE_LOCK]), set)] == ["bob"]
    assert [d.leftover.user for d in decide(found, LeftoverWish(users=["alice"]), set)] == ["alice"]
    assert not decide(found, LeftoverWish(users=[]), set)
    assert not decide(found, LeftoverWish(kinds=[]), set)


def test_what_is_shown_can_be_sent():
    member = Member(7, 70, 1001, None, "sleep", "S")
    (decision,) = decide([leftover(processes=(member,), target=object(), blocked=("self",))], LeftoverWish(), set)
    fields = shown(decision)
    assert "target" not in fields and "blocked" not in fields and fields["skipped_because"] == ["self"]
    assert fields["processes"][0]["command"] == "sleep"


def test_the_wish_of_a_module():
    wish = read_leftover_wish(PARAMS)
    assert wish.older_than == OLDER_THAN and wish.keep_intent and len(wish.kinds) == 4
    asked = {"older_than": "2h", "intent": "ignore", "lock_patterns": ["/srv/*/x.lock"], "kinds": [STALE_LOCK]}
    wish = read_leftover_wish({**PARAMS, **asked})
    assert (wish.older_than, wish.keep_intent, wish.lock_patterns) == (7200, False, ("/srv/*/x.lock",))


@pytest.mark.parametrize("pattern", ["x.lock", "/srv/../x", "/srv/**/x", "/", "//x", "/x/"])
def test_no_patterns(pattern):
    with pytest.raises(ValueError, match=r"^lock_patterns: .* write an absolute path"):
        read_leftover_wish({**PARAMS, "lock_patterns": [pattern]})


def test_no_age():
    with pytest.raises(ValueError, match=r"^older_than: 'old' is not a duration"):
        read_leftover_wish({**PARAMS, "older_than": "old"})
