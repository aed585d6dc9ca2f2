# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run: look, judge, keep what was seen, warn, keep who was warned, end, count. Nothing waits in it.

What was seen is written before anybody is warned, so that where it can't be written nobody is warned run after run, or
ended on what a former run knew; who was warned is written before anybody is ended, and only once it is true.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, Mapping, NamedTuple

from .. import syslog
from ..judge_sessions import Groups
from ..model import Observation, Session
from ..observe.accounts import groups_of
from ..observe.draft import Roots
from ..observe.evidence import Evidence, evidence
from ..observe.procfs import Proc
from ..observe.sessions import observe
from . import policy as policies
from . import state as states
from .judge import END, WARN, Verdict, judge_run
from .policy import Policy
from .state import State, Times

IDENTIFIER = "session-reaper"
LOCK = "/run/session-policy/session-reaper.lock"
#: Seconds after which a run ends, whatever holds it up: more than all graces of an ending.
DEADLINE = 120


class Look(NamedTuple):
    """A look at this host, judged. `anew` says why the last run's state is not believed, None where it is.

    `last` is when the last run was, seconds since the epoch.
    """

    seen: Observation
    policy: Policy
    state: State
    verdicts: list[Verdict]
    anew: str | None
    last: float | None


@dataclass
class World:
    """Where things are and what is done to them; a test puts another in its place."""

    roots: Roots = field(default_factory=Roots)
    policy: str = policies.PATH
    folder: str = states.FOLDER
    lock: str = LOCK
    log: syslog.Log = syslog.log
    groups: Groups = groups_of
    times: Callable[[], Times] = states.now
    look: Callable[[Roots, float], Observation] = observe
    evidence: Callable[[Roots, Proc, Observation], Mapping[str, Evidence]] = evidence
    terminator: Callable[[World], Any] | None = None

    def say(self, severity: int, message: str, facts: Mapping[str, syslog.Fact]) -> None:
        self.log(IDENTIFIER, severity, message, facts)


def look(world: World) -> Look:
    """
    Raises:
        policies.Invalid, OSError: there is no policy to go by.
    """
    policy, data = policies.load(world.policy)
    seen = world.look(world.roots, 0.0)
    times = world.times()
    proc = Proc(world.roots.proc)
    try:
        shown = world.evidence(world.roots, proc, seen)
    finally:
        proc.close()
    anew, before = None, None
    try:
        before = states.load(world.folder, seen.boot_id, times)
    except states.Unusable as exc:
        anew = str(exc)
    clock = time.localtime(times.wall)
    minute = clock.tm_hour * 60 + clock.tm_min
    state, verdicts = judge_run(before, times, seen.boot_id, seen.sessions, shown, policy, data, world.groups, minute)
    if before is None and anew is None:
        anew = "there is none yet"
    return Look(seen, policy, state, verdicts, anew, before.times.wall if before else None)


def run(world: World) -> int:
    """
    Returns:
        The exit status: 1 where something could not be done, which the log says.

    Raises:
        policies.Invalid, OSError: nothing was touched.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(DEADLINE)
    lock = hold(world.lock, world.times().boot)
    if lock is None:
        world.say(syslog.NOTICE, "another run is under way", {})
        return 0
    try:
        return _locked(world)
    finally:
        os.close(lock)
        signal.alarm(0)


def hold(path: str, boot: float) -> int | None:
    """The lock that lets one run at a time; None where another has it.

    A run that the kernel can't end, because a file system hangs in it, would hold it for ever: after twice its deadline
    its signals have long been sent or never will be, and its lock is thrown away.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    for _attempt in range(3):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            since = os.read(handle, 32).strip()
            os.close(handle)
            if not since.isdigit() or boot - int(since) < 2 * DEADLINE:
                return None
            os.unlink(path)
            continue
        try:
            is_still = os.path.samestat(os.stat(path), os.fstat(handle))
        except FileNotFoundError:
            is_still = False
        if is_still:
            os.truncate(handle, 0)
            os.pwrite(handle, b"%d" % boot, 0)
            return handle
        os.close(handle)
    return None


