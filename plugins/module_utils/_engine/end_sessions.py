# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole road of ending sessions: look, decide, warn, look again, end, prove, log."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass, field, replace
from typing import Any, Callable, NamedTuple, Sequence

from . import syslog
from .act.claims import Claim, Claims
from .act.ending import Ending, Graces, Signaller, Step, alive, of_session
from .act.signals import Identity, Kernel, wait
from .act.warning import warning, write
from .judge_ending import Decision, Wish, decide, too_many
from .judge_sessions import Groups, Thresholds
from .model import Leader, Member, Observation, Session, Work, iso
from .observe.draft import Roots
from .observe.outliving import outliving
from .observe.preserved import drafts_of, preserved
from .observe.procfs import Proc
from .observe.sessions import observe

TERMINATED, WOULD_TERMINATE, SKIPPED, GONE, FAILED = OUTCOMES = (
    "terminated",
    "would_terminate",
    "skipped",
    "gone",
    "failed",
)
DID_NOT_END = "did not end"
# The kernel moves a terminal's atime in steps of 8 s; two readings of the same one differ by less than this.
_SAME_INPUT = 2.0


class Refused(Exception):
    """Nothing was touched, and why: a sentence."""


class Options(NamedTuple):
    """How it is done; seconds."""

    warn_grace: float = 60.0
    warn_message: str | None = None
    graces: Graces = Graces()
    force: bool = False
    limit: tuple[int | None, int | None] = (None, None)  # judge_ending.limit_of
    sample: float = 0.0
    reason: str | None = None
    identifier: str = "session_terminate"
    allow_unknown_self: bool = False
    # Leave sessions of the account alone that we connected as: all, none, or (None) those without a terminal.
    spare_connection_user: bool | None = None


class Survivor(NamedTuple):
    """A process that was there when its session had ended. `why` is of observe.outliving, or "did not end"."""

    pid: int
    command: str
    state: str | None
    why: str


def survivors_of(kernel: Kernel, ending: Ending, why: Callable[[int], str]) -> list[Survivor]:
    """What of an ending is alive after it; `why` says for a pid of what outlives it on purpose why it does."""
    left = dict.fromkeys(alive(kernel, ending.core), DID_NOT_END)
    lasting = {identity: why(identity.pid) for identity in alive(kernel, ending.outliving)}
    return [
        Survivor(identity.pid, identity.command, state_of(kernel, identity), because)
        for identity, because in {**left, **lasting}.items()
    ]


def stuck(survivors: Sequence[Survivor]) -> str:
    """Those that should have ended, in words; empty if all did."""
    return ", ".join(f"{s.command} (pid {s.pid}, state {s.state})" for s in survivors if s.why == DID_NOT_END)


def in_a_fact(survivors: Sequence[Survivor]) -> str | None:
    """For the log, as in ``bash:17,vim:18``."""
    return ",".join(f"{survivor.command}:{survivor.pid}" for survivor in survivors) or None


class Warned(NamedTuple):
    """A warning to one terminal; `written` is False where the terminal did not take it."""

    tty: str
    when: float
    written: bool


@dataclass
class Outcome:
    """What became of one session."""

    session: Session
    outcome: str
    skipped_because: tuple[str, ...] = ()
    part: bool = False
    steps: Sequence[Step] = ()
    survivors: Sequence[Survivor] = ()
    preserved: Sequence[str] = ()
    warned: list[Warned] = field(default_factory=list)


class Result(NamedTuple):
    outcomes: tuple[Outcome, ...]
    seen: Observation
    warnings: tuple[str, ...]  # the observation's, and our own


@dataclass
class _Case:
    """A session that is to be ended, while it is under way."""

    outcome: Outcome
    claim: Claim
    ending: Ending
    kept: dict[int, str]
    drafts: list[str] = field(default_factory=list)
    resumed: bool = False


