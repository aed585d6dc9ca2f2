# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes on in each session: how long nothing was typed or moved, what it is at, and what would be lost with it."""

from __future__ import annotations

import os
from typing import Callable, NamedTuple

from ..model import (
    GRAPHICAL,
    MOSH,
    SFTP,
    Clock,
    Item,
    Job,
    Leader,
    Lock,
    Member,
    Multiplexer,
    Process,
    Session,
    Traffic,
    Trouble,
    Work,
    iso,
    visible,
)
from .draft import HELPERS, SSHD, Draft, Roots, is_server
from .locks import Held, by_pid, named
from .procfs import Proc, terminal
from .sockets import KEEPALIVE_BYTES, Connection, peer_unresponsive, socket_inode
from .terminals import takes_output, unread, unread_pipe
from .work import Known, Programs, internal_sftp, item


class Count(NamedTuple):
    """What a process has done so far: bytes by system calls and CPU ticks."""

    bytes: int | None
    cpu: int


class Activity:
    """The second half of an observation: who serves whom is settled, `drafts` own their processes."""

    def __init__(
        self,
        roots: Roots,
        proc: Proc,
        table: dict[int, Process],
        children: dict[int, list[Process]],
        clock: Clock,
        drafts: list[Draft],
        connections: dict[int, Connection],
        locks: Callable[[], bytes] | None,
    ) -> None:
        self.roots, self.proc, self.table, self.children, self.clock = roots, proc, table, children, clock
        self.drafts = drafts
        self.warnings: list[str] = []
        self._connections = connections
        self._locks = locks
        self._earlier: dict[int, Connection] = {}
        self._counts: dict[int, Count] = {}
        self._still_before: dict[Draft, dict[str, bool | None]] = {}
        self._full_before: dict[Draft, set[str]] = {}
        self._waited = 0.0
        programs = Programs(roots.programs)
        self._known: dict[int, Known] = {}
        for draft in drafts:
            for process in draft.members:
                if process.comm not in SSHD:
                    known = programs.recognise(proc, process.pid, process.comm)
                    if known:
                        self._known[process.pid] = known

    def connection(self, draft: Draft) -> Connection | None:
        return self._connections.get(draft.inode) if draft.inode is not None else None

    def audit_id(self, draft: Draft) -> int | None:
        if draft.logind and draft.logind.audit_id:
            return draft.logind.audit_id
        if draft.logind_id and draft.logind_id.isdecimal():
            return int(draft.logind_id)  # logind takes the audit session's number where there is one
        return self.proc.number(f"{draft.leader_pid}/sessionid") if draft.leader else None

    # --- two looks --------------------------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Count what tty-less work and connections have done, and wait, so that what moves shows."""
        watched = [process for draft in self.drafts for process in self._watched(draft)]
        self._counts = {process.pid: self._count(process) for process in watched}
        self._earlier = self._connections
        self._still_before = {draft: self._still(draft) for draft in self.drafts}
        self._full_before = {draft: self._full(draft) for draft in self.drafts}
        self.roots.sleep(seconds)
        # What has ended meanwhile is nobody's work any more.
        self._known = {pid: known for pid, known in self._known.items() if self._lives(pid)}
        self._locks = self.proc.table_later("locks")
        self._connections = self.roots.connections() or {}
        self._waited = seconds
        self.clock = self.roots.clock()

    def _lives(self, pid: int) -> bool:
        now = self.proc.process(pid)
        return now is not None and now.start == self.table[pid].start

    def _watched(self, draft: Draft) -> list[Process]:
        known = [process for process in draft.members if self._category(process) == "transfers"]
        for channel, process in draft.channels:
            if not channel.tty:
                known.extend(self._below(process))
        return known

    def _below(self, root: Process) -> list[Process]:
        found, waiting = [], [root]
        while waiting:
            process = waiting.pop()
            found.append(process)
            waiting.extend(self.children.get(process.pid, ()))
        return found

    def _count(self, process: Process) -> Count:
        return Count(self.proc.io(process.pid), process.cpu)

    def _moved(self, process: Process) -> bool | None:
        """Whether the process did anything between the looks; None where its counters are closed to us."""
        before, now = self._counts.get(process.pid), self.proc.process(process.pid)
        if before is None or now is None or now.start != process.start:
            return True  # it came or went: something happened
        done = self.proc.io(process.pid)
        if now.cpu != before.cpu:
            return True
        return None if done is None or before.bytes is None else done != before.bytes

    # --- idle -------------------------------------------------------------------------------------------------------

    def _idle(self, draft: Draft) -> tuple[int | None, str, int | None]:
        """Idle seconds, the signal they come from, and seconds without output."""
        typed: dict[str, float] = {}
        output: list[float] = []
        ttys = [tty for tty in self._ttys(draft) if tty]
        for tty in ttys:
            try:
                found = os.stat(f"{self.roots.dev}/{tty}")
            except OSError:
                continue
            typed[tty] = max(0.0, self.clock.now - found.st_atime)
            output.append(max(0.0, self.clock.now - found.st_mtime))
            opener = next((process for channel, process in draft.channels if channel.tty == tty), None)
            if opener:
                self._suspect(draft, opener, tty, found)
        quiet = int(min(output)) if output else None
        draft.channels = [
            (channel._replace(idle=int(typed[channel.tty])) if channel.tty in typed else channel, process)
            for channel, process in draft.channels
        ]
        if ttys and len(typed) < len(ttys):
            return None, "none", quiet
        rest, signal = self._idle_without_terminal(draft)
        last = min(typed.values(), default=None)
        if last is not None and signal == "absent":
            return int(last), "tty_input", quiet
        if rest is None:
            return None, "none", quiet
        if last is not None and last <= rest:
            return int(last), "tty_input", quiet
        return rest, signal, quiet

    def _suspect(self, draft: Draft, process: Process, tty: str, found: os.stat_result) -> None:
        # The kernel moves a terminal's atime in whole seconds; utimensat(2) sets it to the nanosecond, and ctime too.
        opened = self.clock.now - self.clock.boot + process.start / self.clock.hz
        if found.st_atime_ns % 10**9 and found.st_ctime_ns >= found.st_atime_ns and found.st_atime > opened + 2:
            self.warnings.append(f"the idle time of {tty} ({draft.user}) was set by hand (touch), not by input")

    def _idle_without_terminal(self, draft: Draft) -> tuple[int | None, str]:
        """The idle time of what has no terminal; ("absent") where there is nothing such."""
        silent = [process for channel, process in draft.channels if not channel.tty]
        link = self.connection(draft)
        if draft.kind == GRAPHICAL:
            known = draft.logind
            if known is None or known.idle_hint is None:
                return None, "none"
            since = known.idle_since if known.idle_hint else self.clock.now
            return int(max(0.0, self.clock.now - (since or self.clock.now))), "logind_hint"
        if silent:
            if self._waited:
                moved = [self._moved(process) for root in silent for process in self._below(root)]
                if any(moved):
                    return 0, "process_io"
                return (None, "none") if None in moved else (int(self._waited), "process_io")
            # Nothing at all on the wire means that no file moves either; a command may work without a word.
            quiet = link.quiet() if link and all(channel.kind == SFTP for channel, _p in draft.channels) else None
            return quiet, "socket" if quiet is not None else "none"
        if draft.channels or draft.service != "sshd":
            return (None, "absent") if draft.channels else (None, "none")
        return self._idle_of_forward(draft, link)

    def _idle_of_forward(self, draft: Draft, link: Connection | None) -> tuple[int | None, str]:
        """Nothing but forwarded connections, which sshd has open as sockets of its own: no keepalive touches those."""
        inner = [forwarded.quiet() for forwarded in self._forwarded(draft)]
        if inner:
            known = [quiet for quiet in inner if quiet is not None]
            return (min(known), "socket") if len(known) == len(inner) else (None, "none")
        quiet = link.quiet() if link else None
        before = self._earlier.get(draft.inode or -1)
        if link is None or quiet is None:
            return None, "none"
        if before and None not in (before.received, link.received, before.acked, link.acked):
            took, gave = link.received - before.received, link.acked - before.acked  # type: ignore[operator]
            if max(took, gave) <= KEEPALIVE_BYTES:
                quiet = max(quiet, int(self._waited))
        return quiet, "socket"

    def _forwarded(self, draft: Draft) -> list[Connection]:
        found = []
        if draft.servant:
            for _number, target in self.proc.descriptors(draft.servant.pid):
                inode = socket_inode(target)
                if inode is not None and inode != draft.inode and inode in self._connections:
                    found.append(self._connections[inode])
        return found

    def traffic(self, draft: Draft) -> Traffic:
        link = self.connection(draft)
        return Traffic(link.bytes() if link else None, tuple(inner.bytes() for inner in self._forwarded(draft)))

    # --- work -------------------------------------------------------------------------------------------------------

    def _category(self, process: Process) -> str:
        known = self._known.get(process.pid)
        return known.category if known else ""

    def _program(self, process: Process) -> str:
        known = self._known.get(process.pid)
        return known.program if known and known.known_by != "name" else visible(process.comm)

    def _ttys(self, draft: Draft) -> list[str]:
        found = [channel.tty for channel, _process in draft.channels if channel.tty]
        if not found and draft.kind == GRAPHICAL:
            return []
        if not found and draft.leader and draft.servant is None:
            own = [terminal(process.tty) for process in draft.members if process.tty]
            found = list(dict.fromkeys(tty for tty in own if tty))[:1]
        return found

    def _terminals(self, draft: Draft) -> tuple[list[str], list[Job]]:
        """The foreground command of each terminal, and the jobs behind it."""
        by_tty: dict[int, list[Process]] = {}
        for process in draft.members:
            if process.tty:
                by_tty.setdefault(process.tty, []).append(process)
        foreground: list[str] = []
        jobs: list[Job] = []
        for number, there in by_tty.items():
            front = [process for process in there if process.pgrp == process.tpgid]
            if front:
                first = min(front, key=lambda process: (process.pid != process.pgrp, process.pid))
                foreground.append(self._program(first))
            busy = {process.pgrp for process in front}
            for process in front:
                busy.update(self._groups_above(process))
            for group in dict.fromkeys(process.pgrp for process in there):
                members = [process for process in there if process.pgrp == group]
                if group not in busy and not any(process.pid == process.sid for process in members):
                    jobs.append(self._job(members[0], terminal(number)))
        for channel, process in draft.channels:
            if not channel.tty:
                foreground.append(self._program(process))
        return foreground, jobs

    def _groups_above(self, process: Process) -> set[int]:
        found: set[int] = set()
        parent = self.table.get(process.ppid)
        while parent and parent.pid not in (0, 1) and parent.sid == process.sid:
            found.add(parent.pgrp)
            parent = self.table.get(parent.ppid)
        return found

    def _job(self, process: Process, tty: str | None) -> Job:
        path = self.proc.link(f"{process.pid}/exe")
        command, stopped = self._program(process), process.state in "Tt"
        return Job(process.pid, process.start, command, stopped, tty, visible(path) if path else None)

    def _detached(self, draft: Draft, served: set[int]) -> list[Job]:
        """What runs on without a terminal and without a channel: nohup, setsid, a server that detached itself."""
        inside = {process.pid for process in draft.members}
        return [
            self._job(process, None)
            for process in draft.members
            if not process.tty
            and process.pid not in served
            and process.comm not in SSHD
            and process.comm not in HELPERS
            and is_server(process) is None
            and process.ppid not in inside
        ]

    def _works(self) -> dict[int, Work]:
        """The work of each draft, by its place in the list."""
        servers: list[tuple[str, Process, int]] = []
        for draft in self.drafts:
            for process in draft.members:
                program = is_server(process)
                if program:
                    uid = self.proc.uid(process.pid)
                    if uid is not None:
                        servers.append((program, process, uid))
        boxes: dict[int, Multiplexer] = {}
        if servers:
            # Compiling a module costs each task a millisecond or two: those that few hosts need wait until then.
            from .multiplexers import Server, multiplexers

            asked = [Server(*server, self.roots.group_of(server[2])) for server in servers]
            boxes, warnings = multiplexers(self.proc, asked, self.roots.run, self.clock, self.roots.screen)
            self.warnings.extend(warnings)
        held = by_pid(self._locks()) if self._locks else {}
        return {place: self._one(draft, boxes, held) for place, draft in enumerate(self.drafts)}

    def _one(self, draft: Draft, boxes: dict[int, Multiplexer], held: dict[int, list[Held]]) -> Work:
        items: dict[str, list[Item]] = {}
        locks: list[Lock] = []
        for process in draft.members:
            known = self._known.get(process.pid)
            if known and known.category not in ("shells", "multiplexers"):
                work = item(self.proc, process.pid, process.start, terminal(process.tty), known)
                if work:
                    items.setdefault(known.category, []).append(work._replace(rate=self._rate(process)))
            elif process.comm in SSHD and process is not draft.leader and process is not draft.servant:
                work = internal_sftp(self.proc, process.pid, process.start)
                if work:
                    items.setdefault("transfers", []).append(work._replace(rate=self._rate(process)))
            locks.extend(named(self.proc, lock) for lock in held.get(process.pid, ()))
        served: set[int] = set()
        for channel, process in draft.channels:
            if not channel.tty:
                served.update(below.pid for below in self._below(process))
        if draft.leader:
            served.add(draft.leader.pid)
        foreground, jobs = self._terminals(draft)
        jobs += self._detached(draft, served)
        return Work(
            tuple(dict.fromkeys(foreground)),
            tuple(jobs),
            tuple(items.get("editors", ())),
            tuple(items.get("transfers", ())),
            tuple(items.get("database_clients", ())),
            tuple(items.get("package_managers", ())),
            tuple(boxes[process.pid] for process in draft.members if process.pid in boxes),
            tuple(locks),
        )

    def _rate(self, process: Process) -> int | None:
        before = self._counts.get(process.pid)
        now = self.proc.io(process.pid) if before else None
        if before is None or before.bytes is None or now is None or not self._waited:
            return None
        return int((now - before.bytes) / self._waited)

    # --- putting it together ----------------------------------------------------------------------------------------

    def sessions(self, boot_id: str, own: list[Draft]) -> tuple[Session, ...]:
        works = self._works()
        return tuple(
            self._session(draft, boot_id, works[place], draft in own) for place, draft in enumerate(self.drafts)
        )

    def _session(self, draft: Draft, boot_id: str, work: Work, is_self: bool) -> Session:
        known, leader, link = draft.logind, draft.leader, self.connection(draft)
        idle, signal, output = self._idle(draft)
        start = leader.start if leader else None
        age: float | None = None
        if start is not None:
            age = self.clock.boot - start / self.clock.hz
        elif known and known.at:
            age = self.clock.now - known.at
        age = max(0.0, age) if age is not None else None
        still = self._still(draft)
        stuck, trouble = self._stuck(draft, still)
        ttys = self._ttys(draft)
        troubles = [*draft.troubles, *([trouble] if trouble else [])]
        for tty in (tty for tty, waits in still.items() if waits is False):
            why = f"output to {tty} was stopped by Ctrl-S (Ctrl-Q goes on)"
            troubles.append(Trouble("stopped_terminal", why))
        state = draft.state or (known.state if known and draft.kind != MOSH else None)
        host = link.host if link else None
        if host is None and draft.kind == MOSH and draft.record:
            host = visible(draft.record.host.split(" via ")[0])
        elif host is None and known and known.remote_host and draft.kind != MOSH:
            host = visible(known.remote_host)
        return Session(
            id=f"{boot_id}-{draft.leader_pid}-{start if start is not None else draft.logind_id}",
            logind_id=draft.logind_id,
            audit_id=self.audit_id(draft),
            user=draft.user,
            uid=draft.uid,
            kind=draft.kind,
            session_class=known.session_class if known else None,
            state=state or ("active" if leader else "closing"),
            seen_by=tuple(draft.seen_by),
            service=draft.service,
            remote_host=host,
            remote_port=link.port if link else None,
            ttys=tuple(ttys),
            channels=tuple(channel for channel, _process in draft.channels),
            login_at=iso(self.clock.now - age) if age is not None else None,
            age=int(age) if age is not None else None,
            idle=idle,
            idle_signal=signal,
            output_idle=output,
            peer_unresponsive=stuck,
            work=work,
            troubles=tuple(troubles),
            is_self=is_self,
            leader=Leader(draft.leader_pid, start),
            processes=tuple(self._member(process) for process in draft.members),
        )

    def _member(self, process: Process) -> Member:
        return Member(
            process.pid,
            process.start,
            self.proc.uid(process.pid),
            terminal(process.tty),
            self._program(process),
            process.state,
        )

    def _still(self, draft: Draft) -> dict[str, bool | None]:
        """The terminals whose output stands still, and whether some of it waits in sshd's hands."""
        if draft.service != "sshd" or draft.servant is None:
            return {}
        holder = draft.servant.pid
        return {
            tty: unread(self.proc, holder, tty)
            for tty in self._ttys(draft)
            if not takes_output(f"{self.roots.dev}/{tty}")
        }

    def _full(self, draft: Draft) -> set[str]:
        """The commands without a terminal whose output waits for sshd to take it; it does at once, if it can."""
        if draft.service != "sshd" or draft.servant is None:
            return set()
        holder = draft.servant.pid
        return {
            channel.command
            for channel, process in draft.channels
            if not channel.tty and process.comm not in SSHD and unread_pipe(self.proc, holder, process.pid)
        }

    def _stuck(self, draft: Draft, still: dict[str, bool | None]) -> tuple[bool | None, Trouble | None]:
        """Whether the peer takes nothing of what is sent to it, and the sentence for it."""
        link = self.connection(draft)
        before = self._earlier.get(draft.inode or -1) if self._waited else None
        stuck = peer_unresponsive(before, link)
        if link is None:
            return stuck, None
        why = f"{link.host} took nothing for {self._waited:g} s"
        if stuck:
            return True, Trouble("peer_unresponsive", f"{why}: {link.unsent} bytes wait to be acknowledged")
        waiting = [tty for tty, waits in still.items() if waits is not False]
        held = [tty for tty in waiting if still[tty] and self._still_before.get(draft, {}).get(tty)]
        held += sorted(self._full_before.get(draft, set()) & self._full(draft)) if before else []
        if not waiting and not held:
            return stuck, None
        if before is None or not held:
            return None, None
        if before.received != link.received:
            return False, None
        return True, Trouble("peer_unresponsive", f"{why}: output of {', '.join(held)} waits, the connection is full")
