# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lock files, swap files and sockets whose process is gone.

Looked for where sessions leave them (homes, /tmp, /var/tmp, /run/lock) and where the operator says. Everything is
opened by its folder's descriptor, nothing is followed or waited for, and only local file systems are asked: a lock on a
network's may be another host's, and may hang.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import socket
import stat
import threading
from typing import Callable, Collection, Iterator, NamedTuple, TypeVar

from ..files import Refused, locate, open_folder
from ..model import Clock
from .procfs import Proc

# Uids that people have (login.defs(5), UID_MIN); 65534 is nobody.
FIRST_PERSON, NOBODY = 1000, 65534
#: Seconds that the file systems have.
PATIENCE = 5.0
_MOST = 10_000
_LOCAL = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "tmpfs", "ramfs", "overlay", "vfat")
_BY_NAME, _BY_PATTERN, _OF_SOCKETS = "by name", "by pattern", "sockets"
_SHARED = ("/tmp", "/var/tmp", "/run/lock")
_IN_HOME = ("", "tmp", ".vim", ".vim/swap", ".vim/tmp", ".cache/vim", ".cache/vim/swap", ".local/state/nvim/swap",
            ".local/share/nvim/swap")  # fmt: skip
_SWAP = re.compile(r"\.sw[a-p]\Z")
_X_LOCK = re.compile(r"\.X[0-9]+-lock\Z")
_LOCK = re.compile(r"(?:LCK\.\..+|.+\.(?:lock|pid))\Z", re.S)
#: Folders of sockets by pattern; a socket there that nobody serves is stale.
_SOCKETS = ("/tmp/.X11-unix/X*", "/run/screen/S-*/*", "/tmp/tmux-*/*")
# A process that began this much later than the file was written did not write it; seconds.
_LATER = 10.0
# The first block of a vim or neovim swap file (struct block0 of memline.c): magic, creator's pid, host, flags.
_BLOCK0, _HEADER = (b"b0", b"bc", b"bC", b"bd"), 1008
_PID, _HOST, _DIRTY = slice(24, 28), slice(68, 108), 1007
_IS_DIRTY = 0x55  # B0_DIRTY

_T = TypeVar("_T")


class LockFile(NamedTuple):
    """One stale file as it was seen. `path` is real and as the kernel has it."""

    path: str
    cause: str  # as in model.Leftover
    why: str
    blocked: tuple[str, ...]
    facts: os.stat_result
    by_name: bool = False  # a pattern without a wildcard is its path

    @property
    def inode(self) -> tuple[int, int]:
        return self.facts.st_dev, self.facts.st_ino


