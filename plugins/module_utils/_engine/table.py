# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings as a table for a terminal."""

from __future__ import annotations

import textwrap
from typing import Any, Mapping, Sequence

_HEAD = ("CLOCK", "WANTED", "IN FORCE", "WHERE FROM")
_MARKS = {True: " ", False: "!", None: "-"}


def findings_table(findings: Sequence[Mapping[str, Any]], width: int = 80) -> list[str]:
    """Lines of at most `width` columns.

    A row starts with ``!`` where the wanted value is not in force and with ``-`` where this host has nothing that
    could enforce it. The sentences that explain either follow the rows.
    """
    if not findings:
        return []
    cells = [(_label(f), _text(f.get("wanted")), _text(f.get("in_force")), f.get("source") or "") for f in findings]
    label, wanted, in_force = (max(len(row[i]) for row in [*cells, _HEAD]) for i in range(3))
    label += 2  # settings stand indented below their clock
    place = max(width - 2 - label - wanted - in_force - 6, 12)

    def row(mark: str, cell: Sequence[str]) -> str:
        where = _tail(cell[3], place)
        text = f"{mark} {cell[0]:<{label}}  {cell[1]:<{wanted}}  {cell[2]:<{in_force}}  {where}"
        return text.rstrip()

    lines = [row(" ", _HEAD)]
    clock = None
    for finding, cell in zip(findings, cells):
        if finding["clock"] != clock:
            clock = finding["clock"]
            bound = finding.get("bound")
            lines.append(f"  {clock}, cut after {bound} s" if bound else f"  {clock}")
        lines.append(row(_MARKS[finding.get("compliant")], (f"  {cell[0]}", *cell[1:])))
    for finding in findings:
        if finding.get("compliant") is not True:
            lines += _wrapped(_MARKS[finding.get("compliant")], _sentence(finding), width)
    return lines


def failures(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """One sentence for each value that this host could enforce and does not."""
    return [_sentence(finding) for finding in findings if finding.get("compliant") is False]


def _wrapped(mark: str, text: str, width: int) -> list[str]:
    indent = {"initial_indent": f"{mark} ", "subsequent_indent": "  "}
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False, **indent)


def _sentence(finding: Mapping[str, Any]) -> str:
    said = [f"{finding['clock']}: {_label(finding)}"]
    if finding.get("compliant") is None:
        said.append("is not enforced here")
    else:
        in_force = finding.get("in_force")
        said.append(f"should be {_text(finding.get('wanted'))} and is {'not set' if in_force is None else in_force}")
    if finding.get("overridden_by"):
        said.append(f"because of {finding['overridden_by']}")
    text = " ".join(said)
    for part in ("why", "remedy"):
        if finding.get(part):
            text += f"; {finding[part]}" if part == "remedy" else f": {finding[part]}"
    return text + "."


def _label(finding: Mapping[str, Any]) -> str:
    about = finding.get("user") or finding.get("shell")
    return f"{finding['setting']} ({about})" if about else str(finding["setting"])


def _text(value: object) -> str:
    return "-" if value is None else str(value)


def _tail(path: str, width: int) -> str:
    return path if len(path) <= width else "..." + path[-(width - 3) :]
