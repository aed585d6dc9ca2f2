# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sessions are to be ended, and why each other one that was asked for is not: pure functions."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any, Collection, Iterable, NamedTuple, Protocol, Sequence

from .judge_sessions import Filters, Groups, Protection, Thresholds, from_networks, judge, matches
from .model import WORK, Session

#: The thresholds by the names that `stale_because` has for them.
_ASKED = {"idle": "idle_over", "age": "age_over", "unresponsive": "unresponsive", "closing": "closing"}

#: The parts of `Work` that say at which terminal they are.
_WITH_TERMINAL = ("jobs", "editors", "transfers", "database_clients", "package_managers")


class Wish(NamedTuple):
    """What an operator asks for. Seconds; `match_any` lets one threshold of several be enough."""

    filters: Filters = Filters()
    thresholds: Thresholds = Thresholds()
    match_any: bool = False
    protection: Protection = Protection()
    exclude_ttys: Collection[str] = ()
    exclude_networks: Sequence[Any] = ()
    on_protected: str = "skip"  # or warn, terminate
    min_age: int = 60
    # Accounts of which all sessions are left alone, and of which those without a terminal are: what an automation's
    # connection that waits for its next task looks like.
    connection_users: Collection[str] = ()
    connection_users_without_terminal: Collection[str] = ()

    def asks(self) -> bool:
        """Whether anything selects."""
        return any(one is not None for one in self.filters) or any(asked(self.thresholds))


class Decision(NamedTuple):
    """What is to become of one session that was asked for; nothing speaks against ending it where `skipped` is ()."""

    session: Session
    skipped: tuple[str, ...]
    part: bool  # only some terminals of its connection

    @property
    def only_protected(self) -> bool:
        """Whether nothing but work speaks against ending it."""
        return bool(self.skipped) and set(self.skipped) <= set(WORK)


class Decided(Protocol):
    """A decision on anything: it is to be ended where `skipped` is ()."""

    @property
    def skipped(self) -> tuple[str, ...]: ...


def asked(thresholds: Thresholds) -> list[str]:
    """The names of the thresholds that are set, as in `stale_because`."""
    values = {name: getattr(thresholds, field) for name, field in _ASKED.items()}
    return [name for name, value in values.items() if value is not None and value is not False]


def decide(sessions: Iterable[Session], wish: Wish, groups: Groups) -> list[Decision]:
    """A decision on each session that the selectors name, in order; the others are not mentioned."""
    found = []
    for whole in sessions:
        if not matches(whole, wish.filters, groups):
            continue
        part = narrowed(whole, wish.filters.ttys or ())
        session = judge(part, wish.thresholds, wish.protection, groups)
        wanted = asked(wish.thresholds)
        met = [name in session.stale_because for name in wanted]
        if not wanted or (any(met) if wish.match_any else all(met)):
            found.append(Decision(session, tuple(_against(session, whole, wish)), part is not whole))
    return found


def narrowed(session: Session, ttys: Collection[str]) -> Session:
    """`session` as far as these terminals go, where its connection has others too: their idle time and their work.

    Work without a terminal counts for each of them.
    """
    names = {tty.replace("/dev/", "", 1) for tty in ttys}
    kept = tuple(channel for channel in session.channels if channel.tty in names)
    if not names or not kept or len(kept) == len(session.channels):
        return session
    inside = {channel.tty for channel in kept}

    def here(items: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(item for item in items if getattr(item, "tty", None) in (None, *inside))

    idle = [channel.idle for channel in kept]
    known = [seconds for seconds in idle if seconds is not None]
    return replace(
        session,
        ttys=tuple(tty for tty in session.ttys if tty in inside),
        channels=kept,
        idle=min(known) if len(known) == len(idle) else None,
        work=session.work._replace(**{name: here(getattr(session.work, name)) for name in _WITH_TERMINAL}),
    )


def _against(session: Session, whole: Session, wish: Wish) -> list[str]:
    """What speaks against ending `session`."""
    ignored = WORK if wish.on_protected == "terminate" else ()
    because = [name for name in session.protected_because if name not in ignored]
    excluded = any(tty.replace("/dev/", "", 1) in session.ttys for tty in wish.exclude_ttys) or (
        bool(wish.exclude_networks) and from_networks(session.remote_host, wish.exclude_networks)
    )
    if excluded and "excluded" not in because:
        because.append("excluded")
    if session.user in wish.connection_users or (
        session.user in wish.connection_users_without_terminal and not whole.ttys
    ):
        because.append("connection_user")
    # Of unknown age is nobody old enough.
    if session.age is None or session.age < wish.min_age:
        because.append("min_age")
    if session.leader.start_time is None and not session.processes:
        because.append("no_process")
    return because


def limit_of(text: str | int | None) -> tuple[int | None, int | None]:
    """A count, or a percentage of all sessions, as (count, percentage).

    Raises:
        ValueError: with a sentence that says what to write instead.
    """
    if text is None:
        return None, None
    found = re.fullmatch(r"([0-9]{1,6})(%?)", str(text).strip(), re.ASCII)
    if not found or (found.group(2) and int(found.group(1)) > 100):
        raise ValueError(f"{text!r} is neither a count nor a percentage: write for example 5 or '10%'")
    number = int(found.group(1))
    return (None, number) if found.group(2) else (number, None)


def allowed_of(limit: tuple[int | None, int | None], total: int) -> int | None:
    """How many of `total` may end; None for any number.

    A percentage is rounded up, so that 10% of five sessions lets one end.
    """
    count, percentage = limit
    return count if percentage is None else math.ceil(total * percentage / 100)


def too_many(
    decisions: Sequence[Decided],
    total: int,
    limit: tuple[int | None, int | None],
    what: str = "sessions",
    option: str = "max_terminate",
) -> str | None:
    """The sentence that refuses to end more than `limit` of the host's `total`; None where that is kept."""
    _count, percentage = limit
    allowed = allowed_of(limit, total)
    ending = sum(not decision.skipped for decision in decisions)
    if allowed is None or ending <= allowed:
        return None
    said = f"{percentage}% of {total} {what}, {allowed}" if percentage is not None else str(allowed)
    return (
        f"{ending} {what} would be ended, and {option} allows {said}: nothing was touched. "
        f"Narrow the selectors or raise {option}"
    )
