# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of auth.log, secure or messages and their rotations, where there is no journal.

A plain file does not say which process wrote a line, only what that process called itself: these lines can be forged.
"""

from __future__ import annotations

import glob
import gzip
import lzma
import os
import re
import time
from typing import IO, Any, Iterator

from ..history import OWN, SHELL, Line
from ..judge_history import SSHD

#: By distribution: Debian; RHEL and SUSE; what has no file of its own for logins (busybox, Alpine, SUSE).
LOGS = ("var/log/auth.log", "var/log/secure", "var/log/messages")
_IDENTIFIERS = {*SSHD, *OWN, SHELL, "login", "systemd-logind", "systemd"}
_LINE = re.compile(
    r"(?P<stamp>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)) "
    r"(?P<host>\S+) (?:[a-z]+[0-9]?\.[a-z]+ )?(?P<name>[^\s\[:]+)(?:\[(?P<pid>\d+)\])?: (?P<text>.*)"
)
_WANTED = re.compile(rb"(?:sshd|login|session|Startup finished|Stopping [Ss]ession)")
_ROTATED = re.compile(r"(?:[.-]\d+)?(?:\.gz|\.xz)?")
_DAY = 86400.0


def names(root: str) -> list[str]:
    """The first kind of log that is there, with its rotations, the oldest first."""
    for name in LOGS:
        path = os.path.join(root, name)
        found = [other for other in glob.glob(glob.escape(path) + "*") if _ROTATED.fullmatch(other[len(path) :])]
        if found:
            return sorted(found, key=lambda p: (os.stat(p).st_mtime, p == path))
    return []


def read(path: str, since: float, until: float) -> Iterator[Line]:
    """The lines of one file between two moments, in their order.

    Raises:
        OSError: it cannot be read.
    """
    written = os.stat(path).st_mtime
    if written < since - 1:
        return
    stamps = Stamps(written)
    packed: Any = {".gz": gzip.open, ".xz": lzma.open}.get(path[-3:])
    with packed(path, "rb") if packed else open(path, "rb") as handle:
        offset = 0 if packed else _seek(handle, stamps, since)
        for raw in handle:
            at, offset = offset, offset + len(raw)
            if not _WANTED.search(raw):
                continue
            line = parse(raw.decode("utf-8", "replace").rstrip("\n"), path, at, stamps)
            if line is None or line.at < since:
                continue
            if line.at > until:
                return
            yield line


def parse(text: str, path: str, offset: int, stamps: Stamps) -> Line | None:
    found = _LINE.fullmatch(text)
    if not found or found.group("name") not in _IDENTIFIERS:
        return None
    at = stamps.seconds(found.group("stamp"))
    if at is None:
        return None
    pid = found.group("pid")
    cursor = f"{path}:{offset}"
    return Line(at, found.group("name"), int(pid) if pid else None, found.group("text"), path, cursor, trusted=False)


class Stamps:
    """Moments as a log writes them; the old kind names no year and is in local time (RFC 3164).

    `written` is when the file was last written: no line in it is younger by more than a day.
    """

    def __init__(self, written: float) -> None:
        self.written = written
        self.year = time.localtime(written).tm_year
        self.known: dict[str, float | None] = {}

    def seconds(self, stamp: str) -> float | None:
        if stamp[:1].isdigit():
            return _iso(stamp)
        minute = stamp[:-3]  # the clock of a minute is worked out once
        if minute not in self.known:
            self.known = {minute: self._minute(minute)}
        start = self.known[minute]
        return None if start is None else start + int(stamp[-2:])

    def _minute(self, text: str) -> float | None:
        for year in (self.year, self.year - 1):
            try:
                at = time.mktime(time.strptime(f"{year} {text}", "%Y %b %d %H:%M"))
            except (ValueError, OverflowError):
                continue
            if at <= self.written + _DAY:
                return at
        return None


def _iso(text: str) -> float | None:
    from datetime import datetime, timezone

    text = text.replace("Z", "+00:00")
    if text[-3] != ":":
        text = f"{text[:-2]}:{text[-2:]}"
    whole, _dot, rest = text.partition(".")
    fraction = re.match(r"\d+", rest)
    zone = rest[fraction.end() :] if fraction else ""
    try:
        at = datetime.fromisoformat(whole + zone).astimezone(timezone.utc).timestamp()
    except ValueError:
        return None
    return at + (float("0." + fraction.group()) if fraction else 0.0)


def _seek(handle: IO[bytes], stamps: Stamps, since: float) -> int:
    """Go to a line not long before `since`, by halves; the offset. Lines are in the order of time."""
    low, high = 0, handle.seek(0, os.SEEK_END)
    while high - low > 65536:
        middle = (low + high) // 2
        handle.seek(middle)
        handle.readline()
        at = None
        for _try in range(50):  # A line that began otherwise, such as the second of a message, has no stamp.
            raw = handle.readline()
            stamp = re.match(rb"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S+", raw)
            if stamp:
                at = stamps.seconds(stamp.group().decode("ascii", "replace"))
                break
        if at is None or at >= since:
            high = middle
        else:
            low = middle
    handle.seek(low)
    if low:
        low += len(handle.readline())
    return low
