# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the parts of one observation share: where they look, and a session while it is being put together."""

from __future__ import annotations

import os
import pwd
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Mapping, NamedTuple

from ..model import Channel, Clock, Process, Trouble
from .dbus import SYSTEM_BUS
from .logind_sessions import LogindSession
from .sockets import Connection, connections
from .utmp import Record

if TYPE_CHECKING:
    from .command import Answer, Command, Runner

SSHD = ("sshd", "sshd-session", "sshd-auth")
# Helpers that a session starts for itself: nobody's work, and no reason to keep a session.
HELPERS = ("ssh-agent", "gpg-agent", "dbus-daemon", "dbus-launch", "(sd-pam)", "at-spi-bus-laun", "scdaemon", "dirmngr")
_TITLE = re.compile(r"sshd(?:-session|-auth)?: (?P<user>.*?)(?:@(?P<place>[^@ ]+))?(?: \[(?P<part>[a-z]+)\])?", re.S)


def _real_clock() -> Clock:
    return Clock(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), os.sysconf("SC_CLK_TCK"))


def _run(commands: Mapping[str, Command]) -> dict[str, Answer]:
    from .command import run_together  # compiled only where there is a multiplexer to ask

    return run_together(commands)


def _user_name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _user_ids(name: str) -> tuple[int, int] | None:
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):
        return None
    return entry.pw_uid, entry.pw_gid


def _group_of(uid: int) -> int:
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return uid


@dataclass(frozen=True)
class Roots:
    """Where to look and how; the defaults are this host."""

    proc: str = "/proc"
    dev: str = "/dev"
    programs: str = "/"
    utmp: str = "/run/utmp"
    bus: str = SYSTEM_BUS
    screen: str = "/run/screen"
    patience: float = 3.0  # seconds that logind and the multiplexers have
    clock: Callable[[], Clock] = _real_clock
    sleep: Callable[[float], None] = time.sleep
    connections: Callable[[], dict[int, Connection] | None] = connections
    run: Runner = _run
    user_name: Callable[[int], str | None] = _user_name
    user_ids: Callable[[str], tuple[int, int] | None] = _user_ids
    group_of: Callable[[int], int] = _group_of
    own_pid: Callable[[], int] = os.getpid
    euid: Callable[[], int] = os.geteuid


@dataclass(eq=False)
class Draft:
    """A session while it is being put together; compared by identity."""

    kind: str | None
    leader: Process | None
    leader_pid: int
    user: str | None = None
    uid: int | None = None
    service: str | None = None
    logind_id: str | None = None
    logind: LogindSession | None = None
    record: Record | None = None
    members: list[Process] = field(default_factory=list)
    servant: Process | None = None  # the sshd that runs as the user
    channels: list[tuple[Channel, Process]] = field(default_factory=list)
    inode: int | None = None
    seen_by: list[str] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    state: str | None = None


class Title(NamedTuple):
    user: str
    place: str  # "pts/0,pts/1", "notty", "internal-sftp" or "" where no channel was opened
    part: str  # "priv", "net", … or ""


def parse_title(title: str) -> Title | None:
    """What sshd wrote over its command line; None for a listener and for anything else."""
    found = _TITLE.fullmatch(title)
    if not found or found.group("user").startswith("/") or found.group("part") == "listener":
        return None
    return Title(found.group("user"), found.group("place") or "", found.group("part") or "")


def is_server(process: Process) -> str | None:
    """``tmux`` or ``screen`` by the name that the server gives itself: as the client it runs the same file."""
    if process.comm == "tmux: server":
        return "tmux"
    # screen's server is a session of its own; its client is the foreground of a terminal.
    if process.comm == "screen" and process.tty == 0 and process.sid == process.pid:
        return "screen"
    return None
