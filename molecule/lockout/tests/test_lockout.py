# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A policy that locks people out undoes itself, whatever happens to the controller, the network or the host."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

import pytest
from lockedout import DROP_IN, STATE, config, play
from realhosts import CHECKOUT, environment, inventory_of, playbook

GOOD = "ClientAliveInterval 300\nClientAliveCountMax 3\n"
CUT = "Match User root\n  MaxSessions 0\n"
# Longer than all that a run does before it confirms, on a busy machine, too.
WITHIN = 6


def on(*hosts):
    """For what is the same everywhere."""
    return pytest.mark.parametrize("machine", hosts, indirect=True, scope="module")


def kills(machine):
    """A Match block that passes `sshd -t` and ends every login that it matches before it is answered."""
    if machine.openssh < (9, 2):
        return pytest.skip("OpenSSH 8.4 refuses ChannelTimeout")
    return "Match User alice\n  ChannelTimeout none\n"


def test_a_change_is_confirmed_over_a_new_connection(machine, tree, stays):
    done = playbook([machine], play(machine, GOOD, 60))
    assert re.search(r"changed=2 +unreachable=0 +failed=0", done.stdout), done.stdout
    assert machine.sshd_effective()["clientaliveinterval"] == "300"
    assert machine.left_behind() == ""
    assert machine.history()[0]["state"] == "done"
    again = playbook([machine], play(machine, GOOD, 60))
    assert "changed=0" in again.stdout


def test_a_login_that_gets_no_answer_is_taken_back_at_once(machine, tree, stays):
    """The controller gets in as root; alice would not, and she is named only in the Match block."""
    content, before = kills(machine), tree()
    began = time.monotonic()
    done = machine.module("config_transaction", **config(machine, content, confirm_within=300))
    assert time.monotonic() - began < 60
    assert "does not get through to sshd's answer for alice: Connection closed" in done["msg"]
    if machine.systemd:
        assert "bad timeout none" in done["msg"]
    assert "Every file is as it was before" in done["msg"]
    assert tree() == before
    assert machine.lets_in("alice")


def test_an_exempt_user_is_asked_for(machine, tree):
    """What somebody else's Match block does to him is seen before anything is left like that, and told apart."""
    content = kills(machine)
    machine.write("/etc/ssh/sshd_config.d/90-theirs.conf", content)
    try:
        done = machine.role("sshd_timeouts", check=False, sshd_timeouts_client_alive_interval=300,
                            sshd_timeouts_client_alive_count_max=3, sshd_timeouts_exempt_users=["alice"])  # fmt: skip
    finally:
        machine.exec("rm /etc/ssh/sshd_config.d/90-theirs.conf")
    assert "for alice: Connection closed" in done.stdout
    assert "It is no better with the former configuration" in done.stdout
    assert machine.sshd_effective()["clientaliveinterval"] == "0"


@pytest.mark.parametrize("become", [False, True], ids=["as root", "through become"])
def test_a_login_that_is_cut_after_its_answer_is_taken_back_in_time(machine, tree, stays, become):
    before, within = tree(), 30  # the controller tries several times before it says so
    connection = {"ansible_user": "admin", "ansible_become": True} if become else {}
    content = CUT.replace("root", "admin") if become else CUT
    done = playbook([machine], play(machine, content, within), check=False, connection=connection)
    assert "no login gets through, so this host takes it back by itself at" in done.stdout, done.stdout
    assert machine.lets_in("admin" if become else "root", limit=within + 5)
    assert machine.settled(2)
    assert tree() == before
    told = machine.module("config_transaction", **config(machine, GOOD))
    assert f"nobody confirmed it within {within} s" in told["reverted"][0]["why"]
    assert "has taken back the change" in str(told["warnings"])
    assert not machine.module("config_transaction", **config(machine, GOOD))["reverted"], "it is told once"


@pytest.mark.parametrize("content", ["ListenAddress 192.0.2.1\n", "Port 2222\n"], ids=["dies", "moves away"])
def test_a_daemon_that_does_not_come_back_is_brought_back(machine, tree, stays, content):
    """Both pass `sshd -t`: an address that the host has not makes sshd die at its reload."""
    before = tree()
    done = machine.module("config_transaction", **config(machine, content, confirm_within=WITHIN))
    assert "Every file is as it was before" in done["msg"]
    assert machine.lets_in(limit=5)
    assert tree() == before


def test_a_daemon_that_died_unseen_is_started_when_the_time_is_up(machine, tree, stays):
    """Nobody is asked for a login here, and the reload says that all is well."""
    before = tree()
    arguments = config(machine, "ListenAddress 192.0.2.1\n", confirm_within=WITHIN, logins=None,
                       apply=[["sh", "-c", "service ssh reload || true"]])  # fmt: skip
    assert machine.module("config_transaction", **arguments)["pending"]
    assert machine.settled(WITHIN + 5)
    assert machine.lets_in(limit=5)
    assert tree() == before


