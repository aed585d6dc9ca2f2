# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes of a session are meant to outlive it, and how that shows.

multiplexer: a tmux or screen server and what runs in it; setsid: it left the session's terminal for a session of its
own; nohup: it ignores SIGHUP (SigIgn of /proc/PID/status); background: it runs behind the prompt, where a shell hangs
up what it was not told to disown, or the shell that started it has ended already.
"""

from __future__ import annotations

import re
import signal
from typing import Iterable

from ..model import MOSH, Process, Session
from .draft import SSHD, is_server
from .procfs import Proc

_HANGUP = 1 << (signal.SIGHUP - 1)


def ignores_hangup(proc: Proc, pid: int) -> bool:
    mask = re.search(rb"^SigIgn:\s*([0-9a-f]+)$", proc.read(f"{pid}/status") or b"", re.M)
    return bool(mask and int(mask.group(1), 16) & _HANGUP)


def outliving(proc: Proc, session: Session) -> dict[int, str]:
    """How each process that would outlive `session` shows that it is meant to, by pid.

    Of a session whose leader is gone nothing but multiplexers: it *is* what it left behind.
    """
    table: dict[int, Process] = {}
    for member in session.processes:
        process = proc.process(member.pid)
        if process and process.start == member.start_time:
            table[process.pid] = process
    found = dict.fromkeys(_inside_multiplexers(table), "multiplexer")
    if session.leader.start_time is None:
        return found
    roots = {session.leader.pid, *(channel.pid for channel in session.channels)}
    roots.update(process.pid for process in table.values() if process.comm in SSHD)
    sids = {table[pid].sid for pid in roots if pid in table}
    front = {process.pgrp for process in table.values() if process.tty and process.pgrp == process.tpgid}
    above = {pid for process in table.values() if process.pgrp in front for pid in line_above(table, process)}
    for process in table.values():
        pid = process.pid
        leads = bool(process.tty) and process.sid == pid  # a shell at its terminal, sudo's and su's too
        if pid in found or pid in roots or leads or (session.kind == MOSH and process.ppid in roots):
            continue
        if not process.tty and process.sid not in sids:
            found[pid] = "setsid" if process.sid in table else "background"
        elif ignores_hangup(proc, pid):
            found[pid] = "nohup"
        elif process.tty and process.pgrp not in front and pid not in above and process.state not in "Tt":
            found[pid] = "background"
    return found


def _inside_multiplexers(table: dict[int, Process]) -> Iterable[int]:
    servers = {process.pid for process in table.values() if is_server(process)}
    return [pid for pid, process in table.items() if servers.intersection((pid, *line_above(table, process)))]


def line_above(table: dict[int, Process], process: Process) -> list[int]:
    """The pids above `process` within the session."""
    line: list[int] = []
    while process.ppid in table and process.ppid not in line:
        line.append(process.ppid)
        process = table[process.ppid]
    return line
