# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures that the run prints at its end."""

from __future__ import annotations

import collections
import typing as t

import pytest


@pytest.fixture
def count(request: pytest.FixtureRequest) -> t.Callable[..., None]:
    """count(cases=1, wrong_signals=0, …): add to the figures of the run."""

    def add(**figures: int) -> None:
        request.node.user_properties.extend(figures.items())

    return add


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    total: collections.Counter = collections.Counter()
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        if report.when == "call":
            total.update({name: int(number) for name, number in report.user_properties if isinstance(number, int)})
    if total:
        figures = ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in total.items())
        terminalreporter.write_line(f"faults and races on real hosts: {figures}")
