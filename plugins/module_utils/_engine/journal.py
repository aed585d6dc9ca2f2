# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a transaction must know to undo itself, on the disk before it touches anything, and the last few of them.

    /var/lib/session-policy/            root only; its flock(2) is held by the one transaction that runs
      .transactions/NUMBER-TOKEN/       one transaction; the last five are kept
        journal.json                    there from before the first change until the commit, which renames it:
        done.json                       this one came to its end
        reverted.json, told.json        the host took this one back by itself; and the next run has said so
        0.former, 1.former, …           the bytes of the files that were there before
        applied                         all is done but the confirmation
        why                             why the host took it back
      NAME/
        made.json                       the files and directories that this transaction has made on the host

Beside each file, while a transaction runs: `.session-policy-TOKEN-N.new`, and `….old`, a second name of the former
file (a copy where the file system has no hard links). Putting that one back needs no space on the disk and loses
nothing of it; where it was taken away, the bytes in N.former are written anew.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import json
import os
import re
import stat
import typing as t
from dataclasses import asdict, dataclass

from . import files
from .files import File, Refused, World
from .order import STEPS, Commands, Logins

STATE = "/var/lib/session-policy"
TRANSACTIONS = ".transactions"
# See `guard`.
PROGRAM = "revert.pyz"
MADE = "made.json"
# What a transaction came to, which is the name of its file.
ARMED, DONE, REVERTED, TOLD = "journal.json", "done.json", "reverted.json", "told.json"
_STATES = (ARMED, DONE, REVERTED, TOLD)
_APPLIED, _WHY = "applied", "why"
KEPT = 5
_FORMAT = 2
# Seconds that the host itself has for taking something back before anybody else does it.
GRACE = 10


@dataclass(frozen=True)
class FileStep:
    """One file that goes from `former` to `after` (None: not there)."""

    path: str
    private: bool
    former: File | None
    after: File | None
    # sha256 of what this transaction puts there, to tell it from what somebody else wrote later.
    placed: str | None
    new: str
    old: str
    blob: str

    @classmethod
    def of(cls, path: str, private: bool, former: File | None, after: File | None, token: str, n: int) -> FileStep:
        beside = f".session-policy-{token}-{n}"
        placed = digest(after)
        return cls(path, private, former, after, placed, beside + ".new", beside + ".old", f"{n}.former")


@dataclass(frozen=True)
class FolderStep:
    """One directory that is made (`former` is None) or removed."""

    path: str
    former: tuple[int, int, int] | None  # mode, uid, gid


@dataclass(frozen=True)
class Confirm:
    """Somebody has to say, over a new connection, that the host can still be reached; else it takes all back."""

    within: int
    # Which boot, and seconds after it; see World.boot().
    boot: str
    began: float
    # The connection over which the change came, see `logins.Connection`; None: no connection of sshd's.
    connection: str | None
    user: str | None
    # Where sshd is asked for a login: address and port.
    address: str
    port: int


@dataclass(frozen=True)
class Journal:
    key: str
    name: str
    files: tuple[FileStep, ...]
    folders: tuple[FolderStep, ...]
    commands: Commands
    # Seconds of the epoch.
    at: float
    confirm: Confirm | None = None
    logins: Logins | None = None
    # It takes away what its transaction has put there.
    away: bool = False
    # All is done but the confirmation.
    applied: bool = False

    @property
    def folder(self) -> str:
        return f"{STATE}/{TRANSACTIONS}/{self.key}"

    def waits(self, world: World) -> bool:
        """Whether a confirmation may still come, or the host is about to take it back."""
        if not self.confirm or not self.applied:
            return False
        boot, now = world.boot()
        return boot == self.confirm.boot and now < self.confirm.began + self.confirm.within + GRACE


@dataclass(frozen=True)
class Entry:
    """One line of the history."""

    key: str
    name: str
    state: str
    at: float
    within: int | None
    files: tuple[tuple[str, str], ...]  # path, what became of it
    why: str | None


