# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the host, reached one directory at a time, and everything that may be done to them.

Directories are opened component by component without following symbolic links (openat(2), O_NOFOLLOW). A link
is resolved only where nobody but root can have put it.
"""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import time
import typing as t
from dataclasses import dataclass

from . import namespace

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Linux gives up at 40 links, too (path_resolution(7)).
_MOST_LINKS = 40
# Signatures over the former bytes, wrong for any others.
_SIGNATURES = ("security.ima", "security.evm")
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)
# Longer than systemd's own limit for a job (90 s), so that its words about a failure come through.
COMMAND_LIMIT = 300


class Refused(ValueError):
    """A sentence for a person; nothing was touched."""


@dataclass(frozen=True)
class File:
    """What a regular file is made of; `mtime_ns` None: whenever it is written."""

    data: bytes
    mode: int
    uid: int
    gid: int
    xattrs: tuple[tuple[str, bytes], ...] = ()
    mtime_ns: int | None = None

    def like(self, other: File | None) -> bool:
        return other is not None and (self.data, self.mode, self.uid, self.gid) == (
            other.data,
            other.mode,
            other.uid,
            other.gid,
        )


@dataclass(frozen=True)
class Spot:
    """Where a path really leads: no component of `folder`, `missing` or `name` is a link."""

    asked: str
    folder: str
    missing: tuple[str, ...]
    name: str
    # Nobody but root can write in `folder` and the directories above it.
    private: bool

    @property
    def path(self) -> str:
        return os.path.join(self.folder, *self.missing, self.name)

    @property
    def made(self) -> tuple[str, ...]:
        """The directories that are missing, outermost first."""
        return tuple(os.path.join(self.folder, *self.missing[: n + 1]) for n in range(len(self.missing)))


@dataclass(frozen=True)
class Outcome:
    """How a command ended; `code` is None when it did not run to its end."""

    argv: tuple[str, ...]
    code: int | None
    words: str

    @property
    def ok(self) -> bool:
        return self.code == 0

    def __str__(self) -> str:
        ended = f"ended with {self.code}" if self.code is not None else "did not end"
        # Of a script among the words, its first line will do.
        words = [word if "\n" not in word else word.partition("\n")[0] + " ..." for word in self.argv]
        return f"`{' '.join(words)}` {ended}" + (f": {self.words}" if self.words else "")


class World:
    """Everything that a transaction does to the host goes through here, so that tests can make any of it fail."""

    def __init__(self, root: str = "/") -> None:
        self.root = root
        # By when (see `now`) the commands that `run` runs must have ended.
        self.until: float | None = None

    def mkdir(self, name: str, folder: int) -> None:
        os.mkdir(name, 0o700, dir_fd=folder)

    def rmdir(self, name: str, folder: int) -> None:
        os.rmdir(name, dir_fd=folder)

    def create(self, name: str, folder: int) -> int:
        return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)

    def write(self, fd: int, data: memoryview) -> int:
        return os.write(fd, data)

    def chown(self, fd: int, uid: int, gid: int) -> None:
        os.fchown(fd, uid, gid)

    def chmod(self, fd: int, mode: int) -> None:
        os.fchmod(fd, mode)

    def setxattr(self, fd: int, name: str, value: bytes) -> None:
        os.setxattr(fd, name, value)

    def utime(self, fd: int, mtime_ns: int) -> None:
        os.utime(fd, ns=(mtime_ns, mtime_ns))

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def link(self, name: str, other: str, folder: int) -> None:
        os.link(name, other, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)

    def rename(self, name: str, other: str, folder: int) -> None:
        os.rename(name, other, src_dir_fd=folder, dst_dir_fd=folder)

    def unlink(self, name: str, folder: int) -> None:
        os.unlink(name, dir_fd=folder)

    def run(self, argv: t.Sequence[str]) -> Outcome:
        return run_command(argv, limit=COMMAND_LIMIT if self.until is None else max(1.0, self.until - self.now()))

    def ask(self, argv: t.Sequence[str], limit: float) -> Outcome:
        """Run what changes nothing, for at most `limit` seconds."""
        return run_command(argv, limit=limit)

    def detach(self, argv: t.Sequence[str]) -> None:
        """Start a process that outlives this one and the connection that it came over."""
        # Waiting for it is init's.
        subprocess.Popen(  # pylint: disable=ansible-bad-function,consider-using-with
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def rehearse(self, folders: t.Sequence[str], work: t.Callable[[], str | None]) -> str | None:
        return namespace.rehearse(folders, work)

    def now(self) -> float:
        return time.monotonic()

    def clock(self) -> float:
        """Seconds of the epoch."""
        return time.time()

    def boot(self) -> tuple[str, float]:
        """Which boot this is, and the seconds since, those asleep counted."""
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            return stream.read().strip(), time.clock_gettime(time.CLOCK_BOOTTIME)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def run_command(
    argv: t.Sequence[str], preexec: t.Callable[[], None] | None = None, limit: float = COMMAND_LIMIT
) -> Outcome:
    """Run `argv` to its end, its words kept in memory: a full disk can't hide them, and a daemon that it leaves
    behind with its output open can't hold us up."""
    words = os.memfd_create("output", os.MFD_CLOEXEC)
    try:
        # The engine runs without an AnsibleModule, so there is no run_command.
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            timeout=limit,
            env=dict(os.environ, LC_ALL="C", PATH=search_path()),
            check=False,
            preexec_fn=preexec,
        )
        code: int | None = done.returncode
        late = ""
    except subprocess.TimeoutExpired:
        code, late = None, f"killed after {limit:.0f} s"
    except OSError as problem:
        code, late = None, problem.strerror or str(problem)
    try:
        size = os.fstat(words).st_size
        said = os.pread(words, 4000, max(0, size - 4000)).decode("utf-8", "replace").strip()
    finally:
        os.close(words)
    return Outcome(tuple(argv), code, " ".join(filter(None, (late, said))))


