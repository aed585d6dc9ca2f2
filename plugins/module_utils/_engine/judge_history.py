# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ended each session: pure functions of what the logs say. Nothing is guessed.

One ssh connection is three things to the logs: sshd's privileged process (root; it writes what PAM says, and is the
leader in logind and in wtmp), sshd's process of the user (it says how the connection ended), and logind's session. They
are paired by pid, by the client's address and port, and by logind's id; a line counts only if the process that the
journal saw write it may say such a thing. What sshd says differs by release and LogLevel [tried on 8.4, 9.2, 10.0]:

* Below VERBOSE, OpenSSH 8.4 and 9.2 say nothing when the client just goes away, is reset, or a process is killed.
* ChannelTimeout is told at VERBOSE only; LoginGraceTime not at all by the patched 8.4 and 9.2 of Debian.
* The client says goodbye both when its shell has ended and when its window was closed. What tells them apart is whether
  sshd gave the terminal back before it closed the PAM session or after.
"""

from __future__ import annotations

import heapq
import json
import re
from bisect import bisect_left, insort
from collections import deque
from itertools import islice
from typing import Any, Collection, Iterable, NamedTuple, Sequence

from .history import (
    CLIENT_CLOSED,
    CONNECTION_RESET,
    EXIT,
    IDLE_CHANNEL,
    IDLE_SHELL,
    KILLED,
    LOGIN_GRACE,
    LOGIND_IDLE,
    MAX_LOGINS,
    MAX_SESSIONS,
    MAX_STARTUPS,
    OWN,
    POLICY_LOCKOUT,
    SHELL,
    SHUTDOWN,
    SOURCE_PENALTY,
    UNKNOWN,
    UNRESPONSIVE_PEER,
    UNUSED_CONNECTION,
    Ending,
    InForce,
    Line,
    Login,
    evidence,
)
from .judge_sessions import from_networks
from .model import CONSOLE, EXEC, FORWARD, MOSH, SFTP, TERMINAL, visible

SSHD = ("sshd", "sshd-session", "sshd-auth")
_SSHD_FILE = re.compile(
    r"/usr/(?:local/)?(?:s?bin|lib|libexec)/(?:openssh/|ssh/)?sshd(?:-session|-auth)?(?: \(deleted\))?"
)
# systemd's catalog of message ids (sd-messages.h).
STOPPING, OUT_OF_MEMORY, SHUTTING_DOWN, STARTED, IDS_OF_LOGIND = (
    "de5b426a63be47a7b6ac3eaac82e2f6f",
    "fe6faa94e7774663a0da52717891d8ef",
    "98268866d1d54a499c4e98921d93bc40",
    "b07a249cd024414a82dd00cd181378ff",
    ("8d45620c1a4348dbb17410da57c60c66", "3354939424b4456d9802ca8333ed424a"),
)
# Seconds: between the end of a terminal and of its connection; from a signal of ours to our line about it; of a
# shutdown at the most.
_AT_THE_END, _OURS, _SHUTDOWN = 15.0, 300.0, 180.0
# What a shutdown says of itself may come a little after the first scopes were stopped.
_BEFORE = 5.0
# The unit that lets users log in: nothing but a shutdown stops it.
_PERMIT = "systemd-user-sessions.service"
_PAM = (*SSHD, "login")
# Lines that wait for a beginning; what is forged must not fill the memory.
_MOST_WAITING = 20_000
# So many lines of one user's processes are kept where only the last of them count.
_MOST_OF_ONE = 500

_CONNECTION = re.compile(r"Connection from (\S+) port (\d+) on \S+ port \d+(?: .*)?")
_ACCEPTED = re.compile(r"Accepted \S+ for (.+?) from (\S+) port (\d+) ssh2(?:: .*)?", re.S)
_OPENED = re.compile(r"pam_unix\((\S+?):session\): session opened for user (.+?)(?:\(uid=(\d+)\))? by .*", re.S)
_CLOSED = re.compile(r"pam_unix\((\S+?):session\): session closed for user (.+)", re.S)
_CHILD = re.compile(r"User child is on pid (\d+)")
_TOO_MANY = re.compile(r"pam_limits\(\S+:session\): Too many logins \(max \d+\) for (.+)", re.S)
_REAPED = re.compile(r"error: mm_reap: (?:preauth )?child terminated by signal (\d+)")
_HUNG_UP = "syslogin_perform_logout: "
_LOCKOUT = re.compile(
    r"fatal: (?:\S+: internal error: bad timeout .*|.*: terminating, \d+ bad configuration options?.*)"
)
_GRACE = re.compile(r"(?:fatal: )?Timeout before authentication for (\S+) port (\d+)(?: .*)?")
_GRACE_OF = re.compile(r"Timeout before authentication for connection from (\S+) to \S+, pid = (\d+)")
_DROPPED = re.compile(r"drop connection #\d+ from \[([^]]*)\]:(\d+) on \S+ (.*)")
# Before a login, what does not end the connection.
_GOES_ON = re.compile(
    r"Accepted key |Postponed |Failed |Invalid user |Partial |pam_\w+\(\S+:auth\)|input_userauth_request|Found matching"
)
_ADDRESS = r"(?P<host>\S+) port (?P<port>\d+)"
_CLIENT = rf"(?:user (?P<user>.+) )?{_ADDRESS}"
_GOODBYE, _STARTING = "goodbye", "starting"
_SAID = tuple(
    (cause, re.compile(pattern, re.S))
    for cause, pattern in (
        (
            _STARTING,
            rf"Starting session: (?P<what>.+?)(?: on (?P<tty>\S+))? for (?P<user>.+) from {_ADDRESS} id \d+",
        ),
        (_GOODBYE, rf"Received disconnect from {_ADDRESS}:.*"),
        ("", rf"Disconnected from {_CLIENT}"),
        (UNRESPONSIVE_PEER, rf"Timeout, client not responding from {_CLIENT}"),
        (UNUSED_CONNECTION, rf"terminating inactive connection from {_CLIENT}"),
        (CLIENT_CLOSED, rf"Connection closed by {_CLIENT}"),
        (CONNECTION_RESET, rf"Connection reset by {_CLIENT}"),
        (CONNECTION_RESET, rf"Read error from remote host {_ADDRESS}: Connection reset by peer"),
        (UNRESPONSIVE_PEER, rf"Read error from remote host {_ADDRESS}: (?:\w+ timed out|No route to host)"),
        (IDLE_CHANNEL, r"channel \d+: clos(?:ing|ed) after \d+ seconds of inactivity"),
        (MAX_SESSIONS, r"error: no more sessions"),
        (KILLED, r"fatal: mm_request_\w+: .*Broken pipe.*"),
    )
)
_NEW = re.compile(r"New session (\S+) of user (.+)\.", re.S)
_IDLE = re.compile(r'Session "(.+)" of user ".+" is idle, stopping\.', re.S)
# What tmux and screen write into wtmp for the terminals inside them.
_MULTIPLEXER = re.compile(r"tmux\(|:.*:S\.\d")
_GONE = re.compile(r"(?:Session (\S+) logged out\.|Removed session (\S+)\.).*")
_SCOPE = re.compile(r"session-(.+)\.scope")
_STOPPED = re.compile(r"Stopping (?:session-(\S+)\.scope|Session (\S+) of )")

_HOW = {
    UNRESPONSIVE_PEER: "sshd asked the client program for an answer and got none",
    UNUSED_CONNECTION: "UnusedConnectionTimeout: the connection was logged in and had no channel open",
    CLIENT_CLOSED: "the client closed the connection without a goodbye",
    CONNECTION_RESET: "the connection was reset on its way or by the client",
}
_SPEECHLESS = "set LogLevel VERBOSE in sshd_config to have it said"


class _Connection:
    """A login and all that was said of it."""

    __slots__ = (
        "audit",
        "began",
        "boot",
        "came",
        "child",
        "closed",
        "early",
        "gone",
        "host",
        "hung_up",
        "idle_stop",
        "kinds",
        "last",
        "logind_id",
        "ours",
        "out_of_memory",
        "pid",
        "port",
        "restarted",
        "said",
        "service",
        "signalled",
        "stopping",
        "too_many",
        "tty",
        "uid",
        "untraced",
        "user",
        "verbose",
    )

    def __init__(self, pid: int | None, line: Line) -> None:
        self.pid, self.boot = pid, line.boot
        self.host: str | None = None
        self.port: int | None = None
        self.user: str | None = None
        self.uid: int | None = None
        self.service: str | None = None
        self.came = line
        self.began: float | None = None
        self.child: int | None = None
        self.verbose = False
        self.logind_id: str | None = None
        self.audit: int | None = None
        self.kinds: tuple[str, ...] = ()
        self.tty: str | None = None
        self.said: list[tuple[str, Line]] = []  # the last few
        # Somebody said goodbye whose process had ended before the journal looked what it was.
        self.untraced = False
        self.closed: Line | None = None
        self.hung_up: float | None = None
        self.signalled: Line | None = None
        self.too_many: Line | None = None
        self.idle_stop: Line | None = None
        self.stopping: Line | None = None
        self.out_of_memory: Line | None = None
        self.gone: Line | None = None
        self.ours: Line | None = None
        self.restarted: float | None = None  # when the host started again, with this one never closed
        self.last = line.at
        self.early = False  # read only as the beginning of another, and nothing of it since

    @property
    def end(self) -> float | None:
        ended = self.closed or self.gone
        return ended.at if ended else None


class _Verdict(NamedTuple):
    cause: str
    how: str
    line: Line | None
    inferred: bool = False
    could_be: tuple[str, ...] = ()
    trusted: bool = True


def may_say(line: Line) -> bool:
    """Whether the process that wrote it is the one that says such things; of a plain file nobody knows."""
    if not line.trusted:
        return True
    if line.identifier in SSHD:
        return line.uid != 0 or line.comm in (*SSHD, None)  # of another user: see `_serves`
    if line.identifier in OWN:
        return line.uid == 0
    if line.identifier == SHELL:
        return line.uid is not None
    if line.identifier == "systemd":
        return line.uid == 0 and line.pid == 1
    return line.uid == 0 and line.comm in (line.identifier, None)


class History:
    """Reads lines in the order of time (`read`), then what began earlier (`read_beginnings`), and gives `endings`.

    `settle`, called now and then in between, keeps the memory small however much is read.
    """

    def __init__(
        self,
        logins: Iterable[Login] = (),
        shutdowns: Iterable[float] = (),
        starts: Iterable[float] = (),
        query: Query | None = None,
    ):
        self.found = Found(query or Query(float("-inf"), float("inf"), limit=0))
        self.logins: dict[int, list[Login]] = {}
        for login in logins:
            self.logins.setdefault(login.pid or 0, []).append(login)
        self.shutdowns = sorted(shutdowns)
        self.starts = sorted(starts)
        # Whether a login at a terminal would be among `logins`.
        self.keeps_logins = bool(self.logins)
        # Lines about what began before the first line that was read; None once that was read, too.
        self.waiting: deque[Line] | None = deque(maxlen=_MOST_WAITING)
        self.early = False
        self.connections: dict[int, _Connection] = {}  # by the id() of each
        self.settled: set[int] = set()  # pids that wtmp knows, too
        self.began: dict[str | None, list[float]] = {}  # by user, in order
        self.alone: list[Line] = []  # our own lines about sessions of which nothing else is known
        self.shells: dict[int | None, deque[Line]] = {}  # by uid
        self.by_pid: dict[tuple[str | None, int | None], _Connection] = {}
        self.by_child: dict[tuple[str | None, int | None], _Connection] = {}
        self.by_client: dict[tuple[str, int], _Connection] = {}
        self.by_logind: dict[tuple[str | None, str], _Connection] = {}
        self.latest = 0.0

    # --- reading ----------------------------------------------------------------------------------------------------

    def read(self, line: Line) -> None:
        if not may_say(line):
            return
        self.latest = max(self.latest, line.at)
        if line.identifier in SSHD or line.identifier == "login":
            if not (line.uid in (0, None) and self._of_root(line)):
                self._of_user(line)
        elif line.identifier == "systemd-logind":
            self._of_logind(line)
        elif line.identifier == "systemd":
            self._of_systemd(line)
        elif line.identifier in OWN:
            self._of_ours(line)
        elif line.identifier == SHELL:
            self.shells.setdefault(line.uid, deque(maxlen=_MOST_OF_ONE)).append(line)

    def unbegun(self) -> set[int]:
        """The pids of root's processes that spoke of a session whose beginning was not read."""
        of_root = [line for line in self.waiting or () if line.uid in (0, None) and line.identifier in _PAM]
        return {line.pid for line in of_root if line.pid}

    def read_beginnings(self, lines: Iterable[Line]) -> None:
        """Read what the processes of `unbegun` had said earlier, and then again what waited for that."""
        waiting, self.waiting = self.waiting or (), None
        self.early = True
        for line in lines:
            self.read(line)
        self.early = False
        for line in waiting:
            self.read(line)

    def _wait(self, line: Line) -> bool:
        """Whether `line` has to wait for a beginning that was not read yet."""
        if self.waiting is None:
            return False
        self.waiting.append(line)
        return True

    def _at(self, line: Line) -> _Connection | None:
        return self.by_pid.get((line.boot, line.pid))

    def _begin(self, line: Line) -> _Connection:
        found = _Connection(line.pid, line)
        found.early = self.early
        self.connections[id(found)] = found
        self.by_pid[line.boot, line.pid] = found
        return found

    def _of_root(self, line: Line) -> bool:
        """What sshd's privileged process, a listener or login says; whether it was that."""
        text = line.message
        known = self._at(line)
        if known:
            known.last, known.early = line.at, known.early and self.early
        found = _CONNECTION.fullmatch(text)
        if found:
            known = self._begin(line)
            known.verbose = True
            self._client(known, found.group(1), int(found.group(2)))
            return True
        found = _ACCEPTED.fullmatch(text)
        if found:
            if known is None or known.began is not None:
                known = self._begin(line)
            known.user, known.service, known.began = found.group(1), "sshd", line.at
            self._client(known, found.group(2), int(found.group(3)))
            return True
        found = _OPENED.fullmatch(text)
        if found:
            if known is None or known.closed:
                known = self._begin(line)
            known.service, known.user = found.group(1), found.group(2)
            known.uid = int(found.group(3)) if found.group(3) else None
            known.began = known.began or line.at
            return True
        found = _CLOSED.fullmatch(text)
        if found:
            if known is None or known.closed:
                if self._wait(line):
                    return True
                known = self._begin(line)
                known.service, known.user = found.group(1), found.group(2)
            known.closed, known.early = line, self.early
            return True
        found = _GRACE.fullmatch(text) or _GRACE_OF.fullmatch(text)
        if found:
            of = known if "pid =" not in text else self.by_pid.get((line.boot, int(found.group(2))))
            self._refuse(line, LOGIN_GRACE, "LoginGraceTime was over before the login was complete", of, found.group(1))
            self._forget(of)
            return True
        found = _DROPPED.fullmatch(text)
        if found:
            limit = "maxstartups" in found.group(3).lower()
            cause = MAX_STARTUPS if limit else SOURCE_PENALTY if "penalty" in found.group(3) else UNKNOWN
            how = (
                "so many connections were there without having logged in that sshd took no more of them"
                if limit
                else "sshd takes no connection from this address for a while (PerSourcePenalties)"
            )
            self._refuse(line, cause, how, None, found.group(1), int(found.group(2)))
            return True
        if _LOCKOUT.fullmatch(text.replace(" [preauth]", "")):
            how = "sshd died on its own configuration: it passes sshd -t, and no matched user can log in"
            self._refuse(line, POLICY_LOCKOUT, how, known)
            self._forget(known)
            return True
        if known is None:
            return False
        found = _CHILD.fullmatch(text)
        if found:
            known.verbose = True
            known.child = int(found.group(1))
            self.by_child[line.boot, known.child] = known
            return True
        if _TOO_MANY.fullmatch(text):
            known.too_many = line
        elif _REAPED.fullmatch(text):
            known.signalled = line
        elif text.startswith(_HUNG_UP):
            known.hung_up = line.at
        elif known.began is None:
            if not _GOES_ON.match(text):
                self._forget(known)
        else:
            return False
        return True

    def _forget(self, known: _Connection | None) -> None:
        """A connection that ended before a login: on a host that is scanned there are very many."""
        if known and known.began is None and self.connections.pop(id(known), None):
            self._drop(known)

    def _drop(self, known: _Connection) -> None:
        """Look no more for it in what is still to be read."""
        places: tuple[tuple[dict[Any, _Connection], tuple[Any, Any]], ...] = (
            (self.by_pid, (known.boot, known.pid)),
            (self.by_child, (known.boot, known.child)),
            (self.by_client, (known.host, known.port)),
            (self.by_logind, (known.boot, known.logind_id)),
        )
        for place, key in places:
            if place.get(key) is known:
                del place[key]

    def _client(self, known: _Connection, host: str, port: int) -> None:
        known.host, known.port = host, port
        self.by_client[host, port] = known

    def _refuse(
        self,
        line: Line,
        cause: str,
        how: str,
        known: _Connection | None,
        host: str | None = None,
        port: int | None = None,
    ) -> None:
        self.found.add(
            Ending(
                cause,
                line.at,
                user=known.user if known else None,
                remote_host=known.host if known and known.host else host,
                remote_port=known.port if known else port,
                service="sshd",
                leader=known.pid if known else None,
                how=how,
                refused=True,
                evidence=evidence(line),
            )
        )

    def _of_user(self, line: Line) -> None:
        """What the sshd process says that serves the user. It counts only for a login of the same user."""
        matches = ((cause, pattern.fullmatch(line.message)) for cause, pattern in _SAID)
        cause, found = next(((cause, match) for cause, match in matches if match), ("", None))
        if found is None:
            return
        named = found.groupdict()
        known = (
            self.by_client.get((named["host"], int(named["port"])))
            if named.get("port")
            else self.by_child.get((line.boot, line.pid))
            or self.by_logind.get((line.boot, line.session or ""))
            or self._at(line)
        )
        if known is None:
            self._wait(line)
            return
        if known.closed:
            return
        if not _serves(line, known):
            known.untraced = known.untraced or (cause == _GOODBYE and line.comm is None and line.uid == known.uid)
            return
        if named.get("user") and named["user"] != known.user:
            return
        known.last = line.at
        known.audit = known.audit if line.audit is None else line.audit
        if cause == _STARTING:
            known.verbose = True
            known.tty = named["tty"] or known.tty
            known.kinds = tuple({*known.kinds, _kind(named["what"], named["tty"])})
        elif cause == MAX_SESSIONS:
            how = "the connection had as many sessions open as MaxSessions allows"
            self._refuse(line, MAX_SESSIONS, how, known)
        else:
            known.said = [*known.said[-7:], (cause, line)]

    def _of_logind(self, line: Line) -> None:
        found = _NEW.fullmatch(line.message)
        if found:
            leader = line.facts.get("leader")
            known = self.by_pid.get((line.boot, int(leader))) if leader else self._newest(found.group(2), line)
            if known and known.began is not None:
                known.logind_id = found.group(1)
                self.by_logind[line.boot, found.group(1)] = known
            return
        found = _IDLE.fullmatch(line.message)
        if found:
            known = self.by_logind.get((line.boot, found.group(1)))
            if known is None:
                self._wait(line)
            elif not known.closed:
                known.idle_stop = line
            return
        found = _GONE.fullmatch(line.message)
        if found:
            known = self.by_logind.get((line.boot, found.group(1) or found.group(2)))
            if known is None:
                self._wait(line)
            elif known.gone is None:
                known.gone = line
        elif line.message_id == SHUTTING_DOWN or line.message.startswith("System is "):
            self.shutdowns.append(line.at)

    def _newest(self, user: str, line: Line) -> _Connection | None:
        """In a plain file logind names no leader: the login of this user that came just before."""
        for known in islice(reversed(self.connections.values()), 50):
            if known.user == user and known.began is not None and not known.logind_id and not known.closed:
                return known if line.at - known.began <= 2.0 else None
        return None

    def _of_systemd(self, line: Line) -> None:
        if line.message_id == STARTED or line.message.startswith("Startup finished in "):
            took = line.facts.get("userspace_usec")
            start = line.at - (int(took) / 1e6 if took else 0.0)
            self.starts.append(start)
            return
        if line.unit == _PERMIT and line.message_id == STOPPING:
            self.shutdowns.append(line.at)
            return
        scope = _SCOPE.fullmatch(line.unit or "")
        stopped = _STOPPED.match(line.message)
        name = scope.group(1) if scope else (stopped.group(1) or stopped.group(2)) if stopped else ""
        known = self.by_logind.get((line.boot, name))
        if known is None:
            if name:
                self._wait(line)
            return
        if line.message_id == OUT_OF_MEMORY:
            known.out_of_memory = line
        elif line.message_id == STOPPING or stopped:
            known.stopping = known.stopping or line

    def _of_ours(self, line: Line) -> None:
        facts = line.facts or facts_of(line.message)
        if facts.get("outcome") != "terminated":
            return
        line = line._replace(facts=facts)
        _boot, _dash, rest = facts.get("session", "").rpartition("-")[0].rpartition("-")
        known = self.by_pid.get((line.boot, int(rest))) if rest.isdecimal() else None
        if known and known.ours is None and (known.end is None or line.at - known.end <= _OURS):
            known.ours = line
        elif known or not self._wait(line):
            self.alone.append(line)

    # --- the verdict ------------------------------------------------------------------------------------------------

    def endings(self, now: float, in_force: InForce, on: Collection[int] = ()) -> list[Ending]:
        """What ended, newest first. `on` are the pids of login programs that run now."""
        for known in self.connections.values():
            if known.early:
                self._remember(known)
            else:
                self._settle(known, now, in_force, on)
        for line in self.alone:
            self.found.add(_from_ours(line))
        for ending in self._only_in_wtmp():
            self.found.add(ending)
        return self.found.newest()

    def settle(self, now: float, in_force: InForce, on: Collection[int] = ()) -> None:
        """Judge what is over for so long that no line about it is to come, and forget it."""
        before = self.latest - _OURS - _AT_THE_END
        unspoken = before - in_force.login_grace if in_force.login_grace else None
        over = [
            known
            for known in self.connections.values()
            if (known.closed.at < before if known.closed else _only_came(known, unspoken)) and not known.early
        ]
        for known in over:
            self._settle(known, now, in_force, on)
            self._drop(known)
            del self.connections[id(known)]

    def _settle(self, known: _Connection, now: float, in_force: InForce, on: Collection[int]) -> None:
        ending = self._ending(known, now, in_force, on)
        if ending:
            self.found.add(ending)
        if known.ours and not (ending and ending.ended_by == OWN[known.ours.identifier]):
            self.found.add(_from_ours(known.ours))  # One of several sessions over a connection that went on.
        self._remember(known)

    def _remember(self, known: _Connection) -> None:
        """Which logins of wtmp and wtmpdb it accounts for."""
        if known.pid in self.logins:
            self.settled.add(known.pid)
        if 0 in self.logins and known.began is not None:
            insort(self.began.setdefault(known.user, []), known.began)

    def _ending(self, known: _Connection, now: float, in_force: InForce, on: Collection[int]) -> Ending | None:
        if known.service is None:
            return self._grace(known, now, in_force, on)
        at = known.end
        if at is None:
            start = self._after(self.starts, known.last)
            if start is None and known.pid in on:
                return None
            known.restarted = start
            at = self._after(self.shutdowns, known.last) or start or known.last
        login = self._login(known)
        tty = known.tty or (login.tty if login else None)
        verdict = self._verdict(known, login, at, in_force)
        facts = known.ours.facts if known.ours and verdict.line is known.ours else {}
        ending = Ending(
            verdict.cause,
            at,
            user=visible(known.user) if known.user else None,
            uid=known.uid,
            remote_host=known.host,
            remote_port=known.port,
            kind=_kind_of(known, tty),
            service=known.service,
            tty=tty,
            logind_id=known.logind_id,
            audit_id=known.audit,
            leader=known.pid,
            began_at=known.began if known.began is not None else login.at if login else None,
            how=verdict.how,
            inferred=verdict.inferred,
            could_be=verdict.could_be,
            refused=verdict.cause == MAX_LOGINS,
            evidence=evidence(verdict.line, verdict.trusted and _certain(verdict.line, known))
            if verdict.line
            else None,
        )
        return _with_ours(ending, facts)

    @staticmethod
    def _after(moments: Sequence[float], moment: float) -> float | None:
        return min((at for at in moments if at > moment), default=None)

    def _login(self, known: _Connection) -> Login | None:
        began = known.began or known.end or known.last
        near = [
            login
            for login in self.logins.get(known.pid or 0, ())
            if login.user == known.user and (abs(login.at - began) < 60 if known.began else login.at <= began)
        ]
        if not near and known.began is not None:  # wtmpdb keeps no pid.
            near = [
                login
                for login in self.logins.get(0, ())
                if login.user == known.user
                and 0 <= login.at - known.began < 10
                and login.host in (known.host, "")
                and known.tty in (login.tty, None)
            ]
            near = near if len(near) == 1 else []
        return near[-1] if near else None

    def _only_in_wtmp(self) -> list[Ending]:
        """Logins at terminals of which no other log speaks: telnet, mosh, or all where nothing else is kept."""
        found = []
        for login in (login for logins in self.logins.values() for login in logins):
            if login.pid in self.settled or _MULTIPLEXER.match(login.host) or (login.pid is None and self._has(login)):
                continue
            start = self._after(self.starts, login.at)
            if login.left_at is None and start is None:
                continue
            at = login.left_at if login.left_at is not None else start or login.at
            down = login.left_at is None or any(0 <= at - moment <= _SHUTDOWN for moment in self.shutdowns)
            how = "wtmp has when the terminal was closed, and no other log speaks of it"
            if down:
                how = "inferred: wtmp has no end of it before the host went down"
            via_mosh = "via mosh" in login.host
            found.append(
                Ending(
                    SHUTDOWN if down else UNKNOWN,
                    at,
                    user=visible(login.user),
                    remote_host=visible(login.host.partition(" ")[0]) or None,
                    kind=MOSH if via_mosh else TERMINAL if login.tty.startswith("pts/") else CONSOLE,
                    tty=visible(login.tty),
                    leader=login.pid,
                    began_at=login.at,
                    how=how,
                    inferred=down,
                )
            )
        return found

    def _has(self, login: Login) -> bool:
        began = self.began.get(login.user, [])
        index = bisect_left(began, login.at - 60)
        return index < len(began) and began[index] < login.at + 60

    def _grace(self, known: _Connection, now: float, in_force: InForce, on: Collection[int]) -> Ending | None:
        """A connection that came and of which nothing more was said: the patched sshd does not say LoginGraceTime."""
        grace = in_force.login_grace
        if not grace or now < known.came.at + grace + 5 or known.pid in on:
            return None
        how = (
            "inferred: the connection did not log in, and sshd says nothing of its end, which only LoginGraceTime "
            f"({grace} s) brings about"
        )
        return Ending(
            LOGIN_GRACE,
            known.came.at + grace,
            remote_host=known.host,
            remote_port=known.port,
            service="sshd",
            leader=known.pid,
            began_at=known.came.at,
            how=how,
            inferred=True,
            refused=True,
            evidence=evidence(known.came),
        )

    def _verdict(self, known: _Connection, login: Login | None, at: float, in_force: InForce) -> _Verdict:
        ours = known.ours
        if ours and -_AT_THE_END <= ours.at - at <= _OURS:
            return _Verdict(OWN[ours.identifier], _how_we(ours.identifier, ours.facts), ours)
        if known.too_many:
            return _Verdict(MAX_LOGINS, "the user had as many logins as maxlogins allows", known.too_many)
        if known.idle_stop:
            return _Verdict(LOGIND_IDLE, "logind saw no input for StopIdleSessionSec", known.idle_stop)
        if known.out_of_memory:
            return _Verdict(KILLED, "the kernel killed a process of it, as memory ran out", known.out_of_memory)
        down = self._shutdown(known, at)
        if down:
            return down
        last = [(cause, line) for cause, line in known.said if cause and at - line.at <= _AT_THE_END]
        cause, line = last[-1] if last else ("", None)
        if cause in _HOW:
            return _Verdict(cause, _HOW[cause], line)
        if cause == KILLED:
            return _Verdict(KILLED, "sshd's privileged process was gone when the session needed it", line)
        if known.stopping:
            return _Verdict(KILLED, "its scope was stopped, as loginctl terminate-session does", known.stopping)
        if known.signalled:
            found = _REAPED.fullmatch(known.signalled.message)
            number = found.group(1) if found else "?"
            return _Verdict(KILLED, f"signal {number} ended sshd's process", known.signalled)
        if cause in (_GOODBYE, IDLE_CHANNEL):
            return self._left(known, login, at, in_force, line, last)
        if known.closed and known.service != "sshd":
            how = f"{known.service} says that it ended, and not why"
            return _Verdict(EXIT, how, known.closed, inferred=True)
        lasted = at - known.began if known.began is not None else None
        return _unsaid(known, _reached(lasted, in_force.channel_timeout))

    def _shutdown(self, known: _Connection, at: float) -> _Verdict | None:
        before = _BEFORE if known.stopping else 0.0
        marker = next((m for m in self.shutdowns if -before <= at - m <= _SHUTDOWN), None)
        if marker is not None and (known.stopping or not known.said or known.restarted):
            start = self._after(self.starts, marker)
            if start is None or start >= at:
                line = known.stopping or known.closed or known.came
                return _Verdict(SHUTDOWN, "the host was shut down or restarted", line)
        if known.restarted is not None and known.end is None:
            how = "inferred: nothing closed it before the host started again"
            return _Verdict(SHUTDOWN, how, known.came, inferred=True)
        return None

    def _left(
        self,
        known: _Connection,
        login: Login | None,
        at: float,
        in_force: InForce,
        line: Line | None,
        last: Sequence[tuple[str, Line]],
    ) -> _Verdict:
        """The client said goodbye: because nothing was left to do, or because it was told to close."""
        cut = next((said for cause, said in reversed(last) if cause == IDLE_CHANNEL), None)
        if cut:
            return _Verdict(IDLE_CHANNEL, "ChannelTimeout: no byte went through the channel, either way", cut)
        lasted = at - known.began if known.began is not None else None
        unsaid = not known.verbose and _reached(lasted, in_force.channel_timeout)
        hung_up = known.hung_up or (login.left_at if login else None)
        closed = known.closed
        if hung_up and closed and not closed.trusted and closed.at.is_integer() and abs(hung_up - closed.at - 0.5) <= 1:
            hung_up = None  # A log of whole seconds does not say which came first.
        if hung_up is None:
            terminal = known.tty or login or not (known.kinds or self.keeps_logins)
            if terminal or unsaid:
                could_be = (EXIT, *[CLIENT_CLOSED] * bool(terminal), *[IDLE_CHANNEL] * unsaid)
                how = f"the client said goodbye; what had ended before that is not recorded on this host: {_SPEECHLESS}"
                return _Verdict(UNKNOWN, how, line, could_be=could_be)
            how = "inferred from the client's goodbye: the command had ended, or the client was told to stop"
            return _Verdict(EXIT, how, line, inferred=True)
        if known.closed and hung_up > known.closed.at:
            how = "the client said goodbye while the terminal was still open: its window was closed, or ~. typed"
            return _Verdict(CLIENT_CLOSED, how, line)
        shell = self._shell(known, hung_up, at)
        if shell:
            return shell
        if unsaid:
            how = f"the shell ended, or ChannelTimeout cut it, which sshd says only at LogLevel VERBOSE: {_SPEECHLESS}"
            return _Verdict(UNKNOWN, how, line, could_be=(EXIT, IDLE_CHANNEL))
        if _reached(lasted, in_force.shell_timeout):
            how = (
                f"the shell ended by itself or for TMOUT={in_force.shell_timeout}, and left no line that says which: "
                "the role shell_timeout has shells leave one"
            )
            return _Verdict(UNKNOWN, how, line, could_be=(EXIT, IDLE_SHELL))
        return _Verdict(EXIT, "the shell ended, and then the client said goodbye", line)

    def _shell(self, known: _Connection, hung_up: float, at: float) -> _Verdict | None:
        """What the login shell itself said at its end, by the snippet of the role shell_timeout.

        Its own user could write such a line, too, but only about a session of their own, and only if it is true that
        the shell ended now.
        """
        for line in reversed(self.shells.get(known.uid) or self.shells.get(None) or ()):
            facts = facts_of(line.message)
            if not -_AT_THE_END <= line.at - hung_up <= 2.0:
                continue
            if line.session and known.logind_id and line.session != known.logind_id:
                continue
            if known.tty and facts.get("tty", "")[-len(known.tty) :] != known.tty:
                continue
            idle, limit = facts.get("idle", ""), facts.get("limit", "")
            if not idle.isdecimal() or not limit.isdecimal():
                continue
            lasted = None if known.began is None else at - known.began
            if int(idle) >= int(limit) and "typed" not in facts and _reached(lasted, int(limit)):
                how = (
                    f"inferred from the shell's own line: it ended {idle} s after the last input, its limit is {limit}"
                )
                return _Verdict(IDLE_SHELL, how, line, inferred=True, trusted=False)
            how = f"the shell ended {idle} s after the last input, by its own line, and then the client said goodbye"
            return _Verdict(EXIT, how, line, trusted=False)
        return None


