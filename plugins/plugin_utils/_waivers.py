# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waivers: which findings an operator has accepted, for which hosts, why, and until when."""

from __future__ import annotations

import datetime
import fnmatch
import typing as t
from dataclasses import dataclass

FIELDS = ("rule", "hosts", "reason", "expires")


@dataclass(frozen=True)
class Waiver:
    """`hosts` are shell patterns for names of hosts or groups; `expires` is the last day on which it holds."""

    rule: str
    hosts: tuple[str, ...]
    reason: str
    expires: datetime.date

    def covers(self, names: t.Iterable[str], finding: t.Mapping[str, t.Any]) -> bool:
        """Whether it is about this finding of a host with these names (its own and those of its groups)."""
        ids = {finding["setting"], *finding["rules"], *(rule.partition(" ")[2] for rule in finding["rules"])}
        return self.rule in ids and any(fnmatch.fnmatchcase(name, one) for name in names for one in self.hosts)

    def expired(self, today: datetime.date) -> bool:
        return today > self.expires


def parse_waivers(data: object) -> list[Waiver]:
    """What a waivers file holds, checked.

    Raises:
        ValueError: with a sentence that says which entry is wrong, and how to write it.
    """
    if data is None:
        return []
    if not isinstance(data, list):
        raise ValueError(f"the waivers file holds no list: write one entry a waiver, each with {', '.join(FIELDS)}")
    return [_parse(number, entry) for number, entry in enumerate(data, 1)]


def _parse(number: int, entry: object) -> Waiver:
    if not isinstance(entry, dict) or set(entry) != set(FIELDS):
        raise ValueError(f"waiver {number} must have {', '.join(FIELDS)}, and nothing else")
    for name in ("rule", "reason"):
        if not isinstance(entry[name], str) or not entry[name].strip():
            raise ValueError(f"waiver {number}: {name} is not a text: put it in quotes")
    hosts = [entry["hosts"]] if isinstance(entry["hosts"], str) else entry["hosts"]
    if not isinstance(hosts, list) or not hosts or not all(isinstance(one, str) and one for one in hosts):
        raise ValueError(f"waiver {number}: hosts is neither a pattern nor a list of patterns, like [web*, db1]")
    odd = next((one for one in hosts if set(one) & set(":,&! ")), None)
    if odd:
        raise ValueError(f"waiver {number}: {odd!r} is no name and no shell pattern: list several one by one")
    return Waiver(
        str(entry["rule"]).strip(), tuple(map(str, hosts)), str(entry["reason"]), _date(number, entry["expires"])
    )


def _date(number: int, value: object) -> datetime.date:
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value
    try:
        return datetime.date.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"waiver {number}: expires {value!r} is not a day: write it like 2027-01-31") from None