def search_path() -> str:
    """PATH with the system's own programs in it, which a plain login may lack."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


# --- reading ----------------------------------------------------------------------------------------------------


def only_root_writes(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022


def open_folder(root: str, path: str) -> int:
    """A descriptor of the directory `path`, no component of which may be a link."""
    fd = os.open(root, _FOLDER)
    try:
        for name in filter(None, path.split("/")):
            inner = os.open(name, _FOLDER, dir_fd=fd)
            os.close(fd)
            fd = inner
    except BaseException:
        os.close(fd)
        raise
    return fd


def locate(root: str, path: str) -> Spot:
    """Where `path` leads.

    Raises:
        Refused: it can't be reached, or only over a link that somebody else than root may have put there.
    """
    if not path.startswith("/") or os.path.normpath(path) != path or path.startswith("//") or path == "/":
        raise Refused(f"{path!r} is no plain absolute path of a file: write it from / on, without . or .. in it")
    todo = _names(path)
    walked: list[tuple[str, int]] = [("", os.open(root, _FOLDER))]
    private = [only_root_writes(os.fstat(walked[0][1]))]
    links = 0
    try:
        while todo:
            name = todo.pop()
            here = "/" + "/".join(part for part, _fd in walked[1:])
            if name == "..":
                if len(walked) > 1:
                    os.close(walked.pop()[1])
                    private.pop()
                continue
            try:
                status = os.lstat(name, dir_fd=walked[-1][1])
            except FileNotFoundError:
                if ".." in todo:
                    raise Refused(f"{path} can't be reached: {os.path.join(here, name)} does not exist") from None
                rest = [name, *reversed(todo)]
                return Spot(path, here, tuple(rest[:-1]), rest[-1], private[-1])
            if stat.S_ISLNK(status.st_mode):
                link = os.path.join(here, name)
                if not private[-1]:
                    raise Refused(
                        f"{path} is not touched: {link} is a symbolic link in a folder where others than root can "
                        "write, and such a link is not followed; name the real path, or make that folder root's own"
                    )
                links += 1
                if links > _MOST_LINKS:
                    raise Refused(f"{path} can't be reached: its symbolic links go round in circles")
                target = os.readlink(name, dir_fd=walked[-1][1])
                if target.startswith("/"):
                    for _part, fd in walked[1:]:
                        os.close(fd)
                    del walked[1:], private[1:]
                todo.extend(_names(target))
            elif not todo:
                return Spot(path, here, (), name, private[-1])
            elif not stat.S_ISDIR(status.st_mode):
                raise Refused(f"{path} can't be reached: {os.path.join(here, name)} is not a directory")
            else:
                inner = os.open(name, _FOLDER, dir_fd=walked[-1][1])
                walked.append((name, inner))
                private.append(private[-1] and only_root_writes(os.fstat(inner)))
    except OSError as problem:
        raise Refused(f"{path} can't be reached: {problem.strerror}") from problem
    finally:
        for _part, fd in walked:
            os.close(fd)
    raise Refused(f"{path} is a directory, not a file")


def _names(path: str) -> list[str]:
    """The components of `path`, last one first."""
    return [name for name in reversed(path.split("/")) if name not in ("", ".")]


def read(root: str, spot: Spot, owner: int | None = None) -> File | None:
    """The file at `spot`, None when there is none.

    Args:
        owner: the user that the file is meant to belong to.

    Raises:
        Refused: it is no regular file, can't be read, or somebody else may have put it there.
    """
    if spot.missing:
        return None
    try:
        folder = open_folder(root, spot.folder)
        try:
            found = read_at(folder, spot.name)
            if found and not spot.private:
                _distrust(spot, folder, found, owner)
            return found
        finally:
            os.close(folder)
    except OSError as problem:
        raise Refused(f"{spot.asked} can't be read: {problem.strerror}") from problem


def _distrust(spot: Spot, folder: int, found: File, owner: int | None) -> None:
    """Refuse a file that somebody may have put there for us to take over its owner or its bytes."""
    if os.lstat(spot.name, dir_fd=folder).st_nlink > 1:
        raise Refused(f"{spot.asked} has a second name (hard link), in a folder where others than root can write")
    if os.fstat(folder).st_mode & 0o022 and found.uid not in (0, os.geteuid(), owner):
        raise Refused(
            f"{spot.asked} belongs to user {found.uid}, in a folder where others than root can write: "
            "remove it, or say with owner whose it is to be"
        )


def read_at(folder: int, name: str) -> File | None:
    """The regular file `name` in the directory `folder`, None when there is none; never opens anything else."""
    try:
        status = os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return None
    for is_kind, kind in _KINDS:
        if is_kind(status.st_mode):
            raise OSError(errno.EINVAL, f"it is {kind}, not a file")
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with open(fd, "rb") as stream:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a file any more")
        return File(
            stream.read(),
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            xattrs(fd),
            status.st_mtime_ns,
        )


def xattrs(fd: int) -> tuple[tuple[str, bytes], ...]:
    try:
        return tuple((name, os.getxattr(fd, name)) for name in os.listxattr(fd) if name not in _SIGNATURES)
    except OSError:
        # No extended attributes on this file system.
        return ()


# --- writing ----------------------------------------------------------------------------------------------------


def write_new(world: World, folder: int, name: str, file: File) -> None:
    """Make the file `name`, which must not exist, complete and on the disk."""
    fd = world.create(name, folder)
    try:
        rest = memoryview(file.data)
        while rest:
            rest = rest[world.write(fd, rest) :]
        status = os.fstat(fd)
        if (status.st_uid, status.st_gid) != (file.uid, file.gid):
            world.chown(fd, file.uid, file.gid)
        present = dict(xattrs(fd))
        for xattr, value in file.xattrs:
            if present.get(xattr) != value:
                world.setxattr(fd, xattr, value)
        # After the owner (chown drops the setuid bit) and the ACL (which sets the group's bits).
        world.chmod(fd, file.mode)
        if file.mtime_ns is not None:
            world.utime(fd, file.mtime_ns)
        world.fsync(fd)
    finally:
        os.close(fd)


def make_folder(world: World, folder: int, name: str, mode: int, uid: int, gid: int) -> None:
    """Make the directory `name`, or finish one that was begun."""
    try:
        world.mkdir(name, folder)
    except FileExistsError:
        pass
    fd = os.open(name, _FOLDER, dir_fd=folder)
    try:
        status = os.fstat(fd)
        if (status.st_uid, status.st_gid) != (uid, gid):
            world.chown(fd, uid, gid)
        world.chmod(fd, mode)
    finally:
        os.close(fd)
    world.fsync(folder)


def is_there(folder: int, name: str) -> bool:
    try:
        os.lstat(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True


def forget(world: World, folder: int, name: str) -> None:
    """Unlink `name` if it is there."""
    if is_there(folder, name):
        world.unlink(name, folder)
