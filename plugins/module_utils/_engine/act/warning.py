# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A line on somebody's terminal. It moves the terminal's mtime, not its atime, so nobody's idle clock starts anew."""

from __future__ import annotations

import os
import stat

from ..duration import format_duration
from ..model import Session, visible

_LONGEST = 1000


def warning(session: Session, because: tuple[str, ...], seconds: int, message: str | None, reason: str | None) -> str:
    """What a person is told whose session ends in `seconds`; `message` in place of our own words."""
    if message:
        return message
    when = f"in {format_duration(seconds)}" if seconds else "now"
    why = {
        "idle": f"nothing was typed for {format_duration(session.idle or 0)}",
        "age": f"it began {format_duration(session.age or 0)} ago",
    }
    said = [why[name] for name in because if name in why] + ([reason] if reason else [])
    text = f"This session will be ended {when}" + (f": {'; '.join(said)}." if said else ".")
    return text + (" Type something to keep it." if seconds and "age" not in because else "")


def write(path: str, text: str, uid: int | None) -> bool:
    """Put `text` on the terminal at `path`; whether it was taken.

    A terminal that was stopped, or whose reader is stuck, takes nothing and is not waited for. Control characters are
    written as escapes, so that no text drives somebody's terminal. A terminal that belongs to another than `uid` by now
    is left alone.
    """
    data = f"\r\n*** {visible(text[:_LONGEST])} ***\r\n".encode("utf-8", "backslashreplace")
    try:
        handle = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        found = os.fstat(handle)
        if not stat.S_ISCHR(found.st_mode) or (uid is not None and found.st_uid not in (uid, 0)):
            return False
        return os.write(handle, data) == len(data)
    except OSError:
        return False
    finally:
        os.close(handle)
