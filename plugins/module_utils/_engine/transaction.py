# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of configuration files: all of them valid and in force, or none.

observe (where each path leads and what is there) → judge (what it shall become) → rehearse (validate it where
nobody else sees it) → act (journal, write beside, rename, apply, verify, commit). A failure undoes what was done
from the journal; so does the next transaction, whatever its name, when this one is killed.

With `confirm_within` the host is made to undo it first, see `guard`, and the commit is left to `confirm`.

Most runs find nothing to do: what only a change needs is imported there, as every host compiles it anew each time.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import typing as t
from dataclasses import dataclass, field, replace

from . import block, files, journal
from .files import File, Outcome, Refused, Spot, World
from .journal import Confirm, FileStep, FolderStep, Journal
from .namespace import Unavailable, die_with_parent
from .order import STEPS, Argv, Commands, Logins, Order, Wish

# Longer than a reload with a rehearsal takes, shorter than the patience of whoever waits.
LOCK_LIMIT = 60.0


class Failed(Exception):
    """A sentence: what failed, and how the host was left."""


class LockedOut(Failed):
    """Somebody can't log in any more."""


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
    name: str | None = None
    id: str | None = None
    pending: bool = False
    confirm_by: str | None = None
    reverted: list[dict[str, str | None]] = field(default_factory=list)
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


def make_plan_back(root: str, last: Journal) -> Plan:
    """What it takes to be as before `last`; touches nothing.

    Raises:
        Refused: somebody else has changed one of its files since.
    """
    notes = journal.where(root, last.name, journal.MADE)
    made_before = made_after = _read_record(root, last.name)
    changes = []
    for step in last.files:
        if step.path == notes:
            made_after = step.former
            continue
        spot = files.locate(root, step.path)
        before = files.read(root, spot)
        after = step.former and _with(step.former, step.former.data)
        if (before is None and after is None) or (before is not None and before.like(after)):
            changes.append(Change(spot, before, before, "unchanged"))
            continue
        if journal.digest(before) != step.placed:
            raise Refused(
                f"{step.path} was changed by somebody else after {_about(last.name, last.key, last.at)}: "
                f"put it back by hand, its former bytes are in {last.folder}"
            )
        action = "removed" if after is None else "changed" if before else "created"
        changes.append(Change(spot, before, after, action))
    there = {change.spot.path for change in changes if change.after}
    folders = [FolderStep(path, None) for change in changes if change.action == "created" for path in change.spot.made]
    gone = {change.spot.path for change in changes if change.action == "removed"}
    for made in sorted(last.folders, key=lambda step: step.path, reverse=True):
        status = _folder_status(root, made.path)
        if made.former is None and status is not None and not any(path.startswith(made.path + "/") for path in there):
            inside = {os.path.join(made.path, name) for name in _names_in(root, made.path)}
            if not inside - gone - {folder.path for folder in folders if folder.former}:
                folders.append(FolderStep(made.path, (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)))
    return Plan(tuple(changes), tuple(folders), made_before, made_after)


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
    held = _begin(world, check, report)
    try:
        plan = make_plan(world.root, order)
        if held is None and plan.to_do and not check:
            held = _begin(world, check, report, create=True)
            plan = make_plan(world.root, order)
        report.files = [{"path": change.spot.asked, "action": change.action} for change in plan.changes]
        _carry_out(world, order, plan, check, report)
        if held is not None and order.away and not check and not report.pending:
            journal.forget(world, order.name)
    finally:
        _end(world, held, check)


def run_back(world: World, commands: Commands, within: int, asked: Logins | None, check: bool, report: Report) -> None:
    """Back to the state before the last transaction; see `run`.

    Args:
        commands, asked: where they do not say what to apply and whom to ask for, that transaction's own do. What it
            validated and verified was the state after it.
        within: see `Order.confirm_within`.
    """
    held = _begin(world, check, report)
    try:
        last = journal.last_done(world.root) if held is not None else None
        if last is None:
            raise Refused("there is no transaction on this host to go back from")
        plan = make_plan_back(world.root, last)
        apply, rescue = commands.apply or last.commands.apply, commands.rescue or last.commands.rescue
        chosen = replace(commands, apply=apply, rescue=rescue)
        report.files = [{"path": change.spot.asked, "action": change.action} for change in plan.changes]
        _carry_out(world, Order(last.name, (), chosen, within, asked or last.logins), plan, check, report)
    finally:
        _end(world, held, check)


