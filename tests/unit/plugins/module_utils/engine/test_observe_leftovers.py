# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes are leftovers, of which kind, and what speaks against taking each."""

from __future__ import annotations

import os

import pytest
from ansible_collections.sessionops.policy.plugins.module_utils._engine.model import Clock
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe import leftovers, lock_files
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.detached import Box, ending, parse
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.draft import Roots
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.multiplexers import Server
from ansible_collections.sessionops.policy.plugins.module_utils._engine.observe.procfs import Proc, parse_stat

CLOCK = Clock(1_800_000_000.0, 5000.0, 100)
SCOPE = "0::/user.slice/user-1001.slice/session-7.scope"
ALICE = 1001


class Tree:
    """A /proc that is written down process by process; 1 is init, 2 we."""

    def __init__(self, folder):
        self.root = folder / "proc"
        self.uids = {}
        self.add(1, 0, comm="systemd", uid=0, cgroup="0::/init.scope")
        self.add(2, 1, comm="python3", uid=0, cgroup="0::/system.slice/ssh.service")

    def add(self, pid, ppid=1, sid=None, pgrp=None, comm="sleep", uid=ALICE, cgroup=SCOPE, fds=(), ignored=0, **more):
        sid = pid if sid is None else sid
        place = self.root / str(pid)
        (place / "fd").mkdir(parents=True)
        (place / "ns").mkdir()
        os.symlink(more.get("ns", "pid:[1]"), place / "ns/pid")
        numbers = f"{ppid} {sid if pgrp is None else pgrp} {sid} {more.get('tty', 0)} -1 0 0 0 0 0 0 0 0 0 20 0 1 0"
        (place / "stat").write_text(f"{pid} ({comm}) {more.get('state', 'S')} {numbers} {more.get('start', 1000)} 0 0")
        (place / "status").write_text(f"SigIgn:\t{ignored:016x}\n")
        (place / "cgroup").write_text(cgroup + "\n")
        (place / "cmdline").write_text(more.get("title", comm) + "\0")
        (place / "environ").write_text(more.get("environ", "TERM=xterm\0"))
        for number, target in enumerate(fds):
            os.symlink(target, place / "fd" / str(number))
        self.uids[pid] = uid
        return self

    def found(self, monkeypatch, owned=(), run=lambda commands: {}):
        monkeypatch.setattr(Proc, "uid", lambda proc, pid: self.uids.get(pid))
        monkeypatch.setattr(lock_files, "find_lock_files", lambda *args: [])
        proc = Proc(str(self.root))
        (self.root / "locks").write_text("")
        roots = Roots(
            str(self.root),
            programs=str(self.root.parent),
            screen=str(self.root / "none"),
            user_name={ALICE: "alice"}.get,
            own_pid=lambda: 2,
            run=run,
        )
        try:
            return leftovers.Leftovers(roots, proc, CLOCK, proc.processes(), set(owned), (), "boot").find()
        finally:
            proc.close()


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


PIPES = ("pipe:[1]", "pipe:[2]", "pipe:[3]")
HUP = 1


@pytest.mark.parametrize(
    ("process", "cause", "intent"),
    [
        ({"sid": 90, "pgrp": 90, "fds": PIPES}, "shell_ended", ()),
        ({"sid": 90, "pgrp": 90, "fds": ("/dev/null", *PIPES[1:])}, "shell_ended", ("background",)),
        ({"sid": 90, "fds": ("/dev/pts/3 (deleted)",) * 3, "pgrp": 100}, "shell_ended", ("background",)),
        ({"sid": 90, "pgrp": 90, "fds": PIPES, "ignored": HUP}, "shell_ended", ("nohup",)),
        # The command of an ssh connection leads its own session, as what setsid(1) started does.
        ({"fds": PIPES}, "shell_ended", ()),
        ({"fds": ("/dev/null",) * 3}, "no_session", ("setsid",)),
        ({"fds": ("/dev/null", "pipe:[1]", "pipe:[2]")}, "no_session", ("setsid",)),
        ({"comm": "sshd", "title": "sshd: alice@pts/1"}, "unsupervised", ()),
    ],
)
def test_kinds_and_intent(tree, monkeypatch, process, cause, intent):
    (found,) = tree.add(100, **process).found(monkeypatch)
    assert (found.kind, found.cause, found.intent) == ("orphan_process", cause, intent)
    assert found.user == "alice" and found.age == 4990 and found.blocked == ()


def test_a_leader_whose_pid_was_used_again(tree, monkeypatch):
    tree.add(90, start=2000, uid=0).add(100, sid=90, pgrp=90, fds=PIPES)
    (found,) = tree.found(monkeypatch)
    assert found.cause == "shell_ended"


