# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who ends what: of several that run at once, one alone ends a session.

A claim is a file below /run that only root reads, held by flock(2), so that the kernel gives it back when its holder is
killed. What it says of the session's processes then lets the next run finish what was begun: once sshd is gone,
nothing else tells that they were to be ended.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from typing import Any, Iterator, NamedTuple

FOLDER = "/run/session-policy/ending"
_NEW = 60.0  # seconds


class Claim(NamedTuple):
    name: str
    handle: int


class Claims:
    """The claims in `folder`, which is made when it is needed.

    Raises (each method):
        OSError: the folder or a claim cannot be made or read, so that nothing may be ended.
    """

    def __init__(self, folder: str = FOLDER) -> None:
        self.folder = folder

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def take(self, name: str) -> Claim | None:
        """Claim what `name` stands for; None where somebody else has it."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        return self._lock(name, os.O_CREAT)

    def note(self, claim: Claim, record: dict[str, Any]) -> None:
        """Write what a later run needs if this one is killed."""
        os.truncate(claim.handle, 0)
        os.pwrite(claim.handle, json.dumps(record).encode("utf-8", "backslashreplace"), 0)

    def _lock(self, name: str, flags: int) -> Claim | None:
        while True:
            try:
                handle = os.open(self._path(name), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
            except FileNotFoundError:
                return None
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return None
            if self._is_still(name, handle):
                return Claim(name, handle)
            os.close(handle)  # Its holder let it go between our open and our lock.

    def _is_still(self, name: str, handle: int) -> bool:
        try:
            return os.path.samestat(os.stat(self._path(name), follow_symlinks=False), os.fstat(handle))
        except FileNotFoundError:
            return False

    def _is_new(self, name: str) -> bool:
        """Whether its holder may be between opening and locking it: our own lock would turn them away."""
        try:
            found = os.stat(self._path(name), follow_symlinks=False)
        except FileNotFoundError:
            return True
        return found.st_size == 0 and time.time() - found.st_mtime < _NEW

    def release(self, claim: Claim) -> None:
        try:
            os.unlink(self._path(claim.name))
        except FileNotFoundError:
            pass
        os.close(claim.handle)

    def abandoned(self) -> Iterator[tuple[Claim, dict[str, Any]]]:
        """The claims whose holder was killed, taken over, with what they say; an unreadable one says nothing."""
        try:
            names = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return
        for name in names:
            claim = None if self._is_new(name) else self._lock(name, 0)
            if claim is None:
                continue
            try:
                record = json.loads(os.pread(claim.handle, 1 << 20, 0))
            except ValueError:
                record = {}
            yield claim, record if isinstance(record, dict) else {}
