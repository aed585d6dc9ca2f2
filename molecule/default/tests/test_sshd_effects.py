# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What sshd's clocks do to real connections, with values small enough to wait for."""

from __future__ import annotations

import re
import subprocess
import time

import pytest
from realhosts import until

INTERVAL, COUNT_MAX = 2, 2


def bound(machine) -> float:
    """Seconds after which a peer that does not answer is gone: OpenSSH 9.2 to 9.4 takes about twice as long."""
    textbook = INTERVAL * (COUNT_MAX + 1)
    return textbook * 2 if (9, 2) <= machine.openssh < (9, 5) else textbook


def gone_after(machine, user: str, limit: float) -> float | None:
    began = time.monotonic()
    return time.monotonic() - began if until(lambda: not machine.connections(user), limit) else None


def cut_by_sshd_at(machine, user: str) -> float | None:
    """When sshd last said so, in seconds of the epoch: a look of ours comes late on a busy machine."""
    said = machine.exec("journalctl -q -o short-unix -t sshd -t sshd-session").stdout
    found = re.findall(rf"^(\S+) .*Timeout, client not responding from user {user} ", said, re.M)
    return float(found[-1]) if found else None


def forward(machine, user: str) -> subprocess.Popen:
    """`ssh -N`: logged in, no channel."""
    client = subprocess.Popen(machine.ssh_argv(user, "-N"), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert until(lambda: machine.connections(user), 10)
    return client


@pytest.fixture(scope="module")
def peers(machine):
    """The policy for peers that do not answer, with bob exempt."""
    machine.role(
        "sshd_timeouts",
        sshd_timeouts_client_alive_interval=INTERVAL,
        sshd_timeouts_client_alive_count_max=COUNT_MAX,
        sshd_timeouts_unused_connection_timeout=5 if machine.openssh >= (9, 2) else None,
        sshd_timeouts_exempt_users=["bob"],
    )
    return machine


def test_a_frozen_client_is_cut_within_the_bound_of_this_release(peers, person):
    frozen, exempt, silent = person(peers, "alice"), person(peers, "bob"), person(peers, "carol")
    frozen.freeze()
    began = time.time()
    exempt.freeze()
    assert gone_after(peers, "alice", bound(peers) + 30) is not None, "the frozen client's session was never ended"
    seconds = cut_by_sshd_at(peers, "alice") - began
    assert INTERVAL * COUNT_MAX - 1 <= seconds <= bound(peers) + INTERVAL + 1
    # Longer than anything could have taken: who answers, or is exempt, is still there.
    time.sleep(bound(peers) * 1.5)
    assert peers.connections("bob"), "an exempt user was cut"
    assert silent.connected, "a live but silent client was cut by ClientAlive"
    assert peers.connections("carol")


def test_a_connection_without_a_channel_is_ended(peers):
    if peers.openssh < (9, 2):
        pytest.skip("this OpenSSH has no UnusedConnectionTimeout; that the run says so is tested elsewhere")
    unused, exempt = forward(peers, "dave"), forward(peers, "bob")
    try:
        assert gone_after(peers, "dave", 20) is not None
        assert exempt.poll() is None, "an exempt user's forward was ended"
    finally:
        for client in (unused, exempt):
            client.kill()
            client.wait()


def test_an_idle_channel_is_cut_where_sshd_can(machine, person):
    done = machine.role("sshd_timeouts", sshd_timeouts_channel_idle_timeout=6)
    if machine.openssh < (9, 2):
        assert "ChannelTimeout" in done.stdout and "9.2" in done.stdout, done.stdout
        assert "channeltimeout" not in machine.sshd_effective()
        return
    idle, busy = person(machine, "alice"), person(machine, "carol")
    busy.type("while sleep 1; do echo tick; done")
    assert idle.leaves_within(20) is not None, "an idle channel was never cut"
    assert busy.connected, "a channel with output is not idle"


def test_channel_timeout_is_left_off_for_all_where_somebody_is_exempt(machine, person):
    """In a Match block it would lock people out, so there is no other way to exempt anybody."""
    if machine.openssh < (9, 2):
        pytest.skip("this OpenSSH has no ChannelTimeout")
    done = machine.role("sshd_timeouts", sshd_timeouts_channel_idle_timeout=5, sshd_timeouts_exempt_users=["bob"])
    assert "ChannelTimeout" in done.stdout and "exempt" in done.stdout, done.stdout
    exempt, other = person(machine, "bob"), person(machine, "alice")
    time.sleep(10)
    assert exempt.connected and other.connected
    machine.ssh("true", user="bob")  # a new login of the exempt user works


def test_established_connections_live_through_apply_and_removal(machine, person):
    watcher = person(machine, "erin")
    machine.role("sshd_timeouts", sshd_timeouts_client_alive_interval=60, sshd_timeouts_client_alive_count_max=1)
    machine.role("sshd_timeouts", sshd_timeouts_state="absent")
    watcher.type("echo still-$((40 + 2))")
    watcher.reads("still-42")
