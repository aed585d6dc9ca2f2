# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does not end at once, what is not to end at all, and terminals that take no warning."""

from __future__ import annotations

import pathlib
import shlex
import time

import pytest
from endings import DEAF, only, terminate, work_shows
from realhosts import until

HANGING_FS = pathlib.Path(__file__).with_name("hanging_fs.py").read_text()


def commands(survivors):
    return {(s["command"], s["why"]) for s in survivors}


def alive(machine, pattern):
    """Whether a process has this in its command line; the brackets keep the question itself from being one."""
    return machine.exec(f"pgrep -f '[{pattern[0]}]{pattern[1:]}'", check=False).returncode == 0


# --- processes that do not end ----------------------------------------------------------------------------------------


def test_a_shell_that_ignores_hup_and_term(machine, person):
    alice = person(machine, "alice")
    alice.type(f"exec bash -c {shlex.quote(DEAF)}")
    alice.reads("^deaf")
    stuck = terminate(machine, users=["alice"])
    assert stuck["failed"] and "bash (pid" in stuck["msg"] and "did not end" in stuck["msg"] and not stuck["changed"]
    session = only(stuck)
    assert session["outcome"] == "failed" and commands(session["survivors"]) == {("bash", "did not end")}
    assert [s["signal"] for s in session["steps"] if s["signal"] != "CONT"] == ["HUP", "TERM", "TERM"]
    assert alice.leaves_within(5)  # its connection is gone, so the person is not held
    machine.exec("pkill -9 -u alice -x bash")


def test_force_kills_it(machine, person):
    alice = person(machine, "alice")
    alice.type(f"exec bash -c {shlex.quote(DEAF)}")
    alice.reads("^deaf")
    session = only(terminate(machine, users=["alice"], force=True))
    assert session["outcome"] == "terminated" and not session["survivors"]
    assert [s["signal"] for s in session["steps"] if s["signal"] != "CONT"] == ["HUP", "TERM", "TERM", "KILL"]


def test_a_stopped_job(machine, person):
    alice = person(machine, "alice")
    alice.type("sleep 7001")
    time.sleep(0.5)
    alice.key("C-z")
    alice.reads("Stopped")
    skipped = only(terminate(machine, users=["alice"]))
    assert skipped["outcome"] == "skipped" and skipped["skipped_because"] == ["jobs"]
    ended = only(terminate(machine, users=["alice"], on_protected="terminate"))
    assert ended["outcome"] == "terminated" and not ended["survivors"]
    assert not alive(machine, "sleep 7001")


def test_uninterruptible_sleep_is_reported_and_not_waited_for(machine, person):
    """KILL does not reach it either, until the file system answers."""
    machine.write("/root/hanging_fs.py", HANGING_FS)
    machine.exec(
        "mkdir -p /mnt/hanging; setsid python3 /root/hanging_fs.py /mnt/hanging >/dev/null 2>&1 </dev/null &"
        " echo $! > /root/hanging.pid"
    )
    try:
        alice = person(machine, "alice")
        assert until(lambda: machine.exec("mountpoint /mnt/hanging", check=False).returncode == 0, 10)
        alice.type("stat /mnt/hanging/x")
        assert until(lambda: alive(machine, "stat /mnt/hanging"), 10)
        began = time.monotonic()
        result = terminate(machine, users=["alice"], force=True)
        took = time.monotonic() - began
        session = only(result)
        assert result["failed"] and not result["changed"] and "state D" in result["msg"], result
        assert session["outcome"] == "failed"
        assert [(s["command"], s["state"]) for s in session["survivors"]] == [("stat", "D")]
        assert took < 30
    finally:
        machine.exec("kill -9 $(cat /root/hanging.pid); umount -l /mnt/hanging", check=False)
    assert until(lambda: not alive(machine, "stat /mnt/hanging"), 10)


# --- what is meant to stay --------------------------------------------------------------------------------------------