def _only_came(known: _Connection, before: float | None) -> bool:
    """Whether it came before that moment and did not log in, and nothing said how that ended."""
    return before is not None and known.service is None and known.last < before


def _serves(line: Line, known: _Connection) -> bool:
    """Whether the process that wrote `line` is the one that serves `known`.

    At LogLevel VERBOSE root's sshd names its pid, and that is all that is needed. Below that only the user of the
    session could be mistaken for it, in a session of their own: the program must be sshd, as far as the journal was in
    time to see it.
    """
    if line.uid is None:
        return True
    if known.uid is not None and line.uid != known.uid:
        return False
    if known.child is not None:
        return line.pid == known.child
    if line.session and known.logind_id and line.session != known.logind_id:
        return False
    if line.uid == 0:
        return True
    return line.comm in SSHD and (_is_sshd(line) or (line.exe is None and line.session is not None))


def _is_sshd(line: Line) -> bool:
    return bool(_SSHD_FILE.fullmatch(line.exe or ""))


def _certain(line: Line, known: _Connection) -> bool:
    """Whether nobody but sshd can have written what it said of `known`."""
    return line.trusted and (line.uid == 0 or line.pid == known.child or _is_sshd(line))


def _reached(lasted: float | None, timeout: int | None) -> bool:
    return bool(timeout) and (lasted is None or lasted >= (timeout or 0) - 1.0)


