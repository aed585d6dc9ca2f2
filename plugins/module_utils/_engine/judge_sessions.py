# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on each session: pure functions of what was observed and what the operator asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Collection, NamedTuple, Sequence

from .model import PERSON_CLASSES, WORK, WORK_FIELD, Session


class Thresholds(NamedTuple):
    """What makes a session stale; seconds, None is no wish."""

    idle_over: int | None = None
    age_over: int | None = None
    unresponsive: bool = False
    closing: bool = False


class Filters(NamedTuple):
    """What is looked at: every filter that is set has to match. `networks` are ipaddress networks.

    None is no filter. An empty one lets nothing through: a list that a play computed and that came out empty names
    nobody, and not everybody.
    """

    users: Collection[str] | None = None
    groups: Collection[str] | None = None
    ttys: Collection[str] | None = None
    kinds: Collection[str] | None = None
    ids: Collection[str] | None = None
    networks: Sequence[Any] | None = None


class Protection(NamedTuple):
    """`work` are names of model.WORK; the excluded are never stale."""

    work: Collection[str] = WORK
    exclude_users: Collection[str] = ()
    exclude_groups: Collection[str] = ()


#: The names of a user's groups.
Groups = Callable[[str], Collection[str]]


def parse_networks(texts: Sequence[str]) -> list[Any]:
    """Addresses and networks as people write them.

    Raises:
        ValueError: with a sentence that says what to write instead.
    """
    if not texts:
        return []
    import ipaddress  # costs 5 ms, and few ask for it

    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            hint = "write for example 192.0.2.7 or 192.0.2.0/24"
            raise ValueError(f"remote_hosts: {text!r} is neither an address nor a network: {hint}") from None
    return found


def matches(session: Session, filters: Filters, groups: Groups) -> bool:
    """Whether `session` is one of those asked for; what is unknown matches no filter."""
    user = session.user
    return (
        (filters.users is None or user in filters.users)
        and (filters.groups is None or (user is not None and not set(filters.groups).isdisjoint(groups(user))))
        and (filters.ttys is None or any(tty.replace("/dev/", "", 1) in session.ttys for tty in filters.ttys))
        and (filters.kinds is None or session.kind in filters.kinds)
        and (filters.ids is None or session.id in filters.ids or session.logind_id in filters.ids)
        and (filters.networks is None or from_networks(session.remote_host, filters.networks))
    )


def from_networks(host: str | None, networks: Sequence[Any]) -> bool:
    """Whether an address is in one of the networks; an unknown one is in none."""
    import ipaddress

    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return False
    return any(address in network for network in networks if network.version == address.version)


def judge(session: Session, thresholds: Thresholds, protection: Protection, groups: Groups) -> Session:
    """`session` with its verdict. An unknown value never makes it stale."""
    because = []
    if thresholds.idle_over is not None and session.idle is not None and session.idle > thresholds.idle_over:
        because.append("idle")
    if thresholds.age_over is not None and session.age is not None and session.age > thresholds.age_over:
        because.append("age")
    if thresholds.unresponsive and session.peer_unresponsive:
        because.append("unresponsive")
    # What a tmux or screen keeps open is not stuck: somebody left work in it to come back to.
    if thresholds.closing and session.state == "closing" and not session.work.multiplexers:
        because.append("closing")
    protected = _protected(session, protection, groups)
    return replace(
        session,
        stale=bool(because),
        stale_because=tuple(because),
        protected=bool(protected),
        protected_because=tuple(protected),
    )


def _protected(session: Session, protection: Protection, groups: Groups) -> list[str]:
    because = [name for name in WORK if name in protection.work and getattr(session.work, WORK_FIELD.get(name, name))]
    if session.session_class is not None and session.session_class not in PERSON_CLASSES:
        because.append("class")
    user = session.user
    if user is not None and (
        user in protection.exclude_users
        or (protection.exclude_groups and not set(protection.exclude_groups).isdisjoint(groups(user)))
    ):
        because.append("excluded")
    if session.is_self:
        because.append("self")
    return because


def summarize(sessions: Sequence[Session]) -> dict[str, Any]:
    """Counts by kind, user and verdict."""
    found: dict[str, Any] = {
        "total": len(sessions),
        "by_kind": {},
        "by_user": {},
        "stale": sum(session.stale for session in sessions),
        "protected": sum(session.protected for session in sessions),
        "stale_unprotected": sum(session.stale and not session.protected for session in sessions),
        "idle_unknown": sum(session.idle is None for session in sessions),
        "troubles": sum(bool(session.troubles) for session in sessions),
    }
    for session in sessions:
        for key, name in (("by_kind", session.kind), ("by_user", session.user)):
            found[key][name or "unknown"] = found[key].get(name or "unknown", 0) + 1
    return found