def test_nohup_setsid_disown_and_tmux_survive_and_are_named(machine, person):
    bob = person(machine, "bob")
    bob.type("nohup sleep 7101 >/dev/null 2>&1 </dev/null & setsid sleep 7102; sleep 7103 & disown %%; sleep 7104 &")
    bob.type("tmux -L kept new-session -d 'sleep 7105'")
    work_shows(machine, "bob", "multiplexers")
    assert only(terminate(machine, users=["bob"]))["skipped_because"] == ["jobs", "multiplexers"]
    planned = only(terminate(machine, users=["bob"], on_protected="terminate", check=True))
    ended = only(terminate(machine, users=["bob"], on_protected="terminate"))
    assert ended["outcome"] == "terminated" and bob.leaves_within(5)
    named = {("sleep", "nohup"), ("sleep", "setsid"), ("sleep", "background"), ("tmux", "multiplexer")}
    assert commands(ended["survivors"]) >= named and commands(planned["survivors"]) >= named
    running = [number for number in range(7101, 7106) if alive(machine, f"sleep {number}")]
    assert running == [7101, 7102, 7103, 7105]  # 7104 was a job of the shell's, which hung it up
    again = terminate(machine, users=["bob"], closing=True, on_protected="terminate")
    assert not again["changed"] and alive(machine, "sleep 7105"), "a tmux is not closing"
    machine.exec("pkill -u bob; true")


def test_text_that_nano_saves_is_named(machine, person):
    carol = person(machine, "carol")
    carol.type("nano plan.txt")
    carol.reads("GNU nano")
    carol.type("half a plan", enter=False)
    carol.reads("half a plan")
    session = only(terminate(machine, users=["carol"], on_protected="terminate"))
    assert session["outcome"] == "terminated" and session["preserved"] == ["/home/carol/plan.txt.save"]
    assert machine.exec("cat /home/carol/plan.txt.save").stdout == "half a plan\n"


def test_a_live_mosh_is_not_closing_and_ends_by_its_own_signal(machine, person, count):
    machine.exec(
        "test -f /root/.ssh/id_ed25519 || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519;"
        "cat /root/.ssh/id_ed25519.pub >> /home/dave/.ssh/authorized_keys;"
        "printf 'Host *\\n  StrictHostKeyChecking no\\n' > /root/.ssh/config"
    )
    mosh = "LC_ALL=C.UTF-8 TERM=xterm exec mosh dave@127.0.0.1"
    dave = person(machine, "dave", client=[*machine.inside_argv, "sh", "-c", mosh])
    left = terminate(machine, users=["dave"], closing=True, on_protected="terminate", force=True)
    assert not left["changed"] and dave.connected
    count(cases=1, protected_sessions_lost=int(not dave.connected))
    # Its server takes leave of the client before it goes.
    session = only(terminate(machine, users=["dave"], kinds=["mosh"], hup_grace=15))
    assert session["outcome"] == "terminated" and session["steps"][0]["signal"] == "USR1", session
    assert dave.leaves_within(10) and not alive(machine, "mosh-server")


def test_one_terminal_of_a_shared_connection(machine, person, tmp_path):
    master = f"ControlPath={tmp_path}/cm"
    first = person(machine, "carol", client=[*machine.ssh_argv("carol", "-tt", "-M", "-o", master)])
    second = person(machine, "carol", client=[*machine.ssh_argv("carol", "-tt", "-o", master)])
    first.type("tty"), second.type("tty")
    tty = second.reads(r"^/dev/(pts/\d+)").group(1)
    session = only(terminate(machine, users=["carol"], ttys=[tty]))
    assert session["outcome"] == "terminated" and session["part"] and session["ttys"] == [tty]
    assert second.leaves_within(5) and first.connected
    first.type("echo still $((1 + 1))")
    first.reads("^still 2")
    assert not terminate(machine, users=["carol"], ttys=[tty])["changed"]


# --- warnings ---------------------------------------------------------------------------------------------------------


def test_one_who_comes_back_is_left_alone(machine, person, count):
    alice = person(machine, "alice")
    time.sleep(10)  # atime moves in steps of 8 s
    ending = machine.start(
        "session_terminate", users=["alice"], min_age=0, warn_grace=12, warn_message="Anybody there?"
    )
    alice.reads(r"\*\*\* Anybody there\? \*\*\*")
    alice.type("echo I am here")
    session = only(ending())
    assert session["outcome"] == "skipped" and session["skipped_because"] == ["active_again"]
    assert alice.connected and not session["steps"]
    count(cases=1, protected_sessions_lost=int(not alice.connected))


def test_a_warning_resets_no_idle_clock_and_drives_no_terminal(machine, person):
    alice = person(machine, "alice")
    alice.type("vim notes.txt")
    alice.reads("~")
    time.sleep(10)  # both clocks move in steps of 8 s
    session = only(terminate(machine, users=["alice"], on_protected="warn", warn_message="a\x1b[2Jb\nc"))
    assert session["outcome"] == "skipped" and session["warned"][0]["written"]
    assert r"*** a\x1b[2Jb\x0ac ***" in alice.screen()
    after = only(machine.module("session_info", users=["alice"]))
    assert after["idle"] >= 10 and after["output_idle"] < after["idle"] - 7