def _unsaid(known: _Connection, could_idle: bool) -> _Verdict:
    """No process of sshd has said how the connection ended; `could_idle` is whether ChannelTimeout was reached."""
    line = known.closed or known.gone or known.came
    if known.closed is None and known.gone:
        how = "inferred: sshd's privileged process ended without closing the PAM session, which KILL or a crash does"
        return _Verdict(KILLED, how, line, inferred=True)
    if known.closed is None:
        return _Verdict(UNKNOWN, "nothing says when or how it ended; the last that was heard of it is given", line)
    if known.verbose:
        how = "inferred: at LogLevel VERBOSE sshd says how a connection ends, and did not: a signal ended its process"
        return _Verdict(KILLED, how, line, inferred=True)
    could_be: tuple[str, ...] = (CLIENT_CLOSED, CONNECTION_RESET, KILLED)
    how = "sshd said nothing of how the connection ended"
    if known.untraced:
        could_be += (EXIT, *[IDLE_CHANNEL] * could_idle)
        how = "a goodbye of the client was logged, and the journal came too late to see by which process"
    return _Verdict(UNKNOWN, f"{how}: {_SPEECHLESS}", line, could_be=could_be)


def _kind(what: str, tty: str | None) -> str:
    if tty:
        return TERMINAL
    return SFTP if "sftp" in what and what.startswith(("subsystem", "forced-command")) else EXEC


