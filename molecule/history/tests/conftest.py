# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of causes that the run prints at its end."""

from __future__ import annotations

import pathlib
import sys
import typing as t

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.fixture
def named(request: pytest.FixtureRequest) -> t.Callable[[str, str, str, bool], None]:
    """named(case, release, cause, right): a cell of the table."""
    return lambda *cell: request.node.user_properties.append(("named", cell))


def pytest_terminal_summary(terminalreporter: t.Any) -> None:
    cells: dict[str, dict[str, tuple[str, bool]]] = {}
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, cell in report.user_properties if report.when == "call" else ():
            if name == "named":
                case, release, cause, right = cell
                cells.setdefault(case, {})[release] = (cause, right)
    if not cells:
        return
    releases = sorted({release for row in cells.values() for release in row})
    wide = max(len(case) for case in cells)
    line = terminalreporter.write_line
    column = max(len(cause) for row in cells.values() for cause, _right in row.values()) + len("WRONG: ")
    line(f"{'':{wide}}  " + "  ".join(f"{release:<{column}}" for release in releases))
    for case, row in cells.items():
        texts = [row.get(release, ("(has no such limit)", True)) for release in releases]
        marked = [text if right else f"WRONG: {text}" for text, right in texts]
        line(f"{case:{wide}}  " + "  ".join(f"{text:<{column}}" for text in marked).rstrip())
    verdicts = [right for row in cells.values() for _cause, right in row.values()]
    line(f"causes produced {len(verdicts)}, wrong names {verdicts.count(False)}")
