# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Login records where the host still keeps them (utmp(5)): Debian 13 and others no longer do."""

from __future__ import annotations

import struct
from typing import NamedTuple

_USER_PROCESS = 7
# struct utmp of glibc on 64-bit Linux, with the 32-bit times that it kept.
RECORD = struct.Struct("<hxxi32s4s32s256shhiii16s20x")


class Record(NamedTuple):
    pid: int
    tty: str
    user: str
    host: str
    at: int  # seconds since the epoch


def text(raw: bytes) -> str:
    """A field of it, which ends at its first NUL."""
    return raw.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def parse_utmp(data: bytes) -> list[Record]:
    """The users' records; a last one that is cut off is left out."""
    found = []
    for kind, pid, line, _id, user, host, _end, _exit, _session, at, _usec, _address in RECORD.iter_unpack(
        data[: len(data) - len(data) % RECORD.size]
    ):
        if kind == _USER_PROCESS and user[:1] != b"\0":
            found.append(Record(pid, text(line), text(user), text(host), at))
    return found


def read_utmp(path: str) -> list[Record] | None:
    """The records, or None where the host keeps none."""
    try:
        with open(path, "rb") as handle:
            return parse_utmp(handle.read(1 << 22))
    except OSError:
        return None
