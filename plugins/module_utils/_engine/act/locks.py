# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stale locks into a trash folder, so that one that is wanted after all comes back with mv or cp.

Their owners can rename and link what they like meanwhile. So the folder is held by its descriptor and the file by its
own; both kinds of lock are taken on it first, so that nobody gets one while we look; it is compared once more after it
was moved aside, and goes back under its name if it was another by then or somebody had opened it.

    /var/lib/session-policy/trash/2026-01-31/081500-1a2b3c4d-NAME        the file, with its owner, mode and times
    /var/lib/session-policy/trash/2026-01-31/081500-1a2b3c4d-NAME.json   where it was
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import stat
import time
from typing import Callable, NamedTuple

from ..files import File, World, forget, make_folder, open_folder, write_new, xattrs
from ..journal import STATE
from ..model import iso, visible
from ..observe.lock_files import LockFile, belongs, held, open_folder_at, open_to_look
from ..observe.procfs import Proc

TRASH = f"{STATE}/trash"
#: What is copied to another file system is no larger than this, bytes.
_LARGEST_COPY = 1 << 28


class Taken(NamedTuple):
    """What became of one file: in the trash at `trash`; or `because` of a reason still there ("gone": it went by
    itself); or `trouble`, a sentence."""

    trash: str | None = None
    because: str | None = None
    trouble: str | None = None


