# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of each session at one run: pure functions of the last run's state, a look, the clocks and the policy.

Nothing is believed that a clock says of the time between two runs but what this machine ran under our eyes: an idle
time grows by that alone, and by little where a run came late. So nobody is ended because a clock was set, the machine
slept, or stood for a day.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Collection, Mapping, NamedTuple, Sequence

from ..judge_ending import Decision, Wish, allowed_of, decide
from ..judge_sessions import Groups, Protection, Thresholds
from ..model import Session
from ..observe.evidence import Evidence
from ..observe.sockets import KEEPALIVE_BYTES
from .policy import Policy
from .state import Seen, State, Times

ACTIVE, UNKNOWN, EXEMPT, PROTECTED, LATER, WARN, WARNED, END = VERDICTS = (
    "active",
    "unknown",  # nothing tells its idle time, and it is not too old
    "exempt",
    "protected",
    "later",  # outside the hours, or more than may end in one run
    "warn",
    "warned",
    "end",
)
#: Seconds by which clocks may part between two runs before it counts as a jump.
_JUMP = 10.0
# Two runs are a little less than a period apart now and then.
_EARLY = 1.0
# A keepalive comes at most this often, in seconds.
_KEEPALIVE_PERIOD = 5.0


class Verdict(NamedTuple):
    """`session` has the idle time and the age that count. `left` are seconds until it may end, None if never."""

    session: Session
    name: str
    seen: Seen
    left: int | None = None
    decision: Decision | None = None


class Passed(NamedTuple):
    """What lies between the last run and this one: seconds that were watched, that were lost, and if a clock jumped."""

    watched: float
    lost: float
    jumped: bool


def passed(before: State | None, times: Times, period: int) -> Passed:
    if before is None:
        return Passed(0.0, 0.0, False)
    wall, boot, running = (now - then for now, then in zip(times, before.times))
    watched = min(running, 2.0 * period + 30)
    return Passed(watched, boot - watched, boot - watched > _JUMP or abs(wall - running) > _JUMP)


def follow(before: State | None, between: Passed, times: Times, session: Session, evidence: Evidence) -> Seen:
    """What is known of `session` now, by what was known of it at the last run."""
    known = before.sessions.get(session.id) if before else None
    # How long ago the input was that the last run has not seen yet: at most as long as that is ago.
    fresh = 0.0
    if evidence.at is not None:
        fresh = min(max(0.0, times.wall - evidence.at), between.watched)
    if before is None or known is None:
        age = float(session.age or 0)
        is_new = before is not None and age <= times.boot - before.times.boot + 1
        lost = max(0.0, age - between.watched) if is_new else min(age, times.boot - times.running)
        return Seen(evidence.stamp, evidence.moved, fresh, lost)
    now = known._replace(stamp=evidence.stamp, moved=evidence.moved, lost=known.lost + between.lost)
    if between.jumped:
        now = _untold(now)
    if evidence.stamp and evidence.stamp == known.stamp and _is_still(known.moved, evidence.moved, between.watched):
        return now._replace(idle=known.idle + between.watched)
    return (now if known.why == "age" else _untold(now))._replace(idle=fresh)


def _untold(seen: Seen) -> Seen:
    return seen._replace(warned=None, why="", reported=False)


def _is_still(before: int | None, now: int | None, watched: float) -> bool:
    """Whether no more went over a connection without channels than its keepalives."""
    if before is None or now is None:
        return before is now
    return now - before <= KEEPALIVE_BYTES * max(1.0, watched / _KEEPALIVE_PERIOD)


