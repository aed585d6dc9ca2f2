# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd-logind: what it has in force (D-Bus) next to what is configured (logind.conf and its drop-ins).

logind.conf(5): the main file first, then the drop-ins of all folders in the order of their names, a name in
/etc hiding the same name in /run and /usr/lib; of several assignments the last wins, an empty one resets.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

from .command import Answer, Command
from .tree import Tree, our_lines

_FOLDERS = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd")
# D-Bus property, logind.conf key, default of the source (None: chosen when systemd was built).
KEYS: tuple[tuple[str, str, Any], ...] = (
    ("StopIdleSessionUSec", "StopIdleSessionSec", "infinity"),
    ("IdleAction", "IdleAction", "ignore"),
    ("IdleActionUSec", "IdleActionSec", "30min"),
    ("KillUserProcesses", "KillUserProcesses", None),
    ("KillExcludeUsers", "KillExcludeUsers", None),
    ("KillOnlyUsers", "KillOnlyUsers", ""),
)
_SPAN = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([a-zA-Zµ]*)\s*")
_UNITS = {
    **dict.fromkeys(("us", "usec", "µs"), 1e-6),
    **dict.fromkeys(("ms", "msec"), 1e-3),
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
    **dict.fromkeys(("w", "week", "weeks"), 604800),
    **dict.fromkeys(("M", "month", "months"), 2629800),
    **dict.fromkeys(("y", "year", "years"), 31557600),
}


@dataclass(frozen=True)
class Logind:
    """See RETURN of policy_info for what the fields mean. Times are in seconds, None is infinity."""

    running: bool
    can_stop_idle_session: bool = False
    sees_ssh_ttys: bool | None = None
    effective: dict[str, Any] = field(default_factory=dict)
    on_disk: dict[str, dict[str, Any]] = field(default_factory=dict)
    current: bool | None = None
    reload: list[list[str]] = field(default_factory=list)


def questions(tree: Tree) -> dict[str, Command]:
    if not tree.is_dir("/run/systemd/system"):
        return {}
    asked = {}
    busctl, systemctl = tree.program("busctl"), tree.program("systemctl")
    if busctl:
        manager = ("org.freedesktop.login1", "/org/freedesktop/login1")
        get_all = ("org.freedesktop.DBus.Properties", "GetAll", "s", "org.freedesktop.login1.Manager")
        # Looking must not start it.
        asked["logind.bus"] = Command((busctl, "--json=short", "--auto-start=no", "call", *manager, *get_all))
    if systemctl:
        asked["logind.unit"] = Command((systemctl, "show", "systemd-logind.service", "--property=CanReload,MainPID"))
    return asked


def parse_span(text: str) -> float | None:
    """A time span of systemd.time(7) in seconds; None for ``infinity``.

    Raises:
        ValueError: it is no time span.
    """
    text = text.strip()
    if text == "infinity":
        return None
    total = 0.0
    at = 0
    while at < len(text):
        part = _SPAN.match(text, at)
        if not part or part.group(2) not in _UNITS:
            raise ValueError(f"{text!r} is not a time span")
        total += float(part.group(1)) * _UNITS[part.group(2)]
        at = part.end()
    if not text:
        raise ValueError("an empty text is not a time span")
    return int(total) if total == int(total) else total


def normal(key: str, text: str) -> Any:
    """The value of a logind.conf key as the D-Bus property has it; text that is none stays text."""
    if key.endswith("Sec"):
        try:
            return parse_span(text)
        except (ValueError, OverflowError):
            return text
    if key == "KillUserProcesses":
        lower = text.lower()
        return lower in ("1", "yes", "y", "true", "t", "on") if lower else None
    if key.endswith("Users"):
        return text.split()
    return text


def config_files(tree: Tree) -> list[str]:
    main = tree.first(*(f"{folder}/logind.conf" for folder in _FOLDERS))
    by_name: dict[str, str] = {}
    for folder in _FOLDERS:
        for path in tree.glob(f"{folder}/logind.conf.d/*.conf"):
            by_name.setdefault(os.path.basename(path), path)
    return ([main] if main else []) + [by_name[name] for name in sorted(by_name, key=os.fsencode)]


