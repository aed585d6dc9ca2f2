# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sessions left behind, kept apart by kind, because what may be ended differs (the kinds: model.Leftover)."""

from __future__ import annotations

import os
import re
from typing import Collection, Iterable, NamedTuple, Sequence

from ..model import (
    CLOSING_SESSION,
    DETACHED_MULTIPLEXER,
    ORPHAN_PROCESS,
    PERSON_CLASSES,
    STALE_LOCK,
    WORK_FIELD,
    Clock,
    Leftover,
    Member,
    Process,
    Session,
    visible,
)
from . import lock_files
from .detached import Box, ask, quiet_since
from .draft import HELPERS, SSHD, Roots, is_server, parse_title
from .lock_files import FIRST_PERSON, NOBODY
from .locks import by_pid
from .multiplexers import Server
from .outliving import ignores_hangup, line_above
from .procfs import KERNEL_THREAD, Proc, terminal
from .work import Programs, item

_UNIT = re.compile(rb"/([^/\n]+\.(?:service|scope))(?=/|$)", re.M)
# A session's own scope, and sshd's service: what is left there came from a session on a host where PAM makes no scopes.
_OF_SESSIONS = re.compile(rb"session-[^/]+\.scope|sshd?(?:@[^/]*)?\.service")
_LINGER = "var/lib/systemd/linger"
#: The names of WORK by the categories of observe.work.
_WORK_OF = {WORK_FIELD.get(name, name): name for name in ("editors", "transfers", "databases", "package_managers")}


class _Root(NamedTuple):
    """The top of a tree of processes that is left behind, and why it is."""

    process: Process
    kind: str
    cause: str
    why: str
    cut: bool = False  # its connection was cut under it


