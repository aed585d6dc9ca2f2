# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stale locks, swap files and sockets, real ones, with owners who come back, rename and link while they are moved."""

from __future__ import annotations

import json
import pathlib
import re
import shlex
import subprocess

import pytest
from realhosts import Person, run, until

DRIVER = pathlib.Path(__file__).with_name("driver.py")
HOSTILE = pathlib.Path(__file__).with_name("hostile.py")
LOCKS = {"kinds": ["stale_lock"], "older_than": "0"}
TRASH = "/var/lib/session-policy/trash"
ATTACK = 6  # seconds of each kind

# What alice leaves behind, $DEAD being a pid that was hers and is gone.
ALICE = r"""
cd; sleep 0 & DEAD=$!; wait $DEAD
for name in dead.lock held.lock flocked.lock fcntl.lock two.lock /tmp/shared.lock /run/lock/LCK..ttyS9 gone.pid \
  "$(printf 'a\nb.lock')" .vim/swap/x.lock; do mkdir -p -- "$(dirname "$name")"; echo $DEAD > "$name"; done
ln two.lock second-name
echo "$DEAD somewhere" > foreign.lock
echo words > words.lock; : > empty.lock; ln -s /root/canary.lock link.lock; mkdir folder.lock; mkfifo fifo.lock
nohup sleep 5000 >/dev/null 2>&1 & echo $! > alive.lock
nohup sh -c 'exec 3<held.lock; exec sleep 5001' >/dev/null 2>&1 &
nohup flock flocked.lock sleep 5002 >/dev/null 2>&1 &
nohup python3 -c 'import fcntl,time; f = open("fcntl.lock", "r+"); fcntl.lockf(f, 2); time.sleep(5003)' >/dev/null 2>&1 &
mkdir -p build/one; echo $DEAD > build/one/.lock; : > build/one/.state
sleep 0.5
"""
# X leaves its lock and its socket; the lock's pid is padded to ten characters.
X_SERVER = """
import os, socket, sys
with open("/tmp/.X7-lock", "w") as lock:
    lock.write("%10d\\n" % os.getpid())
for name in ("X7", "X8"):
    end = socket.socket(socket.AF_UNIX)
    end.bind("/tmp/.X11-unix/" + name)
    end.listen()
    if name == "X8" and os.fork() == 0:
        import time; time.sleep(5004)
"""
SETUP = r"""
mkdir -p /tmp/.X11-unix; chmod 1777 /tmp/.X11-unix
echo canary > /root/canary.lock
mkdir -m 0755 /srv/open; mkdir -m 0777 /srv/anybody; mkdir /srv/bobs; chown bob /srv/bobs
su alice -c 'sleep 0 & echo $!' > /tmp/pid
cp /tmp/pid /srv/anybody/a.lock; cp /tmp/pid /srv/bobs/b.lock; cp /tmp/pid /srv/open/c.lock; rm /tmp/pid
chown alice /srv/anybody/a.lock /srv/bobs/b.lock /srv/open/c.lock
"""
EXPECTED = {
    "/tmp/shared.lock": ("pid_gone", []),
    "/run/lock/LCK..ttyS9": ("pid_gone", []),
    "/home/alice/dead.lock": ("pid_gone", []),
    "/home/alice/gone.pid": ("pid_gone", []),
    "/home/alice/a\\x0ab.lock": ("pid_gone", []),
    "/home/alice/.vim/swap/x.lock": ("pid_gone", []),
    "/home/alice/held.lock": ("pid_gone", ["held"]),
    "/home/alice/flocked.lock": ("pid_gone", ["held"]),
    "/home/alice/fcntl.lock": ("pid_gone", ["held"]),
    "/home/alice/two.lock": ("pid_gone", ["hard_links"]),
    "/tmp/.X7-lock": ("pid_gone", []),
    "/tmp/.X11-unix/X7": ("no_server", []),
    "/run/screen/S-dave/away": ("no_server", []),
    "/tmp/tmux/default": ("no_server", []),
    "/home/erin/.clean.txt.swp": ("vim_swap", []),
    "/home/erin/.dirty.txt.swp": ("vim_swap", ["unsaved_changes"]),
    "/home/erin/.foreign.txt.swp": ("vim_swap", ["other_host"]),
    "nvim/clean": ("vim_swap", []),
    "nvim/dirty": ("vim_swap", ["unsaved_changes"]),
}
NAMED = {
    "/home/alice/build/one/.lock": ("pid_gone", []),
    "/home/alice/build/one/.state": ("named", []),
    "/srv/anybody/a.lock": ("pid_gone", ["folder"]),
    "/srv/bobs/b.lock": ("pid_gone", ["folder"]),
    "/srv/open/c.lock": ("pid_gone", []),
}
PATTERNS = ["/home/alice/build/*/.*", "/srv/*/*.lock", "/home/alice/link.lock", "/home/alice/alive.lock"]


def short(path):
    """Pids and uids out of it."""
    path = re.sub(r"/\d+\.away$", "/away", re.sub(r"^/tmp/tmux-\d+/", "/tmp/tmux/", path))
    return re.sub(r"^.*/nvim/swap/.*%(\w+)\.txt\.swp$", r"nvim/\1", path)


