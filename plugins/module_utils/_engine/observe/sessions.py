# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way in to this host as one list of sessions, merged from /proc, logind and utmp.

/proc is the ground: whose process serves a person now is a fact, the rest are records. logind and utmp add what they
know, name what /proc does not see (a session whose leader is gone), and are contradicted aloud.
"""

from __future__ import annotations

import gc
import os
from typing import Collection, Iterable

from ..model import (
    CONSOLE,
    EXEC,
    FORWARD,
    GRAPHICAL,
    MOSH,
    PERSON_CLASSES,
    SFTP,
    TERMINAL,
    Channel,
    Leftover,
    Observation,
    Process,
    Trouble,
    visible,
)
from . import utmp
from .activity import Activity
from .draft import HELPERS, SSHD, Draft, Roots, parse_title
from .logind_sessions import Logind, LogindSession
from .procfs import KERNEL_THREAD, Proc, terminal
from .sockets import Connection, socket_inode

_MANAGER_CLASSES = ("manager", "manager-early")
# What starts tasks without anybody being logged in.
_SCHEDULERS = ("cron", "crond", "anacron", "atd", "fcron")
_FILE_TRANSFERS = ("sftp-server", "scp", "rsync", "rsync-ssl")


def observe(
    roots: Roots, sample: float = 0.0, want_leftovers: bool = False, lock_patterns: Collection[str] = ()
) -> Observation:
    """Look once, or twice `sample` seconds apart: only two looks tell what moves in a session without a terminal.

    `lock_patterns` name further stale locks among the leftovers.
    """
    proc = Proc(roots.proc)
    # Tens of thousands of values, none of them garbage before the end: collecting would only walk them again and again.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _Look(roots, proc).run(sample, want_leftovers, lock_patterns)
    finally:
        proc.close()
        if collecting:
            gc.enable()


class _Look:
    """One observation, in the order of `run`. What it reads was there once; nothing needs to be there still."""

    def __init__(self, roots: Roots, proc: Proc) -> None:
        self.roots, self.proc = roots, proc
        self.warnings: list[str] = []
        self.disagreements: list[str] = []
        self.drafts: list[Draft] = []
        self.owner: dict[int, Draft] = {}
        self.children: dict[int, list[Process]] = {}
        self.unauthenticated = 0
        self.likely = 4
        self.logind_limits: tuple[int | None, int | None] = (None, None)
        self.leaders: set[int] = set()
        self.ids: dict[str, tuple[int, int] | None] = {}
        self.foreign: set[int] = set()
        self.logind_seen: dict[str, LogindSession] = {}

    def run(self, sample: float, want_leftovers: bool, lock_patterns: Collection[str]) -> Observation:
        # With a second look, that one reads them.
        locks = None if sample else self.proc.table_later("locks")
        logind = self._open_logind()
        self.clock = self.roots.clock()
        self.table = self.proc.processes()
        self.namespace = self.proc.pid_namespace(self.roots.own_pid())
        logind = self._ask_on(logind)
        for process in self.table.values():
            self.children.setdefault(process.ppid, []).append(process)
        self._find_sshd()
        self._find_logins_and_mosh()
        logind = self._ask_on(logind)
        self.leaders = {draft.leader_pid for draft in self.drafts}
        for draft in self.drafts:
            if draft.leader:
                self._adopt(draft, draft.leader)
        if logind:
            try:
                self._merge_logind(logind)
                self.logind_limits = logind.limits()
            except (OSError, ValueError) as exc:
                self.warnings.append(f"logind stopped answering ({exc}): sessions are shown without what it knows")
            finally:
                logind.close()
        self._adopt_reparented()
        for draft in self.drafts:
            self._channels(draft)
        self._merge_utmp()
        connections = self.roots.connections()
        if connections is None:
            self.warnings.append("the kernel does not tell its TCP connections: remote addresses are unknown")
        for draft in self.drafts:
            draft.inode = self._connection_of(draft, connections or {})
        activity = Activity(
            self.roots, self.proc, self.table, self.children, self.clock, self.drafts, connections or {}, locks
        )
        if sample:
            activity.wait(sample)
        own, known_by, is_local = self._own(activity)
        sessions = activity.sessions(self._boot_id(), own)
        found: tuple[Leftover, ...] = ()
        if want_leftovers:
            from .leftovers import Leftovers

            left = Leftovers(self.roots, self.proc, self.clock, self.table, set(self.owner), sessions, self._boot_id())
            found = left.find(lock_patterns)
            self.warnings.extend(left.warnings)
        self._say_what_was_hidden()
        return Observation(
            self._boot_id(),
            sessions,
            found,
            self.unauthenticated,
            tuple(self.disagreements),
            tuple(self.warnings + activity.warnings),
            known_by,
            self.logind_limits,
            is_local,
            tuple(
                (session.id, activity.traffic(draft))
                for draft, session in zip(self.drafts, sessions)
                if draft.service == "sshd" and not draft.channels
            ),
        )

    def _boot_id(self) -> str:
        return (self.proc.read("sys/kernel/random/boot_id", 64) or b"").decode("ascii", "replace").strip()

    # --- who serves whom --------------------------------------------------------------------------------------------

    def _ours(self, pid: int) -> bool:
        """Whether the process lives in our PID namespace; a container's never counts, whatever its uid."""
        if self.namespace is None:
            return True
        namespace = self.proc.pid_namespace(pid)
        if namespace not in (None, self.namespace):
            self.foreign.add(pid)
        return namespace == self.namespace

    def _find_sshd(self) -> None:
        daemons = [process for process in self.table.values() if process.comm in SSHD]
        pids = {process.pid for process in daemons}
        for process in daemons:
            # A listener starts its children where it is itself: it alone is asked for its PID namespace.
            if process.ppid not in pids and self._ours(process.pid) and not self._connection(process):
                for child in self.children.get(process.pid, ()):
                    if child.comm in SSHD:
                        self._connection(child)

    def _connection(self, process: Process) -> bool:
        """Take the sshd that serves one connection, if this is one."""
        title = parse_title(self.proc.title(process.pid))
        # A user can call a process anything, but not have it run as root.
        if title is None or process.state == "Z" or self.proc.uid(process.pid) != 0:
            return False
        servant: Process | None = process
        uid: int | None = None
        if title.part or title.user.startswith("["):
            servants = [
                child for child in self.children.get(process.pid, ()) if child.comm in SSHD and child.state != "Z"
            ]
            servant = servants[0] if servants else None
            uid = self.proc.uid(servant.pid) if servant else None
            if title.part != "priv" or (servant and self._asks_for_a_login(servant, uid)):
                self.unauthenticated += 1
                return True
        name = visible(title.user)
        if uid is None:
            ids = self._user_ids(title.user)
            uid = ids[0] if ids else None
        self.drafts.append(Draft(None, process, process.pid, name, uid, "sshd", servant=servant, seen_by=["proc"]))
        return True

    def _user_ids(self, name: str) -> tuple[int, int] | None:
        if name not in self.ids:
            self.ids[name] = self.roots.user_ids(name)
        return self.ids[name]

    def _asks_for_a_login(self, servant: Process, uid: int | None) -> bool:
        if servant.comm == "sshd-auth":
            return True
        separated = self._user_ids("sshd")
        if separated and uid != separated[0] and uid != 0:
            return False
        title = parse_title(self.proc.title(servant.pid))
        return title is not None and title.part == "net"

    def _find_logins_and_mosh(self) -> None:
        for process in self.table.values():
            if process.comm == "login":
                shells = [child for child in self.children.get(process.pid, ()) if child.tty]
                if shells and self.proc.uid(process.pid) == 0 and self._ours(process.pid):
                    uid = self.proc.uid(shells[0].pid)
                    self._draft(Draft(CONSOLE, process, process.pid, None, uid, "login", servant=process))
            elif process.comm == "mosh-server" and self._is_orphan(process) and self._ours(process.pid):
                uid = self.proc.uid(process.pid)
                self._draft(Draft(MOSH, process, process.pid, None, uid, "mosh", servant=process))

    def _draft(self, draft: Draft) -> None:
        if draft.user is None and draft.uid is not None:
            name = self.roots.user_name(draft.uid)
            draft.user = visible(name) if name else None
        draft.seen_by.append("proc")
        self.drafts.append(draft)

    def _is_orphan(self, process: Process) -> bool:
        """Its parent is gone: init or a user's service manager has it now."""
        parent = self.table.get(process.ppid)
        return process.ppid == 1 or parent is None or parent.comm == "systemd"

    def _adopt(self, draft: Draft, root: Process) -> None:
        """Give `root` and all below it to `draft`, but for other sessions, the dead and other PID namespaces."""
        waiting = [root]
        while waiting:
            process = waiting.pop()
            if process.pid in self.owner or process.state == "Z":
                continue
            known = process is draft.leader or process is draft.servant
            if not known and (process.pid in self.leaders or not self._ours(process.pid)):
                continue
            self.owner[process.pid] = draft
            draft.members.append(process)
            waiting.extend(self.children.get(process.pid, ()))

    def _adopt_reparented(self) -> None:
        """Processes that outlived their parent: by the session whose cgroup they are in, else by their SID."""
        by_id = {draft.logind_id: draft for draft in self.drafts if draft.logind_id}
        by_sid: dict[int, Draft] = {}
        for pid, draft in self.owner.items():
            by_sid.setdefault(self.table[pid].sid, draft)
        for process in list(self.table.values()):
            if process.pid in self.owner or process.flags & KERNEL_THREAD or process.pid == 1:
                continue
            if not self._is_orphan(process) or process.ppid == 0:
                continue
            cgroup = self.proc.cgroup(process.pid)
            found = by_id.get(cgroup.session or "") or (None if cgroup.manager else by_sid.get(process.sid))
            if found and self._ours(process.pid):
                self._adopt(found, process)

    # --- logind and utmp --------------------------------------------------------------------------------------------

    def _open_logind(self) -> Logind | None:
        if not os.path.exists(self.roots.bus):
            return None
        logind = None
        try:
            logind = Logind(self.roots.bus, self.roots.patience)
            logind.begin()
            return logind
        except (OSError, ValueError) as exc:
            self._give_up(logind, exc)
            return None

    def _ask_on(self, logind: Logind | None) -> Logind | None:
        """Let logind work while we read something else."""
        try:
            if logind:
                logind.pump()
            return logind
        except (OSError, ValueError) as exc:
            self._give_up(logind, exc)
            return None

    def _give_up(self, logind: Logind | None, why: Exception) -> None:
        if logind:
            logind.close()
        self.warnings.append(f"logind does not answer ({why}): sessions are shown without what it knows")

    def _merge_logind(self, logind: Logind) -> None:
        logind.collect()
        by_leader: dict[int, list[LogindSession]] = {}
        for session in logind.sessions.values():
            by_leader.setdefault(session.leader or 0, []).append(session)
        matched: set[str] = set()
        for draft in self.drafts:
            claims = by_leader.get(draft.leader_pid, [])
            # A leader's pid may have been used again: then the cgroup says whose process this is.
            name = claims[0].id if len(claims) == 1 else self.proc.cgroup(draft.leader_pid).session
            if name in logind.sessions and name not in matched:
                draft.logind_id = name
                matched.add(name)
        missing = [
            session.id
            for session in logind.sessions.values()
            if session.id not in matched or session.session_class not in PERSON_CLASSES
        ]
        # The session that a mosh began in: closing, when nothing but the mosh is left of it.
        missing += [draft.logind_id for draft in self.drafts if draft.kind == MOSH and draft.logind_id]
        logind.ask([name for name in missing if logind.sessions[name].session_class not in _MANAGER_CLASSES])
        logind.collect()
        for draft in self.drafts:
            session_ = logind.sessions.get(draft.logind_id or "")
            if session_:
                draft.logind = session_
                draft.seen_by.append("logind")
                if draft.kind == MOSH:
                    self.disagreements.append(
                        f"logind calls session {session_.id} {session_.state}, /proc has a live mosh-server in it "
                        f"(pid {draft.leader_pid})"
                    )
        self.logind_seen = logind.sessions
        for name in missing:
            gone = logind.sessions.get(name)
            if gone and name not in matched and gone.session_class not in _MANAGER_CLASSES:
                self._from_logind(gone)

    def _from_logind(self, session: LogindSession) -> None:
        """A session that only logind names: its leader is no login program that we know, or is gone."""
        leader = self.table.get(session.leader or 0)
        if leader and (leader.state == "Z" or self.proc.cgroup(leader.pid).session != session.id):
            leader = None
        if leader and leader.pid in self.owner:
            self.disagreements.append(
                f"logind's session {session.id} is led by pid {leader.pid}, which /proc shows inside another session"
            )
            return
        if leader and not self._ours(leader.pid):
            self.disagreements.append(
                f"logind has session {session.id} of {visible(session.user)}, which is led from another PID namespace"
            )
            return
        kind = None
        if session.kind in ("x11", "wayland", "mir"):
            kind = GRAPHICAL
        elif session.kind == "tty":
            kind = TERMINAL if leader is None or session.service == "sshd" else CONSOLE
        draft = Draft(
            kind,
            leader,
            session.leader or 0,
            visible(session.user),
            session.uid,
            visible(session.service) if session.service else None,
            session.id,
            session,
            seen_by=["logind"],
        )
        if leader is None:
            draft.state = "closing"
        self.drafts.append(draft)
        if leader:
            draft.seen_by.insert(0, "proc")
            self._adopt(draft, leader)

    def _merge_utmp(self) -> None:
        records = utmp.read_utmp(self.roots.utmp)
        if records is None:
            return
        by_tty = {channel.tty: draft for draft in self.drafts for channel, _process in draft.channels if channel.tty}
        inside = {terminal(process.tty): self.owner[pid] for pid, process in self._members()}
        for record in records:
            tty = visible(record.tty)
            who = f"utmp has {visible(record.user)} on {tty}"
            draft = by_tty.get(record.tty)
            if draft:
                by_tty.pop(record.tty)
                if "utmp" not in draft.seen_by:
                    draft.seen_by.append("utmp")
                draft.record = record
                if draft.user is not None and visible(record.user) != draft.user:
                    self.disagreements.append(f"{who}, /proc has {draft.user} there")
            elif record.tty in inside:
                host = f" ({visible(record.host)})" if record.host else ""
                self.disagreements.append(
                    f"{who}{host}: a terminal inside the session of {inside[record.tty].user}, no login of its own"
                )
            elif record.pid not in self.table:
                self.disagreements.append(f"{who}, where nobody is: the record was left behind by pid {record.pid}")
        for tty_, draft in by_tty.items():
            if "utmp" not in draft.seen_by:
                self.disagreements.append(f"{draft.user} is on {tty_}, utmp has no record of it")

    def _members(self) -> Iterable[tuple[int, Process]]:
        return ((pid, self.table[pid]) for pid in self.owner)

    # --- what a connection is used for ------------------------------------------------------------------------------

    def _channels(self, draft: Draft) -> None:
        servant = draft.servant
        if servant is None:
            if draft.leader is None and draft.kind == TERMINAL and not any(process.tty for process in draft.members):
                draft.kind = EXEC
            return
        for child in self.children.get(servant.pid, ()):
            if child.state == "Z" or child.pid not in self.owner or child.comm in HELPERS:
                continue
            kind = TERMINAL if child.tty else EXEC
            if child.comm in SSHD:
                title = parse_title(self.proc.title(child.pid))
                if title is None or title.place != "internal-sftp":
                    continue
                kind = SFTP
            elif kind == EXEC and any(process.comm in _FILE_TRANSFERS for process in self._below(child)):
                kind = SFTP
            draft.channels.append((Channel(kind, child.pid, terminal(child.tty), visible(child.comm)), child))
        if draft.service == "sshd":
            kinds = {channel.kind for channel, _process in draft.channels}
            draft.kind = next((kind for kind in (TERMINAL, SFTP, EXEC) if kind in kinds), None)
            if draft.kind is None:
                self._without_channels(draft, servant)

    def _below(self, root: Process) -> list[Process]:
        found, waiting = [], [root]
        while waiting:
            process = waiting.pop()
            found.append(process)
            waiting.extend(child for child in self.children.get(process.pid, ()) if child.pid in self.owner)
        return found

    def _without_channels(self, draft: Draft, servant: Process) -> None:
        """`ssh -N`, a master that waits for its next client, or a session that can't close."""
        title = parse_title(self.proc.title(servant.pid))
        place = title.place if title else ""
        draft.kind = TERMINAL if "/" in place else EXEC if place else FORWARD
        terminals = {f"/dev/{name}" for name in place.split(",") if "/" in name}
        pipes = {target for _number, target in self.proc.descriptors(servant.pid) if target.startswith("pipe:")}
        holders = []
        for process in draft.members:
            if process.comm in SSHD:
                continue
            held = {target for _number, target in self.proc.descriptors(process.pid)} & (terminals | pipes)
            if held:
                holders.append((process, sorted(held)[0]))
        if holders:
            draft.state = "closing"
            who = ", ".join(
                f"{visible(process.comm)} (pid {process.pid}) holds {held}" for process, held in holders[:8]
            )
            draft.troubles.append(
                Trouble(
                    "closing", f"the shell has ended, but {who} open", tuple(process.pid for process, _h in holders)
                )
            )

    def _connection_of(self, draft: Draft, connections: dict[int, Connection]) -> int | None:
        """The inode of the connection's socket: the first TCP socket that sshd has open."""
        if draft.service != "sshd" or not draft.leader or not connections:
            return None
        for process in (draft.leader, draft.servant):
            # On one host it is nearly always the same number: start with the last one.
            for number in (self.likely, *range(3, 20), 0) if process else ():
                target = self.proc.link(f"{process.pid}/fd/{number}") if process else None
                inode = socket_inode(target)
                if inode in connections:
                    self.likely = number
                    return inode
        return None

    # --- whose connection is ours -----------------------------------------------------------------------------------

    def _own(self, activity: Activity) -> tuple[list[Draft], tuple[str, ...], bool]:
        """The sessions that we run in, and what says so: any witness will do, for each of them can be missing.

        The third is whether it is certain that we came by no ssh connection: a service or cron started us, or we were
        put into this PID namespace from outside.
        """
        me = self.roots.own_pid()
        line, pid = [me], me
        while pid in self.table and self.table[pid].ppid not in (0, 1, *line):
            pid = self.table[pid].ppid
            line.append(pid)
        session = self.proc.cgroup(me).session
        audit = self.proc.number(f"{me}/sessionid")
        peers = set()
        for ancestor in line:
            words = self.proc.environment(ancestor).get("SSH_CONNECTION", "").split()
            if len(words) == 4 and words[1].isdigit():
                peers.add((words[0], int(words[1])))
        own: list[Draft] = []
        known_by: dict[str, None] = {}
        for draft in self.drafts:
            link = activity.connection(draft)
            witnesses = {
                "ancestors": any(self.owner.get(ancestor) is draft for ancestor in line),
                "cgroup": session is not None and draft.logind_id == session,
                "audit": audit is not None and activity.audit_id(draft) == audit,
                "peer": link is not None and (link.host, link.port) in peers,
            }
            if any(witnesses.values()):
                own.append(draft)
                known_by.update((name, None) for name, true in witnesses.items() if true)
        top = self.table.get(line[-1])
        service = self.proc.cgroup(me).service
        is_local = not peers and (
            (service is not None and not service.startswith(("ssh.", "sshd.", "ssh@", "sshd@")))
            or (top is not None and (top.ppid == 0 or top.comm in _SCHEDULERS))
        )
        return own, tuple(known_by), is_local

    def _say_what_was_hidden(self) -> None:
        if self.roots.euid() != 0:
            self.warnings.append(
                "not running as root: other users' idle processes, open files, remote addresses and multiplexers "
                "could not be seen and are null or missing"
            )
        if 1 not in self.table:
            self.warnings.append("/proc hides other users' processes (hidepid): sessions may be missing")
        if self.foreign:
            self.warnings.append(
                f"{len(self.foreign)} process(es) below sessions live in another PID namespace (containers) "
                "and are not counted"
            )
