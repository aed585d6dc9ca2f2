# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values of the history: what a log says, and what is made of it. Moments are seconds since the epoch."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple

from .model import iso

#: Why a session ended, or why a login was refused.
EXIT, CLIENT_CLOSED, CONNECTION_RESET, UNRESPONSIVE_PEER, IDLE_CHANNEL, UNUSED_CONNECTION, IDLE_SHELL = (
    "exit",
    "client_closed",
    "connection_reset",
    "unresponsive_peer",
    "idle_channel",
    "unused_connection",
    "idle_shell",
)
LOGIND_IDLE, REAPER, SESSION_TERMINATE, KILLED, SHUTDOWN = (
    "logind_idle",
    "reaper",
    "session_terminate",
    "killed",
    "shutdown",
)
LOGIN_GRACE, MAX_STARTUPS, MAX_SESSIONS, MAX_LOGINS, POLICY_LOCKOUT, SOURCE_PENALTY = REFUSALS = (
    "login_grace",
    "max_startups",
    "max_sessions",
    "max_logins",
    "policy_lockout",
    "source_penalty",
)
UNKNOWN = "unknown"
CAUSES = (
    EXIT,
    CLIENT_CLOSED,
    CONNECTION_RESET,
    UNRESPONSIVE_PEER,
    IDLE_CHANNEL,
    UNUSED_CONNECTION,
    IDLE_SHELL,
    LOGIND_IDLE,
    REAPER,
    SESSION_TERMINATE,
    KILLED,
    SHUTDOWN,
    *REFUSALS,
    UNKNOWN,
)
#: The identifiers of our own log lines, and the cause that each stands for.
OWN = {"session_terminate": SESSION_TERMINATE, "session-reaper": REAPER}
#: What the shell's snippet of the role shell_timeout logs as.
SHELL = "session-policy-shell"


class Line(NamedTuple):
    """One line of a log. `uid`, `comm` and `exe` are of the process that wrote it, as the kernel told the journal.

    In a plain file they are None, and anybody may have written anything (`trusted` is False).
    """

    at: float
    identifier: str
    pid: int | None
    message: str
    source: str
    cursor: str | None = None
    uid: int | None = None
    comm: str | None = None
    exe: str | None = None
    session: str | None = None  # logind's id of the session that the writer was in
    audit: int | None = None
    boot: str | None = None
    message_id: str | None = None
    unit: str | None = None  # what systemd's line is about
    facts: Mapping[str, str] = {}  # SESSIONOPS_*, SESSION_ID, LEADER, …, in lower case
    trusted: bool = True


class Login(NamedTuple):
    """A terminal's login in wtmp(5): `pid` is sshd's privileged process. `left_at` is when the terminal was closed."""

    user: str
    tty: str
    host: str
    pid: int | None
    at: float
    left_at: float | None = None


class InForce(NamedTuple):
    """What is in force on the host now, as far as it tells an ending from another. Seconds; None: none, or unknown."""

    shell_timeout: int | None = None
    channel_timeout: int | None = None
    login_grace: int | None = None


class Evidence(NamedTuple):
    """The line that decided. `trusted`: only the program named, or root, can have written it."""

    line: str
    source: str
    cursor: str | None
    at: str | None
    identifier: str
    pid: int | None
    uid: int | None
    trusted: bool


class Ending(NamedTuple):
    """A session that ended, or a login that was refused (`refused`). An unknown is None.

    `how` is a sentence: what the cause was read from, or how it was inferred (`inferred`). `could_be` are the causes
    between which nothing decides; then `ended_by` is unknown.
    """

    ended_by: str
    ended_at: float
    user: str | None = None
    uid: int | None = None
    remote_host: str | None = None
    remote_port: int | None = None
    kind: str | None = None
    service: str | None = None
    tty: str | None = None
    logind_id: str | None = None
    audit_id: int | None = None
    leader: int | None = None
    began_at: float | None = None
    how: str = ""
    inferred: bool = False
    could_be: tuple[str, ...] = ()
    refused: bool = False
    because: tuple[str, ...] = ()  # of reaper and session_terminate: idle, age, …
    reason: str | None = None
    survivors: tuple[str, ...] = ()
    preserved: tuple[str, ...] = ()
    evidence: Evidence | None = None

    @property
    def duration(self) -> int | None:
        return None if self.began_at is None else max(0, round(self.ended_at - self.began_at))


class Source(NamedTuple):
    """Where was looked. `lines` is None where the source could not be read, and `why` says why."""

    name: str  # journal, files, wtmp, wtmpdb, logind, own
    lines: int | None
    why: str | None = None
    cursor: str | None = None


def evidence(line: Line, trusted: bool = True) -> Evidence:
    return Evidence(
        line.message,
        line.source,
        line.cursor,
        iso(line.at),
        line.identifier,
        line.pid,
        line.uid,
        line.trusted and trusted,
    )


def as_dict(ending: Ending) -> dict[str, Any]:
    """The fields that the module returns."""
    found = ending._asdict()
    found.update(
        began_at=iso(ending.began_at),
        ended_at=iso(ending.ended_at),
        duration=ending.duration,
        evidence=ending.evidence and dict(ending.evidence._asdict()),
    )
    for name in ("could_be", "because", "survivors", "preserved"):
        found[name] = list(found[name])
    return found
