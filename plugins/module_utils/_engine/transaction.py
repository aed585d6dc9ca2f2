# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of configuration files: all of them valid and in force, or none.

observe (where each path leads and what is there) → judge (what it shall become) → rehearse (validate it where
nobody else sees it) → act (journal, write beside, rename, apply, verify, commit). A failure undoes what was done
from the journal; so does the next transaction, whatever its name, when this one is killed.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import typing as t
from dataclasses import dataclass, field

from . import block, files, journal
from .files import File, Outcome, Refused, Spot, World
from .journal import FileStep, FolderStep, Journal
from .namespace import Unavailable, die_with_parent
from .order import Argv, Order, Wish

# Longer than a reload with a rehearsal takes, shorter than the patience of whoever waits.
LOCK_LIMIT = 60.0


class Failed(Exception):
    """A sentence: what failed, and how the host was left."""


class Interrupted(BaseException):
    """Somebody wants this process to end; what was begun is undone first."""


@dataclass
class Report:
    """What a run came to, filled in as it goes, so that it is there after a failure, too."""

    changed: bool = False
    files: list[dict[str, str]] = field(default_factory=list)
    validated_in: str = "none"
    restored: list[str] = field(default_factory=list)
    recovered: bool = False
    diff: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Change:
    """One file, from `before` to `after` (None: not there)."""

    spot: Spot
    before: File | None
    after: File | None
    action: str


@dataclass(frozen=True)
class Plan:
    changes: tuple[Change, ...]
    folders: tuple[FolderStep, ...]
    made_before: File | None
    made_after: File | None

    @property
    def touched(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.action not in ("unchanged", "skipped"))

    @property
    def changed(self) -> bool:
        return bool(self.touched or self.folders)

    @property
    def to_do(self) -> bool:
        """Also when only our own notes differ."""
        made_before = self.made_before.data if self.made_before else None
        return self.changed or made_before != (self.made_after.data if self.made_after else None)


# --- observe and judge ------------------------------------------------------------------------------------------


def make_plan(root: str, order: Order) -> Plan:
    """What `order` would change on the host as it is now; touches nothing.

    Raises:
        Refused: it can't be done.
    """
    record = _read_record(root, order.name)
    made = set(json.loads(record.data)) if record else set()
    changes: dict[str, Change] = {}
    for wish in order.wishes:
        spot = files.locate(root, wish.path)
        twin = changes.get(spot.path)
        if twin:
            raise Refused(f"{wish.path} and {twin.spot.asked} are the same file: name it once")
        before = files.read(root, spot, wish.uid)
        try:
            after, action = judge(wish, before, spot.path in made)
        except ValueError as problem:
            raise Refused(f"{wish.path}: {problem}") from None
        changes[spot.path] = Change(spot, before, after, action)
    gone = {path for path, change in changes.items() if change.after is None and change.action != "skipped"}
    there = {path for path, change in changes.items() if change.after is not None}
    new_folders = {path for change in changes.values() if change.action == "created" for path in change.spot.made}
    folders = [FolderStep(path, None) for path in sorted(new_folders)]
    forgotten = set(gone)
    for path in sorted(made, reverse=True):
        if not any(other.startswith(path + "/") for other in gone):
            continue
        status = _folder_status(root, path)
        if status is None:
            forgotten.add(path)
        elif any(other.startswith(path + "/") for other in there | (made - forgotten)):
            continue
        else:
            # What somebody else has put into it keeps it, and makes it theirs.
            forgotten.add(path)
            rest = {os.path.join(path, name) for name in _names_in(root, path)}
            if not rest - gone - {step.path for step in folders if step.former}:
                folders.append(FolderStep(path, (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)))
    created = {path for path, change in changes.items() if change.action == "created"}
    made_after = sorted((made - forgotten) | created | new_folders)
    return Plan(
        tuple(changes.values()),
        tuple(folders),
        record,
        File(json.dumps(made_after).encode(), 0o600, os.geteuid(), os.getegid()) if made_after else None,
    )


