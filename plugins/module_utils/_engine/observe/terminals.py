# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether output to a terminal or a pipe stands still, and why; nothing is written to it, and no time stamp moves.

A frozen ssh client need not leave a byte unacknowledged: its kernel goes on acknowledging, and sshd stops reading what
the session says when the channel's window (2 MiB) is used up. A terminal then looks like one that Ctrl-S stopped, but
for what waits in its master; of a command without a terminal the pipe from it stays full.
"""

from __future__ import annotations

import os
import re
import select

from .procfs import Proc

# The same numbers on every architecture but alpha; Python has no name for the second.
_PIDFD_OPEN, _PIDFD_GETFD = 434, 438


def takes_output(path: str) -> bool:
    """Whether the terminal at `path` takes output (or is gone): poll(2) says so."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        return _polls(handle, select.POLLOUT | select.POLLHUP, select.POLLOUT)
    finally:
        os.close(handle)


def _polls(handle: int, wanted: int, asked: int) -> bool:
    poll = select.poll()
    poll.register(handle, asked)
    return any(event & wanted for _handle, event in poll.poll(0))


def unread(proc: Proc, pid: int, tty: str) -> bool | None:
    """Whether output waits in the master of pts/N that process `pid` holds; None where that can't be known."""
    master = next(
        (n for n, target in proc.descriptors(pid) if target.endswith("ptmx") and _index(proc, pid, n) == tty), None
    )
    return None if master is None else _waits(proc, pid, master)


def unread_pipe(proc: Proc, pid: int, writer: int) -> bool | None:
    """Whether what process `writer` said on its stdout or stderr waits in a pipe that process `pid` should empty."""
    said = {proc.link(f"{writer}/fd/{number}") for number in (1, 2)}
    pipes = [n for n, target in proc.descriptors(pid) if target.startswith("pipe:") and target in said]
    known = [_waits(proc, pid, number) for number in pipes]
    return True if True in known else None if None in known else False


def _waits(proc: Proc, pid: int, number: int) -> bool | None:
    """Whether there is something to read at descriptor `number` of process `pid`; nothing is taken from it.

    pidfd_getfd(2) (Linux 5.6) lends us the descriptor; opening a terminal's master by its name would make a new one.
    """
    if proc.root != "/proc":
        return None
    try:
        import ctypes  # 10 ms, and hardly ever needed

        libc = ctypes.CDLL(None, use_errno=True)
        pidfd = libc.syscall(_PIDFD_OPEN, pid, 0)
        if pidfd < 0:
            return None
        try:
            handle = libc.syscall(_PIDFD_GETFD, pidfd, number, 0)
        finally:
            os.close(pidfd)
    except (ImportError, OSError, AttributeError):
        return None
    if handle < 0:
        return None
    try:
        return _polls(handle, select.POLLIN, select.POLLIN)
    finally:
        os.close(handle)


def _index(proc: Proc, pid: int, number: int) -> str | None:
    found = re.search(rb"^tty-index:\s*([0-9]+)$", proc.read(f"{pid}/fdinfo/{number}", 4096) or b"", re.M)
    return f"pts/{int(found.group(1))}" if found else None
