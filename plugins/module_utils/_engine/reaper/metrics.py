# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one look comes to, in Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

from __future__ import annotations

from typing import Mapping

from ..model import KINDS
from .judge import PROTECTED, VERDICTS
from .run import Look

_SESSIONS = "session_reaper_sessions"


def metrics(found: Look, seconds: float) -> str:
    """`seconds` is how long the run took."""
    counts = {(kind, name): 0 for kind in (*KINDS, "unknown") for name in VERDICTS}
    for verdict in found.verdicts:
        counts[verdict.session.kind or "unknown", verdict.name] += 1
    idle = [verdict.session.idle for verdict in found.verdicts if verdict.session.idle is not None]
    totals = found.state.totals
    lines = _metric(
        _SESSIONS,
        "gauge",
        "Login sessions by kind and by what becomes of them.",
        {f'{{kind="{kind}",verdict="{name}"}}': count for (kind, name), count in counts.items()},
    )
    for name, kind, about, value in (
        ("longest_idle_seconds", "gauge", "The longest time that a session has been idle.", max(idle, default=0)),
        ("protected", "gauge", "Sessions over a limit whose work protects them.",
         sum(verdict.name == PROTECTED for verdict in found.verdicts)),
        ("warned_total", "counter", "Sessions that were warned since the boot.", totals["warned"]),
        ("terminated_total", "counter", "Sessions that were ended since the boot.", totals["terminated"]),
        ("failed_total", "counter", "Sessions that could not be ended since the boot.", totals["failed"]),
        ("enforcing", "gauge", "1 where sessions are ended, 0 where they are only reported.",
         int(found.policy.mode == "enforce")),
        ("run_seconds", "gauge", "How long the last run took.", round(seconds, 6)),
        ("last_success_timestamp_seconds", "gauge", "When the last run was.", round(found.last or 0, 3)),
    ):  # fmt: skip
        lines += _metric(f"session_reaper_{name}", kind, about, {"": value})
    return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, about: str, values: Mapping[str, float]) -> list[str]:
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}", *(f"{name}{k} {v}" for k, v in values.items())]