@dataclass(frozen=True)
class Restored:
    """What undoing came to."""

    paths: tuple[str, ...]
    # path, where its former bytes lie (None: it was not there), why it could not be put back
    failed: tuple[tuple[str, str | None, str], ...]
    # Changed by somebody else since, and therefore left.
    left: tuple[str, ...]


def digest(file: File | None) -> str | None:
    """What tells the bytes of one file from any others'."""
    return hashlib.sha256(file.data).hexdigest() if file else None


def where(root: str, *inner: str) -> str:
    """The real path of the state directory, or of something in it: /var may be a link to elsewhere."""
    return os.path.join(os.path.dirname(files.locate(root, f"{STATE}/{MADE}").path), *inner)


# --- on the disk ------------------------------------------------------------------------------------------------


def next_key(world: World) -> str:
    """The name of a new transaction: it sorts behind those that are there."""
    numbers = [int(key.partition("-")[0]) for key in _keys(world.root)]
    return f"{max(numbers, default=0) + 1:06d}-{os.urandom(4).hex()}"


def _keys(root: str) -> list[str]:
    """The transactions that are known, oldest first."""
    try:
        folder = files.open_folder(root, where(root, TRANSACTIONS))
    except FileNotFoundError:
        return []
    try:
        return sorted(key for key in os.listdir(folder) if re.fullmatch(r"[0-9]{6,9}-[0-9a-f]{8}", key))
    finally:
        os.close(folder)


def has_program(root: str) -> bool:
    """Whether something of the host's own revert is there."""
    state = files.open_folder(root, where(root))
    try:
        return files.is_there(state, PROGRAM)
    finally:
        os.close(state)


class Folder:
    """The open folder of one transaction."""

    def __init__(self, root: str, key: str) -> None:
        self.path = where(root, TRANSACTIONS, key)
        self.root = root

    def __enter__(self) -> int:
        self.fd = files.open_folder(self.root, self.path)
        return self.fd

    def __exit__(self, *_problem: object) -> None:
        os.close(self.fd)


def arm(world: World, journal: Journal) -> None:
    """Put `journal` on the disk, complete or not at all."""
    base = files.open_folder(world.root, where(world.root))
    try:
        # The notes go into the folder of that name.
        for name in (journal.name, TRANSACTIONS):
            files.make_folder(world, base, name, 0o700, os.geteuid(), os.getegid())
        above = _open_state(base, TRANSACTIONS)
    finally:
        os.close(base)
    try:
        files.make_folder(world, above, journal.key, 0o700, os.geteuid(), os.getegid())
    finally:
        os.close(above)
    with Folder(world.root, journal.key) as folder:
        for step in journal.files:
            if step.former:
                files.write_new(world, folder, step.blob, _secret(step.former.data))
        text = json.dumps(_dump(journal), indent=1).encode()
        files.write_new(world, folder, ARMED + ".new", _secret(text))
        world.rename(ARMED + ".new", ARMED, folder)
        world.fsync(folder)


def mark_applied(world: World, journal: Journal) -> None:
    """From now on it only waits for its confirmation."""
    with Folder(world.root, journal.key) as folder:
        files.write_new(world, folder, _APPLIED, _secret(b""))
        world.fsync(folder)


def finish(world: World, journal: Journal, state: str, why: str | None = None) -> None:
    """The commit: after this nothing undoes it any more. A renaming, which needs no space on the disk."""
    with Folder(world.root, journal.key) as folder:
        if why:
            try:
                files.forget(world, folder, _WHY)
                files.write_new(world, folder, _WHY, _secret(why.encode("utf-8", "backslashreplace")))
            except OSError:
                # The log has it.
                pass
        if files.is_there(folder, ARMED):
            world.rename(ARMED, state, folder)
        world.fsync(folder)


def drop(world: World, journal: Journal) -> None:
    """It is as if it had never been."""
    try:
        with Folder(world.root, journal.key) as folder:
            files.forget(world, folder, ARMED)
            world.fsync(folder)
    except FileNotFoundError:
        pass


