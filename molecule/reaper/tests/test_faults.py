# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes wrong between runs and in them: damaged state, a kill at every deed, a full disk, a read-only /var."""

from __future__ import annotations

import json
import pathlib
import subprocess

import pytest
from realhosts import MORTAL, until

DRIVER = pathlib.Path(__file__).with_name("driver.py")
STATE = "/var/lib/session-reaper"


@pytest.fixture(scope="module")
def driven(machine, reaper, seat):
    """The reaper without its timer, dave in vim and bob at work; `drive` is what the driver says, None if killed."""
    reaper.role(idle_timeout="10m", warn="1m", protect=["editors"])
    machine.exec("systemctl stop session-reaper.timer")
    for path in (DRIVER, MORTAL):
        machine.write(f"/root/{path.name}", path.read_text())
    seat(machine, "bob")
    seat(machine, "dave").type("vim notes.txt")
    reaper.command("run")
    return machine


def drive(machine, *words):
    done = machine.exec("python3 /root/driver.py " + " ".join(map(str, words)), check=False)
    if done.returncode == 137:
        return None
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_state_that_is_damaged_anywhere_is_not_believed(driven, reaper, seat):
    carol, erin = seat(driven, "carol"), seat(driven, "erin")
    size = drive(driven, "state", "carol", "erin")
    said = drive(driven, "corrupt")
    assert {"end", "warn"} <= set(said["whole"]), said
    assert said["tried"] == 2 * size and said["believed"] == said["wrong"] == 0, said
    # The same in real runs: cut, of another boot, a folder, a link, others' to write.
    for damage in (f"truncate -s 50 {STATE}/state", f"sed -i 's/boot_id\":\"./boot_id\":\"x/' {STATE}/state",
                   f"rm {STATE}/state && mkdir {STATE}/state", f"rm {STATE}/state",
                   f"rm {STATE}/state && ln -s /etc/passwd {STATE}/state",
                   f"chmod 666 {STATE}/state"):  # fmt: skip
        drive(driven, "state", "carol", "erin")
        driven.exec(damage)
        done = reaper.command("run", check=False)
        assert carol.connected and erin.connected and "will be ended" not in erin.screen(), damage
        driven.exec(f"test ! -d {STATE}/state || rmdir {STATE}/state")
        assert done.returncode == ("mkdir" in damage), (damage, done.stderr)
    assert reaper.said().count("watching all sessions anew") >= 6
    carol.leaves()
    erin.leaves()


# One entrance a kill: entering the host is most of what it costs.
KILL = """
python3 /root/driver.py state carol erin >/dev/null
python3 /root/driver.py run {deed}; echo "status $?"
session-reaper run; session-reaper run
session-reaper list --json >/root/list
python3 -c 'import json; print({{s["user"]: s["verdict"] for s in json.load(open("/root/list"))}}.get("erin"))'
pgrep -u carol -x bash >/dev/null && echo "carol is there" || echo "carol is gone"
pgrep -d, -x bash -u bob,dave
"""


def test_killed_at_every_deed(driven, person):
    erin = person(driven, "erin")
    others = driven.exec("pgrep -d, -x bash -u bob,dave").stdout.strip()
    deed, killed, done = 0, 0, False
    while not done:
        deed += 1
        carol = subprocess.Popen(driven.ssh_argv("carol", "-tt"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        carol.stdout.read(1)
        try:
            *_said, status, erins, carols, left = driven.exec(KILL.format(deed=deed), check=False).stdout.splitlines()
        finally:
            carol.kill()
            carol.communicate()
        done = status == "status 0"
        assert done or status == "status 137", (deed, status)
        assert (erins, carols, left) == ("warned", "carol is gone", others), (deed, erins, carols, left)
        assert erin.connected
        killed += not done
    assert killed >= 15, killed
    assert not driven.exec("ls /run/session-policy/ending").stdout


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_without_room_for_its_state_it_does_nothing_and_goes_on_later(driven, reaper, person, trouble):
    carol = person(driven, "carol")
    drive(driven, "state", "carol", "erin")
    driven.exec(f"cp -a {STATE} /root/kept && mount -t tmpfs -o size=16k,mode=0700 none {STATE}"
                f" && cp -a /root/kept/. {STATE} && rm -r /root/kept")  # fmt: skip
    try:
        if trouble == "full":
            driven.exec(f"cat /dev/zero > {STATE}/ballast", check=False)
        else:
            driven.exec(f"mount -o remount,ro {STATE}")
        assert reaper.command("run", check=False).returncode == 1
        assert carol.connected and "nobody was warned or ended" in reaper.said()
        driven.exec(f"mount -o remount,rw {STATE}; rm -f {STATE}/ballast")
        reaper.command("run")
        assert carol.leaves_within(10)
    finally:
        driven.exec(f"umount -l {STATE}")


def test_one_run_at_a_time_and_no_lock_for_ever(driven, reaper):
    lock = "/run/session-policy/session-reaper.lock"
    holder = "exec 9<>%s; flock 9; printf %%s %s >&9; touch /run/held; while test -e /run/held; do sleep 0.2; done"
    for since, comes in (("$(cut -d. -f1 /proc/uptime)", "another run is under way"), ("0", None)):
        driven.exec(f"rm -f {lock}; : > {lock}; (sh -c '{holder % (lock, since)}' >/dev/null 2>&1 &)")
        assert until(lambda: driven.exec("test -e /run/held", check=False).returncode == 0, 5)
        before = driven.exec(f"stat -c %Y%i {STATE}/state").stdout
        reaper.command("run")
        after = driven.exec(f"stat -c %Y%i {STATE}/state").stdout
        assert (before == after) == (comes is not None)
        driven.exec("rm /run/held")
        if comes:
            assert comes in reaper.said()
