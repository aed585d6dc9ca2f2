# Copyright (c) 2026, the sessionops.policy authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reaper's policy: a JSON file that only root writes and reads, checked whole before anything follows it."""

from __future__ import annotations

import json
import os
import re
import stat
from typing import Any, Collection, Mapping, NamedTuple

from ..duration import format_duration, parse_duration
from ..judge_ending import limit_of
from ..model import KINDS, WORK

PATH = "/etc/session-reaper/policy.json"
MODES = ("enforce", "report")
# The kernel moves a terminal's access time in steps of 8 s.
SHORTEST_IDLE = 30
_SHORTEST_PERIOD, _LONGEST_PERIOD = 5, 3600
_WINDOW = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")
#: What an override writes for no limit at all.
NO_LIMIT = "none"


class Limits(NamedTuple):
    """Seconds; None is no limit."""

    idle: int | None
    age: int | None


class Policy(NamedTuple):
    """Seconds, names, and `windows` as minutes of the day, each with its end, which may lie on the next day."""

    mode: str
    period: int
    limits: Limits
    warn: int
    protect: Collection[str]
    kinds: Collection[str]
    exempt_users: Collection[str]
    exempt_groups: Collection[str]
    users: Mapping[str, Mapping[str, int | None]]
    groups: Mapping[str, Mapping[str, int | None]]
    windows: Collection[tuple[int, int]]
    max_terminate: tuple[int | None, int | None]
    force: bool
    metrics: str | None

    def needs_groups(self) -> bool:
        return bool(self.exempt_groups or self.groups)

    def limits_of(self, user: str | None, groups: Collection[str]) -> Limits:
        """A user's own override wins; of several groups the longest limit counts."""
        found = {"idle": self.limits.idle, "age": self.limits.age}
        for name in found:
            own = self.users.get(user or "", {})
            shared = [
                self.groups[group][name] for group in self.groups if group in groups and name in self.groups[group]
            ]
            if name in own:
                found[name] = own[name]
            elif shared:
                found[name] = None if None in shared else max(value for value in shared if value is not None)
        return Limits(found["idle"], found["age"])

    def is_open(self, minute: int) -> bool:
        """Whether sessions may be ended at this minute of the day, local time."""
        return not self.windows or any(
            begin <= minute < end if begin < end else minute >= begin or minute < end for begin, end in self.windows
        )


class Invalid(ValueError):
    """Everything that is wrong with a policy, a sentence a line."""


class _Reader:
    def __init__(self) -> None:
        self.wrong: list[str] = []

    def take(self, name: str, read: Any, value: Any, otherwise: Any) -> Any:
        try:
            return read(value)
        except ValueError as exc:
            self.wrong.append(f"{name}: {exc}")
            return otherwise


def _one_of(choices: Collection[str]) -> Any:
    def read(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"{value!r} is none of {', '.join(choices)}")
        return str(value)

    return read


def _names(choices: Collection[str] = ()) -> Any:
    def read(value: Any) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            raise ValueError(f"{value!r} is not a list of names")
        strange = [one for one in value if choices and one not in choices]
        if strange:
            raise ValueError(f"{strange[0]!r} is none of {', '.join(choices)}")
        return tuple(value)

    return read


def _limit(shortest: int) -> Any:
    def read(value: Any) -> int | None:
        if value is None or value == NO_LIMIT:
            return None
        seconds = parse_duration(value)
        if seconds and seconds < shortest:
            raise ValueError(f"{value!r} is too short to be measured: write {shortest}s or more")
        return seconds or None

    return read


