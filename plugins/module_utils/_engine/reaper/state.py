# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one run leaves to the next: who was seen, since when nothing happened there, and who was warned.

A first line says what follows (a version, the length and a CRC of the rest), so that a file that was cut short, grown
or changed anywhere is known for what it is. Nothing is believed that another boot or another clock wrote.
"""

from __future__ import annotations

import binascii
import json
import os
import stat
import time
from typing import Any, Mapping, NamedTuple

FOLDER = "/var/lib/session-reaper"
_VERSION = b"session-reaper-state 1"
_MOST = 1 << 24
#: Seconds by which a clock may run ahead of what was written without being called another.
_SLACK = 5.0


class Times(NamedTuple):
    """One moment on three clocks, seconds: the wall's, CLOCK_BOOTTIME and CLOCK_MONOTONIC, which stands in suspend."""

    wall: float
    boot: float
    running: float


def now() -> Times:
    return Times(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic())


class Seen(NamedTuple):
    """A session at the last run.

    `stamp` changes when somebody types or something moves, and is "" where nothing tells; `moved` are the bytes that
    its connection had carried. `idle` are the seconds, as far as we watched, that nothing changed; `lost` those of its
    age in which the machine stood. `warned` is when it was told, on the clock of `State.watched`, and `why`.
    """

    stamp: str
    moved: int | None
    idle: float
    lost: float
    warned: float | None = None
    why: str = ""
    reported: bool = False


class State(NamedTuple):
    """`watched` counts the seconds that the machine ran under our eyes. `policy` is what the run went by."""

    boot_id: str
    times: Times
    watched: float
    sessions: Mapping[str, Seen]
    totals: Mapping[str, int]
    policy: Mapping[str, Any]


class Unusable(Exception):
    """Why a state is not believed: a few words."""


def dump(state: State) -> bytes:
    body = json.dumps(
        {**state._asdict(), "sessions": {name: list(seen) for name, seen in state.sessions.items()}},
        separators=(",", ":"),
    ).encode("ascii")
    return b"%s %d %08x\n" % (_VERSION, len(body), binascii.crc32(body)) + body


def parse(data: bytes, boot_id: str, times: Times) -> State:
    """The state that `dump` wrote.

    Raises:
        Unusable: it is not whole, or of another boot or time.
    """
    head, _newline, body = data.partition(b"\n")
    if head != b"%s %d %08x" % (_VERSION, len(body), binascii.crc32(body)):
        raise Unusable("it is damaged, or of another version")
    try:
        raw = json.loads(body)
        state = State(
            raw["boot_id"],
            Times(*map(float, raw["times"])),
            float(raw["watched"]),
            {name: Seen(*seen) for name, seen in raw["sessions"].items()},
            {name: int(count) for name, count in raw["totals"].items()},
            dict(raw["policy"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Unusable("it is damaged, or of another version") from None
    if state.boot_id != boot_id:
        raise Unusable("it is of another boot")
    before = state.times
    if before.running > times.running or before.boot > times.boot or before.wall > times.wall + _SLACK:
        raise Unusable("it is dated in the future")
    return state


def load(folder: str, boot_id: str, times: Times) -> State | None:
    """The last run's state; None where there was none yet.

    Raises:
        Unusable: it is there and not to be believed.
    """
    try:
        handle = os.open(os.path.join(folder, "state"), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise Unusable(f"it can't be read: {exc.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise Unusable("others than root can write it")
        try:
            return parse(file.read(_MOST), boot_id, times)
        except OSError as exc:
            raise Unusable(f"it can't be read: {exc.strerror}") from None


def write(path: str, data: bytes, mode: int = 0o600) -> None:
    """Put `data` at `path`, whole or not at all, also when the power fails.

    Raises:
        OSError: it was not written, and what was there is there still.
    """
    beside = f"{path}.new"
    try:
        os.unlink(beside)
    except FileNotFoundError:
        pass
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        os.fchmod(handle, mode)
        left = data
        while left:
            left = left[os.write(handle, left) :]
        os.fsync(handle)
        os.rename(beside, path)
    except OSError:
        os.unlink(beside)
        raise
    finally:
        os.close(handle)


def save(folder: str, state: State) -> None:
    """
    Raises:
        OSError: as `write`.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    write(os.path.join(folder, "state"), dump(state))
