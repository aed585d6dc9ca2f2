# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values that observe, judge and act hand to each other.

Seconds are integers or floats as said; a None is "could not be known", never a default. Most are named tuples: a task
defines them anew each time it runs, and twelve dataclasses would cost it 10 ms.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

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


class Clock(NamedTuple):
    """Two readings of the same moment: wall clock and CLOCK_BOOTTIME, seconds, and ticks a second."""

    now: float
    boot: float
    hz: int = 100


class Leader(NamedTuple):
    pid: int
    start_time: int | None  # ticks after boot (field 22 of /proc/PID/stat); None: the process is gone


class Member(NamedTuple):
    """A process of a session. `state` is the kernel's letter: T is stopped, Z a zombie that nobody has reaped."""

    pid: int
    start_time: int
    uid: int | None
    tty: str | None
    command: str
    state: str


class Channel(NamedTuple):
    """One thing an ssh connection is used for. `idle` is of its own terminal; None without one."""

    kind: str
    pid: int
    tty: str | None
    command: str
    idle: int | None = None


class Item(NamedTuple):
    """One piece of work, and how it was recognised (`known_by`).

    executable: the running file is the installed program, by device and inode; content: a byte-for-byte copy of it
    under another name; path: the running file has the name, but is not the installed one; script: an interpreter
    running a script of that name; name: only the process says so, and the running file has another name.
    """

    program: str
    pid: int
    start_time: int
    known_by: str
    executable: str | None = None
    tty: str | None = None
    files: tuple[str, ...] = ()
    swap: tuple[str, ...] = ()
    rate: int | None = None  # bytes a second between two looks


class Job(NamedTuple):
    """Work behind the prompt, or without any terminal (then `tty` is None). `executable` is the running file."""

    pid: int
    start_time: int
    command: str
    stopped: bool
    tty: str | None
    executable: str | None = None


class Lock(NamedTuple):
    pid: int
    kind: str  # FLOCK, POSIX, OFDLCK
    mode: str  # READ, WRITE
    path: str | None


class Multiplexer(NamedTuple):
    """A tmux or screen server. `attached` counts clients; None: it could not be asked."""

    program: str
    pid: int
    start_time: int
    uid: int | None
    socket: str | None
    names: tuple[str, ...] = ()
    attached: int | None = None
    created_at: str | None = None
    activity_age: int | None = None


class Work(NamedTuple):
    foreground: tuple[str, ...] = ()
    jobs: tuple[Job, ...] = ()
    editors: tuple[Item, ...] = ()
    transfers: tuple[Item, ...] = ()
    database_clients: tuple[Item, ...] = ()
    package_managers: tuple[Item, ...] = ()
    multiplexers: tuple[Multiplexer, ...] = ()
    locks: tuple[Lock, ...] = ()


class Trouble(NamedTuple):
    """closing (its end is held up), peer_unresponsive, or stopped_terminal; `why` is a sentence."""

    name: str
    why: str
    pids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Session:
    """One way a person is in; the fields are those that the modules return."""

    id: str
    logind_id: str | None
    audit_id: int | None
    user: str | None
    uid: int | None
    kind: str | None
    session_class: str | None
    state: str | None
    seen_by: tuple[str, ...]
    service: str | None
    remote_host: str | None
    remote_port: int | None
    ttys: tuple[str, ...]
    channels: tuple[Channel, ...]
    login_at: str | None
    age: int | None
    idle: int | None
    idle_signal: str
    output_idle: int | None
    peer_unresponsive: bool | None
    work: Work
    troubles: tuple[Trouble, ...]
    is_self: bool
    leader: Leader
    processes: tuple[Member, ...]
    stale: bool = False
    stale_because: tuple[str, ...] = ()
    protected: bool = False
    protected_because: tuple[str, ...] = ()


CLOSING_SESSION, ORPHAN_PROCESS, DETACHED_MULTIPLEXER, STALE_LOCK = LEFTOVER_KINDS = (
    "closing_session",
    "orphan_process",
    "detached_multiplexer",
    "stale_lock",
)


class Leftover(NamedTuple):
    """One thing that sessions left behind. `cause` tells apart what `kind` puts together:

    closing_session: closing (in the scope of a session that logind calls closing).
    orphan_process: shell_ended (its SID leader is dead, or the connection that it served), unsupervised (a user's sshd
    whose privileged half is gone), no_session (its user has no session at all).
    detached_multiplexer: tmux or screen. stale_lock: pid_gone, vim_swap, no_server (a socket), named (by a pattern).

    `age` is seconds since processes began, since a multiplexer was last used, since a lock was last written. `intent`
    is how it shows that it is meant to stay, `work` are names of WORK, `blocked` what always speaks against taking it.
    `target` is what the act needs, with names as the kernel has them.
    """

    kind: str
    cause: str
    why: str
    id: str
    pid: int | None = None
    start_time: int | None = None
    uid: int | None = None
    user: str | None = None
    command: str | None = None
    name: str | None = None  # of a multiplexer's session
    path: str | None = None
    age: int | None = None
    attached_age: int | None = None
    activity_age: int | None = None
    logind_id: str | None = None
    processes: tuple[Member, ...] = ()
    intent: tuple[str, ...] = ()
    work: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    target: Any = None


class Traffic(NamedTuple):
    """Bytes both ways so far of a connection without channels, and of what is forwarded through it."""

    own: int | None
    forwarded: tuple[int | None, ...]


class Observation(NamedTuple):
    boot_id: str
    sessions: tuple[Session, ...]
    leftovers: tuple[Leftover, ...]
    unauthenticated: int | None
    disagreements: tuple[str, ...]
    warnings: tuple[str, ...]
    self_known_by: tuple[str, ...]
    logind_limits: tuple[int | None, int | None]  # SessionsMax, sessions now
    self_is_local: bool = False
    traffic: tuple[tuple[str, Traffic], ...] = ()  # by session id, of ssh connections without channels


def plain(value: Any) -> Any:
    """`value` as lists, dicts and scalars; the field `session_class` is called `class` there."""
    if isinstance(value, (str, int, float, type(None))):
        return value
    fields = getattr(value, "_fields", None)
    if fields is not None:
        return dict(zip(fields, map(plain, value)))
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return {"class" if name == "session_class" else name: plain(item) for name, item in vars(value).items()}


def iso(seconds: float | None) -> str | None:
    """A moment (seconds since the epoch) as ISO 8601 in UTC."""
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


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
