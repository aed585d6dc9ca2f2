# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config_transaction against real disks, daemons and kills."""

from __future__ import annotations

import pathlib

import pytest

DROP_IN = "/etc/ssh/sshd_config.d/00-session-policy.conf"
GOOD = {"path": DROP_IN, "content": "ClientAliveInterval 300\nClientAliveCountMax 1\n"}
BLOCK = {"path": "/etc/ssh/sshd_config", "block": "LoginGraceTime 60"}
CHECKED = [["/usr/sbin/sshd", "-t"]]
RELOAD = [["systemctl", "reload", "ssh"]]
LOOK = [["sh", "-c", "sshd -T | grep -qx 'clientaliveinterval 300'"]]
# Without the history, which every transaction moves.
TREE = r"""
find /etc /srv /home /var/lib/session-policy/* \( -type f -o -type l -o -type d \) \
  -printf '%M %U %G %l %p\n' 2>/dev/null | sort
find /etc /srv /home /var/lib/session-policy/* -type f -exec sha256sum {} + 2>/dev/null | sort
"""
# A process that holds a file open holds the lock of transactions if that file is their directory.
HOLDER = r"""
for fd in /proc/[0-9]*/fd/*; do
  test "$(readlink "$fd")" = /var/lib/session-policy && echo "$fd" | cut -d/ -f3 && break
done
"""
# chattr is not on every machine: FS_IOC_SETFLAGS, 0x10 is FS_IMMUTABLE_FL.
FLAGS = "python3 -c \"import fcntl, struct; fcntl.ioctl(open('/srv/t/b.conf'), 0x40086602, struct.pack('l', {}))\""
ENGINE = pathlib.Path(__file__).resolve().parents[3] / "plugins/module_utils/_engine"
AWAY = [{"path": DROP_IN, "state": "absent"}, {"path": BLOCK["path"], "block": "", "state": "absent"}]


@pytest.fixture
def tree(machine):
    """What the host looks like; after the test it must look like that again."""
    machine.ssh("mkdir -p /srv/t")
    before = machine.ssh(TREE)
    yield lambda: machine.ssh(TREE)
    machine.ssh("umount /srv/full /srv/ro 2>/dev/null; rm -rf /srv/*; mkdir /srv/t", check=False)
    assert machine.ssh(TREE) == before


def sshd(machine, files, **more):
    more = {"name": "sshd", "validate": CHECKED, "apply": RELOAD, "verify": LOOK, **more}
    return machine.module("config_transaction", files=files, **more)


def test_there_and_back(machine, tree):
    before = tree()
    planned = sshd(machine, [GOOD, BLOCK], check=True, diff=True)
    assert planned["changed"]
    assert planned["validated_in"] == "namespace"
    assert "+++" not in str(planned)
    assert planned["diff"][0]["after"] == GOOD["content"]
    assert "LoginGraceTime 60" in planned["diff"][1]["after"]
    assert tree() == before, "check mode touched something"
    done = sshd(machine, [GOOD, BLOCK], diff=True)
    assert done["diff"] == planned["diff"]
    assert [entry["action"] for entry in done["files"]] == ["created", "changed"]
    assert "clientaliveinterval 300" in machine.ssh("sshd -T")
    assert "logingracetime 60" in machine.ssh("sshd -T")
    after = tree()
    assert not sshd(machine, [GOOD, BLOCK])["changed"]
    assert tree() == after
    assert sshd(machine, AWAY, verify=[])["changed"]
    assert tree() == before
    assert not sshd(machine, AWAY, verify=[])["changed"]


@pytest.mark.parametrize("check", [False, True])
def test_validation_that_fails(machine, tree, check):
    before = tree()
    done = sshd(machine, [BLOCK, {"path": DROP_IN, "content": "ClientAliveIntervall 300\n"}], check=check)
    assert done["failed"]
    assert "Bad configuration option: ClientAliveIntervall" in done["msg"]
    assert "Nothing on this host was touched" in done["msg"]
    assert done["validated_in"] == "namespace"
    assert tree() == before


