# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""logind's sessions over D-Bus (org.freedesktop.login1(5)); its files under /run are private, and some block."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from .dbus import Bus, Call

_NAME, _PATH = "org.freedesktop.login1", "/org/freedesktop/login1"
_UNSET = 4294967295
_WANTED = {
    "Leader": b"u",
    "Class": b"s",
    "IdleHint": b"b",
    "IdleSinceHint": b"t",
    "State": b"s",
    "Service": b"s",
    "Type": b"s",
    "RemoteHost": b"s",
    "Timestamp": b"t",
    "Audit": b"u",
}


class LogindSession(NamedTuple):
    """One session as logind has it. None: not asked, or logind says that it does not know."""

    id: str
    uid: int
    user: str
    leader: int | None = None
    session_class: str | None = None
    idle_hint: bool | None = None
    idle_since: float | None = None  # seconds since the epoch
    state: str | None = None
    service: str | None = None
    kind: str | None = None  # its Type: tty, x11, wayland, unspecified
    remote_host: str | None = None
    at: float | None = None  # seconds since the epoch
    audit_id: int | None = None


class Logind:
    """logind on the bus at `path`. Ask first, read something else, then collect.

    From systemd 257 on one call lists everything that a live ssh session needs. Before that each session has to be
    asked for its properties: `begin` sends these questions, too.

    Raises (each method):
        OSError: nobody answers, or not within `timeout` seconds in all.
        ValueError: the answer is not what logind answers.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._bus = Bus(path, time.monotonic() + timeout)
        self._paths: dict[str, str] = {}
        self._asked: dict[str, int] = {}
        self._limits = [
            self._bus.ask(Call(_NAME, _PATH, "org.freedesktop.DBus.Properties", "Get", (_NAME + ".Manager", name)))
            for name in ("SessionsMax", "NCurrentSessions")
        ]
        self._listing: list[int] = []
        self.sessions: dict[str, LogindSession] = {}

    def begin(self) -> None:
        """Ask for the list of sessions. Where it says too little, each of them is asked once the list is there."""
        manager = _NAME + ".Manager"
        members = ("ListSessionsEx", "ListSessions")
        self._listing = [self._bus.ask(Call(_NAME, _PATH, manager, member)) for member in members]
        self.pump()

    def _take_list(self) -> None:
        full, short = self._bus.collect(self._listing)
        self._listing = []
        if not full.error:
            for row in _rows(full.body(), 10):
                leader, klass, _tty, idle, since, path = row[4:]
                hint = (bool(idle), since / 1e6 if idle else None)
                self._add(LogindSession(row[0], row[1], row[2], leader or None, klass or None, *hint), path)
        elif not short.error:
            for row in _rows(short.body(), 5):
                self._add(LogindSession(row[0], row[1], row[2]), row[4])
            self.ask(list(self.sessions))
        else:
            raise ValueError(f"logind does not list its sessions: {short.error}")

    def _add(self, session: LogindSession, path: str) -> None:
        self.sessions[session.id] = session
        self._paths[session.id] = path

    def ask(self, ids: list[str]) -> None:
        """Queue the question for all properties of these sessions."""
        for name in ids:
            if name not in self._asked:
                arguments = (_NAME + ".Session",)
                call = Call(_NAME, self._paths[name], "org.freedesktop.DBus.Properties", "GetAll", arguments)
                self._asked[name] = self._bus.ask(call)

    def pump(self) -> None:
        """Take what has come and ask on, without waiting."""
        self._bus.pump()
        if self._listing and self._bus.has(self._listing):
            self._take_list()
            self._bus.pump()

    def collect(self) -> None:
        """Wait for what was asked. A session that ended meanwhile is forgotten."""
        if self._listing:
            self._take_list()
        for name, reply in zip(list(self._asked), self._bus.collect(list(self._asked.values()))):
            if reply.error:
                self.sessions.pop(name, None)
            else:
                self.sessions[name] = _detailed(self.sessions[name], reply.properties(_WANTED))
        self._asked = {}

    def limits(self) -> tuple[int | None, int | None]:
        """SessionsMax and the number of sessions now."""
        found: list[int | None] = []
        for reply in self._bus.collect(self._limits):
            body = () if reply.error else reply.body()
            found.append(body[0] if body and isinstance(body[0], int) else None)
        return found[0], found[1]

    def close(self) -> None:
        self._bus.close()


def _rows(body: tuple[Any, ...], width: int) -> list[tuple[Any, ...]]:
    if not body or not isinstance(body[0], list) or not all(len(row) == width for row in body[0]):
        raise ValueError("logind's list of sessions has another form than documented")
    return body[0]


def _detailed(session: LogindSession, known: dict[str, Any]) -> LogindSession:
    idle = bool(known.get("IdleHint"))
    audit = known.get("Audit")
    at = known.get("Timestamp")
    return session._replace(
        leader=known.get("Leader") or None,
        session_class=known.get("Class") or None,
        idle_hint=idle,
        idle_since=known.get("IdleSinceHint", 0) / 1e6 if idle else None,
        state=known.get("State") or None,
        service=known.get("Service") or None,
        kind=known.get("Type") or None,
        remote_host=known.get("RemoteHost") or None,
        at=at / 1e6 if at else None,
        audit_id=audit if audit not in (0, _UNSET) else None,
    )