class Examiner:
    """Says of one open file whether it is stale."""

    def __init__(self, proc: Proc, clock: Clock) -> None:
        self._proc, self._clock = proc, clock
        self._host = (proc.read("sys/kernel/hostname", 256) or b"").strip()

    def examine(self, handle: int, path: str, facts: os.stat_result, named: bool) -> LockFile | None:
        """None for what is in use or no lock; `named`: the operator's pattern says that it is one."""
        found = self._judge(handle, os.path.basename(path), facts, named)
        if found is None:
            return None
        cause, why, blocked = found
        if facts.st_nlink != 1:
            blocked = (*blocked, "hard_links")  # a lock that is being taken (link(2)), or another's file
        return LockFile(path, cause, why, blocked, facts)

    def _judge(
        self, handle: int, name: str, facts: os.stat_result, named: bool
    ) -> tuple[str, str, tuple[str, ...]] | None:
        if stat.S_ISSOCK(facts.st_mode) or stat.S_ISFIFO(facts.st_mode):
            return ("no_server", "nobody serves this socket", ()) if not served(handle, facts) else None
        if not stat.S_ISREG(facts.st_mode):
            return None
        data = os.pread(handle, _HEADER, 0)
        if data[:2] in _BLOCK0 and len(data) == _HEADER:
            return self._swap(data, facts)
        first = data[:64].partition(b"\n")[0].strip()
        if re.fullmatch(rb"[0-9]{1,9}", first) and int(first) > 0:
            gone = self._gone(int(first), facts)
            return ("pid_gone", f"it names pid {int(first)}, {gone}", ()) if gone else None
        return ("named", "the operator's pattern names it", ()) if named else None

    def _swap(self, data: bytes, facts: os.stat_result) -> tuple[str, str, tuple[str, ...]] | None:
        pid = int.from_bytes(data[_PID], "little")
        host = data[_HOST].partition(b"\0")[0]
        blocked = []
        if not host or host != self._host[: len(data[_HOST]) - 1]:
            blocked.append("other_host")
            why = f"vim wrote it on host {host.decode('utf-8', 'replace') or 'unknown'}"
        else:
            gone = self._gone(pid, facts)
            if not gone or not pid:
                return None
            why = f"the vim that wrote it had pid {pid}, {gone}"
        if data[_DIRTY] == _IS_DIRTY:
            blocked.append("unsaved_changes")
        return "vim_swap", why, tuple(blocked)

    def _gone(self, pid: int, facts: os.stat_result) -> str | None:
        """How it shows that the process that wrote the file is gone; None where it may be there.

        What has the pid now began later than the file was last touched. Of a file from before this boot (or before
        the clock was set) that alone says nothing: then it has to be another user's, too.
        """
        process = self._proc.process(pid)
        if process is None or process.state in "ZX":
            return "which is gone"
        booted = self._clock.now - self._clock.boot
        began = booted + process.start / self._clock.hz
        if began > max(facts.st_mtime, facts.st_ctime) + _LATER and (
            min(facts.st_mtime, facts.st_ctime) > booted or self._proc.uid(pid) != facts.st_uid
        ):
            return "which another process has by now"
        return None


def served(handle: int, facts: os.stat_result) -> bool:
    """Whether anybody listens at the socket or FIFO that `handle` (O_PATH) is; True where that can't be known.

    Through /proc/self/fd the very file is reached, whatever has its name now. A connection is made and dropped.
    """
    path = f"/proc/self/fd/{handle}"
    if stat.S_ISFIFO(facts.st_mode):
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as problem:
            return problem.errno != errno.ENXIO
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as end:
        try:
            end.connect(path)
        except OSError as problem:
            return problem.errno != errno.ECONNREFUSED
    return True


def open_to_look(name: str, folder: int, facts: os.stat_result, flags: int = os.O_RDONLY) -> int:
    """A descriptor of the entry `name`, not followed or waited for; of a socket or FIFO for its path alone."""
    if not stat.S_ISREG(facts.st_mode):
        flags = os.O_PATH
    return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, dir_fd=folder)


def held(proc: Proc, inodes: Collection[tuple[int, int]], but: Collection[int] = ()) -> set[tuple[int, int]]:
    """Those of these files that a process has open (other than the pids `but`), or that are locked by one.

    By device and inode, and of /proc/locks by the inode alone, as that names another device on btrfs and overlayfs.
    """
    found: set[tuple[int, int]] = set()
    numbers = {inode for _device, inode in inodes}
    for line in proc.table("locks").decode("ascii", "replace").splitlines():
        words = line.split()
        place = 5 if len(words) > 1 and words[1] == "->" else 4
        if len(words) > place + 1 and words[place] not in map(str, but):
            number = words[place + 1].rsplit(":", 1)[-1]
            if number.isdigit() and int(number) in numbers:
                found.update(pair for pair in inodes if pair[1] == int(number))
    for name in os.listdir(proc.root):
        if not name.isdigit() or int(name) in but or not inodes:
            continue
        for descriptor, target in proc.descriptors(int(name), 1 << 20):
            if target.startswith("/") and not target.startswith(("/dev/", "/proc/", "/sys/")):
                try:
                    facts = os.stat(f"{proc.root}/{name}/fd/{descriptor}")
                except OSError:
                    continue
                if (facts.st_dev, facts.st_ino) in inodes:
                    found.add((facts.st_dev, facts.st_ino))
    return found