def test_nobody_reads_what_is_not_valid(machine, tree):
    """While it is validated, a reload finds the former files, and so does whoever looks all the time."""
    machine.write("/run/watch", f"while test -e /run/watch; do test -e {DROP_IN} && echo seen >> /run/seen; done")
    machine.ssh("rm -f /run/seen /run/inside; setsid sh /run/watch >/dev/null 2>&1 &")
    slow = [["sh", "-c", f"test -e {DROP_IN} && touch /run/inside && sleep 3"], *CHECKED]
    wait = machine.start(
        "config_transaction",
        name="sshd",
        validate=slow,
        apply=RELOAD,
        files=[{"path": DROP_IN, "content": "Nonsense 1\n"}],
    )
    machine.ssh("timeout 20 sh -c 'until test -e /run/inside; do sleep 0.05; done'; systemctl reload ssh")
    done = wait()
    machine.ssh("rm /run/watch /run/inside; systemctl is-active -q ssh; ! test -e /run/seen")
    assert "Nonsense" in done["msg"]


def test_what_is_mounted_inside_is_seen_while_validating(machine, tree):
    done = machine.module(
        "config_transaction",
        name="t",
        files=[{"path": "/etc/t.conf", "content": "x\n"}],
        check=True,
        validate=[["grep", "-q", machine.name, "/etc/hostname"], ["test", "-e", "/etc/t.conf"]],
    )
    assert done["validated_in"] == "namespace", done


def test_copies_where_the_kernel_refuses_another_overlay(machine, tree):
    """Overlays may lie two deep, and the host's root is one already."""
    machine.ssh(
        "mkdir /run/o && mount -t tmpfs none /run/o && mkdir /run/o/u /run/o/w && "
        "mount -t overlay -o lowerdir=/etc/ssh,upperdir=/run/o/u,workdir=/run/o/w overlay /etc/ssh"
    )
    try:
        before = tree()
        bad = sshd(machine, [BLOCK, {"path": DROP_IN, "content": "Nonsense 1\n"}], check=True)
        good = sshd(machine, [BLOCK, GOOD], check=True)
        assert tree() == before
    finally:
        machine.ssh("umount /etc/ssh /run/o; rmdir /run/o")
    assert "Nonsense" in bad["msg"]
    assert (bad["validated_in"], good["validated_in"]) == ("namespace", "namespace")


def test_in_place_where_there_is_no_namespace(machine, tree):
    machine.write("/usr/local/bin/capless", '#!/bin/sh\nexec setpriv --bounding-set=-sys_admin /usr/bin/python3 "$@"\n')
    machine.ssh("chmod 0755 /usr/local/bin/capless")
    capless = {"ansible_python_interpreter": "/usr/local/bin/capless"}
    before = tree()
    planned = sshd(machine, [GOOD], check=True, variables=capless)
    assert "no private mount namespace" in planned["warnings"][0]
    assert planned["validated_in"] == "none"
    bad = sshd(machine, [BLOCK, {"path": DROP_IN, "content": "Nonsense 1\n"}], variables=capless)
    assert "Every file is as it was before" in bad["msg"]
    assert bad["validated_in"] == "place"
    assert sorted(bad["restored"]) == sorted([BLOCK["path"], DROP_IN])
    assert tree() == before
    assert sshd(machine, [GOOD], variables=capless)["validated_in"] == "place"
    sshd(machine, AWAY, verify=[], variables=capless)
    machine.ssh("rm /usr/local/bin/capless")
    assert tree() == before


