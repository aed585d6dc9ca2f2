# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The road of taking leftovers away, with real processes of our own and a look that says what we want."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine import remove_leftovers
from ansible_collections.sessionops.policy.plugins.module_utils._engine.act.claims import Claims
from ansible_collections.sessionops.policy.plugins.module_utils._engine.act.ending import Graces
from ansible_collections.sessionops.policy.plugins.module_utils._engine.act.locks import Trash
from ansible_collections.sessionops.policy.plugins.module_utils._engine.end_sessions import Refused
from ansible_collections.sessionops.policy.plugins.module_utils._engine.judge_leftovers import LeftoverWish
from ansible_collections.sessionops.policy.plugins.module_utils._engine.model import (
    DETACHED_MULTIPLEXER,
    ORPHAN_PROCESS,
    STALE_LOCK,
    Leftover,
    Member,
    Observation,
    Process,
)
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.command import Answer
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.detached import Box
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.draft import Roots
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.lock_files import LockFile
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.multiplexers import Server
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.procfs import Proc
from ansible_collections.sessionops.policy.plugins.module_utils._engine.remove_leftovers import (
    LEFTOVER_OUTCOMES,
    RemoveOptions,
    Remover,
    described_leftover,
    outcome_as_dict,
)

WISH = LeftoverWish(older_than=0)


class Field:
    """Children of ours as leftovers, and a remover of them."""

    def __init__(self, tmp_path):
        self.children, self.leftovers, self.logged = [], [], []
        self.claims = Claims(str(tmp_path / "claims"))
        self.remover = Remover(
            claims=self.claims,
            trash=Trash(str(tmp_path / "trash")),
            log=lambda *line: self.logged.append(line) or True,
            look=lambda roots, wish: self.look(),
        )

    def look(self):
        living = [x for x in self.leftovers if x.kind == STALE_LOCK or any(self.lives(m) for m in x.processes)]
        return Observation("boot", (), tuple(living), None, (), (), (), (None, None))

    @staticmethod
    def lives(member):
        proc = Proc()
        try:
            now = proc.process(member.pid)
            return now is not None and now.start == member.start_time and now.state != "Z"
        finally:
            proc.close()

    def leave(self, *argv, command=None, start=0, **more):
        # Under nohup the tests themselves ignore HUP, and their children would.
        child = subprocess.Popen(
            argv, stdout=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)
        )
        self.children.append(child)
        if argv[0] != "sleep":
            child.stdout.read(1)
        proc = Proc()
        process = proc.process(child.pid)
        proc.close()
        member = Member(child.pid, process.start + start, os.getuid(), None, command or argv[0], "S")
        self.leftovers.append(
            Leftover(
                ORPHAN_PROCESS,
                "shell_ended",
                "why",
                f"boot-{child.pid}",
                child.pid,
                process.start,
                os.getuid(),
                "alice",
                argv[0],
                age=5,
                processes=(member,),
                **more,
            )
        )
        return child

    def run(self, wish=WISH, force=False, **more):
        options = RemoveOptions(Graces(0.3, 0.3), force, **more)
        return self.remover.run(wish, options).outcomes


@pytest.fixture
def field(tmp_path):
    there = Field(tmp_path)
    yield there
    for child in there.children:
        child.kill()
        child.wait()
        child.stdout.close()


def test_one_is_ended_and_the_other_is_left(field):
    ended, kept = field.leave("sleep", "60"), field.leave("sleep", "60", intent=("nohup",))
    one, other = field.run(reason="tidy")
    assert (one.outcome, other.outcome, other.skipped_because) == ("removed", "skipped", ("nohup",))
    assert ended.wait(5) == -15 and kept.poll() is None
    ((identifier, _severity, message, facts),) = field.logged
    assert (identifier, message, facts["reason"], facts["leftover"]) == (
        "leftover_remove",
        "removed leftover",
        "tidy",
        one.leftover.id,
    )
    assert facts["done"].startswith(f"TERM:{ended.pid}")  # it may be gone before CONT
    assert outcome_as_dict(one)["steps"][0]["signal"] == "TERM"
    assert not os.listdir(field.claims.folder)
    (again,) = field.run()
    assert again.outcome == "skipped"


def test_a_plan_touches_nothing(field):
    child = field.leave("sleep", "60")
    result = field.remover.plan(WISH, RemoveOptions())
    assert [o.outcome for o in result.outcomes] == ["would_remove"] and child.poll() is None and not field.logged
    assert not os.path.exists(field.claims.folder)


