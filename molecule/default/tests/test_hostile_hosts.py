# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts that others have had their hands on: what is not in force is said, and what is broken is left alone."""

from __future__ import annotations

import pytest

MAIN = "/etc/ssh/sshd_config"
DROP_INS = "/etc/ssh/sshd_config.d"
SSH_AND_SHELL = ["sshd", "shell"]


@pytest.fixture
def virgin(machine):
    """The host as it was before the test, afterwards too."""
    machine.exec("rm -rf /root/etc && cp -a /etc /root/etc")
    yield machine
    # podman mounts hosts, hostname and resolv.conf over files of /etc, which therefore stay.
    machine.exec("rm -rf /etc/ssh /etc/profile.d /etc/systemd /etc/security /etc/bash.bashrc")
    machine.exec("cd /root/etc && cp -a ssh profile.d systemd security bash.bashrc /etc/")
    machine.exec("systemctl reload ssh")


def test_a_drop_in_that_sorts_before_ours_is_named_and_fails_the_run(virgin):
    virgin.write(f"{DROP_INS}/00-a-vendor.conf", "# a vendor's\nClientAliveInterval 0\n")
    done = virgin.harden(check=False)
    assert done.returncode != 0
    assert f"{DROP_INS}/00-a-vendor.conf:2" in done.stdout, done.stdout
    assert virgin.sshd_effective()["clientaliveinterval"] == "0"


@pytest.mark.parametrize(
    "line",
    ["ClientAliveInterval=0", 'ClientAliveInterval "0"', "clientaliveinterval\t=\t0", '  ClientAliveInterval="0"'],
)
def test_every_legal_spelling_in_the_main_file_is_seen(virgin, line):
    virgin.exec(f"sed -i '/^Include/d' {MAIN}")
    before = virgin.exec(f"cat {MAIN}").stdout
    virgin.write(MAIN, line + "\n" + before)
    virgin.harden()
    effective = virgin.sshd_effective()
    assert (effective["clientaliveinterval"], effective["clientalivecountmax"]) == ("300", "3")


def test_a_main_file_that_ends_in_a_match_block(virgin):
    before = virgin.exec(f"cat {MAIN}").stdout
    virgin.write(MAIN, before + "\nMatch User dave\n  X11Forwarding no\n")
    virgin.harden()
    assert virgin.sshd_effective()["clientaliveinterval"] == "300"
    assert virgin.sshd_effective("dave")["clientaliveinterval"] == "300"


def test_a_user_whom_somebody_elses_match_block_lets_off_is_named(virgin):
    before = virgin.exec(f"cat {MAIN}").stdout
    virgin.write(MAIN, before + "\nMatch User dave\n  ClientAliveInterval 0\n")
    virgin.harden()
    facts = virgin.module("policy_info", users=["dave"])
    # The drop-in is read before the main file's Match block, so even here ours comes first.
    assert facts["sshd"]["effective_by_user"]["dave"]["clientaliveinterval"] == "300"


def test_an_earlier_readonly_tmout_is_named_and_no_login_gets_noisy(virgin):
    virgin.write("/etc/profile.d/00-aaa.sh", "readonly TMOUT=0\n")
    done = virgin.harden(check=False, session_policy_layers=SSH_AND_SHELL)
    assert done.returncode != 0
    assert "/etc/profile.d/00-aaa.sh:1" in done.stdout, done.stdout
    login = virgin.at_a_login("alice", "echo [$TMOUT]")
    assert (login.stdout, login.stderr) == ("[0]\r\n", "")


def test_without_include_the_settings_go_into_the_main_file(virgin):
    virgin.exec(f"sed -i '/^Include/d' {MAIN}")
    virgin.write(MAIN, virgin.exec(f"cat {MAIN}").stdout + "Match User dave\n  X11Forwarding no")
    before = virgin.tree("/etc/ssh")
    virgin.harden()
    assert virgin.sshd_effective()["clientaliveinterval"] == "300"
    virgin.harden(session_policy_state="absent")
    assert [line for line in virgin.tree("/etc/ssh").splitlines() if "sshd_config" in line] == [
        line for line in before.splitlines() if "sshd_config" in line
    ]


def test_a_missing_drop_in_folder_is_made_and_taken_away_again(virgin):
    virgin.exec(f"rm -rf {DROP_INS}")
    virgin.harden()
    assert virgin.sshd_effective()["clientaliveinterval"] == "300"
    virgin.harden(session_policy_state="absent")
    assert virgin.exec(f"test -e {DROP_INS}", check=False).returncode != 0


def test_a_configuration_that_was_broken_before_is_refused_and_left_alone(virgin):
    virgin.write(MAIN, virgin.exec(f"cat {MAIN}").stdout + "\nPermitRootLogin perhaps\n")
    before = virgin.tree("/etc/ssh")
    done = virgin.harden(check=False)
    assert done.returncode != 0
    assert "PermitRootLogin" in done.stdout or "perhaps" in done.stdout, done.stdout
    assert virgin.tree("/etc/ssh") == before


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
    assert "no sshd" in done.stdout.lower() or "sshd is not installed" in done.stdout.lower(), done.stdout
    assert host.tmout() == "900"


def test_a_host_without_systemd_gets_all_the_rest(boot):
    host = boot("bookworm-sysvinit")
    done = host.harden(session_policy_layers=["sshd", "shell", "logind"])
    assert "logind" in done.stdout
    assert host.sshd_effective()["clientaliveinterval"] == "300"
    assert host.ssh("echo in") == "in\n"
    assert host.tmout() == "900"
    assert "changed=0" in host.harden(session_policy_layers=["sshd", "shell", "logind"]).stdout
