# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a process is at: editors, transfers, database clients, package managers, and how that is known.

A name is what its owner chose, so it comes last: first the running file, by device and inode of the installed
programs, then by being a copy of one, then by its own name; what only calls itself so is said to be so.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from typing import NamedTuple

from ..model import Item, visible
from .procfs import Proc

_PROGRAMS = {
    "editors": "vim nvim nano emacs vi joe jed micro ne mg mcedit kak hx ed vim.basic vim.tiny vim.nox vim.gtk3",
    "transfers": "scp rsync sftp-server sftp ftp tnftp lftp curl wget rclone",
    "database_clients": "psql mysql mariadb sqlite3 mongosh mongo redis-cli sqlplus clickhouse-client",
    "package_managers": "apt apt-get aptitude dpkg dnf dnf5 yum rpm zypper pip pip3 pacman apk snap flatpak",
    "shells": "bash sh dash zsh fish ksh ksh93 mksh tcsh csh ash",
    "multiplexers": "tmux screen",
}
CATEGORY = {name: category for category, names in _PROGRAMS.items() for name in names.split()}
_FOLDERS = ("usr/bin", "bin", "usr/local/bin", "usr/sbin", "usr/lib/openssh", "usr/libexec/openssh", "usr/lib/ssh")
_VARIANT = re.compile(r"^(vim|emacs|nano|ksh|pip|mksh|emacs-gtk|emacs-nox)[-.0-9]?[a-z0-9.+-]*$")
_INTERPRETER = re.compile(r"^(python|node|nodejs|perl|ruby|bash|sh|dash|java)[0-9.]*$")
_MULTICALL = ("busybox", "toybox", "coreutils")
#: Interactive clients that move something only while they hold a file open.
_ON_DEMAND = ("sftp-server", "sftp", "ftp", "tnftp", "lftp")
_BATCH = {"-batch", "--batch"}
_NOT_DATA = ("/dev/", "/proc/", "/sys/", "/usr/", "/lib", "/etc/", "/var/cache/", "/run/", "/memfd:", "/var/lib/sss/")


class Known(NamedTuple):
    program: str
    category: str
    known_by: str
    executable: str | None


class Programs:
    """The installed programs below `root` that are told apart, by (device, inode) and by size."""

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._seen: dict[tuple[int, int], Known | None] = {}
        self._by_inode: dict[tuple[int, int], str] | None = None
        self._by_size: dict[int, list[tuple[str, str]]] = {}

    def recognise(self, proc: Proc, pid: int, comm: str) -> Known | None:
        """What program `pid` runs, if it is one of ours."""
        exe = f"{proc.root}/{pid}/exe"
        try:
            found = os.stat(exe)
        except OSError:
            return self._by_word(proc, pid, comm, None)
        key = (found.st_dev, found.st_ino)
        if key not in self._seen:
            self._seen[key] = self._by_file(exe, found)
        return self._seen[key] or self._by_word(proc, pid, comm, proc.link(f"{pid}/exe"))

    def _by_file(self, exe: str, found: os.stat_result) -> Known | None:
        """What the running file is, whatever its process calls itself."""
        try:
            path = os.readlink(exe)
        except OSError:
            return None
        folder, base = os.path.split(path)
        # /usr/lib/postgresql/17/bin/psql is an installed program, too, and /usr is root's.
        if (base in CATEGORY or _VARIANT.match(base)) and (folder[1:] in _FOLDERS or folder.startswith("/usr/")):
            try:
                installed = os.stat(os.path.join(self._root, path[1:]))
            except OSError:
                installed = None
            if installed and (installed.st_dev, installed.st_ino) == (found.st_dev, found.st_ino):
                return self._known(base, "executable", None)
        # A hard link or a copy under another name: only now is every installed program looked up.
        if self._by_inode is None:
            self._by_inode = self._look_up()
        name = self._by_inode.get((found.st_dev, found.st_ino))
        if name:
            return self._known(name, "executable", None)
        for name, original in self._by_size.get(found.st_size, ()):
            if _same(exe, original, found.st_size):
                return self._known(name, "content", path)
        return None

    def _look_up(self) -> dict[tuple[int, int], str]:
        by_inode: dict[tuple[int, int], str] = {}
        for folder in _FOLDERS:
            if os.path.islink(os.path.join(self._root, folder)):  # /bin on a merged /usr
                continue
            for name in CATEGORY:
                path = os.path.join(self._root, folder, name)
                try:
                    found = os.stat(path)
                except OSError:
                    continue
                if os.path.basename(os.path.realpath(path)) in _MULTICALL or not stat.S_ISREG(found.st_mode):
                    continue  # many programs in one file are told by what they are called
                if by_inode.setdefault((found.st_dev, found.st_ino), name) == name:
                    self._by_size.setdefault(found.st_size, []).append((name, path))
        return by_inode

    def _by_word(self, proc: Proc, pid: int, comm: str, path: str | None) -> Known | None:
        """What its file's path or the process itself says."""
        path = path[:-10] if path and path.endswith(" (deleted)") else path
        base = os.path.basename(path or "")
        if base in CATEGORY or _VARIANT.match(base):
            return self._known(base, "path", path)
        arguments = proc.arguments(pid)
        # The first word: mongosh writes "mongosh mongodb://…" over both, and "mongosh " where it has no address.
        comm = comm.partition(" ")[0]
        called = os.path.basename(arguments[0].lstrip("-").partition(" ")[0]) if arguments else ""
        if base in _MULTICALL and called in CATEGORY:
            return self._known(called, "executable", path)
        if _INTERPRETER.match(base):
            script = _script(arguments)
            if script in CATEGORY:
                return self._known(script, "script", path)
        for name in (comm, called):
            if name in CATEGORY:
                return self._known(name, "name", path)
        return None

    @staticmethod
    def _known(name: str, known_by: str, path: str | None) -> Known:
        family = _VARIANT.match(name)
        category = CATEGORY.get(name) or CATEGORY[family.group(1).split("-")[0] if family else name]
        program = next((plain for plain in ("vim", "emacs") if name.startswith(plain)), name)
        return Known(program, category, known_by, visible(path) if path else None)


