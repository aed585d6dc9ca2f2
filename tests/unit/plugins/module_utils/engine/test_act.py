# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ending in a world of our own: processes that end, ignore and are replaced between any two calls."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import random
import signal
import subprocess
import time
from dataclasses import replace

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.act import ending, signals, warning
from ansible_collections.sessionops.policy.plugins.module_utils._engine.act.claims import Claims
from ansible_collections.sessionops.policy.plugins.module_utils._engine.act.ending import Graces, Signaller
from ansible_collections.sessionops.policy.plugins.module_utils._engine.act.signals import NO_PIDFD, Grip, Identity
from ansible_collections.sessionops.policy.plugins.module_utils._engine.end_sessions import (
    FAILED,
    GONE,
    SKIPPED,
    TERMINATED,
    Options,
    Terminator,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_ending import Wish
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_sessions import Filters
from ansible_collections.sessionops.policy.plugins.module_utils._engine.model import (
    Channel,
    Leader,
    Member,
    Observation,
    Process,
    Session,
    Work,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.draft import Roots


class Body:
    """A process of the fake world."""

    def __init__(self, pid, start, uid=1001, ignores=(), stranger=False):
        self.pid, self.start, self.uid, self.ignores, self.stranger = pid, start, uid, set(ignores), stranger
        self.got, self.alive = [], True


class World(signals.Kernel):
    """Time passes at every call; with `chaos` a process may end at each of them, and a stranger take its pid."""

    def __init__(self, bodies, chaos=None, pidfds=True):
        self.bodies = {body.pid: body for body in bodies}
        self.everybody = list(bodies)
        self.handles, self.chaos, self.pidfds, self.time, self.boot = {}, chaos, pidfds, 1000.0, 5000

    def _tick(self):
        self.time += 0.001
        if self.chaos and self.chaos.random() < 0.2:
            pid = self.chaos.choice(list(self.bodies))
            self._replace(pid)

    def _replace(self, pid):
        self.bodies[pid].alive = False
        if self.chaos and self.chaos.random() < 0.8:
            self.boot += 1
            self.bodies[pid] = Body(pid, self.boot, stranger=True)
            self.everybody.append(self.bodies[pid])

    def open(self, pid):
        self._tick()
        body = self.bodies.get(pid)
        if not body or not body.alive:
            return None
        if not self.pidfds:
            return NO_PIDFD
        self.handles[len(self.handles) + 3] = body
        return len(self.handles) + 2

    def close(self, handle):
        if handle != NO_PIDFD:
            del self.handles[handle]

    def look(self, pid):
        self._tick()
        body = self.bodies.get(pid)
        return Process(pid, "x", "S", 1, pid, pid, 0, 0, 0, 0, body.start) if body and body.alive else None

    def uid(self, pid):
        return self.bodies[pid].uid

    def ours(self, pid):
        return True

    def send(self, handle, pid, number):
        self._tick()
        body = self.handles[handle] if handle != NO_PIDFD else self.bodies[pid]
        if not body.alive:
            raise ProcessLookupError
        body.got.append(number)
        if number not in body.ignores and number != signal.SIGCONT:
            body.alive = False

    def ended(self, handles, seconds):
        self._tick()
        gone = {handle for handle in handles if not self.handles[handle].alive}
        if not gone:
            self.time += seconds
        return gone

    def now(self):
        return self.time

    def monotonic(self):
        return self.time


LEADER, SSHD, SHELL, JOB = 10, 11, 12, 13


def bodies(**shell):
    return [Body(LEADER, 100, 0), Body(SSHD, 101), Body(SHELL, 102, **shell), Body(JOB, 103)]


def session(members=(LEADER, SSHD, SHELL, JOB)):
    return Session(
        id="boot-10-100", logind_id=None, audit_id=None, user="alice", uid=1001, kind="terminal", session_class="user",
        state="active", seen_by=("proc",), service="sshd", remote_host=None, remote_port=None, ttys=("pts/0",),
        channels=(Channel("terminal", SHELL, "pts/0", "bash", 50),), login_at=None, age=900, idle=50,
        idle_signal="tty_input", output_idle=None, peer_unresponsive=None, work=Work(), troubles=(), is_self=False,
        leader=Leader(LEADER, 100),
        processes=tuple(
            Member(pid, 90 + pid, 0 if pid == LEADER else 1001, "pts/0" if pid >= SHELL else None,
                   "sshd" if pid < SHELL else "bash", "S")
            for pid in members
        ),
    )  # fmt: skip


def end(world, outliving=(), force=False, never=()):
    one = ending.of_session(session(), outliving)
    signaller = Signaller(world, never)
    signaller.take(one)
    signaller.end([one], Graces(5, 10), force)
    left = one.left()
    signaller.release([one])
    assert not world.handles, "every handle is given back"
    return one, left


def sent(one):
    return [(step.signal, step.pid) for step in one.steps if step.signal != "CONT"]


def test_the_order():
    one, left = end(World(bodies()))
    assert sent(one) == [("HUP", SHELL), ("TERM", LEADER), ("TERM", SSHD), ("TERM", JOB)] and not left


def test_cont_follows_each_signal_so_that_what_was_stopped_hears_it():
    one, _left = end(World(bodies(ignores={signal.SIGHUP, signal.SIGTERM})))
    assert [step.signal for step in one.steps if step.pid == SHELL] == ["HUP", "CONT", "TERM", "CONT"]


def test_what_is_meant_to_stay_gets_no_signal():
    world = World(bodies())
    one, _left = end(world, outliving={JOB})
    assert JOB not in {step.pid for step in one.steps} and world.bodies[JOB].alive
    assert one.outliving == (Identity(JOB, 103, 1001, "bash"),)


def test_kill_only_by_force():
    deaf = {signal.SIGHUP, signal.SIGTERM}
    one, left = end(World(bodies(ignores=deaf)))
    assert [identity.pid for identity in left] == [SHELL] and "KILL" not in {step.signal for step in one.steps}
    one, left = end(World(bodies(ignores=deaf)), force=True)
    assert not left and sent(one)[-1] == ("KILL", SHELL)


def test_nobody_above_us_gets_a_signal():
    one, _left = end(World(bodies()), never={LEADER, SSHD}, force=True)
    assert {step.pid for step in one.steps} == {SHELL, JOB}


def test_graces_run_side_by_side():
    deaf = {signal.SIGHUP, signal.SIGTERM}
    world = World([Body(pid, 100 + pid, ignores=deaf) for pid in range(1000, 1100)])
    endings = [
        ending.Ending((Identity(pid, 100 + pid, 1001, "sh"),), (), (Identity(pid, 100 + pid, 1001, "sh"),))
        for pid in range(1000, 1100)
    ]
    signaller = Signaller(world, ())
    for one in endings:
        signaller.take(one)
    began = world.monotonic()
    signaller.end(endings, Graces(5, 10), True)
    assert world.monotonic() - began < 5 + 10 + 10  # not a hundred times as much
    assert all(not one.left() for one in endings)


def test_a_thousand_pid_reuse_races_and_no_wrong_signal(record_property):
    """At every call a process may end and a stranger get its pid: pidfds never reach a stranger."""
    races = wrong = reused = 0
    for seed in range(1000):
        chaos = random.Random(seed)
        world = World(bodies(ignores={signal.SIGHUP} if seed % 3 else ()), chaos)
        end(world, force=seed % 2 == 0)
        strangers = [body for body in world.everybody if body.stranger]
        races += 1
        reused += len(strangers)
        wrong += sum(bool(body.got) for body in strangers)
    record_property("races", races)
    record_property("pids used again", reused)
    record_property("wrong signals", wrong)
    assert wrong == 0 and reused > 500


def test_without_pidfds_the_process_is_compared_before_each_signal():
    world = World(bodies(), pidfds=False)
    grip = Grip.on(world, Identity(SHELL, 102, 1001, "bash"))
    world.bodies[SHELL] = Body(SHELL, 777, stranger=True)
    assert not grip.send(signal.SIGTERM) and not world.bodies[SHELL].got


@pytest.mark.parametrize("change", [{"start_time": 1}, {"uid": 0}])
def test_another_process_under_the_pid_is_not_held(change):
    identity = Identity(SHELL, 102, 1001, "bash")._replace(**change)
    assert Grip.on(World(bodies()), identity) is None


# --- this host's kernel -----------------------------------------------------------------------------------------------


def test_a_real_process():
    kernel = signals.Kernel()
    with subprocess.Popen(["sleep", "60"]) as child:
        start = kernel.look(child.pid).start
        grip = Grip.on(kernel, Identity(child.pid, start, os.getuid(), "sleep"))
        assert not grip.gone() and kernel.ours(child.pid)
        assert Grip.on(kernel, Identity(child.pid, start + 1, None, "sleep")) is None
        assert grip.send(signal.SIGTERM)
        signals.wait(kernel, [grip], 5)
        assert grip.gone() and not grip.send(signal.SIGTERM)  # a zombie takes none
        assert not signals.lives(kernel, grip.identity)
        grip.release()


# --- claims -----------------------------------------------------------------------------------------------------------


def test_one_alone_has_a_claim(tmp_path):
    one, other = Claims(str(tmp_path / "c")), Claims(str(tmp_path / "c"))
    claim = one.take("s")
    assert other.take("s") is None and list(other.abandoned()) == []
    one.note(claim, {"user": "alice"})
    one.release(claim)
    assert os.listdir(one.folder) == [] and other.take("s")


def test_what_a_killed_holder_said_is_found(tmp_path):
    claims = Claims(str(tmp_path))
    claim = claims.take("s")
    claims.note(claim, {"user": "alice"})
    os.close(claim.handle)  # as the kernel does at a kill
    (tmp_path / "torn").write_text('{"us')
    (tmp_path / "new").touch()  # somebody may be about to lock it
    (tmp_path / "old").touch()
    os.utime(tmp_path / "old", (0, 0))
    found = {taken.name: record for taken, record in claims.abandoned()}
    assert found == {"s": {"user": "alice"}, "torn": {}, "old": {}}


def test_a_claim_through_a_link_is_refused(tmp_path):
    (tmp_path / "target").write_text("precious")
    (tmp_path / "c").mkdir()
    os.symlink(tmp_path / "target", tmp_path / "c" / "s")
    with pytest.raises(OSError):
        Claims(str(tmp_path / "c")).take("s")
    assert (tmp_path / "target").read_text() == "precious"


# --- warnings ---------------------------------------------------------------------------------------------------------


def test_a_warning_has_no_control_characters_and_blocks_nowhere():
    master, slave = pty.openpty()
    path = os.ttyname(slave)
    try:
        assert warning.write(path, "bye\x1b[2J\a", os.fstat(slave).st_uid)
        assert os.read(master, 4096) == b"\r\n*** bye\\x1b[2J\\x07 ***\r\n".replace(b"\r\n", b"\r\r\n")
        if os.getuid() == 0:
            os.chown(path, 12345, -1)
        assert not warning.write(path, "bye", 54321), "somebody else's terminal by now"
        fcntl.fcntl(slave, fcntl.F_SETFL, os.O_NONBLOCK)
        full = 0
        while full < 5:
            try:
                os.write(slave, b"x" * 4096)
                full = 0
            except BlockingIOError:
                # The kernel passes on what it holds a little later, which makes room again.
                full += 1
                time.sleep(0.05)
        assert not warning.write(path, "bye", None)
    finally:
        os.close(master)
        os.close(slave)
    assert not warning.write("/dev/null/none", "bye", None)


@pytest.mark.parametrize(
    ("because", "seconds", "message", "said"),
    [
        (("idle",), 60, None, "in 1m: nothing was typed for 50s. Type something to keep it."),
        (("idle", "age"), 60, None, "in 1m: nothing was typed for 50s; it began 15m ago."),
        ((), 0, None, "This session will be ended now."),
        (("idle",), 60, "Go home", "Go home"),
    ],
)
def test_what_a_warning_says(because, seconds, message, said):
    assert warning.warning(session(), because, seconds, message, None).endswith(said)


# --- the whole road ---------------------------------------------------------------------------------------------------


class Host:
    """What a Terminator sees of a fake host, look by look."""

    def __init__(self, world, *looks):
        self.world, self.looks, self.logged = world, list(looks), []

    def look(self, roots, sample):
        sessions = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        alive = [s for s in sessions if self.world.bodies[s.leader.pid].alive]
        return Observation("boot", tuple(alive), (), 0, (), (), ("ancestors",), (None, None))

    def terminator(self, folder):
        return Terminator(
            roots=Roots(own_pid=lambda: 1),
            kernel=self.world,
            claims=Claims(str(folder)),
            write=lambda path, text, uid: True,
            log=lambda identifier, severity, message, facts: self.logged.append((message, dict(facts))) or True,
            look=self.look,
        )


WISH = Wish(Filters(users=["alice"]))
NOW = Options(warn_grace=0)


def run(host, folder, wish=WISH, options=NOW):
    return [outcome.outcome for outcome in host.terminator(folder).run(wish, options).outcomes]


def test_ended_proved_and_logged(tmp_path):
    host = Host(World(bodies()), [session()])
    assert run(host, tmp_path) == [TERMINATED]
    ((message, facts),) = host.logged
    assert message == "ended session" and facts["user"] == "alice" and facts["done"].startswith("HUP:12")
    assert run(host, tmp_path) == [] and os.listdir(tmp_path) == []


def test_a_plan_touches_nothing(tmp_path):
    world = World(bodies())
    host = Host(world, [session()])
    (outcome,) = host.terminator(tmp_path / "none").plan(WISH, NOW).outcomes
    assert outcome.outcome == "would_terminate" and not any(body.got for body in world.everybody)
    assert not (tmp_path / "none").exists() and not host.logged


def test_one_that_does_not_end_is_a_failure(tmp_path):
    host = Host(World(bodies(ignores={signal.SIGHUP, signal.SIGTERM})), [session()])
    assert run(host, tmp_path) == [FAILED]
    assert host.logged[0][0] == "could not end session" and host.logged[0][1]["survivors"] == "bash:12"


def test_an_ending_that_no_log_takes_is_a_warning(tmp_path):
    terminator = Host(World(bodies()), [session()]).terminator(tmp_path)
    terminator.log = lambda *line: False
    assert "neither the journal nor syslog" in terminator.run(WISH, NOW).warnings[0]


def test_one_that_left_during_the_warning_is_gone(tmp_path):
    world = World(bodies())
    host = Host(world, [session()])
    wait = world.ended

    def leave(handles, seconds):
        for body in world.bodies.values():
            body.alive = False
        return wait(handles, seconds)

    world.ended = leave
    assert run(host, tmp_path, options=Options(warn_grace=60)) == [GONE]
    assert not any(body.got for body in world.everybody) and not host.logged and os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("later", "outcome"),
    [
        ({"age": 960, "idle": 110}, TERMINATED),
        ({"age": 960, "idle": 10}, SKIPPED),
        ({"age": 960, "idle": 110, "is_self": True}, SKIPPED),
    ],
)
def test_who_types_after_the_warning_is_left_alone(tmp_path, later, outcome):
    host = Host(World(bodies()), [session()], [replace(session(), **later)])
    assert run(host, tmp_path, options=Options(warn_grace=60)) == [outcome]


def test_the_next_run_finishes_what_a_killed_one_began(tmp_path):
    """sshd is gone, so that nothing but the claim tells that the shell was to be ended."""
    world = World(bodies(ignores={signal.SIGHUP}))

    class Killed(BaseException):
        pass

    send = world.send

    def kill_at_second_term(handle, pid, number):
        if number == signal.SIGTERM and pid == SSHD:
            raise Killed
        send(handle, pid, number)

    world.send = kill_at_second_term
    host = Host(world, [session()])
    claims = Claims(str(tmp_path))
    claims.release = lambda claim: os.close(claim.handle)
    killed = host.terminator(tmp_path)
    killed.claims = claims
    with pytest.raises(Killed):
        killed.run(WISH, NOW)
    assert not world.bodies[LEADER].alive and world.bodies[SHELL].alive
    (record,) = (json.loads((tmp_path / name).read_text()) for name in os.listdir(tmp_path))
    assert record["user"] == "alice"
    world.send = send
    assert run(host, tmp_path, wish=Wish(Filters(users=["bob"]))) == [], "not asked for"
    assert run(host, tmp_path) == [TERMINATED] and not world.bodies[SHELL].alive
    assert os.listdir(tmp_path) == []
