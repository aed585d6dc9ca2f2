# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy that policy_info is asked to judge: checked before anything is looked at."""

from __future__ import annotations

import re
from typing import Any, Mapping

from .duration import parse_duration

DURATIONS = (
    "idle_timeout",
    "client_alive_interval",
    "channel_idle_timeout",
    "unused_connection_timeout",
    "login_grace_time",
    "lock_timeout",
    "server_alive_interval",
    "max_session_age",
)
COUNTS = ("client_alive_count_max", "max_sessions", "max_logins", "server_alive_count_max")
SWITCHES = ("tcp_keep_alive", "kill_user_processes", "tmux_login_shell", "scanned")
LISTS = ("layers", "exempt_users", "exempt_groups", "linger_users")
OTHER = ("max_startups", "rules", "state", "reaper_engine")
# The umbrella's other variables, which nothing here can judge.
UNJUDGED = ("confirm_within", "profile", "protect")
_YES = (True, "yes", "true", "True", "on")
_NO = (False, "no", "false", "False", "off")


def parse_wanted(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """`wanted` with every value in its own type (older controllers hand over text); None means no wish.

    Raises:
        ValueError: with a sentence that names the setting.
    """
    parsed: dict[str, Any] = {}
    known = (*DURATIONS, *COUNTS, *SWITCHES, *LISTS, *OTHER, *UNJUDGED)
    for name, value in wanted.items():
        if name not in known:
            raise ValueError(f"wanted.{name} is no setting of a policy: use {', '.join(sorted(known))}")
        if value is None or value == "":
            continue
        try:
            parsed[name] = _parse(name, value)
        except ValueError as error:
            raise ValueError(f"wanted.{name}: {error}") from None
    return parsed


def _parse(name: str, value: Any) -> Any:
    if name in DURATIONS:
        return parse_duration(value)
    if name in COUNTS:
        if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,9}", str(value)):
            raise ValueError(f"{value!r} is not a count: write a whole number")
        return int(value)
    if name in SWITCHES:
        if value not in (*_YES, *_NO) or (value in (0, 1) and not isinstance(value, bool)):
            raise ValueError(f"{value!r} is neither true nor false")
        return value in _YES
    if name in LISTS:
        if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
            raise ValueError(f"{value!r} is not a list of names")
        return list(value)
    if name == "max_startups":
        if not re.fullmatch(r"[0-9]{1,9}(:[0-9]{1,3}:[0-9]{1,9})?", str(value)):
            raise ValueError(f"{value!r} is not START:RATE:FULL, for example 10:30:60")
        return str(value) if ":" in str(value) else f"{value}:30:{value}"
    if name == "rules" and not (isinstance(value, dict) and all(isinstance(one, dict) for one in value.values())):
        raise ValueError("it maps a setting to its rule ids by benchmark, for example {max_sessions: {cis: 5.1.17}}")
    return value