class Trash:
    """Moves stale locks below `folder`. `stop` is called between the steps by tests."""

    def __init__(
        self, folder: str = TRASH, proc: str = "/proc", stop: Callable[[str], None] = lambda step: None
    ) -> None:
        self.folder, self._proc, self._stop = folder, proc, stop

    def take(self, lock: LockFile, now: float, again: Callable[[int, os.stat_result], LockFile | None]) -> Taken:
        """Move `lock` away if it still is what was seen; `again` examines the open file.

        Raises:
            OSError: the trash folder can't be made, and nothing was touched.
        """
        day = time.strftime("%Y-%m-%d", time.gmtime(now))
        into = self._open(day)
        try:
            return self._take(lock, now, again, into, day)
        finally:
            os.close(into)

    def _open(self, day: str) -> int:
        """A descriptor of today's folder, which nobody but root reads."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        handle = open_folder("/", self.folder)
        try:
            os.fchmod(handle, 0o700)
            make_folder(World(), handle, day, 0o700, os.geteuid(), os.getegid())
            return open_folder_at(day, handle)
        finally:
            os.close(handle)

    def _take(
        self,
        lock: LockFile,
        now: float,
        again: Callable[[int, os.stat_result], LockFile | None],
        into: int,
        day: str,
    ) -> Taken:
        folder_path, name = os.path.split(lock.path)
        try:
            folder = open_folder("/", folder_path)
        except FileNotFoundError:
            return Taken(because="gone")
        except OSError:
            return Taken(because="changed")
        try:
            self._stop("folder")
            try:
                handle = open_to_look(name, folder, lock.facts, os.O_RDWR)
            except FileNotFoundError:
                return Taken(because="gone")
            except OSError as problem:
                # A link, a lease, a running program; or a file system that may not be written.
                known = problem.errno in (errno.ELOOP, errno.EWOULDBLOCK, errno.ETXTBSY, errno.ENXIO, errno.EISDIR)
                return Taken(because="changed") if known else Taken(trouble=problem.strerror)
            try:
                return self._take_open(lock, now, again, (folder, name, handle), into, day)
            finally:
                os.close(handle)
        finally:
            os.close(folder)

    def _take_open(
        self,
        lock: LockFile,
        now: float,
        again: Callable[[int, os.stat_result], LockFile | None],
        at: tuple[int, str, int],
        into: int,
        day: str,
    ) -> Taken:
        folder, name, handle = at
        if not _same(os.fstat(handle), lock.facts) or not belongs(os.fstat(folder), lock.facts):
            return Taken(because="changed")
        is_file = stat.S_ISREG(lock.facts.st_mode)
        if is_file and not _lock(handle):
            return Taken(because="held")
        found = again(handle, os.fstat(handle))
        if found is None or set(found.blocked) - set(lock.blocked):
            return Taken(because="changed")
        if self._held(lock):
            return Taken(because="held")
        self._stop("checked")
        # The name of what was seen, or of what has its place now: that shows afterwards.
        short = os.fsdecode(os.fsencode(name)[:180])
        new = f"{time.strftime('%H%M%S', time.gmtime(now))}-{secrets.token_hex(4)}-{short}"
        aside, elsewhere = into, new
        try:
            try:
                os.rename(name, new, src_dir_fd=folder, dst_dir_fd=into)
            except OSError as problem:
                if problem.errno != errno.EXDEV:
                    raise
                if is_file and lock.facts.st_size > _LARGEST_COPY:
                    return Taken(trouble="it is too large to be copied to the file system of the trash folder")
                self._copy(handle, lock, into, new)
                # Beside it, under a name that says what it was, for the moment in which it is compared.
                aside, elsewhere = folder, f".{short}.{new[:15]}"
                os.rename(name, elsewhere, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as problem:
            forget(World(), into, new)  # a copy that came to nothing
            gone = isinstance(problem, FileNotFoundError)
            return Taken(because="gone") if gone else Taken(trouble=problem.strerror)
        self._stop("moved")
        why = self._wrong(lock, aside, elsewhere)
        if why:
            if aside == folder:
                forget(World(), into, new)
            back = _put_back(aside, elsewhere, folder, name)
            if back:
                return Taken(because=why)
            place = os.path.join(self.folder, day) if aside == into else os.path.dirname(lock.path)
            return Taken(
                trouble=f"it was {why} while it was moved, and its name is taken: it is {visible(place)}/"
                f"{visible(elsewhere)} now"
            )
        if aside == folder:
            os.unlink(elsewhere, dir_fd=folder)
        self._note(lock, now, into, new)
        return Taken(os.path.join(self.folder, day, new))

    def _held(self, lock: LockFile) -> bool:
        proc = Proc(self._proc)
        try:
            return bool(held(proc, {lock.inode}, {os.getpid()}))
        finally:
            proc.close()

    def _wrong(self, lock: LockFile, aside: int, name: str) -> str | None:
        """Why what was moved has to go back."""
        try:
            facts = os.stat(name, dir_fd=aside, follow_symlinks=False)
        except FileNotFoundError:
            return "changed"
        # ctime moves with a rename.
        if not _same(facts, lock.facts, moved=True):
            return "changed"
        return "held" if self._held(lock) else None

    def _copy(self, handle: int, lock: LockFile, into: int, name: str) -> None:
        """The file with its owner, mode, times and attributes; of a socket or FIFO an empty one of its kind."""
        facts = lock.facts
        if stat.S_ISREG(facts.st_mode):
            data = os.pread(handle, facts.st_size, 0)
            owner = (facts.st_uid, facts.st_gid)
            write_new(
                World(), into, name, File(data, stat.S_IMODE(facts.st_mode), *owner, xattrs(handle), facts.st_mtime_ns)
            )
        else:
            os.mknod(name, facts.st_mode, dir_fd=into)
            os.chown(name, facts.st_uid, facts.st_gid, dir_fd=into, follow_symlinks=False)

    def _note(self, lock: LockFile, now: float, into: int, name: str) -> None:
        """Where it was, beside it, for a person."""
        said = {"path": visible(lock.path), "why": lock.why, "when": iso(now), "uid": lock.facts.st_uid}
        text = json.dumps(said, indent=1).encode("utf-8", "backslashreplace") + b"\n"
        try:
            write_new(World(), into, f"{name}.json", File(text, 0o600, os.geteuid(), os.getegid()))
        except OSError:
            pass  # A full disk: what was moved is there, and the log says from where.


def _same(now: os.stat_result, before: os.stat_result, moved: bool = False) -> bool:
    fields = ["st_dev", "st_ino", "st_mode", "st_uid", "st_gid", "st_nlink", "st_size", "st_mtime_ns"]
    return all(getattr(now, field) == getattr(before, field) for field in fields + ["st_ctime_ns"] * (not moved))


def _lock(handle: int) -> bool:
    """Take both kinds of lock (flock(2) and fcntl(2)) that others may ask for, until the descriptor is closed."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _put_back(aside: int, elsewhere: str, folder: int, name: str) -> bool:
    """Give it its name again, unless something else has that by now."""
    try:
        facts = os.stat(elsewhere, dir_fd=aside, follow_symlinks=False)
    except FileNotFoundError:
        return True  # It was taken out of its owner's own folder: theirs again.
    try:
        if stat.S_ISDIR(facts.st_mode):
            os.rename(elsewhere, name, src_dir_fd=aside, dst_dir_fd=folder)  # replaces nothing but an empty directory
        else:
            os.link(elsewhere, name, src_dir_fd=aside, dst_dir_fd=folder, follow_symlinks=False)
            os.unlink(elsewhere, dir_fd=aside)
    except OSError:
        return False
    return True
