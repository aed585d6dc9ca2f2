# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hundred ways to lose a host, one after another; none is lost.

The controller is small here: it runs the engine, which is what the module runs, over real ssh connections.
"""

from __future__ import annotations

import json
import random
import subprocess
import time

import pytest
from lockedout import DROP_IN, config
from realhosts import CHECKOUT, until

WITHIN = 5
FOLDER = "/opt/controller"
GOOD = "ClientAliveInterval 300\nClientAliveCountMax 3\n"
CONTROLLER = """
import json, os, signal, sys, time
sys.path.insert(0, "/opt/controller")
from engine import transaction
from engine.files import Refused, World
from engine.order import read_order

said = json.load(sys.stdin)
if "die_after" in said:
    parent = os.getpid()
    if os.fork() == 0:
        os.closerange(0, 3)
        time.sleep(said["die_after"])
        if os.getppid() == parent:
            os.kill(parent, signal.SIGKILL)
        os._exit(0)
report, msg = transaction.Report(), None
try:
    if "id" in said:
        transaction.confirm(World(), "sshd", said["id"], report)
    else:
        transaction.run(World(), read_order(said), False, report)
except (Refused, transaction.Failed) as problem:
    msg = str(problem)
print(json.dumps({"id": report.id, "pending": report.pending, "msg": msg}))
"""
BLANK = {"block": None, "insert": "top", "comment": "#", "create": False, "mode": None, "owner": None, "group": None,
         "state": "present"}  # fmt: skip


@pytest.fixture(scope="module")
def host(machine):
    engine = CHECKOUT / "plugins/module_utils/_engine"
    for path in [*engine.glob("*.py"), *engine.glob("observe/*.py")]:
        machine.write(f"{FOLDER}/engine/{path.relative_to(engine)}", path.read_text())
    machine.write(f"{FOLDER}/controller.py", CONTROLLER)
    return machine


def order(host, content, **more):
    arguments = {**config(host, content, confirm_within=WITHIN), "verify": [], **more}
    logins = {"config": "/etc/ssh/sshd_config", "listen": "", "pid_file": "/run/sshd.pid", "users": [], "groups": []}
    return {**arguments, "logins": logins, "files": [{**BLANK, **entry} for entry in arguments["files"]]}


def begin(host, said):
    """A controller at work over a connection of its own."""
    client = subprocess.Popen(
        [*host.ssh_argv(), f"python3 {FOLDER}/controller.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    client.stdin.write(json.dumps(said))
    client.stdin.close()
    return client


def finish(client):
    text = client.stdout.read()
    client.wait()
    return json.loads(text) if text.strip() else {"id": None, "pending": False, "msg": None}


def change(host, content, **more):
    return finish(begin(host, order(host, content, **more)))


# --- faults: each leaves the host to itself, in the middle of something --------------------------------------------


def locks_out(content):
    return lambda host, chance: change(host, content)


def controller_dies(host, chance):
    client = begin(host, order(host, GOOD))
    time.sleep(chance.uniform(0, 1.5))
    client.kill()
    client.wait()
    client.stdout.close()
    # What it began goes on without it, and on a busy machine changes something only after a look too soon.
    until(lambda: not host.exec("ps -eo args= | grep '[c]ontroller.py'; true").stdout, 60)


def module_dies(host, chance):
    change(host, GOOD, die_after=chance.uniform(0, 1.2))


def confirmation_dies(host, chance):
    done = change(host, GOOD)
    finish(begin(host, {"id": done["id"], "die_after": chance.uniform(0, 0.4)}))


def network_dies(host, chance):
    change(host, GOOD)
    host.link("down")
    time.sleep(WITHIN + 1)
    host.link("up")


def power_fails(host, chance):
    client = begin(host, order(host, GOOD))
    time.sleep(chance.uniform(0, 1.5))
    host.reboot()
    client.kill()
    client.wait()
    client.stdout.close()


FAULTS = [
    locks_out("Match User alice\n  ChannelTimeout none\n"),
    locks_out("Match User root\n  MaxSessions 0\n"),
    locks_out("ListenAddress 192.0.2.1\n"),
    locks_out("AllowUsers nobody\n"),
    locks_out("Port 2222\n"),
    locks_out("Match all\n  ForceCommand /bin/false\n"),
    *[controller_dies] * 6,
    *[module_dies] * 7,
    *[confirmation_dies] * 3,
    network_dies,
    power_fails,
    locks_out("Match Group alice,root\n  MaxSessions 0\n"),
    locks_out("MaxStartups 1:100:1\nListenAddress 192.0.2.1\n"),
    power_fails,
]


def test_no_host_is_lost(host, record_property):
    chance = random.Random(host.name)
    without = host.tree("/etc")
    lost, halves = [], []
    for number, fault in enumerate(FAULTS):
        fault(host, chance)
        what = f"{number}: {getattr(fault, '__name__', fault)}"
        # On a machine that is this busy everything takes a while; what never comes back is lost.
        back = host.settled(WITHIN + 55)
        if not back or not host.lets_in(limit=60):
            lost.append(what)
            host.exec(f"rm -f {DROP_IN}; pkill -o -x sshd; service ssh restart", check=False)
        there = host.exec(f"cat {DROP_IN} 2>/dev/null; true").stdout
        # A change that was confirmed stays; any other is gone to the last byte, before the next fault.
        confirmed = '"state": "done"' in host.exec(LAST).stdout
        if there not in ((GOOD,) if confirmed else ("",)):
            halves.append((what, there))
        # Whoever is killed between arming the host and noting what it changes leaves the unit for the boot: it does
        # nothing, and goes with the next run.
        change(host, "", files=[{"path": DROP_IN, "content": None, "state": "absent"}], confirm_within=0)
        if not until(lambda: host.tree("/etc") == without, 5):
            halves.append((what, "something is left in /etc"))
    record_property("faults", len(FAULTS))
    record_property("lost", len(lost))
    assert (lost, halves) == ([], [])
    assert host.left_behind() == ""


LAST = """cd /var/lib/session-policy/.transactions 2>/dev/null && cd $(ls | tail -n 1) && test -e done.json &&
echo '"state": "done"'; true"""