def told(world: World, key: str) -> None:
    with Folder(world.root, key) as folder:
        world.rename(REVERTED, TOLD, folder)


def forget(world: World, name: str) -> None:
    """Let go of what is known about the transactions of that name that came to their end."""
    for entry in history(world.root):
        if entry.name == name and entry.state != ARMED:
            with Folder(world.root, entry.key) as folder:
                files.forget(world, folder, entry.state)


def tidy(world: World) -> None:
    """Take away what no journal needs, and the state directory itself once nothing of ours is left on the host."""
    state = where(world.root)
    finished = []
    for key in _keys(world.root):
        with Folder(world.root, key) as folder:
            there = _state(folder)
        if there is None:
            _remove(world, key)
        elif there != ARMED:
            finished.append((key, there))
    for key, there in finished[:-KEPT]:
        with Folder(world.root, key) as folder:
            world.unlink(there, folder)
        _remove(world, key)
    base = files.open_folder(world.root, state)
    try:
        for name in sorted(os.listdir(base)):
            if name.endswith(".new"):
                # Its writer was killed.
                world.unlink(name, base)
            elif stat.S_ISDIR(os.lstat(name, dir_fd=base).st_mode):
                inner = _open_state(base, name)
                try:
                    bare = not os.listdir(inner)
                finally:
                    os.close(inner)
                if bare:
                    world.rmdir(name, base)
        empty = not os.listdir(base)
    finally:
        os.close(base)
    if empty:
        above = files.open_folder(world.root, os.path.dirname(state))
        try:
            world.rmdir(os.path.basename(state), above)
        finally:
            os.close(above)


def _state(folder: int) -> str | None:
    return next((state for state in _STATES if files.is_there(folder, state)), None)


def _remove(world: World, key: str) -> None:
    with Folder(world.root, key) as folder:
        for name in os.listdir(folder):
            world.unlink(name, folder)
    above = files.open_folder(world.root, where(world.root, TRANSACTIONS))
    try:
        world.rmdir(key, above)
    finally:
        os.close(above)


def load(root: str, key: str, *states: str) -> Journal | None:
    """The transaction `key` if it is in one of `states`."""
    with Folder(root, key) as folder:
        for state in states:
            text = files.read_at(folder, state)
            if text:
                return _load(key, folder, text.data, state)
    return None


def pending(root: str) -> list[Journal]:
    """The journals of runs that came to no end, or wait for their confirmation."""
    return [journal for journal in (load(root, key, ARMED) for key in _keys(root)) if journal]


def last_done(root: str) -> Journal | None:
    return next((journal for journal in (load(root, key, DONE) for key in reversed(_keys(root))) if journal), None)


def history(root: str) -> list[Entry]:
    """What is known of the last transactions, newest first."""
    found = []
    for key in reversed(_keys(root)):
        with Folder(root, key) as folder:
            state = _state(folder)
            text = files.read_at(folder, state) if state else None
            why = files.read_at(folder, _WHY)
        if text and state:
            try:
                found.append(_entry(key, state, json.loads(text.data), why))
            except (ValueError, KeyError, TypeError):
                # What is only history must not hold anybody up.
                continue
    return found


def _entry(key: str, state: str, said: t.Mapping[str, t.Any], why: File | None) -> Entry:
    acts = tuple((step["path"], _act(step)) for step in said["files"] if os.path.basename(step["path"]) != MADE)
    within = (said["confirm"] or {}).get("within")
    return Entry(
        key, said["name"], state, said["at"], within, acts, why.data.decode("utf-8", "replace") if why else None
    )