@dataclass
class Terminator:
    """Ends sessions on this host; each field is a part of the world that a test may put another in place of."""

    roots: Roots = field(default_factory=Roots)
    kernel: Kernel = field(default_factory=Kernel)
    claims: Claims = field(default_factory=Claims)
    groups: Groups = lambda user: ()
    write: Callable[[str, str, int | None], bool] = write
    log: syslog.Log = syslog.log
    look: Callable[[Roots, float], Observation] = observe
    _unlogged: bool = False

    def plan(self, wish: Wish, options: Options) -> Result:
        """What `run` would do; nothing is touched.

        Raises:
            Refused: as `run`.
        """
        seen, decisions, remnants = self._decide(wish, options, act=False)
        for claim, _session, _core in remnants:
            os.close(claim.handle)
        outcomes = [Outcome(session, WOULD_TERMINATE, survivors=()) for _claim, session, _core in remnants]
        for decision in decisions:
            kept = {} if decision.skipped else self._outliving(decision.session)
            names = {member.pid: member for member in decision.session.processes}
            outcomes.append(
                Outcome(
                    decision.session,
                    SKIPPED if decision.skipped else WOULD_TERMINATE,
                    decision.skipped,
                    decision.part,
                    survivors=[_survivor(names[pid], why) for pid, why in kept.items()],
                )
            )
        return Result(tuple(outcomes), seen, seen.warnings)

    def run(self, wish: Wish, options: Options) -> Result:
        """End what `wish` asks for, and say what became of each session that it names.

        Raises:
            Refused: nothing was touched.
            OSError: no claim could be made, and nothing was touched.
        """
        seen, decisions, remnants = self._decide(wish, options, act=True)
        return self._carry_out(seen, decisions, remnants, wish, options)

    def end(self, seen: Observation, decisions: Sequence[Decision], wish: Wish, options: Options) -> Result:
        """End now what `decisions` on `seen` say, for who has looked, judged and warned already.

        What a killed run had begun is finished as far as `wish` names it.

        Raises:
            as `run`.
        """
        _refuse_unknown_self(seen, options)
        remnants = self._remnants(wish, {session.leader for session in seen.sessions}, options, True)
        at_once = options._replace(warn_grace=0, warn_message=None)
        return self._carry_out(seen, decisions, remnants, wish, at_once)

    def _carry_out(
        self,
        seen: Observation,
        decisions: Sequence[Decision],
        remnants: Sequence[tuple[Claim, Session, list[Identity]]],
        wish: Wish,
        options: Options,
    ) -> Result:
        make_room()
        signaller = Signaller(self.kernel, own_line(self.kernel, self.roots.own_pid()))
        cases = [self._resume(*remnant) for remnant in remnants]
        outcomes = [case.outcome for case in cases]
        try:
            for decision in decisions:
                outcome = Outcome(decision.session, SKIPPED, decision.skipped, decision.part)
                outcomes.append(outcome)
                if decision.only_protected and wish.on_protected == "warn":
                    self._warn(outcome, options)
                elif not decision.skipped:
                    case = self._claim(outcome)
                    if case:
                        cases.append(case)
            cases = self._warned_and_waited(cases, wish, options, signaller)
            self._end(cases, options, signaller)
        finally:
            signaller.release(case.ending for case in cases)
            for case in cases:
                self.claims.release(case.claim)
        unlogged = ("neither the journal nor syslog took a line about what was ended",) if self._unlogged else ()
        return Result(tuple(outcomes), seen, (*seen.warnings, *unlogged))

    # --- look and decide --------------------------------------------------------------------------------------------

    def _decide(
        self, wish: Wish, options: Options, act: bool
    ) -> tuple[Observation, list[Decision], list[tuple[Claim, Session, list[Identity]]]]:
        seen = self.look(self.roots, options.sample)
        _refuse_unknown_self(seen, options)
        remnants = self._remnants(wish, {session.leader for session in seen.sessions}, options, act)
        begun = {session.leader.pid for _claim, session, _core in remnants}
        sessions = [s for s in seen.sessions if s.leader.start_time is not None or s.leader.pid not in begun]
        wish = self._sparing(wish, options, seen)
        decisions = decide(sessions, wish, self.groups)
        refusal = too_many(decisions, len(seen.sessions), options.limit)
        if refusal:
            for claim, _session, _core in remnants:
                os.close(claim.handle)
            raise Refused(refusal)
        return seen, decisions, remnants

    def _sparing(self, wish: Wish, options: Options, seen: Observation) -> Wish:
        """`wish`, with the account that we connected as left alone as `options` say."""
        own = [session.user for session in seen.sessions if session.is_self and session.user]
        if options.spare_connection_user is None:
            return wish._replace(connection_users_without_terminal=own)
        return wish._replace(connection_users=own if options.spare_connection_user else ())

    def _remnants(
        self, wish: Wish, leaders: set[Leader], options: Options, act: bool
    ) -> list[tuple[Claim, Session, list[Identity]]]:
        """The sessions whose end a killed run had begun, as far as `wish` names them and something of them lives.

        What it had ended but not logged is logged now.
        """
        found = []
        for claim, record in self.claims.abandoned():
            known = _from_record(record)
            left = alive(self.kernel, known[1]) if known and known[0].leader not in leaders else []
            if known is None or not left:
                if act and known and known[0].leader not in leaders:
                    self._log(Outcome(known[0], TERMINATED), options)
                if act:
                    self.claims.release(claim)
                else:
                    os.close(claim.handle)
                continue
            session = replace(
                known[0], processes=tuple(Member(i.pid, i.start_time, i.uid, None, i.command, "") for i in left)
            )
            named = decide([session], wish._replace(thresholds=Thresholds()), self.groups)
            if named and not named[0].skipped:
                found.append((claim, replace(session, stale_because=known[0].stale_because), left))
            else:
                os.close(claim.handle)  # Somebody else's to finish.
        return found

    def _outliving(self, session: Session) -> dict[int, str]:
        proc = Proc(self.roots.proc)
        try:
            return outliving(proc, session)
        finally:
            proc.close()

    # --- claim and warn ---------------------------------------------------------------------------------------------

    def _claim(self, outcome: Outcome) -> _Case | None:
        session = outcome.session
        claim = self.claims.take(_claim_name(session.id))
        if claim is None:
            outcome.skipped_because = ("ended_elsewhere",)
            return None
        kept = self._outliving(session)
        return _Case(outcome, claim, of_session(session, kept, outcome.part), kept)

    def _resume(self, claim: Claim, session: Session, core: list[Identity]) -> _Case:
        outcome = Outcome(session, FAILED)
        return _Case(outcome, claim, Ending((), (), tuple(core)), {}, resumed=True)

    def _warn(self, outcome: Outcome, options: Options) -> None:
        session = outcome.session
        text = warning(session, session.stale_because, int(options.warn_grace), options.warn_message, options.reason)
        for tty in session.ttys:
            taken = self.write(f"{self.roots.dev}/{tty}", text, session.uid)
            outcome.warned.append(Warned(tty, self.kernel.now(), taken))

    def _warned_and_waited(self, cases: list[_Case], wish: Wish, options: Options, signaller: Signaller) -> list[_Case]:
        """Those that are still to be ended after the time that the warned had, their processes held on to."""
        warned = [case for case in cases if not case.resumed and case.outcome.session.ttys]
        if options.warn_grace or options.warn_message:
            for case in warned:
                self._warn(case.outcome, options)
        if not warned or not options.warn_grace:
            for case in cases:
                signaller.take(case.ending)
            return cases
        self._wait(warned, options.warn_grace, signaller)
        return self._look_again(cases, wish, options, signaller)

    def _wait(self, cases: list[_Case], seconds: float, signaller: Signaller) -> None:
        """So long, or until all of them are gone."""
        for case in cases:
            signaller.take(case.ending)
        until = self.kernel.monotonic() + seconds
        while self.kernel.monotonic() < until:
            grips = [grip for case in cases for grip in case.ending.grips.values() if not grip.gone()]
            if not grips:
                break
            wait(self.kernel, grips, max(0.0, until - self.kernel.monotonic()))
        signaller.release(case.ending for case in cases)

    def _look_again(self, cases: list[_Case], wish: Wish, options: Options, signaller: Signaller) -> list[_Case]:
        """Who came back to work meanwhile is left alone; who left is gone."""
        again = self.look(self.roots, options.sample)
        wish = self._sparing(wish, options, again)
        decisions = {decision.session.id: decision for decision in decide(again.sessions, wish, self.groups)}
        there = {session.id for session in again.sessions}
        kept = []
        for case in cases:
            outcome, before = case.outcome, case.outcome.session
            decision = decisions.get(before.id)
            if case.resumed:
                kept.append(case)
            elif before.id not in there:
                outcome.outcome = GONE
            elif decision is None or _came_back(before, decision.session, outcome.warned):
                outcome.skipped_because = ("active_again",)
            elif decision.skipped:
                outcome.skipped_because = decision.skipped
            else:
                outcome.session = decision.session
                case.kept = self._outliving(decision.session)
                case.ending = of_session(decision.session, case.kept, outcome.part)
                kept.append(case)
        for case in cases:
            if case in kept:
                signaller.take(case.ending)
            else:
                self.claims.release(case.claim)
        return kept

    # --- end and prove ----------------------------------------------------------------------------------------------

    def _end(self, cases: list[_Case], options: Options, signaller: Signaller) -> None:
        if not cases:
            return
        since = self.kernel.now() - 1  # file systems take the time of the last tick
        proc = Proc(self.roots.proc)
        for case in cases:
            case.drafts = drafts_of(proc, case.outcome.session)
            self.claims.note(case.claim, _record(case.outcome.session, case.ending))
        proc.close()
        signaller.end([case.ending for case in cases], options.graces, options.force)
        after = self.look(self.roots, 0.0)
        for case in cases:
            self._prove(case, after)
            case.outcome.preserved = preserved(case.drafts, since)
            self._log(case.outcome, options)

    def _prove(self, case: _Case, after: Observation) -> None:
        """What became of it, by /proc and by another look at all sessions, and not by what was signalled."""
        outcome, session = case.outcome, case.outcome.session
        outcome.steps = case.ending.steps
        outcome.survivors = survivors_of(self.kernel, case.ending, case.kept.__getitem__)
        listed = next((s for s in after.sessions if s.id == session.id), None)
        open_still = listed is not None and (
            any(tty in listed.ttys for tty in session.ttys) if outcome.part else listed.leader.start_time is not None
        )
        if open_still or stuck(outcome.survivors):
            outcome.outcome = FAILED
        else:
            outcome.outcome = TERMINATED if outcome.steps else GONE

    def _log(self, outcome: Outcome, options: Options) -> None:
        if outcome.outcome not in (TERMINATED, FAILED):
            return
        session, failed = outcome.session, outcome.outcome == FAILED
        facts: dict[str, syslog.Fact] = {
            "outcome": outcome.outcome,
            **about(session),
            "reason": options.reason,
            "done": ",".join(f"{step.signal}:{step.pid}" for step in outcome.steps),
            "survivors": in_a_fact(outcome.survivors),
            "preserved": ",".join(outcome.preserved) or None,
        }
        message = "could not end session" if failed else "ended session"
        if not self.log(options.identifier, syslog.WARNING if failed else syslog.NOTICE, message, facts):
            self._unlogged = True