@pytest.mark.parametrize(
    "cgroup",
    [
        "0::/system.slice/cron.service",
        "0::/system.slice/atd.service",
        "0::/user.slice/user-1001.slice/user@1001.service/app.slice/x.service",
        "0::/user.slice/user-1001.slice/user@1001.service/tmux-spawn-1.scope",
        "0::/machine.slice/libpod-12ab.scope",
        "0::/machine.slice/libpod-12ab.scope/container",
        "0::/system.slice/run-u3.scope",
        "12:pids:/system.slice/cron.service\n1:name=systemd:/system.slice/cron.service",
    ],
)
def test_units_are_nobodys_leftovers(tree, monkeypatch, cgroup):
    assert not tree.add(100, sid=90, cgroup=cgroup).found(monkeypatch)


@pytest.mark.parametrize(
    "process",
    [
        {"uid": 0},
        {"uid": 65534},
        {"uid": 999},
        {"ns": "pid:[2]"},
        {"state": "Z"},
        {"ppid": 95},
        {"comm": "mosh-server"},
    ],
)
def test_what_is_no_leftover(tree, monkeypatch, process):
    assert not tree.add(95).add(100, **{"sid": 90, **process}).found(monkeypatch, owned=[95])


def test_a_container_below_it(tree, monkeypatch):
    (found,) = tree.add(100, sid=90).add(101, 100, 90, ns="pid:[2]").found(monkeypatch)
    assert found.blocked == ("container",) and [p.pid for p in found.processes] == [100]


def test_a_child_that_ended_between_two_reads_is_no_container(tree, monkeypatch):
    tree.add(100, sid=90).add(101, 100, 90)
    os.unlink(tree.root / "101/ns/pid")
    (found,) = tree.found(monkeypatch)
    assert found.blocked == () and [p.pid for p in found.processes] == [100]


def test_ourselves_and_system_users_inside(tree, monkeypatch):
    tree.add(100, sid=90).add(101, 100, 90, uid=0)
    (found,) = tree.found(monkeypatch)
    assert found.blocked == ("system_user",)


def test_our_own_task_is_told(tmp_path, monkeypatch):
    tree = Tree(tmp_path)
    tree.add(100, sid=90)
    (tree.root / "2/stat").write_text((tree.root / "2/stat").read_text().replace("S 1 ", "S 100 ", 1))
    tree.uids[2] = ALICE
    (found,) = tree.found(monkeypatch)
    assert found.blocked == ("self",)


@pytest.mark.parametrize(
    ("environ", "blocked"),
    [("PATH=/bin\0SHELL=/bin/sh\0", ("no_login",)), ("SSH_CONNECTION=a\0", ()), ("TERM=linux\0", ())],
)
def test_without_units_the_environment_tells_a_login_from_cron(tree, monkeypatch, environ, blocked):
    (found,) = tree.add(100, sid=90, cgroup="0::/", environ=environ).found(monkeypatch)
    assert found.blocked == blocked


def test_a_user_who_lingers(tree, monkeypatch, tmp_path):
    (tmp_path / "var/lib/systemd/linger").mkdir(parents=True)
    (tmp_path / "var/lib/systemd/linger/alice").touch()
    (found,) = tree.add(100, fds=PIPES).found(monkeypatch)
    assert found.intent == ("lingering",)


def test_what_began_inside_a_multiplexer_belongs_to_it(tree, monkeypatch):
    """Its server does not answer here: that is said, and nothing is taken."""
    tree.add(90, comm="tmux: server").add(91, 90, comm="bash", tty=34816).add(100, sid=91, tty=34816)
    (found,) = tree.found(monkeypatch)
    assert (found.kind, found.pid, found.blocked) == ("detached_multiplexer", 90, ("no_answer",))


SERVER = Server("tmux", parse_stat(b"77 (tmux: server) S 1 77 77 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5 0 0"), 1001, 1001)


def test_the_sessions_of_a_tmux():
    answer = (
        "S 77 $0 0 1000 : 1500 one\nS 77 $3 1 1000 1200: 1300 two words\nS 78 $4 0 1 1: 1 another's\n"
        "P $0 80\nP $0 81\nP $3 82\nP x y\nS 77 $5 0 1 1: 1\n"
    )
    found = parse(answer, SERVER, "/s")
    assert [(b.session, b.name, b.attached, b.used, b.active, b.panes) for b in found] == [
        ("$0", "one", 0, 1000.0, 1500.0, (80, 81)),
        ("$3", "two words", 1, 1200.0, 1300.0, (82,)),
    ]


def test_a_name_that_looks_like_another_session_is_only_a_name():
    """tmux writes control characters in names as escapes; a name with a line of its own would still need our pid."""
    (found,) = parse("S 77 $0 0 1 1: 1 x S 77 $9 0 1 1: 1 y\n", SERVER, "/s")
    assert found.session == "$0" and found.name == "x S 77 $9 0 1 1: 1 y"


def test_the_end_of_one_session_is_asked_of_its_own_server_alone():
    words = ending(Box(SERVER, "/s", "$3", "x", 0, 0.0, 0.0, ())).argv
    assert words[:3] == ("tmux", "-S", "/s") and words[-1] == "kill-session -t '$3'" and "77" in words[-2]
    screen = SERVER._replace(program="screen")
    assert ending(Box(screen, "/s", "77.x", "x", 0, 0.0, 0.0, ())).argv == ("screen", "-S", "77.x", "-X", "quit")