def in_time(work: Callable[[], _T], patience: float = PATIENCE) -> _T | None:
    """What `work` gives, or None where it fails or a file system keeps it waiting for longer than that."""
    found: list[_T] = []

    def run() -> None:
        try:
            found.append(work())
        except OSError:
            pass

    running = threading.Thread(target=run, daemon=True)
    running.start()
    running.join(patience)
    return found[0] if found else None


def find_lock_files(root: str, proc: Proc, clock: Clock, patterns: Collection[str]) -> list[LockFile]:
    """The stale lock files in the known places below `root`, and those that `patterns` name.

    Raises:
        OSError: /proc can't be read.
    """
    examiner, mounts = Examiner(proc, clock), _Mounts(proc.table("self/mountinfo"))
    found: dict[tuple[int, int], LockFile] = {}
    for folder, path, known in _candidates(root, mounts, patterns):
        try:
            facts = os.stat(os.path.basename(path), dir_fd=folder, follow_symlinks=False)
            if stat.S_ISLNK(facts.st_mode) or stat.S_ISDIR(facts.st_mode) or (facts.st_dev, facts.st_ino) in found:
                continue
            named = known in (_BY_NAME, _BY_PATTERN)
            if not named and not _is_known(known, os.path.basename(path), facts):
                continue
            handle = open_to_look(os.path.basename(path), folder, facts)
            try:
                opened = os.fstat(handle)
                lock = examiner.examine(handle, path, opened, named) if _alike(opened, facts) else None
            finally:
                os.close(handle)
        except OSError:
            continue
        if lock:
            blocked = lock.blocked
            if not belongs(os.fstat(folder), lock.facts):
                blocked = (*blocked, "folder")
            if not mounts.local(path):
                blocked = (*blocked, "file_system")
            found[lock.inode] = lock._replace(blocked=blocked, by_name=known == _BY_NAME)
    busy = held(proc, set(found), {os.getpid()}) if found else set()
    return [lock._replace(blocked=(*lock.blocked, "held")) if lock.inode in busy else lock for lock in found.values()]


def _alike(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino, stat.S_IFMT(one.st_mode)) == (
        other.st_dev,
        other.st_ino,
        stat.S_IFMT(other.st_mode),
    )


def belongs(folder: os.stat_result, lock: os.stat_result) -> bool:
    """Whether the folder is the file's owner's or root's, and no stranger can swap what is in it."""
    shared = folder.st_mode & 0o002 and not folder.st_mode & stat.S_ISVTX
    return folder.st_uid in (0, lock.st_uid) and not shared


def _is_known(place: str, name: str, facts: os.stat_result) -> bool:
    """Whether a file in a known place is of a known kind and a person's; X's are root's where it runs as root."""
    person = FIRST_PERSON <= facts.st_uid < NOBODY
    if place == _OF_SOCKETS:
        return stat.S_ISSOCK(facts.st_mode) or stat.S_ISFIFO(facts.st_mode)
    if not stat.S_ISREG(facts.st_mode):
        return False
    if _X_LOCK.match(name):
        return place == "/tmp"
    return person and bool(_SWAP.search(name) or _LOCK.match(name))


def _candidates(root: str, mounts: _Mounts, patterns: Collection[str]) -> Iterator[tuple[int, str, str]]:
    """Each entry to look at as its folder's descriptor, its path, and the known place it is in, or how it was named."""
    for pattern in patterns:
        for folder, path in _matching(root, pattern):
            yield folder, path, _BY_NAME if is_literal(pattern) else _BY_PATTERN
    for place, owner in [*((shared, None) for shared in _SHARED), *_homes(root)]:
        if mounts.local(place):
            for folder, path in _matching(root, f"{place}/*", owner):
                yield folder, path, place
    for pattern in _SOCKETS:
        for folder, path in _matching(root, pattern):
            yield folder, path, _OF_SOCKETS