def parse_assignments(lines: Sequence[str]) -> list[tuple[int, str, str]]:
    """(line, key, value) of section [Login]."""
    found = []
    section = ""
    at = 0
    while at < len(lines):
        number = at + 1
        line = lines[at].strip()
        while line.endswith("\\") and at + 1 < len(lines):
            at += 1
            line = line[:-1] + " " + lines[at].strip()
        at += 1
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif section == "Login" and "=" in line and line[0] not in "#;":
            key, _sign, value = line.partition("=")
            found.append((number, key.strip(), value.strip()))
    return found


def read_disk(tree: Tree) -> dict[str, dict[str, Any]]:
    """{property: {value, source, ours, overridden}} of what is configured."""
    wanted = {key: name for name, key, _default in KEYS}
    found: dict[str, list[dict[str, Any]]] = {}
    for path in config_files(tree):
        lines = tree.lines(path)
        ours = our_lines(path, lines)
        for number, key, value in parse_assignments(lines):
            if key not in wanted:
                continue
            if not value:
                found.pop(wanted[key], None)
                continue
            entry = {"value": normal(key, value), "source": f"{path}:{number}", "ours": number in ours}
            found.setdefault(wanted[key], []).append(entry)
    return {name: {**entries[-1], "overridden": entries[-2::-1]} for name, entries in found.items()}


def built_default(tree: Tree, key: str) -> str | None:
    """The default that the shipped logind.conf shows as a comment."""
    for folder in _FOLDERS:
        for line in tree.lines(f"{folder}/logind.conf"):
            if line.startswith(f"#{key}="):
                return line.partition("=")[2].strip()
    return None


def parse_bus(output: str) -> dict[str, Any]:
    """Properties of org.freedesktop.login1.Manager that matter here; {} for anything else."""
    try:
        properties = json.loads(output)["data"][0]
        values = {name: properties[name]["data"] for name, _key, _default in KEYS if name in properties}
    except (ValueError, LookupError, TypeError, RecursionError):
        return {}
    for name, value in values.items():
        if name.endswith("USec") and isinstance(value, int):
            seconds = value / 1000000
            values[name] = None if value >= 2**64 - 1 else int(seconds) if seconds == int(seconds) else seconds
    return values


def is_current(tree: Tree, effective: Mapping[str, Any], on_disk: Mapping[str, Mapping[str, Any]]) -> bool | None:
    """Whether what logind has in force is what is configured; None if it cannot be compared."""
    if not effective:
        return None
    for name, key, default in KEYS:
        if name not in effective:
            continue
        if name in on_disk:
            expected = on_disk[name]["value"]
        else:
            text = built_default(tree, key) if default is None else default
            if text is None:
                continue
            expected = normal(key, text)
        if name == "KillExcludeUsers" and name not in on_disk and not effective[name]:
            continue
        if effective[name] != expected:
            return False
    return True


def observe_logind(
    tree: Tree, systemd_version: int | None, features: Sequence[str], utmp: bool, answers: Mapping[str, Answer]
) -> Logind:
    bus = answers.get("logind.bus", Answer(None))
    effective = parse_bus(bus.out) if bus.rc == 0 else {}
    on_disk = read_disk(tree)
    if not effective:
        return Logind(running=False, on_disk=on_disk)
    unit = answers.get("logind.unit", Answer(None)).out
    can_reload = "CanReload=yes" in unit.split()
    hup = ["systemctl", "kill", "--signal=HUP", "--kill-who=main", "systemd-logind.service"]
    return Logind(
        running=True,
        can_stop_idle_session=(systemd_version or 0) >= 252 or "StopIdleSessionUSec" in effective,
        sees_ssh_ttys=_sees_ssh_ttys(features, utmp),
        effective=effective,
        on_disk=on_disk,
        current=is_current(tree, effective, on_disk),
        # Units before 253 or so cannot reload; logind re-reads its configuration at SIGHUP in all versions.
        reload=[["systemctl", "reload", "systemd-logind.service"] if can_reload else hup],
    )


def _sees_ssh_ttys(features: Sequence[str], utmp: bool) -> bool | None:
    """sshd's PAM session names no tty ("ssh"): logind looks the leader's up in utmp (manager_read_utmp), or nowhere."""
    if "-UTMP" in features:
        return False
    if "+UTMP" in features:
        return utmp
    return None
