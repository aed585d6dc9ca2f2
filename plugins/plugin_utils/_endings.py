# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why sessions of a fleet ended: by cause over time, and where people are cut most."""

from __future__ import annotations

import collections
import datetime
import typing as t

from ansible_collections.sessionops.policy.plugins.module_utils._engine.history import (
    CAUSES,
    CLIENT_CLOSED,
    EXIT,
    SESSION_TERMINATE,
    SHUTDOWN,
    UNKNOWN,
)

FIELDS = ("ended_at", "ended_by", "user", "remote_host", "kind", "duration")
#: What a person did not do and nobody did by hand: a clock, a limit, the network, a signal.
CUT = tuple(c for c in CAUSES if c not in (EXIT, CLIENT_CLOSED, SESSION_TERMINATE, SHUTDOWN, UNKNOWN))
_DAYS, _HOSTS = 7, 10


def over_time(endings: t.Iterable[t.Mapping[str, t.Any]], now: str) -> tuple[list[str], list[tuple[str, list[int]]]]:
    """The last seven days (UTC), and by cause how many sessions ended on each, the most frequent cause first.

    `now` and the moments are ISO 8601 in UTC.
    """
    today = datetime.date.fromisoformat(now[:10])
    days = [str(today - datetime.timedelta(days=back)) for back in reversed(range(_DAYS))]
    counts: dict[str, collections.Counter] = {}
    for ending in endings:
        day = str(ending["ended_at"])[:10]
        if day in days:
            counts.setdefault(str(ending["ended_by"]), collections.Counter())[day] += 1
    rows = [(cause, [count[day] for day in days]) for cause, count in counts.items()]
    return days, sorted(rows, key=lambda row: (-sum(row[1]), row[0]))


def most_cut(endings: t.Iterable[t.Mapping[str, t.Any]]) -> list[tuple[str, int, int, str]]:
    """(host, how many were cut, percent of the largest, by what most) of the ten hosts where most people are cut."""
    counts: dict[str, collections.Counter] = {}
    for ending in endings:
        if ending["ended_by"] in CUT:
            counts.setdefault(ending["host"], collections.Counter())[ending["ended_by"]] += 1
    found = sorted(((sum(count.values()), host) for host, count in counts.items()), key=lambda one: (-one[0], one[1]))
    most = found[0][0] if found else 1
    return [(host, cut, round(100 * cut / most), counts[host].most_common(1)[0][0]) for cut, host in found[:_HOSTS]]
