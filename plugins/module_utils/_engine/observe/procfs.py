# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading /proc (proc(5)), where anything may vanish, be forbidden or be hostile between two reads.

Nothing raises for that: a process that is gone or closed to us is absent or None, and the caller says so.
"""

from __future__ import annotations

import os
import re
import threading
from typing import Callable, NamedTuple

from ..model import Process

KERNEL_THREAD = 0x00200000  # PF_KTHREAD
UNSET = 4294967295  # (unsigned) -1: no audit session, no login uid
_SESSION_SCOPE = re.compile(rb"/session-([A-Za-z0-9_]+)\.scope(?:/|$)", re.M)
_SERVICE = re.compile(rb"/system\.slice/(?:[^/\n]+\.slice/)*([^/\n]+\.service)(?:/|$)", re.M)
_USER_MANAGER = re.compile(rb"/user@([0-9]+)\.service(?:/|$)", re.M)


class Cgroup(NamedTuple):
    session: str | None  # logind's session id
    manager: bool  # inside a user's service manager
    service: str | None = None  # the unit of a system service


def parse_stat(data: bytes) -> Process | None:
    """The fields of one /proc/PID/stat; None where it is not one. comm may hold anything, ``)`` and newlines too."""
    close = data.rfind(b") ")
    begin = data.find(b" (")
    if begin < 1 or close < begin:
        return None
    rest = data[close + 2 :].split(b" ", 20)
    try:
        return Process(
            int(data[:begin]),
            data[begin + 2 : close].decode("utf-8", "surrogateescape"),
            rest[0].decode("ascii"),
            int(rest[1]),
            int(rest[2]),
            int(rest[3]),
            int(rest[4]),
            int(rest[5]),
            int(rest[6]),
            int(rest[11]) + int(rest[12]),
            int(rest[19]),
        )
    except (ValueError, IndexError):
        return None


class Proc:
    """The tree at `root`, of which each process is looked into only as deep as it is asked for."""

    def __init__(self, root: str = "/proc") -> None:
        self.root = root
        self._dir = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.forbidden = 0
        self._uids: dict[int, int | None] = {}

    def close(self) -> None:
        os.close(self._dir)

    def read(self, path: str, limit: int = 65536) -> bytes | None:
        """The file up to `limit` bytes, which is one read(2): /proc gives the files of a process in one piece."""
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=self._dir)
        except PermissionError:
            self.forbidden += 1
            return None
        except OSError:
            return None
        try:
            return os.read(handle, limit)
        except OSError:
            return None
        finally:
            os.close(handle)

    def table(self, path: str, limit: int = 1 << 24) -> bytes:
        """A list of the whole system (net/unix, locks) up to `limit` bytes, which comes page by page."""
        parts, size = [], 0
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._dir)
        except OSError:
            return b""
        try:
            while size < limit:
                part = os.read(handle, 65536)
                if not part:
                    break
                parts.append(part)
                size += len(part)
        except OSError:
            pass
        finally:
            os.close(handle)
        return b"".join(parts)

    def table_later(self, path: str) -> Callable[[], bytes]:
        """Begin to read such a list; the function returned waits for its end.

        For /proc/locks: the kernel lets its reader sleep for some 20 ms (percpu_down_write), in which we can work.
        """
        found: list[bytes] = []
        reader = threading.Thread(target=lambda: found.append(self.table(path)), daemon=True)
        reader.start()

        def wait() -> bytes:
            reader.join()
            return b"".join(found)

        return wait

    def link(self, path: str) -> str | None:
        try:
            return os.readlink(path, dir_fd=self._dir)
        except PermissionError:
            self.forbidden += 1
        except OSError:
            pass
        return None

    def processes(self) -> dict[int, Process]:
        """Every process that is there, by pid."""
        found = {}
        read, open_, close, parse, root = os.read, os.open, os.close, parse_stat, self._dir
        flags = os.O_RDONLY | os.O_CLOEXEC
        for name in os.listdir(root):
            if "0" < name[0] <= "9":
                try:
                    handle = open_(name + "/stat", flags, dir_fd=root)
                except OSError:
                    continue
                try:
                    process = parse(read(handle, 1024))
                except OSError:
                    process = None
                close(handle)
                if process:
                    found[process.pid] = process
        return found

    def process(self, pid: int) -> Process | None:
        data = self.read(f"{pid}/stat", 1024)
        return parse_stat(data) if data else None

    def uid(self, pid: int) -> int | None:
        """The effective uid: the owner of the folder, whatever the process's dumpable flag says of its files."""
        if pid not in self._uids:
            try:
                self._uids[pid] = os.stat(str(pid), dir_fd=self._dir).st_uid
            except OSError:
                self._uids[pid] = None
        return self._uids[pid]

    def arguments(self, pid: int) -> tuple[str, ...]:
        """argv; a process that wrote its title over it (sshd) gives the title as the first."""
        data = self.read(f"{pid}/cmdline", 16384)
        if not data:
            return ()
        return tuple(data.rstrip(b"\0").decode("utf-8", "surrogateescape").split("\0"))

    def title(self, pid: int) -> str:
        arguments = self.arguments(pid)
        return arguments[0] if arguments else ""

    def cgroup(self, pid: int) -> Cgroup:
        data = self.read(f"{pid}/cgroup") or b""
        session = _SESSION_SCOPE.search(data)
        service = _SERVICE.search(data)
        return Cgroup(
            session.group(1).decode() if session else None,
            _USER_MANAGER.search(data) is not None,
            service.group(1).decode("utf-8", "replace") if service else None,
        )

    def number(self, path: str) -> int | None:
        """The number in a one-number file; None where it is unset (-1), too."""
        data = (self.read(path, 64) or b"").strip()
        return int(data) if data.isdigit() and int(data) != UNSET else None

    def pid_namespace(self, pid: int) -> str | None:
        """What names the process's PID namespace, or None where neither ns/pid nor NSpid can be read."""
        try:
            return os.readlink(f"{pid}/ns/pid", dir_fd=self._dir)
        except FileNotFoundError:
            return None
        except OSError:
            pass
        # ns/pid is closed to other users, status is not: one number in NSpid is our own namespace.
        numbers = re.search(rb"^NSpid:(.*)$", self.read(f"{pid}/status") or b"", re.M)
        if not numbers:
            return None
        return self.link("self/ns/pid") if len(numbers.group(1).split()) == 1 else "other"

    def descriptors(self, pid: int, limit: int = 4096) -> list[tuple[int, str]]:
        """Open files as (number, target), by number."""
        try:
            handle = os.open(f"{pid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._dir)
        except PermissionError:
            self.forbidden += 1
            return []
        except OSError:
            return []
        found = []
        try:
            for number in sorted(int(name) for name in os.listdir(handle) if name.isdigit())[:limit]:
                try:
                    found.append((number, os.readlink(str(number), dir_fd=handle)))
                except OSError:
                    continue
        except OSError:
            pass
        finally:
            os.close(handle)
        return found

    def io(self, pid: int) -> int | None:
        """Bytes read and written by system calls so far (rchar + wchar)."""
        numbers = re.findall(rb"^[rw]char: ([0-9]+)$", self.read(f"{pid}/io", 512) or b"", re.M)
        return sum(map(int, numbers)) if len(numbers) == 2 else None

    def environment(self, pid: int) -> dict[str, str]:
        """What the process was started with; its owner chose it."""
        data = (self.read(f"{pid}/environ", 262144) or b"").decode("utf-8", "surrogateescape")
        return dict(entry.split("=", 1) for entry in data.split("\0") if "=" in entry)


def terminal(number: int) -> str | None:
    """The name under /dev of a controlling terminal's device number (Documentation/admin-guide/devices.txt)."""
    if number <= 0:
        return None
    major, minor = (number >> 8) & 0xFFF, (number & 0xFF) | ((number >> 12) & 0xFFF00)
    if 136 <= major <= 143:
        return f"pts/{(major - 136) * 256 + minor}"
    if major == 4:
        return f"tty{minor}" if minor < 64 else f"ttyS{minor - 64}"
    if (major, minor) == (5, 1):
        return "console"
    name = {204: "ttyAMA", 229: "hvc", 188: "ttyUSB", 166: "ttyACM"}.get(major)
    return f"{name}{minor - 64 if major == 204 else minor}" if name else f"{major}:{minor}"
