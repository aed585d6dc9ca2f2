# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is killed at each of its deeds, and many runs at once: no wrong signal, and the next run is right."""

from __future__ import annotations

import collections
import json
import pathlib
import re
import shlex
import subprocess

import pytest
from endings import DEAF
from realhosts import run, until

DRIVER = pathlib.Path(__file__).with_name("driver.py")


@pytest.fixture(scope="module")
def engine(machine):
    """The engine on the host, as the folder that the driver is told."""
    machine.put_engine(DRIVER)
    return machine


def drive(machine, deed, **asked):
    """What the driver said; None where it was killed."""
    words = shlex.join(["python3", "/root/driver/driver.py", "/root/driver", str(deed), json.dumps(asked)])
    done = run([*machine.ssh_argv("root"), words], timeout=120)
    if deed and not done.stdout:
        assert done.returncode in (137, 255), done.stderr
        return None
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


class Ways:
    """Sessions of alice's: a shell at its prompt, and one that hears no HUP and no TERM."""

    def __init__(self, machine, *commands):
        self.clients = [
            subprocess.Popen(
                [*machine.ssh_argv("alice", "-tt"), *([command] if command else [])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            for command in commands
        ]
        for client in self.clients:
            client.stdout.read(1)  # the prompt, or what the command says first

    def close(self):
        for client in self.clients:
            client.kill()
            client.communicate()


def left_of(machine, user):
    """What runs of the user's sessions; their service manager is none of it."""
    found = machine.exec(f"ps -u {user} -o pid=,args=", check=False).stdout.splitlines()
    return [line for line in found if "systemd" not in line and "(sd-pam)" not in line]


def test_killed_at_every_deed(engine, person, count):
    bob = person(engine, "bob")
    bob.type("vim precious.txt")
    bob.reads("~")
    engine.ssh("nohup sleep 7300 >/dev/null 2>&1 </dev/null &", user="erin")
    precious = set(left_of(engine, "bob") + left_of(engine, "erin"))
    deed, killed = 0, 0
    while True:
        deed += 1
        ways = Ways(engine, "", DEAF)
        said = drive(engine, deed, users=["alice", "bob"])
        killed += said is None
        after = drive(engine, 0, users=["alice", "bob"])
        ways.close()
        assert until(lambda: not left_of(engine, "alice"), 5), f"deed {deed}: {left_of(engine, 'alice')}, {after}"
        lost = len(precious - set(left_of(engine, "bob") + left_of(engine, "erin")))
        assert not lost and bob.connected, f"deed {deed}: {after}"
        claims = engine.exec("ls -A /run/session-policy/ending").stdout
        assert claims == "", f"deed {deed}: {claims}"
        if said is not None:
            break
    assert killed > 15
    # Each end stands in the log, whether the run that was killed wrote it or the next one.
    log = engine.exec("journalctl -o cat -t session_terminate").stdout
    assert len(set(re.findall(r"session=(\S+) .*user=alice", log))) == 2 * deed
    count(kills=killed, wrong_signals=lost, protected_sessions_lost=int(not bob.connected))


def test_ten_at_once_end_each_session_once(engine, count):
    ways = Ways(engine, "", "", "", DEAF, DEAF)
    one = shlex.join(["python3", "/root/driver/driver.py", "/root/driver", "0", json.dumps({"users": ["alice"]})])
    engine.ssh(f"rm -f /tmp/said.*; for i in 0 1 2 3 4 5 6 7 8 9; do {one} > /tmp/said.$i & done; wait")
    said = [json.loads(line) for line in engine.ssh("cat /tmp/said.*").splitlines()]
    ways.close()
    assert len(said) == 10
    ended = collections.Counter(
        session for result in said for session, _user, outcome in result["outcomes"] if outcome == "terminated"
    )
    assert len(ended) == 5 and set(ended.values()) == {1}, said
    others = {outcome for result in said for _session, _user, outcome in result["outcomes"]}
    assert others <= {"terminated", "skipped", "gone"} and not left_of(engine, "alice")
    count(cases=1)
