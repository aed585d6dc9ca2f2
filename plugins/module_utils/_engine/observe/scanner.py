# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an auditor's scanner sees: the text that the usual content (ComplianceAsCode) matches, whatever its effect.

The content compares lines with regular expressions. It knows neither `keyword=value` nor quotes nor `5m`, does not
ask which line wins, and counts a line inside a Match block like any other.
"""

from __future__ import annotations

import re
from typing import Any, Iterable, Pattern

from ..platforms.platform import Platform
from .tree import Tree

# The policy's settings that such content has rules for, with sshd's keyword.
SSHD = {
    "client_alive_interval": "ClientAliveInterval",
    "client_alive_count_max": "ClientAliveCountMax",
    "login_grace_time": "LoginGraceTime",
    "max_sessions": "MaxSessions",
    "max_startups": "MaxStartups",
}
_TMOUT = re.compile(r"^(?:typeset|declare)\s+-xr\s+TMOUT=(\S+)$")
_TMOUT_THREE = (re.compile(r"^\s*TMOUT=(\S+)$"), re.compile(r"^readonly TMOUT$"), re.compile(r"^export TMOUT$"))
_STOP_IDLE = re.compile(r"^\s*StopIdleSessionSec=(\S+)$")
_MAX_LOGINS = re.compile(r"^\s*\*\s+hard\s+maxlogins\s+(\S+)$")


def observe_scanner(tree: Tree, platform: Platform, release: str, main: str) -> dict[str, list[dict[str, Any]]]:
    """By setting (`idle_timeout` split in `shell` and `logind`), every line that matches as {source, value}.

    Args:
        release: "ID:MAJOR" of os-release.
        main: sshd's main file.
    """
    main_only = release in platform.scanner_main_file
    sshd = [main] if main_only else [main, *tree.glob(f"{platform.sshd_drop_in_dir}/*.conf")]
    texts = {path: tree.lines(path) for path in sshd}
    seen = {
        setting: _matches(texts, re.compile(rf"^[ \t]*(?i:{keyword})[ \t]+([^\s#]+)[ \t]*(?:#.*)?$"))
        for setting, keyword in SSHD.items()
    }
    seen["idle_timeout.shell"] = _tmout(tree, platform, release)
    drop_ins = release in platform.scanner_logind_drop_ins
    logind = tree.glob("/etc/systemd/logind.conf.d/*.conf") if drop_ins else ["/etc/systemd/logind.conf"]
    seen["idle_timeout.logind"] = _matches({path: tree.lines(path) for path in logind}, _STOP_IDLE)
    limits = [*tree.glob("/etc/security/limits.d/*.conf"), "/etc/security/limits.conf"]
    seen["max_logins"] = _matches({path: tree.lines(path) for path in limits}, _MAX_LOGINS)
    return seen


def _matches(texts: dict[str, list[str]], pattern: Pattern[str]) -> list[dict[str, Any]]:
    return [
        {"source": f"{path}:{number}", "value": _value(found.group(1))}
        for path, lines in texts.items()
        for number, line in enumerate(lines, 1)
        for found in [pattern.match(line)]
        if found
    ]


def _tmout(tree: Tree, platform: Platform, release: str) -> list[dict[str, Any]]:
    texts = {path: tree.lines(path) for path in ("/etc/profile", *tree.glob(f"{platform.profile_dir}/*.sh"))}
    if release.partition(":")[0] not in platform.scanner_tmout_three_lines:
        return _matches(texts, _TMOUT)
    value, *marks = _TMOUT_THREE
    # All three in one file, in this order.
    return [
        hit
        for path, lines in texts.items()
        if all(any(mark.match(line) for line in lines) for mark in marks)
        for hit in _matches({path: lines}, value)
    ]


def _value(text: str) -> Any:
    """A plain integer as such; everything else stays text, which no rule about a number accepts."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else text


def scanner_accepts(seen: Iterable[dict[str, Any]], wanted: Any) -> bool:
    """A rule passes if there is such a line, and every one has the value."""
    values = [hit["value"] for hit in seen]
    return bool(values) and all(value == wanted for value in values)
