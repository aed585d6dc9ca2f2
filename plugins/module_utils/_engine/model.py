# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values that observe, judge and act hand to each other.

Seconds are integers or floats as said; a None is "could not be known", never a default.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Dict, NamedTuple, Optional, Tuple

TERMINAL, EXEC, SFTP, FORWARD, MOSH, CONSOLE, GRAPHICAL = (
    "terminal",
    "exec",
    "sftp",
    "forward",
    "mosh",
    "console",
    "graphical",
)
KINDS = (TERMINAL, EXEC, SFTP, FORWARD, MOSH, CONSOLE, GRAPHICAL)
#: What work can be lost; the names that `protect` knows.
WORK = ("editors", "transfers", "databases", "package_managers", "jobs", "multiplexers", "locks")
#: The key in `Work` for a name in `WORK` where the two differ.
WORK_FIELD = {"databases": "database_clients"}
PERSON_CLASSES = ("user", "user-early", "user-light", "user-early-light")


class Process(NamedTuple):
    """One line of /proc/PID/stat (proc(5)); a tuple because there may be 20,000 of them."""

    pid: int
    comm: str
    state: str
    ppid: int
    pgrp: int
    sid: int
    tty: int  # device number, 0 for none
    tpgid: int
    flags: int
    cpu: int  # user and system time, ticks
    start: int  # ticks after boot


@dataclass(frozen=True)
class Clock:
    """Two readings of the same moment: wall clock and CLOCK_BOOTTIME, seconds, and ticks a second."""

    now: float
    boot: float
    hz: int = 100


@dataclass(frozen=True)
class Leader:
    pid: int
    start_time: Optional[int]  # ticks after boot (field 22 of /proc/PID/stat); None: the process is gone


@dataclass(frozen=True)
class Member:
    """A process of a session. `state` is the kernel's letter: T is stopped, Z a zombie that nobody has reaped."""

    pid: int
    start_time: int
    uid: Optional[int]
    tty: Optional[str]
    command: str
    state: str


@dataclass(frozen=True)
class Channel:
    """One thing an ssh connection is used for."""

    kind: str
    pid: int
    tty: Optional[str]
    command: str


@dataclass(frozen=True)
class Item:
    """One piece of work, and how it was recognised (`known_by`).

    executable: the running file is the installed program, by device and inode; content: a byte-for-byte copy of it
    under another name; path: the running file has the name, but is not the installed one; script: an interpreter
    running a script of that name; name: only the process says so, and the running file has another name.
    """

    program: str
    pid: int
    start_time: int
    known_by: str
    executable: Optional[str] = None
    tty: Optional[str] = None
    files: Tuple[str, ...] = ()
    swap: Tuple[str, ...] = ()
    rate: Optional[int] = None  # bytes a second between two looks


@dataclass(frozen=True)
class Job:
    pid: int
    start_time: int
    command: str
    stopped: bool
    tty: Optional[str]


@dataclass(frozen=True)
class Lock:
    pid: int
    kind: str  # FLOCK, POSIX, OFDLCK
    mode: str  # READ, WRITE
    path: Optional[str]


@dataclass(frozen=True)
class Multiplexer:
    """A tmux or screen server. `attached` counts clients; None: it could not be asked."""

    program: str
    pid: int
    start_time: int
    uid: Optional[int]
    socket: Optional[str]
    names: Tuple[str, ...] = ()
    attached: Optional[int] = None
    created_at: Optional[str] = None
    activity_age: Optional[int] = None


@dataclass(frozen=True)
class Work:
    foreground: Tuple[str, ...] = ()
    jobs: Tuple[Job, ...] = ()
    editors: Tuple[Item, ...] = ()
    transfers: Tuple[Item, ...] = ()
    database_clients: Tuple[Item, ...] = ()
    package_managers: Tuple[Item, ...] = ()
    multiplexers: Tuple[Multiplexer, ...] = ()
    locks: Tuple[Lock, ...] = ()


@dataclass(frozen=True)
class Trouble:
    """closing (its end is held up), peer_unresponsive, or stopped_terminal; `why` is a sentence."""

    name: str
    why: str
    pids: Tuple[int, ...] = ()


@dataclass(frozen=True)
class Session:
    """One way a person is in; the fields are those that the modules return."""

    id: str
    logind_id: Optional[str]
    audit_id: Optional[int]
    user: Optional[str]
    uid: Optional[int]
    kind: Optional[str]
    session_class: Optional[str]
    state: Optional[str]
    seen_by: Tuple[str, ...]
    service: Optional[str]
    remote_host: Optional[str]
    remote_port: Optional[int]
    ttys: Tuple[str, ...]
    channels: Tuple[Channel, ...]
    login_at: Optional[str]
    age: Optional[int]
    idle: Optional[int]
    idle_signal: str
    output_idle: Optional[int]
    peer_unresponsive: Optional[bool]
    work: Work
    troubles: Tuple[Trouble, ...]
    is_self: bool
    leader: Leader
    processes: Tuple[Member, ...]
    stale: bool = False
    stale_because: Tuple[str, ...] = ()
    protected: bool = False
    protected_because: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Leftover:
    """What a session left behind. `kind` is one of those of `observe.leftovers`."""

    kind: str
    why: str
    pid: Optional[int] = None
    start_time: Optional[int] = None
    uid: Optional[int] = None
    user: Optional[str] = None
    command: Optional[str] = None
    path: Optional[str] = None
    age: Optional[int] = None
    logind_id: Optional[str] = None


@dataclass(frozen=True)
class Observation:
    boot_id: str
    sessions: Tuple[Session, ...]
    leftovers: Tuple[Leftover, ...]
    unauthenticated: Optional[int]
    disagreements: Tuple[str, ...]
    warnings: Tuple[str, ...]
    self_known_by: Tuple[str, ...]


def plain(value: Any) -> Any:
    """`value` as lists, dicts and scalars; the field `session_class` is called `class` there."""
    if is_dataclass(value):
        found: Dict[str, Any] = {}
        for field in fields(value):
            found["class" if field.name == "session_class" else field.name] = plain(getattr(value, field.name))
        return found
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def visible(text: str) -> str:
    """`text` on one line of printable characters: anything else becomes \\xNN or \\uNNNN, as Python writes it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape: a byte that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
