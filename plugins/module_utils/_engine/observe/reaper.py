# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reaper on this host, asked of its timer and of what its last run left, not of the files that configure it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

from ..model import iso
from ..reaper import installed, state
from .command import Answer, Command
from .tree import Tree

_TIMER = "session-reaper.timer"
_CRON = "/etc/cron.d/session-reaper"


@dataclass(frozen=True)
class Reaper:
    """See RETURN of policy_info for what the fields mean."""

    engine: str | None = None
    files: list[str] = field(default_factory=list)
    cron: str | None = None
    active: bool = False
    last_run: str | None = None
    last_run_age: int | None = None
    policy: dict[str, Any] = field(default_factory=dict)


def questions(tree: Tree) -> dict[str, Command]:
    systemctl = tree.program("systemctl")
    return {"reaper.timer": Command((systemctl, "is-active", _TIMER))} if systemctl else {}


def observe_reaper(tree: Tree, init: str, answers: Mapping[str, Answer]) -> Reaper:
    """`policy` is what the last run went by; it says nothing of a run before the boot."""
    files = installed.read(tree.place(installed.FOLDER))
    cron = tree.program("cron", "crond", "fcron")
    timer = answers.get("reaper.timer", Answer(None))
    active = timer.rc == 0 if init == "systemd" else cron is not None and tree.exists(_CRON)
    last: state.State | None = None
    times = state.now()
    try:
        boot_id = (tree.read("/proc/sys/kernel/random/boot_id") or "").strip()
        last = state.load(tree.place(state.FOLDER), boot_id, times)
    except state.Unusable:
        pass
    return Reaper(
        installed.digest(files) if files else None,
        sorted(files),
        cron,
        active,
        iso(last.times.wall) if last else None,
        int(times.running - last.times.running) if last else None,
        dict(last.policy) if last else {},
    )
