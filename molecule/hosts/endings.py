# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests share that end sessions."""

from __future__ import annotations

import typing as t

from realhosts import Machine, until

# Hears no HUP and no TERM. It is at no prompt, because a shell whose terminal is gone ends by itself there.
DEAF = "trap '' HUP TERM; echo deaf; exec 9<> <(:); while :; do read -t 1 -u 9; done"


def terminate(machine: Machine, **args: t.Any) -> dict:
    """session_terminate without the patience that people are due."""
    return machine.module(
        "session_terminate", **{"min_age": 0, "warn_grace": 0, "hup_grace": 1, "term_grace": 2, **args}
    )


def outcomes(result: dict) -> dict[str, list[str]]:
    """The outcomes by user."""
    assert "sessions" in result, result
    found: dict[str, list[str]] = {}
    for session in result["sessions"]:
        found.setdefault(session["user"], []).append(session["outcome"])
    return found


def only(result: dict) -> dict:
    assert "sessions" in result, result
    (session,) = result["sessions"]
    return session


def work_shows(machine: Machine, user: str, part: str, limit: float = 20) -> None:
    """Wait until session_info sees `part` of the user's work."""

    def there() -> bool:
        seen = machine.module("session_info", users=[user])["sessions"]
        return any(session["work"][part] for session in seen)

    assert until(there, limit, 0.5), f"{user} has no {part}"
