# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is never ended: our own connection however Ansible came, what is no person's session, and other namespaces."""

from __future__ import annotations

import subprocess

import pytest
from endings import only, outcomes, terminate
from realhosts import RELEASES, booted, until

ADMIN = {"ansible_user": "admin"}
BECOME = {**ADMIN, "ansible_become": True}
ASYNC = ("--background", "60", "--poll", "1")
WAYS = {
    "root": ({}, ()),
    "become": (BECOME, ()),
    "pipelining off": ({**BECOME, "ansible_pipelining": False}, ()),
    "a connection a task": ({**BECOME, "ansible_ssh_args": "-o ControlMaster=no -o ControlPath=none"}, ()),
    "async": ({}, ASYNC),
    "async become": (BECOME, ASYNC),
}
EVERYBODY = {"kinds": ["terminal", "exec", "sftp", "forward"], "min_age": 0, "warn_grace": 0}


@pytest.fixture(scope="module", params=[*sorted(RELEASES), "bookworm-sysvinit"])
def machine(request):
    with booted(f"own-{request.param}", RELEASES.get(request.param, request.param)) as host:
        yield host


@pytest.mark.parametrize("way", WAYS)
def test_our_own_connection_is_never_ended(machine, way, count):
    """With every protection that can be taken off taken off."""
    variables, options = WAYS[way]
    me = variables.get("ansible_user", "root")
    result = machine.start(
        "session_terminate",
        variables=variables,
        options=options,
        users=[me],
        protect_connection_user=False,
        on_protected="terminate",
        protect=[],
        force=True,
        **EVERYBODY,
    )()
    own = [session for session in result["sessions"] if session["is_self"]]
    assert [session["skipped_because"] for session in own] == [["self"]], result
    assert me not in outcomes(result) or "failed" not in outcomes(result)[me]
    count(cases=1, protected_sessions_lost=0)


def idle_connection(machine, user):
    """What another controller's connection looks like between two tasks."""
    client = subprocess.Popen(
        machine.ssh_argv(user, "-N", "-M", "-o", "ControlPath=none"),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert until(lambda: machine.module("session_info", users=[user], kinds=["forward"])["sessions"], 20, 0.5)
    return client


def test_another_controllers_connection_is_spared(machine):
    client = idle_connection(machine, "root")
    try:
        spared = only(terminate(machine, users=["root"], kinds=["forward"]))
        assert spared["outcome"] == "skipped" and spared["skipped_because"] == ["connection_user"]
        all_of_them = terminate(machine, users=["root"], kinds=["forward"], protect_connection_user=True)
        assert only(all_of_them)["skipped_because"] == ["connection_user"] and client.poll() is None
        ended = only(terminate(machine, users=["root"], kinds=["forward"], protect_connection_user=False))
        assert ended["outcome"] == "terminated" and client.wait(10)
    finally:
        client.kill()


def test_terminals_of_the_account_are_ended_unless_asked_otherwise(machine, person):
    root = person(machine, "root")
    kept = terminate(machine, users=["root"], kinds=["terminal"], protect_connection_user=True)
    assert only(kept)["skipped_because"] == ["connection_user"] and root.connected
    ended = only(terminate(machine, users=["root"], kinds=["terminal"]))
    assert ended["outcome"] == "terminated" and root.leaves_within(10)


def test_a_user_manager_and_what_lingers_are_left_alone(machine):
    if machine.image.endswith("sysvinit"):
        pytest.skip("there are no user managers without systemd")
    machine.ssh("loginctl enable-linger carol")
    unit = "XDG_RUNTIME_DIR=/run/user/$(id -u) systemd-run --user --unit=kept sleep 7401"
    assert until(lambda: machine.exec(f"su carol -c '{unit}'", check=False).returncode == 0, 15)
    result = terminate(machine, users=["carol"], on_protected="terminate", protect=[], force=True, closing=False)
    assert not result["changed"] and not result["summary"]["failed"]
    assert machine.exec("pgrep -u carol -f '[s]leep 7401'").stdout.strip()
    machine.ssh("loginctl disable-linger carol")


def test_a_container_is_left_alone(machine, person, count):
    """The same uid and a sshd of its own, in another PID namespace."""
    machine.exec(
        "test -f /root/.ssh/id_ed25519 || ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519;"
        "cat /root/.ssh/id_ed25519.pub >> /home/erin/.ssh/authorized_keys; mkdir -p /run/sshd;"
        "setsid unshare --fork --pid --mount-proc /usr/sbin/sshd -D -p 2222 >/dev/null 2>&1 </dev/null &"
    )
    guest = "ssh -o StrictHostKeyChecking=no -p 2222 erin@127.0.0.1 sleep 7402"
    assert until(lambda: machine.exec("ssh-keyscan -p 2222 127.0.0.1 2>/dev/null").stdout, 15)
    machine.exec(f"setsid {guest} >/dev/null 2>&1 </dev/null &")
    inside = "pgrep -u erin -f '^[s]leep 7402'"
    assert until(lambda: machine.exec(inside, check=False).stdout, 15)
    erin = person(machine, "erin")
    session = only(terminate(machine, users=["erin"], on_protected="terminate", protect=[], force=True))
    assert session["outcome"] == "terminated" and session["kind"] == "terminal" and erin.leaves_within(10)
    alive = machine.exec(inside, check=False).stdout
    count(cases=1, wrong_signals=int(not alive))
    assert alive


def test_where_it_cannot_tell_which_is_its_own_it_refuses(machine, person):
    """sudo took the environment, async the parents, and on this host neither PAM nor logind marks a session."""
    if not machine.image.endswith("sysvinit"):
        pytest.skip("logind's scope tells it")
    machine.exec("sed -i '/pam_loginuid/d' /etc/pam.d/*")
    bob = person(machine, "bob")
    asked = {"users": ["bob"], **EVERYBODY}
    fresh = {"ansible_ssh_args": "-o ControlMaster=no -o ControlPath=none"}  # the PAM stack as it is now
    unknown = {"variables": {**BECOME, **fresh}, "options": ASYNC}
    refused = machine.start("session_terminate", **unknown, **asked)()
    assert refused["failed"] and "nothing tells which session" in refused["msg"] and bob.connected, refused
    told = machine.start("session_terminate", **unknown, **asked, allow_unknown_self=True, exclude_users=["admin"])()
    assert only(told)["outcome"] == "terminated" and bob.leaves_within(10)