def _locked(world: World) -> int:
    began = time.monotonic()
    found = look(world)
    policy, state = found.policy, found.state
    if found.anew:
        world.say(syslog.NOTICE, "watching all sessions anew", {"why": found.anew})
    try:
        states.save(world.folder, state)
    except OSError as exc:
        world.say(syslog.WARNING, "nobody was warned or ended: the state can't be kept", {"why": str(exc)})
        return 1
    sessions, totals = dict(state.sessions), dict(state.totals)
    acting = policy.mode == "enforce"
    warn = [verdict for verdict in found.verdicts if verdict.name == WARN]
    for verdict in warn:
        _warn(world, verdict, acting)
        sessions[verdict.session.id] = verdict.seen
        totals["warned"] += acting
    ends = [verdict for verdict in found.verdicts if verdict.name == END]
    if not acting:
        for verdict in ends:
            if not verdict.seen.reported:
                world.say(syslog.NOTICE, "would end session", _about(verdict))
                sessions[verdict.session.id] = verdict.seen._replace(reported=True)
        ends = []
    status = 0
    if warn or sessions != state.sessions:
        state = state._replace(sessions=sessions, totals=totals)
        status = _keep(world, state)
    if not status and acting:
        failed = list(_end(world, found, ends))
        for session_id, has_failed in failed:
            totals["failed" if has_failed else "terminated"] += 1
            if has_failed:
                # It is tried again when as much time has passed as there was to answer the warning.
                sessions[session_id] = sessions[session_id]._replace(warned=state.watched)
        if failed:
            state = state._replace(sessions=sessions, totals=totals)
            status = _keep(world, state) or int(any(bad for _id, bad in failed))
    if policy.metrics:
        status = (
            _export(world, found._replace(state=state, last=state.times.wall), policy.metrics, time.monotonic() - began)
            or status
        )
    return status


def _keep(world: World, state: State) -> int:
    try:
        states.save(world.folder, state)
    except OSError as exc:
        world.say(syslog.WARNING, "the state can't be kept", {"why": str(exc)})
        return 1
    return 0


def _export(world: World, found: Look, path: str, seconds: float) -> int:
    from .metrics import metrics

    if not os.path.isdir(os.path.dirname(path)):
        return 0  # No node_exporter here to read it.
    try:
        states.write(path, metrics(found, seconds).encode("ascii"), 0o644)
    except OSError as exc:
        world.say(syslog.WARNING, "the metrics can't be written", {"why": str(exc)})
        return 1
    return 0


def _about(verdict: Verdict) -> dict[str, syslog.Fact]:
    from ..end_sessions import about

    return about(verdict.session)


def _warn(world: World, verdict: Verdict, acting: bool) -> None:
    from ..act.warning import warning, write

    session, seconds = verdict.session, verdict.left or 0
    if not acting:
        world.say(syslog.NOTICE, "would warn session", {**_about(verdict), "ends_in": seconds})
        return
    text = warning(session, session.stale_because, seconds, None, None)
    told = [tty for tty in session.ttys if write(f"{world.roots.dev}/{tty}", text, session.uid)]
    facts = {**_about(verdict), "ends_in": seconds, "told": ",".join(told) or "nobody"}
    world.say(syslog.NOTICE, "warned session", facts)


def _end(world: World, found: Look, ends: list[Verdict]) -> Iterator[tuple[str, bool]]:
    """The sessions that were to be ended and are, or could not be, with what a killed run had begun."""
    from ..act.claims import FOLDER

    try:
        begun = bool(os.listdir(FOLDER))
    except OSError:
        begun = False
    if not ends and not begun:
        return
    from ..end_sessions import FAILED, TERMINATED, Options, Refused, Terminator
    from .judge import Judge

    terminator = world.terminator(world) if world.terminator else Terminator(world.roots, groups=world.groups)
    wish = Judge(found.policy, world.groups, 0.0, 0).wish
    options = Options(force=found.policy.force, identifier=IDENTIFIER)
    decisions = [verdict.decision for verdict in ends if verdict.decision]
    try:
        result = terminator.end(found.seen, decisions, wish, options)
    except (Refused, OSError) as exc:
        world.say(syslog.WARNING, "nobody was ended", {"why": str(exc)})
        yield from ((verdict.session.id, True) for verdict in ends)
        return
    known: Mapping[str, Session] = {session.id: session for session in found.seen.sessions}
    for outcome in result.outcomes:
        if outcome.outcome in (TERMINATED, FAILED) and outcome.session.id in known:
            yield outcome.session.id, outcome.outcome == FAILED