def _refuse_unknown_self(seen: Observation, options: Options) -> None:
    if not seen.self_known_by and not seen.self_is_local and not options.allow_unknown_self:
        raise Refused(
            "nothing tells which session this task runs in, and it may have come by ssh, so its own connection "
            "could be ended with the others: nothing was touched. Run it without async, or set "
            "allow_unknown_self: true and name the account that it connects as in exclude_users"
        )


def _came_back(before: Session, now: Session, warned: Sequence[Warned]) -> bool:
    """Whether something was typed since the warning; the age of a session does not change by that."""
    if before.idle is None or now.idle is None or not warned or "age" in before.stale_because:
        return False
    return (
        before.age is not None and now.age is not None and (now.age - now.idle > before.age - before.idle + _SAME_INPUT)
    )


def _survivor(member: Member, why: str) -> Survivor:
    return Survivor(member.pid, member.command, member.state, why)


def state_of(kernel: Kernel, identity: Identity) -> str | None:
    process = kernel.look(identity.pid)
    return process.state if process else None


def _claim_name(session_id: str) -> str:
    return session_id.replace("/", "_")


def own_line(kernel: Kernel, pid: int) -> set[int]:
    """Our own pid and those of all above us."""
    line = {pid}
    while True:
        process = kernel.look(pid)
        if process is None or process.ppid in line or process.ppid == 0:
            return line
        pid = process.ppid
        line.add(pid)


