# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reaper of a host, and seats for people."""

from __future__ import annotations

import typing as t

import pytest
from realhosts import Machine, Person
from reaping import Reaper


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
