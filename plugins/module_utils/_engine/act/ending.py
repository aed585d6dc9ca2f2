# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which a session's processes are asked to end, many sessions side by side.

HUP to the shells, so that they hang up their jobs and write their history; TERM to the leader (of ssh ``sshd: USER
[priv]``, which hangs up the terminals and closes PAM; a mosh-server is asked by its own SIGUSR1 first); TERM to what is
left of the session's own; KILL only by force. CONT follows each, as a stopped process keeps the others pending. What is
meant to outlive its session (observe.outliving) gets no signal.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import Collection, Iterable, Iterator, NamedTuple, Sequence

from ..model import MOSH, Session
from ..observe.draft import SSHD
from .signals import Grip, Identity, Kernel, lives, wait

#: Seconds in which the kernel ends what was killed.
_KILL_GRACE = 2.0


class Graces(NamedTuple):
    """Seconds that shells have after HUP, and that processes have after each TERM."""

    hup: float = 5.0
    term: float = 10.0


class Step(NamedTuple):
    """One signal that was sent. `when` is in seconds since the epoch."""

    signal: str
    pid: int
    command: str
    when: float


@dataclass
class Ending:
    """The end of one session while it is under way.

    `shells` are hung up first, then `leaders` are asked to end, then what is left of `core`, all of which must be gone
    for the session to be ended; `outliving` get no signal.
    """

    shells: tuple[Identity, ...]
    leaders: tuple[Identity, ...]
    core: tuple[Identity, ...]
    outliving: tuple[Identity, ...] = ()
    graceful: int = signal.SIGHUP  # what the shells get
    steps: list[Step] = field(default_factory=list)
    grips: dict[Identity, Grip] = field(default_factory=dict)

    def left(self) -> list[Identity]:
        """What of the core lives."""
        return [identity for identity, grip in self.grips.items() if not grip.gone()]


def of_session(session: Session, outliving: Collection[int], part: bool = False) -> Ending:
    """Who gets what at the end of `session`, or of the terminals that `session` was narrowed to."""
    members = {member.pid: Identity.of(member) for member in session.processes}
    commands = {member.pid: member.command for member in session.processes}
    roots = [channel.pid for channel in session.channels if channel.pid in members]
    shells = [pid for pid in roots if commands[pid] not in SSHD and pid != session.leader.pid]
    kept = tuple(members[pid] for pid in outliving if pid in members)
    if part:
        inside = [member for member in session.processes if member.tty in session.ttys or member.pid in roots]
        core = [Identity.of(member) for member in inside if member.pid not in outliving]
        return Ending(tuple(members[pid] for pid in shells), (), tuple(core), kept)
    leaders = [members[session.leader.pid]] if session.leader.pid in members else []
    core = [identity for pid, identity in members.items() if pid not in outliving]
    if session.kind == MOSH:
        return Ending(tuple(leaders), tuple(leaders), tuple(core), kept, signal.SIGUSR1)
    if not shells and session.service != "sshd":  # a console's shell below login
        at_terminals = [member.pid for member in session.processes if member.tty in session.ttys]
        shells = [pid for pid in at_terminals if pid != session.leader.pid][:1]
    return Ending(tuple(members[pid] for pid in shells), tuple(leaders), tuple(core), kept)


class Signaller:
    """Sends signals and waits. `never` are pids that get none whatever is asked: our own and those above us."""

    def __init__(self, kernel: Kernel, never: Collection[int]) -> None:
        self.kernel, self.never = kernel, frozenset({0, 1, *never})

    def take(self, ending: Ending) -> None:
        """Hold on to the processes of `ending` that are still those that were seen."""
        for identity in dict.fromkeys((*ending.core, *ending.leaders, *ending.shells)):
            grip = Grip.on(self.kernel, identity) if identity.pid not in self.never else None
            if grip:
                ending.grips[identity] = grip

    def send(self, ending: Ending, identities: Iterable[Identity], *numbers: int) -> None:
        for identity in identities:
            grip = ending.grips.get(identity)
            for number in numbers:
                if grip and grip.send(number):
                    name = signal.Signals(number).name[3:]
                    ending.steps.append(Step(name, identity.pid, identity.command, self.kernel.now()))

    def stages(self, ending: Ending, graces: Graces, force: bool) -> Iterator[tuple[list[Grip], float]]:
        """The road of one ending: after each stage, whose end is waited for, and how many seconds at most."""
        grips = ending.grips

        def of(identities: Iterable[Identity]) -> list[Grip]:
            return [grips[identity] for identity in identities if identity in grips]

        self.send(ending, ending.shells, ending.graceful, signal.SIGCONT)
        if ending.shells:
            yield of(ending.shells), graces.hup
        self.send(ending, ending.leaders, signal.SIGTERM, signal.SIGCONT)
        if ending.leaders:
            yield of(ending.core), graces.term
        if ending.left():
            self.send(ending, ending.left(), signal.SIGTERM, signal.SIGCONT)
            yield of(ending.core), graces.term
        if force and ending.left():
            self.send(ending, ending.left(), signal.SIGKILL)
            yield of(ending.core), _KILL_GRACE

    def end(self, endings: Sequence[Ending], graces: Graces, force: bool) -> None:
        """Walk all endings side by side, so that their graces run at the same time."""
        roads = [self.stages(ending, graces, force) for ending in endings]
        waiting: dict[int, tuple[list[Grip], float]] = {place: ([], 0.0) for place in range(len(endings))}
        while waiting:
            for place in list(waiting):
                grips, until = waiting[place]
                while all(grip.gone() for grip in grips) or self.kernel.monotonic() >= until:
                    stage = next(roads[place], None)
                    if stage is None:
                        del waiting[place]
                        break
                    grips, until = waiting[place] = (stage[0], self.kernel.monotonic() + stage[1])
            if waiting:
                soonest = min(until for _grips, until in waiting.values())
                everyone = [grip for grips, _until in waiting.values() for grip in grips]
                wait(self.kernel, everyone, max(0.0, soonest - self.kernel.monotonic()))

    def release(self, endings: Iterable[Ending]) -> None:
        for ending in endings:
            for grip in ending.grips.values():
                grip.release()


def alive(kernel: Kernel, identities: Iterable[Identity]) -> list[Identity]:
    """Which of these processes live, as /proc says, whatever became of the signals."""
    return [identity for identity in identities if lives(kernel, identity)]
