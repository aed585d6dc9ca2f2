# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of session-reaper list: who is on, how idle, at what work, and what becomes of it."""

from __future__ import annotations

from typing import Any, Sequence

from ..duration import format_duration
from ..model import WORK, WORK_FIELD, Session, plain
from .judge import END, EXEMPT, LATER, PROTECTED, UNKNOWN, WARN, WARNED, Verdict

_WIDTHS = (9, 15, 14, 7, 15, 15)
_HEAD = ("USER", "FROM", "KIND", "IDLE", "AT", "VERDICT")
_RED, _YELLOW, _DIM, _PLAIN = "31", "33", "2", ""
_COLOURS = {END: _RED, WARN: _YELLOW, WARNED: _YELLOW, EXEMPT: _DIM, PROTECTED: _DIM}


def table(verdicts: Sequence[Verdict], coloured: bool) -> str:
    """Lines of at most 80 columns, the longest idle first."""
    rows = [_line(_HEAD)]
    for verdict in sorted(verdicts, key=lambda v: -(v.session.idle or 0)):
        session = verdict.session
        kind = " ".join([session.kind or "?", *session.ttys[:1]])
        text = _line(
            (session.user or "?", session.remote_host or "-", kind, _idle(session), at_work(session), said(verdict))
        )
        colour = _COLOURS.get(verdict.name, _PLAIN) if coloured else _PLAIN
        rows.append(f"\x1b[{colour}m{text}\x1b[0m" if colour else text)
    return "\n".join(rows) + "\n"


def _line(cells: Sequence[str]) -> str:
    return " ".join(_cell(text, width) for text, width in zip(cells, _WIDTHS)).rstrip()


def _cell(text: str, width: int) -> str:
    return f"{text if len(text) <= width else text[: width - 1] + '~':{width}}"


def _idle(session: Session) -> str:
    return "?" if session.idle is None else _short(session.idle)


def _short(seconds: int) -> str:
    """To the second below a minute, to the minute below a day, else to the hour."""
    unit = 1 if seconds < 60 else 60 if seconds < 86400 else 3600
    return format_duration(seconds - seconds % unit)


def at_work(session: Session) -> str:
    """What would be lost with the session first, then what runs in front."""
    kinds = [name for name in WORK if getattr(session.work, WORK_FIELD.get(name, name))]
    programs = [item.program for name in ("editors", "transfers", "database_clients", "package_managers")
                for item in getattr(session.work, name)]  # fmt: skip
    words = [*programs, *session.work.foreground, *kinds]
    return ",".join(dict.fromkeys(words)) or "-"


def said(verdict: Verdict) -> str:
    name, left = verdict.name, verdict.left
    if name == END:
        return "ends now"
    if name in (WARN, WARNED):
        return f"ends in {_short(left or 0)}"
    if name == PROTECTED:
        return "kept: " + ",".join(verdict.session.protected_because)
    if name == UNKNOWN:
        return "idle unknown"
    if name == LATER:
        return "ends later"
    return name


def listing(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """For --json: the fields of session_info, the idle time and age that count, and the verdict."""
    return [{**plain(verdict.session), "verdict": verdict.name, "ends_in": verdict.left} for verdict in verdicts]