def typed(machine, user, line, text):
    """An editor at its file, with text in it that is not saved."""
    person = Person(machine, user).at_prompt()
    person.type(line)
    person.reads("~")
    if text:
        person.type(f"i{text}", enter=False)
        person.key("Escape")
    return person


@pytest.fixture(scope="module")
def left(machine):
    machine.exec(SETUP)
    machine.write("/tmp/alice.sh", ALICE)
    machine.ssh("sh /tmp/alice.sh; rm -f /tmp/alice.sh", user="alice", check=False)
    machine.ssh(f"python3 -c {shlex.quote(X_SERVER)} >/dev/null 2>&1 </dev/null", user="carol")
    people = [
        typed(machine, "erin", "vim -c 'set updatetime=100' dirty.txt", "not saved"),
        typed(machine, "erin", "vim clean.txt", ""),
        typed(machine, "erin", "nvim -c 'set updatetime=100' dirty.txt", "not saved"),
        typed(machine, "erin", "nvim clean.txt", ""),
    ]
    # Alive, all of them: not one of these is stale.
    swaps = "find /home/erin -name '*.sw?' -size +0 | wc -l"
    assert until(lambda: machine.exec(swaps).stdout == "4\n", 20), machine.exec("find /home/erin").stdout
    seen = machine.module("session_info", gather_subset=["leftovers"], leftovers=LOCKS)["leftovers"]
    assert not [x for x in seen if x["cause"] == "vim_swap"], seen
    until(lambda: b"\x55" in machine.exec("tail -c +1008 /home/erin/.dirty.txt.swp | head -c1", text=False).stdout, 10)
    machine.ssh("tmux new -d; screen -dmS away; sleep 1", user="dave")
    # nvim is two processes: one that sees the other die first has the time to take its swap file away.
    machine.exec(
        "all=$(pgrep -u erin 'vim$|vim.basic$|nvim$'); kill -STOP $all; kill -9 $all; kill -9 $(pgrep -u dave '^(tmux|screen|SCREEN)'); sleep 1;"
        "cd /home/erin; cp -p .clean.txt.swp .foreign.txt.swp;"
        "printf elsewhere | dd of=.foreign.txt.swp bs=1 seek=68 conv=notrunc 2>/dev/null"
    )
    for person in people:
        person.leaves()
    machine.put_engine(DRIVER)
    return machine


def told(leftovers):
    return {short(x["path"]): (x["cause"], x["skipped_because"]) for x in leftovers}


@pytest.fixture(scope="module")
def seen(machine, left):
    return machine.module("session_info", gather_subset=["leftovers"], leftovers=LOCKS)["leftovers"]


def test_which_locks_are_stale(seen):
    assert told(seen) == EXPECTED


def test_the_operators_patterns_add_to_them(machine, seen):
    asked = {**LOCKS, "lock_patterns": PATTERNS}
    more = machine.module("session_info", gather_subset=["leftovers"], leftovers=asked)["leftovers"]
    assert told(more) == {**EXPECTED, **NAMED}
    plan = machine.module("leftover_remove", check=True, **asked)["leftovers"]
    assert told(plan) == told(more)


def test_they_are_moved_and_come_back(machine, left, seen):
    before = machine.exec("stat -c '%n %a %U %G %Y %s' /tmp/shared.lock /home/alice/dead.lock").stdout
    result = machine.module("leftover_remove", lock_patterns=PATTERNS, **LOCKS)
    assert not result["failed"], result["msg"]
    removed = {short(x["path"]): x for x in result["leftovers"] if x["outcome"] == "removed"}
    assert set(removed) == {path for path, (_cause, why) in {**EXPECTED, **NAMED}.items() if not why}
    day = re.escape(TRASH) + r"/\d{4}-\d\d-\d\d/\d{6}-[0-9a-f]{8}-"
    assert all(re.match(day, x["trash"]) for x in removed.values())
    left_there = told(machine.module("session_info", gather_subset=["leftovers"], leftovers=LOCKS)["leftovers"])
    assert left_there == {path: entry for path, entry in EXPECTED.items() if entry[1]}
    folders = machine.exec(f"stat -c '%a %U' {TRASH} {TRASH}/*").stdout.split("\n")
    assert set(folders) == {"700 root", ""}
    # By the documented command, from both file systems: mode, owner and times are what they were.
    for path in ("/tmp/shared.lock", "/home/alice/dead.lock"):
        machine.exec(f"cp --archive --no-clobber {removed[path]['trash']} {path}")
        note = json.loads(machine.exec(f"cat {removed[path]['trash']}.json").stdout)
        assert note["path"] == path
    assert machine.exec("stat -c '%n %a %U %G %Y %s' /tmp/shared.lock /home/alice/dead.lock").stdout == before
    log = machine.exec("journalctl -o cat -t leftover_remove | grep trash=").stdout
    assert all(x["trash"] in log for path, x in removed.items() if "\\" not in x["path"])
    machine.exec("rm /tmp/shared.lock /home/alice/dead.lock")
    again = machine.module("leftover_remove", lock_patterns=PATTERNS, **LOCKS)
    assert not again["changed"] and not again["failed"], again