class Leftovers:
    """Everything that is left behind; `warnings` are a sentence for each thing that could not be looked at."""

    def __init__(
        self,
        roots: Roots,
        proc: Proc,
        clock: Clock,
        table: dict[int, Process],
        owned: set[int],
        sessions: Sequence[Session],
        boot_id: str,
    ) -> None:
        self.roots, self.proc, self.clock, self.table, self.owned = roots, proc, clock, table, owned
        self.sessions, self.boot_id = sessions, boot_id
        self.warnings: list[str] = []
        self.children: dict[int, list[Process]] = {}
        for process in table.values():
            self.children.setdefault(process.ppid, []).append(process)
        self.here = {session.uid for session in sessions if session.leader.start_time is not None}
        self._namespace = proc.pid_namespace(roots.own_pid())
        self._own = {roots.own_pid(), *line_above(table, table[roots.own_pid()])} if roots.own_pid() in table else set()
        self._programs = Programs(roots.programs)
        self._held = by_pid(proc.table("locks"))

    def find(self, lock_patterns: Collection[str] = ()) -> tuple[Leftover, ...]:
        found = [*self.of_closing(), *self.strays(), *self.multiplexers(), *self.locks(lock_patterns)]
        return tuple(self._with_user(leftover) for leftover in found)

    def _with_user(self, leftover: Leftover) -> Leftover:
        name = self.roots.user_name(leftover.uid) if leftover.uid is not None else None
        return leftover._replace(user=visible(name) if name else None)

    # --- processes --------------------------------------------------------------------------------------------------

    def of_closing(self) -> Iterable[Leftover]:
        """What is in the scopes of sessions whose leader is gone, but for multiplexers and what runs in them."""
        for session in self.sessions:
            if session.state != "closing" or session.leader.start_time is not None:
                continue
            if session.session_class is not None and session.session_class not in PERSON_CLASSES:
                continue  # cron's and at's
            left = {member.pid: self.table[member.pid] for member in session.processes if member.pid in self.table}
            for process in left.values():
                if process.ppid not in left and not self._of_multiplexer(process):
                    yield self._tree(self._root(process, session.logind_id), session.logind_id, set(left))
            if not left:
                why = "logind calls it closing, and no process is in it"
                id_ = f"session-{session.logind_id}"
                yield Leftover(
                    CLOSING_SESSION,
                    "closing",
                    why,
                    id_,
                    uid=session.uid,
                    age=session.age,
                    logind_id=session.logind_id,
                    blocked=("no_process",),
                )

    def strays(self) -> Iterable[Leftover]:
        """What no session owns."""
        for process in self.table.values():
            parent = self.table.get(process.ppid)
            orphan = process.ppid == 1 or parent is None or parent.comm == "systemd"
            if process.pid in self.owned or not orphan or process.flags & KERNEL_THREAD or process.state == "Z":
                continue
            if not self._is_persons(process) or self._is_unit(process) or process.comm == "mosh-server":
                continue
            if self._of_multiplexer(process):
                continue
            root = self._root(process, None)
            if root.cause != "closing":
                yield self._tree(root, None, None)

    def _of_multiplexer(self, process: Process) -> bool:
        """Whether it is a server, holds one in the foreground (tmux -D), or began at a terminal inside of one."""
        leader = self.table.get(process.sid, process)
        below, waiting = [], [process]
        while waiting:
            below.append(waiting.pop())
            waiting += self.children.get(below[-1].pid, ())
        above = [self.table[pid] for pid in line_above(self.table, leader) if pid in self.table]
        return any(is_server(one) for one in (leader, *above, *below))

    def _is_persons(self, process: Process) -> bool:
        uid = self.proc.uid(process.pid)
        return uid is not None and FIRST_PERSON <= uid < NOBODY and self._is_ours(process)

    def _is_ours(self, process: Process) -> bool:
        return self._namespace is None or self.proc.pid_namespace(process.pid) == self._namespace

    def _is_unit(self, process: Process) -> bool:
        """In a unit: a service's, a user manager's, cron's, at's, a container's. Somebody wants it to run."""
        names = _UNIT.findall(self.proc.read(f"{process.pid}/cgroup") or b"")
        return any(not _OF_SESSIONS.fullmatch(name) for name in names)

    def _root(self, process: Process, logind_id: str | None) -> _Root:
        """Why `process` is left behind; the cause "closing" without a session is none."""
        if process.comm in SSHD and parse_title(self.proc.title(process.pid)):
            return _Root(process, ORPHAN_PROCESS, "unsupervised", "the privileged half of its sshd is gone")
        cut = self._was_cut(process)
        leader = self.table.get(process.sid)
        if leader is None or leader.state == "Z" or leader.start > process.start:
            return _Root(process, ORPHAN_PROCESS, "shell_ended", "its shell has ended", cut)
        if cut:
            return _Root(process, ORPHAN_PROCESS, "shell_ended", "the connection that it served has ended", cut)
        if logind_id is None and self.proc.uid(process.pid) not in self.here:
            return _Root(process, ORPHAN_PROCESS, "no_session", "its user has no session")
        return _Root(process, CLOSING_SESSION, "closing", f"logind calls session {logind_id} closing")

    def _was_cut(self, process: Process) -> bool:
        """Whether it still has the pipes of an ssh command, of which nobody sent it away: it leads no job of its own,
        and its input and output are what sshd gave it."""
        if process.pgrp != process.sid:
            return False
        stdin, *said = [self.proc.link(f"{process.pid}/fd/{number}") or "" for number in (0, 1, 2)]
        pipes = ("pipe:", "socket:")
        return stdin.startswith(pipes) and any(target.startswith(pipes) for target in said)

    def _tree(self, root: _Root, logind_id: str | None, within: set[int] | None) -> Leftover:
        """The leftover with all below `root`; `within` are the pids of the session it is in."""
        process = root.process
        foreign = False
        members, waiting = [], [process]
        while waiting:
            one = waiting.pop()
            if one.state == "Z" or (one is not process and one.pid in self.owned and one.pid not in (within or ())):
                continue
            if not self._is_ours(one):
                foreign = foreign or self.proc.pid_namespace(one.pid) is not None  # else it is gone
                continue
            members.append(one)
            waiting += self.children.get(one.pid, ())
        age = self._age(process)
        if root.cause == "unsupervised":
            age = min([age, *(idle for idle in map(self._typed, members) if idle is not None)])
        blocked = []
        if self._own.intersection(member.pid for member in members):
            blocked.append("self")
        if any(not self._is_a_persons_uid(member) for member in members):
            blocked.append("system_user")
        if foreign:
            blocked.append("container")
        if logind_id is None and not self._from_a_login(process):
            blocked.append("no_login")
        return Leftover(
            root.kind,
            root.cause,
            root.why,
            f"{self.boot_id}-{process.pid}-{process.start}",
            process.pid,
            process.start,
            self.proc.uid(process.pid),
            command=visible(process.comm),
            age=age,
            logind_id=logind_id,
            processes=self._members(members),
            intent=self._intent(root),
            work=tuple(self._work(members)),
            blocked=tuple(blocked),
        )

    def _is_a_persons_uid(self, process: Process) -> bool:
        uid = self.proc.uid(process.pid)
        return uid is None or FIRST_PERSON <= uid < NOBODY

    def _from_a_login(self, process: Process) -> bool:
        """Where no scope says it: sshd's service, or what a login puts into the environment and cron and at do not."""
        if process.comm in SSHD or _UNIT.search(self.proc.read(f"{process.pid}/cgroup") or b""):
            return True
        return not {"SSH_CONNECTION", "SSH_TTY", "TERM"}.isdisjoint(self.proc.environment(process.pid))

    def _age(self, process: Process) -> int:
        return max(0, int(self.clock.boot - process.start / self.clock.hz))

    def _typed(self, process: Process) -> int | None:
        """Seconds since something was typed at its terminal."""
        tty = terminal(process.tty)
        try:
            return max(0, int(self.clock.now - os.stat(f"{self.roots.dev}/{tty}").st_atime)) if tty else None
        except OSError:
            return None

    def _members(self, processes: Iterable[Process]) -> tuple[Member, ...]:
        return tuple(
            Member(p.pid, p.start, self.proc.uid(p.pid), terminal(p.tty), visible(p.comm), p.state) for p in processes
        )

    def _intent(self, root: _Root) -> tuple[str, ...]:
        """How it shows that somebody meant it to stay, in the words of observe.outliving."""
        process = root.process
        found = []
        if root.cause != "unsupervised":
            if ignores_hangup(self.proc, process.pid):
                found.append("nohup")
            if not root.cut and process.sid in self.table and not process.tty:
                found.append("setsid")
            # A job of its own, or what a shell without job control gives to a command behind &.
            elif process.pgrp != process.sid or self.proc.link(f"{process.pid}/fd/0") == "/dev/null":
                found.append("background")
        return (*found, *self._lingering(self.proc.uid(process.pid)))

    def _lingering(self, uid: int | None) -> tuple[str, ...]:
        name = self.roots.user_name(uid) if uid is not None else None
        return ("lingering",) if name and os.path.exists(f"{self.roots.programs}/{_LINGER}/{name}") else ()

    def _work(self, processes: Iterable[Process]) -> Iterable[str]:
        found: dict[str, None] = {}
        for process in processes:
            known = self._programs.recognise(self.proc, process.pid, process.comm)
            name = _WORK_OF.get(known.category) if known else None
            if known and name and item(self.proc, process.pid, process.start, None, known):
                found[name] = None
            if process.pid in self._held:
                found["locks"] = None
        return found

    # --- multiplexers -----------------------------------------------------------------------------------------------

    def multiplexers(self) -> Iterable[Leftover]:
        servers = []
        for process in self.table.values():
            program, uid = is_server(process), self.proc.uid(process.pid)
            if program and uid is not None and self._is_ours(process) and not self._is_unit(process):
                servers.append(Server(program, process, uid, self.roots.group_of(uid)))
        if not servers:
            return
        detached = ask(self.proc, servers, self.roots.run, self.roots.screen)
        for server in detached.silent:
            program, pid = server.program, server.process.pid
            self.warnings.append(f"the {program} server {pid} does not answer: attached or not is unknown")
            why = f"a {program} server that does not say whether somebody is attached"
            id_ = f"{self.boot_id}-{pid}-{server.process.start}"
            yield Leftover(
                DETACHED_MULTIPLEXER,
                program,
                why,
                id_,
                pid,
                server.process.start,
                server.uid,
                command=program,
                age=self._age(server.process),
                blocked=("no_answer",),
            )
        for box in detached.boxes:
            if not box.attached:
                yield self._box(box)

    def _box(self, box: Box) -> Leftover:
        server, process = box.server, box.server.process
        inside: dict[int, Process] = {}
        waiting = [self.table[pid] for pid in box.panes if pid in self.table]
        while waiting:
            one = waiting.pop()
            if one.state != "Z" and one is not process and self._is_ours(one):
                inside[one.pid] = one
            if one is process or one.pid in inside:
                waiting += self.children.get(one.pid, ())
        ttys = {terminal(one.tty) for one in inside.values() if one.tty}
        attached_age, activity_age = quiet_since(box, self.clock, self.roots.dev, sorted(filter(None, ttys)))
        blocked = []
        if self._own.intersection(inside):
            blocked.append("self")
        if not self._is_a_persons_uid(process):
            blocked.append("system_user")
        work = dict.fromkeys(self._work(inside.values()))
        if any(not self._is_shell(one) for one in inside.values()):
            work["jobs"] = None
        session = next((s for s in self.sessions if any(m.pid == process.pid for m in s.processes)), None)
        return Leftover(
            DETACHED_MULTIPLEXER,
            server.program,
            f"nobody is attached to this {server.program}",
            f"{self.boot_id}-{process.pid}-{process.start}-{visible(box.session)}",
            process.pid,
            process.start,
            server.uid,
            command=server.program,
            name=visible(box.name),
            path=visible(box.socket),
            age=min(attached_age, activity_age),
            attached_age=attached_age,
            activity_age=activity_age,
            logind_id=session.logind_id if session else None,
            processes=self._members(inside.values()),
            intent=self._lingering(server.uid),
            work=tuple(work),
            blocked=tuple(blocked),
            target=box,
        )

    def _is_shell(self, process: Process) -> bool:
        known = self._programs.recognise(self.proc, process.pid, process.comm)
        return process.comm in HELPERS or (
            known is not None and known.category == "shells" and known.known_by != "name"
        )

    # --- locks ------------------------------------------------------------------------------------------------------

    def locks(self, patterns: Collection[str]) -> Iterable[Leftover]:
        seen = lock_files.in_time(
            lambda: lock_files.find_lock_files(self.roots.programs, self.proc, self.clock, patterns)
        )
        if seen is None:
            self.warnings.append("stale locks were not looked for: a file system did not answer in time")
        for lock in seen or ():
            path = visible(lock.path)
            yield Leftover(
                STALE_LOCK,
                lock.cause,
                lock.why,
                path,
                uid=lock.facts.st_uid,
                path=path,
                age=max(0, int(self.clock.now - max(lock.facts.st_mtime, lock.facts.st_ctime))),
                blocked=lock.blocked,
                target=lock,
            )