def test_a_stuck_terminal_holds_nobody_up(machine, person):
    alice = person(machine, "alice")
    alice.type("yes")
    time.sleep(0.5)
    alice.freeze()
    time.sleep(3)
    began = time.monotonic()
    session = only(terminate(machine, users=["alice"], warn_message="hello", force=True))
    assert session["warned"] == [{**session["warned"][0], "written": False}]
    assert session["outcome"] == "terminated" and time.monotonic() - began < 20
    alice.leaves()


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_more_than_max_terminate_touches_nobody(machine, person, count):
    people = [person(machine, "bob"), person(machine, "bob"), person(machine, "bob")]
    for limit in (2, "1%"):
        result = terminate(machine, users=["bob"], max_terminate=limit)
        assert result["failed"] and "nothing was touched" in result["msg"], result
    assert all(one.connected for one in people)
    count(cases=2, protected_sessions_lost=sum(not one.connected for one in people))
    done = terminate(machine, users=["bob"], max_terminate=3)
    assert len(done["summary"]["terminated"]) == 3


def test_exclusions_and_young_sessions(machine, person):
    person(machine, "carol")
    carol = machine.module("session_info", users=["carol"])["sessions"]
    tty, host = carol[-1]["ttys"][0], carol[-1]["remote_host"]
    for exclusion in (
        {"exclude_users": ["carol"]},
        {"exclude_groups": ["carol"]},
        {"exclude_ttys": [f"/dev/{tty}"]},
        {"exclude_remote_hosts": [f"{host}/24"]},
    ):
        result = terminate(machine, users=["carol"], on_protected="terminate", force=True, **exclusion)
        assert only(result)["skipped_because"] == ["excluded"], exclusion
    young = terminate(machine, users=["carol"], min_age=3600)
    assert only(young)["skipped_because"] == ["min_age"]


def test_a_selector_that_came_out_empty_names_nobody(machine, person):
    carol = person(machine, "carol")
    for selector in ("users", "groups", "ttys", "kinds", "remote_hosts", "ids"):
        for more in ({}, {"idle_over": 0}):
            result = terminate(machine, **{selector: []}, **more)
            assert not result["failed"] and not result["changed"] and result["sessions"] == [], (selector, more)
    assert carol.connected


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ({"min_age": 5}, "set at least one of idle_over"),
        ({"idle_over": "soon"}, "idle_over: 'soon' is not a duration"),
        ({"users": ["bob"], "warn_grace": "-1"}, "warn_grace: '-1' is not a duration"),
        ({"users": ["bob"], "max_terminate": "101%"}, "max_terminate: '101%' is neither a count nor a percentage"),
        ({"exclude_remote_hosts": ["lan"], "users": ["bob"]}, "exclude_remote_hosts: 'lan' is neither"),
        ({"unresponsive": True, "sample": 0}, "one look cannot tell"),
        ({"kinds": ["tty"]}, "kinds"),
    ],
)
def test_bad_input(machine, args, sentence):
    assert sentence in machine.module("session_terminate", **args)["msg"]


def test_only_as_root(machine):
    result = machine.start("session_terminate", variables={"ansible_user": "bob"}, users=["bob"])()
    assert result["failed"] and "become: true" in result["msg"]


def test_an_unresponsive_peer(machine, person):
    erin = person(machine, "erin")
    erin.type("yes")
    time.sleep(0.5)
    erin.freeze()
    time.sleep(3)
    session = only(terminate(machine, unresponsive=True, sample=2, force=True))
    assert session["user"] == "erin" and session["outcome"] == "terminated"
    erin.leaves()


def test_a_session_that_a_background_job_holds_open(machine, person):
    erin = person(machine, "erin")
    erin.type("sleep 7201 & exit")
    assert until(
        lambda: [s for s in machine.module("session_info", users=["erin"])["sessions"] if s["state"] == "closing"], 15
    )
    assert only(terminate(machine, users=["erin"], closing=True))["skipped_because"] == ["jobs"]
    ended = only(terminate(machine, users=["erin"], closing=True, on_protected="terminate"))
    assert ended["outcome"] == "terminated" and erin.leaves_within(5)
