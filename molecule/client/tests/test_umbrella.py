# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layers client and multiplexer under the umbrella; that stig brings locks to all releases is tried in default."""

from __future__ import annotations

import re

from realhosts import harden

CONF = "/etc/tmux.conf"
POLICY = {
    "session_policy_profile": "stig",
    "session_policy_layers": ["multiplexer", "client"],
    "session_policy_linger_users": ["bob"],
    "session_policy_server_alive_interval": "1m",
    "session_policy_server_alive_count_max": 3,
}


def test_both_layers_are_set_proved_and_taken_away(boot):
    host = boot("bookworm")
    host.exec("DEBIAN_FRONTEND=noninteractive dpkg --remove vlock; apt-get -qq update")
    before = host.tree("/etc", "/var/lib/systemd")
    late = {**POLICY, "session_policy_layers": ["shell", "multiplexer"], "session_policy_idle_timeout": "9m"}
    refused = harden([host], check=False, **late)
    assert refused.returncode and "a lock after 9m would never come" in refused.stdout
    assert host.tree("/etc", "/var/lib/systemd") == before
    said = harden([host], **POLICY).stdout
    rows = [line.split() for line in re.findall(r'^ +"  +(\S.*)",?$', said, re.M)]
    assert ["tmux", "540", "540", f"{CONF}:2"] in rows
    assert ["linger_users", "bob", "bob"] in rows and ["server_alive_count_max", "3", "3"] in [row[:3] for row in rows]
    # Nobody on this host has a password.
    assert "and others cannot unlock a locked tmux or screen" in said
    assert host.exec("command -v vlock").stdout
    # A lock that somebody switches off is named, and the run fails.
    host.exec(f"cp -p {CONF} /root/kept; echo 'set -g lock-after-time 0' >> {CONF}")
    drifted = harden([host], check=False, **POLICY)
    assert drifted.returncode and f"overridden by {CONF}:" in drifted.stdout
    host.exec(f"cp -p /root/kept {CONF}")
    assert "changed=0 " in harden([host], **POLICY).stdout
    harden([host], session_policy_state="absent")
    assert host.tree("/etc", "/var/lib/systemd") == before