def test_unsaved_text_goes_only_by_its_name(machine, left, seen):
    swap = "/home/erin/.dirty.txt.swp"
    by_pattern = machine.module("leftover_remove", lock_patterns=["/home/erin/.d*.swp"], **LOCKS)
    assert not by_pattern["changed"]
    by_name = machine.module("leftover_remove", lock_patterns=[swap], **LOCKS)
    assert told(x for x in by_name["leftovers"] if x["outcome"] == "removed") == {swap: ("vim_swap", [])}
    (entry,) = [x for x in by_name["leftovers"] if x["outcome"] == "removed"]
    machine.exec(f"cp --archive --no-clobber {entry['trash']} {swap}")
    # The text is in it.
    machine.ssh("vim -es -r dirty.txt -c 'w! saved.txt' -c q", user="erin", check=False)
    assert machine.exec("cat /home/erin/saved.txt").stdout == "not saved\n"


def drive(machine, seconds=0, between=None, patterns=()):
    asked = {"wish": {"kinds": ["stale_lock"], "lock_patterns": patterns}, "seconds": seconds, "between": between}
    words = shlex.join(["python3", "/root/driver/driver.py", "/root/driver", json.dumps(asked)])
    done = run([*machine.ssh_argv("root"), words], timeout=seconds + 60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        ("nohup sh -c 'exec 3</home/bob/race.lock; exec sleep 20' >/dev/null 2>&1 & sleep 0.3", "held"),
        ("nohup flock /home/bob/race.lock sleep 20 >/dev/null 2>&1 & sleep 0.3", "held"),
        ("echo 1 > /home/bob/race.lock", "changed"),
        ("cp -p /home/bob/race.lock /home/bob/n; mv /home/bob/n /home/bob/race.lock", "changed"),
        ("rm /home/bob/race.lock; ln -s /root/canary.lock /home/bob/race.lock", "changed"),
        ("ln /home/bob/race.lock /home/bob/second", "changed"),
    ],
)
def test_what_happens_between_look_and_removal(machine, left, between, reason):
    machine.exec("cd /home/bob; rm -f race.lock second; su bob -c 'sleep 0 & echo $! > race.lock'; sleep 0.1")
    listing = "cat /home/bob/race.lock; cat /root/canary.lock; ls -l /home/bob/race.lock | cut -c1"
    said = drive(machine, between=between, patterns=["/home/bob/race.lock"])
    assert said["because"].get(reason, 0) >= 1 and "removed" not in said["outcomes"], said
    assert machine.exec(listing).stdout.splitlines()[-2] == "canary"
    assert machine.exec("test -e /home/bob/race.lock", check=False).returncode == 0
    machine.exec("cd /home/bob; rm -f race.lock second n")


def test_owners_who_attack_move_nothing_but_their_own(machine, left):
    """Symlinks, renamed folders, FIFOs, and folders in the file's place, as fast as its owner can, while we remove."""
    machine.exec(
        "cat > /root/hostile.py; chmod 644 /root/hostile.py; cp /root/hostile.py /srv", input=HOSTILE.read_text()
    )
    machine.exec(
        "mkdir -p /srv/victim; su alice -c 'sleep 0 & echo $!' > /srv/victim/x.lock; cp /srv/victim/x.lock /srv/victim/y;"
        "chown -R bob: /srv/victim; chmod 755 /srv/victim"
    )
    outside = ("/srv/victim", "/etc", "/root", "/home/bob")
    before = machine.tree(*outside)
    attacker = subprocess.Popen(
        [*machine.ssh_argv("carol"), f"python3 /srv/hostile.py attack {ATTACK + 2}"], stdout=subprocess.PIPE, text=True
    )
    said = drive(machine, seconds=ATTACK, patterns=["/home/carol/*/x.lock", "/home/carol/x.lock"])
    turns = json.loads(attacker.communicate(timeout=60)[0])
    assert machine.tree(*outside) == before
    trash = machine.exec(f"find {TRASH}/* -type l -o -type d -name 'x*' -o -user bob").stdout
    assert trash == "", trash
    assert said["rounds"] > 5 and turns["turns"] > 30, (said, turns)
    assert said["outcomes"].get("removed", 0) > 0, said


def test_nobody_loses_a_lock_that_he_has(machine, left):
    """Programs that take and give back one lock file, by flock and by fcntl, while it is removed all the time."""
    programs = [
        subprocess.Popen(
            [*machine.ssh_argv("carol"), f"python3 /srv/hostile.py {kind} {ATTACK + 2}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for kind in ("flock", "fcntl")
    ]
    said = drive(machine, seconds=ATTACK)
    for program in programs:
        took = json.loads(program.communicate(timeout=60)[0])
        assert took["lost"] == 0 and took["turns"] > 10, (took, said)
    assert said["outcomes"].get("removed", 0) > 0, said
