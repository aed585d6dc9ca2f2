# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings, and what became of sessions, as tables for a terminal."""

from __future__ import annotations

import textwrap
from typing import Any, Mapping, Sequence

from .duration import format_duration
from .judge_policy import VALUE

_HEAD = ("CLOCK", "WANTED", "IN FORCE", "WHERE FROM")
# policy_info's setting for whether the daemon runs what is on disk: a sentence, no row.
_RELOAD = "reload"
_MARKS = {True: " ", False: "!", None: "-"}


def findings_table(findings: Sequence[Mapping[str, Any]], width: int = 80) -> list[str]:
    """Lines of at most `width` columns, by clock.

    A row starts with ``!`` where the wanted value is not in force (`failures` says why) and with ``-`` where nothing
    on this host enforces it; the sentences that say why follow the rows.
    """
    order = list(dict.fromkeys(f["clock"] for f in findings))
    clocks = sorted((f for f in findings if f["setting"] != _RELOAD), key=lambda f: order.index(f["clock"]))
    cells = [(_label(f), _text(f.get("wanted")), _text(f.get("in_force")), f.get("source") or "") for f in clocks]
    label, wanted, in_force = (max(len(row[i]) for row in [*cells, _HEAD]) for i in range(3))
    label += 2  # settings stand indented below their clock
    place = max(width - 2 - label - wanted - in_force - 6, 12)

    def row(mark: str, cell: Sequence[str]) -> str:
        text = f"{mark} {cell[0]:<{label}}  {cell[1]:<{wanted}}  {cell[2]:<{in_force}}  {_tail(cell[3], place)}"
        return text.rstrip()

    lines = [row(" ", _HEAD)] if clocks else []
    clock = None
    for finding, cell in zip(clocks, cells):
        if finding["clock"] != clock:
            clock = finding["clock"]
            bound = finding.get("bound")
            lines.append(f"  {clock}, cut after {bound} s" if bound else f"  {clock}")
        lines.append(row(_MARKS[finding.get("compliant")], (f"  {cell[0]}", *cell[1:])))
    for finding in findings:
        if finding.get("compliant") is None:
            lines += textwrap.wrap(
                sentence(finding),
                width,
                initial_indent=_MARKS[None] + " ",
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    return lines


def failures(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """One sentence for each value that this host could enforce and does not."""
    return [sentence(finding) for finding in findings if finding.get("compliant") is False]


def sentence(finding: Mapping[str, Any]) -> str:
    """What is to be said about a finding that is not compliant."""
    return f"{finding['clock']}, {_label(finding)}: {reasons(finding)}"


def reasons(finding: Mapping[str, Any]) -> str:
    """The sentence without what it is about."""
    in_force = finding.get("in_force")
    if finding["setting"] == _RELOAD:
        said = []
    elif finding.get("compliant") is None:
        said = ["not enforced here"]
    else:
        wanted = _text(finding.get("wanted"))
        said = [f"wanted {wanted}, in force is {'nothing' if in_force is None else in_force}"]
    if finding.get("overridden_by"):
        said.append(f"overridden by {finding['overridden_by']}")
    said += [str(finding[part]) for part in ("why", "remedy") if finding.get(part)]
    return "; ".join(said) + "."


def _label(finding: Mapping[str, Any]) -> str:
    what = str(finding.get("shell") or finding["setting"])
    if finding.get("user"):
        what = f"{finding['user']}, exempt" if finding.get("wanted") is None else f"{finding['user']}: {what}"
    kind = finding.get("kind") or VALUE
    return what if kind == VALUE else f"{what}, {kind.replace('_', ' ')}"


def _text(value: object) -> str:
    return "-" if value is None else str(value)


def _tail(path: str, width: int) -> str:
    """`path`, its first folders left out where it is too long."""
    if len(path) <= width:
        return path
    tail = path[-(width - 3) :]
    return "..." + tail[max(tail.find("/"), 0) :]


_OUTCOME_HEAD = ("USER", "KIND", "AT", "FROM", "IDLE", "OUTCOME", "WHY")


def outcomes_table(sessions: Sequence[Mapping[str, Any]], width: int = 80) -> list[str]:
    """Lines of at most `width` columns, one for each session that session_terminate names.

    WHY is why it was ended or why not; who survived its end and what text was kept follow in lines of their own.
    """
    if not sessions:
        return ["No session is stale."]
    rows = [_outcome_row(session) for session in sessions]
    sizes = [max(len(row[i]) for row in [_OUTCOME_HEAD, *rows]) for i in range(len(_OUTCOME_HEAD))]
    # What is too long is cut where it tells least: addresses and users first.
    for column, least in ((3, 15), (0, 8), (2, 8), (6, 12), (3, 9)):
        over = sum(sizes) + 2 * (len(sizes) - 1) - width
        sizes[column] = max(least, sizes[column] - max(0, over)) if sizes[column] > least else sizes[column]
    lines = []
    for row, session in zip([_OUTCOME_HEAD, *rows], [{}, *sessions]):
        cells = (_cut(cell, size).ljust(size) for cell, size in zip(row, sizes))
        lines.append("  ".join(cells).rstrip()[:width])
        for survivor in session.get("survivors") or ():
            text = f"    {survivor['command']} (pid {survivor['pid']}) stays: {survivor['why']}"
            lines.append(_cut(text, width))
        lines += [_cut(f"    text kept in {path}", width) for path in session.get("preserved") or ()]
    return lines


def _outcome_row(session: Mapping[str, Any]) -> tuple[str, ...]:
    idle = session.get("idle")
    because = session.get("skipped_because") or session.get("stale_because") or ()
    return (
        session.get("user") or "?",
        session.get("kind") or "?",
        ",".join(session.get("ttys") or ()) or "-",
        session.get("remote_host") or "-",
        "?" if idle is None else format_duration(idle),
        session["outcome"].replace("_", " "),
        ", ".join(because),
    )


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "~"