def _kind_of(known: _Connection, tty: str | None) -> str | None:
    if known.service == "login":
        return CONSOLE
    for kind in (TERMINAL, SFTP, EXEC):
        if kind in known.kinds or (kind == TERMINAL and tty):
            return kind
    return FORWARD if known.verbose and known.child and not known.too_many else None


def facts_of(message: str) -> dict[str, str]:
    """The ``name=value`` words of a line of ours (see `syslog.line`)."""
    found = {}
    for name, quoted, bare in re.findall(r'(?:^| )([a-z_]+)=(?:("(?:[^"\\]|\\.)*")|(\S*))', message):
        try:
            found[name] = json.loads(quoted) if quoted else bare
        except ValueError:
            found[name] = quoted
    return found


def _listed(facts: Any, name: str) -> tuple[str, ...]:
    return tuple(word for word in (facts.get(name) or "").split(",") if word)


def _with_ours(ending: Ending, facts: Any) -> Ending:
    if not facts:
        return ending
    return ending._replace(
        kind=facts.get("kind") or ending.kind,
        tty=facts.get("tty") or ending.tty,
        because=_listed(facts, "because"),
        reason=facts.get("reason"),
        survivors=_listed(facts, "survivors"),
        preserved=_listed(facts, "preserved"),
    )