def test_disk_full(machine, tree):
    machine.ssh(
        "mkdir /srv/full && mount -t tmpfs -o size=256k none /srv/full && echo former > /srv/full/b.conf && "
        "echo former > /srv/t/a.conf; cat /dev/zero > /srv/full/fill 2>/dev/null || true"
    )
    before = tree()
    files = [{"path": "/srv/t/a.conf", "content": "new\n"}, {"path": "/srv/full/b.conf", "content": "n" * 9000}]
    done = machine.module("config_transaction", name="full", files=files)
    assert "/srv/full/b.conf can't be written: No space left on device" in done["msg"]
    assert tree() == before
    # Full only once the new files are there: what was before comes back all the same.
    machine.ssh("rm /srv/full/fill")
    before = tree()
    fill = [["sh", "-c", "cat /dev/zero > /srv/full/fill"]]
    done = machine.module("config_transaction", name="full", files=files, apply=fill)
    assert "No space left on device" in done["msg"]
    assert "Every file is as it was before" in done["msg"]
    machine.ssh("rm /srv/full/fill")
    assert tree() == before


def test_read_only(machine, tree):
    machine.ssh(
        "mkdir /srv/ro && mount -t tmpfs none /srv/ro && echo former > /srv/ro/b.conf && "
        "echo former > /srv/t/a.conf && mount -o remount,ro /srv/ro"
    )
    before = tree()
    files = [{"path": "/srv/t/a.conf", "content": "new\n"}, {"path": "/srv/ro/b.conf", "content": "new\n"}]
    done = machine.module("config_transaction", name="ro", files=files)
    assert "/srv/ro/b.conf can't be written: Read-only file system" in done["msg"]
    assert tree() == before


def test_immutable(machine, tree):
    machine.ssh("echo former > /srv/t/a.conf; echo former > /srv/t/b.conf; " + FLAGS.format(0x10))
    try:
        before = tree()
        files = [{"path": f"/srv/t/{name}.conf", "content": "new\n"} for name in "ab"]
        done = machine.module("config_transaction", name="t", files=files)
        assert (
            "/srv/t/b.conf can't be replaced: Operation not permitted (is it, or its folder, immutable?" in done["msg"]
        )
        assert done["restored"] == ["/srv/t/a.conf"]
        assert tree() == before
    finally:
        machine.ssh(FLAGS.format(0))


def test_reload_that_fails(machine, tree):
    before = tree()
    done = sshd(machine, [GOOD, BLOCK], apply=[["sh", "-c", "echo run >> /run/applied; systemctl reload no-such"]])
    assert "Apply failed" in done["msg"]
    assert "no-such" in done["msg"]
    assert not done["changed"]
    assert tree() == before
    assert machine.ssh("cat /run/applied; rm /run/applied") == "run\nrun\n"


def test_service_gets_its_former_configuration_back(machine, tree):
    """A verification that fails when the daemon has read the new files: it reads the former ones again."""
    before = tree()
    done = sshd(machine, [{"path": DROP_IN, "content": "Banner /etc/hostname\n"}], verify=[["false"]])
    assert "Verification failed: `false` ended with 1. Every file is as it was before, and the service" in done["msg"]
    assert tree() == before
    greeting = machine.ssh(
        "ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "
        "nobody@localhost true 2>&1 | grep -cx $(cat /etc/hostname); true"
    )
    assert greeting.strip() == "0"


@pytest.mark.parametrize("path", ["/srv/open/link.conf", "/srv/open/folder/passwd"])
def test_link_where_others_can_write(machine, tree, path):
    machine.ssh(
        "install -d -m 1777 /srv/open && cd /srv/open && su alice -c 'ln -s /etc/passwd link.conf; ln -s /etc folder'"
    )
    before = tree()
    files = [{"path": "/srv/t/a.conf", "content": "new\n"}, {"path": path, "content": "root::0:0::/:/bin/sh\n"}]
    done = machine.module("config_transaction", name="t", files=files)
    assert "is a symbolic link in a folder where others than root can write" in done["msg"]
    assert tree() == before