def judge(wish: Wish, before: File | None, ours: bool) -> tuple[File | None, str]:
    """What the file shall become, and the word for it.

    Args:
        ours: this transaction has made the file.
    """
    if not wish.present:
        if before is None:
            return None, "unchanged"
        if wish.markers is None:
            return None, "removed"
        data = block.take(before.data, wish.markers)
        if data == before.data:
            return before, "unchanged"
        if not data and ours:
            return None, "removed"
        return _with(before, data), "changed"
    data = wish.data or b""
    if wish.markers is not None:
        if before is None and not wish.create:
            return None, "skipped"
        data = block.put(before.data if before else b"", data, wish.markers, wish.insert)
    if before is None:
        return File(data, *_attributes(wish, 0o644, os.geteuid(), os.getegid())), "created"
    after = _with(before, data, *_attributes(wish, before.mode, before.uid, before.gid))
    return (before, "unchanged") if after.like(before) else (after, "changed")


def _attributes(wish: Wish, mode: int, uid: int, gid: int) -> tuple[int, int, int]:
    return (
        mode if wish.mode is None else wish.mode,
        uid if wish.uid is None else wish.uid,
        gid if wish.gid is None else wish.gid,
    )


def _with(before: File, data: bytes, mode: int | None = None, uid: int | None = None, gid: int | None = None) -> File:
    return File(
        data,
        before.mode if mode is None else mode,
        before.uid if uid is None else uid,
        before.gid if gid is None else gid,
        before.xattrs,
    )


def _read_record(root: str, name: str) -> File | None:
    spot = files.locate(root, f"{journal.STATE}/{name}/{journal.MADE}")
    return files.read(root, spot)


def _folder_status(root: str, path: str) -> os.stat_result | None:
    try:
        fd = files.open_folder(root, path)
    except OSError:
        # Gone, or made into something else since; a file of ours, too, is none.
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _names_in(root: str, path: str) -> list[str]:
    fd = files.open_folder(root, path)
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


# --- what to show -----------------------------------------------------------------------------------------------


def show(plan: Plan) -> list[dict[str, str]]:
    """The plan as Ansible's diff: the bytes, and the owner and mode where they differ."""
    shown = []
    for change in plan.touched:
        before, after, path = change.before, change.after, change.spot.path
        if before is None or after is None or before.data != after.data:
            shown.append(_pair(path, _text(before), _text(after), before, after))
        if before and after and not after.like(_with(before, after.data)):
            shown.append(_pair(f"{path} (owner and mode)", _dress(before), _dress(after), before, after))
    for folder in plan.folders:
        made = folder.former is None
        what = f"directory {folder.path}\n"
        shown.append(
            {
                "before_header": folder.path,
                "after_header": folder.path,
                "before": "" if made else what,
                "after": what if made else "",
            }
        )
    return shown


def _pair(title: str, left: str, right: str, before: File | None, after: File | None) -> dict[str, str]:
    return {
        "before_header": title if before else f"{title} (absent)",
        "after_header": title if after else f"{title} (absent)",
        "before": left,
        "after": right,
    }


def _text(file: File | None) -> str:
    return file.data.decode("utf-8", "backslashreplace") if file else ""


def _dress(file: File) -> str:
    return f"mode: {file.mode:04o}\nowner: {file.uid}\ngroup: {file.gid}\n"


# --- act --------------------------------------------------------------------------------------------------------


def run(world: World, order: Order, check: bool, report: Report) -> None:
    """Bring the host to what `order` says; `report` tells what was done, after a failure as well.

    Raises:
        Refused: nothing was touched.
        Failed: the host was left as the sentence says.
    """
    held = journal.lock(world, create=False, limit=LOCK_LIMIT)
    try:
        if held is not None:
            _recover(world, check, report)
        plan = make_plan(world.root, order)
        if held is None and plan.to_do and not check:
            held = journal.lock(world, create=True, limit=LOCK_LIMIT)
            _recover(world, check, report)
            plan = make_plan(world.root, order)
        report.files = [{"path": change.spot.asked, "action": change.action} for change in plan.changes]
        report.diff = show(plan)
        if plan.changed:
            _find_commands(order)
            _rehearse(world, order, plan, check, report)
        if plan.to_do and not check:
            _act(world, order, plan, report)
        report.changed = report.changed or plan.changed
    finally:
        if held is not None:
            try:
                if not check:
                    journal.tidy(world)
            except OSError:
                # The next run tries again.
                pass
            finally:
                os.close(held)


