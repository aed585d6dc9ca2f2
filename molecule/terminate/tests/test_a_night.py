# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host as it is at 3 a.m.: people at work, people gone, work half-way, and what one call makes of all of them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
import time

import pytest
from endings import only, outcomes, terminate, work_shows
from realhosts import Person, until

IDLE = 20
SETUP = r"""
test -f /root/.ssh/id_ed25519 || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519
echo 'bob:secret' | chpasswd
mkdir -p /root/.putty/sessions /root/slow/DEBIAN
printf 'HostName=127.0.0.1\nUserName=bob\nPingInterval=0\nPingIntervalSecs=1\n' > /root/.putty/sessions/keepalive
printf 'Package: slow\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: takes long\n' \
  > /root/slow/DEBIAN/control
printf '#!/bin/sh\nwhile ! test -e /root/go; do sleep 0.2; done\n' > /root/slow/DEBIAN/postinst
chmod 0755 /root/slow/DEBIAN/postinst
dpkg-deb --build /root/slow /tmp/slow.deb >/dev/null
"""


class Typist:
    """Somebody who types all the while."""

    def __init__(self, person: Person):
        self.person, self.done = person, threading.Event()
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        while not self.done.wait(1):
            self.person.type("x", enter=False)

    def stop(self):
        self.done.set()
        self.thread.join()


