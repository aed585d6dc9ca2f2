# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each cause, produced for real on one host of each release, and what session_history_info calls it."""

from __future__ import annotations

import contextlib
import typing as t

import pytest
from causes import CASES, NAMELESS, Endings, can, restart
from realhosts import Machine


@pytest.fixture(scope="module")
def ended(machine: Machine) -> t.Iterator[Machine]:
    """The host with everything on it that has ended."""
    with contextlib.ExitStack() as stack:
        Endings(machine, stack)()
        restart(machine, stack)
        yield machine


@pytest.fixture(scope="module")
def history(ended: Machine) -> dict:
    found = ended.module("session_history_info", since="1h", limit=0)
    assert "sessions" in found, found
    return found


def of(history: dict, case: str) -> list[dict]:
    address = NAMELESS.get(case)
    return [s for s in history["sessions"] if (s["remote_host"] == address if address else s["user"] == case)]


@pytest.mark.parametrize("case", CASES)
def test_the_cause_has_its_name(history, ended, named, case):
    if not can(case, ended):
        named(case, ended.image, "(has no such limit)", True)
        return
    found = of(history, case)
    causes = {s["ended_by"] for s in found}
    right = causes == set(CASES[case])
    named(case, ended.image, ", ".join(sorted(causes)) or "nothing", right)
    assert right, found
    for session in found:
        assert session["evidence"] and session["how"]
        assert session["evidence"]["source"] == "journal" and session["evidence"]["cursor"]
        assert session["ended_at"].endswith("Z")
