# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tells, from one look to the next, that something happened in a session: a stamp that changes with it."""

from __future__ import annotations

import os
from typing import NamedTuple

from ..model import GRAPHICAL, Member, Observation, Session, Traffic
from .draft import SSHD, Roots
from .procfs import Proc


class Evidence(NamedTuple):
    """`stamp` is "" where nothing tells. `moved` are a connection's bytes, keepalives among them, where they count.

    `at` is the moment of the last input, seconds since the epoch, where a terminal tells it.
    """

    stamp: str
    moved: int | None = None
    at: float | None = None


def evidence(roots: Roots, proc: Proc, seen: Observation) -> dict[str, Evidence]:
    """By session id. A terminal's atime moves by input alone, a process's counters by anything that it does."""
    traffic = dict(seen.traffic)
    return {session.id: _of(roots, proc, session, traffic.get(session.id)) for session in seen.sessions}


def _of(roots: Roots, proc: Proc, session: Session, traffic: Traffic | None) -> Evidence:
    if session.kind == GRAPHICAL:
        if session.idle is None:
            return Evidence("")
        # logind says since when on the wall's clock, which may have been set meanwhile: at work or not is all we take.
        return Evidence("idle" if session.idle else f"at work {roots.clock().boot}")
    if traffic is not None:
        if traffic.own is None or None in traffic.forwarded:
            return Evidence("")
        return Evidence(f"forwards {traffic.forwarded}", traffic.own)
    parts, at = [], None
    for tty in session.ttys:
        try:
            typed = os.stat(f"{roots.dev}/{tty}").st_atime
        except OSError:
            return Evidence("")
        parts.append(f"{tty} {typed:.0f}")
        at = typed if at is None else max(at, typed)
    silent = [channel.pid for channel in session.channels if not channel.tty]
    if silent:
        counted = _counters(proc, session.processes, silent)
        if counted is None:
            return Evidence("")
        parts.append(counted)
    return Evidence("; ".join(parts), None, None if silent else at)


def _counters(proc: Proc, members: tuple[Member, ...], roots: list[int]) -> str | None:
    """CPU ticks and bytes of what runs below `roots`, in one word; None where they are closed to us."""
    parent, counts = {}, {}
    for member in members:
        process = proc.process(member.pid)
        if process is not None and process.start == member.start_time:
            parent[process.pid] = process.ppid
            if member.pid in roots or member.command not in SSHD:
                counts[process.pid] = process.cpu
    found = []
    for pid, cpu in sorted(counts.items()):
        above = pid
        while above in parent and above not in roots:
            above = parent[above]
        if above in roots:
            done = proc.io(pid)
            if done is None:
                return None
            found.append(f"{pid}:{cpu}:{done}")
    return " ".join(found) or None
