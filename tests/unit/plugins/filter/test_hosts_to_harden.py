# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.sessionops.policy.plugins.filter import hosts_to_harden


@pytest.mark.parametrize(
    ("inventory", "hosts", "pattern"),
    [
        (("/etc/ansible/hosts",), [], "localhost"),
        ((), [], "localhost"),
        (("/etc/ansible/hosts",), ["web"], "all"),
        (("/home/me/hosts",), ["web"], "all"),
        (("/home/me/mistyped",), [], "all"),
    ],
)
def test_this_machine_only_where_nobody_named_an_inventory(monkeypatch, inventory, hosts, pattern):
    monkeypatch.setattr(hosts_to_harden.context, "CLIARGS", {"inventory": inventory})
    assert hosts_to_harden.hosts_to_harden({"all": hosts}) == pattern
