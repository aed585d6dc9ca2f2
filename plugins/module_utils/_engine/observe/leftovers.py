# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sessions left behind, kept apart by kind, because what may be ended differs (the kinds: model.Leftover)."""

from __future__ import annotations

import os
import re
import stat
from typing import Iterable, Sequence

from ..model import Clock, Leftover, Multiplexer, Process, Session, visible
from .draft import SSHD, Roots, is_server, parse_title
from .outliving import line_above
from .procfs import KERNEL_THREAD, Proc

# Uids that people have (login.defs(5), UID_MIN); 65534 is nobody.
_FIRST_PERSON, _NOBODY = 1000, 65534
_SERVICE = re.compile(rb"\.service(?:/|$)", re.M)
# sshd's own service: what is left in it came from a session on a host where PAM makes no scopes.
_SSHD_SERVICE = re.compile(rb"/(?:ssh|sshd)(?:@[^/]*)?\.service$", re.M)
_LOCK_FOLDERS = ("run/lock", "var/lock", "tmp")
_LOCK_NAME = re.compile(r"^(?:LCK\.\..+|\.X[0-9]+-lock|.+\.lock)$")


def find_leftovers(
    roots: Roots, proc: Proc, clock: Clock, table: dict[int, Process], owned: set[int], sessions: Sequence[Session]
) -> tuple[Leftover, ...]:
    found = [
        *_of_closing(proc, clock, table, sessions),
        *_processes(proc, clock, table, owned, sessions),
        *_multiplexers(clock, sessions),
        *_locks(roots.programs, clock, set(table)),
    ]
    return tuple(_with_user(roots, leftover) for leftover in found)


def _with_user(roots: Roots, leftover: Leftover) -> Leftover:
    name = roots.user_name(leftover.uid) if leftover.uid is not None else None
    return leftover._replace(user=visible(name) if name else None)


def _of(kind: str, why: str, proc: Proc, clock: Clock, process: Process, logind_id: str | None = None) -> Leftover:
    return Leftover(
        kind,
        why,
        process.pid,
        process.start,
        proc.uid(process.pid),
        command=visible(process.comm),
        age=max(0, int(clock.boot - process.start / clock.hz)),
        logind_id=logind_id,
    )


def _of_closing(proc: Proc, clock: Clock, table: dict[int, Process], sessions: Sequence[Session]) -> Iterable[Leftover]:
    for session in sessions:
        if session.state != "closing" or session.leader.start_time is not None:
            continue
        left = [table[member.pid] for member in session.processes if member.pid in table]
        for process in left:
            if is_server(process) or any(process.pid in line_above(table, other) for other in left if is_server(other)):
                continue
            if any(is_server(table[pid]) for pid in line_above(table, process) if pid in table):
                continue
            orphan = process.sid not in table
            why = "its shell has ended" if orphan else f"logind calls session {session.logind_id} closing"
            yield _of("orphan" if orphan else "closing", why, proc, clock, process, session.logind_id)
        if not left:
            why = "logind calls it closing, and no process is in it"
            yield Leftover("closing", why, uid=session.uid, age=session.age, logind_id=session.logind_id)


def _processes(
    proc: Proc, clock: Clock, table: dict[int, Process], owned: set[int], sessions: Sequence[Session]
) -> Iterable[Leftover]:
    here = {session.uid for session in sessions}
    own = proc.pid_namespace(os.getpid()) if proc.root == "/proc" else None
    for process in table.values():
        parent = table.get(process.ppid)
        orphan = process.ppid == 1 or parent is None or parent.comm == "systemd"
        if process.pid in owned or not orphan or process.flags & KERNEL_THREAD or process.state == "Z":
            continue
        uid = proc.uid(process.pid)
        if uid is None or not _FIRST_PERSON <= uid < _NOBODY or (own and proc.pid_namespace(process.pid) != own):
            continue
        cgroup = proc.read(f"{process.pid}/cgroup") or b""
        if _SERVICE.search(cgroup) and not _SSHD_SERVICE.search(cgroup):
            continue  # a unit's, a user manager's, cron's or at's: somebody wants it to run
        program = is_server(process)
        if process.comm in SSHD and parse_title(proc.title(process.pid)):
            yield _of("unsupervised", "the privileged half of its sshd is gone", proc, clock, process)
        elif program:
            yield _of("multiplexer", f"a {program} server outside of any session", proc, clock, process)
        elif not process.tty and process.sid not in table:
            yield _of("orphan", "its shell has ended", proc, clock, process)
        elif uid not in here and process.comm != "mosh-server":
            yield _of("no_session", "its user has no session", proc, clock, process)


def _multiplexers(clock: Clock, sessions: Sequence[Session]) -> Iterable[Leftover]:
    boxes: list[tuple[Session, Multiplexer]] = [(s, box) for s in sessions for box in s.work.multiplexers]
    for session, box in boxes:
        if box.attached == 0:
            age = max(0, int(clock.boot - box.start_time / clock.hz))
            why = f"nobody is attached to this {box.program}"
            yield Leftover(
                "multiplexer",
                why,
                box.pid,
                box.start_time,
                box.uid,
                None,
                box.program,
                box.socket,
                age,
                session.logind_id,
            )


def _locks(root: str, clock: Clock, pids: set[int]) -> Iterable[Leftover]:
    """Lock files that hold the pid of a process that is gone (the UUCP and X11 convention)."""
    seen: set[tuple[int, int]] = set()
    for folder in _LOCK_FOLDERS:
        try:
            handle = os.open(os.path.join(root, folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            for name in os.listdir(handle):
                if not _LOCK_NAME.match(name):
                    continue
                found = _lock_file(handle, name)
                if not found or (found[1].st_dev, found[1].st_ino) in seen:
                    continue
                pid, facts = found
                seen.add((facts.st_dev, facts.st_ino))
                if pid not in pids:
                    path = os.path.join("/", folder, visible(name))
                    age = max(0, int(clock.now - facts.st_mtime))
                    yield Leftover("stale_lock", f"it names pid {pid}, which is gone", None, None, facts.st_uid,
                                   path=path, age=age)  # fmt: skip
        finally:
            os.close(handle)


def _lock_file(folder: int, name: str) -> tuple[int, os.stat_result] | None:
    """The pid in a lock file; in folders that all may write to nothing is followed or waited for."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    try:
        facts = os.fstat(handle)
        text = os.read(handle, 64).strip() if stat.S_ISREG(facts.st_mode) else b""
        return (int(text), facts) if re.fullmatch(rb"[0-9]{1,9}", text) else None
    except OSError:
        return None
    finally:
        os.close(handle)
