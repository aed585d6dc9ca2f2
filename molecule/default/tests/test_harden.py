# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""harden.yml as people run it: each profile, check mode, become, bad input, and away again."""

from __future__ import annotations

import pytest
from realhosts import harden

ALL = ["sshd", "shell", "logind"]
PROFILES = {
    "cis": {"clientaliveinterval": "300", "clientalivecountmax": "3", "tmout": "900"},
    "stig": {"clientaliveinterval": "600", "clientalivecountmax": "1", "tmout": "600"},
    "pci_dss": {"clientaliveinterval": "900", "clientalivecountmax": "1", "tmout": "900"},
    "anssi": {"tmout": "600"},
    "none": {},
}


def recap(done) -> list[str]:
    """One line a host, with its counts."""
    return [line for line in done.stdout.partition("PLAY RECAP")[2].splitlines() if " failed=" in line]


def trees(machines) -> list[list[str]]:
    """By lines, so that pytest shows what differs."""
    return [machine.tree("/etc", "/var/lib").splitlines() for machine in machines]


@pytest.mark.parametrize("profile", PROFILES)
def test_each_profile_is_in_force_finds_nothing_to_do_again_and_goes_away_byte_for_byte(fleet, profile):
    policy = {"session_policy_profile": profile, "session_policy_exempt_users": ["bob"]}
    before = trees(fleet)
    harden(fleet, **policy)
    second = harden(fleet, **policy)
    assert all(" changed=0 " in line and " failed=0 " in line for line in recap(second)), second.stdout
    wanted = dict(PROFILES[profile])
    tmout = wanted.pop("tmout", "")
    for machine in fleet:
        assert machine.tmout() == tmout
        effective = machine.sshd_effective()
        assert {key: effective[key] for key in wanted} == wanted
    harden(fleet, **policy, session_policy_state="absent")
    assert trees(fleet) == before


def test_what_a_removed_shell_left_behind_goes_away_too(fleet):
    before = trees(fleet)
    harden(fleet)
    for machine in fleet:
        machine.exec("mv /usr/bin/zsh /usr/bin/zsh.gone; mv /usr/bin/tcsh /usr/bin/tcsh.gone")
    harden(fleet, session_policy_state="absent")
    for machine in fleet:
        machine.exec("mv /usr/bin/zsh.gone /usr/bin/zsh; mv /usr/bin/tcsh.gone /usr/bin/tcsh")
    assert trees(fleet) == before


def test_check_mode_on_a_virgin_host_shows_the_change_and_makes_none(fleet):
    before = trees(fleet)
    done = harden(fleet, "--check", "--diff", session_policy_layers=ALL)
    assert trees(fleet) == before
    assert "+ClientAliveInterval 300" in done.stdout
    assert "+TMOUT=900" in done.stdout
    assert "+StopIdleSessionSec=900" in done.stdout
    assert all(" changed=0 " not in line for line in recap(done))


def test_what_a_person_reads_fits_80_columns(fleet):
    lines = harden(fleet, session_policy_layers=ALL).stdout.splitlines()
    table = [line for line in lines if "client_alive_interval" in line or "idle_timeout" in line]
    assert table and all(len(line) <= 80 for line in table), table
    harden(fleet, session_policy_state="absent")


@pytest.mark.parametrize("pipelining", [True, False])
def test_through_become(fleet, pipelining):
    admin = {"ansible_user": "admin", "ansible_become": True, "ansible_pipelining": pipelining}
    harden(fleet, connection=admin)
    assert {m.sshd_effective()["clientaliveinterval"] for m in fleet} == {"300"}
    harden(fleet, connection=admin, session_policy_state="absent")


WRONG = {
    "idle_timeout": "soon",
    "client_alive_interval": "5 m",
    "client_alive_count_max": -1,
    "channel_idle_timeout": "1w",
    "unused_connection_timeout": "x",
    "login_grace_time": "1,5m",
    "layers": ["sshd", "shells"],
    "max_sessions": -5,
    "max_startups": "10:30",
    "max_logins": "many",
    "exempt_users": "bob; rm -rf /",
}


def test_bad_input_is_a_sentence_each_before_anything_is_touched(fleet):
    before = trees(fleet)
    done = harden(fleet, check=False, **{f"session_policy_{name}": value for name, value in WRONG.items()})
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert [name for name in WRONG if f"session_policy_{name}" not in said] == [], said
    assert "Traceback" not in said
    assert trees(fleet) == before


@pytest.mark.parametrize(("name", "wrong"), [("profile", "cls"), ("state", "gone"), ("idle_timeuot", 900)])
def test_an_unknown_name_is_refused(fleet, name, wrong):
    before = trees(fleet)
    done = harden(fleet, check=False, **{f"session_policy_{name}": wrong})
    assert done.returncode != 0
    assert f"session_policy_{name}" in done.stdout + done.stderr
    assert trees(fleet) == before


def test_count_max_zero_is_refused_where_it_would_end_nobody(fleet):
    before = trees(fleet)
    done = harden(fleet, check=False, session_policy_client_alive_count_max=0)
    assert all(" failed=1 " in line for line in recap(done)), done.stdout
    assert "8.2" in done.stdout and "client_alive_count_max" in done.stdout, done.stdout
    assert trees(fleet) == before


def test_an_exempt_user_who_does_not_exist_is_a_warning(fleet):
    done = harden(fleet, session_policy_exempt_users=["nobody-of-that-name"])
    assert "nobody-of-that-name" in done.stdout + done.stderr
    harden(fleet, session_policy_state="absent")