def _begin(world: World, check: bool, report: Report, create: bool = False) -> int | None:
    """Be the only transaction, with nothing left to undo of former ones; the lock, or None if there never were any."""
    end = world.now() + LOCK_LIMIT
    while True:
        held = journal.lock(world, create, LOCK_LIMIT)
        if held is None:
            return None
        try:
            old = next((old for old in journal.pending(world.root) if old.waits(world)), None)
            if old is None or check:
                if old:
                    report.warnings.append(f"{_about(old.name, old.key, old.at)} waits for its confirmation")
                _recover(world, check, report)
                _tell(world, check, report)
                return held
            _boot, now = world.boot()
            rest = old.confirm.began + old.confirm.within + journal.GRACE - now if old.confirm else 0
            if world.now() > end or rest > LOCK_LIMIT:
                raise Refused(
                    f"{_about(old.name, old.key, old.at)}, made by somebody else, waits for its confirmation for "
                    f"another {max(0, rest - journal.GRACE):.0f} s: run this again after that"
                )
        except BaseException:
            os.close(held)
            raise
        os.close(held)
        world.sleep(0.5)


def _end(world: World, held: int | None, check: bool) -> None:
    if held is not None:
        try:
            if not check:
                if journal.has_program(world.root):
                    from . import guard

                    guard.tidy(world)
                journal.tidy(world)
        except (OSError, Refused):
            # The next run tries again.
            pass
        finally:
            os.close(held)


def _about(name: str, key: str, at: float) -> str:
    from .model import iso

    return f"the change {key} of the transaction {name} of {iso(at)}"


def _tell(world: World, check: bool, report: Report) -> None:
    """Say what the host took back by itself, once."""
    for entry in journal.history(world.root):
        if entry.state == journal.REVERTED:
            from .model import iso

            why = entry.why or "nobody confirmed it"
            report.reverted.append({"id": entry.key, "name": entry.name, "at": iso(entry.at), "why": why})
            report.warnings.append(f"this host has taken back {_about(entry.name, entry.key, entry.at)}: {why}")
            if not check:
                journal.told(world, entry.key)


def _carry_out(world: World, order: Order, plan: Plan, check: bool, report: Report) -> None:
    report.diff = show(plan)
    if plan.changed:
        _find_commands(order.commands)
        _rehearse(world, order.commands, plan, check, report)
    if plan.to_do and not check:
        _act(world, order, plan, report)
    report.changed = report.changed or plan.changed


def _recover(world: World, check: bool, report: Report) -> None:
    for old in journal.pending(world.root):
        from . import guard

        if check:
            if not old.waits(world):
                report.warnings.append(
                    f"an interrupted run of the transaction {old.name} is still to be rolled back: "
                    "the first run without check mode does that before anything else"
                )
            continue
        report.recovered = report.changed = True
        try:
            restored, said = take_back(world, old)
        except Failed as problem:
            raise Failed(f"An interrupted run of the transaction {old.name} can't be rolled back. {problem}") from None
        report.restored.extend(_outside(world, restored))
        if old.applied:
            report.warnings.append(f"nobody confirmed {_about(old.name, old.key, old.at)}, so it was taken back now")
        if said:
            report.warnings.append(f"after rolling back an interrupted run of the transaction {old.name}: {said}")
        report.warnings.extend(_spared(restored))
        guard.disarm(world, old)
        journal.drop(world, old)


