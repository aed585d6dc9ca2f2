# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hosts that molecule converged: the profile cis with all layers, seen by other means than ours."""

from __future__ import annotations


def test_sshd_has_the_values(host):
    lines = host.check_output("/usr/sbin/sshd -T").splitlines()
    for wanted in ("clientaliveinterval 300", "clientalivecountmax 3", "logingracetime 60", "maxstartups 10:30:60"):
        assert wanted in lines


def test_the_daemon_runs_and_lets_people_in(host):
    assert host.service("ssh").is_running


def test_a_login_shell_has_tmout_and_cannot_change_it(host):
    login = "su - alice -c 'exec bash -lic \"{}\"'"
    assert host.run(login.format("echo \\$TMOUT")).stdout.strip() == "900"
    assert "changed" not in host.run(login.format("TMOUT=0 && echo changed")).stdout


def test_the_old_scp_way_stays_clean(host):
    """Whatever a login shell prints breaks scp, sftp and rsync."""
    assert host.run("su - alice -c true").stdout == ""
