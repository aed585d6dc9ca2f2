# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""tmux and screen servers: which there are, and whether somebody is attached.

tmux is asked over the very socket its server listens on, as its owner. A screen says it by the mode of its socket
(screen(1), "-ls": 0700 is attached, 0600 detached), so it is not asked at all.
"""

from __future__ import annotations

import os
import re
import stat
from typing import Iterable, NamedTuple, Sequence

from ..model import Clock, Multiplexer, Process, iso, visible
from .command import Command, Runner
from .procfs import Proc
from .sockets import socket_inode

_FORMAT = "#{pid} #{session_attached} #{session_created} #{session_activity} #{session_name}"


class Server(NamedTuple):
    program: str
    process: Process
    uid: int
    gid: int


def parse_unix(data: bytes) -> dict[int, str]:
    """Path by inode of the listening sockets in /proc/net/unix."""
    rows = re.findall(rb"^\S+ \S+ \S+ 00010000 \S+ \S+ +([0-9]+) (/.*)$", data, re.M)  # __SO_ACCEPTCON
    return {int(inode): path.decode("utf-8", "surrogateescape") for inode, path in rows}


def multiplexers(
    proc: Proc, servers: Sequence[Server], run: Runner, clock: Clock, screen_folder: str
) -> tuple[dict[int, Multiplexer], list[str]]:
    """What each server says of itself, by pid, and a sentence for each that does not answer."""
    found: dict[int, Multiplexer] = {}
    warnings: list[str] = []
    paths = socket_paths(proc, [server for server in servers if server.program == "tmux"])
    for server in servers:
        pid = server.process.pid
        if server.program == "screen":
            found[pid] = _screen(server, screen_folder)
        else:
            path = paths.get(pid)
            found[pid] = Multiplexer("tmux", pid, server.process.start, server.uid, visible(path) if path else None)
    tmuxes = [(server, paths[server.process.pid]) for server in servers if server.process.pid in paths]
    questions = {
        str(server.process.pid): as_owner(server, ("tmux", "-S", path, "list-sessions", "-F", _FORMAT))
        for server, path in tmuxes
    }
    answers = run(questions) if questions else {}
    for server, path in tmuxes:
        pid = server.process.pid
        answer = answers[str(pid)]
        said = parse_tmux(answer.out if answer.rc == 0 else "", pid, clock)
        if said is None:
            warnings.append(
                f"the tmux server {pid} (socket {visible(path)}) does not answer: attached or not is unknown"
            )
        else:
            names, attached, created, activity = said
            found[pid] = found[pid]._replace(
                names=names, attached=attached, created_at=iso(created), activity_age=activity
            )
    return found, warnings


def socket_paths(proc: Proc, servers: Iterable[Server]) -> dict[int, str]:
    """Where each of these tmux servers listens, by pid."""
    found: dict[int, str] = {}
    listening: dict[int, str] | None = None
    for server in servers:
        if listening is None:
            listening = parse_unix(proc.table("net/unix"))
        inodes = [socket_inode(target) for _number, target in proc.descriptors(server.process.pid)]
        path = next((listening[inode] for inode in inodes if inode in listening), None)
        if path:
            found[server.process.pid] = path
    return found


def as_owner(server: Server, argv: tuple[str, ...]) -> Command:
    """`argv` as the server's owner, without a terminal of ours: what listens there may be anything."""
    return Command(argv, ids=(server.uid, server.gid, (server.gid,)) if os.geteuid() == 0 else None)


def parse_tmux(answer: str, pid: int, clock: Clock) -> tuple[tuple[str, ...], int, float, int] | None:
    """Names, clients attached, when the first session was created, and seconds since the last activity.

    None where it is no answer of server `pid`: another may have taken its socket's path.
    """
    rows = re.findall(rf"^{pid} (\d{{1,9}}) (\d{{1,12}}) (\d{{1,12}}) (.*)$", answer, re.M)
    if not rows:
        return None
    newest = max(int(row[2]) for row in rows)
    names = tuple(visible(row[3])[:64] for row in rows[:32])
    return names, sum(int(row[0]) for row in rows), min(int(row[1]) for row in rows), max(0, int(clock.now) - newest)


def _screen(server: Server, folder: str) -> Multiplexer:
    process = server.process
    nothing = Multiplexer("screen", process.pid, process.start, server.uid, None)
    found = screen_socket(server, folder)
    if found is None:
        return nothing
    path, facts = found
    return nothing._replace(
        socket=visible(path),
        names=(visible(os.path.basename(path).partition(".")[2]),),
        attached=int(bool(facts.st_mode & 0o100)) if stat.S_ISSOCK(facts.st_mode) else None,
    )


def screen_socket(server: Server, folder: str) -> tuple[str, os.stat_result] | None:
    """The socket of a screen, by lstat alone, in a folder that only root can put users' folders into."""
    try:
        owned = [entry.path for entry in os.scandir(folder) if entry.stat(follow_symlinks=False).st_uid == server.uid]
        for path in owned:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                for name in os.listdir(handle):
                    if name.startswith(f"{server.process.pid}."):
                        return os.path.join(path, name), os.stat(name, dir_fd=handle, follow_symlinks=False)
            finally:
                os.close(handle)
    except OSError:
        pass
    return None
