# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role logind_sessions does to sessions that begin under it, and to those that are there."""

from __future__ import annotations

import json
import re
import time

import pytest
from realhosts import RELEASES, applied, inside, over_ssh

SECONDS = 30  # A terminal's time of last input is 8 s coarse.
MANAGER = "org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager"


@pytest.fixture(params=sorted(RELEASES.values()))
def host(request, hosts):
    return hosts[request.param]


@pytest.fixture(scope="module")
def apply(fleet):
    """apply(**variables): the role on all hosts."""
    return lambda **variables: applied(fleet, "logind_sessions", **variables)


def logind(host, name):
    """A property of logind's manager, None where it has none of that name."""
    answer = inside(host, f"busctl --json=short get-property {MANAGER} {name} 2>/dev/null || echo null")
    return (json.loads(answer) or {}).get("data")


def logind_pid(host):
    return inside(host, "systemctl show -p MainPID --value systemd-logind").strip()


@pytest.fixture(scope="module")
def idle(apply, hosts, login):
    """Everybody does nothing; `early` was there before the policy."""
    early = {name: login(host, "alice").at_prompt(60) for name, host in hosts.items()}
    pids = {name: logind_pid(host) for name, host in hosts.items()}
    done = apply(idle_timeout=SECONDS)
    assert {name: logind_pid(host) for name, host in hosts.items()} == pids
    late = {name: login(host, "bob").at_prompt(60) for name, host in hosts.items()}
    end = time.time() + SECONDS + 60
    while time.time() < end and late["bookworm"].ended_after is None:
        time.sleep(1)
    yield done, early, late
    for person in (*early.values(), *late.values()):
        person.leaves()


def test_both_thresholds_are_in_force(idle, host):
    stop = None if host.release == "bullseye" else SECONDS * 1000000
    assert logind(host, "StopIdleSessionUSec") == stop
    assert logind(host, "IdleActionUSec") == (stop or 1800 * 1000000)


def test_idle_session_is_ended_where_logind_sees_its_terminal(idle, host):
    done, _early, late = idle
    seconds = late[host.image].ended_after
    if host.release == "bookworm":
        assert seconds is not None
        assert seconds >= SECONDS - 9
        print(f"{host.release}: {seconds:.1f} s")
    else:
        assert seconds is None
        said = {
            "bullseye": "systemd 247 cannot end idle sessions",
            "trixie": "logind knows no terminal of an ssh session here",
        }
        assert re.search(rf"ok: \[{host.name}\][^}}]*{said[host.release]}", done.output)


def test_sessions_that_were_there_live_on(idle, host):
    _done, early, _late = idle
    assert early[host.image].ended_after is None
    early[host.image].type("echo still $((40 + 2))")
    early[host.image].reads(r"^still 42")


def test_second_run_changes_nothing(idle, apply):
    assert set(apply(idle_timeout=SECONDS).changed) == {0}


def test_no_idle_timeout_while_somebody_is_exempt(apply, hosts):
    done = apply(idle_timeout=SECONDS, exempt_users=["carol"])
    assert done.output.count("logind can exempt nobody") == 2
    for host in hosts.values():
        assert "StopIdleSessionSec" not in inside(host, "grep -rv '^#' /etc/systemd/logind.conf* || true")


def test_an_idle_action_keeps_its_time(apply, hosts):
    """Suspending a machine may hang on IdleActionSec: the role says what follows from it and leaves it."""
    host = hosts["bookworm"]
    foreign = "/etc/systemd/logind.conf.d/50-foreign.conf"
    try:
        apply(state="absent")
        lines = "[Login]\\nIdleAction=lock\\nIdleActionSec=20\\n"
        inside(host, f"mkdir -p /etc/systemd/logind.conf.d; printf '{lines}' > {foreign}")
        inside(host, "systemctl kill -s HUP systemd-logind")
        said = apply(idle_timeout=SECONDS).output
        assert "IdleActionSec is 20 s" in said
        assert logind(host, "IdleActionUSec") == 20 * 1000000
    finally:
        inside(host, f"rm {foreign}")


def leaves_a_job(host, user):
    """Who logs out and leaves a job behind: is it still there a moment later?"""
    over_ssh(host, user, "setsid sleep 4321 >/dev/null 2>&1 </dev/null & sleep 0.5")
    time.sleep(2)
    return inside(host, f"pgrep -u {user} -x sleep || true") != ""


def test_what_sessions_leave_behind(apply, hosts):
    apply(kill_user_processes=True, exempt_users=["carol"])
    for host in hosts.values():
        assert [leaves_a_job(host, user) for user in ("dave", "carol")] == [False, True], host.release
    apply(kill_user_processes=False)
    for host in hosts.values():
        assert leaves_a_job(host, "dave"), host.release
        inside(host, "pkill -x sleep -u dave,carol")


@pytest.fixture(scope="module")
def two_logins(apply, hosts):
    yield apply(max_logins=2, exempt_users=["carol"], exempt_groups=["staff"])
    apply(state="absent")


@pytest.mark.parametrize(("user", "allowed"), [("erin", 2), ("carol", 3), ("dave", 3), ("root", 3)])
def test_number_of_logins(two_logins, host, login, user, allowed):
    if user == "dave":
        inside(host, "usermod -aG staff dave")
    people = [login(host, user).at_prompt() for _number in range(allowed)]
    assert [p.ended_after for p in people] == [None] * allowed
    if allowed == 2:
        login(host, user).reads("too many logins for")
    for person in people:
        person.leaves()


def test_one_login_can_be_the_limit(apply, hosts, login):
    """Debian 13's pam_limits reads a plain 1 as no limit."""
    apply(max_logins=1)
    for host in hosts.values():
        first = login(host, "erin").at_prompt()
        login(host, "erin").reads("too many logins for")
        first.leaves()


def test_absent_takes_all_of_it_away(apply, hosts):
    apply(state="absent")
    before = {name: host.tree("/etc", "/var/lib") for name, host in hosts.items()}
    assert "session-policy" not in "".join(before.values())
    everything = {"idle_timeout": 600, "kill_user_processes": True, "max_logins": 10, "main_file": True}
    assert set(apply(**everything).changed) == {1}
    assert logind(hosts["bookworm"], "KillUserProcesses") is True
    apply(state="absent")
    assert {name: host.tree("/etc", "/var/lib") for name, host in hosts.items()} == before
    for host in hosts.values():
        assert logind(host, "KillUserProcesses") is False
        assert logind(host, "IdleActionUSec") == 1800 * 1000000