def test_what_hears_nothing_fails_without_force(field):
    child = field.leave("sh", "-c", "trap '' HUP TERM; echo x; while :; do sleep 0.05; done")
    (outcome,) = field.run(LeftoverWish(older_than=0, keep_intent=False))
    assert outcome.outcome == "failed" and "did not end" in outcome.trouble and child.poll() is None
    assert [step.signal for step in outcome.steps] == ["HUP", "CONT", "TERM", "CONT"]
    assert field.logged[0][2].startswith("could not")
    (outcome,) = field.run(LeftoverWish(older_than=0, keep_intent=False), force=True)
    assert outcome.outcome == "removed" and child.wait(5) == -9


def test_a_shell_is_hung_up_first(field):
    child = field.leave("bash", "-c", "trap 'echo hup; exit 3' HUP; echo x; while :; do sleep 0.05; done")
    (outcome,) = field.run()
    assert outcome.outcome == "removed" and outcome.steps[0].signal == "HUP" and child.wait(5) == 3


def test_another_process_with_its_pid_gets_no_signal(field):
    child = field.leave("sleep", "60", start=-1)
    field.look = lambda: Observation("b", (), tuple(field.leftovers), None, (), (), (), (None, None))
    field.run(force=True)
    time.sleep(0.1)
    assert child.poll() is None


def test_we_and_those_above_us_get_no_signal(field):
    child = field.leave("sleep", "60")
    (leftover,) = field.leftovers
    proc = Proc()
    own = [proc.process(os.getpid()), proc.process(os.getppid())]
    proc.close()
    us = tuple(Member(p.pid, p.start, None, None, p.comm, "S") for p in own)
    field.leftovers = [leftover._replace(processes=(*leftover.processes, *us))]
    (outcome,) = field.run(force=True)
    assert child.wait(5) == -15 and {step.pid for step in outcome.steps} == {child.pid}


def test_one_alone_ends_it(field):
    child = field.leave("sleep", "60")
    claim = field.claims.take(field.leftovers[0].id)
    (outcome,) = field.run()
    assert outcome.skipped_because == ("ended_elsewhere",) and child.poll() is None
    os.close(claim.handle)  # it was killed
    (outcome,) = field.run()
    assert outcome.outcome == "removed" and not os.listdir(field.claims.folder)


def test_more_than_allowed(field):
    for _count in range(3):
        field.leave("sleep", "60")
    with pytest.raises(Refused, match=r"3 leftovers would be ended, and max_remove allows 2: nothing was touched"):
        field.run(limit=(2, None))
    assert all(child.poll() is None for child in field.children) and not field.logged


def test_a_trash_folder_that_cannot_be_made(field, tmp_path):
    lock = tmp_path / "x.lock"
    lock.write_text("1\n")
    (tmp_path / "trash").write_text("a file")
    target = LockFile(str(lock), "pid_gone", "why", (), os.stat(lock))
    field.leftovers.append(Leftover(STALE_LOCK, "pid_gone", "why", str(lock), path=str(lock), age=5, target=target))
    (outcome,) = field.run()
    assert outcome.outcome == "failed" and "the trash folder" in outcome.trouble and lock.exists()
    assert described_leftover(outcome.leftover) == f"None stale_lock {lock}"


SERVER = Server("tmux", Process(7, "tmux: server", "S", 1, 7, 7, 0, -1, 0, 0, 70), 1001, 1001)


@pytest.mark.parametrize(
    ("states", "outcome", "because", "trouble"),
    [
        (["detached", "gone"], "removed", (), None),
        (["silent", "detached", "silent", "detached", "gone"], "removed", (), None),
        (["gone", "gone"], "gone", (), None),
        (["detached", "attached"], "skipped", ("attached",), None),
        (["attached", "attached"], "skipped", ("attached",), None),
        (["silent"] * 6, "failed", (), "its tmux does not answer"),
        (["detached"] * 52, "failed", (), "its tmux did not end it in time"),
    ],
)
def test_a_multiplexer_that_is_late_or_used_again(field, monkeypatch, states, outcome, because, trouble):
    left = iter(states)
    monkeypatch.setattr(remove_leftovers, "state_of_box", lambda *args: next(left))
    asked = []

    def run(commands):
        asked.append(commands)
        return {key: Answer(0) for key in commands}

    field.remover.roots = Roots(run=run, sleep=lambda seconds: None)
    box = Box(SERVER, "/s", "$0", "x", 0, 0.0, 0.0, ())
    found = Leftover(DETACHED_MULTIPLEXER, "tmux", "why", "b-7-$0", 7, 70, age=5, target=box)
    looks = iter([(found,), ()])
    field.look = lambda: Observation("boot", (), next(looks), None, (), (), (), (None, None))
    (found,) = field.run()
    assert (found.outcome, found.skipped_because, found.trouble) == (outcome, because, trouble)
    assert bool(asked[0]) == ("detached" in states)


def test_outcomes_are_those_of_sessions():
    assert LEFTOVER_OUTCOMES == ("removed", "would_remove", "skipped", "gone", "failed")
