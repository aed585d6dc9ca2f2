# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""harden.yml as people run it: each profile, check mode, become, bad input, and away again."""

from __future__ import annotations

import re

import pytest

ALL = ["sshd", "shell", "logind"]
PROFILES = {
    "cis": {"clientaliveinterval": "300", "clientalivecountmax": "3", "tmout": "900"},
    "stig": {"clientaliveinterval": "600", "clientalivecountmax": "1", "tmout": "600"},
    "pci_dss": {"clientaliveinterval": "900", "clientalivecountmax": "1", "tmout": "900"},
    "anssi": {"tmout": "600"},
}


@pytest.mark.parametrize("profile", [*PROFILES, "none"])
def test_each_profile_is_in_force_and_finds_nothing_to_do_again(machine, profile):
    machine.harden(session_policy_profile=profile)
    second = machine.harden(session_policy_profile=profile)
    assert re.search(r"changed=0 .*failed=0", second.stdout), second.stdout
    wanted = dict(PROFILES.get(profile, {}))
    assert machine.tmout() == wanted.pop("tmout", "")
    effective = machine.sshd_effective()
    assert {key: effective[key] for key in wanted} == wanted
    machine.harden(session_policy_profile=profile, session_policy_state="absent")


def test_absent_leaves_the_host_as_it_was_byte_for_byte(machine):
    before = machine.tree("/etc", "/var/lib")
    machine.harden(session_policy_profile="stig", session_policy_layers=ALL, session_policy_exempt_users=["bob"])
    assert machine.tree("/etc", "/var/lib") != before
    machine.harden(session_policy_profile="stig", session_policy_layers=ALL, session_policy_state="absent")
    assert machine.tree("/etc", "/var/lib") == before


def test_check_mode_on_a_virgin_host_shows_the_change_and_makes_none(machine):
    before = machine.tree("/etc", "/var/lib")
    done = machine.harden("--check", "--diff", session_policy_layers=ALL)
    assert machine.tree("/etc", "/var/lib") == before
    assert "+ClientAliveInterval 300" in done.stdout
    assert "+" in done.stdout and "TMOUT=900" in done.stdout
    assert re.search(r"changed=[1-9]", done.stdout)


def test_the_table_can_be_read_at_80_columns(machine):
    done = machine.harden(session_policy_layers=ALL)
    table = [line for line in done.stdout.splitlines() if "ClientAlive" in line or "TMOUT" in line]
    assert table and all(len(line) <= 80 for line in table), table


@pytest.mark.parametrize("pipelining", [True, False])
def test_through_become(machine, pipelining):
    admin = {"ansible_user": "admin", "ansible_become": True, "ansible_pipelining": pipelining}
    machine.harden(connection=admin)
    assert "changed=0" in machine.harden(connection=admin).stdout
    assert machine.sshd_effective()["clientaliveinterval"] == "300"
    machine.harden(connection=admin, session_policy_state="absent")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"session_policy_idle_timeout": "soon"}, "duration"),
        ({"session_policy_idle_timeout": -1}, "duration"),
        ({"session_policy_client_alive_interval": "5 m"}, "duration"),
        ({"session_policy_channel_idle_timeout": "1w"}, "duration"),
        ({"session_policy_unused_connection_timeout": "x"}, "duration"),
        ({"session_policy_login_grace_time": "1,5m"}, "duration"),
        ({"session_policy_profile": "cls"}, "profile"),
        ({"session_policy_layers": ["sshd", "shells"]}, "shells"),
        ({"session_policy_client_alive_count_max": -1}, "client_alive_count_max"),
        ({"session_policy_max_sessions": -5}, "max_sessions"),
        ({"session_policy_max_startups": "10:30"}, "max_startups"),
        ({"session_policy_max_logins": "many"}, "max_logins"),
        ({"session_policy_exempt_users": "bob; rm -rf /"}, "exempt_users"),
        ({"session_policy_state": "gone"}, "state"),
    ],
)
def test_bad_input_is_a_sentence_before_anything_is_touched(machine, wrong, words):
    before = machine.tree("/etc")
    done = machine.harden(check=False, **wrong)
    assert done.returncode != 0
    assert words in done.stdout + done.stderr, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert machine.tree("/etc") == before


def test_count_max_zero_is_refused_where_it_would_end_nobody(machine):
    before = machine.tree("/etc")
    done = machine.harden(check=False, session_policy_client_alive_count_max=0)
    if machine.openssh >= (8, 2):
        assert done.returncode != 0
        assert "8.2" in done.stdout and "client_alive_count_max" in done.stdout, done.stdout
        assert machine.tree("/etc") == before


def test_an_exempt_user_who_does_not_exist_is_a_warning(machine):
    done = machine.harden(session_policy_exempt_users=["nobody-of-that-name"])
    assert "nobody-of-that-name" in done.stdout + done.stderr
    machine.harden(session_policy_state="absent")
