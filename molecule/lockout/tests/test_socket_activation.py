# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a socket of systemd's listens, and sshd is started by the first connection."""

from __future__ import annotations

import pytest
from lockedout import IMAGES
from realhosts import until

SOCKET = sorted(name for name, image in IMAGES.items() if not image.endswith("-sysvinit"))


@pytest.mark.parametrize("machine", SOCKET, indirect=True)
def test_a_change_is_confirmed_and_one_that_locks_out_taken_back(machine, stays):
    # Debian 11 and 12 start an sshd for each connection, Debian 13 one for all of them.
    machine.exec("systemctl disable -q --now ssh.service 2>&1; systemctl start ssh.socket")
    assert machine.lets_in(limit=10)
    before = machine.tree("/etc/ssh")
    values = {"sshd_timeouts_client_alive_interval": 300, "sshd_timeouts_client_alive_count_max": 3}
    done = machine.role("sshd_timeouts", **values)
    assert "Confirm the change over a new connection" in done.stdout
    assert machine.sshd_effective()["clientaliveinterval"] == "300"
    machine.role("sshd_timeouts", sshd_timeouts_state="absent")
    if machine.openssh >= (9, 2):
        machine.write("/etc/ssh/sshd_config.d/90-theirs.conf", "Match User alice\n  ChannelTimeout none\n")
        done = machine.role("sshd_timeouts", check=False, **values)
        assert "for alice: Connection closed" in done.stdout
        machine.exec("rm /etc/ssh/sshd_config.d/90-theirs.conf")
    assert machine.tree("/etc/ssh") == before
    assert until(machine.lets_in, 5)
