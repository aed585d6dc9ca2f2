# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signals that reach the process that was seen, and never another that has its pid now.

A pidfd is opened first and the process compared with what was seen afterwards: from then on the descriptor means this
process alone, whoever gets its number (pidfd_open(2), Linux 5.3 and Python 3.9). Where there are no pidfds the process
is compared once more right before each kill(2).
"""

from __future__ import annotations

import os
import select
import signal
import time
from typing import Iterable, NamedTuple, Sequence

from ..model import Member, Process
from ..observe.procfs import Proc

#: The handle of a process where the kernel or Python has no pidfds.
NO_PIDFD = -1
_TICK = 0.02  # seconds between two looks where nothing can be polled


class Identity(NamedTuple):
    """Which process is meant: a pid alone is used again."""

    pid: int
    start_time: int  # ticks after boot
    uid: int | None
    command: str

    @classmethod
    def of(cls, member: Member) -> Identity:
        return cls(member.pid, member.start_time, member.uid, member.command)


class Kernel:
    """This host's processes, terminals and clocks. Tests put a world of their own in its place."""

    def __init__(self, proc: str = "/proc") -> None:
        self._root = proc
        self._namespace = self.namespace(os.getpid())

    def _proc(self) -> Proc:
        return Proc(self._root)

    def open(self, pid: int) -> int | None:
        """A pidfd of what has this pid now, `NO_PIDFD` where there are none, None where nothing has it."""
        try:
            return os.pidfd_open(pid) if hasattr(os, "pidfd_open") else NO_PIDFD
        except ProcessLookupError:
            return None
        except OSError:  # ENOSYS, or a sandbox that forbids it
            return NO_PIDFD

    def close(self, handle: int) -> None:
        if handle != NO_PIDFD:
            os.close(handle)

    def look(self, pid: int) -> Process | None:
        proc = self._proc()
        try:
            return proc.process(pid)
        finally:
            proc.close()

    def uid(self, pid: int) -> int | None:
        proc = self._proc()
        try:
            return proc.uid(pid)
        finally:
            proc.close()

    def namespace(self, pid: int) -> str | None:
        proc = self._proc()
        try:
            return proc.pid_namespace(pid)
        finally:
            proc.close()

    def ours(self, pid: int) -> bool:
        """Whether the process lives in our PID namespace."""
        return self._namespace is not None and self.namespace(pid) == self._namespace

    def send(self, handle: int, pid: int, number: int) -> None:
        """Raises ProcessLookupError where the process is gone."""
        if handle == NO_PIDFD:
            os.kill(pid, number)
        else:
            signal.pidfd_send_signal(handle, number)

    def ended(self, handles: Sequence[int], seconds: float) -> set[int]:
        """Wait until one of these pidfds is of a process that has ended, at most so long; those that are."""
        if not handles:
            time.sleep(seconds)
            return set()
        poll = select.poll()
        for handle in handles:
            poll.register(handle, select.POLLIN)
        return {handle for handle, _event in poll.poll(max(0, int(seconds * 1000)))}

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


class Grip:
    """A hold on one process, for as long as it lives."""

    def __init__(self, kernel: Kernel, identity: Identity, handle: int) -> None:
        self.kernel, self.identity, self.handle = kernel, identity, handle
        self._gone = False

    @classmethod
    def on(cls, kernel: Kernel, identity: Identity) -> Grip | None:
        """None where the process is gone, or is not the one that was seen."""
        handle = kernel.open(identity.pid)
        if handle is None:
            return None
        if is_same(kernel, identity):
            return cls(kernel, identity, handle)
        kernel.close(handle)
        return None

    def send(self, number: int) -> bool:
        """Whether the signal went to the process; a zombie takes none."""
        if self.gone() or (self.handle == NO_PIDFD and not is_same(self.kernel, self.identity)):
            return False
        try:
            self.kernel.send(self.handle, self.identity.pid, number)
        except ProcessLookupError:
            self._gone = True
            return False
        return True

    def gone(self) -> bool:
        if not self._gone:
            if self.handle == NO_PIDFD:
                self._gone = not lives(self.kernel, self.identity)
            else:
                self._gone = self.handle in self.kernel.ended([self.handle], 0)
        return self._gone

    def release(self) -> None:
        self.kernel.close(self.handle)


def lives(kernel: Kernel, identity: Identity) -> bool:
    """Whether the process that was seen is there still; a zombie is gone."""
    process = kernel.look(identity.pid)
    return process is not None and process.start == identity.start_time and process.state not in "ZX"


def is_same(kernel: Kernel, identity: Identity) -> bool:
    """Whether what has the pid now is the process that was seen: its start, its owner, and in our PID namespace."""
    return (
        lives(kernel, identity)
        and (identity.uid is None or kernel.uid(identity.pid) == identity.uid)
        and kernel.ours(identity.pid)
    )


def wait(kernel: Kernel, grips: Iterable[Grip], seconds: float) -> None:
    """Until one of the processes has ended, at most so long."""
    waiting = [grip for grip in grips if not grip.gone()]
    handles = [grip.handle for grip in waiting if grip.handle != NO_PIDFD]
    kernel.ended(handles, min(seconds, _TICK) if len(handles) < len(waiting) else seconds)