def _script(arguments: tuple[str, ...]) -> str:
    for at, argument in enumerate(arguments[1:], 1):
        if argument == "-m" and at + 1 < len(arguments):
            return arguments[at + 1]
        if not argument.startswith("-"):
            return os.path.basename(argument)
    return ""


def _same(left: str, right: str, size: int) -> bool:
    if size > 64 << 20:
        return False
    try:
        with open(left, "rb") as one, open(right, "rb") as two:
            while True:
                block = one.read(1 << 16)
                if block != two.read(1 << 16):
                    return False
                if not block:
                    return True
    except OSError:
        return False


def item(proc: Proc, pid: int, start_time: int, tty: str | None, known: Known) -> Item | None:
    """The work of a recognised process with its files; None where it has nothing in hand."""
    files, swap = _open_files(proc, pid)
    if known.category == "editors":
        files = [_of_swap(path) for path in swap]
        if known.program == "emacs":
            files, swap = of_emacs(proc, pid)
            if not swap and _BATCH.intersection(proc.arguments(pid)):
                return None  # it compiles for another emacs: nobody edits in it
        files = files or _named(proc, pid)
    elif known.category == "transfers":
        if known.program in _ON_DEMAND and not files:
            return None
    elif known.category == "database_clients" and known.program != "sqlite3":
        files = []
    return Item(
        known.program,
        pid,
        start_time,
        known.known_by,
        known.executable,
        tty,
        tuple(visible(path) for path in files[:8]),
        tuple(visible(path) for path in swap[:8]),
    )


def _open_files(proc: Proc, pid: int) -> tuple[list[str], list[str]]:
    """Data files and editors' swap files that the process has open, by their names alone: no file system is asked."""
    files, swap = [], []
    for number, target in proc.descriptors(pid):
        if not target.startswith("/") or target.startswith(_NOT_DATA) or target.endswith(" (deleted)"):
            continue
        if re.search(r"\.sw[a-p]$", target):
            swap.append(target)
            continue
        flags = re.search(rb"^flags:\s*([0-7]+)$", proc.read(f"{pid}/fdinfo/{number}", 4096) or b"", re.M)
        if not flags or not int(flags.group(1), 8) & os.O_DIRECTORY:
            files.append(target)
    return files, swap


def _of_swap(path: str) -> str:
    folder, name = os.path.split(path)
    if "%" in name:  # 'directory' ends in //: the whole path is in the name
        return name[:-4].replace("%", "/")
    return os.path.join(folder, name[1:-4] if name.startswith(".") else name[:-4])


def of_emacs(proc: Proc, pid: int, patience: float = 1.0) -> tuple[list[str], list[str]]:
    """The files that an emacs has changed and not saved, and its lock and autosave beside each.

    It holds none of them open. A lock is a link ``.#FILE`` to USER@HOST.PID:BOOT, the autosave is ``#FILE#`` (GNU Emacs
    Manual, "Interlocking" and "Auto Save Files"). Looked for where it runs and beside the files that it was started
    with, by names alone and in a thread of its own: a user's file system may hang.
    """
    folder = proc.link(f"{pid}/cwd")
    folders = dict.fromkeys([folder, *(os.path.dirname(path) for path in _named(proc, pid))] if folder else [])
    found: list[tuple[str, list[str]]] = []

    def look() -> None:
        for place in list(folders)[:8]:
            found.extend(_locked_by_emacs(f"{proc.root}/{pid}/root{place}", str(place), pid))

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(patience)
    seen = list(found)
    return [path for path, _drafts in seen], [draft for _path, drafts in seen for draft in drafts]


def _locked_by_emacs(there: str, place: str, pid: int) -> list[tuple[str, list[str]]]:
    try:
        names = set(os.listdir(there))
    except OSError:
        return []
    found = []
    for name in sorted(name for name in names if name.startswith(".#")):
        try:
            owner = os.readlink(os.path.join(there, name))
        except OSError:
            continue
        if owner.partition(":")[0].endswith(f".{pid}"):
            drafts = [draft for draft in (name, f"#{name[2:]}#") if draft in names]
            found.append((os.path.join(place, name[2:]), [os.path.join(place, draft) for draft in drafts]))
    return found


def _named(proc: Proc, pid: int) -> list[str]:
    """The files that the command line names."""
    folder = proc.link(f"{pid}/cwd") or ""
    names = [name for name in proc.arguments(pid)[1:] if name and name[0] not in "-+"]
    return [os.path.normpath(os.path.join(folder, name)) for name in names]


def internal_sftp(proc: Proc, pid: int, start_time: int) -> Item | None:
    """sshd's own sftp server, while it holds a file open."""
    files, _swap = _open_files(proc, pid)
    if not files:
        return None
    return Item("internal-sftp", pid, start_time, "executable", files=tuple(visible(path) for path in files[:8]))
