# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Try something out on the host's own files without any other process seeing it: a private mount namespace.

Each directory is covered by an overlay whose upper layer is a tmpfs; where the kernel refuses the overlay (a
container whose root is one already, an old kernel), by a tmpfs with a copy. Both vanish with the process.
See mount_namespaces(7) and the kernel's Documentation/filesystems/overlayfs.rst.
"""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import typing as t

_CLONE_NEWNS = 0x00020000
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
_PR_SET_PDEATHSIG = 1
# More than any folder of configuration holds; a bigger one is not copied into memory.
_LARGEST_COPY = 64 * 1024 * 1024


class Unavailable(Exception):
    """This process can't have a private mount namespace with these directories in it."""


class _Kernel:
    def __init__(self) -> None:
        # Not every Python comes with ctypes.
        import ctypes

        self._ctypes = ctypes
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]

    def _check(self, result: int) -> None:
        if result:
            code = self._ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def leave_mounts(self) -> None:
        self._check(self._libc.unshare(_CLONE_NEWNS))
        self.mount("none", "/", None, _MS_REC | _MS_PRIVATE, None)

    def mount(self, source: str, target: str, kind: str | None, flags: int, options: str | None) -> None:
        texts = [text if text is None else os.fsencode(text) for text in (source, target, kind, options)]
        self._check(self._libc.mount(*texts[:3], flags, texts[3]))

    def die_with_parent(self) -> None:
        self._libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


_kernel: _Kernel | None = None


def die_with_parent() -> None:
    """For a command run inside: it ends when the process that runs it is killed."""
    if _kernel:
        _kernel.die_with_parent()


def rehearse(folders: t.Sequence[str], work: t.Callable[[], str | None]) -> str | None:
    """What `work` says when it may change `folders` at will, nobody else seeing it.

    Args:
        folders: directories without a link in their path; their subdirectories may be changed as well.
        work: runs in a child process; returns a sentence or None.

    Raises:
        Unavailable: it was not run.
    """
    global _kernel
    try:
        _kernel = _kernel or _Kernel()
    except (ImportError, OSError, AttributeError) as problem:
        raise Unavailable(str(problem)) from problem
    reader, writer = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        answer: dict[str, str | None] = {"said": "the process that tried it out failed"}
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            _kernel.die_with_parent()
            if os.getppid() == parent:
                answer = _inside(_kernel, folders, work)
        except BaseException as problem:
            answer = {"said": f"the process that tried it out failed: {problem!r}"}
        finally:
            try:
                with open(writer, "w", encoding="utf-8") as stream:
                    json.dump(answer, stream)
            finally:
                os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as stream:
        text = stream.read()
    os.waitpid(child, 0)
    if not text:
        return "the process that tried it out was killed"
    said = json.loads(text)
    if "unavailable" in said:
        raise Unavailable(said["unavailable"])
    return t.cast("str | None", said["said"])


def _inside(kernel: _Kernel, folders: t.Sequence[str], work: t.Callable[[], str | None]) -> dict[str, str | None]:
    try:
        kernel.leave_mounts()
        below = _mount_points()
        for folder in _outermost(folders):
            _cover(kernel, folder, [point for point in below if point.startswith(folder.rstrip("/") + "/")])
    except (OSError, Unavailable) as problem:
        return {"unavailable": str(problem)}
    return {"said": work()}


def _outermost(folders: t.Sequence[str]) -> list[str]:
    """`folders` without those that lie in another one on the same device: covering that one covers them."""
    chosen: list[str] = []
    for folder in sorted(set(folders)):
        device = os.stat(folder).st_dev
        if not any(folder.startswith(outer + "/") and os.stat(outer).st_dev == device for outer in chosen):
            chosen.append(folder)
    return chosen


def _mount_points() -> list[str]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as stream:
        points = [line.split(" ")[4] for line in stream]
    return [re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), point) for point in points]


def _cover(kernel: _Kernel, folder: str, below: t.Sequence[str]) -> None:
    if folder == "/":
        raise Unavailable("the root directory itself can't be covered")
    lower = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    status = os.fstat(lower)
    kernel.mount("tmpfs", folder, "tmpfs", 0, "mode=0700")
    cover = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    os.mkdir("upper", dir_fd=cover)
    os.mkdir("work", dir_fd=cover)
    # Paths through /proc, so that no comma or colon in `folder` ends up in the options.
    upper = f"/proc/self/fd/{cover}/upper"
    _dress(upper, status)
    options = f"lowerdir=/proc/self/fd/{lower},upperdir={upper},workdir=/proc/self/fd/{cover}/work"
    try:
        kernel.mount("overlay", folder, "overlay", 0, options)
    except OSError:
        kernel.mount("tmpfs", folder, "tmpfs", 0, "mode=0700")
        _copy(f"/proc/self/fd/{lower}", folder, _LARGEST_COPY)
        _dress(folder, status)
    for point in below:
        # What is mounted inside would else be hidden with the rest.
        inner = os.path.relpath(point, folder)
        kernel.mount(f"/proc/self/fd/{lower}/{inner}", point, None, _MS_BIND | _MS_REC, None)


def _dress(path: str, status: os.stat_result) -> None:
    os.chown(path, status.st_uid, status.st_gid)
    os.chmod(path, stat.S_IMODE(status.st_mode))


def _copy(source: str, target: str, room: int) -> int:
    """Copy a tree, what no configuration is made of left out; returns the room that is left of `room` bytes."""
    with os.scandir(source) as entries:
        for entry in entries:
            to = os.path.join(target, entry.name)
            status = entry.stat(follow_symlinks=False)
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), to)
            elif entry.is_dir():
                os.mkdir(to)
                room = _copy(entry.path, to, room)
                _dress(to, status)
            elif entry.is_file():
                room -= status.st_size
                if room < 0:
                    raise Unavailable(f"{source} is too big to be copied, and the kernel refuses an overlay")
                with open(entry.path, "rb") as stream, open(to, "wb") as copy:
                    copy.write(stream.read())
                _dress(to, status)
    return room
