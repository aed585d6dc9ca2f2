# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that others have had their hands on: what is not in force is said, and what is broken is left alone."""

from __future__ import annotations

import pytest
from realhosts import harden, role

MAIN = "/etc/ssh/sshd_config"
DROP_INS = "/etc/ssh/sshd_config.d"
SSH_AND_SHELL = ["sshd", "shell"]


def rewrite(machine, before="", after=""):
    """Put text above and below what is in sshd's main file."""
    machine.write(MAIN, before + machine.exec(f"cat {MAIN}").stdout + after)


def in_force(machine, user=None, **wanted):
    effective = machine.sshd_effective(user)
    return {key: effective[key] for key in wanted} == wanted


@pytest.mark.parametrize("include", [True, False])
def test_a_vendor_drop_in_odd_spellings_and_a_match_block_at_the_end(virgin, include):
    for machine in virgin:
        machine.write(f"{DROP_INS}/50-cloud-init.conf", "ClientAliveInterval 0\n")
        if not include:
            machine.exec(f"sed -i '/^Include/d' {MAIN}")
        spellings = 'ClientAliveInterval=0\nloginGraceTime\t=\t"7"\nMaxSessions "3"\n'
        rewrite(machine, spellings, "\nMatch User dave\n  X11Forwarding no")
    harden(virgin)
    wanted = {"clientaliveinterval": "300", "clientalivecountmax": "3", "logingracetime": "60", "maxsessions": "10"}
    for machine in virgin:
        for user in (None, "alice", "dave"):
            assert in_force(machine, user, **wanted), (machine.name, user)


def test_a_drop_in_that_sorts_before_ours_is_named_and_fails_the_run(virgin):
    for machine in virgin:
        machine.write(f"{DROP_INS}/00-a-vendor.conf", "# a vendor's\nClientAliveInterval 0\n")
    # Without the block in the main file, as on distributions whose scanners read drop-ins, the first drop-in wins.
    role(virgin, "sshd_timeouts", sshd_timeouts_client_alive_interval=300, sshd_timeouts_main_file=False)
    wanted = {"layers": ["sshd"], "client_alive_interval": 300}
    for machine in virgin:
        (finding,) = machine.module("policy_info", wanted=wanted)["findings"]
        assert finding["compliant"] is False
        assert finding["overridden_by"] == f"{DROP_INS}/00-a-vendor.conf:2 0"
    # harden.yml puts the same values above the Include of this distribution's main file, and so wins.
    harden(virgin)
    assert all(in_force(machine, clientaliveinterval="300") for machine in virgin)


def test_a_match_block_of_somebody_elses_that_lets_a_user_off_is_named_and_fails_the_run(virgin):
    for machine in virgin:
        rewrite(machine, after="\nMatch User dave\n  ClientAliveInterval 0\n")
    done = harden(virgin, check=False)
    assert done.returncode != 0
    assert done.stdout.count(" failed=1 ") == len(virgin), done.stdout
    for machine in virgin:
        line = 1 + int(machine.exec(f"grep -n 'Match User dave' {MAIN}").stdout.partition(":")[0])
        assert f"{MAIN}:{line}" in done.stdout, done.stdout
    assert "Match User dave" in done.stdout
    # Who is exempt on purpose may have such a block.
    harden(virgin, session_policy_exempt_users=["dave"])


def test_an_earlier_readonly_tmout_is_named_and_fails_where_it_wins(virgin):
    for machine in virgin:
        machine.write("/etc/profile.d/00-aaa.sh", "readonly TMOUT=0\n")
    done = harden(virgin, check=False, session_policy_layers=SSH_AND_SHELL)
    # bash reads its bashrc before profile.d and has our timeout; mksh has the foreign one.
    assert done.stdout.count(" failed=1 ") == len(virgin), done.stdout
    assert "/etc/profile.d/00-aaa.sh:1" in done.stdout, done.stdout
    for machine in virgin:
        assert machine.at_a_login("alice", "echo [$TMOUT]").stdout.splitlines()[-1] == "[900]"


def test_somebody_elses_timeout_that_loses_is_named_and_left_alone(virgin):
    theirs, line = "/etc/profile.d/zz-vendor.sh", '[ -n "$TMOUT" ] || TMOUT=1200\n'
    for machine in virgin:
        machine.write(theirs, line)
    done = harden(virgin, session_policy_layers=SSH_AND_SHELL)
    assert done.stdout.count(f"Somebody else sets a timeout in {theirs}:1") == len(virgin), done.stdout
    for machine in virgin:
        assert machine.tmout() == "900"
        assert machine.exec(f"cat {theirs}").stdout == line
        machine.exec(f"rm {theirs}")


def test_without_include_the_settings_go_into_the_main_file(virgin):
    before = {}
    for machine in virgin:
        machine.exec(f"sed -i '/^Include/d' {MAIN}")
        rewrite(machine, after="Match User dave\n  X11Forwarding no")
        before[machine.name] = machine.tree("/etc/ssh")
    harden(virgin)
    assert all(in_force(machine, clientaliveinterval="300") for machine in virgin)
    harden(virgin, session_policy_state="absent")
    assert {machine.name: machine.tree("/etc/ssh") for machine in virgin} == before


def test_a_missing_drop_in_folder_is_made_and_taken_away_again(virgin):
    for machine in virgin:
        machine.exec(f"rm -rf {DROP_INS}")
    harden(virgin)
    assert all(in_force(machine, clientaliveinterval="300") for machine in virgin)
    harden(virgin, session_policy_state="absent")
    for machine in virgin:
        assert machine.exec(f"test -e {DROP_INS}", check=False).returncode != 0


def test_a_configuration_that_was_broken_before_is_refused_and_left_alone(virgin):
    for machine in virgin:
        rewrite(machine, after="\nPermitRootLogin perhaps\n")
    before = [machine.tree("/etc/ssh") for machine in virgin]
    done = harden(virgin, check=False)
    assert done.stdout.count(" failed=1 ") == len(virgin), done.stdout
    assert "sshd refuses its configuration as it is" in done.stdout and "perhaps" in done.stdout, done.stdout
    assert [machine.tree("/etc/ssh") for machine in virgin] == before


def test_a_host_without_sshd_gets_all_the_rest(boot):
    host = boot("bookworm")
    # dropbear is the way in; to Ansible it is a host like any other, but there is no sshd to harden.
    host.exec(
        "systemctl disable --now ssh; rm -f /usr/sbin/sshd /lib/systemd/system/ssh*.service;"
        "rm -f /lib/systemd/system/ssh*.socket;"
        "rm -rf /etc/ssh/sshd_config*; systemctl daemon-reload;"
        "dropbearkey -t ed25519 -f /root/hostkey; systemd-run --unit=dropbear dropbear -F -r /root/hostkey -p 22"
    )
    done = host.harden()
    assert "is no OpenSSH server on this host" in " ".join(done.stdout.replace('",', "").replace('"', "").split())
    assert host.tmout() == "900"


def test_a_host_without_systemd_gets_all_the_rest(boot):
    host = boot("bookworm-sysvinit")
    done = host.harden(session_policy_layers=["sshd", "shell", "logind"])
    assert "logind" in done.stdout
    assert host.sshd_effective()["clientaliveinterval"] == "300"
    assert host.ssh("echo in") == "in\n"
    assert host.tmout() == "900"
    assert "changed=0" in host.harden(session_policy_layers=["sshd", "shell", "logind"]).stdout