def take_back(world: World, old: Journal, reread: bool = True) -> tuple[journal.Restored, str | None]:
    """Put everything back as it was before `old`; what was put back, and a sentence if the service took it badly.

    Args:
        reread: whether to make the service read its files; there is none yet while the host starts.

    Raises:
        Failed: something can't be put back.
    """
    restored = journal.restore(world, old)
    if restored.failed:
        raise Failed(_lost(old, restored))
    return restored, _reread(world, old) if reread else None


def _reread(world: World, old: Journal) -> str | None:
    """Make the service read the files that were put back; where it has died of the others, bring it up again."""
    said = _run_all(world.run, "Apply", old.commands.apply)
    if not old.commands.rescue:
        return said
    from . import logins

    address, port = _address(old.confirm, old.logins)
    # Soon, as starting what lives does nothing.
    if said or not old.logins or not logins.answers(world, address, port, 1.0):
        said = _run_all(world.run, "Rescue", old.commands.rescue)
        if not said and old.logins and not logins.answers(world, address, port):
            said = f"nobody answers at {address} port {port} after `{' '.join(old.commands.rescue[-1])}`"
    return said


def _address(confirm: Confirm | None, asked: Logins | None) -> tuple[str, int]:
    if confirm:
        return confirm.address, confirm.port
    from . import logins

    return logins.listening(asked.listen if asked else "")


def confirm(world: World, name: str, key: str, report: Report) -> None:
    """Say that the host can still be reached: nothing takes the transaction `key` back from now on.

    Raises:
        Refused: it can't be confirmed like that; it goes on waiting.
        Failed: it was taken back.
    """
    from . import guard, logins

    held = journal.lock(world, create=False, limit=LOCK_LIMIT)
    try:
        entry = next((entry for entry in journal.history(world.root) if entry.key == key), None) if held else None
        if entry is None or entry.name != name:
            raise Refused(f"id: there is no transaction {name} with the id {key!r} on this host")
        report.name, report.id = name, key
        if entry.state == journal.DONE:
            return
        log = journal.load(world.root, key, journal.ARMED)
        if log is None:
            if entry.state == journal.REVERTED:
                journal.told(world, key)
            raise Failed(
                f"This host has taken back {_about(name, key, entry.at)}, before it could be confirmed: {entry.why}"
            )
        if not log.applied:
            raise Refused(f"{_about(name, key, entry.at)} was interrupted and can't be confirmed")
        own = logins.own_connection()
        if own and log.confirm and own.key == log.confirm.connection:
            raise Refused(
                "this is still the connection over which the change came, which proves nothing about new ones: run "
                "meta: reset_connection before, with nothing between that opens it again"
            )
        _settle(world, log.files, log.folders)
        journal.finish(world, log, journal.DONE)
        # Not before: a run that is killed in between would leave a change that nothing takes back any more. A revert
        # that starts now waits for our lock, and then finds nothing to do.
        guard.disarm(world, log)
        if log.away:
            journal.forget(world, name)
        report.changed = True
    finally:
        _end(world, held, check=False)


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
        f"and remove {old.folder}/{journal.ARMED}."
    )


def _find_commands(commands: Commands) -> None:
    for step in STEPS:
        argvs: tuple[Argv, ...] = getattr(commands, step)
        for argv in argvs:
            if shutil.which(argv[0], path=files.search_path()) is None:
                raise Refused(f"{step}: there is no program {argv[0]} on this host")


def _run_all(run_one: t.Callable[[Argv], Outcome], step: str, commands: t.Iterable[Argv]) -> str | None:
    """The sentence about the first of `commands` that fails."""
    for argv in commands:
        outcome = run_one(argv)
        if not outcome.ok:
            return f"{step} failed: {outcome}"
    return None


