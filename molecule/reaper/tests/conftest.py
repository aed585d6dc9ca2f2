# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps that several files take: the role, and what the reaper said."""

from __future__ import annotations

import re
import typing as t

import pytest
from realhosts import Machine, Person, applied

QUICK = {"idle_timeout": "40s", "period": "5s", "warn": "15s"}
METRICS = "/var/lib/prometheus/node-exporter/session_reaper.prom"


class Reaper:
    def __init__(self, machine: Machine):
        self.machine = machine

    def role(self, **variables: t.Any) -> int:
        """How many tasks changed something."""
        (changed,) = applied([self.machine], "session_reaper", **variables).changed
        return changed

    def command(self, *words: str, check: bool = True) -> t.Any:
        return self.machine.exec(" ".join(["session-reaper", *words]), check=check)

    def said(self) -> str:
        """Its lines in the journal, or in syslog's file where there is none."""
        return self.machine.exec(
            "journalctl -q -t session-reaper -o cat 2>/dev/null || grep -h session-reaper /var/log/auth.log",
            check=False,
        ).stdout

    def deeds(self, message: str, user: str) -> list[str]:
        return re.findall(rf"^.*{message} .*\buser={user}\b.*$", self.said(), re.M)


@pytest.fixture(scope="module")
def reaper(machine: Machine) -> Reaper:
    return Reaper(machine)


@pytest.fixture(scope="module")
def seat() -> t.Iterator[t.Callable[..., Person]]:
    """Seat people who stay until the file's last test; each is waited for at the prompt."""
    seated: list[Person] = []

    def one(*args: t.Any, **kw: t.Any) -> Person:
        seated.append(Person(*args, **kw))
        return seated[-1].at_prompt()

    yield one
    for person in seated:
        person.leaves()