def _recover(world: World, check: bool, report: Report) -> None:
    for old in journal.pending(world.root):
        if check:
            report.warnings.append(
                f"an interrupted run of the transaction {old.name} is still to be rolled back: "
                "the first run without check mode does that before anything else"
            )
            continue
        report.recovered = report.changed = True
        restored = journal.restore(world, old)
        report.restored.extend(_outside(world, restored))
        if restored.failed:
            raise Failed(
                f"An interrupted run of the transaction {old.name} can't be rolled back. {_lost(old, restored)}"
            )
        said = _run_all(world.run, "Apply", old.apply)
        if said:
            report.warnings.append(f"after rolling back an interrupted run of the transaction {old.name}: {said}")
        report.warnings.extend(_spared(restored))
        journal.disarm(world, old)


def _outside(world: World, restored: journal.Restored) -> list[str]:
    """What was put back, our own notes left out."""
    state = journal.where(world.root)
    return [path for path in restored.paths if not path.startswith(state + "/")]


def _spared(restored: journal.Restored) -> list[str]:
    return [
        f"{path} was changed by somebody else after this collection wrote it, and is left as it is"
        for path in restored.left
    ]


def _lost(old: Journal, restored: journal.Restored) -> str:
    each = [
        f"{path} could not be put back ({why}); " + (f"its former bytes are in {blob}" if blob else "it was not there")
        for path, blob, why in restored.failed
    ]
    return (
        ". ".join(each) + ". The next run of any transaction tries again; to give it up, put the files back by hand "
        f"and remove {old.folder}/journal.json."
    )


def _find_commands(order: Order) -> None:
    for step in ("validate", "apply", "verify"):
        commands: tuple[Argv, ...] = getattr(order, step)
        for argv in commands:
            if shutil.which(argv[0], path=files.search_path()) is None:
                raise Refused(f"{step}: there is no program {argv[0]} on this host")


def _run_all(run_one: t.Callable[[Argv], Outcome], step: str, commands: t.Iterable[Argv]) -> str | None:
    """The sentence about the first of `commands` that fails."""
    for argv in commands:
        outcome = run_one(argv)
        if not outcome.ok:
            return f"{step} failed: {outcome}"
    return None


def _rehearse(world: World, order: Order, plan: Plan, check: bool, report: Report) -> None:
    """Validate the plan where nobody else sees it, if this host can do that."""
    if not order.validate:
        return
    steps = _steps(plan)

    def work() -> str | None:
        try:
            _put(world, steps, plan.folders)
            _settle(world, steps, plan.folders)
        except Failed as problem:
            return str(problem)
        return _run_all(lambda argv: files.run_command(argv, die_with_parent), "Validation", order.validate)

    folders = [change.spot.folder for change in plan.touched]
    # A directory can't be removed while it is covered itself.
    folders += [os.path.dirname(step.path) for step in plan.folders if step.former]
    try:
        said = world.rehearse(folders, work)
    except Unavailable as reason:
        if check:
            report.warnings.append(f"not validated: this host allows no private mount namespace ({reason})")
        else:
            report.validated_in = "place"
        return
    report.validated_in = "namespace"
    if said:
        raise Failed(f"{said}. Nothing on this host was touched.")


def _steps(plan: Plan) -> tuple[FileStep, ...]:
    token = os.urandom(4).hex()
    return tuple(
        FileStep.of(change.spot.path, change.spot.private, change.before, change.after, token, n)
        for n, change in enumerate(plan.touched)
    )


def _act(world: World, order: Order, plan: Plan, report: Report) -> None:
    steps = _steps(plan)
    if plan.made_before is None or not plan.made_before.like(plan.made_after):
        notes = journal.where(world.root, order.name, journal.MADE)
        if plan.made_before or plan.made_after:
            token = os.urandom(4).hex()
            steps += (FileStep.of(notes, True, plan.made_before, plan.made_after, token, len(steps)),)
    log = Journal(order.name, steps, plan.folders, order.apply if plan.changed else ())
    try:
        journal.arm(world, log)
    except BaseException as problem:
        _drop(world, log)
        if isinstance(problem, OSError):
            raise Failed(f"{log.folder} can't be written: {_words(problem)}. Nothing else was touched.") from problem
        raise
    applying = False
    try:
        _put(world, steps, plan.folders)
        if plan.changed:
            if report.validated_in == "place":
                _need(_run_all(world.run, "Validation", order.validate))
            applying = True
            _need(_run_all(world.run, "Apply", order.apply))
            _need(_run_all(world.run, "Verification", order.verify))
        _settle(world, steps, plan.folders)
        journal.disarm(world, log)
    except BaseException as problem:
        why = str(problem) if isinstance(problem, Failed) else f"Interrupted by {problem!r}"
        raise Failed(f"{why}. {_undo(world, log, applying, report)}") from problem