class Judge:
    """One run's verdicts. `watched` is the state's clock, `minute` the minute of the day, local time."""

    def __init__(self, policy: Policy, groups: Groups, watched: float, minute: int) -> None:
        self.policy, self.watched = policy, watched
        self.is_open = policy.is_open(minute)
        self._groups = groups
        self._of: dict[str, Collection[str]] = {}
        self.wish = Wish(
            match_any=True,
            protection=Protection(policy.protect, policy.exempt_users, policy.exempt_groups),
            min_age=0,
        )

    def groups(self, user: str) -> Collection[str]:
        """Asked once a run, and only where somebody's groups matter."""
        if user not in self._of:
            self._of[user] = self._groups(user) if self.policy.needs_groups() else ()
        return self._of[user]

    def verdict(self, session: Session, seen: Seen) -> Verdict:
        policy, user = self.policy, session.user
        idle = int(seen.idle) if seen.stamp else None
        age = max(0, int(session.age - seen.lost)) if session.age is not None else None
        groups = self.groups(user) if user else ()
        if user in policy.exempt_users or not set(policy.exempt_groups).isdisjoint(groups):
            return Verdict(replace(session, idle=idle, age=age), EXEMPT, seen)
        limits = policy.limits_of(user, groups)
        left = {}
        for name, value, limit in (("idle", idle, limits.idle), ("age", age, limits.age)):
            if value is not None and limit is not None:
                left[name] = (limit - value, min(policy.warn, limit // 2))
        if session.kind not in policy.kinds or all(seconds > lead for seconds, lead in left.values()):
            calm = ACTIVE if idle is not None or limits.idle is None else UNKNOWN
            soonest = min((seconds for seconds, _lead in left.values()), default=None)
            session = replace(session, idle=idle, age=age)
            return Verdict(session, calm, _untold(seen), soonest)
        return self._near(replace(session, idle=idle, age=age), seen, left)

    def _near(self, session: Session, seen: Seen, left: Mapping[str, tuple[int, int]]) -> Verdict:
        """The verdict where a limit is about to be reached, or is; `left` are seconds and the time to be warned in."""
        near = [name for name, (seconds, lead) in left.items() if seconds <= lead]
        over = [name for name in near if left[name][0] <= 0]
        # Thresholds are judged as "longer than": one second less makes it "as long as".
        bounds = {name: getattr(session, name) - 1 for name in near}
        thresholds = Thresholds(bounds.get("idle"), bounds.get("age"))
        (decision,) = decide([session], self.wish._replace(thresholds=thresholds), self.groups)
        session = decision.session
        if decision.skipped:
            return Verdict(session, PROTECTED, _untold(seen))
        if not self.is_open:
            return Verdict(session, LATER, _untold(seen))
        why = ",".join(near)
        lead = min(left[name][1] for name in near)
        if seen.warned is None:
            return Verdict(session, WARN, seen._replace(warned=self.watched, why=why), lead, decision)
        waits = lead - _EARLY - (self.watched - seen.warned)
        still = max(waits, min(left[name][0] for name in near))
        if over and waits <= 0:
            return Verdict(session, END, seen, 0, decision)
        return Verdict(session, WARNED, seen, max(0, int(still)), decision)


def capped(verdicts: Sequence[Verdict], policy: Policy) -> list[Verdict]:
    """`verdicts` with no more ends than one run may bring: the longest idle first, the others at later runs."""
    ends = [verdict for verdict in verdicts if verdict.name == END]
    allowed = allowed_of(policy.max_terminate, len(verdicts))
    if allowed is None or len(ends) <= allowed:
        return list(verdicts)
    ends.sort(key=lambda verdict: verdict.session.idle or 0, reverse=True)
    late = {verdict.session.id for verdict in ends[allowed:]}
    return [verdict._replace(name=LATER) if verdict.session.id in late else verdict for verdict in verdicts]


def judge_run(
    before: State | None,
    times: Times,
    boot_id: str,
    sessions: Sequence[Session],
    evidence: Mapping[str, Evidence],
    policy: Policy,
    said: Mapping[str, object],
    groups: Groups,
    minute: int,
) -> tuple[State, list[Verdict]]:
    """The state after this look, in which nobody counts as warned who was not before, and the verdicts."""
    between = passed(before, times, policy.period)
    watched = (before.watched if before else 0.0) + between.watched
    judge = Judge(policy, groups, watched, minute)
    verdicts = [
        judge.verdict(session, follow(before, between, times, session, evidence[session.id])) for session in sessions
    ]
    verdicts = capped(verdicts, policy)
    quiet = {v.session.id: v.seen._replace(warned=None) if v.name == WARN else v.seen for v in verdicts}
    totals = before.totals if before else {"warned": 0, "terminated": 0, "failed": 0}
    return State(boot_id, times, watched, quiet, totals, dict(said)), verdicts
