# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of the tests about session-reaper: the role, the command, and what it said."""

from __future__ import annotations

import re
import typing as t

from realhosts import Machine, applied

QUICK = {"idle_timeout": "40s", "period": "5s", "warn": "15s"}
METRICS = "/var/lib/prometheus/node-exporter/session_reaper.prom"


class Reaper:
    def __init__(self, machine: Machine):
        self.machine = machine

    def role(self, **variables: t.Any) -> int:
        """How many tasks changed something."""
        (changed,) = applied([self.machine], "session_reaper", **variables).changed
        return changed

    def command(self, *words: str, check: bool = True) -> t.Any:
        return self.machine.exec(" ".join(["session-reaper", *words]), check=check)

    def said(self) -> str:
        """Its lines in the journal."""
        return self.machine.exec("journalctl -q -t session-reaper -o cat").stdout

    def deeds(self, message: str, user: str) -> list[str]:
        return re.findall(rf"^.*{message} .*\buser={user}\b.*$", self.said(), re.M)
