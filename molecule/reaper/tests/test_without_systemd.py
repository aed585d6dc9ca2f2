# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host without systemd: cron runs the reaper, and syslog has its lines."""

from __future__ import annotations

import json
import subprocess

import pytest
from realhosts import booted, until
from reaping import Reaper

IDLE = 30


@pytest.fixture(scope="module")
def sysvinit():
    with booted("without-systemd", "bookworm-sysvinit") as machine:
        yield machine


def test_cron_ends_an_idle_session(sysvinit, seat):
    reaper = Reaper(sysvinit)
    sysvinit.exec("pgrep -x cron || /etc/init.d/cron start")
    assert reaper.role(idle_timeout=f"{IDLE}s", warn="10s", exempt_users=["bob"]) == 1
    assert reaper.role(idle_timeout=f"{IDLE}s", warn="10s", exempt_users=["bob"]) == 0
    bob, alice = seat(sysvinit, "bob"), seat(sysvinit, "alice")
    still = subprocess.Popen([*sysvinit.ssh_argv("carol"), "sleep 3000"], stdin=subprocess.DEVNULL)
    try:
        assert "alice" in reaper.command("list").stdout
        (finding,) = sysvinit.module("policy_info", wanted={"layers": ["reaper"], "idle_timeout": IDLE})["findings"]
        assert finding["compliant"] is True, finding
        # A run each minute: one that finds it idle warns, the next one ends it.
        assert alice.leaves_within(IDLE + 2 * 60 + 20), alice.screen()
        assert alice.ended_after > IDLE - 8
        assert until(lambda: still.poll() is not None, 90)
    finally:
        still.kill()
    assert bob.connected
    listed = json.loads(reaper.command("list", "--json").stdout)
    assert [s["verdict"] for s in listed if s["user"] == "bob"] == ["exempt"]
    assert reaper.role(state="absent")
    assert sysvinit.exec("ls -d /etc/cron.d/session-reaper /usr/local/lib/session-reaper", check=False).stdout == ""
