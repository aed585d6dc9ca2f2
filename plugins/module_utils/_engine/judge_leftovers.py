# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which leftovers are to be taken, and why each other one is not: pure functions."""

from __future__ import annotations

from typing import Any, Collection, Iterable, Mapping, NamedTuple

from .duration import parse_duration
from .judge_sessions import Groups, Protection
from .model import LEFTOVER_KINDS, WORK, Leftover, plain
from .observe.lock_files import check_pattern

#: Seconds.
OLDER_THAN = 86400
#: The names of `protect`: a leftover is no multiplexer's session in use.
PROTECT = tuple(name for name in WORK if name != "multiplexers")
PROTECTED = tuple(name for name in PROTECT if name != "locks")


class LeftoverWish(NamedTuple):
    """What an operator asks for; of all users where `users` is None. `lock_patterns` add to the known kinds of
    locks; one without a wildcard asks for a file by its name, and takes a swap file with unsaved changes, too."""

    kinds: Collection[str] = LEFTOVER_KINDS
    users: Collection[str] | None = None
    older_than: int = OLDER_THAN
    keep_intent: bool = True
    protection: Protection = Protection(PROTECTED)
    lock_patterns: Collection[str] = ()


class LeftoverDecision(NamedTuple):
    """Nothing speaks against taking it where `skipped` is ()."""

    leftover: Leftover
    skipped: tuple[str, ...]


def decide(leftovers: Iterable[Leftover], wish: LeftoverWish, groups: Groups) -> list[LeftoverDecision]:
    """A decision on each leftover that the selectors name, in order; the others are not mentioned."""
    return [
        LeftoverDecision(leftover, tuple(_against(leftover, wish, groups)))
        for leftover in leftovers
        if leftover.kind in wish.kinds and (wish.users is None or leftover.user in wish.users)
    ]


def _against(leftover: Leftover, wish: LeftoverWish, groups: Groups) -> list[str]:
    user, protection = leftover.user, wish.protection
    named = getattr(leftover.target, "by_name", False)
    because = [name for name in leftover.blocked if not (named and name == "unsaved_changes")]
    because += [name for name in leftover.work if name in protection.work]
    if wish.keep_intent:
        because += leftover.intent
    if user is not None and (
        user in protection.exclude_users
        or (protection.exclude_groups and not set(protection.exclude_groups).isdisjoint(groups(user)))
    ):
        because.append("excluded")
    # Of unknown age is nothing old enough.
    if leftover.age is None or leftover.age < wish.older_than:
        because.append("older_than")
    return because


def shown(decision: LeftoverDecision) -> dict[str, Any]:
    """The fields that the modules return of a leftover."""
    found: dict[str, Any] = plain(decision.leftover._replace(target=None))
    del found["target"], found["blocked"]
    return {**found, "skipped_because": list(decision.skipped)}


def read_leftover_wish(params: Mapping[str, Any]) -> LeftoverWish:
    """What the parameters of a module ask for; those that are missing have their defaults.

    Raises:
        ValueError: with a sentence that says what to write instead.
    """
    wish = LeftoverWish()
    try:
        older_than = parse_duration(params.get("older_than", wish.older_than))
    except ValueError as exc:
        raise ValueError(f"older_than: {exc}") from None
    try:
        patterns = tuple(check_pattern(pattern) for pattern in params.get("lock_patterns") or ())
    except ValueError as exc:
        raise ValueError(f"lock_patterns: {exc}") from None
    return LeftoverWish(
        params.get("kinds", wish.kinds),
        params["users"],
        older_than,
        params.get("intent") != "ignore",
        Protection(params["protect"], params["exclude_users"], params["exclude_groups"]),
        patterns,
    )