def test_acl_owner_and_link_are_kept(machine, tree):
    machine.ssh(
        "mkdir /srv/t/real; echo a > /srv/t/real/f; chown bob:carol /srv/t/real/f; chmod 0640 /srv/t/real/f; "
        "ln -s real/f /srv/t/link; python3 -c \"import os; os.setxattr('/srv/t/real/f', 'user.k', b'v')\""
    )
    done = machine.module("config_transaction", name="t", files=[{"path": "/srv/t/link", "content": "b\n"}])
    assert done["changed"], done
    said = machine.ssh(
        "stat -c '%U %G %a' /srv/t/real/f; readlink /srv/t/link; cat /srv/t/real/f; "
        "python3 -c \"import os; print(os.getxattr('/srv/t/link', 'user.k'))\""
    )
    assert said.split() == ["bob", "carol", "640", "real/f", "b", "b'v'"]


def kill_in(machine, step, files):
    """Kill -9 the module while a command of `step` runs, which does not block when the next run repeats it."""
    block = [["sh", "-c", "test -e /run/blocked || { touch /run/blocked; sleep 30; }"]]
    commands = {"apply": [["true"]], step: block}
    machine.ssh("rm -f /run/blocked")
    wait = machine.start("config_transaction", name="sshd", files=files, **commands)
    machine.ssh("timeout 20 sh -c 'until test -e /run/blocked; do sleep 0.05; done'")
    machine.ssh(f"pid=$({HOLDER}); cat /proc/$pid/cmdline | grep -q python3; kill -9 $pid")
    assert wait().get("failed", True)


@pytest.mark.parametrize("step", ["validate", "apply", "verify"])
def test_kill_in_a_command(machine, tree, step):
    before = tree()
    kill_in(machine, step, [GOOD, BLOCK])
    assert ("ClientAliveInterval" in machine.ssh(f"cat {DROP_IN} 2>/dev/null; true")) == (step != "validate")
    done = machine.module("config_transaction", name="other", files=[{"path": "/srv/t/none", "state": "absent"}])
    assert done["recovered"] == (step != "validate")
    assert done["changed"] == done["recovered"]
    assert tree() == before


def test_terminated_politely_it_cleans_up_itself(machine, tree):
    before = tree()
    block = [["sh", "-c", "touch /run/blocked; sleep 30"]]
    machine.ssh("rm -f /run/blocked")
    wait = machine.start("config_transaction", name="sshd", files=[GOOD, BLOCK], verify=block)
    machine.ssh("timeout 20 sh -c 'until test -e /run/blocked; do sleep 0.05; done'")
    machine.ssh(f"kill -TERM $({HOLDER})")
    done = wait()
    assert "SIGTERM" in done["msg"]
    assert "Every file is as it was before" in done["msg"]
    assert tree() == before


def test_kill_between_two_files(machine, tree):
    """Killed as soon as the first of many files is there and before the last one is."""
    machine.ssh("cd /srv/t; for n in $(seq 100 499); do echo former > $n.conf; done")
    before = tree()
    files = [{"path": f"/srv/t/{n}.conf", "content": "new\n"} for n in range(100, 500)]
    machine.write("/run/kill.py", KILL)
    # It watches before there is anything to see: on a busy machine it would come when all is done.
    machine.ssh("setsid timeout 100 python3 /run/kill.py </dev/null >/dev/null 2>&1 &")
    machine.module("config_transaction", name="many", files=files)
    new = int(machine.ssh("cat /srv/t/*.conf | grep -c new; true"))
    assert 0 < new < 400, "the kill came too late to show anything"
    done = machine.module("config_transaction", name="other", files=[{"path": "/srv/t/none", "state": "absent"}])
    assert done["recovered"]
    assert len(done["restored"]) == new
    assert tree() == before