STEPS = {
    "validate": {"validate": [["sh", "-c", "touch /run/here; sleep 2"]]},
    "apply": {"apply": [["sh", "-c", "touch /run/here; sleep 2; service ssh reload"]]},
    "verify": {"verify": [["sh", "-c", "touch /run/here; sleep 2"]]},
    "confirm": {},
}


@pytest.mark.parametrize("step", STEPS)
def test_a_controller_that_is_killed(machine, tree, stays, step):
    """With -9, and its connections with it; whether before it changed anything, or just before it confirms."""
    before = tree()
    machine.exec("rm -f /run/here")
    pause = [{"name": "Here", "ansible.builtin.command": "touch /run/here"}, {"ansible.builtin.pause": {"seconds": 30}}]
    with controller(machine, play(machine, GOOD, WITHIN, *pause * (step == "confirm"), **STEPS[step])) as kill:
        machine.exec("timeout 30 sh -c 'until test -e /run/here; do sleep 0.1; done'")
        kill()
    time.sleep(3)  # what was begun may go on without its controller
    assert machine.settled(WITHIN + 5)
    assert machine.lets_in(limit=1)
    assert tree() == before
    assert machine.left_behind() == ""


@contextlib.contextmanager
def controller(machine, plays):
    """ansible-playbook with connections of its own; what it gives kills -9 all of that."""
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "play.yml").write_text(json.dumps(plays))
        pathlib.Path(folder, "hosts.json").write_text(inventory_of([machine]))
        process = subprocess.Popen(
            ["ansible-playbook", "-i", f"{folder}/hosts.json", f"{folder}/play.yml"],
            env={**environment(), "ANSIBLE_SSH_CONTROL_PATH_DIR": f"{folder}/cp"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

        def kill():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            for entry in pathlib.Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    if folder.encode() in (entry / "cmdline").read_bytes():
                        os.kill(int(entry.name), signal.SIGKILL)

        try:
            yield kill
        finally:
            kill()


def test_a_network_that_is_cut(machine, tree):
    before = tree()
    assert machine.module("config_transaction", **config(machine, GOOD, confirm_within=WITHIN))["pending"]
    machine.link("down")
    try:
        assert machine.settled(WITHIN + 5)
    finally:
        machine.link("up")
    assert machine.lets_in(limit=10)
    assert tree() == before


@pytest.mark.parametrize("content", [GOOD, "AllowUsers nobody\n"], ids=["harmless", "locks out"])
def test_a_host_that_is_started_anew_before_anybody_confirms(machine, tree, content):
    before = tree()
    done = machine.module("config_transaction", **config(machine, content, confirm_within=600))
    assert done["pending"]
    machine.reboot()
    assert machine.lets_in(limit=30)
    assert tree() == before
    late = machine.confirm(done)
    assert "has taken back the change" in late["msg"] and "the host was started anew" in late["msg"]
    assert machine.history()[0]["state"] == "reverted"


def test_a_disk_that_is_full_when_it_is_taken_back(machine, tree, stays):
    """The former files lie beside under a second name, so putting them back needs no space."""
    # Small disks for /etc/ssh and our own notes.
    machine.exec(
        f"cp -a /etc/ssh /run/ssh && mount -t tmpfs -o size=1m none /etc/ssh && cp -a /run/ssh/. /etc/ssh && "
        f"mkdir -p {STATE} && mount -t tmpfs -o size=1m,mode=0700 none {STATE}"
    )
    fill = f"for d in /etc/ssh {STATE}; do cat /dev/zero > $d/fill; done 2>/dev/null; true"
    try:
        before = machine.tree("/etc/ssh")
        block = {"path": "/etc/ssh/sshd_config", "block": "Banner /etc/hostname", "insert": "top"}
        change = config(machine, "", confirm_within=WITHIN)
        done = machine.module("config_transaction", **{**change, "files": [block]})
        assert done["pending"], done
        machine.exec(fill)
        assert machine.settled(WITHIN + 5)
        machine.exec("rm /etc/ssh/fill")
        assert machine.tree("/etc/ssh") == before
        machine.exec("! sshd -T | grep -q '^banner /etc/hostname'; touch /etc/ssh/fill")
        assert machine.lets_in()
        # Nobody else can change anything now, and is told why; the daemon goes on as it was.
        machine.exec(fill)
        refused = machine.module("config_transaction", **{**change, "files": [block]})
        assert "No space left on device" in refused["msg"] and "Nothing" in refused["msg"], refused
        assert machine.lets_in()
        # Without the second name it takes space: the host says what to do, and does it as soon as there is some.
        machine.exec(f"rm /etc/ssh/fill {STATE}/fill")
        done = machine.module("config_transaction", **{**change, "files": [block]})
        assert done["pending"], done
        machine.exec("rm /etc/ssh/.session-policy-*.old; " + fill)
        time.sleep(WITHIN + 3)
        assert machine.waiting()
        assert machine.lets_in(), "the daemon still runs"
        if machine.systemd:
            said = machine.exec("journalctl -o cat -t session-policy -n 5").stdout
            assert "sshd_config could not be put back (No space left on device)" in said
            assert "its former bytes are in /var/lib/session-policy" in said
        machine.exec(f"rm /etc/ssh/fill {STATE}/fill")
        assert machine.settled(12)
        assert machine.tree("/etc/ssh") == before
    finally:
        machine.exec(f"umount /etc/ssh {STATE}; rm -rf /run/ssh; service ssh reload")


@on("deb12", "sysvinit")
def test_a_second_controller_waits_or_is_refused(machine, tree):
    arguments = config(machine, GOOD, confirm_within=25)
    first = machine.module("config_transaction", **arguments)
    assert first["pending"]
    other = config(machine, GOOD + "LoginGraceTime 60\n", confirm_within=60)
    wait = machine.start("config_transaction", **other)
    planned = machine.module("config_transaction", check=True, **other)
    assert "waits for its confirmation" in str(planned["warnings"])
    second = wait()
    assert second["pending"] and second["id"] != first["id"], second
    assert second["reverted"][0]["id"] == first["id"]
    late = machine.confirm(first)
    assert "has taken back" in late["msg"]
    assert not machine.confirm(second).get("failed")
    # Nobody waits for ever: whoever gave the first one ten minutes has them.
    first = machine.module("config_transaction", **{**arguments, "confirm_within": 600})
    began = time.monotonic()
    refused = machine.module("config_transaction", **other)
    assert "waits for its confirmation for another" in refused["msg"]
    assert time.monotonic() - began < 30
    assert not machine.confirm(first).get("failed")


@on("deb11", "sysvinit")
def test_the_same_connection_proves_nothing(machine, tree):
    task = {"sessionops.policy.config_transaction": {"name": "sshd", "state": "confirmed", "id": "{{ done.id }}"},
            "name": "Confirm too soon", "ignore_errors": True}  # fmt: skip
    done = playbook([machine], play(machine, GOOD, 60, task))
    assert "this is still the connection over which the change came" in done.stdout
    assert machine.history()[0]["state"] == "done"


@on("deb11")
def test_check_mode_and_nothing_to_do_arm_nothing(machine, tree):
    planned = machine.module("config_transaction", check=True, **config(machine, GOOD, confirm_within=WITHIN))
    assert planned["changed"] and not planned["pending"] and planned["id"] is None
    assert machine.left_behind() == "" and not machine.waiting()
    wrong = machine.module("config_transaction", **config(machine, GOOD, confirm_within=2))
    assert "must be from 5 to 3600 seconds" in wrong["msg"]
    unknown = machine.module("config_transaction", name="sshd", state="confirmed", id="000001-00000000")
    assert "there is no transaction sshd with the id" in unknown["msg"]


ROLLBACK = CHECKOUT / "playbooks/rollback.yml"


@on("deb13")
def test_back_to_what_was_before(machine, tree):
    before = tree()
    machine.harden(session_policy_profile="cis")
    hardened = tree()
    machine.harden(session_policy_profile="cis", session_policy_layers=["sshd"], session_policy_login_grace_time=45)
    assert machine.sshd_effective()["logingracetime"] == "45"
    assert [(entry["name"], entry["state"]) for entry in machine.history()[:3]] == [
        ("sshd", "done"), ("shell", "done"), ("sshd", "done"),
    ]  # fmt: skip
    assert machine.exec(f"stat -c '%a %U' {STATE} {STATE}/.transactions").stdout.split() == ["700", "root"] * 2
    planned = playbook([machine], ROLLBACK, "--check", "--diff", to="previous")
    assert "-LoginGraceTime 45" in planned.stdout
    assert machine.sshd_effective()["logingracetime"] == "45"
    playbook([machine], ROLLBACK, to="previous")
    assert machine.sshd_effective()["logingracetime"] == "60"
    assert tree() == hardened
    wrong = playbook([machine], ROLLBACK, check=False, to="yesterday")
    assert "say to=previous" in wrong.stdout
    playbook([machine], ROLLBACK)
    assert tree() == before
    machine.exec(f"! test -e {STATE}")
    nothing = playbook([machine], ROLLBACK, check=False, to="previous")
    assert "there is no transaction on this host to go back from" in nothing.stdout


@on("deb11")
def test_no_more_than_five_are_kept(machine, tree):
    for seconds in range(60, 67):
        machine.module("config_transaction", **config(machine, f"LoginGraceTime {seconds}\n", apply=[], logins=None))
    kept = machine.history()
    assert len(kept) == 5
    assert kept[0]["files"] == [{"path": DROP_IN, "action": "changed"}]
    back = machine.module("config_transaction", state="previous", apply=machine.reload)
    assert back["files"] == [{"path": DROP_IN, "action": "changed"}]
    assert machine.sshd_effective()["logingracetime"] == "65"
    machine.write(DROP_IN, "LoginGraceTime 99\n")
    refused = machine.module("config_transaction", state="previous")
    assert "was changed by somebody else" in refused["msg"]
