# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""File locks that processes hold (/proc/locks, proc(5))."""

from __future__ import annotations

import os
from typing import NamedTuple

from ..model import Lock, visible
from .procfs import Proc


class Held(NamedTuple):
    pid: int
    kind: str
    mode: str
    inode: int


def parse_locks(data: bytes) -> list[Held]:
    """The locks held; those that are waited for (``->``) and those without a pid (OFD locks) are left out."""
    found = []
    for line in data.decode("utf-8", "replace").splitlines():
        words = line.split()
        if len(words) != 8 or words[1] == "->":
            continue
        try:
            pid, inode = int(words[4]), int(words[5].rsplit(":", 1)[-1])
        except ValueError:
            continue
        if pid > 0 and words[1] in ("POSIX", "FLOCK"):
            found.append(Held(pid, words[1], words[3], inode))
    return found


def by_pid(data: bytes) -> dict[int, list[Held]]:
    found: dict[int, list[Held]] = {}
    for held in parse_locks(data):
        found.setdefault(held.pid, []).append(held)
    return found


def named(proc: Proc, held: Held) -> Lock:
    """The lock with the path by which its holder has the file open."""
    path: str | None = None
    for number, target in proc.descriptors(held.pid):
        if target.startswith("/"):
            try:
                if os.stat(f"{proc.root}/{held.pid}/fd/{number}").st_ino == held.inode:
                    path = visible(target)
                    break
            except OSError:
                continue
    return Lock(held.pid, held.kind, held.mode, path)