KILL = """
import glob, os, signal
pid = None
while pid is None:
    for fd in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(fd) == "/var/lib/session-policy":
                pid = int(fd.split("/")[2])
        except OSError:
            pass
while open("/srv/t/100.conf").read() != "new\\n":
    pass
os.kill(pid, signal.SIGKILL)
"""


def test_kills_at_random_moments(machine, tree):
    """The engine alone, which is what the module runs, forty times on this machine."""
    for path in [*ENGINE.glob("*.py"), *ENGINE.glob("observe/*.py")]:
        machine.write(f"/run/t/engine/{path.relative_to(ENGINE)}", path.read_text())
    machine.write("/run/t/storm.py", STORM)
    machine.ssh("echo former > /srv/t/a.conf; echo gone > /srv/t/c.conf")
    before = tree()
    said = machine.ssh("cd /run/t && python3 storm.py && rm -r /run/t").split()
    assert tree() == before
    undone, finished = int(said[0]), int(said[1])
    assert undone > 0, said
    assert undone + finished == 40


STORM = """
import hashlib, os, random, signal, sys, time
from engine.files import World
from engine.order import read_order
from engine.transaction import Report, run

BLANK = dict(content=None, block=None, insert="bottom", comment="#", create=False, mode=None, owner=None, group=None,
             state="present")
FILES = [dict(path="/srv/t/a.conf", block="x"), dict(path="/srv/t/new/b.conf", content="b" * 99999),
         dict(path="/srv/t/c.conf", state="absent")]


def go(name, files, **commands):
    report = Report()
    order = dict(name=name, files=[dict(BLANK, **f) for f in files], validate=[], apply=[], verify=[])
    run(World(), read_order(dict(order, **commands)), False, report)
    return report


def look():
    found = []
    for top in ("/srv/t", "/var/lib/session-policy"):
        for folder, folders, names in os.walk(top):
            if ".transactions" in folders:
                folders.remove(".transactions")
            found.append(folder)
            for name in sorted(names):
                path = os.path.join(folder, name)
                found.append((path, os.stat(path).st_mode, open(path, "rb").read()))
    return sorted(map(str, found))


def change():
    return go("storm", FILES, validate=[["true"]], apply=[["true"]], verify=[["true"]])


def back():
    go("storm", [dict(path="/srv/t/a.conf", block="", state="absent"), dict(path="/srv/t/new/b.conf", state="absent"),
                 dict(path="/srv/t/c.conf", content="gone\\n")])
    go("storm", [dict(path="/srv/t/none", state="absent")])


before = look()
began = time.time()
change()
took = time.time() - began
after = look()
back()
# c.conf is made anew, which the notes say from then on.
before = look()
counts = [0, 0]
for n in range(40):
    child = os.fork()
    if child == 0:
        change()
        os._exit(0)
    time.sleep(random.uniform(0, took))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    recovered = go("other", [dict(path="/srv/t/none", state="absent")]).recovered
    now = look()
    if now == before:
        counts[0] += recovered
        counts[1] += not recovered
    else:
        assert not recovered and now[:4] == after[:4], (n, now)
        counts[1] += 1
        back()
        assert look() == before, n
go("storm", [dict(path="/srv/t/c.conf", state="absent")])
with open("/srv/t/c.conf", "w") as stream:
    stream.write("gone\\n")
print(*counts)
"""


def test_second_waits_for_the_first(machine, tree):
    before = tree()
    machine.ssh("rm -f /run/blocked")
    wait = machine.start(
        "config_transaction", name="sshd", files=[GOOD], apply=[["sh", "-c", "touch /run/blocked; sleep 3"], *RELOAD]
    )
    machine.ssh("timeout 20 sh -c 'until test -e /run/blocked; do sleep 0.05; done'")
    second = sshd(machine, [GOOD])
    first = wait()
    assert first["changed"], first
    assert second["changed"] is False
    assert not second["recovered"]
    sshd(machine, AWAY, verify=[])
    assert tree() == before