def _rehearse(world: World, commands: Commands, plan: Plan, check: bool, report: Report) -> None:
    """Validate the plan where nobody else sees it, if this host can do that."""
    if not commands.validate:
        return
    steps = _steps(plan)

    def work() -> str | None:
        try:
            _put(world, steps, plan.folders)
            _settle(world, steps, plan.folders)
        except Failed as problem:
            return str(problem)
        return _run_all(lambda argv: files.run_command(argv, die_with_parent), "Validation", commands.validate)

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
    from . import guard, logins
    from .model import iso

    steps = _steps(plan)
    if plan.made_before is None or not plan.made_before.like(plan.made_after):
        notes = journal.where(world.root, order.name, journal.MADE)
        if plan.made_before or plan.made_after:
            token = os.urandom(4).hex()
            steps += (FileStep.of(notes, True, plan.made_before, plan.made_after, token, len(steps)),)
    commands, asked = order.commands, order.logins if plan.changed else None
    within = order.confirm_within if plan.changed else 0
    log = Journal(
        journal.next_key(world),
        order.name,
        steps,
        plan.folders,
        commands if plan.changed else Commands(),
        world.clock(),
        _expect(world, within, asked) if within else None,
        asked,
        order.away,
    )
    report.name, report.id = log.name, log.key
    try:
        unsure = guard.arm(world, log.key, within) if within else None
        report.warnings.extend([unsure] if unsure else [])
    except BaseException as problem:
        _drop(world, log)
        if isinstance(problem, (OSError, Refused)):
            why = _words(problem) if isinstance(problem, OSError) else str(problem)
            raise Failed(
                f"This host can't be made to take the change back by itself: {why}. Nothing else was touched. "
                "confirm_within: 0 does without."
            ) from problem
        raise
    try:
        journal.arm(world, log)
    except BaseException as problem:
        _drop(world, log)
        if isinstance(problem, OSError):
            raise Failed(f"{log.folder} can't be written: {_words(problem)}. Nothing else was touched.") from problem
        raise
    applying = False
    user, way_in = log.confirm.user if log.confirm else None, _address(log.confirm, asked)
    try:
        _put(world, steps, plan.folders)
        if plan.changed:
            # Whatever hangs must not hold the host's own revert up.
            world.until = world.now() + within if within else None
            if report.validated_in == "place":
                _need(_run_all(world.run, "Validation", commands.validate))
            applying = True
            former = logins.read_at(asked) if asked else None
            _need(_run_all(world.run, "Apply", commands.apply))
            _need(_run_all(world.run, "Verification", commands.verify))
            if asked:
                patience = min(logins.PATIENCE, within / 2) if within else logins.PATIENCE
                said = logins.dead(world, asked, user, *way_in, former, patience=patience)
                if said:
                    raise LockedOut(f"With the new configuration {said}")
        if within:
            journal.mark_applied(world, log)
            report.pending, report.confirm_by = True, iso(log.at + within)
        else:
            _settle(world, steps, plan.folders)
            journal.finish(world, log, journal.DONE)
    except BaseException as problem:
        why = str(problem) if isinstance(problem, Failed) else f"Interrupted by {problem!r}"
        sentence = f"{why}. {_undo(world, log, applying, report)}"
        if isinstance(problem, LockedOut) and asked and logins.dead(world, asked, user, *way_in, None, attempts=1):
            sentence += " It is no better with the former configuration: repair that first."
        raise Failed(sentence) from problem
    finally:
        world.until = None


def _expect(world: World, within: int, asked: Logins | None) -> Confirm:
    from . import logins

    own = logins.own_connection()
    boot, now = world.boot()
    way_in = (own.address, own.port) if own and own.address else _address(None, asked)
    return Confirm(within, boot, now, own.key if own else None, own.user if own else None, *way_in)


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
    world.until = None
    if applying and log.commands.apply:
        said = _reread(world, log)
        sentence += (
            f", but the service may still run with the refused ones: run again with the former files, {said}"
            if said
            else ", and the service was told to read them again"
        )
    _drop(world, log)
    report.name = report.id = None
    report.pending = False
    return sentence + "."


def _drop(world: World, log: Journal) -> None:
    from . import guard

    try:
        journal.drop(world, log)
        guard.disarm(world, log)
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
        files.write_new(world, above, step.old, step.former)
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