def shown_history(root: str) -> list[dict[str, t.Any]]:
    """`history` for people; empty for those who may not read it."""
    try:
        entries = history(root)
    except (PermissionError, Refused):
        return []
    from .model import iso

    return [
        {
            "id": entry.key,
            "name": entry.name,
            "state": {ARMED: "pending", DONE: "done"}.get(entry.state, "reverted"),
            "at": iso(entry.at),
            "confirm_within": entry.within,
            "files": [{"path": path, "action": action} for path, action in entry.files],
            "why": entry.why,
        }
        for entry in entries
    ]


def _act(step: t.Mapping[str, t.Any]) -> str:
    return "removed" if step["placed"] is None else "changed" if step["former"] else "created"


def _open_state(base: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=base)


def _secret(data: bytes) -> File:
    return File(data, 0o600, os.geteuid(), os.getegid())


def _dump(journal: Journal) -> dict[str, t.Any]:
    return {
        "format": _FORMAT,
        "name": journal.name,
        "at": journal.at,
        "away": journal.away,
        "commands": {step: getattr(journal.commands, step) for step in STEPS},
        "confirm": journal.confirm and asdict(journal.confirm),
        "logins": journal.logins and asdict(journal.logins),
        "folders": [{"path": step.path, "former": step.former} for step in journal.folders],
        "files": [
            {
                "path": step.path,
                "private": step.private,
                "placed": step.placed,
                "new": step.new,
                "old": step.old,
                "blob": step.blob,
                "former": step.former
                and {
                    "mode": step.former.mode,
                    "uid": step.former.uid,
                    "gid": step.former.gid,
                    "mtime_ns": step.former.mtime_ns,
                    "xattrs": [[name, base64.b64encode(value).decode()] for name, value in step.former.xattrs],
                },
            }
            for step in journal.files
        ],
    }


def _load(key: str, folder: int, text: bytes, state: str) -> Journal:
    where = f"{STATE}/{TRANSACTIONS}/{key}/{state}"
    try:
        said = json.loads(text)
        if said["format"] != _FORMAT:
            raise Refused(f"{where} was written by another version of this collection: run that one again first")
        steps = []
        for entry in said["files"]:
            former = entry["former"]
            if former:
                blob = files.read_at(folder, entry["blob"])
                if blob is None:
                    raise Refused(f"{entry['blob']} is missing, which {where} needs")
                xattrs = tuple((xattr, base64.b64decode(value)) for xattr, value in former.pop("xattrs"))
                former = File(blob.data, xattrs=xattrs, **former)
            steps.append(FileStep(former=former, after=None, **{k: v for k, v in entry.items() if k != "former"}))
        logins = said["logins"]
        return Journal(
            key,
            said["name"],
            tuple(steps),
            tuple(FolderStep(entry["path"], entry["former"] and tuple(entry["former"])) for entry in said["folders"]),
            Commands(**{step: tuple(map(tuple, argvs)) for step, argvs in said["commands"].items()}),
            said["at"],
            said["confirm"] and Confirm(**said["confirm"]),
            logins and Logins(**{**logins, "users": tuple(logins["users"]), "groups": tuple(logins["groups"])}),
            said["away"],
            files.is_there(folder, _APPLIED),
        )
    except (ValueError, KeyError, TypeError) as problem:
        if isinstance(problem, Refused):
            raise
        raise Refused(
            f"{where} can't be understood ({problem}): look at it and at the files beside it, then move it away"
        ) from problem


# --- one at a time ----------------------------------------------------------------------------------------------


def lock(world: World, create: bool, limit: float) -> int | None:
    """Be the only transaction on this host; the descriptor returned holds the lock, death lets go of it.

    Returns None when no transaction has left anything on this host and `create` is False.
    """
    end = world.now() + limit
    while True:
        try:
            fd = files.open_folder(world.root, where(world.root))
        except FileNotFoundError:
            if not create:
                return None
            _make_base(world)
            continue
        try:
            status = os.fstat(fd)
            if not files.only_root_writes(status):
                raise Refused(f"others than root can write in {STATE}: find out why, then run: chmod 0700 {STATE}")
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(status, _stat_base(world.root)):
                held, fd = fd, -1
                return held
        except (BlockingIOError, FileNotFoundError) as busy:
            if world.now() > end:
                raise Refused(
                    f"another transaction has been running on this host for {limit:.0f} s: wait for it to end and "
                    "run this again"
                ) from busy
            world.sleep(0.1)
        finally:
            if fd >= 0:
                os.close(fd)