def send(machine, folder):
    """An upload that takes half a minute; waited for until it is under way."""
    upload, batch = folder / "big", folder / "batch"
    upload.write_bytes(os.urandom(1 << 16) * 40)
    batch.write_text(f"put {upload} arrived\n")
    argv = machine.ssh_argv("erin")
    sftp = ["sftp", "-l", "700", "-b", str(batch), *argv[1:-1], argv[-1]]
    sftp[sftp.index("-p")] = "-P"
    sending = subprocess.Popen(sftp, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert until(lambda: machine.exec("test -s /home/erin/arrived", check=False).returncode == 0, 20)
    return sending, upload


@pytest.fixture(scope="module")
def night(machine, seat, tmp_path_factory):
    """Everybody comes and does what they do; the result of one call with `idle_over`, planned and carried out."""
    machine.exec(SETUP)
    people = {
        "typist": seat(machine, "alice"),
        "idle": seat(machine, "carol"),
        "vim": seat(machine, "dave"),
        "apt": seat(machine, "admin"),
    }
    key = machine.exec("ssh-keygen -E md5 -lf /etc/ssh/ssh_host_ed25519_key.pub").stdout.split()[1]
    key = key.replace("MD5:", "")
    plink = ["plink", "-batch", "-hostkey", key, "-pw", "secret", "-load", "keepalive"]
    people["plink"] = seat(machine, "bob", client=[*machine.inside_argv, *plink])
    people["vim"].type("vim notes.txt")
    people["vim"].reads("~")
    people["vim"].type("iwords that nobody has saved", enter=False)
    people["vim"].reads("words that nobody has saved")
    people["apt"].type("sudo apt-get install -y /tmp/slow.deb")
    people["apt"].reads("Setting up slow")
    typist = Typist(people["typist"])
    time.sleep(IDLE + 9)  # the kernel moves atime in steps of 8 s
    try:
        plan = terminate(machine, idle_over=IDLE, warn_grace=3, check=True, diff=True)
        done = terminate(machine, idle_over=IDLE, warn_grace=3, diff=True, reason="it is night")
        sending, upload = send(machine, tmp_path_factory.mktemp("upload"))
        files = terminate(machine, users=["erin"], kinds=["sftp"], sample=1)
        yield {"people": people, "plan": plan, "done": done, "files": files, "sending": sending, "upload": upload}
        sending.kill()
    finally:
        typist.stop()


def test_check_mode_gives_the_very_plan(night):
    planned, done = outcomes(night["plan"]), outcomes(night["done"])
    assert planned == {
        user: ["would_terminate" if one == "terminated" else one for one in ones] for user, ones in done.items()
    }
    assert night["plan"]["changed"] and night["plan"]["diff"] == night["done"]["diff"]
    assert "carol terminal" in night["done"]["diff"]["before"] and "carol" not in night["done"]["diff"]["after"]


def test_one_who_types_all_the_while_is_never_ended(night, count):
    assert "alice" not in outcomes(night["done"]) and night["people"]["typist"].connected
    count(cases=1, protected_sessions_lost=int(not night["people"]["typist"].connected))


def test_the_idle_are_ended_keepalives_or_not(night):
    done = outcomes(night["done"])
    assert done["carol"] == ["terminated"] and done["bob"] == ["terminated"]
    assert night["people"]["idle"].leaves_within(5) and night["people"]["plink"].leaves_within(5)
    (bob,) = [session for session in night["done"]["sessions"] if session["user"] == "bob"]
    assert bob["remote_host"] == "127.0.0.1" and bob["idle"] > IDLE and bob["stale_because"] == ["idle"]


def test_they_were_warned_first(night):
    (carol,) = [session for session in night["done"]["sessions"] if session["user"] == "carol"]
    assert carol["warned"][0]["written"] and carol["warned"][0]["tty"] == carol["ttys"][0]
    screen = night["people"]["idle"].screen()
    assert "This session will be ended in 3s: nothing was typed for" in screen and "it is night" in screen


def test_unsaved_text_protects(night, count):
    (dave,) = [session for session in night["done"]["sessions"] if session["user"] == "dave"]
    assert dave["outcome"] == "skipped" and dave["skipped_because"] == ["editors"] and not dave["steps"]
    assert night["people"]["vim"].connected
    count(cases=1, protected_sessions_lost=int(not night["people"]["vim"].connected))


def test_a_second_run_does_nothing(night, machine):
    again = terminate(machine, idle_over=IDLE, warn_grace=3)
    assert not again["changed"] and not again["summary"]["terminated"]


def test_apt_half_way_is_never_touched(night, machine, count):
    (admin,) = [session for session in night["done"]["sessions"] if session["user"] == "admin"]
    assert admin["outcome"] == "skipped" and "package_managers" in admin["skipped_because"] and not admin["steps"]
    machine.exec("touch /root/go")
    installed = "dpkg -s slow 2>/dev/null | grep -c 'Status: install ok installed'; true"
    assert until(lambda: machine.exec(installed).stdout.strip() == "1", 20)
    count(cases=1, protected_sessions_lost=int(not night["people"]["apt"].connected))


def test_an_upload_in_flight_finishes_byte_for_byte(night, machine):
    erin = only(night["files"])
    assert erin["outcome"] == "skipped" and erin["skipped_because"] == ["transfers"]
    assert night["sending"].wait(120) == 0
    arrived = machine.exec("sha256sum < /home/erin/arrived").stdout.split()[0]
    assert arrived == hashlib.sha256(night["upload"].read_bytes()).hexdigest()


def test_each_ending_is_one_line_in_the_log(night, machine):
    log = machine.exec("journalctl -o cat -t session_terminate").stdout.splitlines()
    (line,) = [line for line in log if "user=carol" in line]
    (carol,) = [session for session in night["done"]["sessions"] if session["user"] == "carol"]
    assert line.startswith("ended session outcome=terminated")
    for fact in (f"session={carol['id']}", f"tty={carol['ttys'][0]}", "because=idle", 'reason="it is night"', "HUP:"):
        assert fact in line
    assert not [line for line in log if "user=dave" in line or "user=alice" in line]


def test_unsaved_text_is_kept_where_its_session_is_ended_all_the_same(night, machine):
    work_shows(machine, "dave", "editors")
    dave = only(terminate(machine, users=["dave"], on_protected="terminate"))
    assert dave["outcome"] == "terminated" and dave["preserved"] == ["/home/dave/.notes.txt.swp"]
    assert machine.exec("grep -ac 'words that nobody has saved' /home/dave/.notes.txt.swp").stdout.strip() == "1"
