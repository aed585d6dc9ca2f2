# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole road of taking away what sessions left behind: look, decide, end or move, prove, log."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Callable, NamedTuple, Sequence

from . import syslog
from .act.claims import Claim, Claims
from .act.ending import Ending, Graces, Signaller, Step
from .act.locks import Taken, Trash
from .act.signals import Identity, Kernel
from .end_sessions import (
    FAILED,
    GONE,
    SKIPPED,
    Refused,
    Survivor,
    in_a_fact,
    make_room,
    own_line,
    stuck,
    survivors_of,
)
from .judge_ending import too_many
from .judge_leftovers import LeftoverDecision, LeftoverWish, decide, shown
from .judge_sessions import Groups
from .model import STALE_LOCK, Leftover, Observation, iso, visible
from .observe.detached import Box, ending
from .observe.detached import state_of as state_of_box
from .observe.draft import Roots
from .observe.lock_files import Examiner, LockFile, in_time
from .observe.outliving import ignores_hangup
from .observe.procfs import Proc
from .observe.sessions import observe
from .observe.work import CATEGORY

REMOVED, WOULD_REMOVE = "removed", "would_remove"
LEFTOVER_OUTCOMES = (REMOVED, WOULD_REMOVE, SKIPPED, GONE, FAILED)
CLAIMS = "/run/session-policy/removing"
# A screen says that it quits before it has; tries, and seconds between two.
_TRIES, _PAUSE = 50, 0.1
_PATIENT = 3  # questions that a server may leave without an answer
# What a slow disk may take for the copy of a file, seconds.
_MOVE_LIMIT = 60.0


class RemoveOptions(NamedTuple):
    """How it is done."""

    graces: Graces = Graces()
    force: bool = False
    limit: tuple[int | None, int | None] = (None, None)  # judge_ending.limit_of
    reason: str | None = None
    identifier: str = "leftover_remove"


@dataclass
class LeftoverOutcome:
    """What became of one leftover. `trouble` is a sentence of one that failed."""

    leftover: Leftover
    outcome: str
    skipped_because: tuple[str, ...] = ()
    steps: Sequence[Step] = ()
    survivors: Sequence[Survivor] = ()
    trash: str | None = None
    trouble: str | None = None


class LeftoverResult(NamedTuple):
    outcomes: tuple[LeftoverOutcome, ...]
    seen: Observation


@dataclass
class _Case:
    """A leftover that is being taken."""

    outcome: LeftoverOutcome
    claim: Claim
    ending: Ending | None = None


def _look(roots: Roots, wish: LeftoverWish) -> Observation:
    return observe(roots, want_leftovers=True, lock_patterns=wish.lock_patterns)


