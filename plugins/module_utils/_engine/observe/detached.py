# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tmux and screen sessions to which nobody is attached, each session of a server by itself."""

from __future__ import annotations

import os
import re
import stat
from typing import NamedTuple, Sequence

from ..model import Clock
from .command import Command, Runner
from .multiplexers import Server, as_owner, screen_socket, socket_paths
from .procfs import Proc

_SESSIONS = (
    "S #{pid} #{session_id} #{session_attached} #{session_created} #{session_last_attached}: "
    "#{session_activity} #{session_name}"
)
_PANES = "P #{session_id} #{pane_pid}"
#: Seconds that a program has to end one of its sessions.
LIMIT = 5.0


class Box(NamedTuple):
    """One session of a tmux or screen server; names as the program has them, times in seconds since the epoch."""

    server: Server
    socket: str
    session: str  # tmux's id ($3), screen's PID.NAME
    name: str
    attached: int
    used: float  # when somebody was last attached, or it was made
    active: float  # of its last input
    panes: tuple[int, ...]  # pids of the shells in it; of a screen, of its server


class Detached(NamedTuple):
    boxes: tuple[Box, ...]
    silent: tuple[Server, ...]  # those that could not be asked


def ask(proc: Proc, servers: Sequence[Server], run: Runner, screen_folder: str) -> Detached:
    """Every session of these servers, attached or not."""
    boxes: list[Box] = []
    silent: list[Server] = []
    paths = socket_paths(proc, [server for server in servers if server.program == "tmux"])
    answers = run({str(s.process.pid): _question(s, paths[s.process.pid]) for s in servers if s.process.pid in paths})
    for server in servers:
        pid = server.process.pid
        found: list[Box] = []
        if server.program == "screen":
            found = _of_screen(server, screen_folder)
        elif pid in paths and answers[str(pid)].rc == 0:
            found = parse(answers[str(pid)].out, server, paths[pid])
        boxes += found
        if not found:
            silent.append(server)
    return Detached(tuple(boxes), tuple(silent))


def _question(server: Server, path: str) -> Command:
    return as_owner(
        server, ("tmux", "-S", path, "list-sessions", "-F", _SESSIONS, ";", "list-panes", "-a", "-F", _PANES)
    )


def parse(answer: str, server: Server, path: str) -> list[Box]:
    """The sessions in tmux's answer; none where another server gives it. One never attached was used when made."""
    row = rf"^S {server.process.pid} (\$\d{{1,9}}) (\d{{1,9}}) (\d{{1,12}}) (\d{{0,12}}): (\d{{1,12}}) (.*)$"
    panes: dict[str, list[int]] = {}
    for session, pid in re.findall(r"^P (\$\d{1,9}) (\d{1,9})$", answer, re.M):
        panes.setdefault(session, []).append(int(pid))
    return [
        Box(
            server,
            path,
            session,
            name,
            int(attached),
            float(last or created),
            float(active),
            tuple(panes.get(session, ())),
        )
        for session, attached, created, last, active, name in re.findall(row, answer, re.M)
    ]


def _of_screen(server: Server, folder: str) -> list[Box]:
    """A screen changes its socket's mode when somebody attaches or leaves (screen(1)): ctime is when it did."""
    found = screen_socket(server, folder)
    if found is None or not stat.S_ISSOCK(found[1].st_mode):
        return []
    path, facts = found
    session = os.path.basename(path)
    attached = int(bool(facts.st_mode & 0o100))
    name = session.partition(".")[2]
    return [Box(server, path, session, name, attached, facts.st_ctime, 0.0, (server.process.pid,))]


def state_of(proc: Proc, box: Box, run: Runner, screen_folder: str) -> str:
    """What `box` is now: detached, attached, gone or silent (its server does not answer)."""
    now = proc.process(box.server.process.pid)
    if now is None or now.start != box.server.process.start or now.state == "Z":
        return "gone"
    found = ask(proc, [box.server], run, screen_folder)
    same = [other for other in found.boxes if other.session == box.session]
    if not same:
        return "silent" if found.silent else "gone"
    return "attached" if same[0].attached else "detached"


def ending(box: Box) -> Command:
    """The program's own command, as its owner. tmux looks itself whether somebody has attached meanwhile."""
    if box.server.program == "screen":
        return as_owner(box.server, ("screen", "-S", box.session, "-X", "quit"))
    free = f"#{{&&:#{{==:#{{pid}},{box.server.process.pid}}},#{{==:#{{session_attached}},0}}}}"
    target = f"{box.session}:"
    return as_owner(
        box.server,
        ("tmux", "-S", box.socket, "if-shell", "-F", "-t", target, free, f"kill-session -t '{box.session}'"),
    )


def quiet_since(box: Box, clock: Clock, dev: str, ttys: Sequence[str]) -> tuple[int, int]:
    """Seconds since somebody was attached, and since something was typed or written in it."""
    moments = [box.active, *([box.used] if not box.active else [])]
    for tty in ttys:
        try:
            facts = os.stat(f"{dev}/{tty}")
        except OSError:
            continue
        moments += [facts.st_atime, facts.st_mtime]
    return max(0, int(clock.now - box.used)), max(0, int(clock.now - max(moments)))