def _make_base(world: World) -> None:
    state = where(world.root)
    above = files.open_folder(world.root, os.path.dirname(state))
    try:
        files.make_folder(world, above, os.path.basename(state), 0o700, os.geteuid(), os.getegid())
    finally:
        os.close(above)


def _stat_base(root: str) -> os.stat_result:
    fd = files.open_folder(root, where(root))
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


# --- doing and undoing ------------------------------------------------------------------------------------------


def restore(world: World, journal: Journal) -> Restored:
    """Put everything back as `journal` knows it; goes on after a failure, and may be run again after its own death."""
    paths: list[str] = []
    left: list[str] = []
    failed: list[tuple[str, str | None, str]] = []
    for folder in sorted(journal.folders, key=lambda step: step.path):
        if folder.former:
            try:
                _remake(world, folder.path, folder.former)
            except OSError as problem:
                failed.append((folder.path, None, problem.strerror or str(problem)))
    for step in journal.files:
        try:
            did = _restore_file(world, step)
        except OSError as problem:
            blob = f"{journal.folder}/{step.blob}" if step.former else None
            failed.append((step.path, blob, problem.strerror or str(problem)))
        else:
            if did == "restored":
                paths.append(step.path)
            elif did == "left":
                left.append(step.path)
    for folder in sorted(journal.folders, key=lambda step: step.path, reverse=True):
        if not folder.former:
            try:
                remove_folder(world, folder.path)
            except OSError as problem:
                failed.append((folder.path, None, problem.strerror or str(problem)))
    return Restored(tuple(paths), tuple(failed), tuple(left))


def _restore_file(world: World, step: FileStep) -> str:
    try:
        folder = files.open_folder(world.root, os.path.dirname(step.path))
    except FileNotFoundError:
        if step.former:
            raise
        return ""
    try:
        did = _put_back(world, step, folder)
        for name in (step.new, step.old):
            files.forget(world, folder, name)
        world.fsync(folder)
        return did
    finally:
        os.close(folder)


def _put_back(world: World, step: FileStep, folder: int) -> str:
    name = os.path.basename(step.path)
    now = files.read_at(folder, name)
    if now is None and step.former is None:
        return ""
    if now is not None and now.like(step.former):
        return ""
    if now is not None and digest(now) != step.placed:
        return "left"
    if step.former is None:
        world.unlink(name, folder)
        return "restored"
    if not _is_former(step, folder):
        files.forget(world, folder, step.old)
        files.forget(world, folder, step.new)
        files.write_new(world, folder, step.old, step.former)
    world.rename(step.old, name, folder)
    return "restored"


def _is_former(step: FileStep, folder: int) -> bool:
    """Whether the second name kept beside is complete and nobody else's work."""
    try:
        old = files.read_at(folder, step.old)
    except OSError:
        return False
    return old is not None and old.like(step.former)


def _remake(world: World, path: str, former: tuple[int, int, int]) -> None:
    above = files.open_folder(world.root, os.path.dirname(path))
    try:
        name = os.path.basename(path)
        if files.is_there(above, name):
            status = os.lstat(name, dir_fd=above)
            if (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == former:
                return
        files.make_folder(world, above, name, *former)
    finally:
        os.close(above)


def remove_folder(world: World, path: str) -> None:
    """Remove the directory `path` unless it is gone, or somebody has put something into it."""
    try:
        above = files.open_folder(world.root, os.path.dirname(path))
    except FileNotFoundError:
        return
    try:
        world.rmdir(os.path.basename(path), above)
        world.fsync(above)
    except OSError as problem:
        if problem.errno not in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):
            raise
    finally:
        os.close(above)