def _period(value: Any) -> int:
    seconds = parse_duration(value)
    if not _SHORTEST_PERIOD <= seconds <= _LONGEST_PERIOD:
        raise ValueError(f"{value!r} is not from {_SHORTEST_PERIOD}s to {format_duration(_LONGEST_PERIOD)}")
    return seconds


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _path(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not value.startswith("/") or not value.endswith(".prom"):
        raise ValueError(f"{value!r} is not the absolute path of a file that ends in .prom")
    return value


def _windows(value: Any) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list of windows: write for example ['20:00-06:00']")
    found = []
    for one in value:
        match = _WINDOW.fullmatch(one) if isinstance(one, str) else None
        if not match:
            raise ValueError(f"{one!r} is not HH:MM-HH:MM, for example 20:00-06:00")
        first, last = (int(match.group(n)) * 60 + int(match.group(n + 1)) for n in (1, 3))
        if last > 24 * 60 or first == last:
            raise ValueError(f"{one!r} is no window of a day: write for example 20:00-06:00")
        found.append((first, last))
    return tuple(found)


_LIMITS = {"idle_timeout": ("idle", SHORTEST_IDLE), "max_session_age": ("age", 60)}


def _overrides(value: Any) -> dict[str, dict[str, int | None]]:
    if not isinstance(value, dict) or not all(isinstance(one, dict) for one in value.values()):
        raise ValueError(f"{value!r} is not a mapping of names: write for example {{alice: {{idle_timeout: 2h}}}}")
    found: dict[str, dict[str, int | None]] = {}
    for who, settings in value.items():
        for name, wish in settings.items():
            if name not in _LIMITS:
                raise ValueError(f"{who}: {name} can't be set for some alone: use {' or '.join(_LIMITS)}")
            field, shortest = _LIMITS[name]
            try:
                found.setdefault(who, {})[field] = _limit(shortest)(wish)
            except ValueError as exc:
                raise ValueError(f"{who}: {name}: {exc}") from None
    return found


#: name: how it is read, and what it is where the file does not say.
_SETTINGS: Mapping[str, tuple[Any, Any]] = {
    "mode": (_one_of(MODES), "enforce"),
    "period": (_period, 60),
    "idle_timeout": (_limit(SHORTEST_IDLE), None),
    "max_session_age": (_limit(60), None),
    "warn": (parse_duration, 60),
    "protect": (_names(WORK), [name for name in WORK if name != "locks"]),
    "kinds": (_names(KINDS), list(KINDS)),
    "exempt_users": (_names(), []),
    "exempt_groups": (_names(), []),
    "users": (_overrides, {}),
    "groups": (_overrides, {}),
    "windows": (_windows, []),
    "max_terminate": (limit_of, None),
    "force": (_switch, False),
    "metrics": (_path, None),
}


def parse(data: Any) -> Policy:
    """The policy in what JSON gave.

    Raises:
        Invalid: everything that is wrong with it.
    """
    if not isinstance(data, dict):
        raise Invalid('a policy is one JSON object: {"idle_timeout": "15m", …}')
    reader = _Reader()
    for name in data:
        if name not in _SETTINGS:
            reader.wrong.append(f"{name} is no setting of a policy: use {', '.join(_SETTINGS)}")
    got = {
        name: reader.take(name, read, data.get(name, otherwise), None) for name, (read, otherwise) in _SETTINGS.items()
    }
    if not reader.wrong and got["max_terminate"] == (0, None):
        reader.wrong.append("max_terminate: 0 would end nothing: use mode report for that")
    if reader.wrong:
        raise Invalid("\n".join(reader.wrong))
    limits = Limits(got.pop("idle_timeout"), got.pop("max_session_age"))
    return Policy(limits=limits, **got)


def load(path: str = PATH) -> tuple[Policy, dict[str, Any]]:
    """The policy in the file at `path`, and the file as it is.

    Raises:
        Invalid: what is wrong with it, or that others than root could write it.
        OSError: it can't be read.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
            raise Invalid(f"others than root can write {path}: run chown root {path} && chmod 0600 {path}")
        text = file.read(1 << 20)
    try:
        data = json.loads(text)
    except ValueError as exc:
        raise Invalid(f"{path} is no JSON: {exc}") from None
    return parse(data), data