def _homes(root: str) -> Iterator[tuple[str, int]]:
    """The folders of people where editors and others leave files, by /etc/passwd."""
    try:
        with open(os.path.join(root, "etc/passwd"), encoding="utf-8", errors="surrogateescape") as lines:
            entries = [line.rstrip("\n").split(":") for line in lines]
    except OSError:
        return
    for entry in entries:
        if len(entry) == 7 and entry[2].isdigit() and FIRST_PERSON <= int(entry[2]) < NOBODY:
            for inner in _IN_HOME:
                yield os.path.normpath(os.path.join("/", entry[5].lstrip("/"), inner)), int(entry[2])


def check_pattern(pattern: str) -> str:
    """`pattern` itself.

    Raises:
        ValueError: with a sentence that says what to write instead.
    """
    is_plain = pattern[:1] == "/" and pattern[:2] != "//" and os.path.normpath(pattern) == pattern != "/"
    if not is_plain or "**" in pattern:
        raise ValueError(
            f"{pattern!r} is no pattern of files: write an absolute path without . or .., with *, ? and [...] within "
            "a name, for example /srv/build/*.lock"
        )
    return pattern


def is_literal(pattern: str) -> bool:
    return not re.search(r"[*?\[]", pattern)


def _matching(root: str, pattern: str, owner: int | None = None) -> Iterator[tuple[int, str]]:
    """The entries that `pattern` names, each with its folder open; links are followed only where they are root's.

    With `owner` the folder has to be theirs.
    """
    words = pattern[1:].split("/")
    plain = next((n for n, word in enumerate(words[:-1]) if not is_literal(word)), len(words) - 1)
    try:
        spot = locate(root, "/" + "/".join([*words[:plain], "x"]))
        if spot.missing:
            return
        handle = open_folder(root, spot.folder)
    except (Refused, OSError):
        return
    try:
        if owner is None or os.fstat(handle).st_uid == owner:
            yield from _below(handle, spot.folder, words[plain:])
    finally:
        os.close(handle)


def _below(folder: int, path: str, words: list[str]) -> Iterator[tuple[int, str]]:
    try:
        if len(words) == 1 and is_literal(words[0]):
            names = words
        else:
            with os.scandir(folder) as entries:
                # fnmatch lets * match a leading dot, as the files that are looked for mostly have one.
                names = [entry.name for _count, entry in zip(range(_MOST), entries) if _fits(entry.name, words[0])]
    except OSError:
        return
    for name in sorted(names):
        if len(words) == 1:
            yield folder, os.path.join(path, name)
            continue
        try:
            inner = open_folder_at(name, folder)
        except OSError:
            continue
        try:
            yield from _below(inner, os.path.join(path, name), words[1:])
        finally:
            os.close(inner)


def _fits(name: str, word: str) -> bool:
    return fnmatch.fnmatchcase(name, word)


def open_folder_at(name: str, folder: int) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)


class _Mounts:
    """Which file system a path is on (/proc/self/mountinfo, proc(5)), without asking that file system."""

    def __init__(self, data: bytes) -> None:
        self._types: dict[str, str] = {}
        for line in data.decode("utf-8", "surrogateescape").splitlines():
            words, _dash, rest = line.partition(" - ")
            fields = words.split()
            if len(fields) > 4 and rest:
                point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code.group(1), 8)), fields[4])
                self._types[point] = rest.split()[0]

    def local(self, path: str) -> bool:
        """Where nothing is known of the mounts (a recorded tree), yes."""
        while path not in self._types and path not in ("", "/"):
            path = os.path.dirname(path)
        return self._types.get(path, "ext4") in _LOCAL