@dataclass
class Remover:
    """Takes leftovers away; each field is a part of the world that a test may put another in place of."""

    roots: Roots = field(default_factory=Roots)
    kernel: Kernel = field(default_factory=Kernel)
    claims: Claims = field(default_factory=lambda: Claims(CLAIMS))
    trash: Trash = field(default_factory=Trash)
    groups: Groups = lambda user: ()
    log: syslog.Log = syslog.log
    look: Callable[[Roots, LeftoverWish], Observation] = _look

    def plan(self, wish: LeftoverWish, options: RemoveOptions) -> LeftoverResult:
        """What `run` would do; nothing is touched.

        Raises:
            Refused: as `run`.
        """
        seen, decisions = self._decide(wish, options)
        outcomes = [LeftoverOutcome(d.leftover, SKIPPED if d.skipped else WOULD_REMOVE, d.skipped) for d in decisions]
        return LeftoverResult(tuple(outcomes), seen)

    def run(self, wish: LeftoverWish, options: RemoveOptions) -> LeftoverResult:
        """Take what `wish` asks for, and say what became of each leftover that it names.

        Raises:
            Refused: nothing was touched.
            OSError: no claim could be made, and nothing was touched.
        """
        seen, decisions = self._decide(wish, options)
        make_room()
        for left, _record in self.claims.abandoned():
            self.claims.release(left)  # A killed run leaves nothing half done: what it did not take is seen again.
        signaller = Signaller(self.kernel, own_line(self.kernel, self.roots.own_pid()))
        outcomes, cases = [], []
        try:
            for decision in decisions:
                outcome = LeftoverOutcome(decision.leftover, SKIPPED, decision.skipped)
                outcomes.append(outcome)
                if not decision.skipped:
                    claim = self.claims.take(_claim_name(decision.leftover))
                    if claim is None:
                        outcome.skipped_because = ("ended_elsewhere",)
                    else:
                        cases.append(_Case(outcome, claim))
            self._end(cases, wish, options, signaller)
        finally:
            signaller.release(case.ending for case in cases if case.ending)
            for case in cases:
                self.claims.release(case.claim)
        return LeftoverResult(tuple(outcomes), seen)

    def _decide(self, wish: LeftoverWish, options: RemoveOptions) -> tuple[Observation, list[LeftoverDecision]]:
        seen = self.look(self.roots, wish)
        decisions = decide(seen.leftovers, wish, self.groups)
        refusal = too_many(decisions, len(seen.leftovers), options.limit, "leftovers", "max_remove")
        if refusal:
            raise Refused(refusal)
        return seen, decisions

    # --- end, move and prove ----------------------------------------------------------------------------------------

    def _end(self, cases: list[_Case], wish: LeftoverWish, options: RemoveOptions, signaller: Signaller) -> None:
        if not cases:
            return
        for case in cases:
            target = case.outcome.leftover.target
            if isinstance(target, LockFile):
                self._move(case.outcome, target)
            else:
                case.ending = self._ending(case.outcome.leftover, wish.keep_intent)
                signaller.take(case.ending)
        boxes = {str(n): case for n, case in enumerate(cases) if isinstance(case.outcome.leftover.target, Box)}
        if boxes:
            self._ask_to_end(boxes, signaller)
        endings = [case.ending for case in cases if case.ending and not case.outcome.trouble]
        signaller.end(endings, options.graces, options.force)
        after = self.look(self.roots, wish) if any(case.ending for case in cases) else None
        for case in cases:
            if case.ending and after:
                self._prove(case, case.ending, after)
            self._log(case.outcome, options)

    def _ending(self, leftover: Leftover, keep_intent: bool) -> Ending:
        """Shells are hung up first, as an interactive one ignores TERM; of a multiplexer's session all it held are,
        as its terminals hang up anyway. What ignores that hangup inside of it stays while intent is kept."""
        proc = Proc(self.roots.proc)
        try:
            kept = {m.pid for m in leftover.processes if keep_intent and ignores_hangup(proc, m.pid)}
        finally:
            proc.close()
        members = [(member, Identity.of(member)) for member in leftover.processes]
        core = [identity for member, identity in members if member.pid not in kept]
        boxed = isinstance(leftover.target, Box)
        shells = [identity for identity in core if boxed or CATEGORY.get(identity.command) == "shells"]
        leaders = [i for i in core if leftover.cause == "unsupervised" and i.pid == leftover.pid]
        outliving = [identity for member, identity in members if member.pid in kept]
        return Ending(tuple(shells), tuple(leaders), tuple(core), tuple(outliving))

    def _ask_to_end(self, boxes: dict[str, _Case], signaller: Signaller) -> None:
        """The programs' own commands; where somebody is attached by now, its processes are let go."""
        free = {key: case for key, case in boxes.items() if self._state(case) == "detached"}
        answers = self.roots.run({key: ending(case.outcome.leftover.target) for key, case in free.items()})
        for key, case in boxes.items():
            box: Box = case.outcome.leftover.target
            state = self._state(case)
            for _wait in range(_TRIES):
                if key not in free or state != "detached":
                    break
                self.roots.sleep(_PAUSE)
                state = self._state(case)
            if state == "gone":
                if key in free:
                    argv = ending(box).argv
                    did = argv[-1].partition(" ")[0] if box.server.program == "tmux" else "quit"
                    case.outcome.steps = [Step(did, box.server.process.pid, box.server.program, self.kernel.now())]
                continue
            if case.ending:
                signaller.release([case.ending])
                case.ending = None
            if state == "attached":
                case.outcome.skipped_because = ("attached",)
            else:
                answer = answers.get(key)
                said = (answer.error or answer.err.strip()) if answer else ""
                late = "does not answer" if state == "silent" else "did not end it in time"
                case.outcome.outcome = FAILED
                case.outcome.trouble = visible(said)[:200] or f"its {box.server.program} {late}"

    def _state(self, case: _Case) -> str:
        """What the session is now; on a busy host a server may be late with its answer."""
        proc = Proc(self.roots.proc)
        state = "silent"
        try:
            for _try in range(_PATIENT):
                state = state_of_box(proc, case.outcome.leftover.target, self.roots.run, self.roots.screen)
                if state != "silent":
                    break
        finally:
            proc.close()
        return state

    def _move(self, outcome: LeftoverOutcome, lock: LockFile) -> None:
        clock = self.roots.clock()

        def again(handle: int, facts: os.stat_result) -> LockFile | None:
            proc = Proc(self.roots.proc)
            try:
                return Examiner(proc, clock).examine(handle, lock.path, facts, lock.cause == "named")
            finally:
                proc.close()

        def take() -> Taken:
            try:
                return self.trash.take(lock, clock.now, again)
            except OSError as problem:
                return Taken(trouble=f"the trash folder {self.trash.folder} can't be used: {problem.strerror}")

        taken = in_time(take, _MOVE_LIMIT) or Taken(trouble="a file system did not answer in time")
        outcome.outcome = SKIPPED
        if taken.trouble:
            outcome.outcome, outcome.trouble = FAILED, taken.trouble
        elif taken.because == GONE:
            outcome.outcome = GONE
        elif taken.because:
            outcome.skipped_because = (taken.because,)
        else:
            outcome.outcome, outcome.trash = REMOVED, visible(taken.trash or "")

    def _prove(self, case: _Case, end: Ending, after: Observation) -> None:
        """What became of it, by /proc and by another look at all leftovers, and not by what was signalled."""
        outcome = case.outcome
        outcome.steps = [*outcome.steps, *end.steps]
        outcome.survivors = survivors_of(self.kernel, end, lambda pid: "nohup")
        left = stuck(outcome.survivors)
        if left or any(found.id == outcome.leftover.id for found in after.leftovers):
            outcome.outcome = FAILED
            outcome.trouble = f"{left or 'something of it'} did not end"
        else:
            outcome.outcome = REMOVED if outcome.steps else GONE

    def _log(self, outcome: LeftoverOutcome, options: RemoveOptions) -> None:
        if outcome.outcome not in (REMOVED, FAILED):
            return
        leftover, failed = outcome.leftover, outcome.outcome == FAILED
        facts: dict[str, syslog.Fact] = {
            "outcome": outcome.outcome,
            "kind": leftover.kind,
            "cause": leftover.cause,
            "leftover": leftover.id,
            "logind_session": leftover.logind_id,
            "user": leftover.user,
            "command": leftover.command,
            "name": leftover.name,
            "path": leftover.path,
            "trash": outcome.trash,
            "age": leftover.age,
            "why": leftover.why,
            "reason": options.reason,
            "done": ",".join(f"{step.signal}:{step.pid}" for step in outcome.steps) or None,
            "survivors": in_a_fact(outcome.survivors),
            "trouble": outcome.trouble,
        }
        message = "could not remove leftover" if failed else "removed leftover"
        self.log(options.identifier, syslog.WARNING if failed else syslog.NOTICE, message, facts)


def _claim_name(leftover: Leftover) -> str:
    if isinstance(leftover.target, LockFile):
        return "lock-{}-{}".format(*leftover.target.inode)
    return leftover.id.replace("/", "_")


def described_leftover(leftover: Leftover) -> str:
    """A leftover in a few words, as in ``alice orphan_process sleep (pid 77)``."""
    what = (
        leftover.path if leftover.kind == STALE_LOCK else leftover.name or leftover.command or leftover.logind_id or ""
    )
    pid = f" (pid {leftover.pid})" if leftover.pid else ""
    return f"{leftover.user or leftover.uid} {leftover.kind} {what}{pid}"


def outcome_as_dict(outcome: LeftoverOutcome) -> dict[str, Any]:
    return {
        **shown(LeftoverDecision(outcome.leftover, outcome.skipped_because)),
        "outcome": outcome.outcome,
        "steps": [dict(step._asdict(), when=iso(step.when)) for step in outcome.steps],
        "survivors": [survivor._asdict() for survivor in outcome.survivors],
        "trash": outcome.trash,
        "trouble": outcome.trouble,
    }
