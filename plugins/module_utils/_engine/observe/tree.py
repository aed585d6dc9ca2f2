# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's file system, or a recorded one: the one place where observers open files.

Paths are the host's own absolute paths; `root` is where they are looked up.
"""

from __future__ import annotations

import glob
import os
import re
import stat

# Longer than any configuration file a daemon would accept, short enough to stay cheap.
LARGEST = 1 << 20
_MARKER = re.compile(r"\s*\S*\s*(BEGIN|END) sessionops\.policy\b")
_OUR_NAME = re.compile(r"^(?:[0-9]+|zz)-session-policy\.")


class Tree:
    """Reads files below `root`; remembers in `unreadable` what was there but closed to this user."""

    def __init__(self, root: str = "/") -> None:
        self.root = root.rstrip("/")
        self.unreadable: set[str] = set()

    def place(self, path: str) -> str:
        return self.root + path

    def read(self, path: str) -> str | None:
        """Text of a regular file (undecodable bytes as surrogates), or None if there is no such file to read."""
        try:
            # O_NONBLOCK: a FIFO in a folder of drop-ins must not hold us.
            fd = os.open(self.place(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:
            self.unreadable.add(path)
            return None
        except (OSError, ValueError):
            return None
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            parts = []
            size = 0
            while size < LARGEST:
                part = os.read(fd, LARGEST - size)
                if not part:
                    break
                parts.append(part)
                size += len(part)
            return b"".join(parts).decode("utf-8", "surrogateescape")
        except OSError:
            return None
        finally:
            os.close(fd)

    def lines(self, path: str) -> list[str]:
        """Lines of a file without their ends; [] if it cannot be read. Only a newline ends a line."""
        text = self.read(path)
        return text.split("\n") if text else []

    def exists(self, path: str) -> bool:
        return os.path.exists(self.place(path))

    def is_dir(self, path: str) -> bool:
        return os.path.isdir(self.place(path))

    def is_program(self, path: str) -> bool:
        return os.path.isfile(self.place(path)) and os.access(self.place(path), os.X_OK)

    def first(self, *paths: str) -> str | None:
        """The first of `paths` that exists."""
        return next((p for p in paths if self.exists(p)), None)

    def glob(self, pattern: str) -> list[str]:
        """Matches in byte order, as glob(3) gives them in the C locale."""
        try:
            found = glob.glob(glob.escape(self.root) + pattern)
        except (OSError, ValueError, re.error):
            return []
        parent = os.path.dirname(pattern)
        if self.is_dir(parent) and not os.access(self.place(parent), os.R_OK | os.X_OK):
            self.unreadable.add(parent)
        return sorted((p[len(self.root) :] for p in found), key=os.fsencode)

    def changed_at(self, path: str) -> float | None:
        """When a file's content or place last changed (a copy may carry an old mtime, never an old ctime)."""
        try:
            found = os.stat(self.place(path))
        except (OSError, ValueError):
            return None
        return found.st_mtime if stat.S_ISDIR(found.st_mode) else max(found.st_mtime, found.st_ctime)

    def program(self, *names: str) -> str | None:
        """Where a program of one of these names lies, in the order in which login shells look."""
        folders = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
        return next((f"{d}/{n}" for n in names for d in folders if self.is_program(f"{d}/{n}")), None)


def our_lines(path: str, lines: list[str]) -> set[int]:
    """1-based numbers of the lines that this collection wrote: whole drop-ins, or managed blocks."""
    if _OUR_NAME.match(os.path.basename(path)):
        return set(range(1, len(lines) + 1))
    ours: set[int] = set()
    inside = False
    for number, line in enumerate(lines, 1):
        marker = _MARKER.match(line) if "sessionops.policy" in line else None
        if marker:
            inside = marker.group(1) == "BEGIN"
        elif inside:
            ours.add(number)
    return ours