def _how_we(identifier: str, facts: Any) -> str:
    who = "the reaper" if identifier == "session-reaper" else "session_terminate"
    return f"{who} ended it: {facts.get('because') or facts.get('reason') or 'it was asked to'}"


def _from_ours(line: Line) -> Ending:
    facts = line.facts
    age = facts.get("age", "")
    leader = facts.get("session", "").rpartition("-")[0].rpartition("-")[2]
    ending = Ending(
        OWN[line.identifier],
        line.at,
        user=facts.get("user"),
        remote_host=facts.get("from"),
        logind_id=facts.get("logind_session"),
        leader=int(leader) if leader.isdecimal() else None,
        began_at=line.at - int(age) if age.isdecimal() else None,
        how=_how_we(line.identifier, facts),
        evidence=evidence(line),
    )
    return _with_ours(ending, facts)


class Query(NamedTuple):
    """Which endings are wanted; every filter that is set has to match. Moments in seconds since the epoch."""

    since: float
    until: float
    users: Collection[str] = ()
    networks: Sequence[Any] = ()
    causes: Collection[str] = ()
    limit: int = 100


class Found:
    """The endings that a query asks for: of a limit the newest, and of all of them how many by cause (`counts`)."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.counts: dict[str, int] = {}
        # The oldest first; the number keeps endings from being compared.
        self.heap: list[tuple[float, int, Ending]] = []
        self.number = 0

    def add(self, ending: Ending) -> None:
        query = self.query
        if (
            not query.since <= ending.ended_at <= query.until
            or (query.users and ending.user not in query.users)
            or (query.causes and ending.ended_by not in query.causes)
            or (query.networks and not from_networks(ending.remote_host, query.networks))
        ):
            return
        self.counts[ending.ended_by] = self.counts.get(ending.ended_by, 0) + 1
        self.number += 1
        full = query.limit and len(self.heap) >= query.limit
        (heapq.heappushpop if full else heapq.heappush)(self.heap, (ending.ended_at, -self.number, ending))

    def newest(self) -> list[Ending]:
        return [ending for _at, _number, ending in sorted(self.heap, reverse=True)]
