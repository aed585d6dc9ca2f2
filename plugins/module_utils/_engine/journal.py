# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a transaction must know to undo itself, on the disk before it touches anything.

    /var/lib/session-policy/            root only; its flock(2) is held by the one transaction that runs
      NAME/
        journal.json                    there from before the first change until the commit
        0.former, 1.former, …           the bytes of the files that were there before
        made.json                       the files and directories that this transaction has made on the host

Beside each file, while a transaction runs: `.session-policy-TOKEN-N.new`, and `….old`, a second name of the former
file. Putting that one back needs no space on the disk and loses nothing of it; where there is none (no hard links
on this file system, or it was taken away), the bytes in NAME/ are written anew.
"""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import json
import os
import stat
import typing as t
from dataclasses import dataclass

from . import files
from .files import File, Refused, World

STATE = "/var/lib/session-policy"
_JOURNAL = "journal.json"
MADE = "made.json"
_FORMAT = 1


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
        placed = _digest(after.data) if after else None
        return cls(path, private, former, after, placed, beside + ".new", beside + ".old", f"{n}.former")


@dataclass(frozen=True)
class FolderStep:
    """One directory that is made (`former` is None) or removed."""

    path: str
    former: tuple[int, int, int] | None  # mode, uid, gid


@dataclass(frozen=True)
class Journal:
    name: str
    files: tuple[FileStep, ...]
    folders: tuple[FolderStep, ...]
    apply: tuple[tuple[str, ...], ...]

    @property
    def folder(self) -> str:
        return f"{STATE}/{self.name}"


@dataclass(frozen=True)
class Restored:
    """What undoing came to."""

    paths: tuple[str, ...]
    # path, where its former bytes lie (None: it was not there), why it could not be put back
    failed: tuple[tuple[str, str | None, str], ...]
    # Changed by somebody else since, and therefore left.
    left: tuple[str, ...]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def where(root: str, *inner: str) -> str:
    """The real path of the state directory, or of something in it: /var may be a link to elsewhere."""
    return os.path.join(os.path.dirname(files.locate(root, f"{STATE}/{MADE}").path), *inner)


# --- on the disk ------------------------------------------------------------------------------------------------


def arm(world: World, journal: Journal) -> None:
    """Put `journal` on the disk, complete or not at all."""
    base = files.open_folder(world.root, where(world.root))
    try:
        files.make_folder(world, base, journal.name, 0o700, os.geteuid(), os.getegid())
        folder = _open_state(base, journal.name)
    finally:
        os.close(base)
    try:
        for step in journal.files:
            if step.former:
                files.forget(world, folder, step.blob)
                files.write_new(world, folder, step.blob, _secret(step.former.data))
        text = json.dumps(_dump(journal), indent=1).encode()
        files.forget(world, folder, _JOURNAL + ".new")
        files.write_new(world, folder, _JOURNAL + ".new", _secret(text))
        world.rename(_JOURNAL + ".new", _JOURNAL, folder)
        world.fsync(folder)
    finally:
        os.close(folder)


def disarm(world: World, journal: Journal) -> None:
    """The commit: after this nothing undoes it any more."""
    folder = files.open_folder(world.root, where(world.root, journal.name))
    try:
        files.forget(world, folder, _JOURNAL)
        world.fsync(folder)
    finally:
        os.close(folder)


def tidy(world: World) -> None:
    """Take away what no journal needs, and the state directory itself once nothing of ours is left on the host."""
    state = where(world.root)
    base = files.open_folder(world.root, state)
    try:
        for name in sorted(os.listdir(base)):
            if not stat.S_ISDIR(os.lstat(name, dir_fd=base).st_mode):
                continue
            folder = _open_state(base, name)
            try:
                there = os.listdir(folder)
                if _JOURNAL not in there:
                    for rubbish in there:
                        if rubbish.endswith(".former") or rubbish == _JOURNAL + ".new":
                            world.unlink(rubbish, folder)
                bare = not os.listdir(folder)
            finally:
                os.close(folder)
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


def pending(root: str) -> list[Journal]:
    """The journals of runs that came to no end."""
    base = files.open_folder(root, where(root))
    try:
        found = []
        for name in sorted(os.listdir(base)):
            if not stat.S_ISDIR(os.lstat(name, dir_fd=base).st_mode):
                continue
            folder = _open_state(base, name)
            try:
                text = files.read_at(folder, _JOURNAL)
                if text:
                    found.append(_load(name, folder, text.data))
            finally:
                os.close(folder)
        return found
    finally:
        os.close(base)


def _open_state(base: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=base)


def _secret(data: bytes) -> File:
    return File(data, 0o600, os.geteuid(), os.getegid())


def _dump(journal: Journal) -> dict[str, t.Any]:
    return {
        "format": _FORMAT,
        "apply": journal.apply,
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


def _load(name: str, folder: int, text: bytes) -> Journal:
    where = f"{STATE}/{name}/{_JOURNAL}"
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
                    raise Refused(f"{STATE}/{name}/{entry['blob']} is missing, which {where} needs")
                xattrs = tuple((xattr, base64.b64decode(value)) for xattr, value in former.pop("xattrs"))
                former = File(blob.data, xattrs=xattrs, **former)
            steps.append(FileStep(former=former, after=None, **{k: v for k, v in entry.items() if k != "former"}))
        folders = tuple(
            FolderStep(entry["path"], entry["former"] and tuple(entry["former"])) for entry in said["folders"]
        )
        return Journal(name, tuple(steps), folders, tuple(tuple(argv) for argv in said["apply"]))
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
    if now is not None and _digest(now.data) != step.placed:
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
