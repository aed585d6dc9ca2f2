# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations as people write them: integer seconds or ``90s``, ``15m``, ``1h30m``, ``2d``."""

from __future__ import annotations

import re
from typing import Mapping

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
_TEXT = re.compile("".join(rf"(?:([0-9]{{1,10}}){unit})?" for unit, _size in _UNITS))
# sshd, logind and the shells keep seconds in a C int.
LARGEST = 2**31 - 1


def parse_duration(value: object) -> int:
    """Seconds in `value`.

    Args:
        value: a non-negative integer (seconds), its decimal text, or parts of days, hours, minutes and seconds
            in that order, each at most once (``1h30m``).

    Raises:
        ValueError: with a sentence that says what to write instead.
    """
    hint = f"{value!r} is not a duration: write whole seconds or, for example, 90s, 15m, 1h30m or 2d"
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(hint)
    text = str(value).strip()
    if re.fullmatch(r"[0-9]+", text):
        seconds = int(text) if len(text) <= 10 else LARGEST + 1
    else:
        found = _TEXT.fullmatch(text)
        if not text or not found:
            raise ValueError(hint)
        seconds = sum(int(n) * size for n, (_unit, size) in zip(found.groups(), _UNITS) if n)
    if seconds > LARGEST:
        raise ValueError(f"{value!r} is too long: the longest duration is {LARGEST} seconds")
    return seconds


def duration_option(options: Mapping[str, object], name: str) -> int | None:
    """Seconds in the option `name`; None where it is not set.

    Raises:
        ValueError: with a sentence that names the option and says what to write instead.
    """
    if options[name] is None:
        return None
    try:
        return parse_duration(options[name])
    except ValueError as exc:
        raise ValueError(f"{name}: {exc}") from None


def parse_moment(text: str, now: float) -> float:
    """A moment (seconds since the epoch) as people write it: ISO 8601, or how long before `now`.

    Raises:
        ValueError: with a sentence that says what to write instead.
    """
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    from datetime import datetime, timezone

    try:
        at = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        hint = "write for example 2026-01-31T08:15:00Z, 2026-01-31, or how long ago: 90m, 24h, 7d"
        raise ValueError(f"{text!r} is no moment: {hint}") from None
    return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).timestamp()


def format_duration(seconds: int) -> str:
    """The shortest text that `parse_duration` reads back as `seconds` (``0s`` for zero)."""
    parts = []
    rest = seconds
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