def _need(said: str | None) -> None:
    if said:
        raise Failed(said)


def _undo(world: World, log: Journal, applying: bool, report: Report) -> str:
    """Take back what was begun; the sentence that tells how the host is left."""
    restored = journal.restore(world, log)
    report.restored.extend(_outside(world, restored))
    report.warnings.extend(_spared(restored))
    if restored.failed:
        report.changed = True
        return _lost(log, restored)
    sentence = "Every file is as it was before"
    if applying and log.apply:
        said = _run_all(world.run, "Apply", log.apply)
        sentence += (
            f", but the service may still run with the refused ones: run again with the former files, {said}"
            if said
            else ", and the service was told to read them again"
        )
    _drop(world, log)
    return sentence + "."


def _drop(world: World, log: Journal) -> None:
    try:
        journal.disarm(world, log)
    except OSError:
        # The next run restores once more, which changes nothing.
        pass


def _put(world: World, steps: t.Iterable[FileStep], folders: t.Iterable[FolderStep]) -> None:
    """Write all files beside their places, then rename them into place."""
    for folder in folders:
        if folder.former is None:
            with _Folder(world, os.path.dirname(folder.path), folder.path, "be made") as above:
                files.make_folder(world, above, os.path.basename(folder.path), 0o755, os.geteuid(), os.getegid())
    for step in steps:
        if step.after:
            with _Folder(world, os.path.dirname(step.path), step.path, "be written") as above:
                files.write_new(world, above, step.new, step.after)
    for step in steps:
        name = os.path.basename(step.path)
        with _Folder(world, os.path.dirname(step.path), step.path, "be replaced") as above:
            _keep(world, step, above, name)
            if step.after:
                world.rename(step.new, name, above)
                if not step.private and not _is(step.after, above, name):
                    raise OSError(errno.EBUSY, "somebody else put another file in its place")
            else:
                world.unlink(name, above)
            world.fsync(above)


def _keep(world: World, step: FileStep, above: int, name: str) -> None:
    """Keep a second name of the former file, and make sure that it is still what the plan was made for."""
    if step.former is None:
        if files.is_there(above, name):
            raise OSError(errno.EEXIST, "somebody else has made it meanwhile")
        return
    try:
        world.link(name, step.old, above)
    except OSError as problem:
        if problem.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
    if not _is(step.former, above, name):
        raise OSError(errno.EBUSY, "somebody else changed it meanwhile")


def _is(file: File, above: int, name: str) -> bool:
    return file.like(files.read_at(above, name))


def _settle(world: World, steps: t.Iterable[FileStep], folders: t.Iterable[FolderStep]) -> None:
    """Take away what only an undo needs, and the directories that are ours and empty now."""
    for step in steps:
        if step.former:
            with _Folder(world, os.path.dirname(step.path), step.path, "be settled") as above:
                # The folder holds what the service was told to read: its time must not say that this changed since.
                mtime_ns = os.fstat(above).st_mtime_ns
                files.forget(world, above, step.old)
                world.utime(above, mtime_ns)
    for folder in folders:
        if folder.former:
            with _Folder(world, os.path.dirname(folder.path), folder.path, "be removed"):
                journal.remove_folder(world, folder.path)


class _Folder:
    """An open directory; what fails in it gets a sentence about `path`."""

    def __init__(self, world: World, folder: str, path: str, verb: str) -> None:
        self.world, self.folder, self.path, self.verb = world, folder, path, verb
        self.fd = -1

    def __enter__(self) -> int:
        try:
            self.fd = files.open_folder(self.world.root, self.folder)
        except OSError as problem:
            raise self._sentence(problem) from problem
        return self.fd

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        os.close(self.fd)
        if isinstance(problem, OSError):
            raise self._sentence(problem) from problem

    def _sentence(self, problem: OSError) -> Failed:
        return Failed(f"{self.path} can't {self.verb}: {_words(problem)}")


def _words(problem: OSError) -> str:
    words = problem.strerror or str(problem)
    if problem.errno == errno.EPERM:
        words += " (is it, or its folder, immutable? lsattr tells)"
    return words