def make_room() -> None:
    """Let us hold on to thousands of processes; without that the rest are compared before each signal instead."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        pass


_KEPT = ("id", "logind_id", "user", "uid", "kind", "service", "remote_host", "age", "login_at")


def _record(session: Session, ending: Ending) -> dict[str, Any]:
    """What the next run needs to finish this one."""
    return {
        **{name: getattr(session, name) for name in _KEPT},
        "ttys": session.ttys,
        "leader": session.leader,
        "because": session.stale_because,
        "core": ending.core,
    }


def _from_record(record: dict[str, Any]) -> tuple[Session, list[Identity]] | None:
    """What `_record` wrote; None where a run was killed before it had begun, or wrote it only in part."""
    try:
        core = [Identity(*entry) for entry in record["core"]]
        session = Session(
            **{name: record[name] for name in _KEPT},
            audit_id=None,
            session_class=None,
            state="closing",
            seen_by=("proc",),
            remote_port=None,
            ttys=tuple(record["ttys"]),
            channels=(),
            idle=None,
            idle_signal="none",
            output_idle=None,
            peer_unresponsive=None,
            work=Work(),
            troubles=(),
            is_self=False,
            leader=Leader(*record["leader"]),
            processes=(),
            stale=True,
            stale_because=tuple(record["because"]),
        )
    except (KeyError, TypeError):
        return None
    return session, core


def about(session: Session) -> dict[str, syslog.Fact]:
    """What a log line says of a session."""
    return {
        "session": session.id,
        "logind_session": session.logind_id,
        "user": session.user,
        "from": session.remote_host,
        "kind": session.kind,
        "tty": ",".join(session.ttys) or None,
        "idle": session.idle,
        "age": session.age,
        "because": ",".join(session.stale_because) or None,
    }


def described(outcome: Outcome) -> str:
    """A session in a few words, as in ``alice terminal pts/3 from 192.0.2.7``."""
    session = outcome.session
    words = [session.user or "unknown", session.kind or "session", ",".join(session.ttys)]
    return " ".join([word for word in words if word] + ([f"from {session.remote_host}"] if session.remote_host else []))


def left_in(outcome: Outcome) -> str:
    """What of a session that could not be ended is there still."""
    left = stuck(outcome.survivors)
    return f"{left} did not end" if left else "it is open still"


def as_dict(outcome: Outcome) -> dict[str, Any]:
    """The fields of an outcome that stand beside those of its session."""
    return {
        "outcome": outcome.outcome,
        "skipped_because": list(outcome.skipped_because),
        "part": outcome.part,
        "steps": [dict(step._asdict(), when=iso(step.when)) for step in outcome.steps],
        "survivors": [survivor._asdict() for survivor in outcome.survivors],
        "preserved": list(outcome.preserved),
        "warned": [dict(warned._asdict(), when=iso(warned.when)) for warned in outcome.warned],
    }
